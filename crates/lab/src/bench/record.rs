//! What an end saw and heard in a call, told alike of Snug and of Chromium.

use crate::delay::Sighting;
use crate::mark::read_mark;
use crate::speech::resampled;
use crate::tone::{RATE, read_wav};
use crate::y4m::Reader;
use anyhow::{Context, Result};
use media::I420;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// The size at which pictures are compared: that of the clip.
pub(super) const SIZE: (u32, u32) = (640, 360);
/// Each so-manieth picture shown is compared with its source.
pub(super) const LOOKED_AT: usize = 5;

/// A picture was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Its number, where it could be read.
    pub(super) number: Option<u32>,
    /// Unix time, microseconds.
    pub(super) at_us: u64,
}

/// A picture that was shown, kept to be compared.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) number: u32,
    pub(super) at_us: u64,
    /// Its luma at [`SIZE`].
    pub(super) luma: Vec<u8>,
}

/// Counters at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Stat {
    /// Unix time, microseconds.
    pub(super) at_us: u64,
    /// Samples made up so far.
    pub(super) concealed: f64,
    /// Samples played so far.
    pub(super) samples: f64,
    /// Keyframes asked for so far.
    pub(super) plis: f64,
    /// The video encoder's target, kb/s.
    pub(super) target_kbps: Option<f64>,
    /// How long after its sound the other's picture is shown, ms; Snug tells it.
    pub(super) lips_ms: Option<f64>,
}

/// What an end saw and heard.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Its own camera's pictures.
    pub(super) source: Vec<Sighting>,
    /// The other's.
    pub(super) shown: Vec<Shown>,
    pub(super) looks: Vec<Look>,
    /// What it heard, at 48 kHz.
    pub(super) heard: Vec<f32>,
    /// When the first sample of that was heard, Unix time in microseconds.
    pub(super) heard_from_us: u64,
    pub(super) stats: Vec<Stat>,
}

impl Record {
    /// Reads what a `snug` left in its folder; its sound ended at `ended_us`.
    pub(super) fn of_snug(folder: &Path, ended_us: u64) -> Result<Self> {
        let (own, _) = pictures(&folder.join("self.y4m"), usize::MAX)?;
        let (mut shown, mut looks) = (Vec::new(), Vec::new());
        for other in crate::ends::snug::pictures_of_others(folder)? {
            let (more_shown, more_looks) = pictures(&other, LOOKED_AT)?;
            shown.extend(more_shown);
            looks.extend(more_looks);
        }
        shown.sort_by_key(|shown| shown.at_us);
        looks.sort_by_key(|look| look.at_us);
        let (heard, rate) = read_wav(&folder.join("heard.wav"))?;
        let heard = resampled(&heard, rate, RATE);
        let lasted = heard.len() as u64 * 1_000_000 / u64::from(RATE);
        let sighting = |shown: &Shown| Some(Sighting { number: shown.number?, at_us: shown.at_us });
        let mut record = Self {
            source: own.iter().filter_map(sighting).collect(),
            shown,
            looks,
            heard,
            heard_from_us: ended_us.saturating_sub(lasted),
            stats: Vec::new(),
        };
        for line in BufReader::new(open(&folder.join("stats.jsonl"))?).lines() {
            let line: Value = serde_json::from_str(&line?).context("a line of statistics is no JSON")?;
            record.stats.extend(stat(&line));
        }
        count_on(&mut record.stats);
        Ok(record)
    }

    /// What was heard in a span of time.
    pub(super) fn heard_within(&self, span: &Range<u64>) -> &[f32] {
        let index = |us: u64| {
            let samples = us.saturating_sub(self.heard_from_us) * u64::from(RATE) / 1_000_000;
            (samples as usize).min(self.heard.len())
        };
        &self.heard[index(span.start)..index(span.end)]
    }

