//! A voice through the networks of the issue, on virtual time, with Opus at both ends.

use super::*;
use crate::codec::opus::{OpusEncoder, PACKET, RATE};
use crate::testnet::{Dice, Link, Loss};
use bytes::Bytes;
use std::sync::OnceLock;
use std::time::Duration;

/// What came of a voice.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    /// Samples made and samples guessed in each second.
    seconds: Vec<(u64, u64)>,
    /// From the speaker's mouth to the listener's ear in each block of 10 ms, microseconds, without the 20 ms of
    /// the packet.
    delays: Vec<(u64, u64)>,
    stretched: (u64, u64),
}

impl Outcome {
    /// Guessed samples of all, from second `from` on, in percent.
    fn guessed(&self, seconds: std::ops::Range<usize>) -> f64 {
        let part = &self.seconds[seconds.start..seconds.end.min(self.seconds.len())];
        let (made, guessed) = part.iter().fold((0, 0), |sum, s| (sum.0 + s.0, sum.1 + s.1));
        guessed as f64 * 100.0 / made.max(1) as f64
    }

    /// Mean delay in milliseconds in these seconds.
    fn delay(&self, seconds: std::ops::Range<usize>) -> f64 {
        let within = |at: &u64| seconds.contains(&((at / 1_000_000) as usize));
        let part: Vec<u64> = self.delays.iter().filter(|(at, _)| within(at)).map(|(_, d)| *d).collect();
        part.iter().sum::<u64>() as f64 / part.len().max(1) as f64 / 1000.0
    }
}

/// 20 s of something like speech, encoded: syllables of gliding pitch, hisses, and pauses.
fn speech() -> &'static [Bytes] {
    static SPEECH: OnceLock<Vec<Bytes>> = OnceLock::new();
    SPEECH.get_or_init(|| {
        let (mut dice, mut encoder) = (Dice::new(1), OpusEncoder::new().unwrap());
        let mut pcm = vec![0.0f32; RATE as usize * 20];
        let mut at = 0;
        while at < pcm.len() {
            let kind = dice.below(20);
            let length = if kind < 6 { 1500 + dice.below(3000) } else { 4000 + dice.below(8000) };
            let length = (length as usize).min(pcm.len() - at);
            let pitch = 110.0 + dice.below(100) as f32;
            let mut phase = 0.0;
            for n in 0..length {
                let part = n as f32 / length as f32;
                let loud = (part * std::f32::consts::PI).sin().powi(2) * 0.3;
                phase += pitch * (1.0 + 0.2 * part) / RATE as f32;
                pcm[at + n] = match kind {
                    0 | 1 => 0.0,
                    2..=5 => (dice.below(20_001) as f32 / 10_000.0 - 1.0) * loud * 0.2,
                    _ => {
                        (1..16u16)
                            .map(|k| (phase * f32::from(k) * std::f32::consts::TAU).sin() / f32::from(k))
                            .sum::<f32>()
                            * loud
                    }
                };
            }
            at += length;
        }
        pcm.chunks_exact(PACKET).map(|packet| encoder.encode(packet).unwrap()).collect()
    })
}

/// How it is sent and played.
struct Call {
    seconds: usize,
    /// Copies of the packets before in each packet (RFC 2198).
    copies: u64,
    /// The listener's clock against the speaker's, millionths.
    drift_ppm: f64,
    /// For how long sound is to wait for pictures at this second, milliseconds.
    extra: fn(u64) -> u64,
    /// When the player's blocks begin among the sender's packets, and how late its thread wakes, follow from it.
    seed: u64,
}

const CALL: Call = Call { seconds: 60, copies: 0, drift_ppm: 0.0, extra: |_| 0, seed: 1 };

