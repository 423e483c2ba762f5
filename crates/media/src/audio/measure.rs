//! What is in a piece of sound: loudness, and how much of it is one tone. Used by meters and by tests.

use crate::codec::opus::RATE;

/// Root mean square of samples; 0 of none.
pub fn rms(pcm: &[f32]) -> f32 {
    let energy: f32 = pcm.iter().map(|x| x * x).sum();
    (energy / pcm.len().max(1) as f32).sqrt()
}

/// The share (0 to 1) of the energy of 48 kHz `pcm` that is at `frequency`, by Goertzel's algorithm over
/// pieces of 100 ms. Silence gives 0.
pub fn tone_share(pcm: &[f32], frequency: f32) -> f32 {
    let (mut at_tone, mut all) = (0.0f64, 0.0f64);
    for piece in pcm.chunks_exact(RATE as usize / 10) {
        let turn = 2.0 * (f64::from(frequency) * std::f64::consts::TAU / f64::from(RATE)).cos();
        let (mut one, mut two) = (0.0, 0.0);
        for x in piece {
            let now = f64::from(*x) + turn * one - two;
            (one, two) = (now, one);
            all += f64::from(*x) * f64::from(*x);
        }
        at_tone += (one * one + two * two - turn * one * two) * 2.0 / piece.len() as f64;
    }
    if all < 1e-9 { 0.0 } else { (at_tone / all) as f32 }
}

/// A small seeded noise for tests: the same numbers each run.
#[derive(Clone, Debug)]
pub struct Lcg(u64);

impl Lcg {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// -1 to 1.
    pub fn next_f32(&mut self) -> f32 {
        self.next_u32() as i32 as f32 / (1u32 << 31) as f32
    }

    /// 0 to below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.next_u32() % limit.max(1)
    }
}
