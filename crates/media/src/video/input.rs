//! Pictures in: one thread for each remote picture, from packets to the slots that are drawn from.

use super::assembler::{Assembled, Assembler};
use super::inbox::{RtpInlet, Wake};
use super::playout::{Playout, Waiting};
use super::rate::Rate;
use super::receive::Reception;
use crate::codec::vp8::Vp8Decoder;
use crate::codec::{CodecError, VideoDecoder};
use crate::frame::{Frame, I420};
use crate::pool::Pool;
use crate::slot::Slot;
use crate::sync::Lips;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What was received so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VideoInStats {
    /// Pictures decoded.
    pub frames_decoded: u64,
    /// Pictures given up before decoding (each gap counts once), broken, or decoded too late to be shown.
    pub frames_dropped: u64,
    /// Keyframes among the decoded.
    pub key_frames_decoded: u64,
    /// Times that the picture stood still, as W3C webrtc-stats has it.
    pub freeze_count: u64,
    /// How long in all, milliseconds.
    pub total_freezes_ms: u64,
    /// Pixels across of the last picture.
    pub width: u32,
    /// Pixels down of the last picture.
    pub height: u32,
    /// Pictures in the last second.
    pub fps: f64,
    /// Packets received.
    pub packets: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// RFC 3550's interarrival jitter.
    pub jitter_ms: f64,
    /// Keyframes asked for.
    pub plis: u64,
    /// Time that pictures of late waited between their last packet and the screen, milliseconds.
    pub jitter_buffer_delay_ms: f64,
    /// How much later than its sound the picture is shown, negative when before it, milliseconds; `None` while
    /// not both play, or before their clocks are known.
    pub skew_ms: Option<f64>,
}

struct Shared {
    stats: Mutex<(VideoInStats, Rate)>,
    round_trip: Mutex<Option<Duration>>,
    lips: Mutex<Option<Lips>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The values guarded are whole after each assignment, whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread "video decoder NAME"; dropping it joins the thread.
pub struct VideoIn {
    inlet: RtpInlet,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl VideoIn {
    /// Starts decoding into `outputs`, each of which gets every picture. `keyframe_wanted` is called on
    /// the decoder's thread and must not block.
    pub fn spawn(label: &str, outputs: Vec<Slot<Frame>>, keyframe_wanted: Box<dyn Fn() + Send>) -> VideoIn {
        let inlet = RtpInlet::default();
        let shared = Arc::new(Shared {
            stats: Mutex::default(),
            round_trip: Mutex::default(),
            lips: Mutex::default(),
        });
        let worker = Worker {
            inlet: inlet.clone(),
            shared: shared.clone(),
            outputs,
            keyframe_wanted,
            assembler: Assembler::new(),
            decoder: None,
            pool: Pool::for_waiting(Waiting::<Ready>::MOST),
            screen: Screen::new(),
            reception: Reception::default(),
            broken: 0,
            late: 0,
            data: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("video decoder {label}"))
            .spawn(move || worker.run())
            .inspect_err(
                |error| tracing::error!(%error, label, "no thread for a decoder: no picture is shown"),
            )
            .ok();
        VideoIn { inlet, shared, thread }
    }

    /// Where received packets go.
    pub fn inlet(&self) -> RtpInlet {
        self.inlet.clone()
    }

    /// What was received so far.
    pub fn stats(&self) -> VideoInStats {
        let now = Instant::now();
        let skew_ms = lock(&self.shared.lips).as_ref().and_then(|lips| lips.skew_ms(now));
        let stats = lock(&self.shared.stats);
        VideoInStats { fps: stats.1.per_second(now), skew_ms, ..stats.0 }
    }

    /// Tells the round trip to the sender, which bounds the wait for a lost packet.
    pub fn set_round_trip(&self, round_trip: Duration) {
        *lock(&self.shared.round_trip) = Some(round_trip);
    }

    /// Keeps the picture in step with this sound ([`crate::AudioInlet::lips`]) from now on.
    pub fn follow(&self, lips: Lips) {
        *lock(&self.shared.lips) = Some(lips);
    }

    /// The picture is over (camera off): what came is forgotten and black is shown until a keyframe comes.
    pub fn clear(&self) {
        self.inlet.clear();
    }
}

impl Drop for VideoIn {
    fn drop(&mut self) {
        self.inlet.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a video decoder's thread panicked");
        }
    }
}

struct Worker {
    inlet: RtpInlet,
    shared: Arc<Shared>,
    outputs: Vec<Slot<Frame>>,
    keyframe_wanted: Box<dyn Fn() + Send>,
    assembler: Assembler,
    decoder: Option<Box<dyn VideoDecoder>>,
    pool: Pool,
    screen: Screen,
    reception: Reception,
    /// Pictures that the decoder refused.
    broken: u64,
    /// Pictures that the next one was due before they could be shown.
    late: u64,
    /// The picture being decoded; kept for its memory.
    data: Vec<u8>,
}

impl Worker {
    fn run(mut self) {
        let mut batch = VecDeque::new();
        loop {
            let due = [self.assembler.deadline(), self.screen.waiting.due()].into_iter().flatten().min();
            match self.inlet.wait(due, &mut batch) {
                Wake::Close => return,
                Wake::Clear => self.blacken(),
                Wake::Work => {}
            }
            if let Some(round_trip) = lock(&self.shared.round_trip).take() {
                self.assembler.set_round_trip(round_trip);
            }
            for packet in batch.drain(..) {
                self.reception.on(&packet);
                self.assembler.on(packet, Instant::now());
                self.decode();
                self.show();
            }
            self.show();
            let wanted = self.assembler.keyframe_wanted(Instant::now());
            self.report();
            if wanted {
                (self.keyframe_wanted)();
            }
        }
    }

