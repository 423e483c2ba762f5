//! Happenings, in order. Headless, each is printed as one JSON object a line.

use crate::snapshot::{About, Connection};
use serde::Serialize;
use signaling::ParticipantId;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// We are in the room.
    Joined {
        /// Its name.
        room: String,
        /// What others open to join.
        link: String,
        /// Our id.
        id: ParticipantId,
    },
    /// We are out of it, by our own wish or not.
    Left {
        /// Why.
        reason: String,
    },
    /// Somebody is there (those present when we join too).
    Participant {
        /// Their id.
        id: ParticipantId,
        /// Their name.
        name: String,
        /// Whether their microphone is off.
        muted: bool,
        /// Whether their camera is off.
        camera_off: bool,
    },
    /// Somebody went.
    ParticipantLeft {
        /// Their id.
        id: ParticipantId,
        /// Why: `bye`, `timeout` or `replaced`.
        reason: String,
    },
    /// Their buttons changed.
    State {
        /// Their id.
        id: ParticipantId,
        /// Whether their microphone is off.
        muted: bool,
        /// Whether their camera is off.
        camera_off: bool,
    },
    /// Their first picture was shown.
    FirstFrame {
        /// Their id.
        id: ParticipantId,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// Milliseconds since we asked to join.
        after_join_ms: u64,
    },
    /// Their first sound was decoded.
    FirstSound {
        /// Their id.
        id: ParticipantId,
        /// Milliseconds since we asked to join.
        after_join_ms: u64,
    },
    /// The media path changed.
    Connection {
        /// Their id.
        id: ParticipantId,
        /// The path now.
        state: Connection,
    },
    /// Our own buttons changed.
    Muted {
        /// Whether our microphone is off.
        on: bool,
    },
    /// Our own buttons changed.
    CameraOff {
        /// Whether our camera is off.
        on: bool,
    },
    /// Our camera gives pictures.
    CameraOpened {
        /// Its name or id.
        #[serde(rename = "use")]
        source: String,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// Our microphone gives sound.
    MicOpened {
        /// Its name or id.
        #[serde(rename = "use")]
        source: String,
    },
    /// Our speaker takes sound.
    SpeakerOpened {
        /// Its name or id.
        #[serde(rename = "use")]
        sink: String,
    },
    /// The server went away (`false`) or came back.
    Signaling {
        /// Whether it can be reached.
        connected: bool,
    },
    /// Somebody said something.
    Chat {
        /// Who.
        from: ParticipantId,
        /// Their name.
        name: String,
        /// What.
        text: String,
    },
    /// Something went wrong.
    Error {
        /// What it is about.
        about: About,
        /// What happened and what to do.
        message: String,
        /// Whether the call ends by it.
        fatal: bool,
    },
}
