//! The messages of a room, and the client that speaks them.
use serde::{Deserialize, Serialize};

/// A participant's id, given by the server; unique in the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ParticipantId(pub String);
