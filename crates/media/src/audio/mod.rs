//! Sound, both ways, on one thread.
//!
//! The thread "audio" owns everything: microphone ring, resampler, Opus, the sink out; inlets, jitter
//! buffers, Opus, mix, ring, speaker in. Device callbacks only move samples through lock-free rings and
//! unpark it; files and "no device" are driven by its clock. It is woken when a packet's worth of sound was
//! captured, when the speaker took something, by each command, and when the system's devices change, of which
//! the thread "sound watcher" tells it. Opening and closing devices, which can block, happens on short-lived
//! threads "microphone opener", "speaker closer" and so on.

mod attention;
mod bend;
mod booth;
mod chime;
pub mod cleaner;
mod comfort;
mod cpal;
mod device;
#[cfg(test)]
mod drift;
mod echo;
mod ends;
pub mod examine;
mod jitter;
mod job;
mod loudest;
mod margin;
pub mod measure;
mod mic;
mod mix;
mod opener;
mod pauses;
mod piece;
mod playout;
mod processing;
#[cfg(target_os = "linux")]
mod pulse;
mod rehearsal;
mod remote;
mod resample;
mod residue;
mod ring;
mod slack;
mod stretch;
mod turns;
mod voice;
mod watch;
mod wav;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use chime::Chime;
pub use mic::{AudioPacket, AudioUplink};
pub use processing::{Noise, Processing};
pub use rehearsal::{Rehearsal, Rehearse};
pub use remote::{AudioInStats, AudioInlet};

use crate::ends::{DeviceError, DeviceInfo, MicUse, SpeakerUse};
use booth::Booth;
use cleaner::Cleaner;
use mic::{Gate, Mic, Sink};
use playout::Playout;
use remote::{Outlet, Shared, inlet};
use watch::Watch;

/// Samples (48 kHz) that are mixed and played at a time: 10 ms.
pub(crate) const BLOCK: usize = 480;
/// The audio thread looks around this often even when nothing wakes it.
const IDLE: Duration = Duration::from_millis(100);

/// Microphones that the system has, monitors of speakers left out. Can take a fifth of a second.
pub fn list_mics() -> Vec<DeviceInfo> {
    cpal::list(cpal::Direction::In)
}

/// Speakers that the system has. Can take a fifth of a second.
pub fn list_speakers() -> Vec<DeviceInfo> {
    cpal::list(cpal::Direction::Out)
}

/// What happened to sound.
#[derive(Clone, Debug, PartialEq)]
pub enum AudioEvent {
    /// The microphone chosen is in use.
    MicOpened {
        /// As chosen.
        source: MicUse,
        /// For people.
        name: String,
    },
    /// It could not be opened. The one before stays in use; without one before, this one is tried again.
    MicFailed {
        /// As chosen.
        source: MicUse,
        /// Why, and what to do.
        error: DeviceError,
    },
    /// It stopped, and is tried again: at once, when the devices change, and every 2 s.
    MicLost {
        /// As chosen.
        source: MicUse,
        /// Why, and what to do.
        error: DeviceError,
    },
    /// The microphone chosen is away: the system's default is in use until it is back, which
    /// [`AudioEvent::MicOpened`] tells. The choice and mute stay as they are.
    MicFellBack {
        /// As chosen.
        wanted: MicUse,
        /// What is in use, for people.
        name: String,
        /// Why the one chosen is not.
        error: DeviceError,
    },
    /// The speaker chosen is in use.
    SpeakerOpened {
        /// As chosen.
        sink: SpeakerUse,
        /// For people.
        name: String,
    },
    /// It could not be opened. The one before stays in use; without one before, this one is tried again.
    SpeakerFailed {
        /// As chosen.
        sink: SpeakerUse,
        /// Why, and what to do.
        error: DeviceError,
    },
    /// It stopped, and is tried again: at once, when the devices change, and every 2 s.
    SpeakerLost {
        /// As chosen.
        sink: SpeakerUse,
        /// Why, and what to do.
        error: DeviceError,
    },
    /// The speaker chosen is away: the system's default is in use until it is back, which
    /// [`AudioEvent::SpeakerOpened`] tells. The choice stays as it is.
    SpeakerFellBack {
        /// As chosen.
        wanted: SpeakerUse,
        /// What is in use, for people.
        name: String,
        /// Why the one chosen is not.
        error: DeviceError,
    },
    /// A remote's first packet has been decoded and mixed.
    FirstSound {
        /// The id given to [`Audio::add_remote`].
        remote: u64,
    },
    /// A remote began to speak, or ended.
    Speaking {
        /// The id given to [`Audio::add_remote`].
        remote: u64,
        /// Whether they speak.
        on: bool,
    },
    /// Whoever sits before the microphone began to speak, or ended, muted or not.
    OwnVoice {
        /// Whether they speak.
        on: bool,
    },
    /// The microphone has given nothing for some seconds, not even noise; or it does again.
    MicSilent {
        /// Whether it is silent.
        on: bool,
    },
    /// How far a test of speaker or microphone is.
    Rehearsal(Rehearsal),
}

