//! From when frames were seen at the source and at the display to how long they took. Pure.

/// A marked frame was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its number in its clip.
    pub number: u32,
    /// Unix time, microseconds.
    pub at_us: u64,
}

/// How long each frame that was shown took since it was last at the source, in milliseconds, in order of
/// showing. Frames shown again count once; those never seen at the source do not count. The clip must be
/// longer than any delay: its numbers start again with each loop.
pub fn delays(source: &[Sighting], shown: &[Sighting]) -> Vec<f64> {
    delays_with_times(source, shown).into_iter().map(|(_, delay)| delay).collect()
}

/// As [`delays`], each with when it was shown (Unix time, microseconds).
pub fn delays_with_times(source: &[Sighting], shown: &[Sighting]) -> Vec<(u64, f64)> {
    let mut delays = Vec::new();
    let mut before = None;
    for sighting in shown {
        if before.replace(sighting.number) == Some(sighting.number) {
            continue;
        }
        let last = source.iter().rfind(|s| s.number == sighting.number && s.at_us <= sighting.at_us);
        delays.extend(last.map(|s| (sighting.at_us, (sighting.at_us - s.at_us) as f64 / 1000.0)));
    }
    delays
}

/// The longest gap that [`filled`] bridges.
const LONGEST_GAP: u32 = 15;

/// Sightings at a source that runs evenly, with those put in between that nobody saw: a busy page is not told
/// of every picture of its camera, but the camera took them all the same.
pub fn filled(source: &[Sighting]) -> Vec<Sighting> {
    let mut all = Vec::with_capacity(source.len());
    for pair in source.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        all.push(from);
        let steps = to.number.saturating_sub(from.number);
        if steps > LONGEST_GAP {
            continue;
        }
        let time = to.at_us.saturating_sub(from.at_us);
        all.extend((1..steps).map(|step| Sighting {
            number: from.number + step,
            at_us: from.at_us + time * u64::from(step) / u64::from(steps),
        }));
    }
    all.extend(source.last());
    all
}

/// The value below which `part` (0 to 1) of the values lie; `None` of nothing.
pub fn percentile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted.get((part * last as f64).round() as usize).copied()
}

/// The middle of the values, or the mean of the two in the middle; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some(f64::midpoint(*sorted.get(last / 2)?, *sorted.get(last.div_ceil(2))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(list: &[(u32, u64)]) -> Vec<Sighting> {
        list.iter().map(|&(number, ms)| Sighting { number, at_us: ms * 1000 }).collect()
    }

    #[test]
    fn a_frame_is_matched_with_its_last_time_at_the_source() {
        let source = seen(&[(0, 100), (1, 133), (2, 166), (0, 200), (1, 233)]);
        let shown = seen(&[(0, 180), (0, 190), (1, 213), (0, 280), (7, 290), (1, 333)]);
        assert_eq!(delays(&source, &shown), [80.0, 80.0, 80.0, 100.0]);
    }

    #[test]
    fn what_was_not_seen_of_an_even_source_is_put_in_between() {
        let source = seen(&[(5, 100), (8, 190), (299, 200), (0, 230), (2, 290)]);
        let all = seen(&[(5, 100), (6, 130), (7, 160), (8, 190), (299, 200), (0, 230), (1, 260), (2, 290)]);
        assert_eq!(filled(&source), all);
        assert_eq!(filled(&[]), []);
    }

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.95)), (Some(50.0), Some(95.0)));
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
