//! Pictures on the screen: the I420 planes go to the graphics card as three textures, and a shader makes
//! colours of them. Where there is no OpenGL (tests), or its shader does not compile, they go as RGBA.
//!
//! Names C through `glow`. GL objects are made and deleted only in paint callbacks and at exit, where the
//! context is current.
#![expect(unsafe_code, reason = "OpenGL is C")]

use crate::picture;
use eframe::egui::{
    self, Color32, ColorImage, CornerRadius, PaintCallback, Painter, Pos2, Rect, TextureHandle, pos2,
};
use eframe::egui_glow::CallbackFn;
use eframe::epaint::RectShape;
use eframe::glow::{self, HasContext as _};
use media::{Frame, I420, Slot};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const VERTEX: &str = "
out vec2 at;
void main() {
    vec2 corner = vec2(float((gl_VertexID << 1) & 2), float(gl_VertexID & 2));
    at = vec2(corner.x, 1.0 - corner.y);
    gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}";

// BT.601, limited range; corners rounded by their distance, premultiplied alpha as egui blends.
const FRAGMENT: &str = "
in vec2 at;
out vec4 color;
uniform sampler2D plane_y;
uniform sampler2D plane_u;
uniform sampler2D plane_v;
uniform vec2 size;
uniform float rounding;
uniform float mirrored;
void main() {
    vec2 from = vec2(mix(at.x, 1.0 - at.x, mirrored), at.y);
    float y = 1.1643836 * (texture(plane_y, from).r - 0.0627451);
    float u = texture(plane_u, from).r - 0.5019608;
    float v = texture(plane_v, from).r - 0.5019608;
    vec3 rgb = clamp(vec3(y + 1.5960268 * v, y - 0.3917623 * u - 0.8129676 * v, y + 2.0172321 * u), 0.0, 1.0);
    vec2 over = abs(at * size - size * 0.5) - (size * 0.5 - rounding);
    float outside = length(max(over, 0.0)) - rounding;
    float alpha = clamp(0.5 - outside, 0.0, 1.0);
    color = vec4(rgb * alpha, alpha);
}";

/// What all pictures of a window share on the graphics card.
#[derive(Clone, Default)]
pub struct Gpu(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    program: Program,
    planes: HashMap<u64, Planes>,
    /// Pictures that are no more; their textures are deleted where the context is current.
    dropped: Vec<u64>,
    last_id: u64,
}

#[derive(Default)]
enum Program {
    #[default]
    NotMade,
    Made {
        program: glow::Program,
        vertices: glow::VertexArray,
    },
    /// The reason is in the log; pictures go as RGBA.
    Failed,
}

/// The textures of one picture.
struct Planes {
    textures: [glow::Texture; 3],
    size: (u32, u32),
    serial: u64,
}

impl Gpu {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic in a paint callback leaves at worst a picture undrawn.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn works(&self) -> bool {
        !matches!(self.lock().program, Program::Failed)
    }

    /// Deletes all GL objects; the context must be current.
    pub fn free(&self, gl: &glow::Context) {
        let mut shared = self.lock();
        let ids: Vec<u64> = shared.planes.keys().copied().collect();
        shared.dropped.extend(ids);
        shared.free_dropped(gl);
        if let Program::Made { program, vertices } = std::mem::take(&mut shared.program) {
            // SAFETY: the caller has the context current, and these objects are of it and used no more.
            unsafe {
                gl.delete_program(program);
                gl.delete_vertex_array(vertices);
            }
        }
    }
}

impl Shared {
    fn free_dropped(&mut self, gl: &glow::Context) {
        for id in self.dropped.drain(..) {
            for texture in self.planes.remove(&id).into_iter().flat_map(|planes| planes.textures) {
                // SAFETY: the context is current, as in every paint callback; nothing draws this any more.
                unsafe { gl.delete_texture(texture) };
            }
        }
    }

    /// Draws into the viewport, which egui has set to the picture's rectangle.
    fn draw(&mut self, gl: &glow::Context, shot: &Shot) {
        self.free_dropped(gl);
        if matches!(self.program, Program::NotMade) {
            self.program = make_program(gl).unwrap_or_else(|why| {
                tracing::warn!("pictures go without the shader: {why}");
                Program::Failed
            });
        }
        let Program::Made { program, vertices } = &self.program else { return };
        if let Err(why) = upload(gl, &mut self.planes, shot) {
            tracing::warn!("a picture could not be uploaded: {why}");
            return;
        }
        let Some(planes) = self.planes.get(&shot.id) else { return };
        // SAFETY: the context is current; program, vertex array and textures are of it and alive; the vertex
        // shader makes its three vertices itself, so no buffer is read.
        unsafe {
            gl.use_program(Some(*program));
            gl.bind_vertex_array(Some(*vertices));
            for (unit, (texture, name)) in
                (0..).zip(planes.textures.iter().zip(["plane_y", "plane_u", "plane_v"]))
            {
                gl.active_texture(glow::TEXTURE0 + unit);
                gl.bind_texture(glow::TEXTURE_2D, Some(*texture));
                gl.uniform_1_i32(gl.get_uniform_location(*program, name).as_ref(), unit as i32);
            }
            gl.active_texture(glow::TEXTURE0);
            let place = |name| gl.get_uniform_location(*program, name);
            gl.uniform_2_f32(place("size").as_ref(), shot.pixels.0, shot.pixels.1);
            gl.uniform_1_f32(place("rounding").as_ref(), shot.rounding);
            gl.uniform_1_f32(place("mirrored").as_ref(), f32::from(u8::from(shot.mirrored)));
            gl.draw_arrays(glow::TRIANGLES, 0, 3);
        }
    }
}

