//! STUN and ChannelData on a stream (RFC 8489, section 6.2.2; RFC 8656, section 12.5): each message tells its
//! own length, and ChannelData is padded to four bytes.

use bytes::{Bytes, BytesMut};

/// The largest message: a header and what 16 bits can count.
const MAX_MESSAGE: usize = 20 + 65_535 + 3;

/// What comes is neither STUN nor ChannelData: the stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server speaks neither STUN nor ChannelData")]
pub(crate) struct NotTurn;

/// A packet as it goes onto a stream.
pub(super) fn frame(packet: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(packet);
    let is_channel_data = packet.first().is_some_and(|first| first >> 6 == 1);
    if is_channel_data {
        out.resize(out.len() + packet.len().next_multiple_of(4) - packet.len(), 0);
    }
}

/// Cuts what came into packets.
#[derive(Debug, Default)]
pub(crate) struct Unframer {
    bytes: BytesMut,
}

impl Unframer {
    /// Where to read to. Bounded: a whole message is always taken out before more is read.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        debug_assert!(self.bytes.len() <= MAX_MESSAGE, "messages are taken out first");
        self.bytes.reserve(4096);
        &mut self.bytes
    }

    /// The next packet without its padding; `None` until more has come.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, NotTurn> {
        let Some(head) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (message, padded) = match head[0] >> 6 {
            0 if length.is_multiple_of(4) => (20 + length, 20 + length),
            1 => (4 + length, 4 + length.next_multiple_of(4)),
            _ => return Err(NotTurn),
        };
        if self.bytes.len() < padded {
            return Ok(None);
        }
        let mut packet = self.bytes.split_to(padded);
        packet.truncate(message);
        Ok(Some(packet.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stun(body: u16) -> Vec<u8> {
        let mut packet = vec![0, 1];
        packet.extend_from_slice(&(body * 4).to_be_bytes());
        packet.resize(20 + usize::from(body) * 4, 9);
        packet
    }

    fn channel(length: u16) -> Vec<u8> {
        let mut packet = vec![0x40, 1];
        packet.extend_from_slice(&length.to_be_bytes());
        packet.resize(4 + usize::from(length), 8);
        packet
    }

    #[test]
    fn padding_is_put_on_channel_data_alone_and_taken_off() {
        let mut out = vec![];
        frame(&channel(5), &mut out);
        assert_eq!(out.len(), 12);
        frame(&stun(2), &mut out);
        assert_eq!(out.len(), 40);
        let mut unframer = Unframer::default();
        unframer.room().extend_from_slice(&out);
        assert_eq!(unframer.next(), Ok(Some(channel(5).into())));
        assert_eq!(unframer.next(), Ok(Some(stun(2).into())));
        assert_eq!(unframer.next(), Ok(None));
    }

    #[test]
    fn what_is_not_turn_is_an_error() {
        for first in [b"HTTP", &[0x80, 0, 0, 0], &[0, 1, 0, 3]] {
            let mut unframer = Unframer::default();
            unframer.room().extend_from_slice(first);
            let result = unframer.next();
            // `H` is 01 in its leading bits: a channel, whose end never comes.
            assert!(result == Err(NotTurn) || (first == b"HTTP" && result == Ok(None)), "{result:?}");
        }
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in(
            packets in proptest::collection::vec((any::<bool>(), 0_u16..400), 1..30),
            piece in 1_usize..900,
        ) {
            let packets: Vec<Vec<u8>> =
                packets.into_iter().map(|(stuns, n)| if stuns { stun(n) } else { channel(n) }).collect();
            let mut wire = vec![];
            packets.iter().for_each(|packet| frame(packet, &mut wire));
            let (mut unframer, mut out) = (Unframer::default(), vec![]);
            for bytes in wire.chunks(piece) {
                unframer.room().extend_from_slice(bytes);
                while let Some(packet) = unframer.next().unwrap() {
                    out.push(packet.to_vec());
                }
            }
            prop_assert_eq!(out, packets);
        }

        #[test]
        fn noise_neither_panics_nor_piles_up(pieces in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..4096), 0..60)
        ) {
            let mut unframer = Unframer::default();
            for piece in pieces {
                unframer.room().extend_from_slice(&piece);
                loop {
                    match unframer.next() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(NotTurn) => return Ok(()),
                    }
                }
                prop_assert!(unframer.bytes.len() <= MAX_MESSAGE);
            }
        }
    }
}
