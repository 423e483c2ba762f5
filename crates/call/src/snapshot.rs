//! The state of a call as the window draws it: a value, complete, cheap to clone.

use crate::history::History;
use crate::quality::{Quality, Reason};
use crate::stats::Stats;
use media::audio::{Processing, Rehearsal};
use media::{CameraUse, DeviceInfo, Frame, MicUse, Slot, SpeakerUse};
use serde::Serialize;
use signaling::ParticipantId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All there is to draw.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Where we are between lobby and room.
    pub phase: Phase,
    /// Ourselves.
    pub me: Me,
    /// Everybody else in the room, in the order they came.
    pub participants: Vec<Participant>,
    /// Who is host, who comes in, who waits outside.
    pub entrance: Entrance,
    /// Who speaks, and how loud each is heard; who is not in it is silent and heard as they come.
    pub voices: BTreeMap<ParticipantId, Voice>,
    /// What the system has.
    pub devices: Devices,
    /// What went wrong and is not mended yet, oldest first; at most [`Snapshot::MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// What was said, oldest first; at most [`Snapshot::MAX_CHAT`].
    pub chat: Vec<ChatLine>,
}

impl Snapshot {
    /// overflow: the oldest problem goes.
    pub const MAX_PROBLEMS: usize = 4;
    /// overflow: the oldest line goes.
    pub const MAX_CHAT: usize = 200;

    /// Whether somebody speaks, and how loud they are heard.
    pub fn voice(&self, id: &ParticipantId) -> Voice {
        self.voices.get(id).copied().unwrap_or_default()
    }

    /// Whether drawing `other` instead would make no difference, pictures aside: they wake the window
    /// themselves.
    pub fn looks_like(&self, other: &Self) -> bool {
        self.phase == other.phase
            && self.me.looks_like(&other.me)
            && self.participants.len() == other.participants.len()
            && self.participants.iter().zip(&other.participants).all(|(one, two)| one.looks_like(two))
            && self.entrance == other.entrance
            && self.voices == other.voices
            && self.devices == other.devices
            && self.problems == other.problems
            && self.chat == other.chat
    }
}

impl Me {
    fn looks_like(&self, other: &Self) -> bool {
        self.id == other.id
            && self.name == other.name
            && (self.muted, self.camera_off) == (other.muted, other.camera_off)
            && (&self.camera, &self.mic, &self.speaker) == (&other.camera, &other.mic, &other.speaker)
            && (self.camera_live, self.mic_live) == (other.camera_live, other.mic_live)
            && (self.sound, self.limit) == (other.sound, other.limit)
    }
}

impl Participant {
    fn looks_like(&self, other: &Self) -> bool {
        self.id == other.id
            && self.name == other.name
            && (self.muted, self.camera_off, self.away) == (other.muted, other.camera_off, other.away)
            && self.connection == other.connection
            && (self.quality, self.reason, self.lost_for) == (other.quality, other.reason, other.lost_for)
            && self.stats == other.stats
    }
}

/// Where we are between lobby and room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// In no room.
    #[default]
    Lobby,
    /// Asked the server, no answer yet.
    Joining {
        /// The room's name.
        room: String,
    },
    /// Outside the door: the host is asked.
    Waiting {
        /// The room's name.
        room: String,
    },
    /// In the room.
    InRoom {
        /// The room's name.
        room: String,
        /// What others open to join: the server's address and the room.
        link: String,
    },
    /// In the room as far as media goes; the server cannot be reached and is being tried again.
    Reconnecting {
        /// The room's name.
        room: String,
        /// What others open to join.
        link: String,
    },
}

/// The way into the room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entrance {
    /// Who is host; none outside of a room.
    pub host: Option<ParticipantId>,
    /// Whether that is us.
    pub is_ours: bool,
    /// Whoever knows the password comes in.
    pub password: bool,
    /// The host is asked about everybody else.
    pub knock: bool,
    /// Who waits, in the order they came; known to the host alone.
    pub knocks: Vec<Knocker>,
}

/// Somebody who waits to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knocker {
    /// For [`crate::Command::Admit`] and [`crate::Command::Refuse`].
    pub id: ParticipantId,
    /// How they call themselves.
    pub name: String,
}

