//! An open microphone or speaker as the audio thread uses it: rings, rates, fill levels, a watchdog.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer};

use super::BLOCK;
use super::ends::{MicSource, NoSpeaker, SpeakerSink};
use super::margin::Margin;
use super::opener::Named;
use super::resample::Resampler;
use super::ring::{Gauge, Heard};
use crate::codec::opus::RATE;
use crate::ends::DeviceError;

/// A device that moves nothing for this long is lost: some go away without a word.
const STALLED: Duration = Duration::from_millis(800);
/// One that has just been opened gets more time: Bluetooth takes seconds to start.
const STARTING: Duration = Duration::from_secs(3);
/// It has started once it has been moving for so long.
const STARTED: Duration = Duration::from_secs(2);
/// A speaker that has not started does not take anything for longer than this.
const STILL: Duration = Duration::from_millis(60);
/// A device that stumbles more often than this in a second needs longer buffers.
const OFTEN: usize = 3;
/// The watchdog looks at least so often, else it was our own thread, or the machine, that stood still.
const HELD_UP: Duration = Duration::from_millis(400);
/// The audio thread looks at a device this often even when its callback does not wake it.
const LOOK: Duration = Duration::from_millis(20);
/// A device's clock is no more than one part in so many (0.2 %) faster than ours.
const DRIFT: u32 = 500;
/// Calls larger than this (100 ms) are the device's first gulp, not its habit.
const GULP: usize = 10;
/// What a microphone may have recorded and not given is no less than 20 ms, nor less than two of its calls.
const LEAST_HELD: usize = 2 * BLOCK;

/// A device's stream and what is known of it.
pub(crate) struct Opened {
    #[expect(dead_code, reason = "held for its life: sound stops when it is dropped")]
    pub(crate) stream: Box<dyn Send>,
    pub(crate) name: String,
    pub(crate) id: String,
    /// Frames a second.
    pub(crate) rate: u32,
    pub(crate) gauge: Arc<Gauge>,
}

impl Opened {
    fn lost(&self, why: &str) -> DeviceError {
        DeviceError::Lost { what: self.name.clone(), why: why.into() }
    }
}

/// Notices that a device has stopped.
#[derive(Default)]
struct Watchdog {
    moved: u64,
    /// When it moved first, and last.
    moves: Option<(Instant, Instant)>,
    looked: Option<Instant>,
    /// Stumbles before this second, and when it began.
    stumbled: Option<(usize, Instant)>,
}

impl Watchdog {
    fn check(&mut self, opened: &Opened, now: Instant) -> Result<(), DeviceError> {
        if opened.gauge.failed.load(Ordering::Acquire) {
            return Err(opened.lost("the system closed it"));
        }
        if self.stalled(opened.gauge.moved.load(Ordering::Relaxed), now) {
            return Err(opened.lost("no sound came or went"));
        }
        if self.stumbles_often(opened.gauge.stumbles.load(Ordering::Relaxed), now)
            && super::cpal::take_longer_buffers(&opened.id)
        {
            return Err(opened.lost("it is opened anew with longer buffers"));
        }
        Ok(())
    }

    /// Whether there were too many of them in a second; `stumbles` counts on.
    fn stumbles_often(&mut self, stumbles: usize, now: Instant) -> bool {
        let (before, since) = *self.stumbled.get_or_insert((stumbles, now));
        if now.saturating_duration_since(since) > Duration::from_secs(1) {
            self.stumbled = Some((stumbles, now));
            return false;
        }
        stumbles - before > OFTEN
    }

    /// Whether anything has, beyond what a stream is filled with when it is opened.
    fn has_moved(&self) -> bool {
        self.moves.is_some_and(|(first, last)| last.saturating_duration_since(first) > STILL)
    }

    /// Whether nothing has moved yet, or for a moment, of a device that is starting.
    fn starting(&self, now: Instant) -> bool {
        let Some((first, last)) = self.moves else { return true };
        let started = last.saturating_duration_since(first) > STARTED;
        !started && (self.moved == 0 || now.saturating_duration_since(last) > STILL)
    }

