//! The assembler on a virtual clock, with a seeded bad network.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use media::RtpPacket;
use media::video::assembler::{Assembled, Assembler};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// xorshift: a network that is bad in the same way each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Picture `n` of the stream: its number is in its bytes; every 50th is a keyframe.
fn picture(n: u32, key: bool) -> Vec<u8> {
    let mut data = vec![u8::from(!key), 0, 0];
    data.extend(n.to_be_bytes());
    data.resize(if key { 3000 } else { 7 + n as usize % 900 }, n as u8);
    data
}

fn packets(n: u32, key: bool, seq: &mut u16) -> Vec<RtpPacket> {
    let data = picture(n, key);
    let count = data.chunks(400).count();
    let packet = |(at, chunk): (usize, &[u8])| {
        let start = if at == 0 { 0x10 } else { 0 };
        let [high, low] = (n as u16 & 0x7fff).to_be_bytes();
        *seq = seq.wrapping_add(1);
        RtpPacket {
            seq: *seq,
            timestamp: n.wrapping_mul(3000),
            marker: at + 1 == count,
            payload: Bytes::from([&[0x80 | start, 0x80, high | 0x80, low], chunk].concat()),
            arrived: Instant::now(),
            sender_us: None,
        }
    };
    data.chunks(400).enumerate().map(packet).collect()
}

fn number(data: &[u8]) -> u32 {
    u32::from_be_bytes(data[3..7].try_into().unwrap())
}

/// What comes out now, checked to be whole.
fn take(assembler: &mut Assembler, now: Instant) -> Vec<(u32, bool)> {
    let mut data = Vec::new();
    let mut out = Vec::new();
    while let Some(Assembled { key, .. }) = assembler.next(now, &mut data) {
        let n = number(&data);
        assert_eq!(data, picture(n, key));
        out.push((n, key));
    }
    out
}

fn on(assembler: &mut Assembler, packet: RtpPacket, now: Instant) -> Vec<(u32, bool)> {
    assembler.on(RtpPacket { arrived: now, ..packet }, now);
    take(assembler, now)
}

#[test]
fn on_a_clean_link_a_picture_leaves_with_its_last_packet() {
    let now = Instant::now();
    let mut assembler = Assembler::new();
    let mut seq = 65_000;
    for n in 0..500 {
        let packets = packets(n, n == 0, &mut seq);
        let last = packets.len() - 1;
        for (at, packet) in packets.into_iter().enumerate() {
            let expected = if at == last { vec![(n, n == 0)] } else { vec![] };
            assert_eq!(on(&mut assembler, packet, now), expected);
        }
    }
    assert!(!assembler.keyframe_wanted(now + Duration::from_secs(9)));
    assert_eq!(assembler.counts(), Default::default());
}

#[test]
fn a_retransmission_in_time_costs_no_picture() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut assembler = Assembler::new();
    let mut seq = 0;
    packets(0, true, &mut seq).into_iter().for_each(|packet| drop(on(&mut assembler, packet, at(0))));
    let mut second = packets(700, false, &mut seq);
    let lost = second.remove(0);
    second.into_iter().for_each(|packet| assert!(on(&mut assembler, packet, at(33)).is_empty()));
    let third: Vec<_> = packets(701, false, &mut seq);
    third.into_iter().for_each(|packet| assert!(on(&mut assembler, packet, at(66)).is_empty()));
    assert!(!assembler.keyframe_wanted(at(200)));
    assert_eq!(on(&mut assembler, lost, at(220)), [(700, false), (701, false)]);
    assert_eq!(assembler.deadline(), None);
}

#[test]
fn a_packet_that_never_comes_freezes_until_a_keyframe() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut assembler = Assembler::new();
    let mut seq = 0;
    packets(0, true, &mut seq).into_iter().for_each(|packet| drop(on(&mut assembler, packet, at(0))));
    packets(1, false, &mut seq);
    packets(2, false, &mut seq).into_iter().for_each(|packet| drop(on(&mut assembler, packet, at(66))));
    let deadline = assembler.deadline().unwrap();
    assert_eq!(deadline, at(66) + Duration::from_millis(380), "60 ms and four guessed round trips of 80");
    assert!(!assembler.keyframe_wanted(deadline - Duration::from_millis(1)));
    assert!(assembler.keyframe_wanted(deadline));
    assert!(!assembler.keyframe_wanted(deadline + Duration::from_millis(100)));
    packets(3, false, &mut seq).into_iter().for_each(|packet| drop(on(&mut assembler, packet, at(500))));
    assert!(assembler.keyframe_wanted(deadline + Duration::from_millis(400)));
    let mut shown = Vec::new();
    packets(4, true, &mut seq)
        .into_iter()
        .for_each(|packet| shown.extend(on(&mut assembler, packet, at(900))));
    packets(5, false, &mut seq)
        .into_iter()
        .for_each(|packet| shown.extend(on(&mut assembler, packet, at(933))));
    assert_eq!(shown, [(4, true), (5, false)]);
    assert_eq!(assembler.deadline(), None);
}