/// One drawing of one picture.
struct Shot {
    id: u64,
    image: Arc<I420>,
    serial: u64,
    /// Of the viewport, in pixels.
    pixels: (f32, f32),
    /// In pixels.
    rounding: f32,
    mirrored: bool,
}

fn make_program(gl: &glow::Context) -> Result<Program, String> {
    let header =
        if gl.version().is_embedded { "#version 300 es\nprecision highp float;\n" } else { "#version 140\n" };
    // SAFETY: the context is current; each object is made here and used as what it was made as.
    unsafe {
        let program = gl.create_program()?;
        for (kind, source) in [(glow::VERTEX_SHADER, VERTEX), (glow::FRAGMENT_SHADER, FRAGMENT)] {
            let shader = gl.create_shader(kind)?;
            gl.shader_source(shader, &format!("{header}{source}"));
            gl.compile_shader(shader);
            gl.attach_shader(program, shader);
            // Deleted with the program that it is attached to.
            gl.delete_shader(shader);
            if !gl.get_shader_compile_status(shader) {
                let why = gl.get_shader_info_log(shader);
                gl.delete_program(program);
                return Err(why);
            }
        }
        gl.link_program(program);
        if !gl.get_program_link_status(program) {
            let why = gl.get_program_info_log(program);
            gl.delete_program(program);
            return Err(why);
        }
        Ok(Program::Made { program, vertices: gl.create_vertex_array()? })
    }
}

/// Brings the picture to the card if a newer one than this was not there yet.
fn upload(gl: &glow::Context, all: &mut HashMap<u64, Planes>, shot: &Shot) -> Result<(), String> {
    let size = (shot.image.width(), shot.image.height());
    let fresh = match all.get(&shot.id) {
        Some(planes) if planes.serial == shot.serial => return Ok(()),
        Some(planes) => planes.size != size,
        None => {
            all.insert(shot.id, Planes { textures: make_textures(gl)?, size, serial: 0 });
            true
        }
    };
    let Some(planes) = all.get_mut(&shot.id) else { return Ok(()) };
    let chroma = (shot.image.chroma_width(), shot.image.chroma_height());
    for ((texture, bytes), (width, height)) in
        planes.textures.iter().zip(shot.image.planes()).zip([size, chroma, chroma])
    {
        let (width, height) = (width as i32, height as i32);
        // SAFETY: the context is current and the texture is of it. Rows are packed (alignment 1), and I420
        // holds exactly width * height bytes in each plane, so GL reads nothing beyond the slice.
        unsafe {
            gl.bind_texture(glow::TEXTURE_2D, Some(*texture));
            gl.pixel_store_i32(glow::UNPACK_ALIGNMENT, 1);
            let data = glow::PixelUnpackData::Slice(Some(bytes));
            let (red, byte) = (glow::RED, glow::UNSIGNED_BYTE);
            if fresh {
                gl.tex_image_2d(glow::TEXTURE_2D, 0, glow::R8 as i32, width, height, 0, red, byte, data);
            } else {
                gl.tex_sub_image_2d(glow::TEXTURE_2D, 0, 0, 0, width, height, red, byte, data);
            }
        }
    }
    (planes.size, planes.serial) = (size, shot.serial);
    Ok(())
}

fn make_textures(gl: &glow::Context) -> Result<[glow::Texture; 3], String> {
    // SAFETY: the context is current; the textures are made here.
    let make = || unsafe {
        let texture = gl.create_texture()?;
        gl.bind_texture(glow::TEXTURE_2D, Some(texture));
        for (key, value) in [
            (glow::TEXTURE_MIN_FILTER, glow::LINEAR),
            (glow::TEXTURE_MAG_FILTER, glow::LINEAR),
            (glow::TEXTURE_WRAP_S, glow::CLAMP_TO_EDGE),
            (glow::TEXTURE_WRAP_T, glow::CLAMP_TO_EDGE),
        ] {
            gl.tex_parameter_i32(glow::TEXTURE_2D, key, value as i32);
        }
        Ok::<_, String>(texture)
    };
    Ok([make()?, make()?, make()?])
}

/// Somebody's picture: the last frame of a slot.
pub struct Picture {
    gpu: Option<(Gpu, u64)>,
    image: Option<Arc<I420>>,
    serial: u64,
    rgba: Option<(TextureHandle, u64)>,
}

impl Picture {
    /// Without a `gpu` it draws as RGBA.
    pub fn new(gpu: Option<&Gpu>) -> Self {
        let gpu = gpu.map(|gpu| {
            let mut shared = gpu.lock();
            shared.last_id += 1;
            (gpu.clone(), shared.last_id)
        });
        Self { gpu, image: None, serial: 0, rgba: None }
    }

