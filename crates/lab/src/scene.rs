//! The pictures of a marked clip: somebody who sits before a bookshelf, sways, blinks and talks, seen by a
//! slightly noisy camera. Made by plain arithmetic, the same on every machine, and about as hard for an
//! encoder as a webcam's picture.

use crate::mark::{Colour, Mark, stamp};
use media::I420;
use std::f32::consts::TAU;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// A clip to be made.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Pixels across, even, from 64 up.
    pub width: u32,
    /// Pixels down, even, from 36 up.
    pub height: u32,
    /// Pictures a second.
    pub fps: u32,
    /// How many pictures there are; played in a loop, the numbers start again with it.
    pub frames: u32,
    /// What tells it from others.
    pub colour: Colour,
}

impl Clip {
    /// A clip of 640x360 at 30 pictures a second.
    pub fn new(colour: Colour, seconds: u32) -> Self {
        Self { width: 640, height: 360, fps: 30, frames: 30 * seconds, colour }
    }
}

/// Writes a clip as y4m (4:2:0, 8 bits; about 10 MB a second at 640x360 and 30 pictures a second).
///
/// # Errors
/// What the file system says.
pub fn write_clip(path: &Path, clip: &Clip) -> io::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    writeln!(out, "YUV4MPEG2 W{} H{} F{}:1 Ip A1:1 C420", clip.width, clip.height, clip.fps)?;
    let scene = Scene::new(clip);
    for number in 0..clip.frames {
        out.write_all(b"FRAME\n")?;
        out.write_all(scene.frame(number).packed())?;
    }
    out.flush()
}

/// The pictures of a clip, one at a time.
#[derive(Debug)]
pub struct Scene {
    clip: Clip,
    room: I420,
    noise: Vec<i8>,
}

/// One picture's state of things. Lengths are in picture heights, from the middle of the picture.
struct Pose {
    head: (f32, f32),
    mouth: f32,
    blink: bool,
    hand: (f32, f32),
}

impl Scene {
    /// Prepares what does not move.
    pub fn new(clip: &Clip) -> Self {
        let mut room = I420::black(clip.width, clip.height);
        let [width, height] = [clip.width, clip.height].map(|side| side as f32);
        fill(&mut room, |x, y| shelf((x - width / 2.0) / height, (y - height / 2.0) / height));
        Self { clip: clip.clone(), room, noise: noise(8 * 8192) }
    }

    /// Picture `number`, marked with it.
    pub fn frame(&self, number: u32) -> I420 {
        let mut picture = self.room.clone();
        let [width, height] = [self.clip.width, self.clip.height].map(|side| side as f32);
        let pose = self.pose(number);
        fill_where(&mut picture, |x, y| {
            person(&pose, (x - width / 2.0) / height, (y - height / 2.0) / height)
        });
        self.add_noise(&mut picture, number);
        stamp(&mut picture, Mark { number, colour: self.clip.colour });
        picture
    }

    /// Motions whose periods divide the clip, so that it loops without a jump.
    fn pose(&self, number: u32) -> Pose {
        let turns = number as f32 / self.clip.frames.max(1) as f32;
        let seconds = (self.clip.frames as f32 / self.clip.fps.max(1) as f32).max(1.0);
        let wave = |hertz: f32| (TAU * turns * (hertz * seconds).round().max(1.0)).sin();
        Pose {
            head: (0.05 * wave(0.3) + 0.012 * wave(1.1), 0.02 * wave(0.5) + 0.008 * wave(1.7)),
            mouth: 0.012 + 0.02 * (wave(3.2) * wave(0.7)).abs(),
            blink: wave(0.4) > 0.97,
            hand: (0.45 + 0.10 * wave(0.6), 0.36 + 0.06 * wave(0.9)),
        }
    }

    fn add_noise(&self, picture: &mut I420, number: u32) {
        let length = self.noise.len();
        // A step far from any multiple of a row, so that no grain stands still between pictures.
        let start = number as usize * 7919 % length;
        let grains = self.noise[start..].iter().chain(self.noise.iter().cycle());
        for (value, grain) in picture.planes_mut()[0].iter_mut().zip(grains) {
            *value = value.saturating_add_signed(*grain);
        }
    }
}

/// About Gaussian, standard deviation 1.5 steps.
fn noise(length: usize) -> Vec<i8> {
    let mut state = 0x9e37_79b9u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 16) as f32 / 65_536.0 - 0.5
    };
    (0..length).map(|_| ((next() + next() + next() + next()) * 2.6).round() as i8).collect()
}

type Yuv = [u8; 3];

fn fill(picture: &mut I420, colour: impl Fn(f32, f32) -> Yuv) {
    fill_where(picture, |x, y| Some(colour(x, y)));
}

/// Sets each pixel for which `colour` has one; chroma is taken at every second pixel.
fn fill_where(picture: &mut I420, colour: impl Fn(f32, f32) -> Option<Yuv>) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let chroma_width = picture.chroma_width() as usize;
    let [luma, u, v] = picture.planes_mut();
    for y in 0..height {
        for x in 0..width {
            let Some(value) = colour(x as f32, y as f32) else { continue };
            luma[y * width + x] = value[0];
            if x % 2 == 0 && y % 2 == 0 {
                let at = y / 2 * chroma_width + x / 2;
                (u[at], v[at]) = (value[1], value[2]);
            }
        }
    }
}

