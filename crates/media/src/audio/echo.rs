//! Takes the others' voices out of what the microphone hears, as far as they come back unbent.
//!
//! The way from the speaker to the microphone is a long filter. It is followed by a Kalman filter in the frequency
//! domain (Enzner and Vary, 2006; in partitions of one block, Kuech, Mabande and Enzner, 2014): each bin of each
//! partition knows how sure it is of itself, so a near voice makes it careful and a far one alone makes it quick,
//! and nothing has to guess who speaks. Where speaker and microphone have clocks of their own the path moves all the
//! time, too fast for the high tones: how fast is learnt from the way in which the filter is put right, and it is
//! moved along. A small speaker bends what is loud: by how much is learnt too, and the path is followed from what the
//! speaker makes of a sound (`audio::bend`). Pure: no clock; blocks of 10 ms in, blocks out, no delay added.

use std::collections::VecDeque;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::BLOCK;
use super::bend::{Bend, SHAPES};
use super::turns::Turns;

/// Blocks of echo path that are followed: 320 ms.
const PARTS: usize = 32;
const SIZE: usize = 2 * BLOCK;
const BINS: usize = BLOCK + 1;
/// What a bin expects of its partition before anything is known: a path this strong, weaker the later it is.
const EXPECTED: f32 = 0.1;
const LATER: f32 = 0.98;
/// How much of the path is the same after a block.
const SAME: f32 = 0.9995;
/// Near sound is followed by this share a block, and taken for no less than this of what is left.
const FOLLOWED: f32 = 0.3;
const NEAR: f32 = 0.02;
/// How much of what it is put right by goes into the pace at which the path moves; the most of a block's, and of the
/// pace (625 ppm), in samples a block; and what is too slow to matter (20 ppm).
const PACED: f32 = 0.3;
const MOST_PUT_RIGHT: f32 = 0.3;
const MOST_PACE: f32 = 0.3;
const STILL: f32 = 0.01;
/// And what is too quiet to say anything of it, 54 dB below full scale.
const SILENT: f32 = 0.002;
/// More left than was heard, by this factor over two blocks or so, and the filter is wrong whoever speaks.
const WRONG: f32 = 1.25;
const AT_ONCE: f32 = 0.5;
/// Powers are watched over some blocks; so much more left than was heard is worse than nothing. Not before so many
/// blocks: what has just begun overshoots.
const WATCHED: f32 = 0.15;
const WORSE: f32 = 1.5;
const SETTLES: u32 = 100;
/// Over a longer while: a filter that was good and leaves so much of what was heard is unsure again, by this part of
/// what is expected at first. That it was good fades.
const LONG: f32 = 0.02;
const GOOD: f32 = 4.0;
const USELESS: f32 = 0.8;
const UNSURE: f32 = 0.3;
const FADES: f32 = 0.999;
/// Below this there is nothing to learn from.
const FLOOR: f32 = 1e-6;

/// Each block one of so many partitions is put right: all of them would cost four times as much and gain little.
const TURNS: usize = 4;

type Spectrum = Vec<Complex32>;

/// See the module.
pub(crate) struct EchoFilter {
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
    /// What is played, until what is heard meets it.
    turns: Turns,
    before: [f32; BLOCK],
    /// Whether the last block played was more than silence.
    plays: bool,
    /// As the speaker is thought to bend it; the newest first.
    played: VecDeque<Spectrum>,
    bend: Bend,
    /// What each shape of bending takes away of what was played, in time and in spectra.
    bent: [[f32; BLOCK]; SHAPES],
    shapes: [VecDeque<Spectrum>; SHAPES],
    /// What comes to the microphone of each.
    echoes: [[f32; BLOCK]; SHAPES],
    path: VecDeque<Spectrum>,
    doubt: VecDeque<Vec<f32>>,
    near: Vec<f32>,
    time: Vec<f32>,
    error: Spectrum,
    sum: Spectrum,
    /// Whose turn it is to be put right.
    turn: usize,
    spread: Vec<f32>,
    /// Samples a block by which the path gets longer: the clocks of speaker and microphone are apart.
    pace: f32,
    /// How the path was put right along with its moving, and how much moving by a sample would be.
    moved: (f32, f32),
    /// What the microphone heard, and what was left of it, of late; `instant` of just now.
    power: (f32, f32),
    instant: (f32, f32),
    long: (f32, f32),
    /// The best that it was, of late: power heard, of power left.
    good: f32,
    /// Blocks until it may begin anew.
    settling: u32,
    /// It has just begun anew.
    anew: bool,
    /// What was taken away of the last block.
    found: [f32; BLOCK],
}

