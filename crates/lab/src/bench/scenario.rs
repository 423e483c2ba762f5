//! The bench's networks, as data.

use super::figures::Figures;
use crate::link::{Loss, Way};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
/// A packet that would have to wait longer for a thin line is dropped.
const QUEUE: Duration = Duration::from_millis(400);
/// After a change of rate a sender has so long before what it sends is judged.
pub(super) const ADAPTS: Duration = Duration::from_secs(3);

/// What happens beside the link's schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Nothing.
    None,
    /// The second host gets another address after a third of the time.
    Move,
    /// Each host downloads over TCP from the other, from a third of the time on.
    Download,
}

/// A network to call over.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// `N0`.
    pub name: &'static str,
    /// What it does, in words.
    pub title: &'static str,
    /// What the link does, in both directions, one after another; with their seconds. Measuring begins with the
    /// first, whose conditions hold for a while before it too.
    pub steps: Vec<(f64, Way)>,
    /// What else happens.
    pub happening: Happening,
    /// What must hold of each direction, whatever others do.
    pub floors: Vec<Floor>,
}

/// A bound that a figure must keep.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// `frozen, %`.
    pub what: &'static str,
    /// Digits after the point.
    pub digits: usize,
    /// The figure; `None` where it was not to be had, which keeps no bound.
    pub value: fn(&Figures) -> Option<f64>,
    /// The bound.
    pub bound: Bound,
}

/// On which side of a number a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Bound {
    /// Whether a figure keeps it.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(out, "<= {most}"),
            Self::AtLeast(least) => write!(out, ">= {least}"),
        }
    }
}

impl Scenario {
    /// How long is measured.
    pub fn lasts(&self) -> Duration {
        Duration::from_secs_f64(self.steps.iter().map(|(seconds, _)| seconds).sum())
    }

    /// The same, longer or shorter in all its parts.
    pub fn stretched(mut self, seconds: f64) -> Self {
        let factor = seconds / self.lasts().as_secs_f64();
        for step in &mut self.steps {
            step.0 *= factor;
        }
        self
    }

    /// The changes of rate: after how many seconds, and bits a second from then on.
    pub fn rates(&self) -> Vec<(f64, Option<u64>)> {
        let mut at = 0.0;
        let rate = |(seconds, way): &(f64, Way)| {
            let start = at;
            at += seconds;
            (start, way.rate)
        };
        self.steps.iter().map(rate).collect()
    }
}

/// What most scenarios have in common: 10 ms one way.
fn near() -> Way {
    Way::delay(10 * MS)
}

fn line(kilobits: u64) -> Way {
    Way { rate: Some(kilobits * 1000), queue: QUEUE, ..near() }
}

fn random(share: f64) -> Way {
    Way { loss: Loss::Random(share), ..near() }
}

fn bursts(share: f64) -> Way {
    Way { loss: Loss::Bursts { share, length: 4.0 }, ..near() }
}

/// Mean delay plus or minus a spread; packets keep their order.
fn far(mean: Duration, spread: Duration) -> Way {
    Way { delay: mean - spread, jitter: 2 * spread, ..Way::default() }
}

fn at_most(what: &'static str, digits: usize, value: fn(&Figures) -> Option<f64>, most: f64) -> Floor {
    Floor { what, digits, value, bound: Bound::AtMost(most) }
}

fn at_least(what: &'static str, digits: usize, value: fn(&Figures) -> Option<f64>, least: f64) -> Floor {
    Floor { what, digits, value, bound: Bound::AtLeast(least) }
}

fn frozen(most: f64) -> Floor {
    at_most("frozen, %", 2, |f| Some(f.frozen_percent()), most)
}

fn concealed(most: f64) -> Floor {
    at_most("concealed, %", 2, |f| f.sound.concealed_percent, most)
}

fn no_long_freeze() -> Floor {
    at_most("longest freeze, ms", 0, |f| Some(f.picture.freezes.longest_ms), 1000.0)
}

fn steady(name: &'static str, title: &'static str, way: Way, floors: Vec<Floor>) -> Scenario {
    Scenario { name, title, steps: vec![(30.0, way)], happening: Happening::None, floors }
}

/// Every scenario, in order.
pub fn all() -> Vec<Scenario> {
    let mut all = losses();
    all.extend(far_ones());
    all.extend(changing());
    all.extend(outages());
    let moves = steady("N12", "own address changes", near(), Vec::new());
    let download = steady("tcp", "TCP download, 2 Mb/s", line(2000), Vec::new());
    all.push(Scenario { happening: Happening::Move, ..moves });
    all.push(Scenario { happening: Happening::Download, ..download });
    all
}

