//! What the audio thread needs of a microphone and of a speaker, and the ends that need no device.

use std::time::{Duration, Instant};

use super::BLOCK;
use super::opener::Named;
use crate::codec::opus::RATE;
use crate::ends::DeviceError;

const TICK: Duration = Duration::from_millis(10);
/// Blocks made up for at once after the thread was held up; more are skipped.
const CATCH_UP: usize = 20;

/// Where one's own sound comes from: 48 kHz.
pub(crate) trait MicSource: Named + Send {
    /// Appends what there is by now, and says how many samples were lost before it. Mono, or `wide`: left and
    /// right in turn, the same twice where there is only one.
    fn read(&mut self, now: Instant, wide: bool, out: &mut Vec<f32>) -> Result<usize, DeviceError>;
    /// When to ask again at the latest.
    fn next_due(&self, now: Instant) -> Instant;
    /// How many samples it may have recorded already and not given yet.
    fn held(&self) -> usize {
        0
    }
    /// Whether it hears a room, with its noise and what the speaker plays there.
    fn hears_a_room(&self) -> bool {
        false
    }
    /// Asks to wake the thread once so many more samples (48 kHz) are there. Ends on a clock need not.
    fn wake_after(&mut self, _samples: usize) {}
}

/// Where the others' sound goes: 48 kHz, left and right, in blocks of 10 ms.
pub(crate) trait SpeakerSink: Named + Send {
    /// How many blocks should be written now.
    fn wanted(&mut self, now: Instant) -> Result<usize, DeviceError>;
    /// How long after being written the next block will be heard.
    fn ahead(&self) -> Duration {
        Duration::ZERO
    }
    /// Whether a microphone may hear it.
    fn fills_a_room(&self) -> bool {
        false
    }
    /// Takes a block; never waits for a device.
    fn write(&mut self, block: &[[f32; BLOCK]; 2]) -> Result<(), DeviceError>;
    /// When to ask again at the latest.
    fn next_due(&self, now: Instant) -> Instant;
}

/// Counts blocks of 10 ms by the clock, for ends that have none of their own.
pub(crate) struct Metronome {
    /// When the next block begins to be due.
    next: Instant,
}

impl Metronome {
    pub(crate) fn new(now: Instant) -> Self {
        Self { next: now + TICK }
    }

    /// Blocks due by now, and blocks skipped before them because it has been too long.
    pub(crate) fn due(&mut self, now: Instant) -> (usize, usize) {
        let Some(late) = now.checked_duration_since(self.next) else { return (0, 0) };
        let blocks = (late.as_nanos() / TICK.as_nanos()) as usize + 1;
        self.next += TICK * u32::try_from(blocks).unwrap_or(u32::MAX);
        if blocks <= CATCH_UP { (blocks, 0) } else { (1, blocks - 1) }
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
    }
}

/// A test tone: 440 Hz at a quarter of full scale.
pub(crate) struct Tone {
    clock: Metronome,
    at: u32,
}

impl Tone {
    pub(crate) fn new(now: Instant) -> Self {
        Self { clock: Metronome::new(now), at: 0 }
    }
}

impl Named for Tone {
    fn name(&self) -> String {
        "Test tone".into()
    }
}

impl MicSource for Tone {
    fn read(&mut self, now: Instant, wide: bool, out: &mut Vec<f32>) -> Result<usize, DeviceError> {
        let (blocks, skipped) = self.clock.due(now);
        for _ in 0..blocks * BLOCK {
            let turn = self.at as f32 * 440.0 / RATE as f32;
            let x = (turn * std::f32::consts::TAU).sin() * 0.25;
            out.extend(std::iter::repeat_n(x, if wide { 2 } else { 1 }));
            self.at = (self.at + 1) % RATE;
        }
        Ok(skipped * BLOCK)
    }

    fn next_due(&self, _now: Instant) -> Instant {
        self.clock.next()
    }
}

/// No speaker: the others are decoded by the clock all the same.
pub(crate) struct NoSpeaker {
    clock: Metronome,
}

impl NoSpeaker {
    pub(crate) fn new(now: Instant) -> Self {
        Self { clock: Metronome::new(now) }
    }
}

impl Named for NoSpeaker {
    fn name(&self) -> String {
        "No speaker".into()
    }
}

impl SpeakerSink for NoSpeaker {
    fn wanted(&mut self, now: Instant) -> Result<usize, DeviceError> {
        Ok(self.clock.due(now).0)
    }

    fn write(&mut self, _block: &[[f32; BLOCK]; 2]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn next_due(&self, _now: Instant) -> Instant {
        self.clock.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metronome_keeps_time_and_skips_after_a_long_sleep() {
        let start = Instant::now();
        let mut clock = Metronome::new(start);
        assert_eq!(clock.due(start), (0, 0));
        assert_eq!(clock.due(start + TICK), (1, 0));
        assert_eq!(clock.due(start + TICK * 3 + TICK / 2), (2, 0));
        assert_eq!(clock.next(), start + TICK * 4);
        assert_eq!(clock.due(start + TICK * 1003), (1, 999));
        assert_eq!(clock.due(start + TICK * 1004), (1, 0));
    }
}
