//! What must not show in a log: secrets, addresses, and SDP, which holds both.

use super::{Candidate, Description, Hello, IceServer, Welcome};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Debug, Formatter};

/// The most characters of a password.
pub const MAX_PASSWORD: usize = 128;

/// What stands for it.
const HIDDEN: &str = "…";

impl Debug for Hello {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("v", &self.v)
            .field("room", &self.room)
            .field("name", &self.name)
            .field("audio", &self.audio)
            .field("video", &self.video)
            .field("resume", &self.resume.as_ref().map(|_| HIDDEN))
            .field("password", &self.password)
            .field("knock", &self.knock)
            .finish()
    }
}

impl Debug for Welcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("v", &self.v)
            .field("room", &self.room)
            .field("id", &self.id)
            .field("resume", &HIDDEN)
            .field("ice_servers", &self.ice_servers)
            .field("participants", &self.participants)
            .field("resumed", &self.resumed)
            .field("host", &self.host)
            .field("door", &self.door)
            .field("knocks", &self.knocks)
            .finish_non_exhaustive()
    }
}

impl Debug for IceServer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username.as_ref().map(|_| HIDDEN))
            .field("credential", &self.credential.as_ref().map(|_| HIDDEN))
            .finish()
    }
}

impl Debug for Description {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description").field("kind", &self.kind).field("sdp", &HIDDEN).finish()
    }
}

impl Debug for Candidate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("candidate", &HIDDEN).finish_non_exhaustive()
    }
}

/// A room's password. It shows in no log.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// As somebody typed it. Empty means none; of a longer one than [`MAX_PASSWORD`] nothing is true.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it may be a room's.
    pub fn is_fit(&self) -> bool {
        self.0.chars().count() <= MAX_PASSWORD
    }

    /// What it is.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Itself, unless it is empty.
    pub fn given(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }
}

impl Debug for Password {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { HIDDEN })
    }
}
