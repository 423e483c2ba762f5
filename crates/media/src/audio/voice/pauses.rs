//! Pauses of the other side (DTX) on virtual time, with Opus at both ends: what is sent of them, and what is heard.

use super::*;
use crate::audio::measure::Lcg;
use crate::audio::pauses::{Pauses, Worth};
use crate::codec::opus::{OpusEncoder, PACKET, duration, pause_after};
use crate::testnet::{Link, Loss};
use std::time::Duration;

/// Seconds of speech, and of the pause after it.
const TALK: usize = 2;
const PAUSE: usize = 4;
const ROUNDS: usize = 5;
const SECOND: usize = RATE as usize;

/// Speech of gliding pitch with a background of this loudness under it, which alone is left in the pauses.
fn sound(seed: u64, background: f32) -> Vec<f32> {
    let (mut dice, mut brown, mut phase) = (Lcg::new(seed), 0.0, 0.0f32);
    let mut noise = Vec::with_capacity((TALK + PAUSE) * ROUNDS * SECOND);
    for _ in 0..(TALK + PAUSE) * ROUNDS * SECOND {
        brown += (dice.next_f32() - brown) * 0.3;
        noise.push(brown);
    }
    let scale = background / rms(&noise);
    let speech = |n: usize| {
        let at = n % ((TALK + PAUSE) * SECOND);
        if at >= TALK * SECOND {
            return 0.0;
        }
        // Five syllables a second, of which the first begins at once.
        let syllable = at as f32 / SECOND as f32 * 5.0;
        phase += (130.0 + 40.0 * syllable.fract() + 7.0 * syllable.floor()) / RATE as f32;
        let loud = (syllable.fract() * 0.9 + 0.1) * std::f32::consts::PI;
        let voice = |k: u16| (phase * f32::from(k) * std::f32::consts::TAU).sin() / f32::from(k);
        (1..14).map(voice).sum::<f32>() * loud.sin().max(0.0) * 0.25
    };
    let mut speech = speech;
    noise.iter().enumerate().map(|(n, noise)| speech(n) + noise * scale).collect()
}

/// What was sent, and heard.
struct Talk {
    /// Bytes of payload and packets sent in each 20 ms.
    sent: Vec<usize>,
    heard: Vec<f32>,
    voice: Voice,
}

impl Talk {
    /// Bits a second of payload, and packets a second, in the pauses but for their first half second.
    fn spent(&self) -> (usize, usize) {
        let in_pause = |n: &usize| *n > 300 && n % ((TALK + PAUSE) * 50) >= TALK * 50 + 25;
        let slots: Vec<usize> = (0..self.sent.len()).filter(in_pause).map(|n| self.sent[n]).collect();
        let packets = slots.iter().filter(|bytes| **bytes > 0).count();
        (slots.iter().sum::<usize>() * 8 * 50 / slots.len(), packets * 50 / slots.len())
    }

    /// What was heard in pause `round`, from 0.4 s after its beginning to 0.1 s before its end; 0.2 s of delay at
    /// most are allowed for.
    fn pause(&self, round: usize) -> &[f32] {
        let begins = ((TALK + PAUSE) * round + TALK) * SECOND;
        &self.heard[begins + SECOND * 2 / 5..begins + PAUSE * SECOND - SECOND / 10]
    }
}

fn talk(pcm: &[f32], dtx: bool, mut network: impl FnMut(u64) -> Vec<u64>) -> Talk {
    let start = Instant::now();
    let at = |micros: u64| start + Duration::from_micros(micros);
    let (mut encoder, mut pauses) = (OpusEncoder::new().unwrap(), Pauses::default());
    let (mut flights, mut sent, mut seq, mut mark) = (Vec::new(), Vec::new(), 0u16, None);
    for (n, frame) in pcm.chunks_exact(PACKET).enumerate() {
        let payload = match pauses.judge(frame) {
            Worth::Mark if dtx => mark.clone(),
            Worth::Nothing if dtx => None,
            _ => Some(encoder.encode(frame).unwrap()),
        };
        sent.push(payload.as_ref().map_or(0, bytes::Bytes::len));
        let Some(payload) = payload else { continue };
        mark = pause_after(&payload);
        for arrives in network(n as u64 * 20_000) {
            let packet = Packet {
                seq,
                timestamp: n as u32 * 960,
                duration: duration(&payload).unwrap(),
                payload: payload.clone(),
                arrived: at(arrives),
                sender_us: Some(n as i64 * 20_000),
            };
            flights.push((arrives, packet));
        }
        seq = seq.wrapping_add(1);
    }
    flights.sort_by_key(|(arrives, _)| *arrives);
    let (mut flights, mut voice) = (flights.into_iter().peekable(), Voice::new().unwrap());
    let mut heard = Vec::new();
    for now in (0..pcm.len() as u64 / 48 * 1000).step_by(10_000) {
        while let Some((_, packet)) = flights.next_if(|(arrives, _)| *arrives <= now) {
            voice.push(packet);
        }
        voice.pull(at(now));
        heard.extend_from_slice(&voice.block.mid);
    }
    Talk { sent, heard, voice }
}

