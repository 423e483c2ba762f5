//! Tones, written as wav files and found again in what was heard.

use std::f64::consts::TAU;
use std::path::Path;

/// What is written is sampled so often.
pub const RATE: u32 = 48_000;
/// A written tone's amplitude, of 1.
pub const AMPLITUDE: f32 = 0.5;

/// A sine of `hertz`, amplitude [`AMPLITUDE`], at [`RATE`].
pub fn samples(hertz: f32, seconds: f32) -> Vec<f32> {
    let step = TAU * f64::from(hertz) / f64::from(RATE);
    let count = (seconds * RATE as f32) as usize;
    (0..count).map(|i| AMPLITUDE * (step * i as f64).sin() as f32).collect()
}

/// Writes a sine as a wav file: mono, 16 bits, [`RATE`]. A whole number of hertz loops without a click
/// when `seconds` is whole.
///
/// # Errors
/// What the file system says.
pub fn write_wav(path: &Path, hertz: f32, seconds: f32) -> Result<(), hound::Error> {
    let format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: format };
    let mut out = hound::WavWriter::create(path, spec)?;
    for sample in samples(hertz, seconds) {
        out.write_sample((sample * f32::from(i16::MAX)) as i16)?;
    }
    out.finalize()
}

/// A wav file's samples, its channels mixed to one, and its rate.
///
/// # Errors
/// What the file system says, or that it is no wav file.
pub fn read_wav(path: &Path) -> Result<(Vec<f32>, u32), hound::Error> {
    let mut file = hound::WavReader::open(path)?;
    let spec = file.spec();
    let all: Vec<f32> = match spec.sample_format {
        hound::SampleFormat::Float => file.samples::<f32>().collect::<Result<_, _>>()?,
        hound::SampleFormat::Int => {
            let full = 2f32.powi(i32::from(spec.bits_per_sample) - 1);
            file.samples::<i32>().map(|s| s.map(|s| s as f32 / full)).collect::<Result<_, _>>()?
        }
    };
    let channels = usize::from(spec.channels.max(1));
    let mixed = all.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32);
    Ok((mixed.collect(), spec.sample_rate))
}

/// The power (mean square) that `samples` hold at `hertz`, by Goertzel's algorithm: of a sine of amplitude
/// `a` it is `a * a / 2`, and next to nothing of another frequency if they differ by more than some
/// `4 * rate / samples.len()`. Nothing of nothing.
pub fn power_at(samples: &[f32], rate: u32, hertz: f32) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    let turn = TAU * f64::from(hertz) / f64::from(rate);
    let (mut before, mut last) = (0.0f64, 0.0f64);
    let length = samples.len() as f64;
    let mut window_sum = 0.0;
    for (i, sample) in samples.iter().enumerate() {
        // Hann's window: without it a loud tone leaks far over the spectrum.
        let window = 0.5 - 0.5 * (TAU * (i as f64 + 0.5) / length).cos();
        window_sum += window;
        let next = f64::from(*sample) * window + 2.0 * turn.cos() * last - before;
        (before, last) = (last, next);
    }
    let square = last * last + before * before - 2.0 * turn.cos() * last * before;
    (2.0 * square / (window_sum * window_sum)) as f32
}

/// The mean square of all that is there.
pub fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|s| s * s).sum::<f32>() / samples.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_found_where_it_is_and_nowhere_else() {
        let tone = samples(440.0, 0.2);
        let here = power_at(&tone, RATE, 440.0);
        assert!((here - AMPLITUDE * AMPLITUDE / 2.0).abs() < 0.002, "{here}");
        for elsewhere in [300.0, 600.0, 880.0, 1000.0] {
            let there = power_at(&tone, RATE, elsewhere);
            assert!(there < here / 10_000.0, "{elsewhere} Hz: {there}");
        }
        assert_eq!(power_at(&[], RATE, 440.0), 0.0);
        assert_eq!(power_at(&[0.0; 960], RATE, 440.0), 0.0);
    }

    #[test]
    fn a_tone_is_found_under_noise() {
        let mut state = 7u32;
        let noisy = samples(1000.0, 0.5).into_iter().map(|s| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            0.1 * s + (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        });
        let noisy: Vec<f32> = noisy.collect();
        assert!(power_at(&noisy, RATE, 1000.0) > 3.0 * power_at(&noisy, RATE, 1400.0));
    }

    #[test]
    fn a_written_tone_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tone.wav");
        write_wav(&path, 440.0, 1.0).unwrap();
        let (heard, rate) = read_wav(&path).unwrap();
        assert_eq!((heard.len(), rate), (48_000, RATE));
        assert!(power_at(&heard, rate, 440.0) > 0.12);
    }
}
