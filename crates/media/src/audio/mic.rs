//! One's own voice on its way out: source, packets of 20 ms (40 on a thin path), Opus, and the gate that mute is.

use bytes::Bytes;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::AudioEvent;
use super::booth::Booth;
use super::cleaner::Cleaner;
use super::ends::{MicSource, Tone};
use super::measure::rms;
use super::opener::{Change, Opener};
use super::pauses::{Pauses, Worth};
use super::processing::{Noise, Processing};
use super::watch::Side;
use super::wav::WavMic;
use crate::codec::opus::{self, LONG_PACKET, OpusEncoder, OpusError, PACKET, RATE};
use crate::ends::{DeviceError, MicUse};

/// The level falls by this much for each piece of sound when it gets quiet.
const LEVEL_FALL: f32 = 0.8;

/// 20 or 40 ms of one's own voice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioPacket {
    /// One Opus packet.
    pub data: Bytes,
    /// Time of its first sample by the capture clock, 48 kHz, from a random start.
    pub timestamp: u32,
    /// First packet after silence: the first of all, after mute, after another source began, after a pause.
    pub marker: bool,
    /// When its first sample was captured.
    pub captured: Instant,
}

/// What one's own voice may cost, and what becomes of it on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AudioUplink {
    /// Bits a second of Opus payload, clamped to what Opus takes
    /// ([`BITRATES`](crate::codec::opus::BITRATES)).
    pub bitrate: u32,
    /// Share of the packets that receivers say they lost, 0 to 1.
    pub loss: f32,
    /// 40 ms of sound in a packet instead of 20: half the headers, for a path with room for little more.
    pub long: bool,
    /// Everybody who gets it would rather be sent less in pauses (DTX).
    pub dtx: bool,
}

/// Who takes packets; called on the audio thread while the gate is held, so it must be quick, and it must
/// not call [`super::Audio`] back.
pub(crate) type Sink = Box<dyn FnMut(AudioPacket) + Send>;

/// Mute. Passing it and closing it exclude each other, so nothing passes once [`Gate::set`] has returned.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<GateState>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct GateState {
    muted: bool,
    /// Grows with each change, so that a short mute between two looks is noticed.
    changes: u64,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        // A sink that panicked leaves the state as it was: sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, muted: bool) {
        let mut state = self.lock();
        if state.muted != muted {
            *state = GateState { muted, changes: state.changes + 1 };
        }
    }

    fn state(&self) -> GateState {
        *self.lock()
    }

    /// Runs `pass` if the gate is open and has not been touched since `seen`.
    fn pass(&self, seen: u64, pass: impl FnOnce()) -> bool {
        let state = self.lock();
        let open = !state.muted && state.changes == seen;
        if open {
            pass();
        }
        open
    }
}

/// The way out, as the audio thread runs it.
pub(crate) struct Mic {
    end: Opener<MicUse, dyn MicSource>,
    gate: Arc<Gate>,
    seen: u64,
    encoder: OpusEncoder,
    uplink: AudioUplink,
    processing: Processing,
    pauses: Pauses,
    /// What tells of a pause after the last packet.
    mark: Option<Bytes>,
    /// Not yet enough for a packet; the timestamp is that of the first frame.
    pending: Vec<f32>,
    fresh: Vec<f32>,
    /// Of `fresh`: a microphone's room taken out, or two channels made one.
    cleaned: Vec<f32>,
    timestamp: u32,
    marker: bool,
    /// Samples still to be dropped after unmuting.
    hold: usize,
    /// When the last samples came, and whether they came from the source in use.
    last: Option<(Instant, bool)>,
    level: Arc<AtomicU32>,
    sink: Sink,
}

impl Mic {
    pub(crate) fn new(
        sink: Sink,
        gate: Arc<Gate>,
        level: Arc<AtomicU32>,
        wake: Thread,
    ) -> Result<Self, OpusError> {
        Ok(Self {
            end: Opener::new("microphone", MicUse::None, open, wake),
            gate,
            seen: 0,
            encoder: OpusEncoder::new()?,
            uplink: AudioUplink { bitrate: 32_000, loss: 0.1, long: false, dtx: false },
            processing: Processing::default(),
            pauses: Pauses::default(),
            mark: None,
            pending: Vec::with_capacity(4 * PACKET),
            fresh: Vec::with_capacity(4 * PACKET),
            cleaned: Vec::with_capacity(4 * PACKET),
            timestamp: RandomState::new().hash_one(0u8) as u32,
            marker: true,
            hold: 0,
            last: None,
            level,
            sink,
        })
    }

    pub(crate) fn choose(&mut self, choice: MicUse, now: Instant) {
        self.end.choose(choice, now);
    }

