//! When a decoded picture is to be shown: late enough that those after it come in time, and no later.
//!
//! Each picture's transit is the time from its RTP timestamp to its last packet, on a clock that begins
//! anywhere. Pictures are shown at a fixed transit, the target: those that came faster wait. The target follows
//! the transits of the last seconds. Nine in ten pictures are to be in time; of the rest, all but the rarest are
//! to be so little late that the gap on the screen is no freeze (W3C webrtc-stats: a gap of 150 ms more than the
//! mean). It goes up at once as far as is no freeze itself, and down by a few milliseconds a picture. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far one looks back.
const WINDOW: Duration = Duration::from_secs(6);
/// Pictures looked back on at most.
const MOST: usize = 400;
/// Pictures before the first judgement.
const ENOUGH: usize = 8;
/// Pictures wait no longer than this after the fastest way through.
const CAP: i64 = 500_000;
/// A picture may be shown so much too late and still be no freeze, microseconds.
const NO_FREEZE: i64 = 100_000;
/// The target's steps: up each picture by what is no freeze, down by this and a sixteenth of the way.
const UP: i64 = 80_000;
const DOWN: i64 = 1_500;
/// A transit that differs by more than this is another clock.
const JUMP: i64 = 5_000_000;

/// See the module. All times inside are microseconds.
#[derive(Debug)]
pub(super) struct Playout {
    /// Where transits are counted from: an arrival, and its timestamp.
    epoch: Option<(Instant, u32)>,
    /// The last timestamp, in ticks since the epoch's.
    ticks: i64,
    window: VecDeque<(Instant, i64)>,
    scratch: Vec<i64>,
    target: Option<i64>,
}

impl Playout {
    pub(super) fn new() -> Self {
        Self {
            epoch: None,
            ticks: 0,
            window: VecDeque::with_capacity(MOST),
            scratch: Vec::with_capacity(MOST),
            target: None,
        }
    }

    /// A picture of this RTP time (90 kHz) was whole at `arrived`: when it is to be shown, which may have
    /// been before.
    pub(super) fn on(&mut self, timestamp: u32, arrived: Instant) -> Instant {
        let media = self.media(timestamp, arrived);
        let Some((epoch, _)) = self.epoch else { return arrived };
        let transit = micros(arrived, epoch) - media;
        while self.window.len() >= MOST
            || self.window.front().is_some_and(|(then, _)| arrived.saturating_duration_since(*then) > WINDOW)
        {
            self.window.pop_front();
        }
        self.window.push_back((arrived, transit));
        let target = self.follow();
        let due = media + target;
        match u64::try_from(due) {
            Ok(due) => epoch + Duration::from_micros(due),
            Err(_) => arrived,
        }
    }

    /// Microseconds of media time since the epoch; begins anew where the timestamps make no sense.
    fn media(&mut self, timestamp: u32, arrived: Instant) -> i64 {
        if let Some((epoch, first)) = self.epoch {
            let before = first.wrapping_add(self.ticks as u32);
            let ticks = self.ticks + i64::from(timestamp.wrapping_sub(before) as i32);
            let media = ticks * 100 / 9;
            let transit = micros(arrived, epoch) - media;
            let fits = self.window.back().is_none_or(|(_, last)| (transit - last).abs() < JUMP);
            if fits && media >= 0 {
                self.ticks = ticks;
                return media;
            }
        }
        *self = Self::new();
        self.epoch = Some((arrived, timestamp));
        0
    }

    /// Takes the target a step towards what the window asks for.
    fn follow(&mut self) -> i64 {
        self.scratch.clear();
        self.scratch.extend(self.window.iter().map(|(_, transit)| *transit));
        let count = self.scratch.len();
        let mut at = |index: usize| *self.scratch.select_nth_unstable(index.min(count - 1)).1;
        let fastest = at(0);
        let wanted = if count < ENOUGH {
            at(count / 2)
        } else {
            // The rarest percent may freeze; it is the worst picture as long as there are few.
            let rarest = at(count - 1 - (count / 100).max(1));
            at(count * 9 / 10).max(rarest - NO_FREEZE)
        };
        let wanted = wanted.min(fastest + CAP);
        let target = match self.target {
            None => wanted,
            Some(target) if wanted > target => wanted.min(target + UP),
            Some(target) => (target - DOWN - (target - wanted) / 16).max(wanted),
        };
        self.target = Some(target);
        target
    }
}

fn micros(at: Instant, epoch: Instant) -> i64 {
    // A picture is never whole before the first one was, save by reordering of what is over.
    i64::try_from(at.saturating_duration_since(epoch).as_micros()).unwrap_or(i64::MAX / 4)
}

/// Decoded pictures on their way to the screen, in order.
///
/// overflow: of more than [`Waiting::MOST`] the oldest is due at once.
#[derive(Debug)]
pub(super) struct Waiting<T>(VecDeque<(Instant, T)>);

impl<T> Waiting<T> {
    /// Half a second at 30 a second, and some: bounds the memory held.
    pub(super) const MOST: usize = 20;

    pub(super) fn new() -> Self {
        Self(VecDeque::with_capacity(Self::MOST + 1))
    }

    /// A picture is to be shown at `due`, not before the ones already here.
    pub(super) fn put(&mut self, picture: T, due: Instant) {
        let due = self.0.back().map_or(due, |(last, _)| due.max(*last));
        self.0.push_back((due, picture));
    }

    /// The picture to show now, and how many due before it are given up for it.
    pub(super) fn take(&mut self, now: Instant) -> Option<(T, u64)> {
        let mut shown = None;
        let mut given_up = 0;
        while self.0.len() > Self::MOST || self.0.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, picture)) = self.0.pop_front() else { break };
            given_up += u64::from(shown.is_some());
            shown = Some(picture);
        }
        shown.map(|picture| (picture, given_up))
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.front().map(|(due, _)| *due)
    }
}