    /// Whether nothing has moved for too long; `moved` counts frames.
    fn stalled(&mut self, moved: u64, now: Instant) -> bool {
        let looked = self.looked.replace(now).unwrap_or(now);
        let (first, last) = self.moves.get_or_insert((now, now));
        if moved != self.moved {
            self.moved = moved;
            *last = now;
            return false;
        }
        let since = now.saturating_duration_since(looked);
        if since > HELD_UP {
            *last = (*last + since).min(now);
        }
        let started = last.saturating_duration_since(*first) > STARTED;
        now.saturating_duration_since(*last) > if started { STALLED } else { STARTING }
    }
}

/// A microphone that is open.
pub(crate) struct DeviceMic {
    opened: Opened,
    ring: Consumer<Heard>,
    resampler: Resampler,
    /// For left and right.
    wide: [Resampler; 2],
    scratch: [Vec<f32>; 3],
    watchdog: Watchdog,
    missed: u64,
}

impl DeviceMic {
    pub(crate) fn new(opened: Opened, ring: Consumer<Heard>) -> Self {
        let [resampler, left, right] = std::array::from_fn(|_| Resampler::new(opened.rate, RATE));
        let (wide, scratch, watchdog) = ([left, right], Default::default(), Watchdog::default());
        Self { opened, ring, resampler, wide, scratch, watchdog, missed: 0 }
    }

    /// Takes all that the ring holds.
    fn take(&mut self, wide: bool, out: &mut Vec<f32>) {
        let there = self.ring.slots();
        let Ok(chunk) = self.ring.read_chunk(there) else { return };
        let [raw, left, right] = &mut self.scratch;
        let (a, b) = chunk.as_slices();
        let mut convert = |resampler: &mut Resampler, pick: fn(&Heard) -> f32, out: &mut Vec<f32>| {
            raw.clear();
            raw.extend(a.iter().chain(b).map(pick));
            resampler.push(raw, out);
        };
        if wide {
            left.clear();
            right.clear();
            convert(&mut self.wide[0], |heard| heard.wide[0], left);
            convert(&mut self.wide[1], |heard| heard.wide[1], right);
            out.extend(left.iter().zip(right.iter()).flat_map(|(left, right)| [*left, *right]));
        } else {
            convert(&mut self.resampler, |heard| heard.mono, out);
        }
        chunk.commit_all();
    }
}

impl Named for DeviceMic {
    fn name(&self) -> String {
        self.opened.name.clone()
    }

    fn device(&self) -> Option<&str> {
        Some(&self.opened.id)
    }

    fn gave(&self) -> bool {
        self.watchdog.has_moved()
    }
}

impl MicSource for DeviceMic {
    fn read(&mut self, now: Instant, wide: bool, out: &mut Vec<f32>) -> Result<usize, DeviceError> {
        self.watchdog.check(&self.opened, now)?;
        self.take(wide, out);
        let missed = self.opened.gauge.missed.load(Ordering::Relaxed);
        let lost = missed - self.missed;
        self.missed = missed;
        Ok((lost * u64::from(RATE) / u64::from(self.opened.rate)) as usize)
    }

    fn next_due(&self, now: Instant) -> Instant {
        now + super::IDLE
    }

    fn held(&self) -> usize {
        let call = self.opened.gauge.largest.load(Ordering::Relaxed) as u64;
        let call = (call * u64::from(RATE) / u64::from(self.opened.rate)) as usize;
        let call = if call > GULP * BLOCK { 0 } else { call };
        (2 * call).max(LEAST_HELD)
    }

    fn hears_a_room(&self) -> bool {
        true
    }

    fn wake_after(&mut self, samples: usize) {
        let frames = (samples as u64 * u64::from(self.opened.rate)).div_ceil(u64::from(RATE));
        self.opened.gauge.wake_at.store(frames as usize, Ordering::Relaxed);
    }
}

/// A speaker that is open. Its ring is filled up to what the device takes at a time and a little more, and
/// only as fast as time passes, so that delay can neither creep in nor be gulped in.
pub(crate) struct DeviceSpeaker {
    opened: Opened,
    ring: Producer<[f32; 2]>,
    /// For left and right.
    resamplers: [Resampler; 2],
    converted: [Vec<f32>; 2],
    frames: Vec<[f32; 2]>,
    watchdog: Watchdog,
    level: Level,
    missed: u64,
    /// Time up to which blocks have been mixed, by the device's clock, and when that was last set.
    mixed_until: Option<(Instant, Instant)>,
    /// Keeps time while the device is starting, lest what comes meanwhile be heard late ever after.
    meanwhile: Option<NoSpeaker>,
}

