//! Makes inaudible what [`super::echo`] leaves of the others' voices: what the speaker bends, and what the path
//! has not been learnt of yet. Pure; adds 10 ms.
//!
//! For each bin the residue is taken to be a share of the echo that was found. The share is the least that was
//! seen of late, so a near voice, which only adds to what is left, does not teach it; and no less than that of all
//! bins together, for a tone that is new to the filter is left where one bin was lucky before. What is taken away
//! goes down to the noise of the room and no further: silence in the middle of noise would pump.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::BLOCK;

const SIZE: usize = 2 * BLOCK;
const BINS: usize = BLOCK + 1;
/// The residue is taken to be so many times what the least share says: shares spread.
const OVER: f32 = 20.0;
/// Shares follow the least at once, and rise by this factor a block while there is an echo.
const RISE: f32 = 1.003;
/// The share before anything is known, and what a speaker that bends little leaves.
const UNKNOWN: f32 = 1.0;
const LEAST: f32 = 0.001;
/// The share of all bins together falls by this factor a block at most (in three seconds, in which nobody is near, to
/// where it lets a near voice pass that is as loud as the echo was) and rises by that, slowly: a near voice is in all
/// that is left.
const LEARNS: f32 = 0.985;
const DOUBTS: f32 = 1.0005;
/// It is of the bins from this one on (200 Hz): hum, and a microphone whose silence is not at zero, are below.
const FROM: usize = 4;
/// Powers are smoothed over blocks by this share.
const SMOOTH: f32 = 0.35;
/// A gain falls to what it should be at once and rises by this share of the way a block.
const OPEN: f32 = 0.5;
/// The room's noise rises by this factor a block.
const NOISE_RISE: f32 = 1.01;
/// No bin is made quieter than by this.
const SHUT: f32 = 0.003;

/// See the module.
pub(crate) struct Residue {
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
    window: Vec<f32>,
    left_before: [f32; BLOCK],
    echo_before: [f32; BLOCK],
    tail: [f32; BLOCK],
    time: Vec<f32>,
    left: Vec<Complex32>,
    echo: Vec<Complex32>,
    bins: Vec<Bin>,
    /// The share of all bins together.
    share: f32,
}

#[derive(Clone, Copy)]
struct Bin {
    left: f32,
    echo: f32,
    share: f32,
    noise: f32,
    gain: f32,
}

/// Nothing was heard yet.
const UNHEARD: Bin = Bin { left: 0.0, echo: 0.0, share: UNKNOWN, noise: 1e-3, gain: 1.0 };

impl Residue {
    pub(crate) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let window = |n: usize| ((n as f32 + 0.5) / SIZE as f32 * std::f32::consts::PI).sin();
        Self {
            forward: planner.plan_fft_forward(SIZE),
            backward: planner.plan_fft_inverse(SIZE),
            window: (0..SIZE).map(window).collect(),
            left_before: [0.0; BLOCK],
            echo_before: [0.0; BLOCK],
            tail: [0.0; BLOCK],
            time: vec![0.0; SIZE],
            left: vec![Complex32::default(); BINS],
            echo: vec![Complex32::default(); BINS],
            bins: vec![UNHEARD; BINS],
            share: UNKNOWN,
        }
    }

    /// What comes next is from another microphone, or another time: of what was heard nothing is left.
    pub(crate) fn begin_anew(&mut self) {
        self.left_before.fill(0.0);
        self.echo_before.fill(0.0);
        self.tail.fill(0.0);
        self.bins.fill(UNHEARD);
    }

    /// The path is another one: what was known of it is not.
    pub(crate) fn forget(&mut self) {
        self.bins.iter_mut().for_each(|bin| bin.share = UNKNOWN);
        self.share = UNKNOWN;
    }

    /// `block`: what is left after the echo found, `echo`, was taken away. Becomes what is to be sent, 10 ms late.
    /// `doubt`: the power of the echo that may not have been found, for each bin, of one block. `wrong`: the echo found
    /// is none, so as much of it may be there still.
    pub(crate) fn clean(
        &mut self,
        block: &mut [f32; BLOCK],
        echo: &[f32; BLOCK],
        doubt: &[f32],
        wrong: bool,
    ) {
        spectrum(&*self.forward, &self.window, &mut self.time, &self.left_before, block, &mut self.left);
        spectrum(&*self.forward, &self.window, &mut self.time, &self.echo_before, echo, &mut self.echo);
        self.left_before = *block;
        self.echo_before = *echo;
        let share = if wrong { UNKNOWN } else { self.share };
        let (mut all_left, mut all_echo) = (0.0, 0.0);
        for (n, (((bin, left), echo), doubt)) in
            self.bins.iter_mut().zip(&mut self.left).zip(&self.echo).zip(doubt).enumerate()
        {
            *left *= bin.gain(left.norm_sqr(), echo.norm_sqr(), *doubt, share);
            if n >= FROM && bin.echoes() {
                all_left += bin.left - bin.noise;
                all_echo += bin.echo;
            }
        }
        if all_echo > 0.0 {
            let share = all_left / all_echo;
            self.share = share.clamp(self.share * LEARNS, (self.share * DOUBTS).min(UNKNOWN)).max(LEAST);
        }
        self.left[0].im = 0.0;
        self.left[BINS - 1].im = 0.0;
        // Sizes are fixed: the transforms cannot fail.
        let _ = self.backward.process(&mut self.left, &mut self.time);
        for (n, out) in block.iter_mut().enumerate() {
            *out = self.tail[n] + self.time[n] * self.window[n] / SIZE as f32;
            self.tail[n] = self.time[BLOCK + n] * self.window[BLOCK + n] / SIZE as f32;
        }
    }
}

