//! Pictures through the networks of the issue, on virtual time: sender, requests for lost packets, assembler,
//! playout and screen.

use super::assembler::Assembler;
use super::input::Freezes;
use super::playout::{Playout, Waiting};
use crate::rtp::RtpPacket;
use crate::testnet::{Dice, Link, Loss};
use bytes::Bytes;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

const PICTURE: u64 = 33_333;
const CHUNK: usize = 1100;
/// A missing packet may have been overtaken; only after this is it asked for.
const TOLERANCE: u64 = 10_000;

/// What the receiver saw.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    shown: u32,
    given_up: u64,
    plis: Vec<u64>,
    freezes: Vec<(u64, Duration)>,
    /// From capture to screen, milliseconds, of each picture shown, by capture time.
    delays: Vec<(u64, f64)>,
    /// From its last packet to the screen.
    held: Vec<f64>,
}

impl Seen {
    /// Time frozen, percent.
    fn frozen(&self, seconds: u64) -> f64 {
        let frozen: Duration = self.freezes.iter().map(|(_, length)| *length).sum();
        frozen.as_secs_f64() * 100.0 / seconds as f64
    }

    fn worst(&self) -> Duration {
        self.freezes.iter().map(|(_, length)| *length).max().unwrap_or_default()
    }

    fn delay(&self, share: f64) -> f64 {
        let mut delays: Vec<f64> = self.delays.iter().map(|(_, delay)| *delay).collect();
        delays.sort_by(f64::total_cmp);
        delays[((delays.len() - 1) as f64 * share) as usize]
    }

    fn held(&self) -> f64 {
        self.held.iter().sum::<f64>() / self.held.len() as f64
    }
}

/// A packet on its way: arrival first, so that the heap gives the earliest.
type Flight = std::cmp::Reverse<(u64, u64)>;

struct Call {
    start: Instant,
    /// Bits a second of video.
    bitrate: usize,
    dice: Dice,
    link: Link,
    /// The way back, for requests.
    back: Link,
    sent: BTreeMap<u64, RtpPacket>,
    next_seq: u64,
    flights: BinaryHeap<Flight>,
    /// Requests on their way: when they come, and for which packet; none: a keyframe.
    requests: BinaryHeap<std::cmp::Reverse<(u64, Option<u64>)>>,
    key_due: bool,
    /// Missing packets: when to ask again.
    missing: BTreeMap<u64, u64>,
    highest: Option<u64>,
}

impl Call {
    fn new(seed: u64, bitrate: usize, link: Link, back: Link) -> Self {
        Self {
            start: Instant::now(),
            bitrate,
            dice: Dice::new(seed),
            link,
            back,
            sent: BTreeMap::new(),
            next_seq: 1000,
            flights: BinaryHeap::new(),
            requests: BinaryHeap::new(),
            key_due: true,
            missing: BTreeMap::new(),
            highest: None,
        }
    }

    fn at(&self, micros: u64) -> Instant {
        self.start + Duration::from_micros(micros)
    }

    fn round_trip(&self) -> u64 {
        self.link.delay + self.back.delay
    }

    fn send(&mut self, seq: u64, now: u64) {
        let size = self.sent[&seq].payload.len();
        for arrives in self.link.send(now, size + 40) {
            self.flights.push(std::cmp::Reverse((arrives, seq)));
        }
    }

    /// Picture `n`: its number and whether it is a keyframe are in its bytes.
    fn encode(&mut self, n: u32, now: u64) {
        let key = std::mem::take(&mut self.key_due);
        let mean = self.bitrate / 8 / 30;
        let size = if key { mean * 6 } else { mean / 2 + self.dice.below(mean as u64) as usize };
        let mut data = vec![u8::from(!key), 0, 0];
        data.extend(n.to_be_bytes());
        data.resize(size.max(7), n as u8);
        let count = data.chunks(CHUNK).count();
        for (at, chunk) in data.chunks(CHUNK).enumerate() {
            let descriptor = [if at == 0 { 0x10 } else { 0 }];
            let packet = RtpPacket {
                seq: self.next_seq as u16,
                timestamp: n.wrapping_mul(3000).wrapping_add(u32::MAX - 90_000),
                marker: at + 1 == count,
                payload: Bytes::from([&descriptor, chunk].concat()),
                arrived: self.start,
                sender_us: Some(now as i64),
            };
            self.sent.insert(self.next_seq, packet);
            self.send(self.next_seq, now);
            self.next_seq += 1;
        }
    }

    /// What arrives at the sender.
    fn answer(&mut self, now: u64) {
        while self.requests.peek().is_some_and(|request| request.0.0 <= now) {
            match self.requests.pop().and_then(|request| request.0.1) {
                Some(seq) => self.send(seq, now),
                None => self.key_due = true,
            }
        }
    }

