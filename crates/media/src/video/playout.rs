//! When a decoded picture is to be shown: late enough that those after it come in time, and no later.
//!
//! Each picture's transit is the time from its RTP timestamp to its last packet, on a clock that begins
//! anywhere. Pictures are shown at a fixed transit, the target: those that came faster wait. The target follows
//! the transits of the last seconds. Four in five pictures are to be at most a little late, less than a picture's time; of
//! the rest, all but those that hardly ever come are to be so little late that the gap on the screen is no freeze (W3C
//! webrtc-stats: a gap of 150 ms more than the mean). It goes up at once as far as is no freeze itself, and down by a few milliseconds a picture. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far one looks back.
const WINDOW: Duration = Duration::from_secs(6);
/// For those that are rarely late one looks back so many pieces of this length, and takes what came in so
/// many of them. (At 100 ms +-25 and 5 % loss two instead of three freeze 0.2 % of the time less for 70 ms more
/// delay at the 95th percentile.)
const PIECES: usize = 20;
const PIECE: Duration = Duration::from_millis(500);
const HABIT: usize = 3;
/// Pictures looked back on at most.
const MOST: usize = 400;
/// Pictures before the first judgement.
const ENOUGH: usize = 8;
/// Pictures wait no longer than this after the fastest way through.
const CAP: i64 = 500_000;
/// A picture may be shown so much too late and still be no freeze, microseconds.
const NO_FREEZE: i64 = 100_000;
/// And so much that hardly anybody sees it, at 30 pictures a second. To wait for that too costs each picture as much: on a
/// short path that loses 5 %, one in five needs a retransmission, and all the others waited for its round trip.
const A_LITTLE: i64 = 20_000;
/// The target's steps: up each picture by what is no freeze, down by this and a sixteenth of the way.
const UP: i64 = 80_000;
const DOWN: i64 = 3_000;
/// A transit that differs by more than this is another clock.
const JUMP: i64 = 2_000_000;

/// See the module. All times inside are microseconds.
#[derive(Debug)]
pub(super) struct Playout {
    /// Where transits are counted from: an arrival, and its timestamp.
    epoch: Option<(Instant, u32)>,
    /// The last timestamp, in ticks since the epoch's.
    ticks: i64,
    window: VecDeque<(Instant, i64)>,
    /// When each of the last pieces of time began, and the longest transit in it.
    pieces: VecDeque<(Instant, i64)>,
    scratch: Vec<i64>,
    target: Option<i64>,
}

