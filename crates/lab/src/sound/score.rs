//! What is left of echo and noise, and of the voice.

use super::{END, FAR_UNTIL, NEAR_FROM, samples};
use crate::pesq::{Judge, RATE as PESQ_RATE};
use crate::speech::resampled;
use crate::tone::RATE;
use anyhow::{Context, Result};
use serde::Serialize;
use std::time::Duration;

/// Stretches of so many samples that are 40 dB below the loudest are pauses.
const STRETCH: usize = RATE as usize / 50;
const PAUSE: f64 = 1e-4;

/// What cleaning made of a call on open speakers.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// Echo return loss enhancement in the first second of speech, dB.
    pub first_db: f64,
    /// After two seconds, while only the far side speaks, dB.
    pub settled_db: f64,
    /// The worst second after the first two, dB.
    pub worst_db: f64,
    /// PESQ of the near voice while both speak.
    pub double_talk: f64,
    /// PESQ of the near voice after that.
    pub near_alone: f64,
    /// How much louder it came out than it went in, alone, dB.
    pub near_db: f64,
}

/// What noise suppression made of a voice beside a fan.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NoiseFigures {
    /// How much quieter the noise became before anybody spoke, dB.
    pub down_db: f64,
    /// How much louder the voice came out than it went in, dB.
    pub voice_db: f64,
    /// PESQ with the noise.
    pub before: f64,
    /// PESQ after.
    pub after: f64,
}

/// The time that this thread had of a processor.
pub(super) fn cpu_time() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_whitespace().next().context("schedstat is empty")?;
    Ok(Duration::from_nanos(first.parse()?))
}

fn power(pcm: &[f32]) -> f64 {
    pcm.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / pcm.len().max(1) as f64
}

fn ratio_db(a: &[f32], b: &[f32]) -> f64 {
    10.0 * (power(a).max(1e-14) / power(b).max(1e-14)).log10()
}

/// How loud what is spoken is, pauses left out, dB of full scale.
pub(super) fn spoken_level(pcm: &[f32]) -> f32 {
    let powers: Vec<f64> = pcm.chunks_exact(STRETCH).map(power).collect();
    let loudest = powers.iter().copied().fold(0.0, f64::max);
    let spoken: Vec<f64> = powers.into_iter().filter(|p| *p > loudest * PAUSE).collect();
    (10.0 * (spoken.iter().sum::<f64>() / spoken.len().max(1) as f64).max(1e-14).log10()) as f32
}

fn part(pcm: &[f32], from: f32, until: f32) -> &[f32] {
    &pcm[samples(from)..samples(until)]
}

/// How much of the echo is taken away while only the far side speaks, dB: in the first second, after two, and in the worst
/// second after these.
pub(super) fn enhancement(echo: &[f32], out: &[f32]) -> (f64, f64, f64) {
    let enhancement = |from, until| ratio_db(part(echo, from, until), part(out, from, until));
    // Speech has pauses: a second is judged only where something is said in it.
    let said = |from: &f32| power(part(echo, *from, from + 1.0)) > 0.1 * power(part(echo, 2.0, NEAR_FROM));
    let seconds = (2..NEAR_FROM as usize).map(|second| second as f32).filter(said);
    let worst = seconds.map(|from| enhancement(from, from + 1.0)).fold(f64::INFINITY, f64::min);
    (enhancement(0.0, 1.0), enhancement(2.0, NEAR_FROM), worst)
}

/// From the echo and the near voice at the microphone, and what became of both.
pub(super) fn echo(echo: &[f32], near: &[f32], out: &[f32], judge: &Judge) -> Result<Figures> {
    let (first_db, settled_db, worst_db) = enhancement(echo, out);
    let at_16 = |pcm: &[f32], from, until| resampled(part(pcm, from, until), RATE, PESQ_RATE);
    let (both, alone) = ((NEAR_FROM + 1.0, FAR_UNTIL - 0.5), (FAR_UNTIL + 1.0, END - 0.5));
    let pieces = [both, alone].map(|(from, until)| (at_16(near, from, until), at_16(out, from, until)));
    let scores = judge.scores(pieces.iter().map(|(said, heard)| (&said[..], &heard[..])))?;
    Ok(Figures {
        first_db,
        settled_db,
        worst_db,
        double_talk: scores[0],
        near_alone: scores[1],
        near_db: ratio_db(part(out, alone.0, alone.1), part(near, alone.0, alone.1)),
    })
}

pub(super) fn noise(voice: &[f32], heard: &[f32], out: &[f32], judge: &Judge) -> Result<NoiseFigures> {
    let at_16 = |pcm: &[f32]| resampled(part(pcm, 8.0, 17.0), RATE, PESQ_RATE);
    let (said, noisy, clean) = (at_16(voice), at_16(heard), at_16(out));
    let scores = judge.scores([(&said[..], &noisy[..]), (&said[..], &clean[..])])?;
    Ok(NoiseFigures {
        down_db: ratio_db(part(heard, 3.0, 5.5), part(out, 3.0, 5.5)),
        voice_db: f64::from(spoken_level(part(out, 8.0, 17.0)) - spoken_level(part(voice, 8.0, 17.0))),
        before: scores[0],
        after: scores[1],
    })
}