fn luma(value: f32) -> u8 {
    value.clamp(16.0, 235.0) as u8
}

/// A number from 0 to 1 that belongs to a cell of a grid.
fn hash(x: f32, y: f32) -> f32 {
    ((x * 127.1 + y * 311.7).sin() * 43_758.547).fract().abs()
}

/// A wall with a shelf of books: edges and fine grain, none of it moving.
fn shelf(x: f32, y: f32) -> Yuv {
    let wall = 120.0 - 30.0 * x + 20.0 * (y * 2.0).sin();
    let (board, within) = ((y * 4.0).floor(), (y * 4.0).rem_euclid(1.0));
    if x.abs() < 0.42 || within < 0.08 {
        let grain = 4.0 * (x * 160.0).sin() * (y * 130.0 + x * 40.0).sin();
        return [luma(wall + grain), 122, 134];
    }
    let book = (x * 26.0).floor();
    let edge = (x * 26.0).rem_euclid(1.0);
    let shade = if edge < 0.12 { -35.0 } else { 12.0 * (within * 30.0).sin() };
    let tint = hash(book, board);
    [
        luma(50.0 + 120.0 * tint + shade),
        (108.0 + 40.0 * hash(book, board + 9.0)) as u8,
        (110.0 + 45.0 * tint) as u8,
    ]
}

fn inside(x: f32, y: f32, centre: (f32, f32), radii: (f32, f32)) -> f32 {
    ((x - centre.0) / radii.0).powi(2) + ((y - centre.1) / radii.1).powi(2)
}

/// What of the person is at a place, if anything.
fn person(pose: &Pose, x: f32, y: f32) -> Option<Yuv> {
    let head = (pose.head.0, pose.head.1 - 0.08);
    let hand = inside(x, y, pose.hand, (0.07, 0.09));
    if hand < 1.0 {
        let fingers = if y < pose.hand.1 { 25.0 * ((x - pose.hand.0) * 190.0).sin() } else { 0.0 };
        return Some([luma(165.0 - 40.0 * hand + fingers), 112, 150]);
    }
    let face = inside(x, y, head, (0.17, 0.22));
    if face < 1.0 {
        return Some(face_at(pose, x - head.0, y - head.1, face));
    }
    if y < head.1 && inside(x, y, (head.0, head.1 - 0.03), (0.20, 0.25)) < 1.0 {
        let strands = 18.0 * ((x - head.0) * 140.0 + 14.0 * (y * 20.0).sin()).sin();
        return Some([luma(48.0 + strands), 122, 136]);
    }
    let body = inside(x, y, (0.6 * pose.head.0, 0.60), (0.46, 0.40));
    if body < 1.0 {
        let weave = 14.0 * ((x - 0.6 * pose.head.0) * 90.0).sin() * (y * 90.0).sin();
        return Some([luma(95.0 - 30.0 * body + weave), 146, 118]);
    }
    None
}

fn face_at(pose: &Pose, x: f32, y: f32, edge: f32) -> Yuv {
    let eye = inside(x.abs(), y, (0.065, -0.04), (0.03, 0.016));
    if eye < 1.0 && !pose.blink {
        return [if eye < 0.3 { 30 } else { 215 }, 128, 128];
    }
    if inside(x, y, (0.0, 0.11), (0.055, pose.mouth)) < 1.0 {
        return [60, 116, 165];
    }
    let pores = 3.0 * (x * 310.0).sin() * (y * 290.0).sin();
    [luma(185.0 - 55.0 * edge - 40.0 * x + pores), 110, 152]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mark::read_mark;

    #[test]
    fn pictures_move_and_carry_their_numbers() {
        let scene = Scene::new(&Clip::new(Colour::Green, 10));
        let (one, two) = (scene.frame(100), scene.frame(110));
        assert_eq!(read_mark(&one), Some(Mark { number: 100, colour: Colour::Green }));
        assert_eq!(read_mark(&two), Some(Mark { number: 110, colour: Colour::Green }));
        let changed =
            one.planes()[0].iter().zip(two.planes()[0]).filter(|(a, b)| a.abs_diff(**b) > 12).count();
        assert!(changed > 640 * 360 / 50, "{changed} pixels moved");
    }

    #[test]
    fn the_loop_has_no_jump() {
        let scene = Scene::new(&Clip::new(Colour::Red, 2));
        let difference = |a: u32, b: u32| -> u64 {
            let (a, b) = (scene.frame(a), scene.frame(b));
            let below_mark = 640 * 40;
            let pairs = a.planes()[0][below_mark..].iter().zip(&b.planes()[0][below_mark..]);
            pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
        };
        assert!(difference(59, 0) < 2 * difference(20, 21));
    }

    #[test]
    fn a_clip_on_disk_has_every_frame() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.y4m");
        let clip = Clip { width: 128, height: 72, frames: 5, ..Clip::new(Colour::Cyan, 1) };
        write_clip(&path, &clip).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = crate::y4m::Reader::new(file).unwrap();
        for number in 0..5 {
            let frame = reader.next_frame().unwrap().unwrap();
            assert_eq!(read_mark(&frame.picture).unwrap().number, number);
        }
        assert!(reader.next_frame().unwrap().is_none());
    }
}
