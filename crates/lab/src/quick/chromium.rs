//! Two Chromiums with the guest's page, driven as a person drives it.

use super::{Figures, Seen, Stage};
use crate::delay::{Sighting, delays, filled, percentile};
use crate::ends::PATIENCE;
use crate::ends::chromium::{Chromium, Setting};
use crate::ends::server::Server;
use crate::link::Host;
use crate::mark::MARK_JS;
use anyhow::{Context, Result};
use serde::Deserialize;

const WATCH_JS: &str = include_str!("watch.js");

/// What `lab.stop()` of watch.js gives.
#[derive(Deserialize)]
struct Samples {
    origin: f64,
    own: Vec<Sample>,
    other: Vec<Sample>,
    width: u32,
    height: u32,
}

/// Frame number or -1, ms presented, ms captured, pictures so far.
type Sample = (i64, f64, Option<f64>, u64);

impl Samples {
    fn sightings(&self, samples: &[Sample], time: impl Fn(&Sample) -> f64) -> Vec<Sighting> {
        let readable =
            samples.iter().filter_map(|sample| Some((u32::try_from(sample.0).ok()?, time(sample))));
        let sighting = |(number, ms)| Sighting { number, at_us: ((self.origin + ms) * 1000.0) as u64 };
        readable.map(sighting).collect()
    }

    /// For the run's log: whether the watcher saw and read what there was to see.
    fn tell(&self) {
        for (whose, samples) in [("own", &self.own), ("other's", &self.other)] {
            let read = samples.iter().filter(|sample| sample.0 >= 0).count();
            let captured: Vec<f64> = samples.iter().filter_map(|s| Some(s.1 - s.2?)).collect();
            let lag = percentile(&captured, 0.5);
            let seen = samples.len();
            eprintln!(
                "lab: of its {whose} pictures {seen} were seen and {read} read; capture to screen {lag:?} ms"
            );
        }
    }

    /// When the camera took them.
    fn source(&self) -> Vec<Sighting> {
        self.sightings(&self.own, |(_, presented, captured, _)| captured.unwrap_or(*presented))
    }

    /// When the other's pictures were handed to the screen.
    fn shown(&self) -> Vec<Sighting> {
        self.sightings(&self.other, |(_, presented, ..)| *presented)
    }

    fn frames_per_second(&self) -> Option<f64> {
        let (first, last) = (self.other.first()?, self.other.last()?);
        Some((last.3 - first.3) as f64 * 1000.0 / (last.1 - first.1))
    }
}

pub(super) async fn call(stage: &Stage) -> Result<Figures> {
    let server = Server::start(&stage.link, &stage.plan.server).await?;
    let first = open(stage, &server.url, Host::First).await?;
    first.page.click("#join").await?;
    first.page.wait_for("!!snug.room", PATIENCE).await?;
    let second = open(stage, &server.url, Host::Second).await?;
    second.page.click("#join").await?;
    let join = second.page.wait_value("lab.joinMs()", PATIENCE).await?;
    first.page.wait_for("lab.joinMs() !== null", PATIENCE).await?;
    tokio::time::sleep(stage.plan.settle).await;
    for end in [&first, &second] {
        end.page.evaluate("lab.start()").await?;
    }
    tokio::time::sleep(stage.plan.sample).await;
    let (one, two) = (samples(&first).await?, samples(&second).await?);
    // From here on no page reads its pictures: that is no part of a call.
    let cost = stage.cost([first.browser.pid(), second.browser.pid()]).await?;
    let mut both = delays(&filled(&one.source()), &two.shown());
    both.extend(delays(&filled(&two.source()), &one.shown()));
    let rates = one.frames_per_second().zip(two.frames_per_second()).context("no picture was shown")?;
    let seen = Seen {
        join_ms: join.as_f64().context("the page's join time is no number")?,
        delays: both,
        looked_at: one.other.len() + two.other.len(),
        frames_per_second: f64::midpoint(rates.0, rates.1),
        size: (two.width, two.height),
    };
    stage.figures(&seen, &cost)
}

async fn open(stage: &Stage, url: &str, host: Host) -> Result<Chromium> {
    let script = format!("{MARK_JS}\n{WATCH_JS}");
    let setting = Setting { url, room: "quick", clip: &stage.clip, voice: &stage.voice, script: &script };
    Chromium::open(&stage.link, host, &setting).await
}

async fn samples(end: &Chromium) -> Result<Samples> {
    let value = end.page.evaluate("lab.stop()").await?;
    let samples: Samples = serde_json::from_value(value).context("the page's samples cannot be read")?;
    samples.tell();
    Ok(samples)
}
