//! Listening for what people should be told: who speaks, and whether a microphone gives anything at all.
//! No clock: lengths are counted in samples, or the time is an argument.

use std::time::{Duration, Instant};

use crate::codec::opus::RATE;

/// Somebody begins to speak at this loudness (root mean square, -42 dB of full scale) ...
const BEGINS: f32 = 0.008;
/// ... held for so many samples: 60 ms. A click is no speech.
const BEGINS_AFTER: usize = RATE as usize * 6 / 100;
/// They have ended below this (-48 dB) ...
const ENDS: f32 = 0.004;
/// ... for so long: 400 ms, more than there is between two words.
const ENDS_AFTER: usize = RATE as usize * 4 / 10;

/// Between its highest and its lowest sample, sound has more than this: six steps of 16 bits. A microphone
/// that is open gives that by its own noise; one that is muted gives nothing or a constant.
const NOTHING: f32 = 2e-4;
/// A microphone of which nothing was ever heard is told of after so long.
const NEVER_HEARD: Duration = Duration::from_secs(4);
/// One that was heard may have a gate of its own, which closes between two words.
const HEARD_ONCE: Duration = Duration::from_secs(20);

/// Whether somebody speaks, by loudness alone.
#[derive(Debug, Default)]
pub(crate) struct Speaking {
    on: bool,
    /// Samples in a row that say otherwise.
    against: usize,
}

impl Speaking {
    /// Takes in the next piece of sound: its loudness (root mean square) and its length in samples.
    pub(crate) fn hear(&mut self, level: f32, samples: usize) {
        let otherwise = if self.on { level < ENDS } else { level >= BEGINS };
        self.against = if otherwise { self.against + samples } else { 0 };
        if self.against >= if self.on { ENDS_AFTER } else { BEGINS_AFTER } {
            *self = Self { on: !self.on, against: 0 };
        }
    }

    /// Whether they speak now.
    pub(crate) fn on(&self) -> bool {
        self.on
    }
}

/// Whether a microphone that is open gives nothing.
#[derive(Debug)]
pub(crate) struct Silence {
    /// When it was last heard, or began.
    since: Instant,
    heard: bool,
}

impl Silence {
    /// Another microphone begins.
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, heard: false }
    }

    /// Takes in what it gave, before anything was done to it.
    pub(crate) fn hear(&mut self, pcm: &[f32], now: Instant) {
        if is_sound(pcm) {
            *self = Self { since: now, heard: true };
        }
    }

    /// Whether it has been silent for too long to be just a quiet room.
    pub(crate) fn on(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= if self.heard { HEARD_ONCE } else { NEVER_HEARD }
    }
}

/// Whether there is anything in it, be it noise.
pub(crate) fn is_sound(pcm: &[f32]) -> bool {
    let (low, high) =
        pcm.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)));
    high - low > NOTHING
}

#[cfg(test)]
mod tests {
    use super::super::BLOCK;
    use super::super::measure::Lcg;
    use super::*;

    /// What is said after each of so many blocks of this loudness.
    fn after(speaking: &mut Speaking, level: f32, blocks: usize) -> bool {
        for _ in 0..blocks {
            speaking.hear(level, BLOCK);
        }
        speaking.on()
    }

    #[test]
    fn speech_is_marked_at_once_and_its_pauses_are_bridged() {
        let mut speaking = Speaking::default();
        assert!(!after(&mut speaking, 0.003, 1000), "a room");
        assert!(!after(&mut speaking, 0.3, 5), "a click");
        assert!(!after(&mut speaking, 0.0, 1));
        assert!(after(&mut speaking, 0.05, 6));
        for _ in 0..20 {
            assert!(after(&mut speaking, 0.0, 30), "between two words");
            assert!(after(&mut speaking, 0.05, 10));
        }
        assert!(after(&mut speaking, 0.006, 1000), "between the two floors it stays as it is");
        assert!(after(&mut speaking, 0.0, 39));
        assert!(!after(&mut speaking, 0.0, 1));
        assert!(!after(&mut speaking, 0.006, 1000), "between the two floors it stays as it is");
        assert!(!after(&mut speaking, f32::NAN, 1000));
    }

    #[test]
    fn the_size_of_the_pieces_makes_no_difference() {
        let mut random = Lcg::new(7);
        let levels: Vec<f32> = (0..400).map(|_| [0.0, 0.005, 0.05][random.below(3) as usize]).collect();
        let (mut small, mut large) = (Speaking::default(), Speaking::default());
        for level in levels {
            large.hear(level, 4 * BLOCK);
            for _ in 0..4 {
                small.hear(level, BLOCK);
            }
            assert_eq!(small.on(), large.on());
        }
    }

    #[test]
    fn a_microphone_that_gives_nothing_is_told_of_until_it_gives_something() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut noise = Lcg::new(1);
        let hiss: Vec<f32> = (0..BLOCK).map(|_| noise.next_f32() * 3e-4).collect();
        let mut silence = Silence::new(start);
        for ms in (0..4000).step_by(10) {
            assert!(!silence.on(at(ms)));
            // Muted, with an offset and the last bit flickering.
            silence.hear(&[0.01, 0.01 + 3e-5, 0.01], at(ms));
        }
        assert!(silence.on(at(4000)));
        silence.hear(&hiss, at(5000));
        assert!(!silence.on(at(5000)));
        assert!(!silence.on(at(24_999)), "a gate may have closed");
        assert!(silence.on(at(25_000)));
        assert!(!Silence::new(at(25_000)).on(at(28_999)), "another one has its own time");
        assert!(!is_sound(&[]));
    }
}
