//! Lips in step with the voice.
//!
//! Both tracks of a participant say by the sender's clock when what they show or play was captured. Whoever
//! plays tells here what is leaving now; from both follows the skew. Pictures are held back until they are
//! hardly ahead of their sound, which costs the ear nothing. Only where pictures come so late that this is not enough,
//! sound is held back a little too, a quarter of a second at most. Where one side's clock is not known nothing happens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Sound is held back for the picture by so much at most.
pub(crate) const MOST_EXTRA: Duration = Duration::from_millis(250);
/// Beyond this the two clocks are not the same sender's: nothing is done.
const ABSURD: i64 = 2_000_000;
/// What was played longer ago says nothing.
const FRESH: Duration = Duration::from_secs(1);
/// Pictures later than this let sound wait longer, earlier than that shorter, microseconds. People notice from
/// 45 ms on.
const LATE: i64 = 35_000;
const EARLY: i64 = 15_000;
/// Pictures may be so much ahead of their sound, microseconds: nobody notices that, and to wait costs delay.
const AHEAD: i64 = 40_000;
/// Sound's wait changes by this much each [`STEP_EVERY`]: 30 ms a second, slower than anyone hears.
const STEP: i64 = 3_000;
const STEP_EVERY: Duration = Duration::from_millis(100);
/// And only once pictures have been late, or early, for so many of these, 3 s: a queue that comes and goes is not worth
/// stretching the voice twice.
const HELD: u32 = 30;

/// How long one track takes from capture to now, smoothed.
#[derive(Clone, Copy, Debug)]
struct Trip {
    /// Playing time since the epoch less the sender's clock, microseconds.
    offset: i64,
    at: Instant,
}

impl Trip {
    /// Follows by an eighth of the difference; at once after a pause or a jump.
    fn follow(trip: &mut Option<Self>, offset: i64, at: Instant) {
        let smooth = trip.filter(|trip| {
            at.saturating_duration_since(trip.at) < FRESH
                && offset.saturating_sub(trip.offset).unsigned_abs() < 300_000
        });
        let offset = smooth.map_or(offset, |trip| trip.offset + (offset - trip.offset) / 8);
        *trip = Some(Self { offset, at });
    }
}

/// The pure part: both tracks and what follows.
#[derive(Debug, Default)]
struct State {
    epoch: Option<Instant>,
    sound: Option<Trip>,
    picture: Option<Trip>,
    /// Microseconds that sound waits for pictures.
    extra: i64,
    stepped: Option<Instant>,
    /// Steps for which pictures have been late, and early or not there.
    late: u32,
    early: u32,
}

impl State {
    /// Microseconds since the first thing that was ever told.
    fn micros(&mut self, at: Instant) -> i64 {
        let epoch = *self.epoch.get_or_insert(at);
        match at.checked_duration_since(epoch) {
            Some(later) => i64::try_from(later.as_micros()).unwrap_or(i64::MAX),
            None => -i64::try_from(epoch.duration_since(at).as_micros()).unwrap_or(i64::MAX),
        }
    }

    fn sound_played(&mut self, sender_us: i64, at: Instant) {
        let offset = self.micros(at).saturating_sub(sender_us);
        Trip::follow(&mut self.sound, offset, at);
    }

    fn picture_shown(&mut self, sender_us: i64, at: Instant) {
        let offset = self.micros(at).saturating_sub(sender_us);
        Trip::follow(&mut self.picture, offset, at);
    }

    fn skew(&self, now: Instant) -> Option<i64> {
        let fresh = |trip: &Trip| now.saturating_duration_since(trip.at) < FRESH;
        let (sound, picture) = (self.sound.filter(fresh)?, self.picture.filter(fresh)?);
        let skew = picture.offset.saturating_sub(sound.offset);
        (skew.unsigned_abs() < ABSURD as u64).then_some(skew)
    }

    fn due(&mut self, sender_us: i64, now: Instant) -> Option<Instant> {
        let sound = self.sound.filter(|trip| now.saturating_duration_since(trip.at) < FRESH)?;
        let heard = sender_us.saturating_add(sound.offset).saturating_sub(self.micros(now));
        let ahead = heard.saturating_sub(AHEAD);
        match ahead {
            0..ABSURD => Some(now + Duration::from_micros(ahead as u64)),
            _ => None,
        }
    }

    fn extra(&mut self, now: Instant) -> Duration {
        let due = self.stepped.is_none_or(|then| now.saturating_duration_since(then) >= STEP_EVERY);
        if due {
            self.stepped = Some(now);
            (self.late, self.early) = match self.skew(now) {
                Some(LATE..) => (self.late.saturating_add(1), 0),
                Some(EARLY..LATE) => (0, 0),
                // In step, or no pictures: sound need not wait.
                Some(_) | None => (0, self.early.saturating_add(1)),
            };
            let step = match (self.late, self.early) {
                (HELD.., _) => STEP,
                (_, HELD..) => -STEP,
                _ => 0,
            };
            self.extra = (self.extra + step).clamp(0, MOST_EXTRA.as_micros() as i64);
        }
        Duration::from_micros(self.extra as u64)
    }
}

/// What the sound and the picture of one participant know of each other; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Lips(Arc<Mutex<State>>);