impl DeviceSpeaker {
    pub(crate) fn new(opened: Opened, ring: Producer<[f32; 2]>) -> Self {
        Self {
            resamplers: std::array::from_fn(|_| Resampler::new(RATE, opened.rate)),
            opened,
            ring,
            converted: Default::default(),
            frames: Vec::new(),
            watchdog: Watchdog::default(),
            level: Level::default(),
            missed: 0,
            mixed_until: None,
            meanwhile: None,
        }
    }

    fn in_samples(&self, frames: usize) -> usize {
        (frames as u64 * u64::from(RATE) / u64::from(self.opened.rate)) as usize
    }
}

impl Named for DeviceSpeaker {
    fn name(&self) -> String {
        self.opened.name.clone()
    }

    fn device(&self) -> Option<&str> {
        Some(&self.opened.id)
    }

    fn gave(&self) -> bool {
        self.watchdog.has_moved()
    }
}

impl SpeakerSink for DeviceSpeaker {
    fn wanted(&mut self, now: Instant) -> Result<usize, DeviceError> {
        self.watchdog.check(&self.opened, now)?;
        if self.watchdog.starting(now) {
            return self.meanwhile.get_or_insert_with(|| NoSpeaker::new(now)).wanted(now);
        }
        self.meanwhile = None;
        let missed = self.opened.gauge.missed.load(Ordering::Relaxed);
        let starved = missed > self.missed && self.mixed_until.is_some();
        self.missed = missed;
        let call = self.in_samples(self.opened.gauge.largest.swap(0, Ordering::Relaxed));
        let target = self.level.update(call, starved, now);
        let filled = self.in_samples(self.ring.buffer().capacity() - self.ring.slots());
        let blocks = target.saturating_sub(filled).div_ceil(BLOCK);
        // No faster than time: a device's first gulp of seconds must not drain the jitter buffers. Its clock
        // may be faster than ours all the same: it is let gain a little.
        let most = Duration::from_secs_f64(target as f64 / f64::from(RATE)) + TICK;
        let least = now.checked_sub(most).unwrap_or(now);
        // And what the sound server keeps more of since is beyond time too.
        let kept = self.in_samples(self.opened.gauge.kept_more.swap(0, Ordering::Relaxed));
        let kept = Duration::from_secs_f64(kept as f64 / f64::from(RATE));
        let from = self.mixed_until.map_or(now, |(until, then)| {
            let gained = now.saturating_duration_since(then) / DRIFT + kept;
            until.checked_sub(gained).unwrap_or(until).max(least)
        });
        let ahead = (now + most).saturating_duration_since(from);
        let allowed = (ahead.as_millis() / TICK.as_millis()) as usize;
        let blocks = blocks.min(allowed);
        self.mixed_until = Some((from + TICK * blocks as u32, now));
        Ok(blocks)
    }

    fn fills_a_room(&self) -> bool {
        true
    }

    fn ahead(&self) -> Duration {
        // What the ring holds, and what the device has taken and is playing.
        let held = self.in_samples(self.ring.buffer().capacity() - self.ring.slots());
        Duration::from_secs_f64((held + self.level.call()) as f64 / f64::from(RATE))
    }

    fn write(&mut self, block: &[[f32; BLOCK]; 2]) -> Result<(), DeviceError> {
        if self.meanwhile.is_some() {
            return Ok(());
        }
        for ((resampler, pcm), out) in self.resamplers.iter_mut().zip(block).zip(&mut self.converted) {
            out.clear();
            resampler.push(pcm, out);
        }
        let [left, right] = &self.converted;
        self.frames.clear();
        self.frames.extend(left.iter().zip(right).map(|(left, right)| [*left, *right]));
        // The target is far below the ring's half second: there is room, or the device has stopped.
        let (_, _left_out) = self.ring.push_partial_slice(&self.frames);
        Ok(())
    }

