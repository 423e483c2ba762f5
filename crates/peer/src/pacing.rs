//! The order and the time in which packets leave: pure, time is an argument.
//!
//! Sound never waits. Packets sent again go before new pictures, each a few times in a round trip at most, and
//! nothing from before the newest keyframe. Pictures leave at
//! the pace set; when more waits than could leave in good time they are all dropped, and only a keyframe helps.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// What may leave at once after a pause.
const BURST: Duration = Duration::from_millis(3);
/// One full packet may always leave.
const MIN_BURST_BITS: f64 = 1300.0 * 8.0;
/// Packets that wait at most.
const MAX_QUEUED: usize = 2048;
/// New pictures that would leave later than this are hopeless.
const HOPELESS: Duration = Duration::from_millis(1500);
/// So are those that waited when the rate fell, if it is still so after this time: most falls are for a moment.
const FOR_A_MOMENT: Duration = Duration::from_millis(500);
/// Sound that left faster than the pace holds the pictures up by this at most.
const DEBT: Duration = Duration::from_millis(200);
/// When what is to be sent again takes longer than this, a keyframe is there sooner.
const HOPELESS_AGAIN: Duration = Duration::from_millis(350);
/// Packets sent again whose time is remembered, and ranges of numbers that never left.
const RESENT: usize = 512;
const FLUSHED: usize = 16;
/// After so many packets nobody asks for what was before them.
const STALE: u32 = 8192;
/// A round trip is taken for so long at least.
const LEAST_AGAIN: Duration = Duration::from_millis(20);
/// The same packet leaves so many times in it at most: who asks again at once does so because much is lost. And
/// so far apart.
const AT_ONCE: usize = 3;
const BETWEEN: Duration = Duration::from_millis(3);

/// A packet that waits.
#[derive(Debug)]
struct Queued<T> {
    item: T,
    bits: f64,
    seq: u16,
}

/// What became of a packet given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It leaves in its turn.
    Queued,
    /// It is on its way already, or was never sent: not sent again.
    Needless,
    /// So many packets, this one included, would have left too late: all dropped, a keyframe is needed.
    Flushed(usize),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pacing<T> {
    /// Bits a second.
    rate: f64,
    again: VecDeque<Queued<T>>,
    fresh: VecDeque<Queued<T>>,
    /// How often a packet may be sent again in a round trip.
    at_once: usize,
    waiting_bits: f64,
    /// Bits that may leave; negative after a packet larger than what was left.
    budget: f64,
    /// Since when what waits is hopeless.
    hopeless: Option<Instant>,
    filled: Option<Instant>,
    resent: VecDeque<(u16, Instant)>,
    flushed: VecDeque<RangeInclusive<u16>>,
    /// Where the newest keyframe begins.
    keyframe: Option<u16>,
    /// Packets since the last range or keyframe: numbers come round again.
    since_mark: u32,
    /// The other side can use nothing but a keyframe.
    awaiting: bool,
}

impl<T> Pacing<T> {
    pub(crate) fn new(rate: f64) -> Self {
        Self {
            rate,
            again: VecDeque::new(),
            fresh: VecDeque::new(),
            at_once: AT_ONCE,
            waiting_bits: 0.0,
            budget: 0.0,
            hopeless: None,
            filled: None,
            resent: VecDeque::new(),
            flushed: VecDeque::new(),
            keyframe: None,
            since_mark: 0,
            awaiting: false,
        }
    }

    /// Bits a second from now on.
    pub(crate) fn set_rate(&mut self, rate: f64, now: Instant) {
        if rate != self.rate {
            self.fill(now);
            self.rate = rate.max(1.0);
        }
    }

    /// Whether the line has room: then a packet that is asked for more than once in a round trip leaves as often.
    pub(crate) fn set_roomy(&mut self, roomy: bool) {
        self.at_once = if roomy { AT_ONCE } else { 1 };
    }

