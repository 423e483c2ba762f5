//! Chirps: short rising tones that are found again in a recording to within a fraction of a millisecond. Pure.

use crate::tone::RATE;
use std::f32::consts::TAU;

/// How long a chirp is, and where it begins and ends, hertz.
const LENGTH: f32 = 0.1;
const FROM: f32 = 600.0;
const TO: f32 = 3000.0;
/// They are looked for at a quarter of the rate.
const COARSE: usize = 4;
/// A chirp is one when it is so much like the one looked for, 0 to 1.
const ALIKE: f32 = 0.4;

/// One chirp of this amplitude, at [`RATE`].
pub(crate) fn chirp(amplitude: f32) -> Vec<f32> {
    let samples = (LENGTH * RATE as f32) as usize;
    let at = |n: usize| {
        let t = n as f32 / RATE as f32;
        let turns = FROM * t + (TO - FROM) * t * t / (2.0 * LENGTH);
        let edge = (n.min(samples - n) as f32 / 480.0).min(1.0);
        (turns * TAU).sin() * amplitude * edge
    };
    (0..samples).map(at).collect()
}

/// `count` chirps, one each `spacing` seconds, after as much silence.
pub(crate) fn chirps(count: usize, spacing: f32, amplitude: f32) -> Vec<f32> {
    let mut out = vec![0.0; ((count + 1) as f32 * spacing * RATE as f32) as usize];
    let one = chirp(amplitude);
    for n in 1..=count {
        let at = (n as f32 * spacing * RATE as f32) as usize;
        out.iter_mut().skip(at).zip(&one).for_each(|(out, x)| *out = *x);
    }
    out
}

/// A recording in which chirps are looked for.
pub(crate) struct Recording {
    coarse: Vec<f32>,
    template: Vec<f32>,
}

impl Recording {
    pub(crate) fn new(pcm: &[f32]) -> Self {
        Self { coarse: coarse(pcm), template: coarse(&chirp(1.0)) }
    }

    /// When a chirp begins between two moments (all in seconds), and how sure that is (0 to 1).
    pub(crate) fn find(&self, from: f64, until: f64) -> Option<f64> {
        let rate = f64::from(RATE) / COARSE as f64;
        let size = self.template.len();
        let last = self.coarse.len().saturating_sub(size);
        let range = ((from * rate).max(0.0) as usize).min(last)..((until * rate).max(0.0) as usize).min(last);
        let own: f32 = self.template.iter().map(|x| x * x).sum();
        let likeness = |at: usize| {
            let piece = &self.coarse[at..at + size];
            let (mut cross, mut power) = (0.0f32, 0.0f32);
            for (a, b) in self.template.iter().zip(piece) {
                cross += a * b;
                power += b * b;
            }
            cross.abs() / (own * power).sqrt().max(1e-3)
        };
        let best = range.map(|at| (at, likeness(at))).max_by(|a, b| a.1.total_cmp(&b.1))?;
        (best.1 > ALIKE).then_some(best.0 as f64 / rate)
    }

    /// All that begin at least `apart` seconds after each other.
    pub(crate) fn all(&self, apart: f64) -> Vec<f64> {
        let end = self.coarse.len() as f64 * COARSE as f64 / f64::from(RATE);
        let (mut found, mut at) = (Vec::new(), 0.0);
        while at < end {
            // The best of a stretch may be the beginning of a better one in the next.
            match self.find(at, at + apart) {
                Some(one) => {
                    let one = self.find(one, one + f64::from(LENGTH)).unwrap_or(one);
                    found.push(one);
                    at = one + apart * 0.5;
                }
                None => at += apart * 0.5,
            }
        }
        found
    }
}

fn coarse(pcm: &[f32]) -> Vec<f32> {
    pcm.chunks_exact(COARSE).map(|chunk| chunk.iter().sum::<f32>() / COARSE as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chirps_are_found_where_they_are_quiet_late_and_in_noise() {
        let mut noise = media::audio::measure::Lcg::new(4);
        let clean = chirps(10, 1.013, 0.5);
        let late = 0.1234;
        let mut heard = vec![0.0; (late * f64::from(RATE)) as usize];
        heard.extend(clean.iter().map(|x| -0.2 * x));
        heard.iter_mut().for_each(|x| *x += noise.next_f32() * 0.02);
        let (clean, heard) = (Recording::new(&clean), Recording::new(&heard));
        let spoken = clean.all(1.013);
        assert_eq!(spoken.len(), 10, "{spoken:?}");
        for (n, at) in spoken.iter().enumerate() {
            assert!((at - (n + 1) as f64 * 1.013).abs() < 0.0005, "{spoken:?}");
            let delay = heard.find(*at, at + 0.9).unwrap() - at;
            assert!((delay - late).abs() < 0.0005, "{delay}");
        }
        assert_eq!(Recording::new(&vec![0.0; 96_000]).all(1.0), Vec::<f64>::new());
        assert_eq!(Recording::new(&[]).find(0.0, 1.0), None);
    }
}