/// Sends the speech over and over; `network` says when the packet sent at that time arrives.
fn call(call: &Call, mut network: impl FnMut(u64) -> Vec<u64>) -> Outcome {
    let (speech, start) = (speech(), Instant::now());
    let at = |micros: u64| start + Duration::from_micros(micros);
    let mut flights = Vec::new();
    for n in 0..call.seconds as u64 * 50 {
        let sent = n * 20_000;
        for arrives in network(sent) {
            for copy in (n.saturating_sub(call.copies)..=n).rev() {
                flights.push((arrives, copy));
            }
        }
    }
    flights.sort_by_key(|(arrives, _)| *arrives);
    let mut flights = flights.into_iter().peekable();
    let (mut voice, mut outcome) = (Voice::new().unwrap(), Outcome::default());
    let mut before = (0, 0);
    let mut dice = Dice::new(call.seed);
    let phase = dice.below(20_000) as f64;
    let tick = 10_000.0 * (1.0 + call.drift_ppm * 1e-6);
    for block in 0..call.seconds as u64 * 100 {
        let now = (phase + block as f64 * tick) as u64 + dice.below(1500);
        while let Some((arrives, n)) = flights.next_if(|(arrives, _)| *arrives <= now) {
            voice.push(Packet {
                seq: n as u16,
                timestamp: (n as u32).wrapping_mul(960),
                payload: speech[n as usize % speech.len()].clone(),
                duration: 960,
                arrived: at(arrives),
                sender_us: Some(n as i64 * 20_000),
            });
        }
        voice.set_extra(Duration::from_millis((call.extra)(block / 100)));
        if let Some(captured) = voice.next_us() {
            outcome.delays.push((now, now.saturating_sub(captured as u64)));
        }
        voice.pull(at(now));
        if block % 100 == 99 {
            let sum = (voice.samples(), voice.counts().concealed);
            outcome.seconds.push((sum.0 - before.0, sum.1 - before.1));
            before = sum;
        }
    }
    outcome.stretched = voice.stretched();
    outcome
}

/// Three runs of a minute over links of the same kind: percent guessed and delay (ms) added by us, means from
/// second 5 on, and the worst run's guesses.
fn runs(copies: u64, make: impl Fn(u64) -> Link) -> (f64, f64, f64) {
    let (mut guessed, mut delay, mut worst) = (0.0, 0.0, 0.0f64);
    for seed in 1..=3 {
        let run = || {
            let mut link = make(seed);
            let outcome = call(&Call { copies, seed, ..CALL }, |sent| link.send(sent, 120));
            (outcome, link.delay as f64 / 1000.0)
        };
        let (outcome, path) = run();
        if seed == 1 {
            assert!(run() == (outcome.clone(), path), "the same seed gave something else");
        }
        let share = outcome.guessed(5..60);
        guessed += share / 3.0;
        worst = worst.max(share);
        delay += (outcome.delay(5..60) - path) / 3.0;
    }
    (guessed, delay, worst)
}

/// A kind of link, and what is allowed on it.
struct Bound {
    name: &'static str,
    copies: u64,
    link: fn(u64) -> Link,
    /// Percent guessed: mean of the runs, and the worst.
    guessed: (f64, f64),
    /// Mean delay beyond the path's mean, milliseconds.
    delay: f64,
}

fn check(bounds: &[Bound]) {
    for Bound { name, copies, link, guessed, delay } in bounds {
        let (mean, held, worst) = runs(*copies, link);
        println!("{name:24} {copies} copies: guessed {mean:.2} % (worst {worst:.2}), delay {held:.1} ms");
        assert!(mean <= guessed.0 && worst <= guessed.1, "{name}: guessed {mean} %, worst {worst} %");
        assert!(held <= *delay, "{name}: delay {held} ms");
    }
}

#[test]
fn a_clean_link_costs_little_more_than_a_packet_and_nothing_is_guessed() {
    check(&[
        Bound { name: "N0", copies: 0, link: |s| Link::new(s, 10), guessed: (0.0, 0.0), delay: 30.0 },
        Bound {
            name: "+-5 ms",
            copies: 0,
            link: |s| Link::new(s, 20).jitter(5),
            guessed: (0.05, 0.1),
            delay: 30.0,
        },
    ]);
}

