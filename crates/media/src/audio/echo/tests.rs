//! Paths that are learnt, kept, and followed.

use super::*;
use crate::audio::measure::{Lcg, rms};

/// A room: the direct way after 30 ms, and a tail.
fn room(seed: u64) -> Vec<f32> {
    let mut noise = Lcg::new(seed);
    let mut taps: Vec<f32> =
        (0..4800).map(|n| noise.next_f32() * 0.02 * (-(n as f32) / 900.0).exp()).collect();
    taps[0] = 0.4;
    taps
}

/// Syllables of noise, which is what a filter needs of speech: all tones, and pauses.
fn speech(seconds: usize, seed: u64) -> Vec<f32> {
    let mut noise = Lcg::new(seed);
    let loud = |n: usize| (n as f32 / 9600.0).sin().powi(2);
    (0..seconds * 48_000).map(|n| 0.1 * loud(n) * noise.next_f32()).collect()
}

fn echo(played: &[f32], room: &[f32], delay: usize) -> Vec<f32> {
    let mut heard = vec![0.0; played.len()];
    for (tap, gain) in room.iter().enumerate().filter(|(tap, _)| *tap == 0 || tap % 7 == 0) {
        for n in tap + delay..played.len() {
            heard[n] += gain * played[n - tap - delay];
        }
    }
    heard
}

fn block(pcm: &[f32], n: usize) -> [f32; BLOCK] {
    pcm[n * BLOCK..][..BLOCK].try_into().unwrap()
}

/// What is left of what was heard; `turn` says how many blocks are played before each one heard.
fn run(played: &[f32], heard: &[f32], turn: impl Fn(usize) -> usize) -> Vec<f32> {
    let (mut filter, mut out, mut next) = (EchoFilter::new(), Vec::new(), 0);
    for n in 0..heard.len() / BLOCK {
        for _ in 0..turn(n) {
            if (next + 1) * BLOCK <= played.len() {
                filter.playing(&block(played, next));
                next += 1;
            }
        }
        let mut heard = block(heard, n);
        filter.heard(&mut heard);
        out.extend_from_slice(&heard);
    }
    out
}

/// How much quieter `out` is than `heard` between two seconds, dB.
fn quieter(heard: &[f32], out: &[f32], from: f32, until: f32) -> f32 {
    let part = |pcm: &[f32]| rms(&pcm[(from * 48_000.0) as usize..(until * 48_000.0) as usize]);
    20.0 * (part(heard) / part(out).max(1e-9)).log10()
}

#[test]
fn an_echo_is_learnt_and_taken_away() {
    let played = speech(6, 1);
    let heard = echo(&played, &room(2), 1440);
    let out = run(&played, &heard, |_| 1);
    let settled = quieter(&heard, &out, 2.0, 6.0);
    assert!(settled > 20.0, "{settled} dB");
    assert_eq!(out, run(&played, &heard, |_| 1), "the same again");
}

#[test]
fn a_near_voice_passes_untouched() {
    let (played, near) = (speech(8, 1), speech(8, 77));
    let far = echo(&played, &room(2), 1440);
    let both: Vec<f32> = far.iter().zip(&near).map(|(far, near)| far + 0.5 * near).collect();
    let out = run(&played, &both, |_| 1);
    let wrong: Vec<f32> = out.iter().zip(&near).map(|(out, near)| out - 0.5 * near).collect();
    let voice: Vec<f32> = near.iter().map(|near| 0.5 * near).collect();
    let kept = quieter(&voice, &wrong, 4.0, 8.0);
    assert!(kept > 10.0, "what is not the voice is only {kept} dB below it");
    let silent = run(&vec![0.0; near.len()], &near, |_| 1);
    assert_eq!(silent, near);
}

#[test]
fn another_path_is_learnt_anew() {
    let played = speech(10, 1);
    let mut heard = echo(&played, &room(2), 1440);
    heard[4 * 48_000..].copy_from_slice(&echo(&played, &room(3), 4000)[4 * 48_000..]);
    let out = run(&played, &heard, |_| 1);
    let later = quieter(&heard, &out, 7.0, 10.0);
    assert!(later > 18.0, "{later} dB");
}

#[test]
fn what_a_speaker_bends_is_learnt_and_taken_away() {
    // Peaks are bent to a half.
    let played: Vec<f32> = speech(12, 1).iter().map(|x| x * 9.0).collect();
    let bent: Vec<f32> = played.iter().map(|x| (2.5 * x).tanh() / 2.5).collect();
    let heard = echo(&bent, &room(2), 1440);
    let out = run(&played, &heard, |_| 1);
    let left = quieter(&heard, &out, 6.0, 12.0);
    assert!(left > 20.0, "{left} dB");
}

#[test]
fn a_path_that_moves_with_the_clocks_is_followed() {
    // Straight lines from sample to sample are true to low tones only.
    let mut low = 0.0;
    let played: Vec<f32> = speech(12, 1)
        .iter()
        .map(|x| {
            low += 0.2 * (x - low);
            low
        })
        .collect();
    let still = echo(&played, &room(2), 1440);
    for ppm in [200.0, -200.0] {
        let heard: Vec<f32> = (0..still.len() - 480)
            .map(|n| {
                let at = n as f64 * (1.0 - ppm / 1e6);
                let part = at.fract() as f32;
                still[at as usize] * (1.0 - part) + still[at as usize + 1] * part
            })
            .collect();
        let out = run(&played, &heard, |_| 1);
        let left = quieter(&heard, &out, 5.0, 11.0);
        assert!(left > 15.0, "{ppm} ppm: {left} dB");
    }
}

