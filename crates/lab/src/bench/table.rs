//! The bench's table in Markdown: medians and ranges, floors and aims, met or missed.

use super::figures::Figures;
use super::scenario::{Floor, Scenario};
use super::{Entry, Failure, Kind, Pair, Report};
use crate::delay::{median, percentile};
use std::fmt::Write;

/// A figure of the table.
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) digits: usize,
    pub(super) value: fn(&Figures) -> Option<f64>,
    pub(super) aim: Aim,
}

/// How Snug's median must stand to Chromium's in the same run.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Aim {
    /// Told only.
    None,
    /// At most so much of it.
    AtMost(f64),
    /// No less than it.
    NoLess,
}

impl Aim {
    pub(super) fn holds(self, snug: f64, chromium: f64) -> Option<bool> {
        match self {
            Self::None => None,
            Self::AtMost(part) => Some(snug <= part * chromium),
            Self::NoLess => Some(snug >= chromium),
        }
    }
}

pub(super) const ROWS: [Row; 23] = [
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
    row("lips and voice apart p95, ms", 0, |f| f.picture.lips_p95_ms, Aim::None),
    row("concealed from 1 s after the link is back, %", 2, |f| f.sound.mended_percent, Aim::None),
    row("sent, kb/s", 0, |f| Some(f.net.sent_kbps), Aim::None),
    row("least used of the line in a step, %", 0, |f| f.net.least_used_percent(), Aim::None),
    row("most used of the line in a step, %", 0, |f| f.net.most_used_percent(), Aim::None),
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

pub(super) const COLUMNS: [(Kind, Kind); 4] = [
    (Kind::Snug, Kind::Snug),
    (Kind::Chromium, Kind::Chromium),
    (Kind::Snug, Kind::Chromium),
    (Kind::Chromium, Kind::Snug),
];

/// A summary, and a table for each scenario that was run. In brackets the least and the most, where there were several runs
/// or directions. Snug's column is marked where the aim against Chromium is met or missed; the
/// absolute floors stand below.
pub fn markdown(scenarios: &[Scenario], report: &Report) -> String {
    let mut text = String::new();
    let entries = &report.entries;
    if let Some(why) = &report.no_pesq {
        let _ = writeln!(text, "No PESQ: {why}.\n");
    }
    text += &super::summary::table(scenarios, report);
    for scenario in scenarios {
        // Writing to a String cannot fail.
        let of_it: Vec<&Entry> = entries.iter().filter(|entry| entry.scenario == scenario.name).collect();
        let failed: Vec<&Failure> =
            report.failures.iter().filter(|one| one.scenario == scenario.name).collect();
        if of_it.is_empty() && failed.is_empty() {
            continue;
        }
        let _ = writeln!(text, "### {}: {}\n", scenario.name, scenario.title);
        table(&mut text, &of_it);
        floors(&mut text, scenario, &of_it, failed.iter().any(|one| one.pair == Pair::Snug));
        for Failure { pair, run, why, .. } in failed {
            let _ = writeln!(text, "- **failed**: {pair:?}, run {}: {why}", run + 1);
        }
        text.push('\n');
    }
    text
}

pub(super) fn values(
    entries: &[&Entry],
    column: (Kind, Kind),
    value: fn(&Figures) -> Option<f64>,
) -> Vec<f64> {
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

/// Whether the median of Snug to Snug keeps a floor; one of which a call had no figure is not kept.
pub(super) fn held(floor: &Floor, entries: &[&Entry], failed: bool) -> bool {
    let ours = entries.iter().filter(|entry| (entry.from, entry.to) == COLUMNS[0]).count();
    let figures = values(entries, COLUMNS[0], floor.value);
    figures.len() == ours && !failed && median(&figures).is_some_and(|median| floor.bound.holds(median))
}

fn floors(text: &mut String, scenario: &Scenario, entries: &[&Entry], failed: bool) {
    if entries.iter().all(|entry| (entry.from, entry.to) != COLUMNS[0]) {
        return;
    }
    for floor in &scenario.floors {
        let (what, bound) = (floor.what, floor.bound);
        let figures = cell(&values(entries, COLUMNS[0], floor.value), floor.digits);
        let _ = writeln!(text, "- floor, {what} {bound}: {figures} – {}", told(held(floor, entries, failed)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Picture, Series};
    use super::super::scenario;
    use super::*;

    fn entry(from: Kind, delay: f64, frames_per_second: f64) -> Entry {
        let picture = Picture { delay_p50_ms: Some(delay), frames_per_second, ..Picture::default() };
        let figures = Figures { seconds: 30.0, picture, ..Figures::default() };
        Entry { scenario: "N0", from, to: from, run: 0, figures, series: Series::default() }
    }

    fn told_of(entries: Vec<Entry>) -> String {
        let scenarios = scenario::all();
        let no_pesq = Some("no compiler".into());
        markdown(&scenarios[..1], &Report { entries, failures: Vec::new(), no_pesq })
    }

    #[test]
    fn medians_and_ranges_stand_beside_each_other_and_aims_are_judged() {
        let snug = [20.0, 60.0, 30.0].map(|delay| entry(Kind::Snug, delay, 30.0));
        let text = told_of(snug.into_iter().chain([entry(Kind::Chromium, 50.0, 20.0)]).collect());
        assert!(text.contains("| | Snug → Snug | Chromium → Chromium | aim |"), "{text}");
        assert!(text.contains("| delay p50, ms | 30 (20–60) | 50 | met |"), "{text}");
        assert!(text.contains("| N0 clean, 10 ms | 0.00 / 0.00 | 30 / 50 |"), "{text}");
        assert!(text.contains("| frozen, % | 0.00 (0.00–0.00) | 0.00 | met |"), "{text}");
        assert!(!text.contains("\n| PESQ |") && text.contains("No PESQ: no compiler."), "{text}");
        let slow = told_of(vec![entry(Kind::Snug, 40.0, 30.0), entry(Kind::Chromium, 50.0, 30.0)]);
        assert!(slow.contains("| delay p50, ms | 40 | 50 | **missed** |"), "{slow}");
        assert!(slow.contains("| N0 clean, 10 ms | 0.00 / 0.00 | **40** / 50 |"), "{slow}");
    }

    #[test]
    fn floors_are_kept_by_figures_that_are_there() {
        let text = told_of(vec![entry(Kind::Snug, 20.0, 30.0), entry(Kind::Chromium, 20.0, 10.0)]);
        assert!(text.contains("- floor, frames a second >= 29: 30.0 – met"), "{text}");
        assert!(text.contains("- floor, freezes <= 0: 0 – met"), "{text}");
        assert!(text.contains("- floor, concealed, % <= 0.1: – – **missed**"), "not measured: {text}");
        let slow = told_of(vec![entry(Kind::Snug, 20.0, 28.0)]);
        assert!(slow.contains("- floor, frames a second >= 29: 28.0 – **missed**"), "{slow}");
        assert!(!told_of(vec![entry(Kind::Chromium, 20.0, 10.0)]).contains("- floor"), "floors are Snug's");
    }

    #[test]
    fn a_call_that_failed_is_told_and_keeps_no_floor() {
        let failure = Failure { scenario: "N0", pair: Pair::Snug, run: 1, why: "snug ended".into() };
        let entries = vec![entry(Kind::Snug, 20.0, 30.0)];
        let text = markdown(&scenario::all(), &Report { entries, failures: vec![failure], no_pesq: None });
        assert!(text.contains("- floor, freezes <= 0: 0 – **missed**"), "{text}");
        assert!(text.contains("- **failed**: Snug, run 2: snug ended"), "{text}");
        assert!(text.contains("| N0 clean, 10 ms | 0.00 |") && text.contains("| 0 of 3 |"), "{text}");
        assert!(!text.contains("N1"), "what was not run is not there: {text}");
    }
}