    fn decode(&mut self) {
        while let Some(assembled) = self.assembler.next(Instant::now(), &mut self.data) {
            match self.decoded() {
                Ok(picture) => self.take_in(picture, &assembled),
                Err(error) => {
                    tracing::debug!(%error, "a picture was not decoded");
                    self.assembler.broken(Instant::now());
                    self.broken += 1;
                }
            }
        }
    }

    fn decoded(&mut self) -> Result<Option<Arc<I420>>, CodecError> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(Box::new(Vp8Decoder::new()?)),
        };
        decoder.push(&self.data)?;
        Ok(decoder.pop(&mut self.pool))
    }

    /// Counts a decoded picture and has it shown in its time, if it is one to be shown.
    fn take_in(&mut self, picture: Option<Arc<I420>>, assembled: &Assembled) {
        let mut guard = lock(&self.shared.stats);
        let stats = &mut guard.0;
        stats.frames_decoded += 1;
        stats.key_frames_decoded += u64::from(assembled.key);
        let Some(image) = picture else { return };
        (stats.width, stats.height) = (image.width(), image.height());
        drop(guard);
        let Assembled { timestamp, arrived, sender_us, .. } = *assembled;
        let lips = lock(&self.shared.lips).clone();
        let ready = Ready { frame: Frame { image, captured: arrived }, sender_us };
        self.screen.put(ready, timestamp, lips.as_ref(), Instant::now());
    }

    /// Shows the picture that is due, if one is.
    fn show(&mut self) {
        let now = Instant::now();
        let Some((Ready { frame, sender_us }, given_up)) = self.screen.waiting.take(now) else { return };
        self.late += given_up;
        let mut guard = lock(&self.shared.stats);
        let (stats, rate) = &mut *guard;
        rate.count(now);
        if let Some(froze) = self.screen.freezes.on(now) {
            stats.freeze_count += 1;
            stats.total_freezes_ms += froze.as_millis() as u64;
        }
        let waited = now.saturating_duration_since(frame.captured).as_secs_f64() * 1000.0;
        stats.jitter_buffer_delay_ms += (waited - stats.jitter_buffer_delay_ms) / 16.0;
        drop(guard);
        if let (Some(lips), Some(captured)) = (&*lock(&self.shared.lips), sender_us) {
            lips.picture_shown(captured, now);
        }
        self.put(frame);
    }

    fn put(&self, frame: Frame) {
        for output in &self.outputs {
            output.put(frame.clone());
        }
    }

    fn blacken(&mut self) {
        self.assembler.clear();
        self.screen = Screen::new();
        let stats = lock(&self.shared.stats).0;
        if stats.width > 0 {
            self.put(Frame {
                image: Arc::new(I420::black(stats.width, stats.height)),
                captured: Instant::now(),
            });
        }
    }

    fn report(&self) {
        let mut guard = lock(&self.shared.stats);
        let stats = &mut guard.0;
        let counts = self.assembler.counts();
        stats.packets = self.reception.packets;
        stats.packets_lost = self.reception.lost();
        stats.jitter_ms = self.reception.jitter_ms();
        stats.plis = counts.keyframes_wanted;
        stats.frames_dropped = counts.frames_dropped + self.broken + self.late;
    }
}

