//! What reports say by not coming, as an estimator takes it.

use super::{ALONE, Estimator, Word};
use std::time::{Duration, Instant};

/// So many of these, and so much more, after it left nothing may tell of a packet: one report may be lost. Where next to
/// none are, one that is late is a first sign.
const SILENT: f64 = 1.4;
const SILENT_MORE: Duration = Duration::from_millis(100);
/// And so much longer than usual no report may have come.
const QUIET: Duration = Duration::from_millis(70);
const LATE: f64 = 1.0;
const LATE_MORE: Duration = Duration::from_millis(40);
const HARDLY_LOST: f64 = 0.02;
/// With so much tolerated, ms, a queue may be somebody else's.
const BEGUN: f64 = 15.0;
/// First signs are heeded for so long; then a path that is merely longer has shown itself, and for so long there are
/// none.
const HEEDED: Duration = Duration::from_millis(300);
const UNHEEDED: Duration = Duration::from_secs(2);
/// So many times what is tolerated for somebody else's queue.
const BESIDE_OTHERS: f64 = 6.0;
/// And in a contest so much is, ms.
const CONTEST: f64 = 200.0;

impl Estimator {
    /// What it says that nothing has told yet of a packet that left then; it can only get worse until a report comes.
    pub(crate) fn watch(&mut self, left: Instant, now: Instant) -> Word {
        if now >= self.silent_at(left) {
            self.word = Word::Silent;
        } else if self.word == Word::Comes && self.late_at(left).is_some_and(|due| now >= due) {
            self.word = Word::Late;
            let over = |late: &Instant| now.saturating_duration_since(*late) > UNHEEDED;
            self.late = self.late.filter(|late| !over(late)).or(Some(now));
        }
        self.word
    }

    /// When [`Self::watch`] may say something else of that packet.
    pub(crate) fn next_word(&self, left: Instant) -> Option<Instant> {
        match self.word {
            Word::Comes => Some(self.late_at(left).unwrap_or_else(|| self.silent_at(left))),
            Word::Late => Some(self.silent_at(left)),
            Word::Silent => None,
        }
    }

    /// So long after it left nothing may tell of a packet before that is a sign of a queue that has just grown,
    /// or of a path that is gone: more beside somebody else's.
    fn silent_at(&self, left: Instant) -> Instant {
        let others = self.delay.others().max(if self.contest.is_on() { CONTEST } else { 0.0 });
        let others = Duration::from_secs_f64(BESIDE_OTHERS * others / 1000.0);
        // Reports come through somebody else's queue on their way back, too.
        let beside = self.contest.is_on() || self.delay.others() > BEGUN;
        let latest =
            if beside { self.interval.mul_f64(SILENT) + SILENT_MORE + self.latest } else { Duration::ZERO };
        let untold = left + (self.reports(SILENT) + SILENT_MORE).max(latest) + others;
        let quiet = self.reported.map(|last| last + self.interval + QUIET);
        quiet.map_or(untold, |quiet| quiet.max(untold))
    }

    /// As that, for the first sign. Where packets are lost, so are reports; beside somebody else's queue they are
    /// late each now and then; and on a path that has become longer each is, at first.
    fn late_at(&self, left: Instant) -> Option<Instant> {
        let due = left + self.reports(LATE) + LATE_MORE;
        let heeded = self.late.is_none_or(|late| {
            let since = due.saturating_duration_since(late);
            since < HEEDED || since > UNHEEDED
        });
        (heeded && !self.contest.is_on() && self.loss.share() < HARDLY_LOST && self.delay.others() < ALONE)
            .then_some(due)
    }

    /// How long so many reports take to come.
    fn reports(&self, many: f64) -> Duration {
        self.interval.mul_f64(many) + self.round_trip.unwrap_or_default().mul_f64(1.5) + self.lateness.usual()
    }
}
