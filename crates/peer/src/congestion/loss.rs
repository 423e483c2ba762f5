//! Whether loss is of our making. Pure.
//!
//! A link that loses at random loses the same share of whatever is sent; a link that is full loses what is too
//! much. So when more is lost than is known to belong to the link, we send what arrived and look: if the
//! loss goes, the link was full; if it stays, it is the link's nature, and the rate comes back.

use super::feedback::Outcome;
use std::time::{Duration, Instant};

/// Loss is judged over pieces at least so long, of at least so many packets.
const PIECE: Duration = Duration::from_millis(400);
const ENOUGH: u32 = 20;
/// More lost than this beyond the link's own is suspicious.
const SUSPICIOUS: f64 = 0.06;
/// After a cut, the round trip and this long are let pass before loss is judged again.
const SETTLE: Duration = Duration::from_millis(300);

/// What to do about loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// Send no more than what arrives, on trial.
    Cut,
    /// The trial showed that the link was full.
    Full,
    /// The trial showed that the link loses anyway: back to this rate.
    Restore(f64),
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    /// Loss before, and the rate to come back to.
    loss: f64,
    rate: f64,
    since: Instant,
    judged_from: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Loss {
    lost: u32,
    total: u32,
    begun: Option<Instant>,
    /// Share lost in the last piece.
    share: f64,
    /// Share that the link loses by itself.
    inherent: f64,
    trial: Option<Trial>,
}

impl Loss {
    /// Share of packets lost lately, 0 to 1.
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// Share that is the link's own.
    pub(super) fn inherent(&self) -> f64 {
        self.inherent
    }

    /// Whether it is tried if loss goes when less is sent.
    pub(super) fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Counts what a report told.
    pub(super) fn on(&mut self, outcome: &Outcome) {
        // A trial is judged by what left after the cut.
        if self.trial.is_some_and(|trial| outcome.left.at < trial.judged_from) {
            return;
        }
        match outcome.arrived {
            None => {
                self.lost += 1;
                self.total += 1;
            }
            Some(_) => self.total += 1,
        }
    }

    /// The link was away: what was lost then says nothing.
    pub(super) fn forget(&mut self) {
        (self.lost, self.total, self.begun, self.trial) = (0, 0, None, None);
    }

    /// Somebody else's queue is contended with: what is lost says nothing of the link.
    pub(super) fn observe(&mut self, now: Instant) {
        self.trial = None;
        self.piece(now);
    }

    /// To be called after each report. `rate`: what is sent at now; `queued`: packets wait for the link, so that those
    /// lost may have found no room.
    pub(super) fn judge(&mut self, rate: f64, round_trip: Duration, queued: bool, now: Instant) -> Verdict {
        let Some((total, share)) = self.piece(now) else { return Verdict::Fine };
        let doubt = 2.5 * (share * (1.0 - share) / total).sqrt();
        if let Some(trial) = self.trial.take() {
            return self.conclude(trial, share, queued, now);
        }
        let excess = share - self.inherent;
        if excess > SUSPICIOUS.max(doubt) {
            let judged_from = now + SETTLE / 3;
            self.trial = Some(Trial { loss: share, rate, since: now, judged_from });
            self.begun = Some(now + round_trip + SETTLE);
            return Verdict::Cut;
        }
        // What the link loses is learnt slowly, and unlearnt faster.
        self.inherent += excess * if excess > 0.0 { 0.05 } else { 0.3 };
        Verdict::Fine
    }

    /// The packets of a piece that is over, and the share of them that was lost.
    fn piece(&mut self, now: Instant) -> Option<(f64, f64)> {
        let begun = *self.begun.get_or_insert(now);
        if now.saturating_duration_since(begun) < PIECE || self.total < ENOUGH {
            return None;
        }
        let (total, share) = (f64::from(self.total), f64::from(self.lost) / f64::from(self.total));
        (self.lost, self.total, self.begun) = (0, 0, Some(now));
        self.share += (share - self.share) * 0.5;
        Some((total, share))
    }

    fn conclude(&mut self, trial: Trial, share: f64, queued: bool, now: Instant) -> Verdict {
        let excess = trial.loss - self.inherent;
        if queued || share - self.inherent < 0.5 * excess {
            return Verdict::Full;
        }
        tracing::debug!(share, took = ?now.saturating_duration_since(trial.since), "the link loses by itself");
        self.inherent = self.inherent.max(f64::midpoint(share, trial.loss)).min(0.5);
        Verdict::Restore(trial.rate)
    }
}
