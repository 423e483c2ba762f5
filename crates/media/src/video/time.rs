//! When pictures are encoded, and what time they carry. Pure: time is an argument.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// Capture times as 90 kHz ticks that always grow.
pub(super) struct MediaClock {
    start: Instant,
    base: u32,
    last: i64,
}

impl MediaClock {
    pub(super) fn new(start: Instant) -> Self {
        // The hasher's keys are random: enough for a start that nobody can rely on (RFC 3550, 5.1).
        Self { start, base: RandomState::new().build_hasher().finish() as u32, last: -1 }
    }

    pub(super) fn ticks(&mut self, captured: Instant) -> i64 {
        let ticks = captured.saturating_duration_since(self.start).as_nanos() * 9 / 100_000;
        // A source just switched to may be a little behind the last one: a millisecond keeps the order.
        self.last = i64::try_from(ticks).unwrap_or(i64::MAX).max(self.last.saturating_add(90));
        self.last
    }

    pub(super) fn timestamp(&self, ticks: i64) -> u32 {
        self.base.wrapping_add(ticks as u32)
    }
}

/// The time by which the encoder's rate control shares out bits, 90 kHz: that of the pictures it gets. What was left out
/// because the network was behind has no share: to spend it on the next picture would put the network behind again. (libvpx
/// gives a picture the share of all the time since the one before: half a second's worth of bits at once.)
#[derive(Debug, Default)]
pub(super) struct Budget {
    ticks: i64,
    /// The time of the picture taken last, and when it was captured.
    gap: Duration,
    last: Option<Instant>,
}

impl Budget {
    /// No picture has more time than this, and one after a longer gap than the other follows a pause.
    const LONGEST: Duration = Duration::from_millis(250);
    const PAUSE: Duration = Duration::from_secs(1);

    /// A picture was taken, of so many wanted a second; it may yet be left out.
    pub(super) fn take(&mut self, captured: Instant, fps: u32) {
        let usual = Duration::from_secs(1) / fps.max(1);
        let gap = self.last.map(|last| captured.saturating_duration_since(last));
        // A source that was switched may count from an earlier moment.
        let steady = gap.filter(|gap| !gap.is_zero() && *gap < Self::PAUSE);
        self.gap = steady.unwrap_or(usual).min(Self::LONGEST);
        self.last = Some(captured);
    }

    /// Nothing is sent for now.
    pub(super) fn pause(&mut self) {
        self.last = None;
    }

    /// The picture taken is encoded: its time, later than that of any before.
    pub(super) fn spend(&mut self) -> i64 {
        let gap = i64::try_from(self.gap.as_micros() * 9 / 100).unwrap_or_default();
        self.ticks += gap.max(90);
        self.ticks
    }
}

/// Picks so many pictures a second, evenly, of those that the camera gives.
#[derive(Debug, Default)]
pub(super) struct Cadence {
    /// When the next one is due.
    due: Option<Instant>,
    last: Option<Instant>,
}

impl Cadence {
    /// Whether to take the picture captured then; half a gap early is only the camera's jitter.
    pub(super) fn takes(&mut self, captured: Instant, fps: u32) -> bool {
        let gap = Duration::from_secs(1) / fps.max(1);
        // A source that was switched may count from an earlier moment: it is taken as it comes.
        let backwards = self.last.is_some_and(|last| captured < last);
        self.last = Some(captured);
        let due = self.due.filter(|due| !backwards && *due < captured + 2 * gap).unwrap_or(captured);
        if captured + gap / 3 < due {
            return false;
        }
        // From when it was due, so that a source at another rate is thinned evenly; a late one counts anew.
        self.due = Some(due.max(captured.checked_sub(gap / 2).unwrap_or(captured)) + gap);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_thinned_to_the_rate_asked_for() {
        let start = Instant::now();
        for (source, wanted, most) in [(30, 30, 30), (30, 15, 15), (30, 10, 10), (60, 30, 30), (25, 30, 25)] {
            let mut cadence = Cadence::default();
            let taken = (0..source * 10).filter(|n| {
                // A camera that is a little off, and jitters.
                let jitter = Duration::from_micros(u64::from(n * 7919 % 11) * 500);
                cadence.takes(start + Duration::from_secs(1) * *n / source + jitter, wanted)
            });
            let taken = taken.count() as u32;
            assert!(taken.abs_diff(most * 10) <= most, "{source} to {wanted}: {taken} in 10 s");
        }
    }

    #[test]
    fn a_source_that_counts_from_earlier_is_taken_at_once() {
        let start = Instant::now() + Duration::from_secs(100);
        let mut cadence = Cadence::default();
        assert!(cadence.takes(start, 30));
        assert!(!cadence.takes(start + Duration::from_millis(5), 30));
        assert!(cadence.takes(start - Duration::from_secs(50), 30));
        assert!(cadence.takes(start + Duration::from_secs(9), 30));
    }

    #[test]
    fn what_was_left_out_has_no_share_of_the_bits() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut budget = Budget::default();
        budget.take(at(0), 25);
        assert_eq!(budget.spend(), 3600);
        budget.take(at(50), 25);
        assert_eq!(budget.spend(), 3600 + 4500);
        // Left out, all of these.
        (2..10).for_each(|n| budget.take(at(n * 50), 25));
        budget.take(at(500), 25);
        assert_eq!(budget.spend(), 3600 + 2 * 4500);
        // Nor has a pause.
        budget.pause();
        budget.take(at(600), 25);
        assert_eq!(budget.spend(), 2 * 3600 + 2 * 4500);
        budget.take(at(9000), 25);
        assert_eq!(budget.spend(), 3 * 3600 + 2 * 4500);
        // A slow camera has its time, up to a quarter of a second.
        budget.take(at(9400), 25);
        assert_eq!(budget.spend(), 3 * 3600 + 2 * 4500 + 22_500);
        // A source that counts from earlier is as good as any.
        budget.take(at(300), 25);
        assert_eq!(budget.spend(), 4 * 3600 + 2 * 4500 + 22_500);
    }

    #[test]
    fn media_time_follows_capture_and_never_stands_still() {
        let start = Instant::now();
        let mut clock = MediaClock::new(start);
        assert_eq!(clock.ticks(start + Duration::from_millis(100)), 9000);
        assert_eq!(clock.ticks(start + Duration::from_millis(133)), 11_970);
        let late = clock.ticks(start + Duration::from_millis(120));
        assert!(late > 11_970);
        assert_eq!(clock.timestamp(9000).wrapping_sub(clock.timestamp(0)), 9000);
    }
}
