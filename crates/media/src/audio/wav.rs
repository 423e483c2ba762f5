//! wav files in the place of a microphone and a speaker.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Instant;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::BLOCK;
use super::ends::{Metronome, MicSource, SpeakerSink};
use super::opener::Named;
use super::resample::Resampler;
use crate::codec::opus::RATE;
use crate::ends::DeviceError;

/// Blocks between two writes of the file's header: 0.5 s.
const FLUSH: u32 = 50;

fn open_failed(path: &Path, error: &std::io::Error) -> DeviceError {
    let what = path.display().to_string();
    match error.kind() {
        ErrorKind::NotFound => DeviceError::NotFound { what },
        ErrorKind::PermissionDenied => DeviceError::Denied { what, why: error.to_string() },
        _ => DeviceError::Unusable { what, why: error.to_string() },
    }
}

fn unusable(path: &Path, why: impl Into<String>) -> DeviceError {
    DeviceError::Unusable { what: path.display().to_string(), why: why.into() }
}

/// A wav file as a microphone: looped, in real time.
pub(crate) struct WavMic<R = BufReader<File>> {
    path: PathBuf,
    reader: WavReader<R>,
    clock: Metronome,
    resamplers: [Resampler; 2],
    /// Left and right.
    raw: [Vec<f32>; 2],
    /// Converted and not yet due, left and right.
    ready: [Vec<f32>; 2],
}

impl WavMic {
    pub(crate) fn open(path: &Path, now: Instant) -> Result<Self, DeviceError> {
        let file = File::open(path).map_err(|error| open_failed(path, &error))?;
        let size = file.metadata().map_err(|error| open_failed(path, &error))?.len();
        Self::of(path, BufReader::new(file), size, now)
    }
}

impl<R: Read + Seek> WavMic<R> {
    /// The file itself: `size` bytes. Its path is for errors.
    pub(crate) fn of(path: &Path, file: R, size: u64, now: Instant) -> Result<Self, DeviceError> {
        let reader = WavReader::new(file).map_err(|error| match error {
            hound::Error::IoError(error) if error.kind() == ErrorKind::PermissionDenied => {
                open_failed(path, &error)
            }
            hound::Error::IoError(_) | hound::Error::FormatError(_) => {
                unusable(path, "it is no whole wav file")
            }
            other => unusable(path, other.to_string()),
        })?;
        let spec = reader.spec();
        if spec.channels == 0 || !(1000..=768_000).contains(&spec.sample_rate) {
            return Err(unusable(path, format!("{} channels at {} Hz", spec.channels, spec.sample_rate)));
        }
        let bytes = u64::from(reader.len()) * u64::from(spec.bits_per_sample.div_ceil(8));
        if reader.duration() == 0 {
            return Err(unusable(path, "there is no sound in it"));
        }
        if bytes > size {
            return Err(unusable(path, "it is cut short"));
        }
        Ok(Self {
            path: path.to_owned(),
            reader,
            clock: Metronome::new(now),
            resamplers: std::array::from_fn(|_| Resampler::new(spec.sample_rate, RATE)),
            raw: Default::default(),
            ready: Default::default(),
        })
    }

    /// Reads up to `frames` frames; starts over at the end of the file.
    fn read_frames(&mut self, frames: usize) -> Result<(), DeviceError> {
        self.raw.iter_mut().for_each(Vec::clear);
        let spec = self.reader.spec();
        let channels = usize::from(spec.channels);
        let result = match spec.sample_format {
            SampleFormat::Float => {
                split(self.reader.samples::<f32>().take(frames * channels), channels, 1.0, &mut self.raw)
            }
            SampleFormat::Int => {
                let scale = 1.0 / (1u64 << (spec.bits_per_sample.clamp(1, 32) - 1)) as f32;
                let samples = self.reader.samples::<i32>().map(|x| x.map(|x| x as f32));
                split(samples.take(frames * channels), channels, scale, &mut self.raw)
            }
        };
        result.map_err(|error| unusable(&self.path, format!("it cannot be read: {error}")))?;
        if self.raw[0].len() < frames {
            self.reader
                .seek(0)
                .map_err(|error| unusable(&self.path, format!("it cannot be read again: {error}")))?;
        }
        Ok(())
    }
}