fn decibels(a: f32, b: f32) -> f32 {
    20.0 * (a.max(1e-9) / b).log10()
}

/// How far the pauses are from the background as a whole, and how far the worst of their pieces of 100 ms is.
fn off(talk: &Talk, background: f32) -> (f32, f32) {
    let pauses = (1..ROUNDS).map(|round| talk.pause(round));
    let whole = pauses.clone().map(|pause| decibels(rms(pause), background).abs()).fold(0.0, f32::max);
    let pieces = pauses.flat_map(|pause| pause.chunks_exact(4800));
    (whole, pieces.map(|piece| decibels(rms(piece), background).abs()).fold(0.0, f32::max))
}

#[test]
fn a_pause_costs_next_to_nothing_and_its_noise_is_the_background_and_stands_still() {
    for (seed, background) in [(1, 0.01), (2, 0.002), (3, 0.0005)] {
        let pcm = sound(seed, background);
        let talk = talk(&pcm, true, |sent| vec![sent + 10_000]);
        let (bits, packets) = talk.spent();
        let (whole, worst) = off(&talk, background);
        let counts = talk.voice.counts();
        println!("{background}: {bits} b/s, {packets} packets a second, off by {whole} dB, worst {worst} dB");
        let all = self::talk(&pcm, false, |sent| vec![sent + 10_000]);
        for round in 1..ROUNDS {
            let off = decibels(rms(talk.pause(round)), rms(all.pause(round)));
            assert!(off.abs() < 1.5, "{off} dB beside what Opus makes of the background itself");
        }
        assert!(bits < 2_500 && packets <= 6, "{bits} b/s in {packets} packets a second");
        assert!(whole < 3.0 && worst < 4.0, "{whole} dB off the background, the worst 100 ms {worst} dB");
        assert_eq!((counts.concealed, talk.voice.lost(), talk.voice.stretched), (0, 0, (0, 0)));
        assert!(talk.voice.delay_ms() < 45.0, "{} ms", talk.voice.delay_ms());
    }
}

#[test]
fn loss_and_jitter_do_not_make_a_pause_pump() {
    for seed in 1..=3 {
        let background = 0.003;
        let pcm = sound(seed, background);
        let mut link = Link::new(seed, 30).jitter(20).loss(Loss::Random(0.1));
        let talk = talk(&pcm, true, |sent| link.send(sent, 60));
        let (whole, worst) = off(&talk, background);
        let counts = talk.voice.counts();
        println!("{seed}: off by {whole} dB, worst {worst} dB, {counts:?}, {} ms", talk.voice.delay_ms());
        assert!(whole < 3.0 && worst < 5.0, "{whole} dB off the background, the worst 100 ms {worst} dB");
        let guessed = counts.concealed as f32 / talk.voice.samples() as f32;
        assert!(guessed < 0.04 && talk.voice.delay_ms() < 110.0, "{counts:?}, {} ms", talk.voice.delay_ms());
    }
}

/// When the word after each pause is heard, and the energy of its first 40 ms.
fn onsets(talk: &Talk) -> Vec<(usize, f32)> {
    let onset = |round: usize| {
        let begins = (TALK + PAUSE) * round * SECOND;
        let loud = talk.heard[begins..].iter().position(|x| x.abs() > 0.03).unwrap();
        let from = begins + loud;
        (loud, talk.heard[from..from + 1920].iter().map(|x| x * x).sum())
    };
    (1..ROUNDS).map(onset).collect()
}

#[test]
fn the_first_syllable_after_a_pause_is_whole_and_in_time() {
    let pcm = sound(7, 0.002);
    for jitter in [0, 15] {
        let run = |dtx: bool| {
            let mut link = Link::new(5, 30).jitter(jitter);
            talk(&pcm, dtx, |sent| link.send(sent, 60))
        };
        let (with, without) = (onsets(&run(true)), onsets(&run(false)));
        println!("+-{jitter} ms: {with:?}, {without:?}");
        for ((at, loud), (then, louder)) in with.iter().zip(&without) {
            assert!(decibels(loud.sqrt(), louder.sqrt()).abs() < 1.5, "{loud}, without pauses {louder}");
            assert!(*at < then + 40 * 48, "{} ms late", (at - then) / 48);
        }
    }
}

#[test]
fn whoever_falls_silent_for_good_in_a_pause_leaves_silence() {
    let pcm = sound(9, 0.01);
    let talk = talk(&pcm, true, |sent| if sent < 3_000_000 { vec![sent + 5_000] } else { vec![] });
    assert!(rms(&talk.heard[3 * SECOND..3 * SECOND + SECOND / 2]) > 0.005, "noise goes on for a while");
    assert!(talk.heard[6 * SECOND..].iter().all(|x| *x == 0.0));
    let fades = talk.heard[3 * SECOND..6 * SECOND].chunks(4800).map(rms).collect::<Vec<_>>();
    assert!(fades.windows(2).all(|pair| pair[1] < pair[0] * 1.3 + 1e-4), "{fades:?}");
}
