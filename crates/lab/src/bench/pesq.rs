//! How good the speech of a call is: PESQ of each window that was heard.

use super::align::{RATE, WINDOW, cut, matches};
use crate::pesq::Judge;
use crate::speech::resampled;
use anyhow::Result;
use std::path::Path;

/// Judges what was heard of a loop of speech.
pub(super) struct Pesq {
    judge: Judge,
    /// The speech, at 16 kHz.
    looped: Vec<f32>,
}

impl Pesq {
    /// As [`Judge::set_up`]; the speech is what will have been said.
    pub(super) fn set_up(folder: &Path, speech: &Path) -> Result<Self> {
        let judge = Judge::set_up(folder)?;
        let (samples, rate) = crate::tone::read_wav(speech)?;
        Ok(Self { judge, looped: resampled(&samples, rate, RATE as u32) })
    }

    /// The score of each window of 8 s that was heard, at 48 kHz.
    pub(super) fn scores(&self, heard: &[f32]) -> Result<Vec<f64>> {
        let heard = resampled(heard, crate::tone::RATE, RATE as u32);
        let found = matches(&heard, &self.looped);
        let said: Vec<_> = found.iter().map(|at| cut(&self.looped, at.looped_from, WINDOW)).collect();
        self.judge.scores(found.iter().zip(&said).map(|(at, said)| (&said[..], &heard[at.heard.clone()])))
    }
}