    fn ask(&mut self, what: Option<u64>, now: u64) {
        for arrives in self.back.send(now, 60) {
            self.requests.push(std::cmp::Reverse((arrives, what)));
        }
    }

    /// Notices gaps, and asks for what is missing: after a tolerance, then each round trip, for 2 s.
    fn note(&mut self, seq: u64, now: u64) {
        self.missing.remove(&seq);
        let highest = *self.highest.get_or_insert(seq);
        if seq > highest {
            self.missing.extend((highest + 1..seq).map(|missing| (missing, now + TOLERANCE)));
            self.highest = Some(seq);
        }
    }

    fn nack(&mut self, now: u64) {
        let again = now + self.round_trip() + 5_000;
        let due: Vec<u64> = self.missing.iter().filter(|(_, at)| **at <= now).map(|(seq, _)| *seq).collect();
        for seq in due {
            self.missing.insert(seq, again);
            self.ask(Some(seq), now);
        }
        let oldest = self.next_seq.saturating_sub(400);
        self.missing.retain(|seq, _| *seq >= oldest);
    }

    /// Runs for so many seconds; `weather` may change the link as time goes.
    fn run(mut self, seconds: u64, weather: impl Fn(u64, &mut Link)) -> Seen {
        let (mut assembler, mut playout, mut screen) = (Assembler::new(), Playout::new(), Waiting::new());
        let (mut freezes, mut seen, mut data) = (Freezes::default(), Seen::default(), Vec::new());
        assembler.set_round_trip(Duration::from_micros(self.round_trip()));
        let (mut pictures, mut last) = (0, None);
        for now in (0..seconds * 1_000_000).step_by(1000) {
            weather(now, &mut self.link);
            if now >= u64::from(pictures) * PICTURE {
                self.encode(pictures, now);
                pictures += 1;
            }
            self.answer(now);
            let instant = self.at(now);
            while self.flights.peek().is_some_and(|flight| flight.0.0 <= now) {
                let Some(std::cmp::Reverse((_, seq))) = self.flights.pop() else { break };
                self.note(seq, now);
                assembler.on(RtpPacket { arrived: instant, ..self.sent[&seq].clone() }, instant);
                while let Some(whole) = assembler.next(instant, &mut data) {
                    let n = u32::from_be_bytes([data[3], data[4], data[5], data[6]]);
                    assert!(data[7..].iter().all(|byte| *byte == n as u8), "picture {n} is broken");
                    assert_eq!(whole.sender_us, Some((u64::from(n) * PICTURE).next_multiple_of(1000) as i64));
                    assert!(whole.key || last == n.checked_sub(1), "{n} after {last:?} cannot be decoded");
                    last = Some(n);
                    screen.put((n, now), playout.on(whole.timestamp, instant));
                }
            }
            self.nack(now);
            if assembler.keyframe_wanted(instant) {
                seen.plis.push(now);
                self.ask(None, now);
            }
            if let Some(((n, whole), given_up)) = screen.take(instant) {
                seen.shown += 1;
                seen.given_up += given_up;
                seen.freezes.extend(freezes.on(instant).map(|length| (now, length)));
                let captured = u64::from(n) * PICTURE;
                seen.delays.push((captured, (now - captured) as f64 / 1000.0));
                seen.held.push((now - whole) as f64 / 1000.0);
            }
        }
        seen
    }
}

/// A kind of link and what is allowed on it.
struct Bound {
    name: &'static str,
    bitrate: usize,
    link: fn(u64) -> Link,
    /// Percent of the time.
    frozen: f64,
    worst_freeze_ms: u128,
    /// Median from capture to screen, milliseconds.
    delay: f64,
    plis: usize,
}

/// Four runs of 45 s each; every run keeps the bounds.
fn check(bounds: &[Bound]) {
    for bound in bounds {
        let run = |seed| {
            let (link, back) = ((bound.link)(seed), (bound.link)(seed + 99));
            Call::new(seed, bound.bitrate, link, back).run(45, |_, _| {})
        };
        for seed in 1..=4 {
            let seen = run(seed);
            let (frozen, worst, delay) = (seen.frozen(45), seen.worst().as_millis(), seen.delay(0.5));
            println!(
                "{:8} {seed}: frozen {frozen:.1} %, worst {worst} ms, {:.1} a second, delay {delay:.0} ms (95 %: {:.0}), \
                 held {:.0}, given up {}, {} PLIs",
                bound.name,
                f64::from(seen.shown) / 45.0,
                seen.delay(0.95),
                seen.held(),
                seen.given_up,
                seen.plis.len()
            );
            assert!(frozen <= bound.frozen, "{} {seed}: frozen {frozen} %", bound.name);
            assert!(worst <= bound.worst_freeze_ms, "{} {seed}: freezes {:?}", bound.name, seen.freezes);
            assert!(delay <= bound.delay, "{} {seed}: delay {delay} ms", bound.name);
            assert!(seen.plis.len() <= bound.plis, "{} {seed}: PLIs at {:?}", bound.name, seen.plis);
            assert!(seed > 1 || run(seed) == seen, "{}: the same seed gave something else", bound.name);
        }
    }
}

