//! The VP8 payload descriptor in front of each RTP packet's data (RFC 7741, 4.2).

/// What the descriptor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Bytes it takes; the codec's data follows.
    pub length: usize,
    /// The packet begins a partition.
    pub start: bool,
    /// Which partition: 0 holds the picture's header.
    pub partition: u8,
    /// No other picture is predicted from this one.
    pub disposable: bool,
    /// 7 or 15 bits, one more from picture to picture.
    pub picture_id: Option<u16>,
    /// Temporal layer.
    pub layer: Option<u8>,
}

impl Descriptor {
    /// Whether the packet is a picture's first.
    pub fn begins_picture(&self) -> bool {
        self.start && self.partition == 0
    }
}

/// The payload is too short for what its descriptor announces.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a VP8 payload of {0} bytes is cut short")]
pub struct CutShort(pub usize);

/// Reads the descriptor of a payload that is not empty.
pub fn read(payload: &[u8]) -> Result<Descriptor, CutShort> {
    let mut rest = payload.iter().copied();
    let mut next = || rest.next().ok_or(CutShort(payload.len()));
    let first = next()?;
    let mut descriptor = Descriptor {
        start: first & 0x10 != 0,
        partition: first & 0x07,
        disposable: first & 0x20 != 0,
        ..Descriptor::default()
    };
    if first & 0x80 != 0 {
        let extended = next()?;
        if extended & 0x80 != 0 {
            let id = next()?;
            descriptor.picture_id = Some(match id & 0x80 {
                0 => u16::from(id),
                _ => u16::from_be_bytes([id & 0x7f, next()?]),
            });
        }
        if extended & 0x40 != 0 {
            next()?;
        }
        if extended & 0x30 != 0 {
            let layer = next()?;
            descriptor.layer = (extended & 0x20 != 0).then_some(layer >> 6);
        }
    }
    descriptor.length = payload.len() - rest.len();
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_is_one_byte() {
        let read = read(&[0x10, 0xaa]).unwrap();
        assert_eq!(read, Descriptor { length: 1, start: true, ..Descriptor::default() });
        assert!(read.begins_picture());
    }

    #[test]
    fn every_extension_is_stepped_over() {
        let read_all = read(&[0xb2, 0xf0, 0x81, 0x02, 9, 0x60, 0xaa]).unwrap();
        assert_eq!((read_all.length, read_all.picture_id, read_all.layer), (6, Some(0x102), Some(1)));
        assert!(read_all.start && read_all.disposable && !read_all.begins_picture());
        let short_id = read(&[0x90, 0x80, 0x7f, 0xaa]).unwrap();
        assert_eq!((short_id.length, short_id.picture_id), (3, Some(0x7f)));
    }

    #[test]
    fn cut_descriptors_are_told() {
        let whole = [0x90, 0xf0, 0x81, 0x02, 9, 0x60];
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), Err(CutShort(length)));
        }
        assert_eq!(read(&whole).unwrap().length, 6);
    }
}
