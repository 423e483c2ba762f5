//! Whether a queue stands in the path, from how long packets take. Pure.
//!
//! What one packet takes is the path's own delay, jitter and queues together. A low quantile over a tenth of a
//! second (longer where packets jitter: of few, one is lucky, and its luck would make a queue of the others)
//! leaves out most jitter and every queue that drains by itself; the lowest of these in the last
//! twenty seconds is the path without a queue, whatever the clocks. What stands above that is a queue; how
//! much of it is tolerated follows the jitter.

use super::feedback::Outcome;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A quantile is taken over so long, and longer where it spreads by more than so many ms: so many times the rest, ms,
/// up to so much.
const SHORT: Duration = Duration::from_millis(100);
const STEADY: f64 = 12.0;
const LONGER: f64 = 10.0;
const MOST_LONGER: f64 = 300.0;
/// What came in this time shows a queue that has just leapt up, if it is so many packets.
const LATEST: Duration = Duration::from_millis(35);
const LEAP: usize = 3;
/// And it is longer than twice what is tolerated by this, ms.
const LEAPS: f64 = 15.0;
/// Packets of it at most.
const MOST: usize = 256;
/// Packets of it at least.
const ENOUGH: usize = 4;
/// So much is a queue whatever few packets show it, ms.
const SURELY: f64 = 100.0;
/// The floor is the lowest of so many pieces of so long each.
const PIECE: Duration = Duration::from_secs(2);
const PIECES: usize = 10;
/// A queue of this many ms is always tolerated, and this many times the jitter, up to so much.
const TOLERATED: f64 = 18.0;
const JITTERS: f64 = 3.5;
const MOST_JITTER: f64 = 40.0;
/// Jitter is a mean over so many reports, or over all while there are fewer.
const REPORTS: f64 = 16.0;
/// What somebody else's queue can add to that, ms.
const MOST_EXTRA: f64 = 250.0;

/// What is known of the queue after a report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Queue {
    /// How long it takes to get through it, ms.
    pub(super) ms: f64,
    /// How much is tolerated, ms.
    pub(super) tolerated: f64,
    /// More than is tolerated, and not only for a moment.
    pub(super) over: bool,
    /// Spread of the delay within a tenth of a second, ms.
    pub(super) jitter: f64,
}