    /// How long it takes until all that waits has left.
    pub(crate) fn backlog(&self) -> Duration {
        Duration::from_secs_f64(self.waiting_bits.max(0.0) / self.rate)
    }

    /// Something that does not wait leaves now. While next to nothing may leave it takes far more than that, which
    /// is not to be paid for once more may.
    pub(crate) fn passes(&mut self, bits: f64, now: Instant) {
        self.fill(now);
        let most = self.budget.min(-self.rate * DEBT.as_secs_f64());
        self.budget = (self.budget - bits).max(most);
    }

    /// Drops all that waits, if it has been hopeless for longer than a moment that was not `silent`, and says how many
    /// packets: then a keyframe is needed.
    pub(crate) fn drop_hopeless(&mut self, silent: bool, now: Instant) -> Option<usize> {
        if silent || self.backlog() <= HOPELESS {
            self.hopeless = None;
            return None;
        }
        let since = *self.hopeless.get_or_insert(now);
        if now.saturating_duration_since(since) < FOR_A_MOMENT {
            return None;
        }
        self.hopeless = None;
        Some(self.await_keyframe())
    }

    /// A packet of a new picture.
    pub(crate) fn push(&mut self, item: T, bits: f64, seq: u16) -> Taken {
        self.since_mark += 1;
        if self.since_mark > STALE {
            self.flushed.clear();
            self.keyframe = None;
        }
        if self.awaiting {
            return Taken::Needless;
        }
        self.fresh.push_back(Queued { item, bits, seq });
        self.waiting_bits += bits;
        // overflow: all new pictures that wait are dropped; the slot starts again with a keyframe.
        if self.backlog() > HOPELESS || self.fresh.len() > MAX_QUEUED {
            return Taken::Flushed(self.await_keyframe());
        }
        Taken::Queued
    }

    /// The other side can use nothing before the next keyframe: all that waits is dropped, and all that comes
    /// before it. Says how many were.
    pub(crate) fn await_keyframe(&mut self) -> usize {
        self.awaiting = true;
        let again = self.again.len();
        self.again.clear();
        again + self.flush()
    }

    /// The next packet of a new picture begins a keyframe: all that waits from before it is dropped, if it
    /// would hold the keyframe up, and never sent again. Says how many.
    pub(crate) fn keyframe(&mut self, seq: u16) -> usize {
        (self.keyframe, self.since_mark) = (Some(seq), 0);
        self.awaiting = false;
        self.again.clear();
        self.waiting_bits = self.fresh.iter().map(|queued| queued.bits).sum();
        if self.backlog() > BURST { self.flush() } else { 0 }
    }

    fn flush(&mut self) -> usize {
        if let (Some(first), Some(last)) = (self.fresh.front(), self.fresh.back()) {
            // overflow: the oldest range is forgotten; asking for it again is then in vain, and harmless.
            if self.flushed.len() == FLUSHED {
                self.flushed.pop_front();
            }
            self.flushed.push_back(first.seq..=last.seq);
            self.since_mark = 0;
        }
        let count = self.fresh.len();
        self.fresh.clear();
        self.waiting_bits = self.again.iter().map(|queued| queued.bits).sum();
        count
    }

