//! The matrix as a table.

use super::{Joined, Setup, Way};
use crate::delay::percentile;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;

/// A pair's joins.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Which pair.
    pub name: String,
    /// Whether Chromium is at one end.
    pub guest: bool,
    /// The best way that there is.
    pub expected: Way,
    /// Each join, or why it failed.
    pub joins: Vec<Result<Joined, String>>,
}

impl Cell {
    /// What came of a setup with Chromium at that side, if any.
    pub fn new(setup: Setup, guest: Option<usize>, joins: Vec<Result<Joined, String>>) -> Self {
        let whose = ["guest behind the former", "guest behind the latter"];
        let name = match guest {
            Some(side) => format!("{} ({})", setup.name(), whose[side]),
            None => setup.name(),
        };
        Self { name, guest: guest.is_some(), expected: setup.expected(), joins }
    }

    /// How many came up by the best way.
    pub fn as_expected(&self) -> usize {
        self.good().filter(|joined| joined.way == self.expected).count()
    }

    fn good(&self) -> impl Iterator<Item = &Joined> {
        self.joins.iter().flatten()
    }
}

/// One row for each pair; times in milliseconds, median and 95th percentile.
pub fn markdown(cells: &[Cell]) -> String {
    let mut text = String::from(
        "| pair | connected | best way | taken | candidates | connected, ms (median, p95) | sound, ms |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for cell in cells {
        let all = cell.joins.len();
        // With a guest, what both saw: it comes first every other time.
        let seen = |joined: &Joined| match cell.guest {
            true => format!("{} / {}", joined.pair.join("-"), joined.seen.join("-")),
            false => joined.pair.join("-"),
        };
        let pairs: BTreeSet<String> = cell.good().map(seen).collect();
        let pairs: Vec<String> = pairs.into_iter().collect();
        let times = |value: fn(&Joined) -> f64| {
            let times: Vec<f64> = cell.good().map(value).collect();
            let at = |share| percentile(&times, share).map_or("-".into(), |ms| format!("{ms:.0}"));
            format!("{}, {}", at(0.5), at(0.95))
        };
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {}/{all} | {} | {}/{all} | {} | {} | {} |",
            cell.name,
            cell.good().count(),
            if cell.expected == Way::Direct { "direct" } else { "relay" },
            cell.as_expected(),
            pairs.join(", "),
            times(|joined| joined.connected_ms),
            times(|joined| joined.sound_ms),
        );
    }
    text
}