    /// What is done to one's own sound: music is stereo, by an encoder of its own; pauses are left out only where
    /// noise is to be heard of no more.
    pub(crate) fn set_processing(&mut self, processing: Processing) {
        let before = std::mem::replace(&mut self.processing, processing);
        if before.music != processing.music {
            match if processing.music { OpusEncoder::music() } else { OpusEncoder::new() } {
                Ok(encoder) => {
                    // What was pending is of another shape.
                    self.skip(0);
                    self.encoder = encoder;
                    (self.pauses, self.mark) = (Pauses::default(), None);
                }
                Err(error) => tracing::warn!(%error, "the encoder goes on as it was"),
            }
        }
        self.set_encoder();
    }

    /// Whether the system's devices matter to it.
    pub(crate) fn needs_watch(&self) -> bool {
        self.end.needs_watch()
    }

    /// These are the system's microphones now.
    pub(crate) fn news(&mut self, mics: Side, booth: &mut Booth, now: Instant, tell: &dyn Fn(AudioEvent)) {
        if let Some(change) = self.end.news(mics, now) {
            self.source_changed();
            booth.mic_changed(now);
            tell(event(change));
        }
    }

    /// Follows the network from the next packet on.
    pub(crate) fn set_uplink(&mut self, uplink: AudioUplink) {
        self.uplink = uplink;
        self.set_encoder();
    }

    fn set_encoder(&mut self) {
        let AudioUplink { bitrate, loss, .. } = self.uplink;
        let set = self.encoder.set_bitrate(bitrate);
        if let Err(error) = set.and_then(|()| self.encoder.set_expected_loss(loss)) {
            tracing::warn!(%error, uplink = ?self.uplink, "the encoder of one's own voice stays as it was");
        }
    }

    /// Whether pauses are left out. A file or a test tone is sent as it is, and so is a room whose noise is not
    /// to be taken away.
    fn pauses(&mut self) -> bool {
        let Processing { music, noise, .. } = self.processing;
        let room = self.end.current().is_some_and(|source| source.hears_a_room());
        self.uplink.dtx && room && !music && noise != Noise::Off
    }

    /// Frames of a packet.
    fn packet(&self) -> usize {
        if self.uplink.long { LONG_PACKET } else { PACKET }
    }

    /// Frames that wait for their packet to be full.
    fn pending(&self) -> usize {
        self.pending.len() / self.encoder.channels()
    }

    /// Takes in what was captured, cleans it and sends what is full.
    pub(crate) fn run(
        &mut self,
        cleaner: &mut Cleaner,
        booth: &mut Booth,
        now: Instant,
        tell: &dyn Fn(AudioEvent),
    ) {
        if let Some(change) = self.end.poll(now) {
            self.source_changed();
            booth.mic_changed(now);
            tell(event(change));
        }
        self.fresh.clear();
        let Some(source) = self.end.current() else {
            self.set_level(0.0);
            self.obey_gate(0);
            return;
        };
        let cleaner = source.hears_a_room().then_some(cleaner);
        match source.read(now, self.encoder.channels() == 2, &mut self.fresh) {
            Ok(lost) => self.take(cleaner, booth, now, lost),
            Err(error) => {
                self.source_changed();
                booth.mic_changed(now);
                if let Some(change) = self.end.lost(error, now) {
                    tell(event(change));
                }
            }
        }
    }

    /// When to run again at the latest.
    pub(crate) fn next_due(&mut self, cleaner: &Cleaner, now: Instant) -> Option<Instant> {
        let missing = self.packet() - self.pending().min(self.packet() - 1);
        let source = self.end.current()?;
        source.wake_after(if source.hears_a_room() { cleaner.takes(missing) } else { missing });
        Some(source.next_due(now))
    }

    pub(crate) fn finish(self) {
        self.end.finish();
    }

    fn source_changed(&mut self) {
        if let Some((_, same)) = &mut self.last {
            *same = false;
        }
    }

    /// What has just been read is in `fresh`, and `lost` samples before it were not.
    fn take(&mut self, mut cleaner: Option<&mut Cleaner>, booth: &mut Booth, now: Instant, lost: usize) {
        let open = self.obey_gate(cleaner.as_ref().map_or(0, |cleaner| cleaner.delay()));
        if self.fresh.is_empty() {
            return;
        }
        self.set_level(rms(&self.fresh));
        let channels = self.encoder.channels();
        self.cleaned.clear();
        if channels == 2 {
            self.cleaned.extend(self.fresh.chunks_exact(2).map(|frame| (frame[0] + frame[1]) * 0.5));
        }
        booth.hear_raw(if channels == 2 { &self.cleaned } else { &self.fresh }, now);
        let length = Duration::from_secs_f64((self.fresh.len() / channels) as f64 / f64::from(RATE));
        let gap = match self.last {
            Some((at, false)) => {
                let silent = now.saturating_duration_since(at).saturating_sub(length);
                (silent.as_secs_f64() * f64::from(RATE)) as usize
            }
            _ => 0,
        };
        let changed = self.last.is_some_and(|(_, same)| !same);
        if gap > 0 || lost > 0 || changed {
            self.skip(gap + lost);
        }
        if let Some(cleaner) = cleaner.as_mut().filter(|_| changed) {
            cleaner.begin_anew();
        }
        self.last = Some((now, true));
        match &mut cleaner {
            // Music is what it is.
            _ if channels == 2 => booth.hear(&self.cleaned),
            Some(cleaner) => {
                // Muted or not: the canceller is to know the room when the voice is wanted again.
                cleaner.heard(&self.fresh, &mut self.cleaned);
                std::mem::swap(&mut self.fresh, &mut self.cleaned);
                booth.hear(&self.fresh);
            }
            None => booth.hear(&self.fresh),
        }
        let frames = self.fresh.len() / channels;
        let held = self.hold.min(frames);
        if !open || held > 0 {
            let dropped = if open { held } else { frames };
            self.hold -= held;
            self.skip(dropped);
            self.fresh.drain(..dropped * channels);
        }
        self.pending.append(&mut self.fresh);
        let late = cleaner.filter(|_| channels == 1).map_or(0, |cleaner| cleaner.delay());
        while self.pending() >= self.packet() {
            self.send(late, now);
        }
    }