#[test]
fn random_loss_is_recovered_from_what_the_next_packets_carry() {
    check(&[
        Bound {
            name: "N1, FEC",
            copies: 0,
            link: |s| Link::new(s, 10).loss(Loss::Random(0.05)),
            guessed: (0.8, 1.0),
            delay: 50.0,
        },
        Bound {
            name: "N2, FEC",
            copies: 0,
            link: |s| Link::new(s, 10).loss(Loss::Random(0.1)),
            guessed: (2.0, 2.3),
            delay: 50.0,
        },
        Bound {
            name: "N3, FEC",
            copies: 0,
            link: |s| Link::new(s, 10).loss(Loss::Random(0.2)),
            guessed: (5.5, 6.0),
            delay: 55.0,
        },
        Bound {
            name: "N1, RED",
            copies: 2,
            link: |s| Link::new(s, 10).loss(Loss::Random(0.05)),
            guessed: (0.1, 0.2),
            delay: 60.0,
        },
        Bound {
            name: "N2, RED",
            copies: 2,
            link: |s| Link::new(s, 10).loss(Loss::Random(0.1)),
            guessed: (0.3, 0.4),
            delay: 65.0,
        },
        Bound {
            name: "N3, RED",
            copies: 2,
            link: |s| Link::new(s, 10).loss(Loss::Random(0.2)),
            guessed: (0.8, 1.0),
            delay: 70.0,
        },
    ]);
}

#[test]
fn bursts_cost_what_nothing_carries_and_no_more() {
    // Of bursts of four on average 75 % of the packets are followed by a lost one, 42 % by three and more.
    check(&[
        Bound {
            name: "N4, FEC",
            copies: 0,
            link: |s| Link::new(s, 10).loss(Loss::Bursts(0.1, 4.0)),
            guessed: (8.0, 9.5),
            delay: 50.0,
        },
        Bound {
            name: "N4, RED",
            copies: 2,
            link: |s| Link::new(s, 10).loss(Loss::Bursts(0.1, 4.0)),
            guessed: (5.0, 6.0),
            delay: 70.0,
        },
    ]);
}

#[test]
fn jitter_reordering_and_duplicates_cost_delay_and_hardly_any_sound() {
    check(&[
        Bound {
            name: "N10",
            copies: 0,
            link: |s| Link::new(s, 10).mixed_up(0.05, 0.02),
            guessed: (0.1, 0.3),
            delay: 60.0,
        },
        Bound {
            name: "N5, FEC",
            copies: 0,
            link: |s| Link::new(s, 100).jitter(25).loss(Loss::Random(0.05)),
            guessed: (1.0, 1.2),
            delay: 60.0,
        },
        Bound {
            name: "N5, RED",
            copies: 2,
            link: |s| Link::new(s, 100).jitter(25).loss(Loss::Random(0.05)),
            guessed: (0.1, 0.2),
            delay: 65.0,
        },
        Bound {
            name: "+-25 ms, reordering",
            copies: 0,
            link: |s| Link::new(s, 100).jitter(25).mixed_up(0.05, 0.02),
            guessed: (0.1, 0.3),
            delay: 75.0,
        },
        Bound {
            name: "N6",
            copies: 0,
            link: |s| Link::new(s, 250).jitter(100).mixed_up(0.05, 0.02),
            guessed: (0.2, 0.5),
            delay: 140.0,
        },
        Bound {
            name: "N6, in order",
            copies: 0,
            link: |s| Link::new(s, 250).jitter(100).ordered(),
            guessed: (0.3, 0.5),
            delay: 140.0,
        },
    ]);
}

/// A link that is bad from second 20 to 40.
fn weather(seed: u64, copies: u64, bad: impl Fn(Link) -> Link) -> Outcome {
    let (mut good, mut bad) = (Link::new(seed, 150), bad(Link::new(seed + 9, 150)));
    call(&Call { seed, copies, ..CALL }, |sent| match sent {
        20_000_000..40_000_000 => bad.send(sent, 100),
        _ => good.send(sent, 100),
    })
}