    /// The counters at a moment: those told last before it.
    pub(super) fn stat_at(&self, at_us: u64) -> Option<Stat> {
        self.stats.iter().rfind(|stat| stat.at_us <= at_us).copied()
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Each picture of a file, and each `nth` of them to look at.
fn pictures(path: &Path, nth: usize) -> Result<(Vec<Shown>, Vec<Look>)> {
    let context = || format!("{} cannot be read", path.display());
    let mut reader = Reader::new(BufReader::new(open(path)?)).with_context(context)?;
    let (mut all, mut looks) = (Vec::new(), Vec::new());
    while let Some(frame) = reader.next_frame().with_context(context)? {
        let at_us = frame.at_us.context("a frame does not say when it was shown")?;
        let number = read_mark(&frame.picture).map(|mark| mark.number);
        all.push(Shown { number, at_us });
        if let Some(number) = number.filter(|_| all.len().is_multiple_of(nth)) {
            looks.push(Look { number, at_us, luma: luma(frame.picture) });
        }
    }
    Ok((all, looks))
}

/// Who comes back by another connection is counted from nothing again: here counters only grow.
pub(super) fn count_on(stats: &mut [Stat]) {
    let (mut before, mut last) = (Stat::default(), Stat::default());
    for stat in stats {
        let told = *stat;
        if told.samples < last.samples {
            before.concealed += last.concealed;
            before.samples += last.samples;
            before.plis += last.plis;
        }
        stat.concealed += before.concealed;
        stat.samples += before.samples;
        stat.plis += before.plis;
        last = told;
    }
}

/// A picture's luma at [`SIZE`].
pub(super) fn luma(picture: I420) -> Vec<u8> {
    if (picture.width(), picture.height()) == SIZE {
        return picture.planes()[0].to_vec();
    }
    let mut scaled = I420::black(SIZE.0, SIZE.1);
    media::convert::scale(&picture, &mut scaled);
    scaled.planes()[0].to_vec()
}

/// A line of `snug --stats`, once somebody is there.
fn stat(line: &Value) -> Option<Stat> {
    let other = line["participants"].get(0)?;
    let (sound, picture) = (other.get("inboundAudio")?, other.get("inboundVideo")?);
    Some(Stat {
        at_us: (line["time"].as_f64()? * 1e6) as u64,
        concealed: sound["concealedSamples"].as_f64()?,
        samples: sound["totalSamplesReceived"].as_f64()?,
        plis: picture["pliCount"].as_f64()?,
        target_kbps: other["outboundVideo"]["targetBitrate"].as_f64().map(|target| target / 1000.0),
        lips_ms: other["lipSkew"].as_f64().map(|seconds| seconds * 1000.0),
    })
}

/// The clip, to compare with.
pub(super) struct Source {
    file: File,
    header: u64,
    frames: u64,
}

/// What stands before each picture in a clip of `lab clip`.
const FRAME_LINE: u64 = "FRAME\n".len() as u64;

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let length = file.metadata()?.len();
        let mut first = Vec::new();
        BufReader::new(&file).take(4096).read_until(b'\n', &mut first)?;
        let header = first.len() as u64;
        Ok(Self { file, header, frames: (length - header) / Self::step() })
    }

    fn step() -> u64 {
        FRAME_LINE + I420::bytes(SIZE.0, SIZE.1) as u64
    }

    /// The luma of a picture by its number; `None` of a number that the clip has not.
    pub(super) fn luma(&mut self, number: u32) -> Result<Option<Vec<u8>>> {
        if u64::from(number) >= self.frames {
            return Ok(None);
        }
        let mut luma = vec![0; (SIZE.0 * SIZE.1) as usize];
        self.file.seek(SeekFrom::Start(self.header + u64::from(number) * Self::step() + FRAME_LINE))?;
        self.file.read_exact(&mut luma)?;
        Ok(Some(luma))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mark::{Clip, Colour, Scene, write_clip};
    use serde_json::json;

    #[test]
    fn the_source_gives_each_picture_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.y4m");
        let clip = Clip { frames: 3, ..Clip::new(Colour::Green, 1) };
        write_clip(&path, &clip).unwrap();
        let mut source = Source::open(&path).unwrap();
        for number in [2, 0] {
            assert_eq!(source.luma(number).unwrap().unwrap(), luma(Scene::new(&clip).frame(number)));
        }
        assert_eq!(source.luma(3).unwrap(), None);
    }

    #[test]
    fn a_line_of_statistics_is_read_once_somebody_is_there() {
        assert_eq!(stat(&json!({"time": 1.5, "participants": []})), None);
        assert_eq!(stat(&json!({"time": 1.5, "participants": [{"name": "Ben"}]})), None);
        let ben = json!({"inboundAudio": {"concealedSamples": 480, "totalSamplesReceived": 48000},
            "inboundVideo": {"pliCount": 2}, "outboundVideo": {"targetBitrate": 500_000.0}, "lipSkew": -0.025});
        let wanted = Stat {
            at_us: 1_500_000,
            concealed: 480.0,
            samples: 48_000.0,
            plis: 2.0,
            target_kbps: Some(500.0),
            lips_ms: Some(-25.0),
        };
        assert_eq!(stat(&json!({"time": 1.5, "participants": [ben]})), Some(wanted));
    }

    #[test]
    fn counters_that_begin_anew_count_on() {
        let stat = |concealed, samples| Stat { concealed, samples, plis: 1.0, ..Stat::default() };
        let mut stats = [stat(10.0, 100.0), stat(20.0, 200.0), stat(0.0, 50.0), stat(5.0, 100.0)];
        count_on(&mut stats);
        let counted = stats.map(|stat| (stat.concealed, stat.samples, stat.plis));
        assert_eq!(counted, [(10.0, 100.0, 1.0), (20.0, 200.0, 1.0), (20.0, 250.0, 2.0), (25.0, 300.0, 2.0)]);
    }

    #[test]
    fn a_smaller_picture_is_compared_at_the_size_of_the_clip() {
        assert_eq!(luma(I420::black(320, 180)).len(), (SIZE.0 * SIZE.1) as usize);
    }
}