/// What the handle asks of the thread.
#[derive(Default)]
struct Wishes {
    mic: Option<MicUse>,
    speaker: Option<SpeakerUse>,
    uplink: Option<AudioUplink>,
    processing: Option<Processing>,
    /// Of several at once, one is enough.
    chime: Option<Chime>,
    rehearse: Option<Rehearse>,
    /// One for each call of `add_remote` since the thread last looked, which is at once.
    remotes: Vec<Outlet>,
    stop: bool,
}

#[derive(Default)]
struct Desk {
    wishes: Mutex<Wishes>,
    gate: Arc<Gate>,
    level: Arc<AtomicU32>,
}

impl Desk {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All sound of a call. Dropping it ends the thread and closes the devices.
pub struct Audio {
    desk: Arc<Desk>,
    remotes: Mutex<HashMap<u64, Weak<Shared>>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Audio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audio")
    }
}

impl Audio {
    /// Starts the thread "audio", with no microphone and no speaker yet.
    ///
    /// `sink` gets each packet of one's own voice, `events` what happens. Both are called on the audio
    /// thread: they must not block, and `sink` must not call back into this handle.
    pub fn spawn(sink: Box<dyn FnMut(AudioPacket) + Send>, events: Box<dyn Fn(AudioEvent) + Send>) -> Self {
        let desk = Arc::new(Desk::default());
        let theirs = desk.clone();
        let thread =
            std::thread::Builder::new().name("audio".into()).spawn(move || run(&theirs, sink, &events));
        let thread = match thread {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::error!(%error, "no thread for sound: this call is silent");
                None
            }
        };
        Self { desk, remotes: Mutex::default(), thread }
    }

    /// Uses this microphone from now on. Never blocks, the latest wins; mute stays as it is.
    pub fn use_mic(&self, choice: MicUse) {
        self.desk.wishes().mic = Some(choice);
        self.wake();
    }

    /// Uses this speaker from now on. Never blocks, the latest wins.
    pub fn use_speaker(&self, choice: SpeakerUse) {
        self.desk.wishes().speaker = Some(choice);
        self.wake();
    }

    /// Once `set_muted(true)` has returned the sink gets nothing, and nothing captured before
    /// `set_muted(false)` ever reaches it.
    pub fn set_muted(&self, muted: bool) {
        self.desk.gate.set(muted);
        self.wake();
    }

    /// Encodes one's own voice at this bitrate and for this loss from the next packet on; 32 kb/s and 10 %
    /// until it is called. Never blocks, the latest wins.
    pub fn set_uplink(&self, uplink: AudioUplink) {
        self.desk.wishes().uplink = Some(uplink);
        self.wake();
    }

    /// What is done to one's own sound before it leaves, from the next 10 ms on; [`Processing::default`] until it
    /// is called. Never blocks, the latest wins.
    pub fn set_processing(&self, processing: Processing) {
        self.desk.wishes().processing = Some(processing);
        self.wake();
    }

    /// Plays a short sound on the speaker; nobody else gets it. Never blocks.
    pub fn ring(&self, chime: Chime) {
        self.desk.wishes().chime = Some(chime);
        self.wake();
    }

    /// Tries speaker or microphone; nobody else gets anything of it. How far it is comes as
    /// [`AudioEvent::Rehearsal`]. Never blocks, the latest wins.
    pub fn rehearse(&self, what: Rehearse) {
        self.desk.wishes().rehearse = Some(what);
        self.wake();
    }

    /// Makes a remote heard for as long as the inlet (or a clone of it) lives. An id in use is taken over.
    pub fn add_remote(&self, id: u64) -> AudioInlet {
        let (inlet, outlet, shared) = inlet(id);
        let mut remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        remotes.retain(|_, shared| shared.strong_count() > 0);
        remotes.insert(id, Arc::downgrade(&shared));
        drop(remotes);
        self.desk.wishes().remotes.push(outlet);
        self.wake();
        inlet
    }

    /// Plays a remote so much louder, 0 to 2; 1 is as it comes, and what a new one begins with. What it is
    /// not is taken for the nearest that is. Never blocks.
    pub fn set_volume(&self, id: u64, volume: f32) {
        let remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = remotes.get(&id).and_then(Weak::upgrade) {
            shared.set_volume(volume);
        }
    }

    /// How a remote's sound has been, while its inlet lives.
    pub fn remote_stats(&self, id: u64) -> Option<AudioInStats> {
        let remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        Some(remotes.get(&id)?.upgrade()?.stats())
    }

    /// Loudness of one's own voice now: root mean square, 0 to 1. Goes on while muted.
    pub fn mic_level(&self) -> f32 {
        f32::from_bits(self.desk.level.load(Ordering::Relaxed))
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Audio {
    fn drop(&mut self) {
        self.desk.wishes().stop = true;
        self.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audio thread panicked");
        }
    }
}

