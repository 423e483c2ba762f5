//! `lab quick`.

use anyhow::{Context, Result, ensure};
use lab::quick::{Pair, Plan, markdown, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each pair calls; the table has the median and the range.
    #[arg(long, default_value_t = 1)]
    runs: u32,
    /// Milliseconds between the two, one way.
    #[arg(long, default_value_t = 20)]
    delay_ms: u64,
    /// Seconds after the first picture before anything is measured.
    #[arg(long, default_value_t = 10)]
    settle: u64,
    /// Seconds for delay and frame rate, then as many for processor time.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Only `snug` or only `chromium`.
    #[arg(long)]
    only: Option<String>,
    /// Where the JSON goes.
    #[arg(long, default_value = "quick.json")]
    json: PathBuf,
    /// Take `snug` and `snug-server` as they stand beside this program, without building them.
    #[arg(long)]
    no_build: bool,
}

pub(crate) fn main(args: &Args) -> Result<()> {
    let pairs = match args.only.as_deref() {
        None => vec![Pair::Snug, Pair::Chromium],
        Some("snug") => vec![Pair::Snug],
        Some("chromium") => vec![Pair::Chromium],
        Some(other) => anyhow::bail!("--only takes snug or chromium, not `{other}`"),
    };
    let programs = std::env::current_exe()?;
    let programs = programs.parent().context("this program stands nowhere")?;
    if !args.no_build {
        build(programs, &pairs)?;
    }
    let plan = Plan {
        runs: args.runs,
        delay: Duration::from_millis(args.delay_ms),
        settle: Duration::from_secs(args.settle),
        sample: Duration::from_secs(args.seconds),
        cost: Duration::from_secs(args.seconds),
        pairs,
        snug: programs.join("snug"),
        server: programs.join("snug-server"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(&plan))?;
    std::fs::write(&args.json, serde_json::to_string_pretty(&report)?)
        .with_context(|| format!("{} cannot be written", args.json.display()))?;
    print!("{}", markdown(&report));
    Ok(())
}

/// Builds what is to be measured, where and as this program was built.
fn build(programs: &Path, pairs: &[Pair]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "-p",
        "server",
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"),
    ]);
    if pairs.contains(&Pair::Snug) {
        cargo.args(["-p", "app"]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let target = programs.parent().context("this program stands nowhere")?;
    let status = cargo.arg("--target-dir").arg(target).status().context("cannot start cargo")?;
    ensure!(status.success(), "the programs to measure do not build");
    Ok(())
}