impl Queue {
    /// Whether there is room for more.
    pub(super) fn is_low(&self) -> bool {
        self.ms < self.tolerated * 0.6
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Delay {
    epoch: Option<Instant>,
    /// When packets of the time that the quantile is taken over came, and what each took, ms (plus the clocks' difference).
    recent: VecDeque<(Duration, f64)>,
    /// When each piece began, and its lowest.
    pieces: VecDeque<(Duration, f64)>,
    jitter: f64,
    /// Reports that it is the mean of.
    reports: f64,
    /// Tolerated because it stands whatever we do.
    extra: f64,
    /// The floor does not follow what stands now.
    held: bool,
    /// Reports in a row with too long a queue.
    overs: u32,
    last: Option<Duration>,
    /// The path without a queue, and more than what is tolerated above it, as of the last report, ms.
    known: Option<(f64, f64)>,
    scratch: Vec<f64>,
}

impl Delay {
    pub(super) fn new() -> Self {
        Self {
            epoch: None,
            recent: VecDeque::new(),
            pieces: VecDeque::new(),
            jitter: 0.0,
            reports: 0.0,
            extra: 0.0,
            held: false,
            overs: 0,
            last: None,
            known: None,
            scratch: Vec::new(),
        }
    }

    /// Takes in what came.
    pub(super) fn on(&mut self, outcome: &Outcome) {
        let Some(arrived) = outcome.arrived else { return };
        let epoch = *self.epoch.get_or_insert(outcome.left.at);
        let left = outcome.left.at.saturating_duration_since(epoch).as_secs_f64() * 1e3;
        let took = arrived.as_secs_f64() * 1e3 - left;
        if self.recent.back().is_some_and(|(_, last)| (took - last).abs() > 60_000.0) {
            // A clock was set.
            *self = Self { epoch: self.epoch, ..Self::new() };
        }
        // overflow: the oldest is left out of the quantile.
        if self.recent.len() == MOST {
            self.recent.pop_front();
        }
        self.recent.push_back((arrived, took));
    }

    /// What stands now is no queue of ours: it is the path's own delay from now on.
    pub(super) fn rebase(&mut self) {
        self.pieces.clear();
        self.overs = 0;
    }

    /// The path has become longer by so many ms.
    pub(super) fn longer(&mut self, ms: f64) {
        let (Some((at, _)), Some((floor, _))) = (self.pieces.back(), self.known) else { return };
        self.pieces = VecDeque::from([(*at, floor + ms)]);
        self.overs = 0;
    }

    /// Whether what stands now is known to be somebody else's queue, and the path's own delay that of before.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// How much is tolerated because somebody else's queue stands, ms.
    pub(super) fn others(&self) -> f64 {
        self.extra
    }

    /// Whether all that came in the last moment took much longer than what came before: that cannot wait.
    pub(super) fn leaps(&self) -> bool {
        let (Some((now, _)), Some((floor, much))) = (self.recent.back(), self.known) else { return false };
        let latest = self.recent.iter().rev().take_while(|(at, _)| now.saturating_sub(*at) <= LATEST);
        let (mut count, mut least) = (0, f64::INFINITY);
        latest.for_each(|(_, took)| (count, least) = (count + 1, took.min(least)));
        count >= LEAP && least - floor > much
    }

    /// To be called once all of a report was taken in. `leaps`: as [`Self::leaps`] has it.
    pub(super) fn queue(&mut self, leaps: bool) -> Queue {
        let Some(now) = self.recent.iter().map(|(at, _)| *at).max() else { return Queue::default() };
        self.sort(now, SHORT);
        let spread = self.quantile(7, 8) - self.quantile(1, 8);
        self.reports = (self.reports + 1.0).min(REPORTS);
        self.jitter += (spread / 2.0 - self.jitter) / self.reports;
        let longer = (LONGER * (self.jitter - STEADY)).clamp(0.0, MOST_LONGER);
        let window = SHORT + Duration::from_secs_f64(longer / 1e3);
        self.recent.retain(|(at, _)| now.saturating_sub(*at) <= window);
        self.sort(now, if leaps { LATEST } else { window });
        let standing = self.quantile(1, 4);
        let floor = self.floor(standing, now);
        if !leaps && self.recent.len() < ENOUGH && standing - floor < SURELY {
            // One packet's luck is no queue.
            return Queue { tolerated: TOLERATED, jitter: self.jitter, ..Queue::default() };
        }
        let passed = self.last.map_or(0.0, |last| now.saturating_sub(last).as_secs_f64()).min(0.5);
        self.last = Some(now);
        let queue = self.judge(standing - floor, passed);
        self.known = Some((floor, 2.0 * queue.tolerated + LEAPS));
        Queue { over: queue.over || leaps, ..queue }
    }

    /// Puts in order what the packets took that came lately.
    fn sort(&mut self, now: Duration, lately: Duration) {
        self.scratch.clear();
        let recent = self.recent.iter().filter(|(at, _)| now.saturating_sub(*at) <= lately);
        self.scratch.extend(recent.map(|(_, took)| *took));
        self.scratch.sort_unstable_by(f64::total_cmp);
    }

    fn quantile(&self, part: usize, of: usize) -> f64 {
        self.scratch[self.scratch.len() * part / of]
    }

    fn floor(&mut self, standing: f64, now: Duration) -> f64 {
        match self.pieces.back_mut() {
            Some((begun, lowest)) if self.held || now.saturating_sub(*begun) < PIECE => {
                *lowest = lowest.min(standing)
            }
            _ => self.pieces.push_back((now, standing)),
        }
        // overflow: what was long ago says nothing of the path now.
        if self.pieces.len() > PIECES {
            self.pieces.pop_front();
        }
        self.pieces.iter().map(|(_, lowest)| *lowest).fold(f64::INFINITY, f64::min)
    }

    fn judge(&mut self, ms: f64, passed: f64) -> Queue {
        let tolerated = TOLERATED + JITTERS * self.jitter.min(MOST_JITTER) + self.extra;
        let above = ms - tolerated;
        self.overs = if above > 0.0 { self.overs + 1 } else { 0 };
        // A queue that stands though we give way is somebody else's: who gave way for ever would starve.
        if above > 0.0 {
            self.extra += above.min(100.0) * 0.25 * passed;
        } else {
            self.extra -= self.extra * 0.3 * passed;
        }
        self.extra = self.extra.clamp(0.0, MOST_EXTRA);
        let over = self.overs >= 2 || ms > 3.0 * tolerated;
        Queue { ms, tolerated, over, jitter: self.jitter }
    }
}
