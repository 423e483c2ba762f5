//! Encoded frames to RTP packets: one run of sequence numbers and one run of timestamps for the whole call,
//! whatever source stands behind them. Pure: time is an argument.

use crate::Kind;
use bytes::Bytes;
use rtc::rtp;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::packetizer::Payloader;
use std::time::Instant;

/// Payload of one packet: with all headers around it, it stays under 1280 bytes.
const MTU: usize = 1200;

/// Whether a VP8 packet is the first of a keyframe (RFC 7741, 4.2 and 4.3).
pub(crate) fn begins_keyframe(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else { return false };
    // S: a partition begins; PID 0: the picture's first.
    if first & 0x17 != 0x10 {
        return false;
    }
    let mut at = 1;
    if first & 0x80 != 0 {
        let Some(&extended) = payload.get(1) else { return false };
        at = 2;
        if extended & 0x80 != 0 {
            at += if payload.get(at).is_some_and(|id| id & 0x80 != 0) { 2 } else { 1 };
        }
        at += usize::from(extended & 0x40 != 0) + usize::from(extended & 0x30 != 0);
    }
    payload.get(at).is_some_and(|header| header & 1 == 0)
}

/// Joins the times of one source after another to one continuous run.
#[derive(Debug)]
struct Timeline {
    clock_rate: u32,
    first: u32,
    offset: Option<u32>,
    last: Option<(u32, Instant)>,
}

impl Timeline {
    fn map(&mut self, timestamp: u32, now: Instant) -> u32 {
        let offset = *self.offset.get_or_insert_with(|| {
            let next = match self.last {
                None => self.first,
                Some((out, at)) => {
                    let passed = now.saturating_duration_since(at).as_secs_f64();
                    let ticks = (passed * f64::from(self.clock_rate)) as u64 as u32;
                    // At least 20 ms on: no two frames share a time.
                    out.wrapping_add(ticks.max(self.clock_rate / 50))
                }
            };
            next.wrapping_sub(timestamp)
        });
        let out = timestamp.wrapping_add(offset);
        self.last = Some((out, now));
        out
    }
}

#[derive(Debug)]
pub(crate) struct Packetizer {
    kind: Kind,
    ssrc: u32,
    seq: u16,
    timeline: Timeline,
    vp8: Vp8Payloader,
}

impl Packetizer {
    /// Starts at these numbers; RFC 3550 wants them random.
    pub(crate) fn new(kind: Kind, ssrc: u32, seq: u16, timestamp: u32) -> Self {
        let timeline = Timeline { clock_rate: kind.clock_rate(), first: timestamp, offset: None, last: None };
        let mut vp8 = Vp8Payloader::default();
        vp8.enable_picture_id = true;
        Self { kind, ssrc, seq, timeline, vp8 }
    }

    /// The next frame's timestamp has another base.
    pub(crate) fn new_source(&mut self) {
        self.timeline.offset = None;
    }

    /// The time a frame leaves with.
    pub(crate) fn timestamp(&mut self, timestamp: u32, now: Instant) -> u32 {
        self.timeline.map(timestamp, now)
    }

    /// What the packets of a frame carry.
    pub(crate) fn payloads(&mut self, data: &Bytes) -> Vec<Bytes> {
        match self.kind {
            Kind::Audio if data.is_empty() => vec![],
            Kind::Audio => vec![data.clone()],
            // It fails only without room for a single byte.
            Kind::Video => self.vp8.payload(MTU, data).unwrap_or_default(),
        }
    }

    /// The next packet. Its number is used up by [`Self::sent`] only: the other side would ask for a
    /// packet that never left.
    pub(crate) fn packet(
        &self,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        payload: Bytes,
    ) -> rtp::Packet {
        let header = rtp::Header {
            version: 2,
            marker,
            payload_type,
            sequence_number: self.seq,
            timestamp,
            ssrc: self.ssrc,
            ..Default::default()
        };
        rtp::Packet { header, payload }
    }

    /// The packet went out.
    pub(crate) fn sent(&mut self) {
        self.seq = self.seq.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_go_on_across_sources_by_the_time_that_passed() {
        let start = Instant::now();
        let mut packetizer = Packetizer::new(Kind::Video, 1, 0, u32::MAX - 100);
        let first = packetizer.timestamp(5_000, start);
        assert_eq!(first, u32::MAX - 100);
        let second = packetizer.timestamp(8_000, start + Duration::from_millis(33));
        assert_eq!(second.wrapping_sub(first), 3_000);
        packetizer.new_source();
        let third = packetizer.timestamp(4_000_000_000, start + Duration::from_millis(1_033));
        assert_eq!(third.wrapping_sub(second), 90_000);
        packetizer.new_source();
        let fourth = packetizer.timestamp(7, start + Duration::from_millis(1_033));
        assert_eq!(fourth.wrapping_sub(third), 1_800);
    }

    #[test]
    fn a_picture_becomes_packets_that_begin_once_and_carry_its_number() {
        let mut packetizer = Packetizer::new(Kind::Video, 1, 0, 0);
        let payloads = packetizer.payloads(&Bytes::from(vec![7; 3_000]));
        assert_eq!(payloads.len(), 3);
        assert!(payloads.iter().all(|p| p.len() <= MTU));
        let starts: Vec<bool> = payloads.iter().map(|p| p[0] & 0x10 != 0).collect();
        assert_eq!(starts, [true, false, false]);
        let next = packetizer.payloads(&Bytes::from_static(b"x"));
        assert_eq!(next[0][2], payloads[0][2] + 1);
        assert!(packetizer.payloads(&Bytes::new()).is_empty());
    }

    #[test]
    fn a_keyframe_is_known_by_its_first_packet() {
        let mut packetizer = Packetizer::new(Kind::Video, 1, 0, 0);
        for _ in 0..300 {
            let key = packetizer.payloads(&Bytes::from(vec![0x10; 3000]));
            let starts: Vec<bool> = key.iter().map(|payload| begins_keyframe(payload)).collect();
            assert_eq!(starts, [true, false, false]);
            let delta = packetizer.payloads(&Bytes::from(vec![0x11; 3000]));
            assert!(!delta.iter().any(|payload| begins_keyframe(payload)));
        }
        for short in [&[][..], &[0x10], &[0x90], &[0x90, 0xf0], &[0x90, 0xf0, 0x80]] {
            assert!(!begins_keyframe(short));
        }
    }

    #[test]
    fn a_number_is_used_up_only_by_a_packet_that_left() {
        let mut packetizer = Packetizer::new(Kind::Audio, 1, u16::MAX, 0);
        let number = |p: &Packetizer| p.packet(111, 0, false, Bytes::new()).header.sequence_number;
        assert_eq!((number(&packetizer), number(&packetizer)), (u16::MAX, u16::MAX));
        packetizer.sent();
        assert_eq!(number(&packetizer), 0);
    }
}
