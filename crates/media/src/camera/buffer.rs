//! A camera's buffer becomes a picture.

use super::modes::Pixels;
use crate::convert::{self, BadBuffer, Jpeg};
use crate::frame::I420;
use crate::pool::Pool;
use std::sync::Arc;

/// What came of waiting for a buffer.
pub(super) enum Decoded {
    /// A whole picture.
    Picture(Arc<I420>),
    /// Something that is none; why.
    Skipped(String),
    /// No buffer came.
    Nothing,
}

/// Converts buffers of one format and size.
pub(super) struct Converter {
    pixels: Pixels,
    width: u32,
    height: u32,
    /// Bytes a row, 0 where rows follow each other closely.
    stride: usize,
    jpeg: Jpeg,
    pool: Pool,
}

impl Converter {
    pub(super) fn new(pixels: Pixels, (width, height): (u32, u32), stride: usize) -> Self {
        Self { pixels, width, height, stride, jpeg: Jpeg::default(), pool: Pool::new() }
    }

    pub(super) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    pub(super) fn convert(&mut self, data: &[u8]) -> Decoded {
        if data.is_empty() {
            return Decoded::Skipped("an empty buffer".into());
        }
        let (pixels, stride, jpeg) = (self.pixels, self.stride, &mut self.jpeg);
        let converted = self.pool.picture(self.width, self.height, |target| match pixels {
            Pixels::Mjpeg => jpeg.decode(data, target),
            Pixels::Yuyv => convert::yuyv(data, stride, target),
            Pixels::Nv12 => convert::nv12(data, stride, target),
            Pixels::I420 => convert::planes(data, target),
        });
        match converted {
            Ok(picture) => Decoded::Picture(picture),
            Err(BadBuffer(why)) => Decoded::Skipped(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_short_buffers_are_skipped_in_every_format() {
        for pixels in Pixels::ALL {
            let mut converter = Converter::new(pixels, (64, 48), 0);
            for length in [0, 1, 2, 100, 64 * 48] {
                assert!(
                    matches!(converter.convert(&vec![0xff; length]), Decoded::Skipped(_)),
                    "{pixels:?} {length}"
                );
            }
        }
    }

    #[test]
    fn whole_buffers_become_pictures() {
        for (pixels, bytes) in [(Pixels::Yuyv, 64 * 48 * 2), (Pixels::Nv12, 64 * 72), (Pixels::I420, 64 * 72)]
        {
            let mut converter = Converter::new(pixels, (64, 48), 0);
            let Decoded::Picture(picture) = converter.convert(&vec![77; bytes]) else { panic!("{pixels:?}") };
            assert!(picture.packed().iter().all(|sample| *sample == 77));
        }
    }
}
