//! VP8: from packets to pictures.

use crate::feed::Feed;
use crate::now;
use media::RtpPacket;
use media::codec::VideoDecoder;
use media::codec::vp8::{MAX_HEIGHT, MAX_WIDTH, Vp8Decoder, header};
use media::pool::Pool;
use media::video::assembler::Assembler;
use std::time::Duration;

/// Packets in a run.
const MOST_PACKETS: usize = 2000;

/// Packets that become pictures, in whatever order and with whatever missing.
pub fn vp8_depacketizer(data: &[u8]) {
    let (mut feed, mut at) = (Feed::new(data), now());
    let (mut seq, mut timestamp) = (u16::MAX - 5, u32::MAX - 5000);
    let (mut assembler, mut picture) = (Assembler::new(), Vec::new());
    for _ in 0..MOST_PACKETS {
        if feed.is_over() {
            return;
        }
        let how = feed.byte();
        seq = seq.wrapping_add(if how & 1 == 0 { 1 } else { feed.word() });
        timestamp = timestamp.wrapping_add(if how & 2 == 0 { 0 } else { 3000 });
        at += Duration::from_millis(if how & 4 == 0 { 1 } else { u64::from(feed.byte()) * 8 });
        match how >> 4 {
            14 => assembler.clear(),
            15 => assembler.set_round_trip(Duration::from_millis(feed.word().into())),
            _ => {
                let payload = feed.piece().to_vec().into();
                let (arrived, marker) = (at, how & 8 != 0);
                let packet = RtpPacket { seq, timestamp, marker, payload, arrived, sender_us: None };
                assembler.on(packet, at);
            }
        }
        while let Some(assembled) = assembler.next(at, &mut picture) {
            assert!(picture.len() <= Assembler::BYTES);
            match header::read(&picture) {
                Ok(header) => assert_eq!(header.size.is_some(), assembled.key),
                Err(_) => assembler.broken(at),
            }
        }
        let due = assembler.deadline();
        let wanted = assembler.keyframe_wanted(at);
        assert_eq!(wanted, due.is_some_and(|due| due <= at));
    }
}

/// Whole pictures, as they would be put together.
pub fn vp8_decoder(data: &[u8]) {
    let (mut feed, mut pool) = (Feed::new(data), Pool::new());
    let Ok(mut decoder) = Vp8Decoder::new() else { return };
    for _ in 0..16 {
        if feed.is_over() {
            return;
        }
        if decoder.push(feed.piece()).is_ok()
            && let Some(picture) = decoder.pop(&mut pool)
        {
            assert!(picture.width() <= MAX_WIDTH && picture.height() <= MAX_HEIGHT);
        }
    }
}
