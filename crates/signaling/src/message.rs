//! The messages of a room, version 1, as `docs/signaling.md` tells them: one JSON object with a `type` in
//! each WebSocket text frame. Unknown fields are ignored; an unknown type is told apart from a broken message.

use crate::ParticipantId;
use serde::{Deserialize, Deserializer, Serialize};

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
        #[serde(deserialize_with = "present")]
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
}

/// What the server says to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ServerMessage {
    /// The answer to hello: we are in the room.
    Welcome(Welcome),
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
        #[serde(deserialize_with = "present")]
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

/// The answer to hello.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The room has no place left.
    RoomFull,
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

/// Why a text is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not even JSON, or fields are missing or of the wrong kind.
    #[error("not a message: {0}")]
    Malformed(String),
    /// A well-formed object whose `type` is not of this version: to be reported or ignored, not fatal.
    #[error("unknown message type \"{0}\"")]
    UnknownType(String),
    /// A hello or welcome of another version.
    #[error("version {0} is not spoken here, only version {VERSION}")]
    Version(String),
    /// More than [`MAX_MESSAGE`] or [`MAX_SERVER_MESSAGE`] bytes.
    #[error("a message of {0} bytes is too large")]
    TooLarge(usize),
}

const CLIENT_TYPES: [&str; 6] = ["hello", "description", "candidate", "state", "chat", "bye"];
const SERVER_TYPES: [&str; 10] =
    ["welcome", "joined", "left", "away", "back", "description", "candidate", "state", "chat", "error"];

impl ClientMessage {
    /// Reads one text frame.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse(text, &CLIENT_TYPES, MAX_MESSAGE)
    }

    /// The text frame.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

impl ServerMessage {
    /// Reads one text frame.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse(text, &SERVER_TYPES, MAX_SERVER_MESSAGE)
    }

    /// The text frame.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

fn to_json(message: &impl Serialize) -> String {
    // These types hold only strings, numbers, lists and options: nothing that JSON cannot carry.
    serde_json::to_string(message).unwrap_or_default()
}

/// The part of a message that must be understood before the rest.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    v: Option<serde_json::Value>,
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, types: &[&str], limit: usize) -> Result<T, ParseError> {
    if text.len() > limit {
        return Err(ParseError::TooLarge(text.len()));
    }
    let malformed = |e: serde_json::Error| ParseError::Malformed(shortened(&e.to_string()));
    let head: Head = serde_json::from_str(text).map_err(malformed)?;
    if !types.contains(&head.kind.as_str()) {
        return Err(ParseError::UnknownType(shortened(&head.kind)));
    }
    let versioned = matches!(head.kind.as_str(), "hello" | "welcome");
    if let (true, Some(v)) = (versioned, &head.v)
        && *v != VERSION
    {
        return Err(ParseError::Version(shortened(&v.to_string())));
    }
    serde_json::from_str(text).map_err(malformed)
}

/// At most 100 characters of a stranger's text, printable, for an error message.
fn shortened(text: &str) -> String {
    let kept: String = text.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(100).is_some() { format!("{kept}…") } else { kept }
}

/// An option whose key must be there: `null` is meant, not forgotten.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

/// Secrets stay out of logs.
const HIDDEN: &str = "…";

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("v", &self.v)
            .field("room", &self.room)
            .field("name", &self.name)
            .field("audio", &self.audio)
            .field("video", &self.video)
            .field("resume", &self.resume.as_ref().map(|_| HIDDEN))
            .finish()
    }
}

