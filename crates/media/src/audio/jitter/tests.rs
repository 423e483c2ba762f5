//! The jitter buffer on a virtual clock: a sender every 20 ms, a seeded network, a player every 10 ms.

use super::*;
use crate::audio::measure::Lcg;

const MS: u64 = 1_000;

/// A packet on its way: when it comes, in microseconds, and its index.
type Flight = (u64, Packet);

/// What the player did with it all.
#[derive(Debug, Default)]
struct Heard {
    /// Index and time waited (microseconds) of each packet decoded.
    decoded: Vec<(u32, u64)>,
    recovered: u32,
    concealed: u32,
    /// Blocks of silence after the first packet.
    silent: u32,
    longest_guess: u32,
    rested: u32,
}

struct Sim {
    start: Instant,
    jitter: Jitter,
    buffered: usize,
    heard: Heard,
}

impl Sim {
    fn new() -> Self {
        Self { start: Instant::now(), jitter: Jitter::new(), buffered: 0, heard: Heard::default() }
    }

    fn at(&self, micros: u64) -> Instant {
        self.start + Duration::from_micros(micros)
    }

    /// A packet of 20 ms whose payload is its index.
    fn packet(&self, index: u32, seq: u32, timestamp: u32, arrives: u64) -> Flight {
        // A SILK packet whose flags say that it carries a copy.
        let payload = [&[0x08, 0x40][..], &index.to_be_bytes()].concat().into();
        let arrived = self.at(arrives);
        let packet = Packet { seq: seq as u16, timestamp, payload, duration: 960, arrived, sender_us: None };
        (arrives, packet)
    }

    /// `count` packets; `network` gives each index its delay in microseconds, or loses it.
    fn stream(
        &self,
        count: u32,
        first: (u32, u32),
        mut network: impl FnMut(u32) -> Option<u64>,
    ) -> Vec<Flight> {
        let (seq, timestamp) = first;
        let sent = |i: u32| u64::from(i) * 20 * MS;
        let flights = (0..count).filter_map(|i| Some((i, network(i)?)));
        flights
            .map(|(i, delay)| {
                let (seq, timestamp) = (seq.wrapping_add(i), timestamp.wrapping_add(i.wrapping_mul(960)));
                self.packet(i, seq, timestamp, sent(i) + delay)
            })
            .collect()
    }

    /// Plays until `end`; the player's 10 ms last `tick` microseconds by the sender's clock.
    fn run(&mut self, mut flights: Vec<Flight>, end: u64, tick: f64) {
        flights.sort_by_key(|(arrives, _)| *arrives);
        let mut flights = flights.into_iter().peekable();
        let mut now = 5.0 * MS as f64;
        while (now as u64) < end {
            while let Some((_, packet)) = flights.next_if(|(arrives, _)| *arrives <= now as u64) {
                self.jitter.push(packet, self.buffered);
            }
            while self.buffered < BLOCK as usize {
                self.pull(now as u64);
            }
            self.buffered -= BLOCK as usize;
            now += tick;
        }
    }

    fn pull(&mut self, now: u64) {
        let instant = self.at(now);
        let waited = self.jitter.counts().waited;
        match self.jitter.pull(instant) {
            Play::Silence => {
                self.heard.silent += u32::from(!self.heard.decoded.is_empty());
                self.buffered += BLOCK as usize;
            }
            Play::Conceal { samples, already } => {
                self.heard.concealed += samples;
                self.heard.longest_guess = self.heard.longest_guess.max(already + samples);
                self.buffered += samples as usize;
            }
            Play::Rest { samples, .. } => {
                self.heard.rested += samples;
                self.buffered += samples as usize;
            }
            Play::Recover { keep, .. } => {
                self.heard.recovered += 1;
                self.buffered += keep as usize;
            }
            Play::Decode { payload, stretch, .. } => {
                let index = u32::from_be_bytes(payload[2..].try_into().unwrap());
                let waited = (self.jitter.counts().waited - waited).as_micros() as u64;
                self.heard.decoded.push((index, waited));
                let change = match stretch {
                    Stretch::None => 0,
                    Stretch::Faster => -240,
                    Stretch::FasterWhereQuiet => 0,
                    Stretch::Slower => 240,
                };
                self.jitter.stretched(change);
                self.buffered = (self.buffered as i32 + 960 + change) as usize;
            }
        }
    }

