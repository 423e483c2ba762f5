//! By how much reports are late each now and then: beside somebody's download, or by Wi-Fi. Pure.
//!
//! What happened in several of the last seconds is a habit of the path's. What happens now for the first time may be a line
//! that has just become thin, and is not to be waited for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So much is waited for anyhow.
const LITTLE: Duration = Duration::from_millis(50);
const PIECE: Duration = Duration::from_secs(1);
/// Pieces that are over and remembered; a habit is what came in so many of them.
const PIECES: usize = 6;
const HABIT: usize = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// When each piece began, and the longest in it; the last is not over.
    /// overflow: the oldest is forgotten.
    pieces: VecDeque<(Instant, Duration)>,
}

impl Lateness {
    /// A report came by so much later than they do when all is well.
    pub(super) fn note(&mut self, late: Duration, now: Instant) {
        match self.pieces.back_mut() {
            Some((since, longest)) if now.saturating_duration_since(*since) < PIECE => {
                *longest = late.max(*longest);
            }
            _ => self.pieces.push_back((now, late)),
        }
        if self.pieces.len() > PIECES + 1 {
            self.pieces.pop_front();
        }
    }

    /// By how much they are late anyhow.
    pub(super) fn usual(&self) -> Duration {
        let over = self.pieces.len().saturating_sub(1);
        let mut longest: Vec<Duration> = self.pieces.iter().take(over).map(|(_, longest)| *longest).collect();
        longest.sort_unstable();
        longest.len().checked_sub(HABIT).map_or(Duration::ZERO, |nth| longest[nth].saturating_sub(LITTLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_two_seconds_of_the_last_six_is_a_habit() {
        let (mut lateness, start, ms) = (Lateness::default(), Instant::now(), Duration::from_millis);
        let mut at = |tenth: u64, late: u64| {
            lateness.note(ms(late), start + ms(100 * tenth));
            lateness.usual()
        };
        assert!((0..30).all(|tenth| at(tenth, 5) <= ms(0)));
        assert_eq!(at(30, 300), ms(0), "it happens now");
        assert!((31..60).all(|tenth| at(tenth, 5) == ms(0)), "it happened once");
        at(60, 200);
        assert!((61..70).all(|tenth| at(tenth, 5) == ms(0)));
        assert_eq!(at(70, 5), ms(150));
        assert!((71..200).any(|tenth| at(tenth, 5) == ms(0)), "long ago");
    }
}
