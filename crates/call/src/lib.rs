//! The engine: a room, its people, their media. Knows no window.
//!
//! One thread, "call", runs a tokio runtime of its own: the engine's task (`runner`), the signaling client
//! and every connection live on it; media has its own threads. The task feeds a pure state machine
//! (`machine`) and carries out what it asks for through `wiring`, the one place that knows media, peer and
//! signaling together. [`Command`] goes down, [`Snapshot`] and [`Event`] come up; nobody waits for anybody.

pub mod checkup;
pub mod command;
pub mod event;
pub mod history;
mod machine;
mod network;
pub mod quality;
mod runner;
pub mod snapshot;
pub mod stats;
mod wiring;
pub use command::Command;
pub use event::Event;
pub use history::History;
pub use quality::{Quality, Reason};
pub use signaling::Password;
pub use snapshot::{
    About, ChatLine, Connection, Devices, Entrance, Hint, Knocker, Me, Participant, Phase, Problem, Snapshot,
    Sound, Voice,
};
pub use stats::Stats;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How a call is set up. None of it needs a network.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our ends at the start.
    pub camera: media::CameraUse,
    /// Microphone at the start.
    pub mic: media::MicUse,
    /// Speaker at the start.
    pub speaker: media::SpeakerUse,
    /// Muted from the start.
    pub muted: bool,
    /// Camera off from the start.
    pub camera_off: bool,
    /// Push-to-talk from the start.
    pub push_to_talk: bool,
    /// Short sounds to ourselves when somebody comes or goes.
    pub chimes: bool,
    /// How loud people are to be heard, by name: 0 to 2.
    pub volumes: BTreeMap<String, f32>,
    /// What is done to our voice at the start.
    pub processing: media::audio::Processing,
    /// Go by relays alone, so that the others do not learn our address.
    pub relay_only: bool,
    /// Where the others' pictures go.
    pub display: Display,
    /// How often statistics are taken.
    pub stats_every: Duration,
}

impl Default for Config {
    /// The system's own devices, both on, for a window; no chimes.
    fn default() -> Self {
        Self {
            camera: media::CameraUse::default(),
            mic: media::MicUse::default(),
            speaker: media::SpeakerUse::default(),
            muted: false,
            camera_off: false,
            push_to_talk: false,
            chimes: false,
            volumes: BTreeMap::new(),
            processing: media::audio::Processing::default(),
            relay_only: false,
            display: Display::default(),
            stats_every: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// Whether nothing of the microphone may be sent before a command says otherwise.
    pub(crate) fn starts_muted(&self) -> bool {
        self.muted || self.push_to_talk
    }
}

/// Where the others' pictures go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// Into the snapshot's slots, for a window to take.
    #[default]
    Window,
    /// Into y4m files in a folder.
    Y4m {
        /// The folder.
        dir: PathBuf,
        /// Every frame is scaled to this; else each file to its first frame's size.
        size: Option<(u32, u32)>,
    },
    /// Decoded, then dropped.
    None,
}

/// The engine refuses commands: it is stopping, or 64 of them wait.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the call engine takes no more commands")]
pub struct Refused;

/// A running engine; dropping it leaves the room and joins its threads.
#[derive(Debug)]
pub struct Call {
    commands: Option<mpsc::Sender<Command>>,
    snapshot: watch::Receiver<Snapshot>,
    thread: Option<JoinHandle<()>>,
}

impl Call {
    /// Starts the engine: ends open, nobody is called. Events are for one reader.
    /// overflow: an event that finds 256 unread is dropped and logged.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(config: Config) -> std::io::Result<(Self, mpsc::Receiver<Event>)> {
        // overflow: the command is refused (`Refused`).
        let (commands, commands_in) = mpsc::channel(64);
        let (snapshot_out, snapshot) = watch::channel(runner::first_snapshot(&config));
        let (events_out, events) = mpsc::channel(256);
        let doors = runner::Doors { commands: commands_in, events: events_out, snapshot: snapshot_out };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("call blocking")
            .build()?;
        let thread = std::thread::Builder::new()
            .name("call".into())
            .spawn(move || runtime.block_on(runner::run(config, doors)))?;
        Ok((Self { commands: Some(commands), snapshot, thread: Some(thread) }, events))
    }

    /// Hands a command over; never waits.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn command(&self, command: Command) -> Result<(), Refused> {
        let commands = self.commands.as_ref().ok_or(Refused)?;
        commands.try_send(command).map_err(|_| Refused)
    }

    /// The state to draw; also tells when it changed.
    pub fn snapshot(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the call engine ended badly");
        }
    }
}
