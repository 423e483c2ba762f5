//! Pixels from what cameras give to I420, and from one size to another.

use crate::frame::I420;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvPackedImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// A camera's buffer holds no whole picture: leave it out and wait for the next.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a whole picture: {0}")]
pub struct BadBuffer(pub String);

fn bad(why: impl ToString) -> BadBuffer {
    BadBuffer(why.to_string())
}

fn planar(picture: &mut I420) -> YuvPlanarImageMut<'_, u8> {
    let (width, height, chroma) = (picture.width(), picture.height(), picture.chroma_width());
    let [y, u, v] = picture.planes_mut();
    YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: chroma,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: chroma,
        width,
        height,
    }
}

/// Packed 4:2:2 (Y0 U Y1 V), `stride` bytes a row, of the target's size.
pub fn yuyv(data: &[u8], stride: usize, target: &mut I420) -> Result<(), BadBuffer> {
    let (row, rows) = (target.width() as usize * 2, target.height() as usize);
    if !target.width().is_multiple_of(2) {
        return Err(bad("YUYV of an odd width"));
    }
    let stride = stride.max(row);
    let whole = stride * rows;
    let data = match data.get(..whole) {
        Some(data) => data,
        // Some drivers leave the last row's padding out.
        None => return Err(bad(format!("{} bytes of {whole}", data.len()))),
    };
    let source = YuvPackedImage {
        yuy: data,
        yuy_stride: stride as u32,
        width: target.width(),
        height: target.height(),
    };
    yuv::yuyv422_to_yuv420(&mut planar(target), &source).map_err(bad)
}

/// Luma plane, then one plane of U and V by turns, `stride` bytes a row each, of the target's size.
pub fn nv12(data: &[u8], stride: usize, target: &mut I420) -> Result<(), BadBuffer> {
    let (width, height) = (target.width() as usize, target.height() as usize);
    let (chroma, rows) = (target.chroma_width() as usize, target.chroma_height() as usize);
    let stride = stride.max(chroma * 2);
    let whole = stride * (height + rows - 1) + chroma * 2;
    if data.len() < whole {
        return Err(bad(format!("{} bytes of {whole}", data.len())));
    }
    let (luma, pairs) = data.split_at(stride * height);
    let [y, u, v] = target.planes_mut();
    for (line, source) in y.chunks_exact_mut(width).zip(luma.chunks(stride)) {
        line.copy_from_slice(&source[..width]);
    }
    let lines = u.chunks_exact_mut(chroma).zip(v.chunks_exact_mut(chroma));
    for ((u, v), source) in lines.zip(pairs.chunks(stride)) {
        for ((u, v), pair) in u.iter_mut().zip(v).zip(source.chunks_exact(2)) {
            (*u, *v) = (pair[0], pair[1]);
        }
    }
    Ok(())
}

/// Planes Y, U, V packed without padding, of the target's size.
pub fn planes(data: &[u8], target: &mut I420) -> Result<(), BadBuffer> {
    let whole = target.packed().len();
    let data = data.get(..whole).ok_or_else(|| bad(format!("{} bytes of {whole}", data.len())))?;
    let mut rest = data;
    for plane in target.planes_mut() {
        let (head, tail) = rest.split_at(plane.len());
        plane.copy_from_slice(head);
        rest = tail;
    }
    Ok(())
}

/// JPEG decoding with its buffer kept from picture to picture.
#[derive(Default)]
pub struct Jpeg {
    rgb: Vec<u8>,
}

impl Jpeg {
    /// Decodes one JPEG of exactly the target's size. Cut pictures are refused: half of one is worse than
    /// none.
    pub fn decode(&mut self, data: &[u8], target: &mut I420) -> Result<(), BadBuffer> {
        let data = whole_jpeg(data).ok_or_else(|| bad("a JPEG that is cut short"))?;
        let options = DecoderOptions::default()
            .set_strict_mode(true)
            .set_max_width(I420::MAX_SIDE as usize)
            .set_max_height(I420::MAX_SIDE as usize)
            .jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
        decoder.decode_headers().map_err(bad)?;
        let (width, height) = (target.width() as usize, target.height() as usize);
        if decoder.dimensions() != Some((width, height)) {
            return Err(bad(format!("a JPEG of {:?} where {width}x{height} was set", decoder.dimensions())));
        }
        self.rgb.resize(width * height * 3, 0);
        decoder.decode_into(&mut self.rgb).map_err(bad)?;
        let stride = target.width() * 3;
        let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt601);
        yuv::rgb_to_yuv420(&mut planar(target), &self.rgb, stride, range, matrix, YuvConversionMode::Balanced)
            .map_err(bad)
    }
}