#[test]
fn the_wait_follows_the_round_trip() {
    let start = Instant::now();
    let mut assembler = Assembler::new();
    let mut seq = 0;
    assembler.set_round_trip(Duration::from_millis(40));
    packets(0, true, &mut seq).into_iter().for_each(|packet| drop(on(&mut assembler, packet, start)));
    packets(1, false, &mut seq);
    packets(2, false, &mut seq).into_iter().for_each(|packet| drop(on(&mut assembler, packet, start)));
    assert_eq!(assembler.deadline(), Some(start + Duration::from_millis(220)));
    assembler.set_round_trip(Duration::from_millis(250));
    assert_eq!(assembler.deadline(), Some(start + Duration::from_millis(1060)));
}

#[test]
fn after_an_outage_a_keyframe_is_asked_for_at_once_and_only_once() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut assembler = Assembler::new();
    let mut seq = 0;
    packets(0, true, &mut seq).into_iter().for_each(|packet| drop(on(&mut assembler, packet, at(0))));
    (1..50).for_each(|n| _ = packets(n, false, &mut seq));
    packets(50, false, &mut seq).into_iter().for_each(|packet| drop(on(&mut assembler, packet, at(1000))));
    let deadline = assembler.deadline().unwrap();
    assert!(deadline <= at(1020), "{:?}", deadline - start);
    assert!(assembler.keyframe_wanted(deadline));
    // A slow link brings the keyframe packet by packet for a second: nobody asks for another.
    for (step, packet) in (0..).zip(packets(51, true, &mut seq)) {
        assert!(!assembler.keyframe_wanted(at(1200 + step * 150)));
        let shown = on(&mut assembler, packet, at(1200 + step * 150));
        assert_eq!(shown.len(), usize::from(step == 7));
    }
}

#[test]
fn in_an_outage_nobody_asks_twice() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut assembler = Assembler::new();
    let mut seq = 0;
    packets(0, true, &mut seq).into_iter().for_each(|packet| drop(on(&mut assembler, packet, at(0))));
    packets(700, false, &mut seq).into_iter().skip(1).for_each(|p| drop(on(&mut assembler, p, at(33))));
    assert!(assembler.keyframe_wanted(assembler.deadline().unwrap()));
    assert_eq!(assembler.deadline(), None);
    packets(701, false, &mut seq).into_iter().for_each(|p| drop(on(&mut assembler, p, at(10_000))));
    assert!(assembler.keyframe_wanted(at(10_000)), "asked by the first packet after it");
}

#[test]
fn a_bad_network_never_shows_what_cannot_be_decoded() {
    for seed in 1..40 {
        let mut dice = Dice(seed);
        let start = Instant::now();
        let mut assembler = Assembler::new();
        let mut seq = dice.below(65_536) as u16;
        let mut waiting: Vec<(u64, RtpPacket)> = Vec::new();
        let mut key_at = 0;
        let mut shown = Vec::new();
        for n in 0..600 {
            let key = n == key_at;
            for packet in packets(n, key, &mut seq) {
                let sent = u64::from(n) * 33;
                // 5 % are lost, half of these for good; 10 % are late; 3 % come twice.
                let delay = match dice.below(100) {
                    0..=2 => continue,
                    3..=4 => 60 + dice.below(100),
                    5..=14 => dice.below(40),
                    _ => 0,
                };
                if dice.below(100) < 3 {
                    waiting.push((sent + delay + dice.below(300), packet.clone()));
                }
                waiting.push((sent + delay, packet));
            }
            let now = start + Duration::from_millis(u64::from(n) * 33);
            waiting.sort_by_key(|(at, _)| *at);
            let due = waiting.partition_point(|(at, _)| *at <= u64::from(n) * 33);
            for (_, packet) in waiting.drain(..due) {
                shown.extend(on(&mut assembler, packet, now));
            }
            if assembler.keyframe_wanted(now) {
                key_at = n + 3;
            }
        }
        for pair in shown.windows(2) {
            let ((before, _), (after, key)) = (pair[0], pair[1]);
            assert!(after > before && (key || after == before + 1), "seed {seed}: {before} then {after}");
        }
        assert!(shown.first().is_some_and(|first| first.1));
        assert!(shown.len() > 200, "seed {seed}: {} of 600", shown.len());
        assert!(shown.last().unwrap().0 > 550, "seed {seed}: stuck at {:?}", shown.last());
    }
}

