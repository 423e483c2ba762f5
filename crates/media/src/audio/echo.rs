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

/// Blocks of echo path that are followed: 320 ms.
const PARTS: usize = 32;
const SIZE: usize = 2 * BLOCK;
const BINS: usize = BLOCK + 1;
/// Blocks played that wait for the microphone's: it and the speaker are served in turns.
const AHEAD: usize = 2;
/// More than so many are more than turns, also where a busy machine served one of them late.
const MOST_AHEAD: usize = 16;
/// Of what waits even at the least of a second (100 blocks) one block is kept, for turns that are not even. The rest
/// would put off what was played until its echo is there already, which no filter can take away.
const KEPT: usize = 1;
const SECOND: usize = 100;
/// Blocks played without one heard after which there was no microphone: half a second.
const UNHEARD: usize = 50;
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
    /// Played and not yet met by what was heard.
    waiting: VecDeque<[f32; BLOCK]>,
    running: bool,
    /// Blocks played since one was heard, and how many of those could not wait.
    unheard: usize,
    skipped: usize,
    /// What is heard next is from a microphone that was not there just before.
    reopened: bool,
    /// The least that waited in the last so many blocks heard.
    least: usize,
    watched: usize,
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
            waiting: VecDeque::new(),
            running: false,
            unheard: 0,
            skipped: 0,
            reopened: false,
            least: MOST_AHEAD,
            watched: 0,
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
        // overflow: the speaker runs ahead: the oldest is not waited for.
        if self.waiting.len() == MOST_AHEAD {
            self.skip();
            self.skipped += 1;
        }
        self.waiting.push_back(*block);
        self.running |= self.waiting.len() >= AHEAD;
        self.unheard += 1;
    }

    /// What is heard from now on is from a microphone that was not there just before.
    pub(crate) fn reopen(&mut self) {
        self.reopened = true;
    }

    /// The microphone heard this; what the path explains is taken away.
    pub(crate) fn heard(&mut self, block: &mut [f32]) {
        if !self.running {
            return;
        }
        self.meet();
        let next = self.waiting.pop_front().unwrap_or_else(|| {
            // The speaker is late: silence stands for what it has not said, and what follows is met a block later.
            self.shorter();
            [0.0; BLOCK]
        });
        self.advance(&next);
        self.keep_pace();
        self.cancel(block);
        self.learn();
        self.catch_up();
    }

    /// What could not wait for the microphone. If that was not there, time has passed on both sides, and the path is what
    /// it was; if it is late with what it heard, that is met sooner by as much.
    fn meet(&mut self) {
        let (unheard, skipped) = (std::mem::take(&mut self.unheard), std::mem::take(&mut self.skipped));
        if std::mem::take(&mut self.reopened) || unheard > UNHEARD {
            (AHEAD..self.waiting.len()).for_each(|_| self.skip());
            (self.least, self.watched) = (MOST_AHEAD, 0);
        } else {
            (0..skipped).for_each(|_| self.longer());
        }
    }

    /// Lets go of what waits for no turn.
    fn catch_up(&mut self) {
        self.least = self.least.min(self.waiting.len());
        self.watched += 1;
        if self.watched == SECOND {
            for _ in KEPT..self.least {
                self.skip();
                self.longer();
            }
            (self.least, self.watched) = (MOST_AHEAD, 0);
        }
    }

    /// The oldest that waits was played while nothing was heard.
    fn skip(&mut self) {
        if let Some(oldest) = self.waiting.pop_front() {
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
mod tests {
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
    fn a_speaker_that_runs_ahead_is_bounded() {
        let mut filter = EchoFilter::new();
        (0..1000).for_each(|_| filter.playing(&[0.1; BLOCK]));
        assert_eq!(filter.waiting.len(), MOST_AHEAD);
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
}
