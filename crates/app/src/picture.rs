//! Pictures as pixels: for the PNG of the demo, and for windows without a shader.

use anyhow::{Context as _, Result};
use media::I420;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix};

/// A picture as RGBA, 8 bits each, rows packed; `width * height * 4` bytes.
pub fn rgba(picture: &I420) -> Result<Vec<u8>> {
    let (width, height) = (picture.width(), picture.height());
    let [y_plane, u_plane, v_plane] = picture.planes();
    let chroma = picture.chroma_width();
    let planes = YuvPlanarImage {
        y_plane,
        y_stride: width,
        u_plane,
        u_stride: chroma,
        v_plane,
        v_stride: chroma,
        width,
        height,
    };
    let mut out = vec![0; width as usize * height as usize * 4];
    yuv::yuv420_to_rgba(&planes, &mut out, width * 4, YuvRange::Limited, YuvStandardMatrix::Bt601)
        .context("cannot convert a picture")?;
    Ok(out)
}

/// Writes pictures side by side, tops aligned, as one PNG.
pub fn save_png(path: &Path, pictures: &[&I420]) -> Result<()> {
    let width: u32 = pictures.iter().map(|picture| picture.width()).sum();
    let height = pictures.iter().map(|picture| picture.height()).max().unwrap_or(0);
    let row = width as usize * 4;
    let mut out = vec![0; row * height as usize];
    let mut left = 0;
    for picture in pictures {
        let pixels = rgba(picture)?;
        let bytes = picture.width() as usize * 4;
        for (from, to) in pixels.chunks_exact(bytes).zip(out.chunks_exact_mut(row)) {
            to[left..left + bytes].copy_from_slice(from);
        }
        left += bytes;
    }
    let write = || -> Result<()> {
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width, height);
        encoder.set_color(png::ColorType::Rgba);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&out)?;
        Ok(writer.finish()?)
    };
    write().with_context(|| format!("cannot write the picture {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u32, height: u32, luma: u8) -> I420 {
        let mut picture = I420::black(width, height);
        picture.planes_mut()[0].fill(luma);
        picture
    }

    #[test]
    fn limited_range_becomes_full() {
        let pixels = rgba(&grey(5, 3, 235)).unwrap();
        assert_eq!(pixels.len(), 5 * 3 * 4);
        assert!(pixels.iter().all(|value| *value >= 254), "{pixels:?}");
        assert_eq!(rgba(&I420::black(2, 2)).unwrap()[..4], [0, 0, 0, 255]);
    }

    #[test]
    fn two_pictures_stand_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.png");
        save_png(&path, &[&grey(4, 2, 235), &grey(2, 4, 16)]).unwrap();
        let mut reader =
            png::Decoder::new(std::io::BufReader::new(File::open(&path).unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (6, 4));
        assert!(pixels[0] >= 254 && pixels[4 * 4] == 0);
        assert!(save_png(&folder.path().join("no/out.png"), &[&grey(2, 2, 0)]).is_err());
    }
}
