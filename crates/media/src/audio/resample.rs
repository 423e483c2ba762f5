//! From any sample rate to any other, mono, streaming: a windowed sinc, its phases tabulated.

/// Phases of the table; positions between two are interpolated.
const PHASES: usize = 128;
/// Half the taps when the rate grows; more when it shrinks, for the lower cut-off.
const HALF: usize = 16;

/// Converts a stream of mono samples from one rate to another. Equal rates pass through untouched.
pub(crate) struct Resampler {
    /// Input samples for one output sample.
    step: f64,
    /// Where the next output sample is, in samples of `history`.
    position: f64,
    half: usize,
    history: Vec<f32>,
    table: Vec<f32>,
}

impl Resampler {
    /// From `from` to `to` samples a second; both must not be 0 (0 is taken for 1).
    pub(crate) fn new(from: u32, to: u32) -> Self {
        let step = f64::from(from.max(1)) / f64::from(to.max(1));
        if from == to {
            return Self { step: 1.0, position: 0.0, half: 0, history: Vec::new(), table: Vec::new() };
        }
        let half = (HALF as f64 * step.max(1.0)).ceil() as usize;
        Self { step, position: half as f64, half, history: vec![0.0; half], table: table(half, step) }
    }

    /// Takes `input` and appends what can be made of it to `out`.
    pub(crate) fn push(&mut self, input: &[f32], out: &mut Vec<f32>) {
        if self.half == 0 {
            out.extend_from_slice(input);
            return;
        }
        self.history.extend_from_slice(input);
        let taps = 2 * self.half;
        while (self.position as usize) + self.half < self.history.len() {
            let whole = self.position as usize;
            let phase = (self.position - whole as f64) * PHASES as f64;
            let (row, between) = (phase as usize, phase.fract() as f32);
            let window = &self.history[whole + 1 - self.half..][..taps];
            let (low, high) = (&self.table[row * taps..][..taps], &self.table[(row + 1) * taps..][..taps]);
            let (mut a, mut b) = (0.0, 0.0);
            for ((x, l), h) in window.iter().zip(low).zip(high) {
                a += x * l;
                b += x * h;
            }
            out.push(a + (b - a) * between);
            self.position += self.step;
        }
        let used = (self.position as usize).saturating_sub(self.half).min(self.history.len());
        self.history.drain(..used);
        self.position -= used as f64;
    }
}

/// `PHASES + 1` rows of `2 * half` taps, each row of sum 1.
fn table(half: usize, step: f64) -> Vec<f32> {
    // A little below half the lower rate, so that the slope of the filter ends before what would fold.
    let cut = 0.94 / step.max(1.0);
    let mut table = Vec::with_capacity((PHASES + 1) * 2 * half);
    for row in 0..=PHASES {
        let shift = row as f64 / PHASES as f64;
        let taps: Vec<f64> = (0..2 * half)
            .map(|tap| {
                let at = tap as f64 - (half as f64 - 1.0) - shift;
                let x = at * cut * std::f64::consts::PI;
                let sinc = if x.abs() < 1e-9 { 1.0 } else { x.sin() / x };
                let w = (at / half as f64).clamp(-1.0, 1.0) * std::f64::consts::PI;
                sinc * (0.42 + 0.5 * w.cos() + 0.08 * (2.0 * w).cos())
            })
            .collect();
        let sum: f64 = taps.iter().sum();
        table.extend(taps.iter().map(|tap| (tap / sum) as f32));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::{rms, tone_share};

    fn convert(from: u32, to: u32, frequency: f32, piece: usize) -> Vec<f32> {
        let input: Vec<f32> = (0..from)
            .map(|n| (n as f32 * frequency * std::f32::consts::TAU / from as f32).sin() * 0.5)
            .collect();
        let (mut resampler, mut out) = (Resampler::new(from, to), Vec::new());
        for chunk in input.chunks(piece) {
            resampler.push(chunk, &mut out);
        }
        out
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_loudness_from_every_rate() {
        for from in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000] {
            let out = convert(from, 48_000, 1000.0, 441);
            assert!((out.len() as i64 - 48_000).abs() < 120, "{from}: {} samples", out.len());
            let steady = &out[4800..43_200];
            assert!(tone_share(steady, 1000.0) > 0.999, "{from}: {}", tone_share(steady, 1000.0));
            assert!((rms(steady) - 0.3536).abs() < 0.003, "{from}: {}", rms(steady));
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_does_not_fold_back() {
        let out = convert(96_000, 48_000, 30_000.0, 960);
        assert!(rms(&out[4800..43_200]) < 0.002, "{}", rms(&out[4800..43_200]));
    }

    #[test]
    fn the_size_of_the_pieces_changes_nothing() {
        let whole = convert(44_100, 48_000, 700.0, 44_100);
        for piece in [1, 7, 441, 5000] {
            let pieces = convert(44_100, 48_000, 700.0, piece);
            assert_eq!(whole.len(), pieces.len());
            assert!(whole.iter().zip(&pieces).all(|(a, b)| (a - b).abs() < 1e-5), "pieces of {piece}");
        }
    }
}