    /// Time passes without sound for so many samples, and what was pending goes with it.
    fn skip(&mut self, samples: usize) {
        self.timestamp = self.timestamp.wrapping_add((self.pending() + samples) as u32);
        self.pending.clear();
        self.marker = true;
    }

    /// Drops what may not leave; whether sound may leave now. `inside`: samples that wait to be cleaned.
    fn obey_gate(&mut self, inside: usize) -> bool {
        let GateState { muted, changes } = self.gate.state();
        if changes == self.seen {
            return !muted;
        }
        self.seen = changes;
        self.skip(0);
        (self.pauses, self.mark) = (Pauses::default(), None);
        // Nothing from before is to be in what comes next, not even what the encoder remembers.
        if let Err(error) = self.encoder.reset() {
            tracing::warn!(%error, "the encoder keeps what it heard before mute");
        }
        // What was recorded before the button was pressed, wherever it is by now.
        let held = self.end.current().map_or(0, |source| source.held());
        self.hold = held + self.fresh.len() / self.encoder.channels() + inside;
        false
    }

    /// `late`: samples that are still being cleaned.
    fn send(&mut self, late: usize, now: Instant) {
        let pauses = self.pauses();
        let waited = Duration::from_secs_f64((self.pending() + late) as f64 / f64::from(RATE));
        let captured = now.checked_sub(waited).unwrap_or(now);
        let samples = self.packet() * self.encoder.channels();
        let sound = &self.pending[..samples];
        let worth = if pauses { self.pauses.judge(sound) } else { Worth::Sound };
        let made = match worth {
            // What is not sent is not encoded either: both ends go on from where they stopped.
            Worth::Nothing => Ok(None),
            Worth::Mark => Ok(self.mark.clone()),
            Worth::Sound => self.encoder.encode(sound).map(Some),
        };
        match made {
            Ok(Some(data)) => {
                self.mark = opus::pause_after(&data);
                let (timestamp, marker) = (self.timestamp, self.marker);
                let packet = AudioPacket { data, timestamp, marker, captured };
                if self.gate.pass(self.seen, || (self.sink)(packet)) {
                    self.marker = false;
                }
            }
            Ok(None) => self.marker = true,
            Err(error) => {
                tracing::warn!(%error, "a packet of one's own sound is lost");
                self.marker = true;
            }
        }
        self.pending.drain(..samples);
        self.timestamp = self.timestamp.wrapping_add(self.packet() as u32);
    }

    fn set_level(&self, now: f32) {
        let before = f32::from_bits(self.level.load(Ordering::Relaxed));
        let level = now.max(before * LEVEL_FALL);
        self.level.store(if level < 1e-6 { 0.0 } else { level }.to_bits(), Ordering::Relaxed);
    }
}

fn open(choice: &MicUse, wake: &Thread) -> Result<Box<dyn MicSource>, DeviceError> {
    let now = Instant::now();
    Ok(match choice {
        MicUse::Default => Box::new(super::cpal::open_mic(None, wake)?),
        MicUse::Device(name) => Box::new(super::cpal::open_mic(Some(name), wake)?),
        MicUse::Tone => Box::new(Tone::new(now)),
        MicUse::File(path) => Box::new(WavMic::open(path, now)?),
        // The opener never asks for this one.
        MicUse::None => return Err(DeviceError::NotFound { what: "A microphone".into() }),
    })
}

fn event(change: Change<MicUse>) -> AudioEvent {
    match change {
        Change::Opened(source, name) => AudioEvent::MicOpened { source, name },
        Change::Failed(source, error) => AudioEvent::MicFailed { source, error },
        Change::Lost(source, error) => AudioEvent::MicLost { source, error },
        Change::FellBack(wanted, name, error) => AudioEvent::MicFellBack { wanted, name, error },
    }
}
