//! Finds which part of a loop of speech was heard. Pure; at 16 kHz, as wide-band PESQ takes it.

use std::ops::Range;

/// The rate of all that is here.
pub(crate) const RATE: usize = 16_000;
/// What is compared at a time: PESQ is made for some 8 s.
pub(crate) const WINDOW: usize = 8 * RATE;
/// Loudness is compared by stretches of 10 ms, then sound by samples within two of them.
const STRETCH: usize = RATE / 100;
/// A window whose loudness follows the loop's less than this says nothing of where it is.
const ALIKE: f64 = 0.5;

/// A window that was heard, and where in the loop it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) heard: Range<usize>,
    pub(crate) looped_from: usize,
}

/// Cuts what was heard into windows, and finds each in the loop. Windows in which next to nothing can be
/// recognized are put where their best neighbour says; nothing where none can be recognized at all.
pub(crate) fn matches(heard: &[f32], looped: &[f32]) -> Vec<Match> {
    if looped.len() < WINDOW {
        return Vec::new();
    }
    let loop_loudness = loudness(looped);
    let windows = heard.chunks_exact(WINDOW);
    let found: Vec<(usize, f64)> =
        windows.clone().map(|window| coarse(&loudness(window), &loop_loudness)).collect();
    let best = found.iter().enumerate().max_by(|a, b| a.1.1.total_cmp(&b.1.1));
    let Some((best, (at, _))) = best.filter(|(_, (_, alike))| *alike >= ALIKE) else { return Vec::new() };
    let expected = |index: usize| {
        let off = (index as i64 - best as i64) * WINDOW as i64 + (at * STRETCH) as i64;
        off.rem_euclid(looped.len() as i64) as usize
    };
    let place = |(index, (window, (at, alike))): (usize, (&[f32], &(usize, f64)))| {
        let coarse = if *alike >= ALIKE { at * STRETCH } else { expected(index) };
        let looped_from = fine(window, looped, coarse);
        Match { heard: index * WINDOW..(index + 1) * WINDOW, looped_from }
    };
    windows.zip(&found).enumerate().map(place).collect()
}

/// A part of a loop, from anywhere in it.
pub(super) fn cut(looped: &[f32], from: usize, length: usize) -> Vec<f32> {
    looped.iter().cycle().skip(from % looped.len().max(1)).take(length).copied().collect()
}

/// The root mean square of each stretch, the mean taken away.
fn loudness(samples: &[f32]) -> Vec<f64> {
    let power = |part: &[f32]| part.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / part.len() as f64;
    let all: Vec<f64> = samples.chunks_exact(STRETCH).map(|part| power(part).sqrt()).collect();
    let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
    all.into_iter().map(|value| value - mean).collect()
}

/// Where in the loop the loudness goes as in the window, in stretches; and how much alike, up to 1.
fn coarse(window: &[f64], looped: &[f64]) -> (usize, f64) {
    let power = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
    let own = power(window);
    let at = |from: usize| {
        let (mut together, mut theirs) = (0.0, 0.0);
        for (a, b) in window.iter().zip(looped.iter().cycle().skip(from)) {
            together += a * b;
            theirs += b * b;
        }
        (from, together / (own * theirs).sqrt().max(1e-12))
    };
    (0..looped.len()).map(at).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
}

/// Sharpens a place in the loop to the sample.
fn fine(window: &[f32], looped: &[f32], coarse: usize) -> usize {
    let length = looped.len();
    let first = coarse + length - 2 * STRETCH;
    let alike = |from: usize| {
        let theirs = looped.iter().cycle().skip(from % length);
        window.iter().zip(theirs).map(|(a, b)| f64::from(a * b)).sum::<f64>()
    };
    let best = (first..=first + 4 * STRETCH).map(|from| (from, alike(from)));
    best.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(coarse, |(from, _)| from % length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise that is loud and soft as it comes: 12 s.
    fn looped() -> Vec<f32> {
        let mut state = 1u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32
        };
        (0..120)
            .flat_map(|_| {
                let loud = next();
                (0..RATE / 10).map(|_| loud * (next() - 0.5)).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn each_window_is_found_to_the_sample() {
        let looped = looped();
        let heard = cut(&looped, 50_123, 3 * WINDOW + 100);
        let found = matches(&heard, &looped);
        let places: Vec<usize> = found.iter().map(|found| found.looped_from).collect();
        let length = looped.len();
        assert_eq!(places, [50_123, (50_123 + WINDOW) % length, (50_123 + 2 * WINDOW) % length]);
        assert_eq!(found[1].heard, WINDOW..2 * WINDOW);
    }

    #[test]
    fn silence_is_put_where_its_neighbours_say() {
        let looped = looped();
        let mut heard = cut(&looped, 1000, 2 * WINDOW);
        heard[..WINDOW].fill(0.0);
        let found = matches(&heard, &looped);
        // Silence is like anything: only about there.
        assert!(found[0].looped_from.abs_diff(1000) <= 2 * STRETCH, "{found:?}");
        assert_eq!(found[1].looped_from, 1000 + WINDOW);
        assert_eq!(matches(&[0.0; 2 * WINDOW], &looped), []);
        assert_eq!(matches(&heard, &looped[..WINDOW - 1]), []);
    }
}
