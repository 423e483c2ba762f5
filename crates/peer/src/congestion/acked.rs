//! How fast packets arrive, by the other side's clock.

use std::collections::VecDeque;
use std::time::Duration;

/// Looked back on.
const WINDOW: Duration = Duration::from_millis(500);
/// What is recent, and how many packets tell a rate.
const RECENT: Duration = Duration::from_millis(200);
const ENOUGH: usize = 10;
/// Fewer in the whole window tell none.
const FEWEST: usize = 5;
/// Packets remembered at most: 8 Mb/s of full ones.
const MOST: usize = 512;

/// A sliding window of arrivals. Pure.
#[derive(Debug, Default)]
pub(super) struct Acked {
    arrivals: VecDeque<(Duration, usize)>,
    bytes: usize,
    /// When the first of all packets came.
    begun: Option<Duration>,
}

impl Acked {
    /// A packet came.
    pub(super) fn on(&mut self, at: Duration, bytes: usize) {
        self.begun.get_or_insert(at);
        if self.arrivals.back().is_some_and(|(last, _)| last.saturating_sub(at) > 2 * WINDOW) {
            // The other side's clock has begun anew.
            *self = Self { begun: Some(at), ..Self::default() };
        }
        // One that was overtaken counts with those that overtook it.
        let at = self.arrivals.back().map_or(at, |(last, _)| at.max(*last));
        self.arrivals.push_back((at, bytes));
        self.bytes += bytes;
        while let Some((first, size)) = self.arrivals.front()
            // overflow: the oldest is forgotten; the window is then shorter, the rate the same.
            && (at.saturating_sub(*first) > WINDOW || self.arrivals.len() > MOST)
        {
            self.bytes -= size;
            self.arrivals.pop_front();
        }
    }

    /// Bits a second over the last part of the window: ten packets, or a fifth of a second if those are more.
    /// While a queue stands, this is the link's rate, whatever is sent.
    pub(super) fn recent(&self) -> Option<f64> {
        let (last, _) = self.arrivals.back()?;
        let young = |(at, _): &&(Duration, usize)| last.saturating_sub(*at) <= RECENT;
        self.of_last(self.arrivals.iter().rev().take_while(young).count().max(ENOUGH))
    }

    /// As [`Self::recent`], of the last few packets alone: not exact, but of a link that has just become slow it
    /// says so at once.
    pub(super) fn newest(&self) -> Option<f64> {
        self.of_last(ENOUGH)
    }

    fn of_last(&self, count: usize) -> Option<f64> {
        let (last, _) = self.arrivals.back()?;
        let count = count.min(self.arrivals.len());
        let (first, size) = self.arrivals.iter().rev().nth(count.checked_sub(1)?)?;
        let span = last.saturating_sub(*first);
        if count < ENOUGH || span < RECENT / 10 {
            return self.rate();
        }
        let bytes: usize = self.arrivals.iter().rev().take(count).map(|(_, bytes)| bytes).sum();
        Some((bytes - size) as f64 * 8.0 / span.as_secs_f64())
    }

    /// Whether packets come, but too few of them to measure a rate by.
    pub(super) fn is_seldom(&self) -> bool {
        self.arrivals.len() < FEWEST && self.has_seen_enough()
    }

    fn has_seen_enough(&self) -> bool {
        let last = self.arrivals.back().map(|(last, _)| *last);
        last.zip(self.begun).is_some_and(|(last, begun)| last.saturating_sub(begun) >= WINDOW / 2)
    }

    /// Bits a second; `None` until a quarter of a second was seen, and where few packets come.
    pub(super) fn rate(&self) -> Option<f64> {
        let (last, _) = self.arrivals.back()?;
        let (first, size) = self.arrivals.front()?;
        if !self.has_seen_enough() || self.arrivals.len() < FEWEST {
            return None;
        }
        let span = last.saturating_sub(*first).as_secs_f64().max(0.05);
        // What came with the first packet came before the span began.
        Some((self.bytes - size) as f64 * 8.0 / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_half_second() {
        let mut acked = Acked::default();
        let at = |ms: u64| Duration::from_millis(ms);
        (0..10).for_each(|n| acked.on(at(n * 10), 1250));
        assert_eq!(acked.rate(), None);
        (10..100).for_each(|n| acked.on(at(n * 10), 1250));
        assert!((acked.rate().unwrap() - 1e6).abs() < 1e4, "{:?}", acked.rate());
        (0..100).for_each(|n| acked.on(at(1000 + n * 20), 1250));
        assert!((acked.rate().unwrap() - 5e5).abs() < 1e4, "{:?}", acked.rate());
        assert!((acked.recent().unwrap() - 5e5).abs() < 1e4, "{:?}", acked.recent());
        (0..30).for_each(|n| acked.on(at(2990 + n * 10), 1250));
        assert!((acked.recent().unwrap() - 1e6).abs() < 1e4, "{:?}", acked.recent());
        assert!(acked.rate().unwrap() < 9e5);
        (0..5000).for_each(|_| acked.on(at(3500), 1250));
        assert!(acked.arrivals.len() <= MOST);
    }
}
