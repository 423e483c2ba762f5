//! Frames on the wire: STUN messages and ChannelData (RFC 8656, section 12), as datagrams and in streams.
//!
//! Everything from outside passes here first, and here it is measured: what goes on to the message codec has
//! the length that it claims, and attributes that end within it.

/// The largest frame that is taken or sent, in bytes with its header: a packet on any real path, and jumbo
/// frames. What is larger is dropped as a datagram and ends a stream.
pub const MAX_FRAME: usize = 9216;

/// The header of a STUN message.
pub(crate) const HEADER: usize = 20;

/// The header of ChannelData.
pub(crate) const CHANNEL_HEADER: usize = 4;

const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();

/// A STUN message has no more attributes than this.
const MAX_ATTRIBUTES: usize = 48;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole STUN message, header and all, whose attributes fill it exactly.
    Stun(&'a [u8]),
    /// Application data on a channel, 0x4000 to 0x7fff.
    Channel {
        /// The channel.
        number: u16,
        /// Without header and padding.
        data: &'a [u8],
    },
}

/// What starts a stream is neither STUN nor ChannelData: nothing that follows can be read either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither STUN nor ChannelData")]
pub struct Garbage;

/// A datagram; none if it is not one frame, and nothing but that.
pub fn datagram(bytes: &[u8]) -> Option<Frame<'_>> {
    match *bytes.first()? >> 6 {
        0 => (stun_length(bytes)? == bytes.len() && is_well_formed(bytes)).then_some(Frame::Stun(bytes)),
        1 => {
            let (number, length) = channel_header(bytes)?;
            // Over UDP padding is allowed, not asked for.
            let data = bytes.get(CHANNEL_HEADER..CHANNEL_HEADER + length)?;
            (bytes.len() - CHANNEL_HEADER - length < 4).then_some(Frame::Channel { number, data })
        }
        _ => None,
    }
}

/// The first frame of a stream, and how many bytes of the stream it takes (ChannelData is padded there to
/// four); `None` while more bytes must come.
pub fn stream(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Garbage> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let (header, length) = match first >> 6 {
        0 => (HEADER, bytes.get(..HEADER).map(|_| stun_length(bytes).ok_or(Garbage)).transpose()?),
        1 => {
            let length = channel_header(bytes).map(|(_, length)| CHANNEL_HEADER + length);
            (CHANNEL_HEADER, length.map(|length| length.next_multiple_of(4)))
        }
        _ => return Err(Garbage),
    };
    if header == HEADER && !starts_like_stun(bytes) {
        return Err(Garbage);
    }
    let Some(length) = length else { return Ok(None) };
    if length > MAX_FRAME {
        return Err(Garbage);
    }
    let Some(frame) = bytes.get(..length) else { return Ok(None) };
    datagram(frame).map(|frame| Some((frame, length))).ok_or(Garbage)
}

