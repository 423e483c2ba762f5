//! The call-quality bench: Snug to Snug, Chromium to Chromium, and one to the other and back, with the same
//! marked clip and the same speech, over the same networks with the same seeds.

pub(crate) mod align;
mod analyse;
mod call;
mod end;
pub mod figures;
pub mod freeze;
mod guest;
mod happening;
mod pesq;
mod plot;
pub mod quality;
mod rate;
mod record;
pub mod scenario;
mod summary;
mod table;

use crate::delay::median;
use crate::link::{Conditions, Link, Way};
use crate::mark::{Clip, Colour, write_clip};
use crate::speech::write_speech;
use anyhow::{Result, ensure};
use figures::{Figures, Series, Sound};
use pesq::Pesq;
pub use plot::svg;
use scenario::Scenario;
use serde::Serialize;
use std::path::PathBuf;
pub use table::markdown;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Over which networks.
    pub scenarios: Vec<Scenario>,
    /// Who calls.
    pub pairs: Vec<Pair>,
    /// How often.
    pub runs: u32,
    /// The programs that are measured.
    pub programs: Programs,
    /// The clip's numbers start again after so many seconds: longer than any delay.
    pub clip_seconds: u32,
    /// Where PESQ is set up, if it is wanted: a Python environment.
    pub pesq: Option<PathBuf>,
}

/// The programs that are measured.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `snug`.
    pub snug: PathBuf,
    /// `snug-server`; `None`: the server inside the first host's `snug`.
    pub server: Option<PathBuf>,
    /// `lab`, for the download beside a call; `None`: no scenario has one.
    pub lab: Option<PathBuf>,
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pair {
    /// Snug to Snug.
    Snug,
    /// Chromium to Chromium.
    Chromium,
    /// Snug to Chromium, and back.
    Mixed,
}

/// A program at an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Ours.
    Snug,
    /// The browser, with the guest's page.
    Chromium,
}

impl Pair {
    /// At the first host and at the second.
    pub fn kinds(self) -> [Kind; 2] {
        match self {
            Self::Snug => [Kind::Snug; 2],
            Self::Chromium => [Kind::Chromium; 2],
            Self::Mixed => [Kind::Snug, Kind::Chromium],
        }
    }
}

/// One direction of one call.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The scenario's name.
    pub scenario: &'static str,
    /// Who sent.
    pub from: Kind,
    /// Who received.
    pub to: Kind,
    /// The run's number, from 0; it is the link's seed too.
    pub run: u32,
    /// What was measured.
    pub figures: Figures,
    /// What changed over time.
    pub series: Series,
}

/// What all calls of a bench share.
struct Stage {
    clip: PathBuf,
    voice: PathBuf,
    folder: tempfile::TempDir,
    programs: Programs,
    /// PESQ, or why there is none.
    pesq: Result<Pesq, String>,
}

impl Stage {
    fn set(plan: &Plan) -> Result<Self> {
        // Pictures shown are written to memory, not to a disk: it would cost the system time in the call.
        let memory = std::path::Path::new("/dev/shm");
        let within = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("snug-bench-").tempdir_in(within)?;
        let (clip, voice) = (folder.path().join("clip.y4m"), folder.path().join("voice.wav"));
        eprintln!("lab: making the clip and the speech …");
        write_clip(&clip, &Clip::new(Colour::Green, plan.clip_seconds))?;
        write_speech(&voice)?;
        let pesq = match &plan.pesq {
            None => Err("not wanted".into()),
            Some(folder) => Pesq::set_up(folder, &voice).map_err(|error| format!("{error:#}")),
        };
        if let Err(why) = &pesq {
            eprintln!("lab: no PESQ: {why}");
        }
        Ok(Self { clip, voice, folder, programs: plan.programs.clone(), pesq })
    }

    /// Adds to the figures what the sound is worth.
    fn judge(&self, heard: &[f32], sound: &mut Sound) -> Result<()> {
        if let Ok(pesq) = &self.pesq {
            sound.windows = pesq.scores(heard)?;
            sound.pesq = median(&sound.windows);
        }
        Ok(())
    }
}

/// What came of a plan.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Each direction of each call.
    pub entries: Vec<Entry>,
    /// The calls that failed: no figure of them is among the others.
    pub failures: Vec<Failure>,
    /// Why there are no scores of PESQ, if there are none.
    pub no_pesq: Option<String>,
}

/// A call that failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The scenario's name.
    pub scenario: &'static str,
    /// Who called.
    pub pair: Pair,
    /// The run's number, from 0.
    pub run: u32,
    /// Why.
    pub why: String,
}

/// Runs the plan; progress goes to standard error, and the report so far to `told` after each call. A call that
/// fails does not end it.
///
/// # Errors
/// When a program is missing, or the machine does not let us have a link.
pub async fn run(plan: &Plan, mut told: impl FnMut(&Report) -> Result<()>) -> Result<Report> {
    let Programs { snug, server, lab } = &plan.programs;
    for program in [Some(snug), server.as_ref(), lab.as_ref()].into_iter().flatten() {
        ensure!(program.exists(), "{} is missing: build it, or name another", program.display());
    }
    // Tells at once where there can be none.
    drop(Link::up(Conditions::both(Way::default()))?);
    let stage = Stage::set(plan)?;
    let mut report = Report { no_pesq: stage.pesq.as_ref().err().cloned(), ..Report::default() };
    for scenario in &plan.scenarios {
        for (run, pair) in (0..plan.runs).flat_map(|run| plan.pairs.iter().map(move |pair| (run, *pair))) {
            let (name, title) = (scenario.name, scenario.title);
            eprintln!("lab: {name} ({title}), {pair:?}, run {} of {} …", run + 1, plan.runs);
            match stage.call(scenario, pair, run).await {
                Ok(entries) => {
                    entries.iter().for_each(tell);
                    report.entries.extend(entries);
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    eprintln!("lab: that call failed: {why}");
                    report.failures.push(Failure { scenario: name, pair, run, why });
                }
            }
            told(&report)?;
        }
    }
    Ok(report)
}

/// What matters most of a direction, while the bench goes on.
fn tell(Entry { from, to, figures, .. }: &Entry) {
    let or_none = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    eprintln!(
        "lab:   {from:?} → {to:?}: {:.1} frames a second, frozen {:.2} %, delay {} ms, SSIM {}, PESQ {}, concealed {} %, sent {:.0} kb/s",
        figures.picture.frames_per_second,
        figures.frozen_percent(),
        or_none(figures.picture.delay_p50_ms),
        or_none(figures.picture.ssim),
        or_none(figures.sound.pesq),
        or_none(figures.sound.concealed_percent),
        figures.net.sent_kbps
    );
}

impl Stage {
    /// Both directions of a call.
    async fn call(&self, scenario: &Scenario, pair: Pair, run: u32) -> Result<Vec<Entry>> {
        let outcome = call::run(self, pair, scenario, u64::from(run) + 1).await?;
        let (kinds, scenario) = (pair.kinds(), scenario.name);
        let mut entries = Vec::new();
        for (side, (mut figures, series)) in outcome.directions.into_iter().enumerate() {
            self.judge(&outcome.heard[side], &mut figures.sound)?;
            entries.push(Entry { scenario, from: kinds[side], to: kinds[1 - side], run, figures, series });
        }
        Ok(entries)
    }
}