fn losses() -> Vec<Scenario> {
    let clean = vec![
        at_most("freezes", 0, |f| Some(f64::from(f.picture.freezes.count)), 0.0),
        concealed(0.1),
        at_least("frames a second", 1, |f| Some(f.picture.frames_per_second), 29.0),
    ];
    let floors = |freeze: f64, sound: f64| vec![frozen(freeze), concealed(sound)];
    vec![
        steady("N0", "clean, 10 ms", near(), clean),
        steady("N1", "random loss 5 %", random(0.05), floors(1.0, 1.0)),
        steady("N2", "random loss 10 %", random(0.1), floors(3.0, 2.0)),
        steady("N3", "random loss 20 %", random(0.2), floors(8.0, 6.0)),
        steady("N4", "bursts, 10 %, mean 4 packets", bursts(0.1), vec![no_long_freeze()]),
    ]
}

fn far_ones() -> Vec<Scenario> {
    let bad = Way { loss: Loss::Random(0.05), ..far(100 * MS, 25 * MS) };
    let worse = Way {
        duplicate: 0.02,
        reorder: 0.05,
        held: 50 * MS,
        rate: Some(300_000),
        queue: QUEUE,
        ..far(250 * MS, 100 * MS)
    };
    vec![
        steady("N5", "100 ms +-25, loss 5 %", bad, vec![no_long_freeze()]),
        steady("N6", "250 ms +-100, 2 % twice, 5 % reordered, 300 kb/s", worse, Vec::new()),
    ]
}

fn changing() -> Vec<Scenario> {
    let scenario =
        |name, title, steps, floors| Scenario { name, title, steps, happening: Happening::None, floors };
    let thirds = vec![(10.0, near()), (10.0, bursts(0.3)), (10.0, near())];
    let stairs = [2000, 500, 250, 125, 50].map(|rate| (9.0, line(rate))).to_vec();
    let dip = vec![(12.0, line(2500)), (12.0, line(500)), (18.0, line(2500))];
    let shuffled = Way { reorder: 0.05, held: 30 * MS, duplicate: 0.02, ..near() };
    let pli = at_most("PLI a second", 2, |f| f.net.pli_a_second, 1.0);
    vec![
        scenario("N7", "10 s good, 10 s of 30 % bursts, 10 s good", thirds, Vec::new()),
        scenario("N8", "2000, 500, 250, 125, 50 kb/s", stairs, thin_line()),
        scenario("N9", "2.5 > 0.5 > 2.5 Mb/s", dip, step_and_back()),
        steady("N10", "5 % reordered, 2 % twice", shuffled, vec![pli]),
    ]
}

fn thin_line() -> Vec<Floor> {
    vec![
        at_least("least used of the line, %", 0, |f| f.net.least_used_percent(), 70.0),
        at_most("most used of the line, %", 0, |f| f.net.most_used_percent(), 105.0),
        at_most("queue p95, ms", 0, |f| f.net.queue_p95_ms, 200.0),
        at_most("concealed in the worst step, %", 2, |f| f.sound.worst_step_percent, 2.0),
    ]
}

fn step_and_back() -> Vec<Floor> {
    vec![
        at_most("down after, s", 1, |f| f.net.down_s, 2.0),
        at_most("back to 80 % after, s", 1, |f| f.net.back_s, 15.0),
    ]
}

fn outages() -> Vec<Scenario> {
    let back_soon = || {
        vec![
            at_most("picture back after, s", 1, |f| f.picture.back_s, 1.0),
            at_most("concealed from 1 s after, %", 2, |f| f.sound.mended_percent, 5.0),
        ]
    };
    let outage = |name, title, out: f64, after: f64, floors| Scenario {
        name,
        title,
        steps: vec![(8.0, near()), (out, Way { outage: true, ..near() }), (after, near())],
        happening: Happening::None,
        floors,
    };
    vec![
        outage("N11a", "outage of 0.5 s", 0.5, 21.5, back_soon()),
        outage("N11b", "outage of 3 s", 3.0, 19.0, back_soon()),
        outage("N11c", "outage of 10 s", 10.0, 17.0, back_soon()),
        outage("N11d", "outage of 40 s", 40.0, 20.0, Vec::new()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_of_its_own_and_lasts_as_long_as_asked() {
        let all = all();
        let mut names: Vec<_> = all.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), 17);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 17);
        for scenario in all {
            let seconds = scenario.lasts().as_secs_f64();
            assert!((30.0..=45.0).contains(&seconds) || scenario.name == "N11d", "{}", scenario.name);
            assert!((scenario.stretched(12.0).lasts().as_secs_f64() - 12.0).abs() < 0.001);
        }
    }

    #[test]
    fn a_bound_holds_on_its_side() {
        assert!(Bound::AtMost(1.0).holds(1.0) && !Bound::AtMost(1.0).holds(1.1));
        assert!(Bound::AtLeast(29.0).holds(30.0) && !Bound::AtLeast(29.0).holds(28.9));
        assert!(!Bound::AtMost(1.0).holds(f64::NAN) && !Bound::AtLeast(1.0).holds(f64::NAN));
    }

    #[test]
    fn rates_have_their_times() {
        let scenarios = all();
        let dip = scenarios.iter().find(|scenario| scenario.name == "N9").unwrap();
        assert_eq!(dip.rates(), [(0.0, Some(2_500_000)), (12.0, Some(500_000)), (24.0, Some(2_500_000))]);
    }
}
