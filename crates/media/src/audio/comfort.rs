//! What is heard while the other side says nothing and sends nothing (DTX): noise of the loudness and colour that
//! their background had when they stopped. Opus's own decoder can continue a pause too, but what it makes of it
//! fades, and jumps back with each packet of the background that comes in between; this stands. Pure.

use super::measure::Lcg;

/// Poles of the filter that gives the noise its colour.
const ORDER: usize = 20;
/// What the background is judged by: the last 160 ms before a pause, in pieces of 10 ms. An encoder goes on for
/// 200 ms after the last word before it stops. Later in the pause they are of the last eight packets in it, which
/// is some three seconds.
const PIECES: usize = 16;
const PIECE: usize = 480;
/// Louder than this many times the quietest piece, it was the end of a word.
const BACKGROUND: f64 = 6.0;
/// The colour's spectrum is filled up by this share, so that the filter is never close to ringing.
const FLOOR: f64 = 1e-3;
/// Samples in which the loudness follows what has been learnt: 40 ms.
const GLIDE: f32 = 1920.0;

/// How sound is like itself: what a colour and a loudness are made of. The first is the power.
type Likeness = [f64; ORDER + 1];

/// See the module.
pub(crate) struct Comfort {
    /// Of the last pieces heard, the newest at `at`.
    heard: [Likeness; PIECES],
    at: usize,
    known: bool,
    /// The filter, what it remembers, and how loud to drive it: now, and soon.
    filter: [f32; ORDER],
    memory: [f32; ORDER],
    gain: f32,
    target: f32,
    dice: Lcg,
}

impl Comfort {
    pub(crate) fn new() -> Self {
        Self {
            heard: [[0.0; ORDER + 1]; PIECES],
            at: 0,
            known: false,
            filter: [0.0; ORDER],
            memory: [0.0; ORDER],
            gain: 0.0,
            target: 0.0,
            dice: Lcg::new(11),
        }
    }

    /// A packet was decoded to this.
    pub(crate) fn hear(&mut self, pcm: &[f32]) {
        for piece in pcm.chunks_exact(PIECE) {
            self.at = (self.at + 1) % PIECES;
            self.heard[self.at] = likeness(piece);
        }
    }

    /// Whether there was a pause to learn from.
    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    /// A pause begins, or goes on after a packet in it: the quietest of what was heard last is the background.
    pub(crate) fn begin(&mut self) {
        let powers = self.heard.iter().map(|piece| piece[0]).filter(|power| *power > 0.0);
        let least = powers.fold(f64::INFINITY, f64::min);
        let background = (0..PIECES).filter(|n| (1e-12..=least * BACKGROUND).contains(&self.heard[*n][0]));
        let background: Vec<usize> = background.collect();
        if background.is_empty() {
            self.target = 0.0;
        } else {
            let mean = self.mean(background.into_iter());
            self.learn(mean);
        }
        if !std::mem::replace(&mut self.known, true) {
            self.gain = self.target;
        }
    }

    fn mean(&self, which: impl Iterator<Item = usize>) -> Likeness {
        let (mut sum, mut count) = ([0.0; ORDER + 1], 0u32);
        for n in which {
            sum.iter_mut().zip(self.heard[n]).for_each(|(sum, x)| *sum += x);
            count += 1;
        }
        sum.map(|x| x / f64::from(count.max(1)))
    }

    fn learn(&mut self, background: Likeness) {
        let Some(filter) = colour(&background) else {
            self.target = 0.0;
            return;
        };
        self.filter = filter;
        // Even noise of -1 to 1 has a power of a third.
        self.target = (background[0] * 3.0 / power(&filter)).sqrt() as f32;
    }

    /// Makes more of it, as loud as `by` says of each sample's place.
    pub(crate) fn make(&mut self, pcm: &mut [f32], by: impl Fn(usize) -> f32) {
        for (n, out) in pcm.iter_mut().enumerate() {
            self.gain += (self.target - self.gain) / GLIDE;
            let mut x = self.dice.next_f32() * self.gain;
            for (a, before) in self.filter.iter().zip(&self.memory) {
                x -= a * before;
            }
            self.memory.rotate_right(1);
            self.memory[0] = x;
            *out = x * by(n);
        }
    }
}

/// The first values of a piece's autocorrelation, a sample's worth of power each.
fn likeness(piece: &[f32]) -> Likeness {
    let mut out = [0.0; ORDER + 1];
    for (lag, out) in out.iter_mut().enumerate() {
        let sum: f32 = piece.iter().zip(&piece[lag..]).map(|(a, b)| a * b).sum();
        // Lags are shortened to the piece, and weighed so that the filter is a tame one.
        *out = f64::from(sum) / piece.len() as f64 * (1.0 - (lag as f64 / 200.0).powi(2));
    }
    out
}