    fn in_order(&self) -> bool {
        self.heard.decoded.windows(2).all(|pair| pair[0].0 < pair[1].0)
    }

    /// Longest wait (ms) of the packets from `from` on.
    fn longest(&self, from: u32) -> u64 {
        let waits = self.heard.decoded.iter().filter(|(index, _)| *index >= from);
        waits.map(|(_, waited)| waited / MS).max().unwrap_or(0)
    }
}

const TICK: f64 = 10_000.0;

#[test]
fn a_clean_link_is_held_for_40_ms_at_most_and_nothing_is_guessed() {
    for phase in 0..20 {
        let mut sim = Sim::new();
        let flights = sim.stream(3000, (100, 5), |_| Some(phase * MS));
        sim.run(flights, 59_900 * MS, TICK);
        assert!(sim.heard.decoded.len() > 2990);
        assert_eq!((sim.heard.concealed, sim.heard.recovered, sim.heard.silent), (0, 0, 0), "phase {phase}");
        assert!(sim.longest(0) <= 40, "{} ms", sim.longest(0));
        assert!(sim.in_order());
    }
}

#[test]
fn a_lost_packet_is_recovered_from_the_next_one() {
    for seed in 0..10 {
        let mut noise = Lcg::new(seed);
        let mut sim = Sim::new();
        let mut lost = Vec::new();
        let flights = sim.stream(3000, (0, 0), |i| {
            let gone = i > 0 && noise.below(10) == 0;
            if gone {
                lost.push(i);
            }
            (!gone).then_some(5 * MS)
        });
        sim.run(flights, 59_900 * MS, TICK);
        // Those whose next packet came: what error correction can do.
        let single = lost.iter().filter(|i| lost.binary_search(&(**i + 1)).is_err()).count();
        let recovered = sim.heard.recovered as usize;
        assert!(recovered * 10 >= single * 9, "{recovered} of {single}, seed {seed}");
        assert!(sim.jitter.lost().abs_diff(lost.len() as u64) <= 3);
        assert!(sim.longest(500) <= 60, "{} ms", sim.longest(500));
        assert!(sim.in_order());
    }
}

#[test]
fn a_burst_is_guessed_for_a_while_and_then_silent_and_sound_comes_back_without_more_delay() {
    let mut sim = Sim::new();
    let flights = sim.stream(500, (0, 0), |i| (!(200..230).contains(&i)).then_some(0));
    sim.run(flights, 10_040 * MS, TICK);
    assert!(sim.heard.longest_guess <= GUESS);
    assert!(sim.heard.concealed >= 4800, "guessed {}", sim.heard.concealed);
    assert!((40..52).contains(&sim.heard.silent), "{} blocks of silence for 600 ms", sim.heard.silent);
    assert!(sim.longest(230) <= 40, "{} ms", sim.longest(230));
    assert_eq!(sim.heard.decoded.iter().filter(|(i, _)| *i >= 230).count(), 500 - 230);
}