#[test]
fn a_path_that_has_become_another_is_told_within_two_blocks() {
    let played = speech(6, 1);
    let mut heard = echo(&played, &room(2), 1440);
    // Not in a pause.
    let from = 415;
    heard[from * BLOCK..].copy_from_slice(&echo(&played, &room(2), 2880)[from * BLOCK..]);
    let mut filter = EchoFilter::new();
    let mut wrong = Vec::new();
    for n in 0..from + 3 {
        filter.playing(&block(&played, n));
        filter.heard(&mut block(&heard, n));
        if filter.is_wrong() && n > 200 {
            wrong.push(n);
        }
    }
    assert!(wrong.first().is_some_and(|first| (from..=from + 2).contains(first)), "{wrong:?}");
}

#[test]
fn a_speaker_that_is_late_or_early_once_costs_a_moment_only() {
    let played = speech(8, 1);
    let delay = 4 * BLOCK;
    // At 4 s the speaker is a block behind, from 5 s on it has made up for it; the room does not know.
    let late = |n: usize| match n {
        400..402 => 0,
        500 => 3,
        _ => 1,
    };
    let mut heard = echo(&played, &room(2), delay);
    // While it is behind, what it plays comes two blocks later.
    let behind = echo(&played, &room(2), delay + 2 * BLOCK);
    heard[402 * BLOCK..500 * BLOCK].copy_from_slice(&behind[402 * BLOCK..500 * BLOCK]);
    let out = run(&played, &heard, late);
    for (from, until) in [(3.0, 4.0), (4.6, 5.0), (6.0, 8.0)] {
        let left = quieter(&heard, &out, from, until);
        assert!(left > 12.0, "{from} to {until} s: {left} dB");
    }
}

#[test]
fn an_echo_that_is_soon_back_is_learnt_whenever_the_microphone_came() {
    let (played, delay) = (speech(8, 1), 2 * BLOCK);
    let heard = echo(&played, &room(2), delay);
    // The speaker plays alone for a second and has a block or two more with it when the microphone is opened; or it
    // plays six blocks at once later on.
    for (alone, burst) in [(100, 0), (103, 0), (0, 300)] {
        let mut filter = EchoFilter::new();
        let (mut next, mut out) = (0, Vec::new());
        for n in alone..heard.len() / BLOCK {
            let until = if burst > 0 && n >= burst { n + 6 } else { n + 1 };
            while next < until.min(played.len() / BLOCK) {
                filter.playing(&block(&played, next));
                next += 1;
            }
            let mut heard = block(&heard, n);
            filter.heard(&mut heard);
            out.extend_from_slice(&heard);
        }
        let heard = &heard[alone * BLOCK..];
        let left = quieter(heard, &out, 5.0, 6.5);
        assert!(left > 15.0, "{alone}, {burst}: {left} dB");
    }
}

#[test]
fn a_path_is_still_known_when_the_microphone_was_away() {
    let (played, delay) = (speech(8, 1), 4 * BLOCK);
    let heard = echo(&played, &room(2), delay);
    for (away, told) in [(30, true), (100, false), (100, true)] {
        let (mut filter, mut out) = (EchoFilter::new(), Vec::new());
        for n in 0..heard.len() / BLOCK {
            filter.playing(&block(&played, n));
            let mut heard = block(&heard, n);
            if !(400..400 + away).contains(&n) {
                filter.heard(&mut heard);
            } else if told {
                filter.reopen();
            }
            out.extend_from_slice(&heard);
        }
        let back = 4.0 + away as f32 / 100.0;
        let left = quieter(&heard, &out, back + 0.05, back + 0.55);
        assert!(left > 15.0, "away for {away} blocks: {left} dB");
    }
}

#[test]
fn silence_has_no_pace() {
    // What a decoder plays of silence, and a room's noise, which have nothing to do with each other; then speech.
    let noise = |loud: f32, seed| {
        let mut noise = Lcg::new(seed);
        move || loud * noise.next_f32()
    };
    let silent = 20 * 48_000;
    let mut dither = noise(3e-5, 5);
    let mut low = 0.0;
    let mut played: Vec<f32> = (0..silent)
        .map(|_| {
            low += 0.03 * (dither() - low);
            low
        })
        .collect();
    played.extend(speech(4, 1));
    let (mut heard, mut hum) = (echo(&played, &room(2), 1440), noise(1e-3, 6));
    heard.iter_mut().for_each(|x| *x += hum());
    let mut filter = EchoFilter::new();
    for n in 0..silent / BLOCK {
        filter.playing(&block(&played, n));
        filter.heard(&mut block(&heard, n));
        assert!(filter.pace.abs() < STILL, "{} after {n} blocks", filter.pace);
    }
    let out = run(&played, &heard, |_| 1);
    let left = quieter(&heard, &out, 21.0, 22.0);
    assert!(left > 15.0, "{left} dB in the first second of speech");
}
