//! The bench's table in Markdown: medians and ranges, floors and aims, met or missed.

use super::figures::Figures;
use super::scenario::Scenario;
use super::{Entry, Kind, Report};
use crate::delay::{median, percentile};
use std::fmt::Write;

/// A figure of the table.
struct Row {
    what: &'static str,
    digits: usize,
    value: fn(&Figures) -> Option<f64>,
    aim: Aim,
}

/// How Snug's median must stand to Chromium's in the same run.
#[derive(Clone, Copy, PartialEq)]
enum Aim {
    /// Told only.
    None,
    /// At most so much of it.
    AtMost(f64),
    /// No less than it.
    NoLess,
}

impl Aim {
    fn holds(self, snug: f64, chromium: f64) -> Option<bool> {
        match self {
            Self::None => None,
            Self::AtMost(part) => Some(snug <= part * chromium),
            Self::NoLess => Some(snug >= chromium),
        }
    }
}

const ROWS: [Row; 19] = [
    row("frames a second", 1, |f| Some(f.picture.frames_per_second), Aim::None),
    row("freezes", 1, |f| Some(f64::from(f.picture.freezes.count)), Aim::None),
    row("frozen, %", 2, |f| Some(f.frozen_percent()), Aim::AtMost(1.0)),
    row("longest freeze, ms", 0, |f| Some(f.picture.freezes.longest_ms), Aim::None),
    row("delay p50, ms", 0, |f| f.picture.delay_p50_ms, Aim::AtMost(0.7)),
    row("delay p95, ms", 0, |f| f.picture.delay_p95_ms, Aim::None),
    row("SSIM", 3, |f| f.picture.ssim, Aim::NoLess),
    row("PSNR, dB", 1, |f| f.picture.psnr, Aim::None),
    row("PESQ", 2, |f| f.sound.pesq, Aim::NoLess),
    row("concealed, %", 2, |f| f.sound.concealed_percent, Aim::None),
    row("sent, kb/s", 0, |f| Some(f.net.sent_kbps), Aim::None),
    row("queue p95, ms", 0, |f| f.net.queue_p95_ms, Aim::None),
    row("the download got, kb/s", 0, |f| f.net.download_kbps, Aim::None),
    row("PLI a second", 2, |f| f.net.pli_a_second, Aim::None),
    row("down to the line after, s", 1, |f| f.net.down_s, Aim::None),
    row("back to 80 % after, s", 1, |f| f.net.back_s, Aim::AtMost(0.5)),
    row("picture back after, s", 1, |f| f.picture.back_s, Aim::None),
    row("CPU of the sending end, s/s", 2, |f| Some(f.cost.cpu), Aim::None),
    row("PSS of the sending end, MB", 0, |f| Some(f.cost.pss_megabytes), Aim::None),
];

const fn row(what: &'static str, digits: usize, value: fn(&Figures) -> Option<f64>, aim: Aim) -> Row {
    Row { what, digits, value, aim }
}

const COLUMNS: [(Kind, Kind); 4] = [
    (Kind::Snug, Kind::Snug),
    (Kind::Chromium, Kind::Chromium),
    (Kind::Snug, Kind::Chromium),
    (Kind::Chromium, Kind::Snug),
];

/// A table for each scenario that was run. In brackets the least and the most, where there were several runs
/// or directions. Snug's column is marked where the aim against Chromium is met or missed; the
/// absolute floors stand below.
pub fn markdown(scenarios: &[Scenario], report: &Report) -> String {
    let mut text = String::new();
    let entries = &report.entries;
    if let Some(why) = &report.no_pesq {
        let _ = writeln!(text, "No PESQ: {why}.\n");
    }
    for scenario in scenarios {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "### {}: {}\n", scenario.name, scenario.title);
        let of_it: Vec<&Entry> = entries.iter().filter(|entry| entry.scenario == scenario.name).collect();
        table(&mut text, &of_it);
        floors(&mut text, scenario, &of_it);
    }
    text
}

fn values(entries: &[&Entry], column: (Kind, Kind), value: fn(&Figures) -> Option<f64>) -> Vec<f64> {
    let of_it = entries.iter().filter(|entry| (entry.from, entry.to) == column);
    of_it.filter_map(|entry| value(&entry.figures)).collect()
}

fn table(text: &mut String, entries: &[&Entry]) {
    let there = |column: &(Kind, Kind)| entries.iter().any(|entry| (entry.from, entry.to) == *column);
    let columns: Vec<_> = COLUMNS.into_iter().filter(there).collect();
    let names: Vec<String> = columns.iter().map(|(from, to)| format!("{from:?} → {to:?}")).collect();
    let _ = writeln!(text, "| | {} | aim |\n|---|{}---|", names.join(" | "), "---|".repeat(columns.len()));
    for Row { what, digits, value, aim } in ROWS {
        let cells: Vec<Vec<f64>> = columns.iter().map(|column| values(entries, *column, value)).collect();
        if cells.iter().all(Vec::is_empty) {
            continue;
        }
        let medians = [COLUMNS[0], COLUMNS[1]].map(|column| median(&values(entries, column, value)));
        let verdict = match medians {
            [Some(snug), Some(chromium)] => aim.holds(snug, chromium).map_or("", told),
            _ => "",
        };
        let cells: Vec<String> = cells.iter().map(|values| cell(values, digits)).collect();
        let _ = writeln!(text, "| {what} | {} | {verdict} |", cells.join(" | "));
    }
    text.push('\n');
}

fn told(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

fn cell(values: &[f64], digits: usize) -> String {
    let at = |part| percentile(values, part).map(|value| format!("{value:.digits$}"));
    let middle = median(values).map(|value| format!("{value:.digits$}"));
    match (middle, at(0.0), at(1.0)) {
        (Some(middle), Some(least), Some(most)) if values.len() > 1 => format!("{middle} ({least}–{most})"),
        (Some(middle), ..) => middle,
        _ => "–".into(),
    }
}

/// Whether the median of Snug to Snug keeps each floor; one of which a run had no figure is not kept.
fn floors(text: &mut String, scenario: &Scenario, entries: &[&Entry]) {
    for floor in &scenario.floors {
        let ours: Vec<_> = entries.iter().filter(|entry| (entry.from, entry.to) == COLUMNS[0]).collect();
        let figures = values(entries, COLUMNS[0], floor.value);
        if ours.is_empty() {
            continue;
        }
        let held = median(&figures).is_some_and(|median| floor.bound.holds(median));
        let digits = floor.digits;
        let _ = writeln!(
            text,
            "- floor, {} {}: {} – {}",
            floor.what,
            floor.bound,
            cell(&figures, digits),
            told(held && figures.len() == ours.len())
        );
    }
    text.push('\n');
}