fn bound(name: &'static str, link: fn(u64) -> Link) -> Bound {
    Bound { name, bitrate: 1_000_000, link, frozen: 0.0, worst_freeze_ms: 0, delay: 20.0, plis: 0 }
}

#[test]
fn on_a_clean_link_nothing_waits_and_nothing_freezes() {
    check(&[
        Bound { delay: 12.0, ..bound("N0", |s| Link::new(s, 10)) },
        bound("+-5 ms", |s| Link::new(s, 10).jitter(5)),
    ]);
}

#[test]
fn lost_packets_are_sent_again_in_time() {
    check(&[
        Bound { delay: 60.0, ..bound("N1", |s| Link::new(s, 10).loss(Loss::Random(0.05))) },
        Bound {
            frozen: 1.0,
            delay: 80.0,
            plis: 2,
            ..bound("N2", |s| Link::new(s, 10).loss(Loss::Random(0.1)))
        },
        Bound {
            frozen: 2.0,
            worst_freeze_ms: 400,
            delay: 110.0,
            plis: 9,
            ..bound("N3", |s| Link::new(s, 10).loss(Loss::Random(0.2)))
        },
        Bound {
            frozen: 2.5,
            worst_freeze_ms: 400,
            delay: 90.0,
            plis: 2,
            ..bound("N4", |s| Link::new(s, 10).loss(Loss::Bursts(0.1, 4.0)))
        },
        Bound {
            frozen: 5.0,
            worst_freeze_ms: 700,
            delay: 460.0,
            plis: 2,
            ..bound("N5", |s| Link::new(s, 100).jitter(25).loss(Loss::Random(0.05)))
        },
    ]);
}

#[test]
fn jitter_reordering_and_duplicates_cost_delay_and_no_picture() {
    check(&[
        Bound {
            bitrate: 250_000,
            delay: 350.0,
            plis: 1,
            ..bound("N6", |s| Link::new(s, 250).jitter(100).mixed_up(0.05, 0.02))
        },
        Bound { bitrate: 1_500_000, delay: 45.0, ..bound("N10", |s| Link::new(s, 10).mixed_up(0.05, 0.02)) },
    ]);
}

#[test]
fn after_ten_bad_seconds_all_is_as_before() {
    // N7.
    for seed in 1..=4 {
        let call = Call::new(seed, 1_000_000, Link::new(seed, 10), Link::new(seed + 99, 10));
        let seen = call.run(30, |now, link| {
            let bad = (10_000_000..20_000_000).contains(&now);
            link.loss = if bad { Loss::Bursts(0.3, 4.0) } else { Loss::Random(0.0) };
        });
        let late = seen.freezes.iter().filter(|(at, _)| *at > 21_000_000).count();
        assert_eq!(late, 0, "seed {seed}: {:?}", seen.freezes);
        assert!(seen.worst() < Duration::from_millis(1200), "seed {seed}: {:?}", seen.freezes);
        assert!(seen.plis.iter().all(|at| *at < 20_500_000) && seen.plis.len() < 20, "{:?}", seen.plis);
        let mut end = seen.delays.iter().filter(|(at, _)| *at > 29_000_000);
        assert!(end.all(|(_, delay)| *delay < 15.0), "seed {seed}: {:?}", seen.delays.last());
    }
}

#[test]
fn after_an_outage_the_picture_is_back_within_a_second() {
    for (seed, outage) in [(1, 500_000), (2, 3_000_000), (3, 10_000_000)] {
        let call = Call::new(seed, 1_000_000, Link::new(seed, 50), Link::new(seed + 99, 50));
        let seen = call.run(30, |now, link| {
            let out = (10_000_000..10_000_000 + outage).contains(&now);
            link.loss = Loss::Random(if out { 1.0 } else { 0.0 });
        });
        let back = seen.delays.iter().find(|(captured, _)| *captured > 10_000_000 + outage).unwrap();
        let shown = back.0 as f64 / 1000.0 + back.1 - 10_000.0 - outage as f64 / 1000.0;
        assert!(shown < 1000.0, "back {shown} ms after an outage of {outage} us");
        assert!(seen.plis.len() <= 2, "{:?}", seen.plis);
    }
}
