//! `lab sound`: what the cleaning of one's own voice leaves of echo and noise, and of the voice, in a made room.
//!
//! Speech from the far side is played, comes back from the room, and meets a near voice; [`media::audio::cleaner`]
//! cleans it, fed in blocks of 10 ms as the audio thread does. Figures are of sound alone: no clock, no device.
//!
//! [`ear`], [`clocks`] and [`speakers`] are of whole calls, on sound devices that are none: how long sound takes from
//! mouth to ear, how it comes through when the clocks of two sound cards are apart, and what is left of the echo of
//! open speakers, beside Chromium.

mod chirp;
pub mod clocks;
pub mod ear;
mod ends;
mod pulse;
mod room;
mod score;
pub mod speakers;
mod wire;

use crate::pesq::Judge;
use crate::tone::RATE;
use anyhow::{Context, Result};
use media::audio::cleaner::Cleaner;
use media::audio::{Noise, Processing};
use room::{Room, decibels, fan};
use score::{Figures, cpu_time};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// What is cleaned at a time: 10 ms.
const BLOCK: usize = 480;
/// The far side speaks from the beginning, the near one from here to the end; the far one then stops.
const NEAR_FROM: f32 = 14.0;
const FAR_UNTIL: f32 = 24.0;
const END: f32 = 34.0;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Echo, a row for each room; and the processor's time for each 10 ms, both directions, microseconds.
    pub echo: Vec<(String, Figures, f64)>,
    /// Noise, a row for each step of suppression.
    pub noise: Vec<(String, score::NoiseFigures)>,
    /// Quiet and loud voices: dB of full scale before, and after 8 s of gain control.
    pub gain: Vec<(f32, f32)>,
}

/// Measures all of it.
///
/// # Errors
/// When there is no speech or no PESQ, with what to do.
pub fn run(pesq: &Path) -> Result<Report> {
    let speech = speech()?;
    let judge = Judge::set_up(pesq)?;
    let rooms = rooms();
    let echo = rooms.into_iter().map(|(name, room)| {
        eprintln!("lab: {name} …");
        let (figures, took) = echo(&room, &speech, &judge)?;
        Ok((name.to_owned(), figures, took.as_secs_f64() * 1e6))
    });
    let echo = echo.collect::<Result<_>>()?;
    let steps = [("off", Noise::Off), ("low", Noise::Low), ("medium", Noise::Medium), ("high", Noise::High)];
    let noise = steps.into_iter().map(|(name, noise)| {
        eprintln!("lab: noise suppression {name} …");
        Ok((name.to_owned(), suppress(noise, &speech, &judge)?))
    });
    let noise = noise.collect::<Result<_>>()?;
    let gain = [-50.0, -40.0, -26.0, -10.0].map(|level| (level, loudness(level, &speech))).to_vec();
    Ok(Report { echo, noise, gain })
}

/// A loop of speech.
fn speech() -> Result<Vec<f32>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("speech.wav");
    crate::speech::write_speech(&file)?;
    Ok(crate::tone::read_wav(&file)?.0)
}

fn rooms() -> Vec<(&'static str, Room)> {
    let desk = Room::DESK;
    vec![
        ("a desk: 40 ms, 12 dB down", desk),
        ("louder: 6 dB down", Room { loss_db: 6.0, ..desk }),
        ("a far speaker: 120 ms, long tail", Room { delay_ms: 120.0, reverberation: 0.35, ..desk }),
        ("as loud as it left, bent", Room { loss_db: 0.0, drive: 3.0, ..desk }),
        ("the delay grows by 30 ms at 5 s", Room { moves: Some((5.0, 30.0)), ..desk }),
        ("clocks 200 ppm apart", Room { drift_ppm: 200.0, ..desk }),
        ("a noisy room", Room { noise_db: -50.0, ..desk }),
    ]
}

fn samples(seconds: f32) -> usize {
    (seconds * RATE as f32) as usize
}

/// A part of the loop of speech, silent outside of the seconds given.
fn spoken(speech: &[f32], shift: usize, from: f32, until: f32) -> Vec<f32> {
    let within = samples(from)..samples(until);
    (0..samples(END))
        .map(|n| if within.contains(&n) { speech[(n + shift) % speech.len()] } else { 0.0 })
        .collect()
}

/// What the far and the near side say in a call on open speakers: the far side alone, both, the near side alone.
fn voices(speech: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let far =
        spoken(speech, 0, 0.0, FAR_UNTIL).iter().map(|x| (x * decibels(6.0)).clamp(-1.0, 1.0)).collect();
    // As loud as the far voice is at the microphone of the desk.
    (far, spoken(speech, samples(9.7), NEAR_FROM, END))
}

/// Runs a microphone's sound through the cleaner, with what the speaker plays; and the processor's time for each
/// 10 ms. What comes out is moved to where it belongs.
fn clean(processing: Processing, played: &[f32], heard: &[f32]) -> Result<(Vec<f32>, Duration)> {
    let mut cleaner = Cleaner::new(processing);
    let mut out = Vec::with_capacity(heard.len());
    let before = cpu_time()?;
    for (played, heard) in played.chunks_exact(BLOCK).zip(heard.chunks_exact(BLOCK)) {
        let played: &[f32; BLOCK] = played.try_into().context("a block is a block")?;
        cleaner.playing(played);
        cleaner.heard(heard, &mut out);
    }
    let took = (cpu_time()? - before) / (out.len() / BLOCK).max(1) as u32;
    out.drain(..cleaner.delay().min(out.len()));
    out.resize(heard.len(), 0.0);
    Ok((out, took))
}

