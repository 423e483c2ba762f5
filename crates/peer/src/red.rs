//! Redundant sound (RFC 2198): a packet carries copies of the ones before it, so that a loss costs nothing but
//! bits. Pure.

use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;

/// Copies of so many packets at most.
pub(crate) const MOST_COPIES: usize = 2;
/// A copy's distance in time has 14 bits, its length 10.
const MOST_OFFSET: u32 = (1 << 14) - 1;
const MOST_LENGTH: usize = (1 << 10) - 1;
/// With all copies a packet stays below this, so that it is never cut in two.
const MOST_BYTES: usize = 1100;
/// Blocks of a packet that are read; the rest is nonsense.
const MOST_BLOCKS: usize = 8;

/// Packs packets with copies of those before.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    before: VecDeque<(u32, Bytes)>,
}

impl Packer {
    /// What was sent before is not to be said again: after a pause, or when another source begins.
    pub(crate) fn forget(&mut self) {
        self.before.clear();
    }

    /// The payload for a packet, with copies of up to `copies` before it. `payload_type`: that of the sound
    /// itself.
    pub(crate) fn pack(&mut self, payload_type: u8, timestamp: u32, data: &Bytes, copies: usize) -> Bytes {
        let mut room = MOST_BYTES.saturating_sub(data.len());
        let fits = |(at, copy): &&(u32, Bytes)| {
            let offset = timestamp.wrapping_sub(*at);
            let fits = offset <= MOST_OFFSET && copy.len() <= MOST_LENGTH && copy.len() + 4 <= room;
            room -= if fits { copy.len() + 4 } else { 0 };
            fits
        };
        // The newest first: numbers are counted back from the packet itself, so none may be left out between.
        let chosen: Vec<_> = self.before.iter().rev().take(copies).take_while(fits).cloned().collect();
        let mut packet = BytesMut::with_capacity(MOST_BYTES);
        for (at, copy) in chosen.iter().rev() {
            let offset = timestamp.wrapping_sub(*at);
            packet.put_u8(0x80 | payload_type);
            packet.put_u16(((offset << 2) | (copy.len() as u32 >> 8)) as u16);
            packet.put_u8(copy.len() as u8);
        }
        packet.put_u8(payload_type & 0x7f);
        chosen.iter().rev().for_each(|(_, copy)| packet.put_slice(copy));
        packet.put_slice(data);
        self.note(timestamp, data);
        packet.freeze()
    }

    /// A packet left without copies.
    pub(crate) fn note(&mut self, timestamp: u32, data: &Bytes) {
        // overflow: no copy is made of the oldest any more.
        if self.before.len() == MOST_COPIES {
            self.before.pop_front();
        }
        self.before.push_back((timestamp, data.clone()));
    }
}

/// A packet in a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// How many packets before the one that carries it.
    pub(crate) before: u16,
    /// How much earlier, in ticks.
    pub(crate) offset: u32,
    pub(crate) data: Bytes,
}

/// The packets in a payload, the oldest first and its own last. Nothing where it is no such payload.
pub(crate) fn unpack(payload: &Bytes) -> Vec<Block> {
    blocks(payload).unwrap_or_default()
}

fn blocks(payload: &Bytes) -> Option<Vec<Block>> {
    let mut headers = Vec::new();
    let mut at = 0;
    while payload.get(at)? & 0x80 != 0 {
        let &[_, high, middle, low] = payload.get(at..at + 4)?.first_chunk::<4>()?;
        let word = u32::from_be_bytes([0, high, middle, low]);
        headers.push((word >> 10, (word & 0x3ff) as usize));
        at += 4;
        if headers.len() > MOST_BLOCKS {
            return None;
        }
    }
    at += 1;
    let mut found = Vec::with_capacity(headers.len() + 1);
    let count = headers.len() as u16;
    for (index, (offset, length)) in headers.into_iter().enumerate() {
        let end = at + length;
        if end > payload.len() {
            return None;
        }
        if length > 0 {
            found.push(Block { before: count - index as u16, offset, data: payload.slice(at..end) });
        }
        at = end;
    }
    found.push(Block { before: 0, offset: 0, data: payload.slice(at..) });
    Some(found)
}

/// How many copies, by what is lost and what there is to send them with; changes are few.
pub(crate) fn copies(now: usize, loss: f64, bitrate: f64) -> usize {
    let affordable = match bitrate {
        ..180_000.0 => 0,
        180_000.0..320_000.0 => 1,
        _ => MOST_COPIES,
    };
    let wanted = match (now, loss) {
        (_, 0.08..) | (2, 0.05..) => 2,
        (_, 0.015..) | (1 | 2, 0.006..) => 1,
        _ => 0,
    };
    wanted.min(affordable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(n: u8, length: usize) -> Bytes {
        vec![n; length].into()
    }

    #[test]
    fn what_is_packed_is_unpacked_again() {
        let mut packer = Packer::default();
        packer.pack(111, u32::MAX - 100, &data(1, 80), 2);
        packer.pack(111, 859, &data(2, 90), 2);
        let packet = packer.pack(111, 1819, &data(3, 70), 2);
        let block = |before, offset, data| Block { before, offset, data };
        let all = [block(2, 1920, data(1, 80)), block(1, 960, data(2, 90)), block(0, 0, data(3, 70))];
        assert_eq!(unpack(&packet), all);
        let one = packer.pack(111, 2779, &data(4, 60), 1);
        assert_eq!(unpack(&one), [block(1, 960, data(3, 70)), block(0, 0, data(4, 60))]);
        let none = packer.pack(111, 3739, &data(5, 60), 0);
        assert_eq!(unpack(&none), [block(0, 0, data(5, 60))]);
        packer.forget();
        assert_eq!(unpack(&packer.pack(111, 4699, &data(6, 60), 2)).len(), 1);
    }

    #[test]
    fn old_and_large_packets_are_not_copied() {
        let mut packer = Packer::default();
        packer.note(0, &data(1, 60));
        assert_eq!(unpack(&packer.pack(111, 20_000, &data(2, 60), 2)).len(), 1);
        packer.note(20_960, &data(3, 1000));
        let packet = packer.pack(111, 21_920, &data(4, 200), 2);
        assert!(packet.len() <= MOST_BYTES);
        assert_eq!(unpack(&packet).len(), 1);
    }

    #[test]
    fn nonsense_of_every_short_length_gives_nothing_or_less_than_it_is() {
        let mut random = 7_u64;
        for length in 0..300 {
            for _ in 0..20 {
                let mut next = || {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (random >> 33) as u8
                };
                let payload: Bytes = (0..length).map(|_| next()).collect::<Vec<_>>().into();
                let blocks = unpack(&payload);
                assert!(blocks.iter().map(|block| block.data.len()).sum::<usize>() <= length);
            }
        }
        assert!(unpack(&Bytes::from(vec![0xff; 1200])).is_empty());
    }

    #[test]
    fn copies_follow_the_loss_without_flicker() {
        assert_eq!(copies(0, 0.0, 1e6), 0);
        assert_eq!(copies(0, 0.02, 1e6), 1);
        assert_eq!(copies(1, 0.01, 1e6), 1);
        assert_eq!(copies(0, 0.01, 1e6), 0);
        assert_eq!(copies(1, 0.1, 1e6), 2);
        assert_eq!(copies(2, 0.06, 1e6), 2);
        assert_eq!(copies(2, 0.1, 2e5), 1);
        assert_eq!(copies(2, 0.1, 1e5), 0);
    }
}
