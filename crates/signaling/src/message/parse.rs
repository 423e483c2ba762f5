//! Reading and writing text frames: broken, unknown and newer messages are told apart.

use super::{ClientMessage, MAX_MESSAGE, MAX_SERVER_MESSAGE, ServerMessage, VERSION};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

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
    v: Said,
}

/// The version that a message names. What is no number is passed over: it may be large and deep.
#[derive(Default)]
enum Said {
    #[default]
    Nothing,
    Number(u64),
    Nonsense,
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SaidVisitor)
    }
}

struct SaidVisitor;

impl<'de> Visitor<'de> for SaidVisitor {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version")
    }

    fn visit_unit<E>(self) -> Result<Said, E> {
        Ok(Said::Nothing)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Said, E> {
        Ok(Said::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Said, E> {
        Ok(Said::Nonsense)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Said, E> {
        Ok(Said::Nonsense)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Said, E> {
        Ok(Said::Nonsense)
    }

    fn visit_str<E>(self, _: &str) -> Result<Said, E> {
        Ok(Said::Nonsense)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Said, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Said::Nonsense)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Said::Nonsense)
    }
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
    match head.v {
        Said::Number(v) if versioned && v != u64::from(VERSION) => {
            return Err(ParseError::Version(v.to_string()));
        }
        Said::Nonsense if versioned => return Err(ParseError::Version("that is no number".into())),
        Said::Nothing | Said::Number(_) | Said::Nonsense => {}
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
