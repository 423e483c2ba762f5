//! `lab sound`.

use anyhow::{Context, Result};
use lab::sound::{clocks, ear, speakers};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the JSON goes.
    #[arg(long, default_value = "target/sound.json")]
    json: PathBuf,
    /// How long sound takes from mouth to ear instead: so many chirps each way through whole calls, Snug's and
    /// Chromium's, on a PulseAudio of its own; as root also what of it is the microphone's, and what the speaker's. Takes
    /// `snug` and `snug-server` as they stand beside this program.
    #[arg(long, value_name = "CHIRPS", num_args = 0..=1, default_missing_value = "60")]
    mouth_to_ear: Option<usize>,
    /// Instead: a call for so many minutes of somebody whose sound card's clock is 200 ppm too fast. Programs as for
    /// --mouth-to-ear.
    #[arg(long, value_name = "MINUTES", conflicts_with = "mouth_to_ear")]
    drift: Option<f64>,
    /// Instead: what is left of echo, and of the voice, in whole calls of somebody on open speakers, who has Snug, and
    /// then Chromium, so many calls in each made room (the median counts). Programs as for --mouth-to-ear.
    #[arg(long, value_name = "CALLS", num_args = 0..=1, default_missing_value = "1")]
    #[arg(conflicts_with_all = ["mouth_to_ear", "drift"])]
    open_speakers: Option<usize>,
}

pub(crate) fn main(args: &Args) -> Result<()> {
    let program = std::env::current_exe()?;
    let beside = program.parent().context("this program stands nowhere")?;
    let (snug, server) = (beside.join("snug"), beside.join("snug-server"));
    let pesq = beside.parent().unwrap_or(beside).join("lab-pesq");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(chirps) = args.mouth_to_ear {
        let ways = runtime.block_on(ear::run(&ear::Plan { chirps, snug, server }))?;
        write(&args.json, &ways)?;
        print!("{}", ear::markdown(&ways));
    } else if let Some(minutes) = args.drift {
        let length = Duration::try_from_secs_f64(minutes * 60.0)?;
        let plan = clocks::Plan { length, parts_per_million: 200.0, snug, server };
        let ways = runtime.block_on(clocks::run(&plan))?;
        write(&args.json, &ways)?;
        print!("{}", clocks::markdown(&ways));
    } else if let Some(calls) = args.open_speakers {
        let rows = runtime.block_on(speakers::run(&speakers::Plan { calls, pesq, snug, server }))?;
        write(&args.json, &rows)?;
        print!("{}", speakers::markdown(&rows));
    } else {
        let report = lab::sound::run(&pesq)?;
        write(&args.json, &report)?;
        print!("{}", lab::sound::markdown(&report));
    }
    Ok(())
}

fn write(path: &Path, report: &impl Serialize) -> Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(report)?)
        .with_context(|| format!("{} cannot be written", path.display()))
}