impl Bin {
    /// Whether there is more of an echo in it than noise.
    fn echoes(&self) -> bool {
        self.echo > 4.0 * self.noise
    }

    /// `share`: that of all bins together.
    fn gain(&mut self, left: f32, echo: f32, doubt: f32, share: f32) -> f32 {
        self.left += (left - self.left) * SMOOTH;
        self.echo += (echo - self.echo) * SMOOTH;
        let noise = self.left.min(self.noise * NOISE_RISE).max(1e-9);
        self.noise = noise;
        if self.echoes() {
            let own = (self.left - noise).max(0.0) / self.echo;
            self.share = own.clamp(LEAST, (self.share * RISE).min(UNKNOWN));
        }
        let residue = OVER * self.share.max(share) * self.echo + doubt;
        let wanted = (1.0 - residue / self.left.max(1e-12)).max(0.0);
        let floor = (noise / left.max(1e-12)).sqrt().clamp(SHUT, 1.0);
        let wanted = wanted.max(floor);
        self.gain += (wanted - self.gain) * if wanted < self.gain { 1.0 } else { OPEN };
        self.gain
    }
}

fn spectrum(
    forward: &dyn RealToComplex<f32>,
    window: &[f32],
    time: &mut [f32],
    before: &[f32; BLOCK],
    now: &[f32; BLOCK],
    out: &mut [Complex32],
) {
    let samples = before.iter().chain(now);
    for ((time, x), w) in time.iter_mut().zip(samples).zip(window) {
        *time = x * w;
    }
    let _ = forward.process(time, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::{Lcg, rms};

    /// Noise, and how loud it is after one pole that lets low tones pass.
    fn noise(seed: u64) -> impl FnMut() -> (f32, f32) {
        let (mut noise, mut low) = (Lcg::new(seed), 0.0);
        move || {
            let now = 0.2 * noise.next_f32();
            low += 0.1 * (now - low);
            (now, low)
        }
    }

    /// What becomes of `blocks`: `left` says what is left in each, of an echo found and its low tones.
    fn run(residue: &mut Residue, blocks: usize, mut left: impl FnMut((f32, f32)) -> f32) -> Vec<f32> {
        let (mut far, mut out) = (noise(3), Vec::new());
        for _ in 0..blocks {
            let both: [(f32, f32); BLOCK] = std::array::from_fn(|_| far());
            let mut block = both.map(&mut left);
            residue.clean(&mut block, &both.map(|both| both.0), &[0.0; BINS], false);
            out.extend_from_slice(&block);
        }
        out
    }

    #[test]
    fn what_was_found_of_some_tones_by_luck_is_not_what_the_filter_knows() {
        let mut residue = Residue::new();
        // The room's noise is known first.
        run(&mut residue, 100, |_| 0.0);
        residue.forget();
        run(&mut residue, 20, |(_, low)| 0.7 * low);
        let out = run(&mut residue, 20, |(now, _)| 0.7 * now);
        let (left, passed) = (0.7 * 0.2 / 3f32.sqrt(), rms(&out[5 * BLOCK..]));
        assert!(passed < left / 30.0, "{passed} of {left} passes");
    }

    #[test]
    fn a_near_voice_passes_once_the_filter_knows_the_path() {
        // Also with a microphone whose silence is not at zero; and with one that has just been opened again.
        for (silence, again) in [(0.0, false), (0.02, false), (0.0, true)] {
            let mut residue = Residue::new();
            run(&mut residue, 500, |(now, _)| 0.05 * now + silence);
            if again {
                residue.begin_anew();
                run(&mut residue, 30, |(now, _)| 0.05 * now + silence);
            }
            let mut near = noise(8);
            let out = run(&mut residue, 100, |(now, _)| 0.05 * now + near().0 + silence);
            let heard: Vec<f32> = out[10 * BLOCK..].iter().map(|x| x - silence).collect();
            let (voice, passed) = (0.2 / 3f32.sqrt(), rms(&heard));
            assert!(passed > voice / 1.5, "{passed} of {voice} passes, {silence}, {again}");
        }
    }
}