/// Left and right of two channels; of any other number of them, their mean for both.
fn split(
    samples: impl Iterator<Item = hound::Result<f32>>,
    channels: usize,
    scale: f32,
    [left, right]: &mut [Vec<f32>; 2],
) -> hound::Result<()> {
    let whole = |x: f32| if x.is_finite() { x.clamp(-1.0, 1.0) } else { 0.0 };
    let (mut sum, mut first, mut count) = (0.0, 0.0, 0);
    for sample in samples {
        let x = sample? * scale;
        first = if count == 0 { x } else { first };
        sum += x;
        count += 1;
        if count == channels {
            let pair = if channels == 2 { [first, x] } else { [sum / channels as f32; 2] };
            left.push(whole(pair[0]));
            right.push(whole(pair[1]));
            (sum, count) = (0.0, 0);
        }
    }
    Ok(())
}

impl<R> Named for WavMic<R> {
    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl<R: Read + Seek + Send> MicSource for WavMic<R> {
    fn read(&mut self, now: Instant, wide: bool, out: &mut Vec<f32>) -> Result<usize, DeviceError> {
        let (blocks, skipped) = self.clock.due(now);
        let wanted = blocks * BLOCK;
        while self.ready[0].len() < wanted {
            let frames = (self.reader.spec().sample_rate / 100).max(1) as usize;
            self.read_frames(frames)?;
            for ((resampler, raw), ready) in self.resamplers.iter_mut().zip(&self.raw).zip(&mut self.ready) {
                resampler.push(raw, ready);
            }
        }
        let [left, right] = &mut self.ready;
        let frames = left.drain(..wanted).zip(right.drain(..wanted));
        if wide {
            out.extend(frames.flat_map(|(left, right)| [left, right]));
        } else {
            out.extend(frames.map(|(left, right)| (left + right) * 0.5));
        }
        Ok(skipped * BLOCK)
    }

    fn next_due(&self, _now: Instant) -> Instant {
        self.clock.next()
    }
}

/// A wav file as a speaker: 48 kHz stereo, 16 bits, written in real time. The header is right every half
/// second, so that what was written is a wav file whatever happens to us.
pub(crate) struct WavSpeaker {
    path: PathBuf,
    writer: WavWriter<BufWriter<File>>,
    clock: Metronome,
    since_flush: u32,
}

impl WavSpeaker {
    pub(crate) fn create(path: &Path, now: Instant) -> Result<Self, DeviceError> {
        let file = File::create(path).map_err(|error| open_failed(path, &error))?;
        let spec =
            WavSpec { channels: 2, sample_rate: RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = WavWriter::new(BufWriter::with_capacity(1 << 16, file), spec)
            .map_err(|error| unusable(path, error.to_string()))?;
        writer.flush().map_err(|error| unusable(path, error.to_string()))?;
        Ok(Self { path: path.to_owned(), writer, clock: Metronome::new(now), since_flush: 0 })
    }
}

impl Named for WavSpeaker {
    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl SpeakerSink for WavSpeaker {
    fn wanted(&mut self, now: Instant) -> Result<usize, DeviceError> {
        let (blocks, skipped) = self.clock.due(now);
        // What nobody was there to mix is silence, so that the file keeps the time of the clock.
        for _ in 0..skipped.min(6000) {
            self.write(&[[0.0; BLOCK]; 2])?;
        }
        Ok(blocks)
    }

    fn write(&mut self, [left, right]: &[[f32; BLOCK]; 2]) -> Result<(), DeviceError> {
        let lost = |error: hound::Error| DeviceError::Lost {
            what: self.path.display().to_string(),
            why: error.to_string(),
        };
        for x in left.iter().zip(right).flat_map(|(left, right)| [left, right]) {
            self.writer.write_sample((x.clamp(-1.0, 1.0) * 32_767.0) as i16).map_err(lost)?;
        }
        self.since_flush += 1;
        if self.since_flush >= FLUSH {
            self.since_flush = 0;
            self.writer.flush().map_err(lost)?;
        }
        Ok(())
    }

    fn next_due(&self, _now: Instant) -> Instant {
        self.clock.next()
    }
}
