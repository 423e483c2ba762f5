//! How what is sent follows what the link takes. Pure; in tenths of a second.

/// Tenths of a second.
const SECOND: usize = 10;
/// What a line takes is kept to when no more than this is sent.
const KEPT: f64 = 1.05;
/// So much of what was sent before is back.
const BACK: f64 = 0.8;

/// A change of rate: after how many tenths of a second, and kb/s from then on.
pub(super) type Change = (usize, f64);

/// The mean over the second that begins at a bin; `None` past the end.
fn over_a_second(sent: &[f64], from: usize) -> Option<f64> {
    Some(sent.get(from..from + SECOND)?.iter().sum::<f64>() / SECOND as f64)
}

/// Seconds from a fall of the rate until a second begins in which no more was sent than the line takes; of the
/// worst fall. `None` when there was no fall, or one to which nothing followed.
pub(super) fn down_after(sent: &[f64], changes: &[Change]) -> Option<f64> {
    let falls = changes.windows(2).enumerate().filter(|(_, pair)| pair[1].1 < pair[0].1);
    let mut worst: Option<f64> = None;
    for (index, pair) in falls {
        let (at, rate) = pair[1];
        let until = changes.get(index + 2).map_or(sent.len(), |next| next.0);
        let kept = (at..until.saturating_sub(SECOND - 1))
            .find(|from| over_a_second(sent, *from).is_some_and(|now| now <= rate * KEPT))?;
        worst = Some(worst.unwrap_or(0.0).max((kept - at) as f64 / 10.0));
    }
    worst
}

/// Seconds from the last rise of the rate until a second ends in which 80 % of what was sent in the five
/// seconds before the first fall was sent again (or of the new rate, if that is less).
pub(super) fn back_after(sent: &[f64], changes: &[Change]) -> Option<f64> {
    let fall = changes.windows(2).find(|pair| pair[1].1 < pair[0].1)?[1].0;
    let &[_, (at, rate)] = changes.windows(2).rfind(|pair| pair[1].1 > pair[0].1)? else { return None };
    let before = sent.get(fall.saturating_sub(5 * SECOND)..fall)?;
    let wanted = BACK * rate.min(before.iter().sum::<f64>() / before.len().max(1) as f64);
    let from = (at..sent.len()).find(|from| over_a_second(sent, *from).is_some_and(|now| now >= wanted))?;
    Some((from + SECOND - at) as f64 / 10.0)
}

/// Percent of each step's rate that was sent, the step's first bins (`adapts`, but at most half of it) left out.
pub(super) fn used_percent(sent: &[f64], changes: &[Change], adapts: usize) -> Vec<f64> {
    let used = |(index, (at, rate)): (usize, &Change)| {
        let until = changes.get(index + 1).map_or(sent.len(), |next| next.0).min(sent.len());
        let from = at + adapts.min(until.saturating_sub(*at) / 2);
        let part = sent.get(from..until).filter(|part| !part.is_empty())?;
        Some(part.iter().sum::<f64>() / part.len() as f64 / rate * 100.0)
    };
    changes.iter().enumerate().filter_map(used).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGES: [Change; 3] = [(0, 2500.0), (100, 500.0), (200, 2500.0)];

    /// 2000 kb/s, down to 450 `late` tenths after the fall, back to 1800 `slow` tenths after the rise.
    fn sent(late: usize, slow: usize) -> Vec<f64> {
        (0..400)
            .map(|i| match i {
                _ if i < 100 + late => 2000.0,
                _ if i < 200 + slow => 450.0,
                _ => 1800.0,
            })
            .collect()
    }

    #[test]
    fn a_sender_that_follows_late_is_told_from_one_that_follows_at_once() {
        assert_eq!(down_after(&sent(0, 0), &CHANGES), Some(0.0));
        // A tenth of 2000 among nine of 450 makes 605: too much.
        assert_eq!(down_after(&sent(15, 0), &CHANGES), Some(1.5));
        assert_eq!(down_after(&sent(90, 0), &CHANGES), Some(9.0));
        assert_eq!(down_after(&sent(95, 0), &CHANGES), None, "no whole second was left");
        assert_eq!(down_after(&vec![2000.0; 400], &CHANGES), None);
        assert_eq!(down_after(&sent(0, 0), &CHANGES[..1]), None);
    }

    #[test]
    fn the_way_back_is_timed_to_four_fifths() {
        // 1600 are wanted: eight and a half tenths of a second of 1800 suffice.
        assert_eq!(back_after(&sent(0, 0), &CHANGES), Some(1.0));
        assert_eq!(back_after(&sent(0, 50), &CHANGES), Some(5.9));
        let never: Vec<f64> = (0..400).map(|i| if i < 100 { 2000.0 } else { 450.0 }).collect();
        assert_eq!(back_after(&never, &CHANGES), None);
    }

    #[test]
    fn use_of_the_line_leaves_out_the_time_to_adapt() {
        let used = used_percent(&sent(30, 30), &CHANGES, 30);
        assert_eq!(used, [80.0, 90.0, 72.0]);
        assert!(used_percent(&[], &CHANGES, 30).is_empty());
    }
}
