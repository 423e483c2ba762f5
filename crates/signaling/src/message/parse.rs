//! Reading and writing text frames: broken, unknown and newer messages are told apart.

use super::{ClientMessage, MAX_MESSAGE, MAX_SERVER_MESSAGE, ServerMessage, VERSION};
use serde::{Deserialize, Deserializer, Serialize};

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

const CLIENT_TYPES: [&str; 10] =
    ["hello", "description", "candidate", "state", "chat", "ice", "door", "admit", "refuse", "bye"];
const SERVER_TYPES: [&str; 16] = [
    "welcome",
    "waiting",
    "joined",
    "left",
    "away",
    "back",
    "host",
    "door",
    "knock",
    "knock-over",
    "ice",
    "description",
    "candidate",
    "state",
    "chat",
    "error",
];

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
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}