    fn next_due(&self, now: Instant) -> Instant {
        now + LOOK
    }
}

const TICK: Duration = Duration::from_millis(10);

/// How full to keep the ring, in samples: the device's largest call of late, 5 ms for the audio thread to
/// come in time, and more for a while after it came too late.
#[derive(Default)]
struct Level {
    /// Largest calls of the last seconds: the second before, and this one.
    calls: [usize; 2],
    turned: Option<Instant>,
    /// When it began.
    began: Option<Instant>,
    /// In steps of half a block.
    margin: Margin,
}

impl Level {
    /// Most that is kept beyond what the device takes: 50 ms.
    const MOST_EXTRA: usize = 5 * BLOCK;

    fn update(&mut self, call: usize, starved: bool, now: Instant) -> usize {
        if now.saturating_duration_since(*self.turned.get_or_insert(now)) > Duration::from_secs(2) {
            self.turned = Some(now);
            self.calls = [0, self.calls[0]];
        }
        if call <= GULP * BLOCK {
            self.calls[0] = self.calls[0].max(call);
        }
        let since = now.saturating_duration_since(*self.began.get_or_insert(now));
        if starved {
            self.margin.ran_dry(1, (Self::MOST_EXTRA / (BLOCK / 2)) as u32, since);
        } else {
            self.margin.lasted(since);
        }
        self.call().max(BLOCK) + BLOCK / 2 + self.margin.level() as usize * (BLOCK / 2)
    }

    /// The largest call of late.
    fn call(&self) -> usize {
        self.calls[0].max(self.calls[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_stops_is_noticed_within_a_second_and_a_slow_start_is_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut dog = Watchdog::default();
        assert!((0..=29).all(|n| !dog.stalled(0, at(n * 100))), "Bluetooth takes its time");
        assert!(dog.stalled(0, at(3100)) && !dog.has_moved());
        let mut dog = Watchdog::default();
        assert!(!dog.stalled(480, start) && !dog.has_moved(), "what it is filled with is no sign of life");
        assert!(!dog.stalled(480, at(300)) && !dog.has_moved(), "nor that it stays");
        let mut dog = Watchdog::default();
        assert!((0..30).all(|n| !dog.stalled(n, at(n * 100))));
        let noticed = (30..50).map(|n| at(n * 100)).find(|now| dog.stalled(29, *now)).unwrap();
        assert!(noticed < at(2900 + 1000), "{:?}", noticed - at(2900));
    }

    #[test]
    fn a_stumble_now_and_then_is_nothing_and_many_at_once_are() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut dog = Watchdog::default();
        assert!((0..1000).all(|n| !dog.stumbles_often(n as usize / 5, at(n * 100))), "two a second");
        assert!((0..10).any(|n| dog.stumbles_often(200 + 2 * n as usize, at(100_000 + n * 100))));
    }

    #[test]
    fn a_machine_that_stood_still_is_no_device_that_did() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut dog = Watchdog::default();
        assert!((0..30).all(|n| !dog.stalled(n, at(n * 100))));
        assert!(!dog.stalled(29, at(60_000)), "asleep for a minute");
        assert!(!dog.stalled(29, at(60_500)), "and slow to wake");
        assert!((0..10).any(|n| dog.stalled(29, at(60_600 + n * 100))));
    }

    #[test]
    fn the_ring_holds_a_call_and_a_little_and_grows_only_while_it_runs_dry() {
        let (start, mut level) = (Instant::now(), Level::default());
        assert_eq!(level.update(0, false, start), BLOCK + BLOCK / 2);
        assert_eq!(level.update(96_000, false, start), BLOCK + BLOCK / 2, "a first gulp of 2 s is no habit");
        assert_eq!(level.update(1152, false, start), 1152 + BLOCK / 2);
        for _ in 0..100 {
            level.update(1152, true, start);
        }
        assert_eq!(level.update(0, false, start), 1152 + BLOCK / 2 + Level::MOST_EXTRA);
        let mut target = 0;
        for second in 0..400 {
            target = level.update(480, false, start + Duration::from_secs(second));
        }
        assert_eq!(target, BLOCK + BLOCK / 2, "and everything is taken back");
    }
}
