//! `lab nat`.

use anyhow::{Context, Result, ensure};
use lab::nat::{
    Cell, HandOver, Kind, Old, Programs, Setup, Turn, hand_over, hand_overs_markdown, join_all, markdown,
};
use std::path::{Path, PathBuf};

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
    /// Chromium at the guest's page behind the former (0) or the latter (1) of each pair.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..2))]
    guest: Option<u8>,
    /// One of the two changes to another network in the call, behind the same kind of NAT: `--kind` (port and
    /// symmetric), each one, and each fate of the old network, `--joins` times.
    #[arg(long)]
    hand_over: bool,
    /// Only this fate of the old network.
    #[arg(long, value_enum, requires = "hand_over")]
    old: Option<Old>,
    /// Only where this one (0 or 1) changes its network; the first to come is 0.
    #[arg(long, requires = "hand_over", value_parser = clap::value_parser!(u8).range(0..2))]
    mover: Option<u8>,
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
    if args.hand_over {
        return hand_overs(args, &programs, &runtime);
    }
    let guest = args.guest.map(usize::from);
    let mut cells = Vec::new();
    for setup in Setup::all().into_iter().filter(|setup| wanted(args, *setup)) {
        let cell = Cell::new(setup, guest, runtime.block_on(join_all(setup, args.joins, guest, &programs))?);
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
        write(&args.json, &cells)?;
    }
    print!("{}", markdown(&cells));
    let joins: usize = cells.iter().map(|cell| cell.joins.len()).sum();
    let expected: usize = cells.iter().map(Cell::as_expected).sum();
    ensure!(joins == expected, "{} of {joins} joins failed or went another way", joins - expected);
    Ok(())
}

fn write(path: &Path, what: &impl serde::Serialize) -> Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(what)?)
        .with_context(|| format!("{} cannot be written", path.display()))
}

fn hand_overs(args: &Args, programs: &Programs, runtime: &tokio::runtime::Runtime) -> Result<()> {
    let kinds = if args.kind.is_empty() { &[Kind::Port, Kind::Symmetric][..] } else { &args.kind };
    let mut all = Vec::new();
    for kind in kinds {
        for mover in [0, 1].into_iter().filter(|side| args.mover.is_none_or(|mover| mover == *side)) {
            for old in Old::ALL.into_iter().filter(|old| args.old.is_none_or(|wanted| wanted == *old)) {
                let guest = args.guest.map(usize::from);
                let plan = HandOver { kind: *kind, mover: mover.into(), old, guest };
                for _ in 0..args.joins {
                    let result = runtime.block_on(hand_over(plan, programs));
                    let result = result.map_err(|error| format!("{error:#}"));
                    eprintln!("{plan:?}: {result:?}");
                    all.push((plan, result));
                    write(&args.json, &all)?;
                }
            }
        }
    }
    print!("{}", hand_overs_markdown(&all));
    let failed = all.iter().filter(|(_, result)| result.is_err()).count();
    ensure!(failed == 0, "{failed} calls of {} did not come so far", all.len());
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
