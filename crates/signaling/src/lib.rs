//! The messages of a room, and the client that speaks them.
//!
//! `message`, `names` and `limits` are the protocol of `docs/signaling.md`, and all that the server uses of
//! this crate. [`Client`] keeps a place in a room: one tokio task (`socket`) drives a pure state machine
//! (`session`) that reconnects with backoff and resumes the place. No thread of its own, no lock.

mod connect;
pub mod limits;
pub mod link;
pub mod message;
pub mod names;
mod outgoing;
pub mod session;
mod socket;
mod trust;

pub use link::{Link, LinkError, Server};
pub use message::{
    Candidate, ClientMessage, Description, Door, ErrorCode, Hello, IceServer, Knock, LeftReason, ParseError,
    ParticipantInfo, Password, SdpType, ServerMessage, Welcome,
};
pub use names::{Name, NameError, RoomName};
pub use session::ClientEvent;
pub use socket::{Client, Full, JoinRequest};
pub use trust::{own_certificates, tls_config};

use serde::{Deserialize, Serialize};
use std::fmt;

/// A participant's id, given by the server; unique in the room.
///
/// Read from outside only as 1 to 32 ASCII letters and digits: it names threads and files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParticipantId(pub String);

impl TryFrom<String> for ParticipantId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let good = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if good { Ok(Self(text)) } else { Err("not the id of a participant") }
    }
}

impl From<ParticipantId> for String {
    fn from(id: ParticipantId) -> Self {
        id.0
    }
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
