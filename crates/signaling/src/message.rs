//! The messages of a room, version 1, as `docs/signaling.md` tells them: one JSON object with a `type` in
//! each WebSocket text frame. Unknown fields are ignored; an unknown type is told apart from a broken message.

mod parse;
mod secrets;
#[cfg(test)]
mod tests;

pub use parse::ParseError;
pub use secrets::{MAX_PASSWORD, Password};

use crate::ParticipantId;
use serde::{Deserialize, Serialize};

/// The version that `hello` and `welcome` carry.
pub const VERSION: u32 = 1;
/// The most bytes of a client's message, as JSON text.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The most bytes of a server's message. A relay may be a little longer than what the client sent.
pub const MAX_SERVER_MESSAGE: usize = 2 * MAX_MESSAGE;
/// A chat line's most characters.
pub const MAX_CHAT: usize = 2000;

/// What a client says to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ClientMessage {
    /// The first message of a connection: which room, and who.
    Hello(Hello),
    /// An offer or an answer for somebody.
    Description {
        /// For whom.
        to: ParticipantId,
        /// The session description.
        description: Description,
    },
    /// A network path to try, for somebody.
    Candidate {
        /// For whom.
        to: ParticipantId,
        /// The path; none: there are no more of them.
        #[serde(deserialize_with = "parse::present")]
        candidate: Option<Candidate>,
    },
    /// Our buttons changed.
    State {
        /// The microphone is on.
        audio: bool,
        /// The camera is on.
        video: bool,
    },
    /// A line for everybody in the room, at most [`MAX_CHAT`] characters.
    Chat {
        /// The line.
        text: String,
    },
    /// Fresh STUN and TURN servers are wanted: those of the welcome end.
    Ice,
    /// The host changes who comes in by themselves.
    Door {
        /// The new password; empty takes it away, none leaves it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<Password>,
        /// Whether the host is asked about the others; none leaves it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        knock: Option<bool>,
    },
    /// The host lets somebody in.
    Admit {
        /// Who knocks.
        id: ParticipantId,
    },
    /// The host sends somebody away.
    Refuse {
        /// Who knocks.
        id: ParticipantId,
    },
    /// We leave: our place is free at once.
    Bye,
}

/// The first message of a connection.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub v: u32,
    /// The room, as [`crate::RoomName`] takes it.
    pub room: String,
    /// How the others see us, as [`crate::Name`] takes it.
    pub name: String,
    /// The microphone is on.
    pub audio: bool,
    /// The camera is on.
    pub video: bool,
    /// The `resume` of an earlier welcome: asks for that place back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// The room's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// Whether we wait when the host is to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knock: Option<bool>,
}

/// What the server says to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ServerMessage {
    /// The answer to hello: we are in the room.
    Welcome(Welcome),
    /// The host is asked whether we may come in.
    Waiting {
        /// For how long at most.
        seconds: u64,
    },
    /// Somebody came; they will make the offer.
    Joined {
        /// Who.
        participant: ParticipantInfo,
    },
    /// Somebody is gone for good.
    Left {
        /// Who.
        id: ParticipantId,
        /// Why.
        reason: LeftReason,
    },
    /// Somebody's connection to the server is lost; their place is kept for a while.
    Away {
        /// Who.
        id: ParticipantId,
    },
    /// Somebody who was away is connected again.
    Back {
        /// Who.
        id: ParticipantId,
    },
    /// Somebody else is host now.
    Host {
        /// Who.
        id: ParticipantId,
    },
    /// The door changed.
    Door(Door),
    /// To the host: somebody waits.
    Knock(Knock),
    /// To the host: somebody waits no more.
    KnockOver {
        /// Who.
        id: ParticipantId,
    },
    /// Fresh STUN and TURN servers.
    #[serde(rename_all = "camelCase")]
    Ice {
        /// In place of those before.
        ice_servers: Vec<IceServer>,
        /// How long they are good, in seconds.
        ttl: u64,
    },
    /// An offer or an answer from somebody.
    Description {
        /// From whom.
        from: ParticipantId,
        /// The session description.
        description: Description,
    },
    /// A network path to try, from somebody.
    Candidate {
        /// From whom.
        from: ParticipantId,
        /// The path; none: there are no more of them.
        #[serde(deserialize_with = "parse::present")]
        candidate: Option<Candidate>,
    },
    /// Somebody's buttons changed.
    State {
        /// Whose.
        from: ParticipantId,
        /// Their microphone is on.
        audio: bool,
        /// Their camera is on.
        video: bool,
    },
    /// Somebody said something to the room.
    Chat {
        /// Who.
        from: ParticipantId,
        /// What.
        text: String,
    },
    /// Something was refused.
    Error {
        /// What kind of refusal.
        code: ErrorCode,
        /// What happened and what to do, for people.
        message: String,
        /// The server closes the connection after this.
        fatal: bool,
    },
}

