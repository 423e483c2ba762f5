//! Pictures: planar 4:2:0, as cameras are converted to, codecs take and give, and shaders draw.

use std::sync::Arc;
use std::time::Instant;

/// An 8-bit planar Y'CbCr 4:2:0 picture (BT.601, limited range), planes tightly packed one after another.
///
/// Luma is `width x height`; each chroma plane is `ceil(width / 2) x ceil(height / 2)`.
#[derive(Clone, PartialEq, Eq)]
pub struct I420 {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

/// The picture's size is zero, too large, or does not fit the data given.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a picture of {width}x{height} does not fit {bytes} bytes of I420")]
pub struct BadPicture {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Bytes that were given.
    pub bytes: usize,
}

impl I420 {
    /// The longest side that is taken: a bound on what files, cameras and the network can make us allocate.
    pub const MAX_SIDE: u32 = 4096;

    /// Bytes of a picture of this size.
    pub fn bytes(width: u32, height: u32) -> usize {
        let (w, h) = (width as usize, height as usize);
        w * h + 2 * w.div_ceil(2) * h.div_ceil(2)
    }

    /// A black picture. Sides are clamped to 2..=[`Self::MAX_SIDE`].
    pub fn black(width: u32, height: u32) -> Self {
        let (width, height) = (width.clamp(2, Self::MAX_SIDE), height.clamp(2, Self::MAX_SIDE));
        let mut data = vec![128; Self::bytes(width, height)];
        data[..(width * height) as usize].fill(16);
        Self { width, height, data }
    }

    /// Takes planes already packed as this type packs them.
    pub fn from_packed(width: u32, height: u32, data: Vec<u8>) -> Result<Self, BadPicture> {
        let sides = 2..=Self::MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) || data.len() != Self::bytes(width, height) {
            return Err(BadPicture { width, height, bytes: data.len() });
        }
        Ok(Self { width, height, data })
    }

    /// Pixels across.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels down.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Samples across of a chroma plane.
    pub fn chroma_width(&self) -> u32 {
        self.width.div_ceil(2)
    }

    /// Samples down of a chroma plane.
    pub fn chroma_height(&self) -> u32 {
        self.height.div_ceil(2)
    }

    /// All planes, Y then U then V, packed.
    pub fn packed(&self) -> &[u8] {
        &self.data
    }

    /// The three planes Y, U, V.
    pub fn planes(&self) -> [&[u8]; 3] {
        let (y, uv) = self.data.split_at((self.width * self.height) as usize);
        let (u, v) = uv.split_at(uv.len() / 2);
        [y, u, v]
    }

    /// The three planes Y, U, V, to be written.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let (y, uv) = self.data.split_at_mut((self.width * self.height) as usize);
        let half = uv.len() / 2;
        let (u, v) = uv.split_at_mut(half);
        [y, u, v]
    }
}

impl std::fmt::Debug for I420 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "I420({}x{})", self.width, self.height)
    }
}

/// A picture and when it was taken; cheap to clone.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The picture.
    pub image: Arc<I420>,
    /// When the camera took it (of a received picture: when its last packet came).
    pub captured: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sides_round_chroma_up() {
        let picture = I420::black(5, 3);
        let [y, u, v] = picture.planes();
        assert_eq!((y.len(), u.len(), v.len()), (15, 6, 6));
        assert_eq!((picture.chroma_width(), picture.chroma_height()), (3, 2));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        assert!(I420::from_packed(4, 4, vec![0; 24]).is_ok());
        assert!(I420::from_packed(4, 4, vec![0; 23]).is_err());
        assert!(I420::from_packed(0, 4, vec![]).is_err());
        assert!(I420::from_packed(u32::MAX, 2, vec![]).is_err());
    }
}