#[test]
fn the_delay_is_up_within_two_seconds_of_a_change_and_down_again_within_fifteen() {
    for seed in 1..=3 {
        let jitter = weather(seed, 0, |link| link.jitter(100));
        assert_eq!(jitter.guessed(0..20), 0.0);
        assert!(jitter.guessed(22..40) < 0.5, "seed {seed}: {}", jitter.guessed(22..40));
        let loss = weather(seed, 2, |link| link.loss(Loss::Random(0.2)));
        assert!(loss.guessed(22..40) < 2.0, "seed {seed}: {}", loss.guessed(22..40));
        // N7.
        let bursts = weather(seed, 2, |link| link.loss(Loss::Bursts(0.3, 4.0)));
        assert!(bursts.guessed(20..40) < 25.0, "seed {seed}: {}", bursts.guessed(20..40));
        for outcome in [jitter, loss, bursts] {
            let (before, after) = (outcome.delay(10..20) - 150.0, outcome.delay(54..60) - 150.0);
            assert!(after < 45.0 && after < before + 20.0, "seed {seed}: {before} ms, then {after} ms");
            assert_eq!(outcome.guessed(42..60), 0.0, "seed {seed}: something is guessed on the way down");
        }
    }
}

#[test]
fn after_an_outage_the_sound_is_whole_within_a_second_and_no_later_than_before() {
    // N11.
    for (seed, seconds) in [(1, 0.5_f64), (2, 3.0), (3, 10.0)] {
        let outage = 20_000_000..20_000_000 + (seconds * 1e6) as u64;
        let whole = |sent| if outage.contains(&sent) { vec![] } else { vec![sent + 10_000] };
        let run = || call(&Call { seed, ..CALL }, whole);
        let outcome = run();
        assert!(outcome == run(), "the same seed gave something else");
        let back = (21.0 + seconds).ceil() as usize;
        assert!(outcome.guessed(20..back) > 0.0 && outcome.guessed(5..20) == 0.0, "{outcome:?}");
        assert_eq!(outcome.guessed(back..60), 0.0, "after {seconds} s");
        let (before, after) = (outcome.delay(10..20), outcome.delay(back + 10..60));
        assert!(after < before + 15.0, "{before} ms, {after} ms after {seconds} s");
    }
}

#[test]
fn sound_waits_for_pictures_without_a_gap_and_no_longer_than_it_must() {
    let waits = Call { extra: |second| if (10..30).contains(&second) { 200 } else { 0 }, ..CALL };
    let outcome = call(&waits, |sent| vec![sent + 10_000]);
    assert_eq!(outcome.guessed(0..58), 0.0);
    let (before, during, after) = (outcome.delay(5..10), outcome.delay(18..30), outcome.delay(36..58));
    assert!((190.0..225.0).contains(&(during - before)), "{before} ms, then {during} ms");
    assert!(after < before + 15.0, "{before} ms, then {during} ms, then {after} ms");
}

#[test]
fn clocks_200_ppm_apart_neither_pile_up_nor_drop_anything() {
    for drift_ppm in [200.0, -200.0] {
        let clocks = Call { seconds: 300, drift_ppm, ..CALL };
        let outcome = call(&clocks, |sent| vec![sent + 10_000]);
        let (early, late) = (outcome.delay(5..20) - 10.0, outcome.delay(250..290) - 10.0);
        assert!(late < 40.0, "{early} ms, then {late} ms at {drift_ppm} ppm");
        assert_eq!(outcome.guessed(0..298), 0.0, "at {drift_ppm} ppm");
        // 60 ms in five minutes, and not much more than that.
        let (added, left_out) = outcome.stretched;
        assert!(added + left_out < 48 * 200, "{added} added, {left_out} left out at {drift_ppm} ppm");
    }
}
