//! `lab nat`.

use anyhow::{Context, Result, ensure};
use lab::nat::{Cell, Kind, Programs, Setup, Turn, join_all, markdown};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each pair joins.
    #[arg(long, default_value_t = 10)]
    joins: u32,
    /// Only pairs that have this kind; twice: only that pair.
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// Only those behind one NAT.
    #[arg(long, conflicts_with = "kind")]
    same: bool,
    /// Whose TURN.
    #[arg(long, value_enum, default_value = "inside")]
    turn: Turn,
    /// Where the JSON goes.
    #[arg(long, default_value = "nat.json")]
    json: PathBuf,
}

/// Takes `snug` and `snug-server` as they stand beside this program.
pub(crate) fn main(args: &Args) -> Result<()> {
    let programs = std::env::current_exe()?;
    let programs = programs.parent().context("this program stands nowhere")?;
    let programs =
        Programs { snug: programs.join("snug"), server: programs.join("snug-server"), turn: args.turn };
    ensure!(
        programs.snug.exists() && programs.server.exists(),
        "build them first: cargo build -p app -p server"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut cells = Vec::new();
    for setup in Setup::all().into_iter().filter(|setup| wanted(args, *setup)) {
        let cell = Cell::new(setup, runtime.block_on(join_all(setup, args.joins, &programs))?);
        for why in cell.joins.iter().filter_map(|join| join.as_ref().err()) {
            eprintln!("{}: {why}", cell.name);
        }
        let failed = cell.joins.iter().filter(|join| join.is_err()).count();
        eprintln!(
            "{}: {} as expected, {failed} failed, of {}",
            cell.name,
            cell.as_expected(),
            cell.joins.len()
        );
        cells.push(cell);
        std::fs::write(&args.json, serde_json::to_string_pretty(&cells)?)
            .with_context(|| format!("{} cannot be written", args.json.display()))?;
    }
    print!("{}", markdown(&cells));
    let joins: usize = cells.iter().map(|cell| cell.joins.len()).sum();
    let expected: usize = cells.iter().map(Cell::as_expected).sum();
    ensure!(joins == expected, "{} of {joins} joins failed or went another way", joins - expected);
    Ok(())
}

fn wanted(args: &Args, setup: Setup) -> bool {
    let apart = matches!(setup, Setup::Apart(..));
    match args.kind.as_slice() {
        [] => !args.same || !apart,
        [one] => apart && setup.kinds().contains(one),
        [one, two, ..] => apart && (setup.kinds() == [*one, *two] || setup.kinds() == [*two, *one]),
    }
}
