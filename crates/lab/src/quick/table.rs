//! What the runs gave, as a table for people and as JSON.

use super::{Figures, Pair, Plan};
use crate::delay::percentile;
use serde::Serialize;
use std::fmt::Write;

/// All runs.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Milliseconds between the two, one way.
    pub delay_one_way_ms: u64,
    /// Seconds before, of delay and frame rate, and of cost.
    pub seconds: [f64; 3],
    /// Unix time of the first run's start, seconds.
    pub started: u64,
    /// Each run of each pair.
    pub runs: Vec<(Pair, Figures)>,
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            delay_one_way_ms: plan.delay.as_millis() as u64,
            seconds: [plan.settle, plan.sample, plan.cost].map(|time| time.as_secs_f64()),
            started: crate::ends::unix_us() / 1_000_000,
            runs: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, pair: Pair, figures: Figures) {
        self.runs.push((pair, figures));
    }

    fn values(&self, pair: Pair, value: fn(&Figures) -> f64) -> Vec<f64> {
        self.runs.iter().filter(|(of, _)| *of == pair).map(|(_, figures)| value(figures)).collect()
    }
}

struct Row {
    what: &'static str,
    digits: usize,
    value: fn(&Figures) -> f64,
}

const ROWS: [Row; 7] = [
    Row { what: "join to first frame, ms", digits: 0, value: |f| f.join_ms },
    Row { what: "source to display p50, ms", digits: 0, value: |f| f.delay_p50_ms },
    Row { what: "source to display p95, ms", digits: 0, value: |f| f.delay_p95_ms },
    Row { what: "frames a second", digits: 1, value: |f| f.frames_per_second },
    Row { what: "CPU s/s an end", digits: 2, value: |f| f.cpu },
    Row { what: "PSS an end, MB", digits: 0, value: |f| f.pss_megabytes },
    Row { what: "sent by an end, kb/s", digits: 0, value: |f| f.kilobits_per_second },
];

/// The table in Markdown: medians, with ranges where there were several runs, and Snug's part of Chromium's.
pub fn markdown(report: &Report) -> String {
    let mut text = String::from("| | Snug | Chromium | Snug / Chromium |\n|---|---|---|---|\n");
    for row in ROWS {
        let values = [Pair::Snug, Pair::Chromium].map(|pair| report.values(pair, row.value));
        let [snug, chromium] = values.each_ref().map(|values| cell(values, row.digits));
        let medians = values.each_ref().map(|values| percentile(values, 0.5));
        let ratio = match medians {
            [Some(snug), Some(chromium)] if chromium > 0.0 => format!("{:.2}", snug / chromium),
            _ => "–".into(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {snug} | {chromium} | {ratio} |", row.what);
    }
    text
}

fn cell(values: &[f64], digits: usize) -> String {
    let at = |part| percentile(values, part).map(|value| format!("{value:.digits$}"));
    match (at(0.5), at(0.0), at(1.0)) {
        (Some(median), Some(least), Some(most)) if values.len() > 1 => format!("{median} ({least}–{most})"),
        (Some(median), ..) => median,
        _ => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(join_ms: f64) -> Figures {
        Figures {
            join_ms,
            delay_p50_ms: 60.0,
            delay_p95_ms: 80.0,
            frames_per_second: 30.0,
            cpu: 0.25,
            pss_megabytes: 50.0,
            kilobits_per_second: 1000.0,
            size: (640, 360),
            frames_read: 1200,
            processes: 1,
        }
    }

    #[test]
    fn the_table_has_medians_ranges_and_ratios() {
        let snug = [300.0, 100.0, 200.0].map(|join| (Pair::Snug, figures(join)));
        let runs = snug.into_iter().chain([(Pair::Chromium, figures(400.0))]).collect();
        let report = Report { delay_one_way_ms: 20, seconds: [1.0; 3], started: 0, runs };
        let table = markdown(&report);
        assert!(table.contains("| join to first frame, ms | 200 (100–300) | 400 | 0.50 |"), "{table}");
        assert!(table.contains("| CPU s/s an end | 0.25 (0.25–0.25) | 0.25 | 1.00 |"), "{table}");
    }

    #[test]
    fn what_was_not_measured_is_left_open() {
        let runs = vec![(Pair::Chromium, figures(400.0))];
        let report = Report { delay_one_way_ms: 20, seconds: [1.0; 3], started: 0, runs };
        assert!(markdown(&report).contains("| frames a second | – | 30.0 | – |"));
    }
}