#[test]
fn duplicates_and_reordering_change_nothing_once_the_delay_has_grown() {
    for seed in 0..10 {
        let mut noise = Lcg::new(seed + 40);
        let mut sim = Sim::new();
        let mut flights =
            sim.stream(3000, (65_500, u32::MAX - 9600), |_| Some(u64::from(noise.below(45)) * MS));
        let again: Vec<_> =
            flights.iter().step_by(3).map(|(at, packet)| (at + 7 * MS, packet.clone())).collect();
        let copies = again.len() as u64;
        flights.extend(again);
        sim.run(flights, 59_900 * MS, TICK);
        assert!(sim.in_order(), "a packet was played twice or out of order, seed {seed}");
        assert!(sim.jitter.counts().duplicates >= copies - 3);
        assert_eq!(sim.jitter.lost(), 0);
        // 2 % may come later than the delay allows for, no more.
        assert!(sim.heard.decoded.len() > 2900, "{} played, seed {seed}", sim.heard.decoded.len());
        assert!(sim.heard.concealed < 3000 * 960 / 25, "guessed {}, seed {seed}", sim.heard.concealed);
        assert!(sim.longest(1000) <= 110, "{} ms, seed {seed}", sim.longest(1000));
    }
}

#[test]
fn the_delay_comes_down_again_when_the_network_calms_down() {
    let mut sim = Sim::new();
    let mut noise = Lcg::new(3);
    let flights =
        sim.stream(3000, (0, 0), |i| Some(if i < 500 { u64::from(noise.below(120)) * MS } else { 0 }));
    sim.run(flights, 60_040 * MS, TICK);
    assert!(sim.longest(2000) <= 40, "{} ms", sim.longest(2000));
    let guessed_late = sim.heard.decoded.iter().filter(|(i, _)| *i >= 500).count();
    assert_eq!(guessed_late, 2500, "nothing is lost on the way down");
}

#[test]
fn mute_gaps_are_silent_and_end_at_once_whatever_the_timestamps_do() {
    // The timestamp runs on during the gap, stands still, or jumps far ahead.
    for jump in [100 * 960, 960, 48_000 * 3600] {
        let mut sim = Sim::new();
        let mut flights = sim.stream(100, (65_530, u32::MAX - 48_000), |_| Some(0));
        let (seq, timestamp) = (65_530u32 + 100, (u32::MAX - 48_000).wrapping_add(99 * 960 + jump));
        for i in 0..100 {
            let arrives = u64::from(i + 200) * 20 * MS;
            flights.push(sim.packet(i + 200, seq + i, timestamp.wrapping_add(i * 960), arrives));
        }
        sim.run(flights, 6_040 * MS, TICK);
        assert!(sim.heard.concealed <= 2 * GUESS, "guessed {}", sim.heard.concealed);
        let first = sim.heard.decoded.iter().find(|(i, _)| *i >= 200).unwrap();
        assert!(first.0 == 200 && first.1 <= 40 * MS, "{first:?} after a jump of {jump}");
        assert_eq!(sim.heard.decoded.len(), 200);
        assert_eq!(sim.jitter.lost(), 0);
    }
}

#[test]
fn a_short_gap_of_the_sender_is_not_filled_with_recovered_sound() {
    // DTX: every fifth packet is not sent at all, sequence numbers go on.
    let mut sim = Sim::new();
    let (mut flights, mut seq) = (Vec::new(), 0);
    for i in 0..500 {
        if i % 5 != 4 {
            flights.push(sim.packet(i, seq, i * 960, u64::from(i) * 20 * MS));
            seq += 1;
        }
    }
    sim.run(flights, 9_900 * MS, TICK);
    assert_eq!((sim.heard.recovered, sim.jitter.lost()), (0, 0));
    assert!(sim.in_order());
    assert!(sim.heard.decoded.len() >= 395, "{} played", sim.heard.decoded.len());
    assert!(sim.longest(0) <= 60, "{} ms", sim.longest(0));
}

/// Speech of a second and pauses of two. Each packet comes `network` late, or not at all.
fn talk(sim: &Sim, seconds: u32, network: impl FnMut(u32) -> Option<u64>) -> Vec<Flight> {
    speech(sim, seconds, |i| i % 150 < 50, network)
}