/// A call on open speakers, and the processor's time for each 10 ms.
fn echo(room: &Room, speech: &[f32], judge: &Judge) -> Result<(Figures, Duration)> {
    let (far, near) = voices(speech);
    let echo = room.echo(&far, 5);
    let heard: Vec<f32> = echo.iter().zip(&near).map(|(a, b)| (a + b).clamp(-1.0, 1.0)).collect();
    // Without gain control: it would be measured instead.
    let processing = Processing { gain: false, ..Processing::default() };
    let (out, took) = clean(processing, &far, &heard)?;
    Ok((score::echo(&echo, &near, &out, judge)?, took))
}

/// A voice with a fan beside it; nothing is played.
fn suppress(noise: Noise, speech: &[f32], judge: &Judge) -> Result<score::NoiseFigures> {
    let voice = spoken(speech, 0, 6.0, END);
    let fan = fan(voice.len(), -41.0, 7);
    let heard: Vec<f32> = voice.iter().zip(&fan).map(|(a, b)| a + b).collect();
    let processing = Processing { echo: false, gain: false, noise, music: false };
    let (out, _) = clean(processing, &vec![0.0; heard.len()], &heard)?;
    score::noise(&voice, &heard, &out, judge)
}

/// How loud a voice of so many dB of full scale is after 8 s of gain control, dB of full scale.
fn loudness(level: f32, speech: &[f32]) -> f32 {
    let scale = decibels(level + 26.0);
    let voice: Vec<f32> = spoken(speech, 0, 0.0, END).iter().map(|x| (x * scale).clamp(-1.0, 1.0)).collect();
    match clean(Processing::default(), &vec![0.0; voice.len()], &voice) {
        Ok((out, _)) => score::spoken_level(&out[samples(8.0)..]),
        Err(_) => f32::NAN,
    }
}

/// The report as Markdown tables.
pub fn markdown(report: &Report) -> String {
    let mut text = String::from(
        "| echo | first second, dB | after 2 s, dB | worst second after a change, dB | near voice in double talk, \
         PESQ | near voice alone, PESQ | near level, dB | us a 10 ms |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (name, f, took) in &report.echo {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {name} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} | {:+.1} | {took:.0} |",
            f.first_db, f.settled_db, f.worst_db, f.double_talk, f.near_alone, f.near_db
        );
    }
    text += "\n| noise suppression | noise down, dB | voice, dB | PESQ before | PESQ after |\n|---|---|---|---|---|\n";
    for (name, f) in &report.noise {
        let _ = writeln!(
            text,
            "| {name} | {:.1} | {:+.1} | {:.2} | {:.2} |",
            f.down_db, f.voice_db, f.before, f.after
        );
    }
    text += "\n| voice before gain control, dBFS | after 8 s, dBFS |\n|---|---|\n";
    for (before, after) in &report.gain {
        let _ = writeln!(text, "| {before:.0} | {after:.1} |");
    }
    text += "\n";
    let missed = missed(report);
    text += &if missed.is_empty() { "All floors hold.\n".into() } else { missed.join("\n") + "\n" };
    text
}

/// The floors that are missed: of the echo 15 dB away in the first second and 25 after two, the near voice at PESQ 2.5 while
/// both speak, and noise 15 dB down by the usual step.
fn missed(report: &Report) -> Vec<String> {
    let echo = report.echo.iter().flat_map(|(room, f, _)| {
        let floors = [
            ("first second, dB", f.first_db, 15.0),
            ("after 2 s, dB", f.settled_db, 25.0),
            ("double talk, PESQ", f.double_talk, 2.5),
        ];
        floors.map(|(what, value, least)| (format!("{room}, {what}"), value, least))
    });
    let usual = report.noise.iter().filter(|(step, _)| step == "medium");
    let noise = usual.map(|(step, f)| (format!("noise suppression {step}, dB"), f.down_db, 15.0));
    // What is no number is missed too.
    let all = echo.chain(noise).filter(|(_, value, least)| value.is_nan() || value < least);
    all.map(|(what, value, least)| format!("- **missed**: {what}: {value:.1}, at least {least}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_desk_the_echo_is_taken_away_as_far_as_it_must_be() {
        let (mut far, _) = voices(&speech().unwrap());
        far.truncate(samples(NEAR_FROM));
        let echo = Room::DESK.echo(&far, 5);
        let processing = Processing { gain: false, ..Processing::default() };
        let (out, _) = clean(processing, &far, &echo).unwrap();
        let (first, settled, worst) = score::enhancement(&echo, &out);
        assert!(first > 15.0 && settled > 25.0 && worst > 20.0, "{first} {settled} {worst}");
    }

    #[test]
    fn what_misses_its_floor_is_named() {
        let figures = Figures {
            first_db: 16.0,
            settled_db: 24.9,
            worst_db: 3.0,
            double_talk: f64::NAN,
            near_alone: 3.0,
            near_db: 0.0,
        };
        let noise = score::NoiseFigures { down_db: 15.1, voice_db: 0.0, before: 2.0, after: 3.0 };
        let report = Report {
            echo: vec![("a room".into(), figures, 200.0)],
            noise: vec![
                ("low".into(), score::NoiseFigures { down_db: 8.0, ..noise }),
                ("medium".into(), noise),
            ],
            gain: Vec::new(),
        };
        let missed = missed(&report);
        assert_eq!(missed.len(), 2, "{missed:?}");
        assert!(missed[0].contains("after 2 s") && missed[1].contains("double talk"), "{missed:?}");
    }
}