impl std::fmt::Debug for Welcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Welcome")
            .field("v", &self.v)
            .field("room", &self.room)
            .field("id", &self.id)
            .field("resume", &HIDDEN)
            .field("ice_servers", &self.ice_servers)
            .field("participants", &self.participants)
            .field("resumed", &self.resumed)
            .finish()
    }
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .field("credential", &self.credential.as_ref().map(|_| HIDDEN))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_messages_are_those_of_the_document() {
        let parse = |text: &str| ClientMessage::parse(text).unwrap();
        assert_eq!(
            parse(r#"{"type":"hello","v":1,"room":"tea","name":"Ann","audio":true,"video":false}"#),
            ClientMessage::Hello(Hello {
                v: 1,
                room: "tea".into(),
                name: "Ann".into(),
                audio: true,
                video: false,
                resume: None
            })
        );
        assert_eq!(
            parse(r#"{"type":"description","to":"b","description":{"type":"offer","sdp":"v=0"}}"#),
            ClientMessage::Description {
                to: ParticipantId("b".into()),
                description: Description { kind: SdpType::Offer, sdp: "v=0".into() }
            }
        );
        assert_eq!(
            parse(r#"{"type":"candidate","to":"b","candidate":null}"#),
            ClientMessage::Candidate { to: ParticipantId("b".into()), candidate: None }
        );
        let candidate = Candidate {
            candidate: "candidate:1".into(),
            sdp_mid: Some("0".into()),
            sdp_m_line_index: Some(0),
            username_fragment: None,
        };
        assert_eq!(
            parse(
                r#"{"type":"candidate","to":"b","candidate":{"candidate":"candidate:1","sdpMid":"0",
                   "sdpMLineIndex":0,"usernameFragment":null}}"#
            ),
            ClientMessage::Candidate { to: ParticipantId("b".into()), candidate: Some(candidate) }
        );
        assert_eq!(parse(r#"{"type":"bye"}"#), ClientMessage::Bye);
        assert_eq!(parse(r#"{"type":"bye","later":[1]}"#), ClientMessage::Bye);
    }

    #[test]
    fn what_we_write_reads_back() {
        let info = ParticipantInfo {
            id: ParticipantId("a".into()),
            name: "Ann 🫖".into(),
            audio: true,
            video: false,
            away: true,
        };
        let welcome = ServerMessage::Welcome(Welcome {
            v: 1,
            room: "Tea".into(),
            id: ParticipantId("b".into()),
            resume: "s".into(),
            ice_servers: vec![IceServer { urls: vec!["stun:x".into()], username: None, credential: None }],
            participants: vec![info.clone()],
            resumed: false,
        });
        for message in [
            welcome,
            ServerMessage::Joined { participant: info },
            ServerMessage::Left { id: ParticipantId("a".into()), reason: LeftReason::Timeout },
            ServerMessage::Candidate { from: ParticipantId("a".into()), candidate: None },
            ServerMessage::Error { code: ErrorCode::RoomFull, message: "full".into(), fatal: true },
        ] {
            assert_eq!(ServerMessage::parse(&message.to_json()), Ok(message));
        }
        assert!(ServerMessage::parse(r#"{"type":"left","id":"a","reason":"moved-house"}"#).is_ok());
        let error = ServerMessage::parse(r#"{"type":"error","code":"tired","message":"","fatal":false}"#);
        assert!(matches!(error, Ok(ServerMessage::Error { code: ErrorCode::Other, .. })));
    }

    #[test]
    fn broken_unknown_and_newer_are_told_apart() {
        for text in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"candidate","to":"b"}"#,
            r#"{"type":"description","to":"b","description":{"type":"rollback","sdp":""}}"#,
            r#"{"type":"hello","room":"tea"}"#,
            r#"{"type":"state","audio":1,"video":true}"#,
        ] {
            assert!(matches!(ClientMessage::parse(text), Err(ParseError::Malformed(_))), "{text}");
        }
        assert_eq!(ClientMessage::parse(r#"{"type":"wave"}"#), Err(ParseError::UnknownType("wave".into())));
        assert_eq!(
            ClientMessage::parse(r#"{"type":"hello","v":2,"rooms":[]}"#),
            Err(ParseError::Version("2".into()))
        );
        let deep = "[".repeat(MAX_MESSAGE);
        assert!(matches!(ClientMessage::parse(&deep), Err(ParseError::Malformed(_))));
        let long = " ".repeat(MAX_MESSAGE + 1);
        assert_eq!(ClientMessage::parse(&long), Err(ParseError::TooLarge(MAX_MESSAGE + 1)));
    }

    #[test]
    fn secrets_stay_out_of_debug_texts() {
        let hello =
            r#"{"type":"hello","v":1,"room":"r","name":"n","audio":true,"video":true,"resume":"geheim"}"#;
        assert!(!format!("{:?}", ClientMessage::parse(hello).unwrap()).contains("geheim"));
    }
}
