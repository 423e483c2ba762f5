//! What is played waits until its turn comes to be met by what the microphone hears: the two are served in turns, which
//! are not even. Pure; in blocks of 10 ms.
//!
//! What waits too long is met by its own echo already, or after it, and no filter takes away what is there before its
//! cause: so no more waits than turns need.

use std::collections::VecDeque;

use super::BLOCK;

/// Blocks played before the first is met.
const AHEAD: usize = 2;
/// More than so many are more than turns, also where a busy machine served one of them late.
pub(crate) const MOST: usize = 16;
/// Of what waits even at the least of a second (100 blocks) one block is kept, for turns that are not even.
const KEPT: usize = 1;
const SECOND: usize = 100;
/// Blocks played without one heard after which there was no microphone: half a second.
const UNHEARD: usize = 50;

type Block = [f32; BLOCK];

/// What to do before the next block heard is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meeting {
    /// So many of what waits were played while nothing was heard, and are not waited for.
    pub(crate) passed: usize,
    /// What follows is met so many blocks sooner than what was played before.
    pub(crate) sooner: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Turns {
    waiting: VecDeque<Block>,
    running: bool,
    /// Blocks played since one was heard, and how many of those could not wait.
    unheard: usize,
    crowded_out: usize,
    /// What is heard next is from a microphone that was not there just before.
    reopened: bool,
    /// The least that waited in the last so many blocks heard.
    least: usize,
    watched: usize,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            waiting: VecDeque::with_capacity(MOST),
            running: false,
            unheard: 0,
            crowded_out: 0,
            reopened: false,
            least: MOST,
            watched: 0,
        }
    }

    /// This is played; what can wait no longer for it, if anything.
    pub(crate) fn play(&mut self, block: &Block) -> Option<Block> {
        // overflow: the speaker runs ahead: the oldest is not waited for.
        let oldest = if self.waiting.len() == MOST { self.waiting.pop_front() } else { None };
        self.crowded_out += usize::from(oldest.is_some());
        self.waiting.push_back(*block);
        self.running |= self.waiting.len() >= AHEAD;
        self.unheard += 1;
        oldest
    }

    /// What is heard from now on is from a microphone that was not there just before.
    pub(crate) fn reopen(&mut self) {
        self.reopened = true;
    }

    /// A block is heard; `None` while too little was played to meet it. If there was no microphone for a while, time
    /// has passed on both sides; if it is late with what it heard, that is met sooner by as much.
    pub(crate) fn hear(&mut self) -> Option<Meeting> {
        if !self.running {
            return None;
        }
        let (unheard, sooner) = (std::mem::take(&mut self.unheard), std::mem::take(&mut self.crowded_out));
        if std::mem::take(&mut self.reopened) || unheard > UNHEARD {
            (self.least, self.watched) = (MOST, 0);
            return Some(Meeting { passed: self.waiting.len().saturating_sub(AHEAD), sooner: 0 });
        }
        Some(Meeting { passed: 0, sooner })
    }

    /// The oldest that waits.
    pub(crate) fn next(&mut self) -> Option<Block> {
        self.waiting.pop_front()
    }

    /// A block was met: how many wait for no turn, and are to be taken, each to be met sooner by one.
    pub(crate) fn surplus(&mut self) -> usize {
        self.least = self.least.min(self.waiting.len());
        self.watched += 1;
        if self.watched < SECOND {
            return 0;
        }
        let surplus = self.least.saturating_sub(KEPT);
        (self.least, self.watched) = (MOST, 0);
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(n: usize) -> Block {
        [n as f32; BLOCK]
    }

    /// Plays so many, and tells the first sample of those that were crowded out.
    fn play(turns: &mut Turns, numbers: std::ops::Range<usize>) -> Vec<f32> {
        numbers.filter_map(|n| turns.play(&block(n))).map(|block| block[0]).collect()
    }

    #[test]
    fn the_first_is_met_when_the_second_is_there() {
        let mut turns = Turns::new();
        play(&mut turns, 0..1);
        assert_eq!(turns.hear(), None);
        play(&mut turns, 1..2);
        assert_eq!(turns.hear(), Some(Meeting::default()));
        assert_eq!(turns.next(), Some(block(0)));
    }

    #[test]
    fn whoever_runs_ahead_is_bounded_and_met_sooner() {
        let mut turns = Turns::new();
        assert_eq!(play(&mut turns, 0..MOST + 3), [0.0, 1.0, 2.0]);
        assert_eq!(turns.waiting.len(), MOST);
        assert_eq!(turns.hear(), Some(Meeting { passed: 0, sooner: 3 }));
        assert_eq!(turns.hear(), Some(Meeting::default()), "told once");
    }

    #[test]
    fn a_microphone_that_was_away_is_waited_for_no_longer_than_turns_need() {
        for (blocks, told) in [(UNHEARD + 1, false), (7, true)] {
            let mut turns = Turns::new();
            play(&mut turns, 0..blocks);
            if told {
                turns.reopen();
            }
            assert_eq!(turns.hear(), Some(Meeting { passed: blocks.min(MOST) - AHEAD, sooner: 0 }));
        }
    }

    #[test]
    fn what_waits_for_no_turn_is_found_out_within_two_seconds() {
        let mut turns = Turns::new();
        play(&mut turns, 0..8);
        let taken: Vec<usize> = (8..8 + 2 * SECOND)
            .map(|n| {
                play(&mut turns, n..n + 1);
                turns.hear();
                turns.next();
                let surplus = turns.surplus();
                for _ in 0..surplus {
                    assert!(turns.next().is_some());
                }
                surplus
            })
            .collect();
        assert_eq!(taken.iter().sum::<usize>(), 7);
        assert_eq!(turns.waiting.len(), KEPT);
    }
}