impl EchoFilter {
    pub(crate) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let silence = || vec![Complex32::default(); BINS];
        let doubt = |part: usize| vec![expected(part); BINS];
        Self {
            forward: planner.plan_fft_forward(SIZE),
            backward: planner.plan_fft_inverse(SIZE),
            turns: Turns::new(),
            before: [0.0; BLOCK],
            plays: false,
            played: (0..PARTS).map(|_| silence()).collect(),
            bend: Bend::default(),
            bent: [[0.0; BLOCK]; SHAPES],
            shapes: std::array::from_fn(|_| (0..PARTS).map(|_| silence()).collect()),
            echoes: [[0.0; BLOCK]; SHAPES],
            path: (0..PARTS).map(|_| silence()).collect(),
            doubt: (0..PARTS).map(doubt).collect(),
            near: vec![0.0; BINS],
            time: vec![0.0; SIZE],
            error: silence(),
            sum: silence(),
            turn: 0,
            spread: vec![0.0; BINS],
            pace: 0.0,
            moved: (0.0, 0.0),
            power: (0.0, 0.0),
            instant: (0.0, 0.0),
            long: (0.0, 0.0),
            good: 1.0,
            settling: SETTLES,
            anew: false,
            found: [0.0; BLOCK],
        }
    }

    /// The echo that was taken away from the last block.
    pub(crate) fn found(&self) -> &[f32; BLOCK] {
        &self.found
    }

    /// Whether it has begun anew since this was asked last.
    pub(crate) fn is_anew(&mut self) -> bool {
        std::mem::take(&mut self.anew)
    }

    /// Whether what was found is none of what was heard: the path has just become another.
    pub(crate) fn is_wrong(&self) -> bool {
        self.instant.1 > WRONG * self.instant.0 && self.instant.0 > FLOOR
    }

    /// The power of echo that may be left in the last block, for each bin of a transform of two blocks.
    pub(crate) fn doubt(&self) -> &[f32] {
        &self.spread
    }

    /// The speaker is about to play this.
    pub(crate) fn playing(&mut self, block: &[f32; BLOCK]) {
        if let Some(oldest) = self.turns.play(block) {
            self.advance(&oldest);
        }
    }

    /// What is heard from now on is from a microphone that was not there just before.
    pub(crate) fn reopen(&mut self) {
        self.turns.reopen();
    }

    /// The microphone heard this; what the path explains is taken away.
    pub(crate) fn heard(&mut self, block: &mut [f32]) {
        let Some(meeting) = self.turns.hear() else { return };
        (0..meeting.passed).for_each(|_| self.pass());
        (0..meeting.sooner).for_each(|_| self.longer());
        let next = self.turns.next().unwrap_or_else(|| {
            // The speaker is late: silence stands for what it has not said, and what follows is met a block later.
            self.shorter();
            [0.0; BLOCK]
        });
        self.advance(&next);
        self.keep_pace();
        self.cancel(block);
        self.learn();
        for _ in 0..self.turns.surplus() {
            self.pass();
            self.longer();
        }
    }

    /// The oldest that waits was played, and nothing that is heard meets it.
    fn pass(&mut self) {
        if let Some(oldest) = self.turns.next() {
            self.advance(&oldest);
        }
    }

    /// What was played is met later, so its echo comes sooner after it: the path is a partition shorter.
    fn shorter(&mut self) {
        self.path.rotate_left(1);
        self.doubt.rotate_left(1);
        self.renew(PARTS - 1);
    }

    /// And the other way round: it is met a block sooner.
    fn longer(&mut self) {
        self.path.rotate_right(1);
        self.doubt.rotate_right(1);
        self.renew(0);
    }

    fn renew(&mut self, part: usize) {
        self.path[part].fill(Complex32::default());
        self.doubt[part].fill(expected(part));
    }

    fn advance(&mut self, block: &[f32; BLOCK]) {
        self.plays = block.iter().map(|x| x * x).sum::<f32>() > SILENT * SILENT * BLOCK as f32;
        for (shape, bent) in self.bent.iter_mut().enumerate() {
            self.time[..BLOCK].copy_from_slice(&*bent);
            super::bend::taken(shape, block, bent);
            self.time[BLOCK..].copy_from_slice(&*bent);
            let played = &mut self.shapes[shape];
            played.rotate_right(1);
            // Sizes are fixed: the transforms cannot fail.
            let _ = self.forward.process(&mut self.time, &mut played[0]);
        }
        let now = self.bend.apply(block, &self.bent);
        self.time[..BLOCK].copy_from_slice(&self.before);
        self.time[BLOCK..].copy_from_slice(&now);
        self.before = now;
        self.played.rotate_right(1);
        let _ = self.forward.process(&mut self.time, &mut self.played[0]);
    }

    /// Moves the path by what it moves in a block.
    fn keep_pace(&mut self) {
        if self.pace.abs() < STILL {
            return;
        }
        let step = Complex32::from_polar(1.0, -self.pace * RADIANS);
        for path in &mut self.path {
            let mut turn = Complex32::new(1.0, 0.0);
            for w in path {
                *w *= turn;
                turn *= step;
            }
        }
    }

    /// The filter follows a path that moves on: what it was put right by says by how much that was more than it knew.
    fn learn_pace(&mut self) {
        let (along, whole) = std::mem::take(&mut self.moved);
        if whole > 0.0 && self.plays {
            let more = (along / whole).clamp(-MOST_PUT_RIGHT, MOST_PUT_RIGHT);
            self.pace = (self.pace + PACED * more).clamp(-MOST_PACE, MOST_PACE);
        }
    }

    fn cancel(&mut self, block: &mut [f32]) {
        let before: f32 = block.iter().map(|x| x * x).sum();
        for (shape, echo) in self.echoes.iter_mut().enumerate() {
            let played = &self.shapes[shape];
            through(&*self.backward, played, &self.path, &mut self.sum, &mut self.time, echo);
        }
        through(&*self.backward, &self.played, &self.path, &mut self.sum, &mut self.time, &mut self.found);
        for (heard, found) in block.iter_mut().zip(&self.found) {
            *heard -= found;
        }
        self.watch(before, block.iter().map(|x| x * x).sum());
        if !self.is_wrong() {
            self.bend.learn(&self.echoes, block);
        }
        self.time[..BLOCK].fill(0.0);
        self.time[BLOCK..].copy_from_slice(block);
        let _ = self.forward.process(&mut self.time, &mut self.error);
    }

    /// A filter that adds more than it takes away follows a path that is no more: it begins anew. One that takes
    /// next to nothing away, though it did, is less sure of itself.
    fn watch(&mut self, before: f32, after: f32) {
        self.instant.0 += (before - self.instant.0) * AT_ONCE;
        self.instant.1 += (after - self.instant.1) * AT_ONCE;
        self.long.0 += (before - self.long.0) * LONG;
        self.long.1 += (after - self.long.1) * LONG;
        self.good = self.good.max(self.long.0 / self.long.1.max(FLOOR)) * FADES;
        if self.settling == 0
            && self.good > GOOD
            && self.long.1 > USELESS * self.long.0
            && self.long.0 > FLOOR
        {
            self.settling = SETTLES;
            self.good = 1.0;
            for (part, doubt) in self.doubt.iter_mut().enumerate() {
                doubt.iter_mut().for_each(|doubt| *doubt = doubt.max(UNSURE * expected(part)));
            }
        }
        self.power.0 += (before - self.power.0) * WATCHED;
        self.power.1 += (after - self.power.1) * WATCHED;
        self.settling = self.settling.saturating_sub(1);
        if self.power.1 > WORSE * self.power.0 && self.power.0 > FLOOR && self.settling == 0 {
            self.settling = SETTLES;
            (0..PARTS).for_each(|part| self.renew(part));
            self.power = (0.0, 0.0);
            self.anew = true;
        }
    }

    fn learn(&mut self) {
        self.spread.fill(0.0);
        for (played, doubt) in self.played.iter().zip(&self.doubt) {
            for ((spread, x), p) in self.spread.iter_mut().zip(played).zip(doubt) {
                *spread += 0.5 * x.norm_sqr() * p;
            }
        }
        for ((near, error), spread) in self.near.iter_mut().zip(&self.error).zip(&self.spread) {
            let heard = error.norm_sqr();
            let now = (heard - spread).max(NEAR * heard);
            *near += (now - *near) * FOLLOWED;
        }
        for part in 0..PARTS {
            self.learn_part(part);
        }
        self.learn_pace();
        self.turn = (self.turn + 1) % TURNS;
    }

    fn learn_part(&mut self, part: usize) {
        let (played, path, doubt) = (&self.played[part], &mut self.path[part], &mut self.doubt[part]);
        for bin in 0..BINS {
            let x = played[bin];
            let gain = doubt[bin] / (self.spread[bin] + self.near[bin] + FLOOR);
            let kept = (1.0 - 0.5 * gain * x.norm_sqr()).max(0.0);
            let right = x.conj() * self.error[bin] * gain;
            // A path that is a sample longer is less by `j * radians` of itself. High tones, which come and go with
            // the pace, count no more than they must.
            let (radians, now) = (RADIANS * bin as f32, path[bin]);
            self.moved.0 -= (now.conj() * right).im;
            self.moved.1 += radians * now.norm_sqr();
            path[bin] = (now + right) * SAME;
            doubt[bin] = SAME * SAME * kept * doubt[bin] + (1.0 - SAME * SAME) * path[bin].norm_sqr();
        }
        if part % TURNS == self.turn {
            // Only the first half of what a partition says in time is its own.
            path[0].im = 0.0;
            path[BINS - 1].im = 0.0;
            let _ = self.backward.process(path, &mut self.time);
            self.time[BLOCK..].fill(0.0);
            self.time[..BLOCK].iter_mut().for_each(|x| *x /= SIZE as f32);
            let _ = self.forward.process(&mut self.time, path);
        }
    }
}

/// What comes of it through the path.
fn through(
    backward: &dyn ComplexToReal<f32>,
    played: &VecDeque<Spectrum>,
    path: &VecDeque<Spectrum>,
    sum: &mut Spectrum,
    time: &mut [f32],
    out: &mut [f32; BLOCK],
) {
    sum.fill(Complex32::default());
    for (played, path) in played.iter().zip(path) {
        for ((sum, x), w) in sum.iter_mut().zip(played).zip(path) {
            *sum += x * w;
        }
    }
    sum[0].im = 0.0;
    sum[BINS - 1].im = 0.0;
    let _ = backward.process(sum, time);
    for (out, echo) in out.iter_mut().zip(&time[BLOCK..]) {
        *out = echo / SIZE as f32;
    }
}

/// By how much a delay of one sample turns each next bin.
const RADIANS: f32 = std::f32::consts::TAU / SIZE as f32;

/// How strong a partition of the path is before anything is known of it.
fn expected(part: usize) -> f32 {
    (EXPECTED * LATER.powi(part as i32)).powi(2)
}

#[cfg(test)]
mod tests;