/// The thread "audio".
fn run(desk: &Desk, sink: Sink, events: &dyn Fn(AudioEvent)) {
    let me = std::thread::current();
    let mic = Mic::new(sink, desk.gate.clone(), desk.level.clone(), me.clone());
    let mut mic = match mic {
        Ok(mic) => mic,
        Err(error) => return tracing::error!(%error, "no sound in this call"),
    };
    let mut playout = Playout::new(me.clone(), Instant::now());
    // Before the first sound is played.
    let mut cleaner = Cleaner::new(Processing::default());
    let mut booth = Booth::new(Instant::now());
    let mut watch = None;
    loop {
        let wishes = std::mem::take(&mut *desk.wishes());
        if wishes.stop {
            break;
        }
        let now = Instant::now();
        if let Some(choice) = wishes.mic {
            mic.choose(choice, now);
        }
        if let Some(choice) = wishes.speaker {
            playout.choose(choice, now);
        }
        if let Some(uplink) = wishes.uplink {
            mic.set_uplink(uplink);
        }
        if let Some(processing) = wishes.processing {
            mic.set_processing(processing);
            cleaner.set(processing);
        }
        if let Some(chime) = wishes.chime {
            booth.ring(chime);
        }
        if let Some(what) = wishes.rehearse {
            booth.rehearse(what, now);
        }
        for outlet in wishes.remotes {
            playout.add(outlet);
        }
        if watch.is_none() && (mic.needs_watch() || playout.needs_watch()) {
            watch = Some(Watch::start(me.clone()));
        }
        if let Some(devices) = watch.as_ref().and_then(Watch::news) {
            mic.news(devices.mics, &mut booth, now, events);
            playout.news(devices.speakers, now, events);
        }
        mic.run(&mut cleaner, &mut booth, now, events);
        playout.run(&mut cleaner, &mut booth, now, events);
        booth.look(now, events);
        let due = playout.next_due(now).min(now + IDLE);
        let due = mic.next_due(&cleaner, now).map_or(due, |mic| mic.min(due));
        // An unpark since the last park makes this return at once, so no wish is overlooked.
        std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
    }
    mic.finish();
    playout.finish();
}