/// A JPEG up to its end marker, without the driver's padding; nothing when there is no end.
fn whole_jpeg(data: &[u8]) -> Option<&[u8]> {
    if !data.starts_with(&[0xff, 0xd8]) {
        return None;
    }
    // Inside a picture's data 0xff is always followed by a stuffed zero, so this pair is its end.
    let end = data.windows(2).rposition(|pair| pair == [0xff, 0xd9])?;
    Some(&data[..end + 2])
}

/// Full-range samples (0-255) to the limited range that pictures have here.
pub fn limit_range(picture: &mut I420) {
    let table = |scale: u32, offset: u32| -> [u8; 256] {
        std::array::from_fn(|value| ((value as u32 * scale + 127) / 255 + offset) as u8)
    };
    // Chroma is centred on 128, which 16 + 128 * 224 / 255 rounds to.
    let tables = [table(219, 16), table(224, 16), table(224, 16)];
    for (plane, table) in picture.planes_mut().into_iter().zip(&tables) {
        for sample in plane {
            *sample = table[usize::from(*sample)];
        }
    }
}

/// The largest size of the same shape that fits into `most`, sides even; the size itself if it fits.
pub fn fit((width, height): (u32, u32), most: (u32, u32)) -> (u32, u32) {
    if width <= most.0 && height <= most.1 {
        return (width, height);
    }
    let (w, h) = (u64::from(width), u64::from(height));
    let (most_w, most_h) = (u64::from(most.0), u64::from(most.1));
    let even = |side: u64| ((side & !1).max(2)) as u32;
    if w * most_h >= h * most_w {
        (even(most_w), even(h * most_w / w))
    } else {
        (even(w * most_h / h), even(most_h))
    }
}

/// Scales a picture to the target's size, stretching it if the shapes differ.
///
/// Bilinear; what shrinks to less than half is halved first, so that no source pixel is left out.
pub fn scale(source: &I420, target: &mut I420) {
    let from = [
        (source.width() as usize, source.height() as usize),
        (source.chroma_width() as usize, source.chroma_height() as usize),
        (source.chroma_width() as usize, source.chroma_height() as usize),
    ];
    let to = [
        (target.width() as usize, target.height() as usize),
        (target.chroma_width() as usize, target.chroma_height() as usize),
        (target.chroma_width() as usize, target.chroma_height() as usize),
    ];
    for (plane, samples) in target.planes_mut().into_iter().enumerate() {
        scale_plane(source.planes()[plane], from[plane], samples, to[plane]);
    }
}

fn scale_plane(source: &[u8], from: (usize, usize), target: &mut [u8], to: (usize, usize)) {
    if from == to {
        target.copy_from_slice(source);
    } else if from.0 >= 2 * to.0 && from.1 >= 2 * to.1 {
        let (half, size) = halve(source, from);
        scale_plane(&half, size, target, to);
    } else {
        bilinear(source, from, target, to);
    }
}

/// Each sample the mean of two by two.
fn halve(source: &[u8], (width, height): (usize, usize)) -> (Vec<u8>, (usize, usize)) {
    let (half_width, half_height) = (width / 2, height / 2);
    let mut half = Vec::with_capacity(half_width * half_height);
    for rows in source.chunks_exact(2 * width) {
        let (above, below) = rows.split_at(width);
        let pairs = above.chunks_exact(2).zip(below.chunks_exact(2));
        half.extend(pairs.map(|(a, b)| {
            ((u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]) + 2) / 4) as u8
        }));
    }
    (half, (half_width, half_height))
}

/// Where a target sample lies in the source: the sample before it and 256ths of the way to the next.
fn position(at: usize, from: usize, to: usize) -> (usize, u32) {
    // Centres of samples map to each other: (at + 1/2) * from / to - 1/2.
    let fixed = ((2 * at + 1) * from * 128 / to).saturating_sub(128);
    let whole = (fixed / 256).min(from - 1);
    (whole, if whole + 1 < from { (fixed % 256) as u32 } else { 0 })
}

