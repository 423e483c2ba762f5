//! Freezes, by the rule of W3C's webrtc-stats. Pure.

use serde::Serialize;
use std::ops::Range;

/// Freezes of a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Freezes {
    /// How many.
    pub count: u32,
    /// Milliseconds frozen, all in all.
    pub total_ms: f64,
    /// Milliseconds of the longest.
    pub longest_ms: f64,
}

/// The rule looks at the mean of so many times between pictures.
const REMEMBERED: usize = 30;

/// Finds the freezes among pictures shown at these times (microseconds, rising), as far as they lie within
/// `span`. A time between two pictures is a freeze when it is at least max(3 x mean, mean + 150 ms) of the 30
/// before it. A span that begins or ends without pictures is frozen there too.
pub fn freezes(shown: &[u64], span: Range<u64>) -> Freezes {
    let mut found = Freezes::default();
    let mut before: Vec<u64> = Vec::new();
    let ends = shown.last().is_none_or(|last| *last < span.end).then_some(span.end);
    let begins = shown.first().is_none_or(|first| *first > span.start).then_some(span.start);
    let times: Vec<u64> = begins.into_iter().chain(shown.iter().copied()).chain(ends).collect();
    for pair in times.windows(2) {
        let gap = pair[1].saturating_sub(pair[0]);
        let recent = &before[before.len().saturating_sub(REMEMBERED)..];
        let mean = recent.iter().sum::<u64>() as f64 / recent.len().max(1) as f64;
        if gap as f64 >= (3.0 * mean).max(mean + 150_000.0) {
            let within = pair[1].min(span.end).saturating_sub(pair[0].max(span.start));
            if within > 0 {
                let ms = within as f64 / 1000.0;
                found.count += 1;
                found.total_ms += ms;
                found.longest_ms = found.longest_ms.max(ms);
            }
        }
        before.push(gap);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures 33 ms apart, without those of which `missing` says so.
    fn pictures(count: u64, missing: impl Fn(u64) -> bool) -> Vec<u64> {
        (0..count).filter(|i| !missing(*i)).map(|i| 1_000_000 + i * 33_000).collect()
    }

    #[test]
    fn an_even_picture_does_not_freeze() {
        assert_eq!(freezes(&pictures(300, |_| false), 2_000_000..10_000_000), Freezes::default());
        // Five are missing: 198 ms, more than 3 x 33 and just more than 33 + 150. Four are no freeze.
        assert_eq!(freezes(&pictures(300, |i| (100..104).contains(&i)), 1_000_000..10_000_000).count, 0);
        let found = freezes(&pictures(300, |i| (100..105).contains(&i)), 1_000_000..10_000_000);
        assert_eq!((found.count, found.total_ms), (1, 198.0));
    }

    #[test]
    fn only_what_lies_in_the_span_counts() {
        let shown = pictures(300, |i| (100..200).contains(&i));
        let all = freezes(&shown, 1_000_000..10_000_000);
        assert_eq!((all.count, all.longest_ms), (1, 101.0 * 33.0));
        let half = freezes(&shown, 5_000_000..10_000_000);
        assert_eq!(half.total_ms, f64::from(1_000_000 + 200 * 33_000 - 5_000_000) / 1000.0);
        assert_eq!(freezes(&shown, 8_000_000..10_000_000).count, 0);
    }

    #[test]
    fn no_picture_at_all_is_one_freeze() {
        let found = freezes(&[], 0..5_000_000);
        assert_eq!((found.count, found.total_ms), (1, 5000.0));
        let found = freezes(&pictures(60, |_| false), 1_000_000..9_000_000);
        assert_eq!(found.count, 1);
        assert!((found.total_ms - (9_000_000.0 - 1_000_000.0 - 59.0 * 33_000.0) / 1000.0).abs() < 0.01);
    }
}