/// A decoded picture.
struct Ready {
    frame: Frame,
    sender_us: Option<i64>,
}

/// Decoded pictures and their time.
struct Screen {
    playout: Playout,
    waiting: Waiting<Ready>,
    freezes: Freezes,
}

impl Screen {
    /// Pictures wait for their sound no longer than this.
    const FOR_SOUND: Duration = Duration::from_millis(500);

    fn new() -> Self {
        Self { playout: Playout::new(), waiting: Waiting::new(), freezes: Freezes::default() }
    }

    fn put(&mut self, ready: Ready, timestamp: u32, lips: Option<&Lips>, now: Instant) {
        let due = self.playout.on(timestamp, now);
        let heard = lips.zip(ready.sender_us).and_then(|(lips, captured)| lips.due(captured, now));
        let due = heard.map_or(due, |heard| due.max(heard.min(now + Self::FOR_SOUND)));
        self.waiting.put(ready, due);
    }
}

/// When the picture stood still: W3C webrtc-stats calls it a freeze when a picture comes later than three
/// times the mean gap of the last 30, and than that gap and 150 ms.
#[derive(Default)]
pub(super) struct Freezes {
    last: Option<Instant>,
    gaps: VecDeque<Duration>,
}

impl Freezes {
    pub(super) fn on(&mut self, now: Instant) -> Option<Duration> {
        let gap = now.saturating_duration_since(self.last.replace(now)?);
        let mean = self.gaps.iter().sum::<Duration>() / (self.gaps.len().max(1) as u32);
        let frozen = !self.gaps.is_empty() && gap >= (mean * 3).max(mean + Duration::from_millis(150));
        if self.gaps.len() == 30 {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap);
        frozen.then_some(gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_waits_for_its_sound_but_not_for_long() {
        let (lips, mut screen, now) = (Lips::default(), Screen::new(), Instant::now());
        let at = |ms: u64| now + Duration::from_millis(ms);
        let picture = |sender_us| Ready {
            frame: Frame { image: Arc::new(I420::black(4, 4)), captured: now },
            sender_us,
        };
        // Sound is heard 150 ms after it was captured, pictures come after 20; they may be 40 ms ahead of it.
        lips.sound_played(5_000_000, at(150));
        screen.put(picture(Some(5_100_000)), 9000, Some(&lips), at(120));
        assert_eq!(screen.waiting.due(), Some(at(210)));
        assert!(screen.waiting.take(at(209)).is_none() && screen.waiting.take(at(210)).is_some());
        // Without a clock, or a sound to follow, at once; and never longer than half a second.
        screen.put(picture(None), 18_000, Some(&lips), at(220));
        assert!(screen.waiting.take(at(220)).is_some());
        screen.put(picture(Some(5_200_000)), 27_000, None, at(320));
        assert!(screen.waiting.take(at(320)).is_some());
        screen.put(picture(Some(6_900_000)), 36_000, Some(&lips), at(420));
        assert_eq!(screen.waiting.due(), Some(at(920)));
    }

    #[test]
    fn a_long_gap_is_a_freeze_and_a_slow_source_is_none() {
        let start = Instant::now();
        let mut freezes = Freezes::default();
        let at = |ms| start + Duration::from_millis(ms);
        assert!((0..30).all(|n| freezes.on(at(n * 33)).is_none()));
        assert_eq!(freezes.on(at(957 + 300)), Some(Duration::from_millis(300)));
        let mut slow = Freezes::default();
        assert!((0..30).all(|n| slow.on(at(n * 500)).is_none()));
    }
}