    /// A packet that the other side asked for again.
    pub(crate) fn push_again(
        &mut self,
        item: T,
        bits: f64,
        seq: u16,
        round_trip: Option<Duration>,
        now: Instant,
    ) -> Taken {
        let spacing = round_trip.unwrap_or_default().mul_f64(0.8).max(LEAST_AGAIN);
        let since = |at: Instant| now.saturating_duration_since(at);
        let lately = |(number, at): &&(u16, Instant)| *number == seq && since(*at) < spacing;
        let under_way = self.resent.iter().filter(lately).count() >= self.at_once
            || self.resent.iter().filter(lately).any(|(_, at)| since(*at) < BETWEEN);
        let waits = |queued: &Queued<T>| queued.seq == seq;
        if self.awaiting
            || self.again.iter().any(waits)
            || self.fresh.iter().any(waits)
            || under_way
            || self.flushed.iter().any(|range| within(range, seq))
            // Half the range of numbers back.
            || self.keyframe.is_some_and(|first| seq.wrapping_sub(first) >= 1 << 15)
            || self.again.len() >= MAX_QUEUED
        {
            return Taken::Needless;
        }
        self.again.push_back(Queued { item, bits, seq });
        self.waiting_bits += bits;
        let waits: f64 = self.again.iter().map(|queued| queued.bits).sum();
        // A few packets are sent again on any path.
        if waits > self.rate * HOPELESS_AGAIN.as_secs_f64() && self.again.len() > 10 {
            return Taken::Flushed(self.await_keyframe());
        }
        Taken::Queued
    }

    fn fill(&mut self, now: Instant) {
        let burst = (self.rate * BURST.as_secs_f64()).max(MIN_BURST_BITS);
        self.budget = match self.filled {
            Some(last) => {
                let passed = now.saturating_duration_since(last).as_secs_f64();
                (self.budget + passed * self.rate).min(burst)
            }
            None => burst,
        };
        self.filled = Some(now);
    }

    /// The next packet that may leave now.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        self.fill(now);
        if self.budget <= 0.0 {
            return None;
        }
        let queued = match self.again.pop_front() {
            Some(queued) => {
                // overflow: the oldest is forgotten; it may then be sent again sooner.
                if self.resent.len() == RESENT {
                    self.resent.pop_front();
                }
                self.resent.push_back((queued.seq, now));
                queued
            }
            None => self.fresh.pop_front()?,
        };
        self.budget -= queued.bits;
        self.waiting_bits -= queued.bits;
        if self.again.is_empty() && self.fresh.is_empty() {
            self.waiting_bits = 0.0;
        }
        Some(queued.item)
    }

    /// When the next packet may leave.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.again.is_empty() && self.fresh.is_empty() {
            return None;
        }
        let owed = (-self.budget).max(0.0) / self.rate;
        // Not before the next millisecond: timers are no finer.
        Some(self.filled? + Duration::from_secs_f64(owed) + Duration::from_millis(1))
    }
}