impl Lips {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after each assignment, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sound captured at `sender_us` (the sender's clock) leaves the speaker at `at`.
    pub(crate) fn sound_played(&self, sender_us: i64, at: Instant) {
        self.lock().sound_played(sender_us, at);
    }

    /// A picture captured at `sender_us` is shown at `at`.
    pub(crate) fn picture_shown(&self, sender_us: i64, at: Instant) {
        self.lock().picture_shown(sender_us, at);
    }

    /// When a picture captured at `sender_us` is in step with its sound; `None` when it is late already, or
    /// nobody knows.
    pub(crate) fn due(&self, sender_us: i64, now: Instant) -> Option<Instant> {
        self.lock().due(sender_us, now)
    }

    /// How much longer than it must sound is to wait for pictures.
    pub(crate) fn extra(&self, now: Instant) -> Duration {
        self.lock().extra(now)
    }

    /// How much later than its sound a picture is shown, milliseconds; negative when it is early. `None`
    /// while not both play, or before their clocks are known.
    pub fn skew_ms(&self, now: Instant) -> Option<f64> {
        self.lock().skew(now).map(|skew| skew as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::Dice;

    /// 20 s of a voice that takes `voice` ms to the ear and pictures that take `picture` ms, give or take
    /// `jitter`; the last skew, and what sound waited at the end.
    fn talk(voice: i64, picture: i64, jitter: u64) -> (Option<f64>, Duration) {
        const FAR: i64 = 1_763_000_000_000_000;
        let (lips, start, mut dice) = (Lips::default(), Instant::now(), Dice::new(5));
        let at = |micros: i64| start + Duration::from_micros(micros as u64);
        let (mut waiting, mut extra) = (Vec::new(), Duration::ZERO);
        for tick in 100..2000i64 {
            let now = tick * 10_000;
            extra = lips.extra(at(now));
            lips.sound_played(FAR + now - voice * 1000 - extra.as_micros() as i64, at(now));
            if tick % 3 == 0 {
                let late = picture * 1000 + dice.below(jitter * 1000 + 1) as i64;
                let (captured, ready) = (FAR + now - late, at(now));
                waiting.push((captured, lips.due(captured, ready).unwrap_or(ready)));
            }
            waiting.retain(|(captured, due)| {
                let shown = *due <= at(now);
                if shown {
                    lips.picture_shown(*captured, at(now));
                }
                !shown
            });
        }
        (lips.skew_ms(at(20_000_000)), extra)
    }

    #[test]
    fn pictures_wait_for_their_sound_and_sound_waits_only_where_that_is_not_enough() {
        for (voice, picture, jitter, least, most) in [
            (120, 30, 20, 0, 0),
            (60, 60, 10, 0, 0),
            (60, 80, 5, 0, 0),
            (60, 200, 10, 90, 140),
            (30, 900, 0, 250, 250),
        ] {
            let (skew, extra) = talk(voice, picture, jitter);
            let skew = skew.unwrap();
            let in_step = (-45.0..=45.0).contains(&skew);
            assert_eq!(in_step, picture < 900, "voice {voice}, picture {picture}: skew {skew}");
            assert!((least..=most).contains(&extra.as_millis()), "{voice} {picture}: waits {extra:?}");
            assert_eq!(talk(voice, picture, jitter), (Some(skew), extra));
        }
    }

    #[test]
    fn without_both_clocks_nothing_happens() {
        let (lips, now) = (Lips::default(), Instant::now());
        assert_eq!((lips.due(5, now), lips.skew_ms(now), lips.extra(now)), (None, None, Duration::ZERO));
        lips.picture_shown(i64::MAX, now);
        assert_eq!((lips.due(5, now), lips.skew_ms(now)), (None, None));
        lips.sound_played(i64::MIN, now);
        assert_eq!((lips.due(i64::MAX, now), lips.skew_ms(now)), (None, None));
        let later = now + Duration::from_secs(3);
        assert_eq!((lips.extra(later), lips.due(i64::MIN, later)), (Duration::ZERO, None));
    }

    #[test]
    fn a_queue_that_comes_and_goes_does_not_stretch_the_voice() {
        let (lips, start) = (Lips::default(), Instant::now());
        let at = |ms: i64| start + Duration::from_millis(ms as u64);
        for ms in (500..30_000).step_by(10) {
            // 300 ms of it for 2.5 of 5 s.
            let late = if ms % 5000 < 2500 { 300_000 } else { 0 };
            assert_eq!(lips.extra(at(ms)), Duration::ZERO, "{ms} ms");
            lips.sound_played(ms * 1000 - 50_000, at(ms));
            lips.picture_shown(ms * 1000 - 60_000 - late, at(ms));
        }
    }

    #[test]
    fn when_the_camera_goes_off_sound_no_longer_waits() {
        let (lips, start) = (Lips::default(), Instant::now());
        let at = |ms: i64| start + Duration::from_millis(ms as u64);
        let mut extra = Duration::ZERO;
        for ms in (500..12_000).step_by(10) {
            extra = lips.extra(at(ms));
            lips.sound_played(ms * 1000 - 50_000 - extra.as_micros() as i64, at(ms));
            lips.picture_shown(ms * 1000 - 260_000, at(ms));
        }
        assert!((170..=210).contains(&extra.as_millis()), "{extra:?}");
        for ms in (12_000..22_500).step_by(10) {
            extra = lips.extra(at(ms));
            lips.sound_played(ms * 1000 - 50_000 - extra.as_micros() as i64, at(ms));
        }
        assert_eq!(extra, Duration::ZERO);
    }
}
