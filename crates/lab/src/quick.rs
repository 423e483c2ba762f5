//! The quick bench: Snug to Snug against Chromium to Chromium, the same marked clip, the same link, one
//! table from one run.

mod chromium;
mod snug;
mod table;

use crate::delay::percentile;
use crate::link::{Conditions, Counts, Link, Way};
use crate::mark::{Clip, Colour, write_clip};
use crate::procs::{CpuTimes, count_of_tree, pss_of_tree};
use crate::tone::write_wav;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};
pub use table::{Report, markdown};

/// What is measured, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often each pair calls.
    pub runs: u32,
    /// One way, between the two.
    pub delay: Duration,
    /// After the first picture, before anything is measured: rate control takes its time.
    pub settle: Duration,
    /// Delay and frame rate are taken for so long.
    pub sample: Duration,
    /// After that, processor time for so long.
    pub cost: Duration,
    /// Who calls.
    pub pairs: Vec<Pair>,
    /// The `snug` program.
    pub snug: PathBuf,
    /// The `snug-server` program.
    pub server: PathBuf,
}

/// Two of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pair {
    /// Snug to Snug.
    Snug,
    /// Chromium to Chromium.
    Chromium,
}

/// What one call showed; costs and rates are the mean of its two ends.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Join clicked to first picture of the other shown, of the second to come.
    pub join_ms: f64,
    /// Source to display, half of the frames took less.
    pub delay_p50_ms: f64,
    /// Source to display, 95 of 100 frames took less.
    pub delay_p95_ms: f64,
    /// Pictures shown a second.
    pub frames_per_second: f64,
    /// Processor seconds a second, whole process tree.
    pub cpu: f64,
    /// Proportional set size of the whole process tree.
    pub pss_megabytes: f64,
    /// Sent over the link, all in all.
    pub kilobits_per_second: f64,
    /// Size of the pictures shown.
    pub size: (u32, u32),
    /// How many frames the delay is of.
    pub frames_read: usize,
    /// How many processes an end has.
    pub processes: usize,
}

/// What is told of how frames fared.
struct Seen {
    join_ms: f64,
    /// Both directions.
    delays: Vec<f64>,
    /// Of how many frames that were looked at.
    looked_at: usize,
    frames_per_second: f64,
    size: (u32, u32),
}

/// What both ends cost.
struct Cost {
    cpu: f64,
    pss_megabytes: f64,
    kilobits_per_second: f64,
    processes: usize,
}

/// The stage that both pairs use in turn.
struct Stage {
    link: Link,
    clip: PathBuf,
    voice: PathBuf,
    folder: tempfile::TempDir,
    plan: Plan,
}

/// Runs the plan; progress goes to standard error.
///
/// # Errors
/// When a program is missing or a call fails: no figure is made up.
pub async fn run(plan: &Plan) -> Result<Report> {
    for program in [&plan.snug, &plan.server] {
        let needed = *program == plan.server || plan.pairs.contains(&Pair::Snug);
        ensure!(
            !needed || program.exists(),
            "{} is missing: cargo build --release -p app -p server",
            program.display()
        );
    }
    let mut report = Report::new(plan);
    for run in 0..plan.runs {
        for pair in &plan.pairs {
            eprintln!("lab: run {} of {}: {pair:?} to {pair:?} …", run + 1, plan.runs);
            let stage = Stage::set(plan)?;
            let figures = match pair {
                Pair::Snug => snug::call(&stage).await,
                Pair::Chromium => chromium::call(&stage).await,
            };
            let figures = figures.with_context(|| format!("{pair:?} to {pair:?}"))?;
            eprintln!("lab: {figures:?}");
            report.add(*pair, figures);
        }
    }
    Ok(report)
}

impl Stage {
    fn set(plan: &Plan) -> Result<Self> {
        // Pictures shown are written to memory, not to a disk: it would cost the system time in the call.
        let memory = std::path::Path::new("/dev/shm");
        let within = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("snug-lab-").tempdir_in(within)?;
        let (clip, voice) = (folder.path().join("clip.y4m"), folder.path().join("voice.wav"));
        write_clip(&clip, &Clip::new(Colour::Green, 10))?;
        write_wav(&voice, 440.0, 10.0)?;
        let link = Link::up(Conditions::both(Way::delay(plan.delay)))?;
        Ok(Self { link, clip, voice, folder, plan: plan.clone() })
    }

    /// Measures what two process trees cost from now on.
    async fn cost(&self, roots: [u32; 2]) -> Result<Cost> {
        let times = || -> Result<_> { Ok([CpuTimes::of_tree(roots[0])?, CpuTimes::of_tree(roots[1])?]) };
        let bytes = |counts: [Counts; 2]| counts.map(|count| count.bytes).iter().sum::<u64>();
        let (start, before, sent) = (Instant::now(), times()?, bytes(self.link.counts()));
        tokio::time::sleep(self.plan.cost).await;
        let (seconds, after) = (start.elapsed().as_secs_f64(), times()?);
        let cpu = [after[0].since(&before[0]), after[1].since(&before[1])];
        let sent = bytes(self.link.counts()) - sent;
        let pss = [pss_of_tree(roots[0])?, pss_of_tree(roots[1])?];
        Ok(Cost {
            cpu: (cpu[0] + cpu[1]) / 2.0 / seconds,
            pss_megabytes: (pss[0] + pss[1]) as f64 / 2.0 / 1e6,
            kilobits_per_second: sent as f64 * 8.0 / 2.0 / 1000.0 / seconds,
            processes: count_of_tree(roots[0])?,
        })
    }

    fn figures(&self, seen: &Seen, cost: &Cost) -> Result<Figures> {
        let (read, looked_at) = (seen.delays.len(), seen.looked_at);
        ensure!(
            read * 10 > looked_at * 8,
            "only {read} of {looked_at} frames could be followed from source to display"
        );
        let delay = |part| percentile(&seen.delays, part).context("no frame was read");
        Ok(Figures {
            join_ms: seen.join_ms,
            delay_p50_ms: delay(0.5)?,
            delay_p95_ms: delay(0.95)?,
            frames_per_second: seen.frames_per_second,
            cpu: cost.cpu,
            pss_megabytes: cost.pss_megabytes,
            kilobits_per_second: cost.kilobits_per_second,
            size: seen.size,
            frames_read: read,
            processes: cost.processes,
        })
    }
}
