//! Which packets of a stream are missing and when to ask for them (RFC 4585's generic NACK): pure.
//!
//! A gap is asked for once a packet that was merely overtaken would have come, and again each round trip, as
//! long as an answer can be of use; two or three times at once where a round trip is long or much is lost, since
//! to lose one more would be seen. How long overtaken packets take is learnt from them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Packets missing at a time; more are not worth asking for, a keyframe is.
const MOST: usize = 96;
/// How often the same packet is asked for.
const TRIES: u32 = 16;
/// What is older than this, and than four round trips, is of no use.
const OLDEST: Duration = Duration::from_millis(900);
/// Time that overtaken packets are given: at the beginning, and at most.
const TOLERANCE: Duration = Duration::from_millis(4);
const MOST_TOLERANCE: Duration = Duration::from_millis(60);
/// From these round trips on each question is put twice, and three times, and once more where this share of the
/// packets is lost.
const LONG_TRIP: Duration = Duration::from_millis(80);
const VERY_LONG_TRIP: Duration = Duration::from_millis(150);
const LOSSY: f64 = 0.1;
/// So far apart, that one burst does not take all: this part of the round trip, within these bounds.
const BETWEEN: f64 = 0.15;
const LEAST_BETWEEN: Duration = Duration::from_millis(4);
const MOST_BETWEEN: Duration = Duration::from_millis(15);
/// The share lost is followed over about so many packets.
const FOLLOWED: f64 = 256.0;
/// The round trip before it is known.
const UNKNOWN_TRIP: Duration = Duration::from_millis(80);

#[derive(Clone, Copy, Debug)]
struct Gap {
    found: Instant,
    due: Instant,
    tries: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Missing {
    newest: Option<i64>,
    gaps: BTreeMap<i64, Gap>,
    tolerance: Duration,
    /// Share of packets that did not come with the others, 0 to 1.
    lossy: f64,
}

impl Missing {
    pub(crate) fn new() -> Self {
        Self { newest: None, gaps: BTreeMap::new(), tolerance: TOLERANCE, lossy: 0.0 }
    }

    /// A packet came.
    pub(crate) fn came(&mut self, seq: u16, round_trip: Option<Duration>, now: Instant) {
        let Some(newest) = self.newest else {
            self.newest = Some(i64::from(seq));
            return;
        };
        let number = newest + i64::from(seq.wrapping_sub(newest as u16) as i16);
        if number <= newest {
            if let Some(gap) = self.gaps.remove(&number) {
                self.learn(gap, round_trip, now);
            }
            return;
        }
        self.newest = Some(number);
        if number - newest > MOST as i64 {
            // overflow: the link was away, or the sender began anew: only a keyframe helps.
            self.gaps.clear();
            return;
        }
        let missed = (number - newest - 1) as f64;
        self.lossy += (missed - self.lossy * (missed + 1.0)) / FOLLOWED;
        let gap = Gap { found: now, due: now + self.tolerance, tries: 0 };
        self.gaps.extend((newest + 1..number).map(|number| (number, gap)));
        if self.gaps.len() > MOST {
            // overflow: all are given up: to send them again would take longer than a keyframe.
            self.gaps.clear();
        }
        self.tolerance = self.tolerance.mul_f64(0.999).max(TOLERANCE);
    }

    /// A keyframe begins with this packet: nothing before it is worth asking for.
    pub(crate) fn keyframe(&mut self, seq: u16) {
        let Some(newest) = self.newest else { return };
        let number = newest + i64::from(seq.wrapping_sub(newest as u16) as i16);
        self.gaps = self.gaps.split_off(&number);
    }

    /// A packet that came before any answer could have was overtaken, not lost.
    fn learn(&mut self, gap: Gap, round_trip: Option<Duration>, now: Instant) {
        let late = now.saturating_duration_since(gap.found);
        let asked = self.tolerance.min(late);
        let answer = asked + round_trip.unwrap_or_default().mul_f64(0.5);
        if gap.tries == 0 || late < answer {
            self.tolerance = self.tolerance.max(late.mul_f64(1.1)).min(MOST_TOLERANCE);
        }
    }

