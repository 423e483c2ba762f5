//! `lab bench`.

use anyhow::{Context, Result, bail, ensure};
use lab::bench::scenario::{Scenario, all};
use lab::bench::{Pair, Plan, Programs, Report, markdown, run, svg};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which networks, by name; else all.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Who calls: `snug`, `chromium` or `mixed`.
    #[arg(long, value_delimiter = ',', value_parser = pair, default_value = "snug,chromium,mixed")]
    pairs: Vec<Pair>,
    /// How often each pair calls; the table has the median and the range.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Stretch each scenario to so many seconds.
    #[arg(long, value_parser = clap::value_parser!(u32).range(4..=600))]
    seconds: Option<u32>,
    /// Where the table, the JSON and the plots go.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// The `snug` to measure; else the one beside this program.
    #[arg(long)]
    snug: Option<PathBuf>,
    /// The `snug-server` to use; else the one beside this program.
    #[arg(long)]
    snug_server: Option<PathBuf>,
}

fn pair(text: &str) -> Result<Pair, String> {
    match text {
        "snug" => Ok(Pair::Snug),
        "chromium" => Ok(Pair::Chromium),
        "mixed" => Ok(Pair::Mixed),
        _ => Err("choose from snug, chromium and mixed".into()),
    }
}

pub(crate) fn main(args: &Args) -> Result<()> {
    let programs = std::env::current_exe()?;
    let beside = programs.parent().context("this program stands nowhere")?;
    let program = |named: &Option<PathBuf>, name| named.clone().unwrap_or_else(|| beside.join(name));
    let plan = Plan {
        scenarios: scenarios(args)?,
        pairs: args.pairs.clone(),
        runs: args.runs,
        programs: Programs {
            snug: program(&args.snug, "snug"),
            server: Some(program(&args.snug_server, "snug-server")),
            lab: Some(std::env::current_exe()?),
        },
        clip_seconds: 40,
        pesq: Some(beside.parent().unwrap_or(beside).join("lab-pesq")),
    };
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(&plan, |report| write(&plan, report, &args.out)))?;
    print!("{}", markdown(&plan.scenarios, &report));
    ensure!(report.failures.is_empty(), "{} calls failed: see above", report.failures.len());
    Ok(())
}

/// What there is so far.
fn write(plan: &Plan, report: &Report, folder: &Path) -> Result<()> {
    std::fs::write(folder.join("bench.json"), serde_json::to_string(report)?)?;
    std::fs::write(folder.join("bench.md"), markdown(&plan.scenarios, report))?;
    for scenario in &plan.scenarios {
        if let Some(picture) = svg(scenario, &report.entries) {
            std::fs::write(folder.join(format!("{}.svg", scenario.name)), picture)?;
        }
    }
    Ok(())
}

fn scenarios(args: &Args) -> Result<Vec<Scenario>> {
    let mut chosen = all();
    if let Some(name) = args.scenarios.iter().find(|name| chosen.iter().all(|one| one.name != **name)) {
        let names: Vec<_> = chosen.iter().map(|one| one.name).collect();
        bail!("there is no scenario {name}: choose from {}", names.join(", "));
    }
    if !args.scenarios.is_empty() {
        chosen.retain(|one| args.scenarios.iter().any(|name| name == one.name));
    }
    let stretched = |one: Scenario| match args.seconds {
        Some(seconds) => one.stretched(f64::from(seconds)),
        None => one,
    };
    Ok(chosen.into_iter().map(stretched).collect())
}