/// Speech and pauses, told as an encoder tells them: two packets of a byte, and every 400 ms one of the background
/// and one of a byte.
fn speech(
    sim: &Sim,
    seconds: u32,
    speaks: impl Fn(u32) -> bool,
    mut network: impl FnMut(u32) -> Option<u64>,
) -> Vec<Flight> {
    let (mut flights, mut seq, mut paused) = (Vec::new(), 0, 0);
    for i in 0..seconds * 50 {
        paused = if speaks(i) { 0 } else { paused + 1 };
        let whole = paused % 20 == 0;
        if whole || paused == 2 || paused % 20 == 1 {
            if let Some(delay) = network(i) {
                let mut flight = sim.packet(i, seq, i * 960, u64::from(i) * 20 * MS + delay);
                if !whole {
                    flight.1.payload = Bytes::from_static(&[0x08]);
                }
                flights.push(flight);
            }
            seq += 1;
        }
    }
    flights
}

#[test]
fn a_pause_is_no_loss_and_does_not_change_the_delay() {
    let mut sim = Sim::new();
    let flights = talk(&sim, 60, |_| Some(0));
    sim.run(flights, 60_000 * MS, TICK);
    assert_eq!((sim.heard.concealed, sim.heard.recovered, sim.jitter.lost(), sim.heard.silent), (0, 0, 0, 0));
    assert!(sim.in_order());
    assert!(sim.longest(0) <= 40, "{} ms", sim.longest(0));
    // But for the last, which is on its way.
    assert_eq!(sim.heard.decoded.len(), 20 * (50 + 5) - 1);
    // 40 s of pauses, but for their whole packets.
    assert!(sim.heard.rested.abs_diff(20 * (2_000 - 100) * 48) < 20 * 960, "{}", sim.heard.rested / 48);
}

#[test]
fn jitter_and_loss_cost_in_pauses_what_they_cost_in_speech() {
    for seed in 0..3 {
        let (mut dice, mut sim) = (Lcg::new(seed), Sim::new());
        let mut speech = 0;
        let flights = talk(&sim, 120, |i| {
            let delay = u64::from(dice.below(40)) * MS;
            let lost = dice.below(10) == 0;
            speech += u32::from(lost && i % 150 < 50);
            (!lost).then_some(delay)
        });
        sim.run(flights, 120_000 * MS, TICK);
        // What is lost of speech has a copy in the next packet; what is guessed is late or lost in a row, or
        // stands for the two packets that told of a pause.
        assert!(sim.heard.concealed < 2 * 48_000, "{} ms guessed", sim.heard.concealed / 48);
        assert!(sim.heard.recovered * 10 > speech * 6, "{} of {speech}", sim.heard.recovered);
        assert!(sim.longest(0) <= 130, "{} ms", sim.longest(0));
        let due = sim.heard.decoded.iter().filter(|(i, _)| *i >= 5_700).count();
        assert!(due > 90, "the delay has not run away: {due}");
    }
}

/// What is sent while this machine stands still comes when it goes on: 300 ms of each two seconds until `calm`.
fn stalls(calm: u32) -> impl FnMut(u32) -> Option<u64> {
    move |i| Some(if i < calm { 15u64.saturating_sub(u64::from(i % 97)) * 20 * MS } else { 0 })
}

#[test]
fn what_came_late_in_a_pause_is_not_waited_for_when_speech_begins() {
    // One second of speech, forty of listening, and then speech again.
    let mut sim = Sim::new();
    let flights = speech(&sim, 50, |i| !(50..2000).contains(&i), stalls(1500));
    sim.run(flights, 50_000 * MS, TICK);
    assert!(sim.longest(2000) <= 60, "{} ms", sim.longest(2000));
    assert_eq!(sim.heard.decoded.iter().filter(|(i, _)| *i >= 2000).count(), 499, "no word is lost");
}

#[test]
fn in_a_long_pause_no_delay_piles_up() {
    let mut sim = Sim::new();
    let flights = speech(&sim, 40, |i| i < 50, stalls(2000));
    sim.run(flights, 40_000 * MS, TICK);
    assert!(sim.longest(0) <= 360, "{} ms", sim.longest(0));
}