    /// The numbers to ask for now.
    pub(crate) fn due(&mut self, round_trip: Option<Duration>, now: Instant) -> Vec<u16> {
        let trip = round_trip.unwrap_or(UNKNOWN_TRIP);
        let oldest = OLDEST.max(trip * 4);
        self.gaps.retain(|_, gap| gap.tries < TRIES && now.saturating_duration_since(gap.found) < oldest);
        let again = trip.mul_f64(1.15) + Duration::from_millis(8);
        let at_once = 1
            + u32::from(trip > LONG_TRIP)
            + u32::from(trip > VERY_LONG_TRIP)
            + u32::from(self.lossy > LOSSY);
        let between = trip.mul_f64(BETWEEN).clamp(LEAST_BETWEEN, MOST_BETWEEN);
        let mut due = Vec::new();
        for (number, gap) in &mut self.gaps {
            if gap.due <= now {
                gap.tries += 1;
                gap.due = now + if gap.tries.is_multiple_of(at_once) { again } else { between };
                due.push(*number as u16);
            }
        }
        due
    }

    /// When to ask next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.gaps.values().map(|gap| gap.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Option<Duration> = Some(Duration::from_millis(100));

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_gap_is_asked_for_at_once_and_then_each_round_trip_until_it_is_of_no_use() {
        let start = Instant::now();
        let mut missing = Missing::new();
        missing.came(65_534, TRIP, start);
        missing.came(1, TRIP, start);
        assert!(missing.due(TRIP, start).is_empty());
        assert_eq!(missing.next_due(), Some(start + TOLERANCE));
        assert_eq!(missing.due(TRIP, at(start, 4)), [65_535, 0]);
        missing.came(0, TRIP, at(start, 110));
        let mut asked = Vec::new();
        while let Some(due) = missing.next_due() {
            assert!(due > at(start, 4));
            asked.extend(missing.due(TRIP, due));
            assert!(asked.len() < 30);
        }
        assert_eq!(asked, vec![65_535; 13]);
    }

    #[test]
    fn who_loses_much_asks_more_than_once_at_a_time() {
        let start = Instant::now();
        let short = Some(Duration::from_millis(20));
        for (every, expected) in [(20, 1), (5, 2)] {
            let mut missing = Missing::new();
            for n in (0..1000_u64).filter(|n| n % every != 1) {
                missing.came(n as u16, short, at(start, n));
                // The answer is there at once.
                missing.gaps.clear();
            }
            missing.came(1002, short, at(start, 1002));
            let asked: usize = (0..20).map(|ms| missing.due(short, at(start, 1004 + ms)).len()).sum();
            assert_eq!(asked, 2 * expected, "one of {every} lost: {}", missing.lossy);
        }
    }

    #[test]
    fn overtaken_packets_teach_patience() {
        let start = Instant::now();
        let (mut missing, mut asked) = (Missing::new(), 0);
        // Each tenth packet comes 20 ms late.
        for n in 0..2000_u64 {
            let now = at(start, n * 5);
            if n % 10 != 0 {
                missing.came(n as u16, TRIP, now);
            }
            if n % 10 == 4 && n > 4 {
                missing.came((n - 4) as u16, TRIP, now);
            }
            asked += missing.due(TRIP, now).len();
        }
        assert!(asked < 5, "asked for {asked} that were on their way");
    }

    #[test]
    fn what_came_before_a_keyframe_is_not_asked_for_any_more() {
        let start = Instant::now();
        let mut missing = Missing::new();
        missing.came(65_530, TRIP, start);
        missing.came(2, TRIP, start);
        missing.keyframe(0);
        assert_eq!(missing.due(TRIP, at(start, 50)), [0, 1]);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let start = Instant::now();
        let (mut missing, mut random) = (Missing::new(), 1_u64);
        for n in 0..100_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            missing.came((random >> 40) as u16, TRIP, at(start, n / 50));
            assert!(missing.gaps.len() <= MOST);
            if n % 100 == 0 {
                missing.due(TRIP, at(start, n / 50));
            }
        }
    }
}