#[test]
fn padding_between_pictures_is_stepped_over() {
    let now = Instant::now();
    let mut assembler = Assembler::new();
    let mut seq = 0;
    let mut shown = Vec::new();
    for n in 0..10 {
        packets(n, n == 0, &mut seq)
            .into_iter()
            .for_each(|packet| shown.extend(on(&mut assembler, packet, now)));
        seq += 1;
        let (timestamp, payload) = (n * 3000, Bytes::new());
        let padding = RtpPacket { seq, timestamp, marker: false, payload, arrived: now, sender_us: None };
        shown.extend(on(&mut assembler, padding, now));
    }
    assert_eq!(shown.len(), 10);
    assert_eq!(assembler.deadline(), None);
}

#[test]
fn padding_that_is_lost_is_waited_for_no_longer_than_until_the_next_picture_says_so() {
    let now = Instant::now();
    let mut assembler = Assembler::new();
    let (mut seq, mut shown) = (0, Vec::new());
    for n in 32_760..32_780 {
        let sent = packets(n, n == 32_760, &mut seq);
        // A picture that is lost leaves a gap as well, but the next one's id does not follow.
        let lost = n == 32_775;
        sent.into_iter().filter(|_| !lost).for_each(|packet| shown.extend(on(&mut assembler, packet, now)));
        seq += n as u16 % 3;
    }
    let numbers: Vec<u32> = shown.iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, (32_760..32_775).collect::<Vec<_>>());
    assert!(assembler.deadline().is_some(), "the one that is lost is waited for");
}

#[test]
fn a_stream_that_starts_anew_is_followed() {
    let now = Instant::now();
    let mut assembler = Assembler::new();
    for start in [100, 30_000, 29_000, 60_000] {
        let mut seq = start;
        let mut shown = 0;
        for n in 0..60 {
            for packet in packets(n, n % 20 == 0, &mut seq) {
                shown += on(&mut assembler, packet, now).len();
            }
        }
        assert!(shown >= 20, "from {start}: {shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_packets_at_all_panic_or_fill_the_memory(
        packets in prop::collection::vec(
            (any::<u16>(), any::<bool>(), 0_u16..40, any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..12)),
            0..400,
        ),
    ) {
        let start = Instant::now();
        let mut assembler = Assembler::new();
        let mut data = Vec::new();
        let mut base = 0_u16;
        for (at, (far, jump, near, timestamp, marker, payload)) in packets.into_iter().enumerate() {
            let now = start + Duration::from_millis(at as u64 * 7);
            base = if jump && far % 16 == 0 { far } else { base.wrapping_add(1) };
            let (seq, timestamp) = (base.wrapping_add(near), timestamp % 4);
            let packet = RtpPacket { seq, timestamp, marker, payload: payload.into(), arrived: now, sender_us: None };
            assembler.on(packet, now);
            while assembler.next(now, &mut data).is_some() {
                prop_assert!(!data.is_empty());
                if far % 5 == 0 {
                    assembler.broken(now);
                }
            }
            assembler.keyframe_wanted(now);
        }
    }
}

#[test]
fn every_short_payload_is_survived() {
    let now = Instant::now();
    let mut assembler = Assembler::new();
    let mut data = Vec::new();
    let mut seq = 0_u16;
    for first in 0..=255_u8 {
        for length in 0..8 {
            for fill in [0, 0x7f, 0x80, 0xff] {
                let mut payload = vec![fill; length];
                if let Some(byte) = payload.first_mut() {
                    *byte = first;
                }
                seq = seq.wrapping_add(1);
                let packet = RtpPacket {
                    seq,
                    timestamp: u32::from(seq),
                    marker: fill > 0x7f,
                    payload: payload.into(),
                    arrived: now,
                    sender_us: None,
                };
                assembler.on(packet, now);
                while assembler.next(now, &mut data).is_some() {}
            }
        }
    }
    assert!(assembler.counts().malformed > 0);
}