/// Writes the header of ChannelData that carries `length` bytes.
pub(crate) fn write_channel_header(header: &mut [u8; CHANNEL_HEADER], number: u16, length: u16) {
    header[..2].copy_from_slice(&number.to_be_bytes());
    header[2..].copy_from_slice(&length.to_be_bytes());
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn channel_header(bytes: &[u8]) -> Option<(u16, usize)> {
    Some((u16_at(bytes, 0)?, usize::from(u16_at(bytes, 2)?)))
}

/// The cookie, as far as it has come, so that a stream of other things ends at once.
fn starts_like_stun(bytes: &[u8]) -> bool {
    let cookie = bytes.get(4..bytes.len().min(8)).unwrap_or_default();
    MAGIC_COOKIE.starts_with(cookie)
}

/// The length of a STUN message by its header, header included.
fn stun_length(bytes: &[u8]) -> Option<usize> {
    let length = HEADER + usize::from(u16_at(bytes, 2)?);
    let is_stun = bytes.get(4..8)? == MAGIC_COOKIE && length.is_multiple_of(4) && length <= MAX_FRAME;
    is_stun.then_some(length)
}

/// Whether the attributes fill the message to its end.
fn is_well_formed(message: &[u8]) -> bool {
    let mut at = HEADER;
    for _ in 0..=MAX_ATTRIBUTES {
        if at >= message.len() {
            return at == message.len();
        }
        let Some(length) = u16_at(message, at + 2) else { return false };
        at += 4 + usize::from(length).next_multiple_of(4);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn binding(attributes: &[u8]) -> Vec<u8> {
        let mut message = vec![0, 1];
        message.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
        message.extend(MAGIC_COOKIE);
        message.extend([7; 12]);
        message.extend(attributes);
        message
    }

    #[test]
    fn frames_are_known_by_their_first_bits() {
        let plain = binding(&[]);
        assert_eq!(datagram(&plain), Some(Frame::Stun(&plain)));
        let padded = binding(&[0x80, 0x22, 0, 1, b'x', 0, 0, 0]);
        assert_eq!(datagram(&padded), Some(Frame::Stun(&padded)));
        let channel = [0x40, 1, 0, 3, 9, 8, 7, 0];
        let frame = Frame::Channel { number: 0x4001, data: &[9, 8, 7] };
        assert_eq!(datagram(&channel), Some(frame));
        assert_eq!(datagram(&channel[..7]), Some(frame));
        assert_eq!(stream(&channel), Ok(Some((frame, 8))));
        assert_eq!(stream(&channel[..7]), Ok(None));
    }

    #[test]
    fn what_lies_about_its_length_is_refused() {
        for attributes in [&[0, 6, 0, 9, 1, 2, 3, 4][..], &[0, 6, 0, 5, 1, 2, 3, 4], &[0, 6, 0]] {
            assert_eq!(datagram(&binding(attributes)), None, "{attributes:?}");
        }
        assert_eq!(datagram(&[binding(&[]), vec![0; 4]].concat()), None, "something after the message");
        assert_eq!(datagram(&[0x40, 0, 0, 5, 1, 2, 3, 4]), None, "shorter than it says");
        assert_eq!(datagram(&[0x40, 0, 0, 0, 1, 2, 3, 4]), None, "longer than padding can be");
        let many = [0x80, 0x22, 0, 0].repeat(MAX_ATTRIBUTES + 1);
        assert_eq!(datagram(&binding(&many)), None, "too many attributes");
        let most = [0x80, 0x22, 0, 0].repeat(MAX_ATTRIBUTES);
        assert!(datagram(&binding(&most)).is_some());
    }

    #[test]
    fn a_stream_of_something_else_ends_at_once() {
        assert_eq!(stream(b""), Ok(None));
        assert_eq!(stream(b"\x16\x03\x01"), Ok(None), "too short to tell from STUN");
        assert_eq!(stream(b"\x16\x03\x01\x02\x00\x01"), Err(Garbage));
        assert_eq!(stream(b"\xff"), Err(Garbage));
        assert_eq!(stream(&[0x40, 0, 0xff, 0xff]), Err(Garbage), "larger than any frame");
        let mut large = binding(&[]);
        large[2..4].copy_from_slice(&0xfff0_u16.to_be_bytes());
        assert_eq!(stream(&large), Err(Garbage));
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_frames() {
        let whole = [binding(&[]), vec![0x40, 1, 0, 2, 5, 6, 0, 0], binding(&[0, 6, 0, 0])].concat();
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..200 {
            let (mut got, mut held, mut at) = (vec![], vec![], 0);
            while at < whole.len() {
                let step = random.random_range(1..=whole.len() - at);
                held.extend(&whole[at..at + step]);
                at += step;
                while let Some((_, length)) = stream(&held).unwrap() {
                    got.push(length);
                    held.drain(..length);
                }
            }
            assert_eq!((got, held.len()), (vec![20, 8, 24], 0));
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut random = StdRng::seed_from_u64(2);
        for length in 0..300_usize {
            for _ in 0..200 {
                let mut bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
                if length >= 8 && random.random() {
                    bytes[0] &= 0x7f;
                    bytes[2] = 0;
                    bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
                }
                let _ = (datagram(&bytes), stream(&bytes));
            }
        }
    }
}
