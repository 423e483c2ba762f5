//! What a connection says, checked before it reaches the rooms: form, size, pace. Pure.

use signaling::limits::{Bucket, Class, Rate};
use signaling::{ClientMessage, ErrorCode, ParseError, ServerMessage};
use std::time::{Duration, Instant};

/// Messages dropped for being too fast, after which the connection is closed.
const PATIENCE: u32 = 300;

/// What to do with a frame.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Hand it to the rooms.
    Accept(ClientMessage),
    /// Answer with an error; close after it when it is fatal.
    Refuse(ServerMessage),
    /// Nothing: it asks for nothing, or it was too much and that has been said already.
    Drop,
}

/// One connection's checks.
#[derive(Debug)]
pub struct Intake {
    relays: Bucket,
    others: Bucket,
    /// Pings and pongs.
    signs: Bucket,
    greeted: bool,
    dropped: u32,
    complained: Option<Instant>,
}

impl Intake {
    /// For a connection that opens now.
    pub fn new(now: Instant) -> Self {
        let (relays, others) = (Bucket::new(Rate::RELAY, now), Bucket::new(Rate::OTHER, now));
        let signs = others.clone();
        Self { relays, others, signs, greeted: false, dropped: 0, complained: None }
    }

    /// Whether hello was said.
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// A text frame.
    pub fn text(&mut self, text: &str, now: Instant) -> Verdict {
        if !self.relays.has(now) && !self.others.has(now) {
            // Whatever it is, it is not worth reading.
            return self.too_fast(now);
        }
        let parsed = ClientMessage::parse(text);
        let bucket = match parsed.as_ref().map(Class::of) {
            Ok(Class::Relay) => &mut self.relays,
            Ok(Class::Other) | Err(_) => &mut self.others,
        };
        if !bucket.take(now) {
            return self.too_fast(now);
        }
        match parsed {
            Ok(message @ ClientMessage::Hello(_)) => {
                self.greeted = true;
                Verdict::Accept(message)
            }
            Ok(_) if !self.greeted => {
                refuse(ErrorCode::NotWelcome, "the first message must be hello".into(), true)
            }
            Ok(message) => Verdict::Accept(message),
            Err(error) => {
                let (code, fatal) = match error {
                    ParseError::Version(_) => (ErrorCode::BadVersion, true),
                    ParseError::TooLarge(_) => (ErrorCode::TooLarge, true),
                    ParseError::Malformed(_) | ParseError::UnknownType(_) => {
                        (ErrorCode::BadMessage, !self.greeted)
                    }
                };
                refuse(code, error.to_string(), fatal)
            }
        }
    }

    /// A binary frame.
    pub fn binary(&mut self, now: Instant) -> Verdict {
        if !self.others.take(now) {
            return self.too_fast(now);
        }
        let text = "binary frames mean nothing here: send JSON in text frames";
        refuse(ErrorCode::BadMessage, text.into(), !self.greeted)
    }

    /// A ping or a pong.
    pub fn sign_of_life(&mut self, now: Instant) -> Verdict {
        if self.signs.take(now) { Verdict::Drop } else { self.too_fast(now) }
    }

    fn too_fast(&mut self, now: Instant) -> Verdict {
        self.dropped += 1;
        if self.dropped >= PATIENCE {
            let text = "far too many messages in a short time: the connection is closed";
            return refuse(ErrorCode::TooFast, text.into(), true);
        }
        if self.complained.is_some_and(|at| now < at + Duration::from_secs(1)) {
            return Verdict::Drop;
        }
        self.complained = Some(now);
        refuse(ErrorCode::TooFast, "too many messages in a short time: this one is dropped".into(), false)
    }
}

fn refuse(code: ErrorCode, message: String, fatal: bool) -> Verdict {
    Verdict::Refuse(ServerMessage::Error { code, message, fatal })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = r#"{"type":"hello","v":1,"room":"tea","name":"Ann","audio":true,"video":true}"#;
    const STATE: &str = r#"{"type":"state","audio":true,"video":true}"#;
    const CANDIDATE: &str = r#"{"type":"candidate","to":"b","candidate":null}"#;

    fn code(verdict: &Verdict) -> Option<(ErrorCode, bool)> {
        match verdict {
            Verdict::Refuse(ServerMessage::Error { code, fatal, .. }) => Some((*code, *fatal)),
            Verdict::Refuse(_) | Verdict::Accept(_) | Verdict::Drop => None,
        }
    }

    #[test]
    fn before_hello_every_fault_is_fatal() {
        let now = Instant::now();
        for (text, expected) in [
            ("{", ErrorCode::BadMessage),
            (STATE, ErrorCode::NotWelcome),
            (r#"{"type":"wave"}"#, ErrorCode::BadMessage),
            (r#"{"type":"hello","v":7}"#, ErrorCode::BadVersion),
        ] {
            assert_eq!(code(&Intake::new(now).text(text, now)), Some((expected, true)), "{text}");
        }
        assert_eq!(code(&Intake::new(now).binary(now)), Some((ErrorCode::BadMessage, true)));
    }

    #[test]
    fn after_hello_a_bad_message_is_told_and_no_more() {
        let now = Instant::now();
        let mut intake = Intake::new(now);
        assert!(matches!(intake.text(HELLO, now), Verdict::Accept(_)));
        assert_eq!(code(&intake.text("{", now)), Some((ErrorCode::BadMessage, false)));
        assert_eq!(code(&intake.binary(now)), Some((ErrorCode::BadMessage, false)));
        assert!(matches!(intake.text(STATE, now), Verdict::Accept(_)));
    }

    #[test]
    fn a_flood_of_pings_is_closed_and_keepalives_are_not() {
        let mut now = Instant::now();
        let mut intake = Intake::new(now);
        intake.text(HELLO, now);
        for _ in 0..1000 {
            now += Duration::from_secs(3);
            assert_eq!(intake.sign_of_life(now), Verdict::Drop);
        }
        assert!((0..59).all(|_| intake.sign_of_life(now) == Verdict::Drop));
        assert_eq!(code(&intake.sign_of_life(now)), Some((ErrorCode::TooFast, false)));
        assert!(matches!(intake.text(STATE, now), Verdict::Accept(_)), "they are counted apart");
        let closing = (0..400).find_map(|_| code(&intake.sign_of_life(now)).filter(|(_, fatal)| *fatal));
        assert_eq!(closing, Some((ErrorCode::TooFast, true)));
    }

    #[test]
    fn a_join_of_twelve_does_not_trip_and_a_flood_does() {
        let mut now = Instant::now();
        let mut intake = Intake::new(now);
        intake.text(HELLO, now);
        for _ in 0..11 * 21 {
            assert!(matches!(intake.text(CANDIDATE, now), Verdict::Accept(_)));
        }
        for _ in 0..59 {
            assert!(matches!(intake.text(STATE, now), Verdict::Accept(_)));
        }
        assert_eq!(code(&intake.text(STATE, now)), Some((ErrorCode::TooFast, false)));
        assert_eq!(intake.text(STATE, now), Verdict::Drop);
        now += Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| matches!(intake.text(STATE, now), Verdict::Accept(_))).count(), 20);
        let closing = (0..400).find_map(|_| code(&intake.text("x", now)).filter(|(_, fatal)| *fatal));
        assert_eq!(closing, Some((ErrorCode::TooFast, true)));
    }
}
