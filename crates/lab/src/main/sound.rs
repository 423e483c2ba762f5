//! `lab sound`.

use anyhow::{Context, Result};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the JSON goes.
    #[arg(long, default_value = "target/sound.json")]
    json: PathBuf,
}

pub(crate) fn main(args: &Args) -> Result<()> {
    let program = std::env::current_exe()?;
    let beside = program.parent().context("this program stands nowhere")?;
    let report = lab::sound::run(&beside.parent().unwrap_or(beside).join("lab-pesq"))?;
    std::fs::write(&args.json, serde_json::to_string_pretty(&report)?)
        .with_context(|| format!("{} cannot be written", args.json.display()))?;
    print!("{}", lab::sound::markdown(&report));
    Ok(())
}
