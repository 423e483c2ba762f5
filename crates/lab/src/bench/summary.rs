//! The bench on one page: each scenario a line, Snug's median beside Chromium's.

use super::scenario::Scenario;
use super::table::{Aim, COLUMNS, ROWS, Row, held, values};
use super::{Entry, Pair, Report};
use crate::delay::median;
use std::fmt::Write;

/// A line for each scenario that was run: Snug to Snug / Chromium to Chromium for each figure that has an aim,
/// Snug's in bold where it is missed; and how many of the floors hold.
pub(super) fn table(scenarios: &[Scenario], report: &Report) -> String {
    let rows: Vec<Row> = ROWS.into_iter().filter(|row| row.aim != Aim::None).collect();
    let names: Vec<&str> = rows.iter().map(|row| row.what).collect();
    // Writing to a String cannot fail.
    let mut text = String::new();
    let _ = writeln!(text, "| Snug / Chromium | {} | floors |", names.join(" | "));
    let _ = writeln!(text, "|---|{}---|", "---|".repeat(rows.len()));
    for scenario in scenarios {
        let entries: Vec<&Entry> =
            report.entries.iter().filter(|entry| entry.scenario == scenario.name).collect();
        let failed = report.failures.iter().filter(|one| one.scenario == scenario.name);
        if entries.is_empty() && failed.clone().next().is_none() {
            continue;
        }
        let cells: Vec<String> = rows.iter().map(|row| cell(row, &entries)).collect();
        let failed = failed.clone().any(|one| one.pair == Pair::Snug);
        let floors = floors(scenario, &entries, failed);
        let _ = writeln!(text, "| {} {} | {} | {floors} |", scenario.name, scenario.title, cells.join(" | "));
    }
    text.push('\n');
    text
}

fn cell(row: &Row, entries: &[&Entry]) -> String {
    let Row { digits, value, aim, .. } = *row;
    let told = |value: f64| format!("{value:.digits$}");
    match [COLUMNS[0], COLUMNS[1]].map(|column| median(&values(entries, column, value))) {
        [Some(snug), Some(chromium)] if aim.holds(snug, chromium) == Some(false) => {
            format!("**{}** / {}", told(snug), told(chromium))
        }
        [Some(snug), Some(chromium)] => format!("{} / {}", told(snug), told(chromium)),
        [Some(snug), None] => told(snug),
        [None, Some(chromium)] => format!("– / {}", told(chromium)),
        [None, None] => String::new(),
    }
}

fn floors(scenario: &Scenario, entries: &[&Entry], failed: bool) -> String {
    let ours = entries.iter().any(|entry| (entry.from, entry.to) == COLUMNS[0]);
    if scenario.floors.is_empty() || !(ours || failed) {
        return String::new();
    }
    let held = scenario.floors.iter().filter(|floor| held(floor, entries, failed)).count();
    format!("{held} of {}", scenario.floors.len())
}
