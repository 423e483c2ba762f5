//! The first bytes of a VP8 picture (RFC 6386, 9.1), read before libvpx sees it.

use crate::codec::CodecError;

/// What a VP8 picture says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pixels across and down: keyframes only.
    pub size: Option<(u32, u32)>,
}

/// Whether these are the first bytes of a keyframe. An empty slice is none.
pub fn is_key(data: &[u8]) -> bool {
    data.first().is_some_and(|first| first & 1 == 0)
}

/// Reads the header of a whole picture.
pub fn read(data: &[u8]) -> Result<Header, CodecError> {
    let broken = |why: &str| Err(CodecError::Broken(why.into()));
    if data.len() < 4 {
        return broken("too short");
    }
    if !is_key(data) {
        return Ok(Header { size: None });
    }
    let Some(&[_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1]) = data.first_chunk::<10>() else {
        return broken("not a VP8 keyframe");
    };
    // The two top bits of each are a scaling hint that nobody follows.
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    let (width, height) = (side(w0, w1), side(h0, h1));
    if width < 2 || height < 2 {
        return broken("a picture of no size");
    }
    Ok(Header { size: Some((width, height)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_tells_its_size_and_hints_are_left_out() {
        let data = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0x68, 0x01];
        assert_eq!(read(&data).unwrap().size, Some((640, 360)));
    }

    #[test]
    fn short_and_foreign_data_is_broken() {
        for length in 0..10 {
            assert!(read(&[0; 10][..length]).is_err());
        }
        assert!(read(&[0; 10]).is_err());
        assert_eq!(read(&[1, 0, 0, 0]).unwrap().size, None);
    }
}
