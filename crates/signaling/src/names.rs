//! The rules for what people call rooms and themselves.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The most characters (Unicode scalar values) of a room's or a participant's name.
pub const MAX_NAME: usize = 64;

/// First path segments of a server that mean something else than a room.
const RESERVED: [&str; 7] = [".", "..", "ws", "healthz", "assets", "favicon.ico", "robots.txt"];

/// A room's name. Two that differ only by case are the same room.
#[derive(Clone, Debug)]
pub struct RoomName {
    written: String,
    key: String,
}

impl RoomName {
    /// Takes what somebody typed: trimmed; 1 to [`MAX_NAME`] characters; no control characters, none of
    /// `/ \ ? # %`, and not a path that the server itself uses.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let written = checked(text)?.ok_or(NameError::Empty)?;
        if let Some(bad) = written.chars().find(|c| matches!(c, '/' | '\\' | '?' | '#' | '%')) {
            return Err(NameError::Forbidden(bad));
        }
        let key = written.to_lowercase();
        if RESERVED.contains(&key.as_str()) {
            return Err(NameError::Reserved(key));
        }
        Ok(Self { written, key })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// What rooms are told apart by: lower case.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl PartialEq for RoomName {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for RoomName {}

impl Hash for RoomName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// How a participant is called. Several in a room may have the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// Takes what somebody typed: trimmed; at most [`MAX_NAME`] characters, no control characters; nothing
    /// becomes `Guest`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        Ok(Self(checked(text)?.unwrap_or_else(|| "Guest".into())))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a name, and so what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but spaces.
    #[error("a room needs a name: type at least one letter")]
    Empty,
    /// Over [`MAX_NAME`].
    #[error("the name has {0} characters; at most {MAX_NAME} are allowed")]
    TooLong(usize),
    /// Line breaks, control codes or marks that turn the writing direction.
    #[error("the name holds an invisible control character (U+{:04X}); type it again without it", u32::from(*.0))]
    Control(char),
    /// Would break the room's link.
    #[error("a room's name cannot contain \"{0}\"")]
    Forbidden(char),
    /// The server's own path.
    #[error("\"{0}\" cannot be a room's name, the server uses it itself: choose another")]
    Reserved(String),
}

fn checked(text: &str) -> Result<Option<String>, NameError> {
    let text = text.trim();
    let length = text.chars().count();
    if length > MAX_NAME {
        return Err(NameError::TooLong(length));
    }
    if let Some(bad) = text.chars().find(|c| is_control(*c)) {
        return Err(NameError::Control(bad));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Control codes, line separators, byte order mark, and the marks that reorder text (they let a name pretend
/// to be another). The joiner and the variation selectors that emoji are made of are fine.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_what_people_type() {
        for (typed, key) in [
            ("tea", "tea"),
            ("  Tea Time ", "tea time"),
            ("Ünïcode-Straße_2.0", "ünïcode-straße_2.0"),
            ("👩‍👩‍👧 ❤️", "👩‍👩‍👧 ❤️"),
            ("...", "..."),
            ("ws2", "ws2"),
        ] {
            let room = RoomName::parse(typed).unwrap();
            assert_eq!(room.key(), key);
            assert_eq!(room.as_str(), typed.trim());
        }
        assert_eq!(RoomName::parse("TEA"), RoomName::parse("tea"));
        assert!(RoomName::parse(&"é".repeat(64)).is_ok());
    }

    #[test]
    fn rooms_that_cannot_be_say_why() {
        assert_eq!(RoomName::parse(""), Err(NameError::Empty));
        assert_eq!(RoomName::parse(" \t\n "), Err(NameError::Empty));
        assert_eq!(RoomName::parse(&"x".repeat(10_000)), Err(NameError::TooLong(10_000)));
        for bad in ['/', '\\', '?', '#', '%'] {
            assert_eq!(RoomName::parse(&format!("a{bad}b")), Err(NameError::Forbidden(bad)));
        }
        for bad in ['\0', '\n', '\u{7f}', '\u{85}', '\u{202e}'] {
            assert_eq!(RoomName::parse(&format!("a{bad}b")), Err(NameError::Control(bad)));
        }
        for bad in ["ws", "WS", "healthz", "assets", ".", "..", "favicon.ico"] {
            assert!(matches!(RoomName::parse(bad), Err(NameError::Reserved(_))), "{bad}");
        }
    }

    #[test]
    fn names_of_people() {
        assert_eq!(Name::parse("").unwrap().as_str(), "Guest");
        assert_eq!(Name::parse("  ").unwrap().as_str(), "Guest");
        assert_eq!(Name::parse(" Ann / Bob? ").unwrap().as_str(), "Ann / Bob?");
        assert_eq!(Name::parse(&"n".repeat(65)), Err(NameError::TooLong(65)));
        assert_eq!(Name::parse("a\u{1b}[31m"), Err(NameError::Control('\u{1b}')));
        let text = Name::parse("a\nb").unwrap_err().to_string();
        assert!(text.contains("U+000A"), "{text}");
    }
}
