//! Happenings per second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Counts over the last second.
#[derive(Debug, Default)]
pub(super) struct Rate {
    times: VecDeque<Instant>,
}

impl Rate {
    const WINDOW: Duration = Duration::from_secs(1);
    /// overflow: the oldest is forgotten; more than this many a second are not told apart.
    const MOST: usize = 240;

    pub(super) fn count(&mut self, now: Instant) {
        if self.times.len() == Self::MOST {
            self.times.pop_front();
        }
        self.times.push_back(now);
    }

    pub(super) fn per_second(&self, now: Instant) -> f64 {
        self.times.iter().filter(|time| now.saturating_duration_since(**time) < Self::WINDOW).count() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_second_counts() {
        let start = Instant::now();
        let mut rate = Rate::default();
        for n in 0..90 {
            rate.count(start + Duration::from_millis(n * 1000 / 30));
        }
        assert!((29.0..=31.0).contains(&rate.per_second(start + Duration::from_secs(3))));
        assert_eq!(rate.per_second(start + Duration::from_secs(9)), 0.0);
    }
}
