//! The messages of a room, and the client that speaks them.
//!
//! `message` and `names` are the protocol of `docs/signaling.md`, and all that the server uses of this crate.

pub mod limits;
pub mod link;
pub mod message;
pub mod names;

pub use link::{Link, LinkError, Server};
pub use message::{
    Candidate, ClientMessage, Description, ErrorCode, Hello, IceServer, LeftReason, ParseError,
    ParticipantInfo, SdpType, ServerMessage, Welcome,
};
pub use names::{Name, NameError, RoomName};

use serde::{Deserialize, Serialize};
use std::fmt;

/// A participant's id, given by the server; unique in the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ParticipantId(pub String);

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
