//! The engine: a room, its people, their media. Knows no window.
pub mod command;
pub mod event;
pub mod snapshot;
pub mod stats;
pub use command::Command;
pub use event::Event;
pub use snapshot::{About, ChatLine, Connection, Devices, Me, Participant, Phase, Problem, Snapshot};
pub use stats::Stats;

use std::path::PathBuf;
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
    /// Where `--display y4m:DIR` writes.
    pub display: Display,
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
pub struct Call {
    commands: mpsc::Sender<Command>,
    snapshot: watch::Receiver<Snapshot>,
}

impl Call {
    /// Starts the engine: ends open, nobody is called. Events are for one reader.
    /// overflow: an event that finds 256 unread is dropped and counted in the log.
    pub fn start(config: Config) -> (Self, mpsc::Receiver<Event>) {
        let _ = config;
        let (commands, _c) = mpsc::channel(64);
        let (_s, snapshot) = watch::channel(Snapshot::default());
        let (_e, events) = mpsc::channel(256);
        (Self { commands, snapshot }, events)
    }

    /// Hands a command over; never waits.
    pub fn command(&self, command: Command) -> Result<(), Refused> {
        self.commands.try_send(command).map_err(|_| Refused)
    }

    /// The state to draw; also tells when it changed.
    pub fn snapshot(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }
}
