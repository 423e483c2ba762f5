//! Speech for a microphone: some sentences, spoken by espeak-ng, made equally loud, in a loop of known length.

use crate::tone::{RATE, read_wav};
use anyhow::{Context, Result, bail, ensure};
use std::f64::consts::PI;
use std::path::Path;
use std::process::Command;

/// A sentence for each voice, in turn: all sounds of English, in no order that means anything.
const SENTENCES: [(&str, &str); 8] = [
    ("en-us", "The blue boat waits near the old bridge while the children feed the geese."),
    ("en-us+f3", "Please choose a fresh peach, and measure how thick the yellow rope is."),
    ("en-gb", "Both judges voyage to the north each year to watch the huge waves."),
    ("en-us+f2", "My father usually chops wood before the sun shines through the window."),
    ("en-gb+m3", "A quick song about nothing made the young crowd laugh and cheer."),
    ("en-us+f4", "Few people know which of these paths goes round the quiet lake."),
    ("en-us+m2", "Just measure the thin ice twice, then cross it with good shoes."),
    ("en-gb+f1", "We thank the judge for a choice that seems both wise and fair."),
];
/// Between two sentences, seconds.
const PAUSE: f64 = 0.35;
/// The root mean square of what is spoken, of full scale: 26 dB below it, the level that P.862 wants.
const LEVEL: f32 = 0.05;
/// A stretch of 20 ms that is not within 40 dB of the loudest is a pause.
const SILENT: f32 = 0.01;

/// Makes the speech and writes it as a wav file: mono, 16 bits, 48 kHz. It fills whole seconds and ends in a
/// pause, so that it may be looped.
///
/// # Errors
/// When espeak-ng is missing or fails, with what to do.
pub fn write_speech(path: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut all = Vec::new();
    for (number, (voice, sentence)) in SENTENCES.iter().enumerate() {
        let file = folder.path().join(format!("{number}.wav"));
        speak(voice, sentence, &file)?;
        let (samples, rate) = read_wav(&file)?;
        let mut samples = resampled(&samples, rate, RATE);
        level(&mut samples)?;
        all.extend(samples);
        all.extend(std::iter::repeat_n(0.0, (PAUSE * f64::from(RATE)) as usize));
    }
    let whole = all.len().next_multiple_of(RATE as usize);
    all.resize(whole, 0.0);
    write_wav(path, &all, RATE)
}

fn speak(voice: &str, sentence: &str, to: &Path) -> Result<()> {
    let mut command = Command::new("espeak-ng");
    command.args(["-v", voice, "-s", "165", "-w"]).arg(to).arg(sentence);
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("espeak-ng speaks for the bench and is missing: apt-get install espeak-ng")
        }
        other => other.context("cannot start espeak-ng")?,
    };
    ensure!(output.status.success(), "espeak-ng failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Makes what is spoken as loud as [`LEVEL`]; pauses do not count.
fn level(samples: &mut [f32]) -> Result<()> {
    let stretch = RATE as usize / 50;
    let power = |part: &[f32]| part.iter().map(|s| s * s).sum::<f32>() / part.len() as f32;
    let powers: Vec<f32> = samples.chunks(stretch).map(power).collect();
    let loudest = powers.iter().copied().fold(0.0, f32::max);
    let spoken: Vec<f32> = powers.into_iter().filter(|power| *power > loudest * SILENT * SILENT).collect();
    ensure!(loudest > 0.0 && !spoken.is_empty(), "espeak-ng wrote silence");
    let gain = LEVEL / (spoken.iter().sum::<f32>() / spoken.len() as f32).sqrt();
    for sample in samples {
        *sample = (*sample * gain).clamp(-0.99, 0.99);
    }
    Ok(())
}

/// Writes samples as a wav file: mono, 16 bits.
///
/// # Errors
/// What the file system says.
pub fn write_wav(path: &Path, samples: &[f32], rate: u32) -> Result<()> {
    let format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: format };
    let mut out = hound::WavWriter::create(path, spec)?;
    for sample in samples {
        out.write_sample((sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)) as i16)?;
    }
    Ok(out.finalize()?)
}

/// Lobes of the sinc on each side of its middle.
const LOBES: f64 = 16.0;

/// The same sound at another rate: a windowed sinc, cut off below the lower rate's half.
pub fn resampled(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to || samples.is_empty() {
        return samples.to_vec();
    }
    let step = f64::from(from) / f64::from(to);
    // What is above half of the lower rate would fold back; a little less leaves room for the slope.
    let cut = 0.95 * (1.0 / step).min(1.0);
    let reach = (LOBES / cut).ceil();
    // Between two samples there are only so many places, and each has its taps.
    let places = u64::from(to / gcd(from, to));
    let taps: Vec<Vec<f32>> = (0..places).map(|place| taps(place as f64 * step % 1.0, cut, reach)).collect();
    let count = (samples.len() as f64 / step) as u64;
    let at = |index: u64| {
        let middle = (index * u64::from(from) / u64::from(to)) as i64;
        let taps = &taps[(index % places) as usize];
        let first = middle - reach as i64;
        let reached = taps.iter().enumerate().filter_map(|(i, tap)| {
            let sample = usize::try_from(first + i as i64).ok().and_then(|at| samples.get(at))?;
            Some(sample * tap)
        });
        reached.sum::<f32>()
    };
    (0..count).map(at).collect()
}

/// The taps for a place so far behind a sample, from `reach` samples before it on.
fn taps(behind: f64, cut: f64, reach: f64) -> Vec<f32> {
    let tap = |i: usize| {
        let x = i as f64 - reach - behind;
        let window = if x.abs() < reach { 0.5 + 0.5 * (PI * x / reach).cos() } else { 0.0 };
        (cut * sinc(x * cut) * window) as f32
    };
    (0..=2 * reach as usize + 1).map(tap).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{power, power_at, samples};

    #[test]
    fn a_tone_keeps_its_pitch_and_loudness_at_another_rate() {
        let tone = samples(1000.0, 0.2);
        let thin = resampled(&tone, RATE, 16_000);
        assert_eq!(thin.len(), 3200);
        assert!((power_at(&thin, 16_000, 1000.0) - 0.125).abs() < 0.002);
        let back = resampled(&thin, 16_000, 22_050);
        assert!((power_at(&back, 22_050, 1000.0) - 0.125).abs() < 0.003);
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone() {
        let high = resampled(&samples(11_000.0, 0.2), RATE, 16_000);
        assert!(power(&high[200..high.len() - 200]) < 1e-4, "{}", power(&high));
    }

    #[test]
    fn pauses_do_not_count_for_the_level() {
        let mut sound = vec![0.0; 48_000];
        sound.extend(samples(300.0, 0.5));
        level(&mut sound).unwrap();
        let spoken = power(&sound[48_000..]).sqrt();
        assert!((spoken - LEVEL).abs() < 0.002, "{spoken}");
    }
}