/// Whether a number lies in a range that may wrap.
fn within(range: &RangeInclusive<u16>, seq: u16) -> bool {
    seq.wrapping_sub(*range.start()) <= range.end().wrapping_sub(*range.start())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITS: f64 = 1250.0 * 8.0;
    const TRIP: Option<Duration> = Some(Duration::from_millis(50));

    /// Everything that leaves until nothing waits, with its time.
    fn drain(pacing: &mut Pacing<u16>, mut now: Instant) -> Vec<(u16, Instant)> {
        let mut left = Vec::new();
        loop {
            left.extend(std::iter::from_fn(|| pacing.pop(now)).map(|seq| (seq, now)));
            match pacing.due() {
                Some(due) => {
                    assert!(due > now);
                    now = due;
                }
                None => return left,
            }
        }
    }

    #[test]
    fn pictures_leave_in_order_at_the_pace_and_what_is_asked_for_again_before_them() {
        let start = Instant::now();
        let mut pacing = Pacing::new(10_000_000.0);
        for seq in 0..50 {
            assert_eq!(pacing.push(seq, BITS, seq), Taken::Queued);
        }
        assert_eq!(pacing.backlog(), Duration::from_millis(50));
        let first: Vec<u16> = std::iter::from_fn(|| pacing.pop(start)).collect();
        assert!(first.len() < 6, "{first:?} left at once");
        assert_eq!(pacing.push_again(900, BITS, 900, TRIP, start), Taken::Queued);
        let left = drain(&mut pacing, start);
        assert_eq!(left[0].0, 900);
        let numbers: Vec<u16> = first.into_iter().chain(left[1..].iter().map(|(seq, _)| *seq)).collect();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
        let took = left.last().unwrap().1 - start;
        assert!((Duration::from_millis(44)..Duration::from_millis(60)).contains(&took), "{took:?}");
        assert_eq!(pacing.backlog(), Duration::ZERO);
    }

    #[test]
    fn sound_takes_its_share_and_never_waits() {
        let start = Instant::now();
        let mut pacing = Pacing::new(1_000_000.0);
        (0..10).for_each(|seq| assert_eq!(pacing.push(seq, BITS, seq), Taken::Queued));
        let alone = drain(&mut pacing, start).last().unwrap().1 - start;
        let mut pacing = Pacing::new(1_000_000.0);
        (0..10).for_each(|seq| assert_eq!(pacing.push(seq, BITS, seq), Taken::Queued));
        pacing.passes(5.0 * BITS, start);
        let beside = drain(&mut pacing, start).last().unwrap().1 - start;
        assert!(beside > alone + Duration::from_millis(45), "{alone:?} {beside:?}");
    }

    #[test]
    fn sound_that_leaves_while_nothing_else_may_holds_up_no_picture_afterwards() {
        let start = Instant::now();
        let mut pacing = Pacing::new(20_000.0);
        // Ten seconds of 60 kb/s.
        for n in 0..500 {
            pacing.passes(1200.0, start + Duration::from_millis(20) * n);
        }
        let back = start + Duration::from_secs(10);
        pacing.set_rate(1_000_000.0, back);
        pacing.push(0, BITS, 0);
        let left = drain(&mut pacing, back);
        assert!(left[0].1 < back + Duration::from_millis(10), "{:?}", left[0].1 - back);
    }

    #[test]
    fn what_became_hopeless_because_the_rate_fell_is_dropped_unless_that_was_for_a_moment() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pacing = Pacing::new(2_000_000.0);
        (0..40).for_each(|seq| assert_eq!(pacing.push(seq, BITS, seq), Taken::Queued));
        assert_eq!(pacing.drop_hopeless(false, start), None);
        pacing.set_rate(80_000.0, start);
        assert_eq!(pacing.drop_hopeless(false, start), None);
        pacing.set_rate(2_000_000.0, at(300));
        assert_eq!(pacing.drop_hopeless(false, at(300)), None);
        pacing.set_rate(80_000.0, at(400));
        assert_eq!(pacing.drop_hopeless(false, at(400)), None);
        assert_eq!(pacing.drop_hopeless(false, at(899)), None, "that other time does not count");
        let mut silent = Pacing::new(80_000.0);
        (0..12).for_each(|seq| assert_eq!(silent.push(seq, BITS, seq), Taken::Queued));
        silent.set_rate(8000.0, start);
        assert_eq!((silent.drop_hopeless(true, start), silent.drop_hopeless(true, at(900))), (None, None));
        assert_eq!(pacing.drop_hopeless(false, at(900)), Some(40));
        assert_eq!(pacing.drop_hopeless(false, at(1500)), None);
        assert_eq!(pacing.push(40, BITS, 40), Taken::Needless, "it needs those that were dropped");
    }

    #[test]
    fn on_a_full_line_a_packet_is_sent_again_once_in_a_round_trip() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pacing = Pacing::new(10_000_000.0);
        pacing.set_roomy(false);
        assert_eq!(pacing.push_again(5, BITS, 5, TRIP, start), Taken::Queued);
        assert_eq!(pacing.pop(start), Some(5));
        assert_eq!(pacing.push_again(5, BITS, 5, TRIP, at(20)), Taken::Needless);
        assert_eq!(pacing.push_again(5, BITS, 5, TRIP, at(41)), Taken::Queued);
    }

    #[test]
    fn a_packet_is_sent_again_a_few_times_in_a_round_trip() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pacing = Pacing::new(10_000_000.0);
        assert_eq!(pacing.push_again(5, BITS, 5, TRIP, start), Taken::Queued);
        assert_eq!(pacing.push_again(5, BITS, 5, TRIP, start), Taken::Needless, "it waits");
        assert_eq!(pacing.pop(start), Some(5));
        assert_eq!(pacing.push_again(5, BITS, 5, TRIP, at(2)), Taken::Needless, "it has just left");
        for ms in [5, 15] {
            assert_eq!(pacing.push_again(5, BITS, 5, TRIP, at(ms)), Taken::Queued);
            assert_eq!(pacing.pop(at(ms)), Some(5));
        }
        assert_eq!(pacing.push_again(5, BITS, 5, TRIP, at(30)), Taken::Needless, "it is on its way");
        assert_eq!(pacing.push_again(5, BITS, 5, TRIP, at(41)), Taken::Queued, "it was lost again");
        pacing.push(6, BITS, 6);
        assert_eq!(pacing.push_again(6, BITS, 6, TRIP, at(41)), Taken::Needless, "it has not left yet");
    }

    #[test]
    fn what_would_leave_too_late_is_dropped_and_not_sent_again() {
        let start = Instant::now();
        let mut pacing = Pacing::new(100_000.0);
        let flushed = (0..60_u16).map(|n| pacing.push(n, BITS, 65_530_u16.wrapping_add(n))).find_map(
            |taken| match taken {
                Taken::Flushed(count) => Some(count),
                _ => None,
            },
        );
        assert_eq!(flushed, Some(16));
        assert_eq!(pacing.push(0, BITS, 46), Taken::Needless, "it needs those that were dropped");
        assert_eq!(pacing.push_again(0, BITS, 65_500, TRIP, start), Taken::Needless, "as it does");
        assert_eq!(pacing.keyframe(47), 0);
        assert_eq!(pacing.push(47, BITS, 47), Taken::Queued);
        assert_eq!(pacing.push_again(0, BITS, 3, TRIP, start), Taken::Needless);
    }

    #[test]
    fn a_keyframe_makes_all_before_it_needless() {
        let start = Instant::now();
        let mut pacing = Pacing::new(1_000_000.0);
        (0..20).for_each(|seq| assert_eq!(pacing.push(seq, BITS, seq), Taken::Queued));
        assert_eq!(pacing.push_again(900, BITS, 65_000, TRIP, start), Taken::Queued);
        assert_eq!(pacing.keyframe(20), 20);
        pacing.push(20, BITS, 20);
        assert_eq!(pacing.push_again(0, BITS, 19, TRIP, start), Taken::Needless);
        assert_eq!(drain(&mut pacing, start).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [20]);
        assert_eq!(pacing.push_again(0, BITS, 20, TRIP, start), Taken::Queued);
    }

    #[test]
    fn where_too_much_is_to_be_sent_again_a_keyframe_is_sooner_there() {
        let start = Instant::now();
        let mut pacing = Pacing::new(300_000.0);
        let taken: Vec<Taken> = (0..11).map(|seq| pacing.push_again(seq, BITS, seq, TRIP, start)).collect();
        assert_eq!(taken.last(), Some(&Taken::Flushed(11)));
        assert_eq!(pacing.backlog(), Duration::ZERO);
    }

    #[test]
    fn a_new_rate_holds_from_the_moment_it_is_set() {
        let start = Instant::now();
        let mut pacing = Pacing::new(1_000_000.0);
        (0..20).for_each(|seq| assert_eq!(pacing.push(seq, BITS, seq), Taken::Queued));
        assert_eq!(pacing.pop(start), Some(0));
        pacing.set_rate(4_000_000.0, start);
        let took = drain(&mut pacing, start).last().unwrap().1 - start;
        assert!((Duration::from_millis(40)..Duration::from_millis(70)).contains(&took), "{took:?}");
    }
}