/// Ourselves.
#[derive(Clone, Debug, Default)]
pub struct Me {
    /// Our id in the room; none outside.
    pub id: Option<ParticipantId>,
    /// How the others see us.
    pub name: String,
    /// Nothing of the microphone is sent: by its button, or for one of the reasons in [`Sound`].
    pub muted: bool,
    /// Camera off by our own button.
    pub camera_off: bool,
    /// The source chosen.
    pub camera: CameraUse,
    /// Whether the source gives pictures.
    pub camera_live: bool,
    /// The source chosen.
    pub mic: MicUse,
    /// Whether the source gives sound.
    pub mic_live: bool,
    /// The sink chosen.
    pub speaker: SpeakerUse,
    /// Our voice, and what is done with sound on our side.
    pub sound: Sound,
    /// Who is met from now on is met by relays alone.
    pub relay_only: bool,
    /// What limits our picture to everybody; what limits it to some alone is told with them.
    pub limit: Option<Reason>,
    /// The self-view. The window takes frames from it.
    pub view: Slot<Frame>,
}

/// Our voice, and what is done with sound on our side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sound {
    /// How loud the microphone is: 0 silent to 1 full scale, falling slowly. Goes on while muted.
    pub level: f32,
    /// Whether we speak, muted or not.
    pub speaking: bool,
    /// The mute button.
    pub mute_button: bool,
    /// We are muted unless the key is held.
    pub push_to_talk: bool,
    /// The key is held.
    pub talking: bool,
    /// A short sound tells us when somebody comes or goes.
    pub chimes: bool,
    /// What we should be told of our voice now.
    pub hint: Option<Hint>,
    /// The test of speaker or microphone that is on.
    pub rehearsal: Option<Rehearsal>,
    /// What is done to our voice before it is sent.
    pub processing: Processing,
}

/// What we should be told of our voice. Goes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// We talk, and are muted.
    MutedTalk,
    /// Nothing comes from the microphone, though it is on.
    SilentMic,
}

/// Somebody's voice, as it is heard here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Voice {
    /// Whether they speak.
    pub speaking: bool,
    /// How loud they are played, 0 to 2; 1 is as they come.
    pub volume: f32,
}

impl Default for Voice {
    fn default() -> Self {
        Self { speaking: false, volume: 1.0 }
    }
}

/// Somebody else in the room.
#[derive(Clone, Debug)]
pub struct Participant {
    /// Unique in the room.
    pub id: ParticipantId,
    /// How they call themselves.
    pub name: String,
    /// Their microphone is off, as they said by signaling.
    pub muted: bool,
    /// Their camera is off, or they have none.
    pub camera_off: bool,
    /// The server has lost them and waits for them to come back.
    pub away: bool,
    /// The media path to them.
    pub connection: Connection,
    /// Their picture. The window takes frames from it.
    pub view: Slot<Frame>,
    /// Once a second; none before the first.
    pub stats: Option<Arc<Stats>>,
    /// How good the call with them is; none before media could flow.
    pub quality: Option<Quality>,
    /// What stands in the way of a better one. A picture may be limited and the call good all the same.
    pub reason: Option<Reason>,
    /// Whole seconds since something came from them, while they are [`Quality::Lost`].
    pub lost_for: Option<u64>,
    /// The last minute.
    pub history: Arc<History>,
}

/// The media path to a participant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// Not yet there.
    #[default]
    Connecting,
    /// Media can flow.
    Connected,
    /// Packets stopped; may come back by itself.
    Disconnected,
    /// A new path is being looked for (ICE restart).
    Restarting,
    /// Could not be made or mended.
    Failed,
}

/// What the system has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// Cameras.
    pub cameras: Vec<DeviceInfo>,
    /// Microphones.
    pub mics: Vec<DeviceInfo>,
    /// Speakers.
    pub speakers: Vec<DeviceInfo>,
}

/// Something that went wrong, for the user to act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// For [`crate::Command::Dismiss`].
    pub id: u64,
    /// What it is about; a new problem takes the place of an old one about the same.
    pub about: About,
    /// One line that says what happened and what to do.
    pub text: String,
}

/// What a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// Our camera.
    Camera,
    /// Our microphone.
    Mic,
    /// Our speaker.
    Speaker,
    /// Where pictures are written.
    Display,
    /// The server.
    Server,
    /// The path to somebody.
    Connection,
    /// A room that we could not enter.
    Entry,
    /// A command that could not be carried out.
    Command,
}

/// A line of chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChatLine {
    /// Who said it; `None` for ourselves.
    pub from: Option<ParticipantId>,
    /// Their name then.
    pub name: String,
    /// What was said.
    pub text: String,
}