impl Playout {
    pub(super) fn new() -> Self {
        Self {
            epoch: None,
            ticks: 0,
            window: VecDeque::with_capacity(MOST),
            pieces: VecDeque::with_capacity(PIECES),
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
        self.note_longest(arrived, transit);
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

    fn note_longest(&mut self, arrived: Instant, transit: i64) {
        match self.pieces.back_mut() {
            Some((since, longest)) if arrived.saturating_duration_since(*since) < PIECE => {
                *longest = transit.max(*longest);
            }
            _ => {
                if self.pieces.len() == PIECES {
                    self.pieces.pop_front();
                }
                self.pieces.push_back((arrived, transit));
            }
        }
    }

    /// The longest transit that came in several of the last pieces: one that came once is no habit.
    fn habit(&mut self) -> Option<i64> {
        self.scratch.clear();
        self.scratch.extend(self.pieces.iter().map(|(_, longest)| *longest));
        let nth = self.scratch.len().checked_sub(HABIT)?;
        Some(*self.scratch.select_nth_unstable(nth).1)
    }

    /// Takes the target a step towards what the window asks for.
    fn follow(&mut self) -> i64 {
        let habit = self.habit().unwrap_or(i64::MIN);
        self.scratch.clear();
        self.scratch.extend(self.window.iter().map(|(_, transit)| *transit));
        let count = self.scratch.len();
        let mut at = |index: usize| *self.scratch.select_nth_unstable(index.min(count - 1)).1;
        let fastest = at(0);
        let usual = at(count * 4 / 5) - A_LITTLE;
        let wanted =
            if count < ENOUGH { fastest } else { fastest.max(usual).max(habit.saturating_sub(NO_FREEZE)) };
        let wanted = wanted.min(fastest + CAP);
        let target = match self.target {
            Some(_) if count < ENOUGH => wanted,
            None => wanted,
            Some(target) if wanted > target => wanted.min(target + UP),
            Some(target) => (target - DOWN - (target - wanted) / 16).max(wanted).min(fastest + CAP),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::Dice;

    /// Pictures at 30 a second, each so late (ms), and never before the one before it: how long each waited,
    /// milliseconds.
    fn waits(pictures: u64, mut late: impl FnMut(u64) -> u64) -> Vec<f64> {
        let (mut playout, start) = (Playout::new(), Instant::now());
        let mut last = start;
        let picture = |n: u64| {
            let arrived = last.max(start + Duration::from_micros(n * 33_333 + late(n) * 1000));
            last = arrived;
            let due = playout.on((n as u32).wrapping_mul(3000).wrapping_sub(90_000), arrived);
            due.saturating_duration_since(arrived).as_secs_f64() * 1000.0
        };
        (0..pictures).map(picture).collect()
    }

    fn mean(waits: &[f64]) -> f64 {
        waits.iter().sum::<f64>() / waits.len() as f64
    }

    #[test]
    fn nothing_waits_on_a_clean_link_and_hardly_anything_at_5_ms_of_jitter() {
        assert!(waits(900, |_| 20).iter().all(|wait| *wait < 0.1));
        let mut dice = Dice::new(1);
        let held = waits(900, |_| 20 + dice.below(6));
        assert!(mean(&held) < 5.0 && held.iter().all(|wait| *wait <= 5.1), "{}", mean(&held));
        // A keyframe that takes 60 ms longer now and then does not make the others wait.
        assert!(mean(&waits(900, |n| if n % 300 == 0 { 80 } else { 20 })) < 1.0);
    }

    #[test]
    fn regular_lateness_is_waited_for_up_to_what_is_no_freeze_and_a_rare_one_is_not() {
        // Each two seconds a picture is 250 ms late, and those behind it: the others wait until that is no freeze.
        let held = waits(600, |n| if n % 60 == 0 { 250 } else { 20 });
        assert!((125.0..135.0).contains(&held[595]), "{}", held[595]);
        // A little each second is let go.
        let held = waits(600, |n| if n % 30 == 0 { 110 } else { 20 });
        assert!(held[60..].iter().all(|wait| *wait < 1.0));
        // Nothing waits for more than half a second.
        let held = waits(600, |n| if n % 60 == 0 { 1500 } else { 20 });
        assert!(held.iter().all(|wait| *wait < 500.1) && held[595] > 499.0, "{}", held[595]);
    }

    #[test]
    fn what_often_comes_late_is_waited_for_less_what_nobody_sees() {
        // One in four needs a retransmission over a short path, then over a longer one.
        let short = waits(600, |n| if n % 4 == 0 { 38 } else { 20 });
        assert!(short[60..].iter().all(|wait| *wait < 0.1));
        let longer = waits(600, |n| if n % 4 == 0 { 70 } else { 20 });
        assert!((28.0..32.0).contains(&longer[598]) && longer[596] < 0.1, "{} {}", longer[598], longer[596]);
    }

    #[test]
    fn it_goes_up_at_once_and_comes_down_smoothly() {
        let held = waits(1200, |n| if (300..600).contains(&n) && n % 15 < 2 { 200 } else { 20 });
        assert!(held[299] < 0.1);
        assert!(held[354] > 75.0, "{} ms two seconds after", held[354]);
        assert!(held[960] < 5.0, "{} ms twelve seconds after", held[960]);
        let steps = held[601..].windows(2).map(|pair| pair[0] - pair[1]);
        assert!(steps.fold(0.0, f64::max) < 14.0, "a visible jump on the way down");
    }

    #[test]
    fn a_sender_that_starts_anew_or_counts_nonsense_is_shown_at_once() {
        let (mut playout, start, mut dice) = (Playout::new(), Instant::now(), Dice::new(8));
        for n in 0..10_000u64 {
            let arrived = start + Duration::from_millis(n * 3);
            let timestamp = if n % 1000 < 900 { n as u32 * 270 } else { dice.next() as u32 };
            let due = playout.on(timestamp, arrived);
            let wait = due.saturating_duration_since(arrived);
            assert!(wait <= Duration::from_micros(CAP as u64), "{wait:?} at {n}");
        }
    }

    #[test]
    fn of_pictures_that_are_due_the_last_is_shown_and_order_is_kept() {
        let (mut waiting, start) = (Waiting::new(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        waiting.put(1, at(10));
        waiting.put(2, at(40));
        waiting.put(3, at(30));
        assert_eq!((waiting.due(), waiting.take(at(5))), (Some(at(10)), None));
        assert_eq!(waiting.take(at(10)), Some((1, 0)));
        assert_eq!((waiting.due(), waiting.take(at(39))), (Some(at(40)), None));
        assert_eq!((waiting.take(at(41)), waiting.due()), (Some((3, 1)), None));
        for n in 0..50 {
            waiting.put(n, at(1000));
            if let Some((shown, given_up)) = waiting.take(at(50)) {
                assert_eq!((shown, given_up), (n - Waiting::<i32>::MOST as i32, 0));
            }
            assert!(waiting.0.len() <= Waiting::<i32>::MOST);
        }
    }
}