impl ServerMessage {
    /// About how many bytes it takes while it waits.
    pub fn weight(&self) -> usize {
        let text = match self {
            Self::Description { description, .. } => description.sdp.len(),
            Self::Candidate { candidate: Some(candidate), .. } => candidate.candidate.len(),
            Self::Chat { text, .. } => text.len(),
            Self::Error { message, .. } => message.len(),
            Self::Welcome(welcome) => 128 * (welcome.participants.len() + welcome.knocks.len()),
            _ => 0,
        };
        size_of::<Self>() + text
    }
}

/// The answer to hello.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// [`VERSION`].
    pub v: u32,
    /// The room's name as whoever opened it wrote it.
    pub room: String,
    /// Our id.
    pub id: ParticipantId,
    /// The secret that gets this place back after a lost connection.
    pub resume: String,
    /// STUN and TURN servers to use.
    pub ice_servers: Vec<IceServer>,
    /// The others, in the order they came.
    pub participants: Vec<ParticipantInfo>,
    /// Whether this is the place we had, with the connections to the others still good.
    pub resumed: bool,
    /// Seconds until a credential in `ice_servers` ends; none when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ice_ttl: Option<u64>,
    /// Who the host is; none: the server knows of no hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<ParticipantId>,
    /// Who comes in by themselves.
    #[serde(default)]
    pub door: Door,
    /// To the host: who waits, in the order they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knocks: Vec<Knock>,
}

/// Who comes in by themselves. With neither, everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Whoever knows the password.
    pub password: bool,
    /// The host is asked about everybody else.
    pub knock: bool,
}

/// Somebody who waits to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// Their id, in the room too once they are in it.
    pub id: ParticipantId,
    /// How they call themselves.
    pub name: String,
}

/// A participant as the others know them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantInfo {
    /// Unique in the room.
    pub id: ParticipantId,
    /// How they call themselves.
    pub name: String,
    /// Their microphone is on.
    pub audio: bool,
    /// Their camera is on.
    pub video: bool,
    /// Their connection to the server is lost.
    pub away: bool,
}

/// A STUN or TURN server: W3C `RTCIceServer` with `urls` always a list.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` addresses.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// W3C `RTCSessionDescriptionInit`. Nobody but the receiving participant reads the SDP.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Offer or answer.
    #[serde(rename = "type")]
    pub kind: SdpType,
    /// The SDP text.
    pub sdp: String,
}

/// W3C `RTCSdpType`, without `pranswer` and `rollback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SdpType {
    /// An offer.
    Offer,
    /// The answer to an offer.
    Answer,
}

/// W3C `RTCIceCandidateInit`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// `candidate:…`
    pub candidate: String,
    /// The media section's `mid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdp_mid: Option<String>,
    /// The media section's number, from 0.
    #[serde(default, rename = "sdpMLineIndex", skip_serializing_if = "Option::is_none")]
    pub sdp_m_line_index: Option<u16>,
    /// The ICE generation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username_fragment: Option<String>,
}

/// Why somebody is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftReason {
    /// They said bye.
    Bye,
    /// They were away too long.
    Timeout,
    /// They used their resume secret to enter another room.
    Replaced,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

impl LeftReason {
    /// As in the messages: `bye`, `timeout`, `replaced`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Timeout => "timeout",
            Self::Replaced => "replaced",
            Self::Other => "other",
        }
    }
}

/// What kind of refusal an `error` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// Not a message of this protocol, or not one that fits now.
    BadMessage,
    /// Over a size limit.
    TooLarge,
    /// Too many messages.
    TooFast,
    /// Another version than [`VERSION`].
    BadVersion,
    /// The room's name breaks the rules.
    BadRoom,
    /// The participant's name breaks the rules.
    BadName,
    /// The room cannot be entered so: full, shut, not to be opened; all look alike.
    NoEntry,
    /// To the host: the room has no place left.
    RoomFull,
    /// Only the host can do this.
    NotHost,
    /// A message for somebody who is not in the room.
    NoSuchParticipant,
    /// No valid hello in time, or this place was taken over by another connection.
    NotWelcome,
    /// The server has no place left.
    ServerFull,
    /// A code of a later version.
    #[serde(other)]
    Other,
}
