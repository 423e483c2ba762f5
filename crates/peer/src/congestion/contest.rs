//! Whether a queue that stands is somebody else's, and how to get on beside it. Pure.
//!
//! A queue of ours goes when we send less than the link carries, and how soon can be told. One that stands though it
//! should be gone twice over is somebody else's: a download fills whatever there is. Who gave way to it for ever would
//! starve, so from then on loss alone says what is too much, until the queue is gone or was none: others' queues come
//! and go, and what stays as it is is a path that has become longer.

use super::acked::Acked;
use super::feedback::Outcome;
use std::time::{Duration, Instant};

/// Ours should have gone so many times, and so long besides (ms), before it is somebody else's.
const TWICE: f64 = 2.0;
const AND: f64 = 300.0;
/// One that has become shorter than this part of what it was goes.
const GOES: f64 = 0.35;
/// On a thinner line there is nothing to contend for, bits a second.
const WORTH: f64 = 200_000.0;
/// We begin with this share of what came through.
const FAIR: f64 = 0.5;
/// And grow by this share a second, or shrink by that when more is lost than this beyond the link's own share; not
/// again before so long.
const GROWS: f64 = 0.1;
const SHRINKS: f64 = 0.85;
const LOST: f64 = 0.05;
const AGAIN: Duration = Duration::from_millis(1500);
/// Loss is judged over so long.
const PIECE: Duration = Duration::from_millis(400);
/// A queue this short, ms, for so long is gone.
const GONE: f64 = 40.0;
const FOR: Duration = Duration::from_millis(400);
/// What still stands then is the path's own way.
const AT_MOST: Duration = Duration::from_secs(40);
/// So is, sooner, what stays below this many times its shortest and so much more (ms) for so long.
const STEADY: f64 = 1.25;
const STEADY_MS: f64 = 15.0;
const STEADY_FOR: Duration = Duration::from_secs(4);
/// A longer one may stand because the link has no room for more of it, ms.
pub(super) const NOT_FULL: f64 = 160.0;

/// What a contest says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Says {
    /// By what the rate changes.
    Change(f64),
    /// The queue is gone, or nobody's.
    Gone,
    /// No queue it was: the path has become longer.
    Longer,
}

/// A queue that is watched since it made us give way.
#[derive(Clone, Copy, Debug)]
struct Watched {
    /// The longest that it was, ms.
    longest: f64,
    /// The most that came through, bits a second.
    carried: f64,
    /// By how much it should have become shorter, ms.
    owed: f64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    since: Instant,
    /// What the link loses by itself.
    own: f64,
    low: Option<Instant>,
    /// Since when the queue is steady, and the shortest and the longest that it was since, ms.
    steady: (Instant, f64, f64),
    shrunk: Instant,
    lost: u32,
    total: u32,
    judged: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Contest {
    /// What left, as if it had arrived.
    left: Acked,
    epoch: Option<Instant>,
    watched: Option<Watched>,
    held: Option<Held>,
}

impl Contest {
    /// Whether it is on.
    pub(super) fn is_on(&self) -> bool {
        self.held.is_some()
    }

    /// Takes in what became of a packet.
    pub(super) fn on(&mut self, outcome: &Outcome) {
        let epoch = *self.epoch.get_or_insert(outcome.left.at);
        self.left.on(outcome.left.at.saturating_duration_since(epoch), outcome.left.bytes);
        if let Some(held) = &mut self.held {
            held.total += 1;
            held.lost += u32::from(outcome.arrived.is_none());
        }
    }

    /// The queue made us give way, for `since`. Says with how much to begin when it is not ours.
    /// `carried`: what came through, bits a second; `own`: the share that the link loses by itself.
    pub(super) fn watch(
        &mut self,
        queue: f64,
        carried: f64,
        own: f64,
        since: Duration,
        now: Instant,
    ) -> Option<f64> {
        let watched = self.watched.get_or_insert(Watched { longest: queue, carried, owed: 0.0 });
        watched.longest = watched.longest.max(queue);
        watched.carried = watched.carried.max(carried);
        if queue < GOES * watched.longest {
            self.watched = None;
            return None;
        }
        let sent = self.left.rate()?;
        watched.owed += (1.0 - sent / watched.carried).max(0.0) * since.as_secs_f64() * 1e3;
        if watched.owed < TWICE * watched.longest + AND || watched.carried < WORTH {
            return None;
        }
        let begin = FAIR * watched.carried;
        self.watched = None;
        let steady = (now, queue, queue);
        let held = Held { since: now, own, low: None, steady, shrunk: now, lost: 0, total: 0, judged: now };
        self.held = Some(held);
        Some(begin)
    }

    /// No queue makes us give way.
    pub(super) fn rest(&mut self) {
        self.watched = None;
    }

    /// What to do after a report that came `since` after the one before.
    pub(super) fn contend(&mut self, queue: f64, since: Duration, now: Instant) -> Says {
        let Some(held) = self.held.as_mut() else { return Says::Gone };
        held.low = if queue < GONE { held.low.or(Some(now)) } else { None };
        let gone = held.low.is_some_and(|low| now.saturating_duration_since(low) > FOR);
        if gone || now.saturating_duration_since(held.since) > AT_MOST {
            self.held = None;
            return Says::Gone;
        }
        if held.stays(queue, now) {
            self.held = None;
            return Says::Longer;
        }
        let mut factor = 1.0 + GROWS * since.as_secs_f64();
        if now.saturating_duration_since(held.judged) >= PIECE && held.total > 0 {
            let share = f64::from(held.lost) / f64::from(held.total);
            (held.lost, held.total, held.judged) = (0, 0, now);
            if share > held.own + LOST && now.saturating_duration_since(held.shrunk) > AGAIN {
                held.shrunk = now;
                factor = SHRINKS;
            }
        }
        Says::Change(factor)
    }
}

impl Held {
    /// Takes in how long the queue is, ms, and says whether it stays as it is for too long to be somebody's.
    fn stays(&mut self, queue: f64, now: Instant) -> bool {
        let (since, shortest, longest) = self.steady;
        let (shortest, longest) = (shortest.min(queue), longest.max(queue));
        let steady = longest < STEADY * shortest + STEADY_MS;
        self.steady = if steady { (since, shortest, longest) } else { (now, queue, queue) };
        steady && longest < NOT_FULL && now.saturating_duration_since(since) > STEADY_FOR
    }
}
