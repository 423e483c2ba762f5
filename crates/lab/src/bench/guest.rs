//! What a guest's page kept of a call (`record.js`), fetched and read.

use super::record::{Look, Record, Shown, Stat, count_on, luma};
use crate::browser::base64;
use crate::delay::Sighting;
use crate::ends::PATIENCE;
use crate::ends::chromium::Chromium;
use crate::mark::{CELLS, number_of_cells};
use crate::speech::resampled;
use crate::tone::RATE;
use anyhow::{Context, Result, ensure};
use media::I420;
use serde::Deserialize;
use serde_json::Value;

/// What runs before the page's own scripts.
pub(super) const RECORD_JS: &str = include_str!("record.js");
/// Blocks of 10 ms that are fetched at a time.
const BLOCKS: usize = 500;

/// What the page tells when it stops.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// Unix time, ms, of the page's time 0.
    origin: f64,
    own: Vec<Entry>,
    shown: Vec<Entry>,
    looks: Vec<LookAt>,
    stats: Vec<Counters>,
    heard_from: Option<f64>,
    rate: u32,
    heard: usize,
}

/// A picture of a video element; ms of the page's time.
#[derive(Deserialize)]
struct Entry {
    at: f64,
    captured: Option<f64>,
    /// Pictures presented so far: a busy page is not told of each.
    count: u64,
    cells: Option<String>,
}

#[derive(Deserialize)]
struct LookAt {
    picture: usize,
    width: u32,
    height: u32,
}

#[derive(Deserialize)]
struct Counters {
    at: f64,
    concealed: Option<f64>,
    samples: Option<f64>,
    plis: Option<f64>,
    target: Option<f64>,
}

/// What was fetched and is not looked at yet.
pub(super) struct Fetched {
    told: Told,
    lumas: Vec<Vec<u8>>,
    sound: Vec<u8>,
}

/// Ends the recording and fetches it.
pub(super) async fn fetch(end: &Chromium) -> Result<Fetched> {
    let told = end.page.evaluate("lab.stop()").await?;
    let told: Told = serde_json::from_value(told).context("the page's record cannot be read")?;
    let text = |value: Value| value.as_str().and_then(base64).context("the page's bytes are not base64");
    let mut lumas = Vec::new();
    for index in 0..told.looks.len() {
        lumas.push(text(end.page.evaluate(&format!("lab.look({index})")).await?)?);
    }
    let mut sound = Vec::new();
    for from in (0..told.heard).step_by(BLOCKS) {
        sound.extend(text(end.page.evaluate(&format!("lab.heard({from}, {})", from + BLOCKS)).await?)?);
    }
    for line in end.page.log().iter().filter(|line| line.contains("exception") || line.contains("not read")) {
        eprintln!("lab: the page says: {line}");
    }
    Ok(Fetched { told, lumas, sound })
}

/// Waits until the other's picture is there.
pub(super) async fn sees_other(end: &Chromium) -> Result<()> {
    end.page.wait_for("lab.seen()", PATIENCE).await
}

impl Entry {
    fn number(&self) -> Option<u32> {
        let cells = base64(self.cells.as_ref()?)?;
        let index = |(column, row): (u32, u32)| (row * CELLS.0 + column) as usize;
        number_of_cells(|cell| cells.get(index(cell)).copied().map_or(0.0, f32::from))
    }
}

impl Fetched {
    pub(super) fn record(self) -> Result<Record> {
        let Self { told, lumas, sound } = self;
        let unix = |ms: f64| ((told.origin + ms) * 1000.0) as u64;
        let source = |entry: &Entry| {
            Some(Sighting { number: entry.number()?, at_us: unix(entry.captured.unwrap_or(entry.at)) })
        };
        let heard: Vec<f32> = sound
            .chunks_exact(2)
            .map(|two| f32::from(i16::from_le_bytes([two[0], two[1]])) / 32_768.0)
            .collect();
        ensure!(told.rate > 0 && !heard.is_empty(), "the page heard nothing");
        let mut looks = Vec::new();
        for (about, luma) in told.looks.iter().zip(lumas) {
            looks.extend(look(about, luma, &told, unix)?);
        }
        let mut stats: Vec<Stat> = told.stats.iter().filter_map(|counters| counters.stat(unix)).collect();
        count_on(&mut stats);
        Ok(Record {
            source: told.own.iter().filter_map(source).collect(),
            shown: shown(&told.shown, unix),
            looks,
            heard: resampled(&heard, told.rate, RATE),
            heard_from_us: unix(told.heard_from.unwrap_or_default()),
            stats,
        })
    }
}

fn look(about: &LookAt, bytes: Vec<u8>, told: &Told, unix: impl Fn(f64) -> u64) -> Result<Option<Look>> {
    let entry = told.shown.get(about.picture).context("the page looked at a picture that it did not see")?;
    let Some(number) = entry.number() else { return Ok(None) };
    let (width, height) = (about.width, about.height);
    ensure!(bytes.len() as u64 == u64::from(width) * u64::from(height), "a picture of another size");
    let mut packed = bytes;
    packed.resize(I420::bytes(width, height), 128);
    Ok(Some(Look { number, at_us: unix(entry.at), luma: luma(I420::from_packed(width, height, packed)?) }))
}

/// The pictures shown; those of which the page was not told are put evenly between their neighbours.
fn shown(entries: &[Entry], unix: impl Fn(f64) -> u64) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::with_capacity(entries.len());
    let mut before: Option<&Entry> = None;
    for entry in entries {
        if let Some(before) = before {
            let missed = entry.count.saturating_sub(before.count).saturating_sub(1).min(30);
            let step = (entry.at - before.at) / (missed + 1) as f64;
            all.extend(
                (1..=missed).map(|k| Shown { number: None, at_us: unix(before.at + step * k as f64) }),
            );
        }
        all.push(Shown { number: entry.number(), at_us: unix(entry.at) });
        before = Some(entry);
    }
    all
}

impl Counters {
    fn stat(&self, unix: impl Fn(f64) -> u64) -> Option<Stat> {
        Some(Stat {
            at_us: unix(self.at),
            concealed: self.concealed?,
            samples: self.samples?,
            plis: self.plis?,
            target_kbps: self.target.map(|target| target / 1000.0),
            lips_ms: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: f64, count: u64) -> Entry {
        Entry { at, captured: None, count, cells: None }
    }

    #[test]
    fn pictures_that_the_page_was_not_told_of_are_put_in_between() {
        let entries = [entry(0.0, 5), entry(30.0, 6), entry(120.0, 9), entry(150.0, 10)];
        let times: Vec<u64> = shown(&entries, |ms| ms as u64).iter().map(|shown| shown.at_us).collect();
        assert_eq!(times, [0, 30, 60, 90, 120, 150]);
    }

    #[test]
    fn cells_that_say_nothing_have_no_number() {
        assert_eq!(entry(0.0, 1).number(), None);
        let grey = Entry { cells: Some("AAAA".into()), ..entry(0.0, 1) };
        assert_eq!(grey.number(), None);
    }
}
