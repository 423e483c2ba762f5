//! Whether a queue that stands is somebody else's, and how to get on beside it. Pure.
//!
//! A queue of ours goes when we send less than the link carries, and how soon can be told. One that stands though it
//! should be gone twice over is somebody else's: a download fills whatever there is. Who gave way to it for ever would
//! starve, so from then on loss alone says what is too much, until the queue is gone.

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
        let held = Held { since: now, own, low: None, shrunk: now, lost: 0, total: 0, judged: now };
        self.held = Some(held);
        Some(begin)
    }

    /// No queue makes us give way.
    pub(super) fn rest(&mut self) {
        self.watched = None;
    }

    /// By what the rate changes, after a report that came `since` after the one before; `None`: it is over.
    pub(super) fn contend(&mut self, queue: f64, since: Duration, now: Instant) -> Option<f64> {
        let held = self.held.as_mut()?;
        held.low = if queue < GONE { held.low.or(Some(now)) } else { None };
        let gone = held.low.is_some_and(|low| now.saturating_duration_since(low) > FOR);
        if gone || now.saturating_duration_since(held.since) > AT_MOST {
            self.held = None;
            return None;
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
        Some(factor)
    }
}