fn bilinear(source: &[u8], from: (usize, usize), target: &mut [u8], to: (usize, usize)) {
    let columns: Vec<(usize, u32)> = (0..to.0).map(|x| position(x, from.0, to.0)).collect();
    for (y, line) in target.chunks_exact_mut(to.0).enumerate() {
        let (row, down) = position(y, from.1, to.1);
        let above = &source[row * from.0..][..from.0];
        let below = &source[(row + usize::from(down > 0)) * from.0..][..from.0];
        for (sample, &(x, across)) in line.iter_mut().zip(&columns) {
            let next = x + usize::from(across > 0);
            let mix = |row: &[u8]| u32::from(row[x]) * (256 - across) + u32::from(row[next]) * across;
            *sample = ((mix(above) * (256 - down) + mix(below) * down + 32_768) >> 16) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A smooth picture: luma runs across, chroma down.
    fn ramp(width: u32, height: u32) -> I420 {
        let mut picture = I420::black(width, height);
        let (chroma, rows) = (picture.chroma_width() as usize, picture.chroma_height() as usize);
        let [y, u, v] = picture.planes_mut();
        for (at, sample) in y.iter_mut().enumerate() {
            *sample = (16 + (at % width as usize) * 200 / width as usize) as u8;
        }
        for (at, (u, v)) in u.iter_mut().zip(v).enumerate() {
            (*u, *v) = ((60 + at / chroma * 100 / rows) as u8, 90);
        }
        picture
    }

    fn furthest(a: &I420, b: &I420) -> u8 {
        a.packed().iter().zip(b.packed()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    }

    #[test]
    fn nv12_with_padded_rows_comes_out_as_it_went_in() {
        for (width, height) in [(64, 48), (63, 47)] {
            let picture = ramp(width, height);
            let stride = 80;
            let (w, chroma) = (width as usize, picture.chroma_width() as usize);
            let [y, u, v] = picture.planes();
            let mut data = Vec::new();
            for line in y.chunks(w) {
                data.extend_from_slice(line);
                data.resize(data.len() + stride - w, 0);
            }
            for (u, v) in u.chunks(chroma).zip(v.chunks(chroma)) {
                data.extend(u.iter().zip(v).flat_map(|(u, v)| [*u, *v]));
                data.resize(data.len() + stride - 2 * chroma, 0);
            }
            let mut back = I420::black(width, height);
            nv12(&data, stride, &mut back).unwrap();
            assert!(back == picture);
            assert!(nv12(&data[..data.len() - stride], stride, &mut back).is_err());
        }
    }

    #[test]
    fn yuyv_comes_out_as_it_went_in() {
        let picture = ramp(64, 48);
        let [y, u, v] = picture.planes();
        let mut data = Vec::new();
        for row in 0..48 {
            for x in 0..32 {
                let (luma, chroma) = (row * 64 + 2 * x, row / 2 * 32 + x);
                data.extend([y[luma], u[chroma], y[luma + 1], v[chroma]]);
            }
            data.extend([0; 16]);
        }
        let mut back = I420::black(64, 48);
        yuyv(&data, 144, &mut back).unwrap();
        assert!(furthest(&back, &picture) <= 2);
        assert!(yuyv(&data[..data.len() - 1], 144, &mut back).is_err());
    }

    /// 64x48, red left and blue right, made with ffmpeg's mjpeg encoder.
    const RED_BLUE: &[u8] = include_bytes!("../tests/data/red_blue.jpg");

    #[test]
    fn a_jpeg_becomes_limited_range_and_a_cut_one_nothing() {
        let mut jpeg = Jpeg::default();
        let mut picture = I420::black(64, 48);
        let mut padded = RED_BLUE.to_vec();
        padded.extend([0; 100]);
        jpeg.decode(&padded, &mut picture).unwrap();
        let [y, u, v] = picture.planes();
        let near = |a: u8, b: u8| a.abs_diff(b) <= 6;
        let (left, right) = (24 * 64 + 8, 24 * 64 + 56);
        let (chroma_left, chroma_right) = (12 * 32 + 4, 12 * 32 + 28);
        assert!(near(y[left], 81) && near(u[chroma_left], 90) && near(v[chroma_left], 240));
        assert!(near(y[right], 41) && near(u[chroma_right], 240) && near(v[chroma_right], 110));
        for length in 0..RED_BLUE.len() {
            assert!(jpeg.decode(&RED_BLUE[..length], &mut picture).is_err(), "{length}");
        }
        assert!(jpeg.decode(RED_BLUE, &mut I420::black(64, 64)).is_err());
    }

    #[test]
    fn pictures_shrink_to_fit_and_keep_their_shape() {
        assert_eq!(fit((640, 360), (1280, 720)), (640, 360));
        assert_eq!(fit((1920, 1080), (1280, 720)), (1280, 720));
        assert_eq!(fit((1440, 1080), (1280, 720)), (960, 720));
        assert_eq!(fit((720, 1280), (1280, 720)), (404, 720));
        assert_eq!(fit((4096, 2), (1280, 720)), (1280, 2));
    }

    #[test]
    fn scaling_keeps_a_smooth_picture_smooth() {
        for (from, to) in [
            ((640, 360), (320, 180)),
            ((640, 360), (200, 100)),
            ((320, 180), (641, 361)),
            ((1000, 700), (90, 66)),
        ] {
            let mut scaled = I420::black(to.0, to.1);
            scale(&ramp(from.0, from.1), &mut scaled);
            assert!(furthest(&scaled, &ramp(to.0, to.1)) <= 5, "{from:?} {to:?}");
        }
    }

    #[test]
    fn the_full_range_becomes_limited() {
        let mut picture = I420::from_packed(2, 2, vec![0, 255, 128, 64, 128, 255]).unwrap();
        limit_range(&mut picture);
        assert_eq!(picture.packed(), [16, 235, 126, 71, 128, 240]);
    }
}