/// The filter of poles (Levinson and Durbin) whose noise is like that; none of silence.
fn colour(background: &Likeness) -> Option<[f32; ORDER]> {
    let mut error = background[0] * (1.0 + FLOOR);
    if error.is_nan() || error < 1e-12 {
        return None;
    }
    let mut a = [0.0f64; ORDER];
    for n in 0..ORDER {
        let known: f64 = (0..n).map(|k| a[k] * background[n - k]).sum();
        let k = -(background[n + 1] + known) / error;
        let before = a;
        for (i, a) in a.iter_mut().enumerate().take(n) {
            *a += k * before[n - 1 - i];
        }
        a[n] = k;
        error *= 1.0 - k * k;
        if error <= 0.0 {
            return None;
        }
    }
    Some(a.map(|a| a as f32))
}

/// What the filter makes of noise of power 1: the energy of its answer to a click.
fn power(filter: &[f32; ORDER]) -> f64 {
    let (mut memory, mut sum) = ([0.0f64; ORDER], 0.0);
    for n in 0..2048 {
        let mut x = if n == 0 { 1.0 } else { 0.0 };
        for (a, before) in filter.iter().zip(&memory) {
            x -= f64::from(*a) * before;
        }
        memory.rotate_right(1);
        memory[0] = x;
        sum += x * x;
    }
    sum.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::rms;

    /// Noise with its highs taken away, of about this loudness.
    fn brown(seed: u64, samples: usize, loud: f32) -> Vec<f32> {
        let (mut dice, mut last) = (Lcg::new(seed), 0.0);
        let step = |_| {
            last += (dice.next_f32() - last) * 0.1;
            last * loud * 7.0
        };
        (0..samples).map(step).collect()
    }

    fn decibels(a: f32, b: f32) -> f32 {
        20.0 * (a / b).log10()
    }

    fn high(pcm: &[f32]) -> f32 {
        rms(&pcm.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>())
    }

    #[test]
    fn the_noise_is_as_loud_and_as_dark_as_the_background_and_stands_still() {
        for (seed, loud) in [(1, 0.3), (2, 0.01), (3, 0.0003)] {
            let background = brown(seed, 48_000, loud);
            let mut comfort = Comfort::new();
            comfort.hear(&background);
            comfort.begin();
            let mut made = vec![0.0; 96_000];
            comfort.make(&mut made, |_| 1.0);
            let off = decibels(rms(&made), rms(&background));
            assert!(off.abs() < 1.5, "{off} dB louder");
            let darker = decibels(high(&made) / rms(&made), high(&background) / rms(&background));
            assert!(darker.abs() < 2.0, "{darker} dB more of the highs");
            let windows: Vec<f32> = made.chunks(4800).map(|w| decibels(rms(w), rms(&made))).collect();
            assert!(windows.iter().all(|db| db.abs() < 2.0), "{windows:?}");
        }
    }

    #[test]
    fn the_end_of_a_word_and_the_beginning_of_the_next_are_no_background() {
        let mut sound = brown(4, 48_000, 0.2);
        let background = brown(5, 8_000, 0.002);
        sound.extend(&background);
        let mut comfort = Comfort::new();
        comfort.hear(&sound);
        comfort.begin();
        comfort.hear(&brown(6, 960, 0.2));
        comfort.begin();
        let mut made = vec![0.0; 48_000];
        comfort.make(&mut made, |_| 1.0);
        let off = decibels(rms(&made), rms(&background));
        assert!(off.abs() < 2.0, "{off} dB louder");
    }

    #[test]
    fn silence_and_rubbish_make_silence_or_at_least_no_noise_without_end() {
        let mut comfort = Comfort::new();
        let mut made = vec![1.0; 960];
        comfort.begin();
        comfort.make(&mut made, |_| 1.0);
        assert!(made.iter().all(|x| *x == 0.0));
        comfort.hear(&[0.0; 9600]);
        comfort.begin();
        comfort.make(&mut made, |_| 1.0);
        assert!(made.iter().all(|x| *x == 0.0));
        for n in 0..40u32 {
            let tone = |i: u32| ((i * n) as f32 * 0.01).sin() * 0.5;
            comfort.hear(&(0..9600).map(tone).collect::<Vec<_>>());
            comfort.begin();
            comfort.make(&mut made, |_| 1.0);
            assert!(made.iter().all(|x| x.abs() < 8.0), "{n}: {}", rms(&made));
        }
    }
}