    /// Takes the newest frame, if one came.
    pub fn update(&mut self, slot: &Slot<Frame>) {
        if let Some(frame) = slot.take() {
            self.image = Some(frame.image);
            self.serial += 1;
        }
    }

    /// Forgets the frame: the camera is off, and what it last saw is not to stay.
    pub fn clear(&mut self) {
        self.image = None;
    }

    /// Width by height in pixels, when there is a frame.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.image.as_ref().map(|image| (image.width(), image.height()))
    }

    /// The largest rectangle of the picture's shape in the middle of `space`; 16:9 without a frame.
    pub fn fit(&self, space: Rect) -> Rect {
        let (width, height) = self.size().unwrap_or((16, 9));
        fit(space, width as f32 / height as f32)
    }

    /// Draws the frame over the whole of `rect`, if there is one. `rounding` is in points.
    pub fn paint(&mut self, painter: &Painter, rect: Rect, rounding: u8, mirrored: bool) {
        let Some(image) = self.image.clone() else { return };
        match &self.gpu {
            Some((gpu, id)) if gpu.works() => {
                let scale = painter.pixels_per_point();
                let shot = Shot {
                    id: *id,
                    image,
                    serial: self.serial,
                    pixels: (rect.width() * scale, rect.height() * scale),
                    rounding: f32::from(rounding) * scale,
                    mirrored,
                };
                let gpu = gpu.clone();
                let draw = move |_: egui::PaintCallbackInfo, painter: &eframe::egui_glow::Painter| {
                    gpu.lock().draw(painter.gl(), &shot);
                };
                painter.add(PaintCallback { rect, callback: Arc::new(CallbackFn::new(draw)) });
            }
            Some(_) | None => self.paint_rgba(painter, &image, rect, rounding, mirrored),
        }
    }

    fn paint_rgba(&mut self, painter: &Painter, image: &I420, rect: Rect, rounding: u8, mirrored: bool) {
        if self.rgba.as_ref().is_none_or(|(_, serial)| *serial != self.serial) {
            let Ok(pixels) = picture::rgba(image) else { return };
            let size = [image.width() as usize, image.height() as usize];
            let pixels = ColorImage::from_rgba_premultiplied(size, &pixels);
            let texture = match self.rgba.take() {
                Some((mut texture, _)) => {
                    texture.set(pixels, egui::TextureOptions::LINEAR);
                    texture
                }
                None => painter.ctx().load_texture("picture", pixels, egui::TextureOptions::LINEAR),
            };
            self.rgba = Some((texture, self.serial));
        }
        if let Some((texture, _)) = &self.rgba {
            let (left, right) = if mirrored { (1.0, 0.0) } else { (0.0, 1.0) };
            let part = Rect { min: pos2(left, 0.0), max: pos2(right, 1.0) };
            let shape = RectShape::filled(rect, CornerRadius::same(rounding), Color32::WHITE);
            painter.add(shape.with_texture(texture.id(), part));
        }
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        if let Some((gpu, id)) = &self.gpu {
            gpu.lock().dropped.push(*id);
        }
    }
}

/// The largest rectangle of a shape (width over height) in the middle of another.
pub fn fit(space: Rect, aspect: f32) -> Rect {
    let size = space.size();
    let fitted = if size.x > size.y * aspect {
        egui::vec2(size.y * aspect, size.y)
    } else {
        egui::vec2(size.x, size.x / aspect)
    };
    let middle: Pos2 = space.center();
    Rect::from_center_size(middle, fitted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn frame(width: u32, height: u32) -> Frame {
        Frame { image: Arc::new(I420::black(width, height)), captured: Instant::now() }
    }

    #[test]
    fn a_picture_fits_its_space_whatever_its_shape() {
        let space = Rect::from_min_size(pos2(10.0, 20.0), egui::vec2(320.0, 180.0));
        for (aspect, width, height) in [(16.0 / 9.0, 320.0, 180.0), (1.0, 180.0, 180.0), (4.0, 320.0, 80.0)] {
            let rect = fit(space, aspect);
            assert!((rect.width() - width).abs() < 0.01 && (rect.height() - height).abs() < 0.01, "{rect:?}");
            assert_eq!(rect.center(), space.center());
        }
    }

    #[test]
    fn it_shows_the_newest_frame_until_cleared() {
        let (slot, mut picture) = (Slot::default(), Picture::new(None));
        assert_eq!(picture.size(), None);
        slot.put(frame(64, 36));
        slot.put(frame(32, 32));
        picture.update(&slot);
        picture.update(&slot);
        assert_eq!(picture.size(), Some((32, 32)));
        picture.clear();
        assert_eq!(picture.size(), None);
    }

    #[test]
    fn a_dropped_picture_leaves_its_textures_to_the_next_drawing() {
        let gpu = Gpu::default();
        let pictures = [Picture::new(Some(&gpu)), Picture::new(Some(&gpu))];
        drop(pictures);
        assert_eq!(gpu.lock().dropped, [1, 2]);
    }
}