#[test]
fn a_pause_that_nobody_tells_of_any_more_ends() {
    let mut sim = Sim::new();
    let mut flights = talk(&sim, 2, |_| Some(0));
    let again: Vec<_> = talk(&sim, 2, |_| Some(0)).into_iter().map(|(_, p)| p).collect();
    // Muted for a minute, of which the timestamps know, the numbers do not.
    for (n, packet) in again.into_iter().enumerate() {
        let index = packet.timestamp / 960 + 3000;
        let (seq, at) = (flights.len() as u32, u64::from(index) * 20 * MS);
        let payload = packet.payload.clone();
        let mut flight = sim.packet(index, seq, index * 960, at);
        flight.1.payload = if payload.len() == 1 { payload } else { flight.1.payload };
        assert!(n < 100);
        flights.push(flight);
    }
    sim.run(flights, 61_900 * MS, TICK);
    assert!(sim.heard.silent > 5_500, "{} blocks of silence", sim.heard.silent);
    assert_eq!(sim.heard.concealed, 0);
    let first = sim.heard.decoded.iter().find(|(i, _)| *i >= 3000).unwrap();
    assert!(first.0 == 3000 && first.1 <= 40 * MS, "{first:?}");
}

#[test]
fn a_new_stream_in_the_place_of_the_old_is_heard_and_a_stray_packet_is_not() {
    let mut sim = Sim::new();
    let mut flights = sim.stream(100, (10, 10), |_| Some(0));
    flights.push(sim.packet(9_999, 40_000, 77, 500 * MS));
    for i in 0..100 {
        let arrives = u64::from(i + 100) * 20 * MS;
        flights.push(sim.packet(1000 + i, 30_000 + i, 3_000_000_000 + i * 960, arrives));
    }
    sim.run(flights, 4_000 * MS, TICK);
    assert!(sim.heard.decoded.iter().all(|(i, _)| *i != 9_999));
    assert_eq!(sim.jitter.counts().restarts, 1);
    let new = sim.heard.decoded.iter().filter(|(i, _)| *i >= 1000).count();
    assert!(new >= 95, "{new} packets of the new stream");
    assert!(sim.jitter.lost() <= 1);
}

#[test]
fn a_clock_that_is_off_by_200_ppm_is_followed() {
    for tick in [TICK * 1.0002, TICK * 0.9998] {
        let mut sim = Sim::new();
        // Half an hour.
        let flights = sim.stream(90_000, (0, 0), |_| Some(0));
        sim.run(flights, 1_799_900 * MS, tick);
        assert!(sim.longest(0) <= 50, "{} ms at {tick}", sim.longest(0));
        assert_eq!(sim.heard.concealed, 0, "at {tick}");
        assert!(sim.heard.decoded.len() >= 89_990);
    }
}

#[test]
fn random_packets_neither_panic_nor_pile_up() {
    for seed in 0..4 {
        let (mut noise, mut jitter) = (Lcg::new(seed), Jitter::new());
        let start = Instant::now();
        for n in 0..50_000u32 {
            let near = noise.below(4) > 0;
            let (seq, timestamp) = if near {
                (n.wrapping_add(noise.below(64)), (n * 960).wrapping_add(noise.below(9600)))
            } else {
                (noise.next_u32(), noise.next_u32())
            };
            let now = start + Duration::from_millis(u64::from(n));
            let payload = Bytes::new();
            let duration = 120 * (1 + noise.below(48));
            let packet =
                Packet { seq: seq as u16, timestamp, payload, duration, arrived: now, sender_us: None };
            jitter.push(packet, 0);
            assert!(jitter.queue.len() <= CAPACITY);
            if noise.below(3) == 0 {
                let made = match jitter.pull(now) {
                    Play::Conceal { samples, .. } => samples,
                    Play::Recover { keep, length, .. } => keep.min(length),
                    Play::Rest { samples, .. } => samples,
                    Play::Decode { .. } | Play::Silence => 1,
                };
                assert!(made > 0, "a pull that makes nothing would never end");
            }
        }
    }
}
