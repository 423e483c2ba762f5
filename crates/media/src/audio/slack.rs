//! How long before its turn packets came lately, and what that says about the delay.

use std::collections::VecDeque;

use super::jitter::Stretch;

/// Packets looked back on at most, and for how long: 10 s. In a pause few come in that time. A line whose queue fills
/// once does so again: with 5 s the voice is squeezed and torn by turns where it falls every few seconds, for 15 to 40 ms
/// less delay on the mean.
const WINDOW: usize = 500;
const LONG: i64 = 480_000;
/// Packets before the first advice, and from one to the next: half a second of speech. Of a pause, as long as that
/// from one to the next, and 2 s before the first.
const ENOUGH: usize = 25;
const HALF_SECOND: i64 = 24_000;
const TWO_SECONDS: i64 = 96_000;
/// One packet in this many may come later than the delay allows for. With one in fifty 10 % more is guessed
/// at random loss and in bursts, for 1 to 8 ms less delay.
const OUTLIERS: usize = 100;
/// Sound waits no longer than this (300 ms) beyond what it must.
const EXTRA: u32 = 14_400;
/// A packet that has not come while so many after it did is lost.
const LOST: i64 = 8;
/// Less than this to spare (5 ms) is too little; more than that (25 ms), too much, which is taken back in one packet of
/// so many where somebody speaks.
const LOW: i32 = 240;
const HIGH: i32 = 1200;
const FASTER_EVERY: u32 = 8;

/// A sliding window of slacks, in samples. Pure.
#[derive(Debug)]
pub(crate) struct Slack {
    /// Media time, and slack as if the delay had never changed: `noted - moved then`.
    window: VecDeque<(i64, i32)>,
    /// Packets that have not come, but a copy of them has: number, and as in the window.
    /// overflow: the newest is forgotten.
    copies: VecDeque<(i64, (i64, i32))>,
    /// What the delay has grown by, in all.
    moved: i32,
    /// What all but the outliers in the window had at least; `None` until there is enough.
    least: Option<i32>,
    /// How much later those came than the median packet: what is known of the network's jitter.
    spread: u32,
    /// Packets since that was found out, and the media time then.
    since: usize,
    found: i64,
    scratch: Vec<i32>,
    /// What packets are to have to spare beyond what the network needs.
    extra: i32,
    /// Packets until speech is corrected again, so that it is not disturbed all the time.
    rest: u32,
}

impl Slack {
    pub(crate) fn new() -> Self {
        Self {
            window: VecDeque::new(),
            copies: VecDeque::new(),
            moved: 0,
            least: None,
            spread: 0,
            since: 0,
            found: 0,
            scratch: Vec::new(),
            extra: 0,
            rest: 0,
        }
    }

    /// A packet of this media time came so many samples before its turn (negative: after it).
    pub(crate) fn note(&mut self, seq: i64, at: i64, slack: i32) {
        self.copies.retain(|(copied, _)| *copied != seq);
        while self.copies.front().is_some_and(|(copied, _)| *copied + LOST < seq) {
            if let Some((_, noted)) = self.copies.pop_front() {
                self.add(noted);
            }
        }
        self.add((at, slack.saturating_sub(self.moved)));
    }

    /// A copy of a packet that has not come itself came so many samples before its turn. It counts once
    /// the packet is clearly lost: waiting this long would have been enough.
    pub(crate) fn note_copy(&mut self, seq: i64, at: i64, slack: i32) {
        if self.copies.len() < LOST as usize {
            self.copies.push_back((seq, (at, slack.saturating_sub(self.moved))));
        }
    }

    fn add(&mut self, (at, slack): (i64, i32)) {
        while self.window.len() == WINDOW || self.window.front().is_some_and(|(old, _)| old + LONG < at) {
            self.window.pop_front();
        }
        self.window.push_back((at, slack));
        self.since += 1;
        let looked_back = self.window.front().map_or(0, |(oldest, _)| at - oldest);
        let enough = self.window.len() >= ENOUGH || looked_back >= TWO_SECONDS;
        if enough && (self.since >= ENOUGH || at - self.found >= HALF_SECOND) {
            (self.since, self.found) = (0, at);
            self.find();
        }
    }

    /// What all but the outliers in the window had.
    fn find(&mut self) {
        self.scratch.clear();
        self.scratch.extend(self.window.iter().map(|(_, slack)| slack));
        let outliers = self.scratch.len() / OUTLIERS;
        let least = *self.scratch.select_nth_unstable(outliers).1;
        let middle = self.scratch.len() / 2;
        let median = *self.scratch.select_nth_unstable(middle).1;
        self.spread = median.abs_diff(least);
        self.least = Some(least);
    }

    /// Samples that a late packet comes later than a usual one.
    pub(crate) fn spread(&self) -> u32 {
        self.spread
    }

    /// Sound begins after silence: the delay is another one, the network's jitter is still known.
    pub(crate) fn restart(&mut self) {
        *self = Self { spread: self.spread, extra: self.extra, ..Self::new() };
    }

    /// The delay has grown by so many samples.
    pub(crate) fn shift(&mut self, samples: i32) {
        self.moved = self.moved.saturating_add(samples);
        if self.moved.abs() > 1 << 28 {
            *self = Self { extra: self.extra, ..Self::new() };
        }
    }

    pub(crate) fn extra(&self) -> u32 {
        self.extra.unsigned_abs()
    }

    /// Sound is to wait so many samples longer than it must.
    pub(crate) fn set_extra(&mut self, samples: u32) {
        self.extra = samples.min(EXTRA) as i32;
    }

    /// What to do with the packet about to be played.
    pub(crate) fn advice(&mut self) -> Stretch {
        self.rest = self.rest.saturating_sub(1);
        let Some(least) = self.least.map(|least| least.saturating_add(self.moved - self.extra)) else {
            return Stretch::None;
        };
        // What is about to be missed hurries. Delay does not: a voice that runs is worse than one that comes late, and
        // its next pause takes most of it.
        let (stretch, pause) = match least {
            i32::MIN..0 => (Stretch::Slower, 1),
            0..LOW => (Stretch::Slower, 4),
            LOW..=HIGH => return Stretch::None,
            _ => (Stretch::Faster, FASTER_EVERY),
        };
        if self.rest > 0 {
            return if stretch == Stretch::Faster { Stretch::FasterWhereQuiet } else { Stretch::None };
        }
        self.rest = pause;
        stretch
    }
}
