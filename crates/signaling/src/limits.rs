//! How many messages a connection may carry. The server enforces these figures; the client keeps below them
//! by itself, so that nothing it was asked to say is ever dropped.

use crate::ClientMessage;
use std::time::{Duration, Instant};

/// The two kinds of messages that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `description` and `candidate`: many at once when somebody joins a full room.
    Relay,
    /// Everything else.
    Other,
}

impl Class {
    /// What a message counts as.
    pub fn of(message: &ClientMessage) -> Self {
        match message {
            ClientMessage::Description { .. } | ClientMessage::Candidate { .. } => Self::Relay,
            ClientMessage::Hello(_)
            | ClientMessage::State { .. }
            | ClientMessage::Chat { .. }
            | ClientMessage::Ice
            | ClientMessage::Bye => Self::Other,
        }
    }
}

/// A rate: so many at once, refilled by so many a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// At once.
    pub burst: f64,
    /// A second.
    pub refill: f64,
}

impl Rate {
    /// Descriptions and candidates: eleven offers and some twenty candidates each.
    pub const RELAY: Self = Self { burst: 300.0, refill: 60.0 };
    /// Everything else.
    pub const OTHER: Self = Self { burst: 60.0, refill: 20.0 };

    /// Four fifths of this rate: what the client allows itself, so that clocks and delays do not matter.
    pub const fn with_margin(self) -> Self {
        Self { burst: self.burst * 0.8, refill: self.refill * 0.8 }
    }
}

/// A token bucket; it starts full.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    tokens: f64,
    updated: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst, updated: now }
    }

    /// Takes a token when there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// When the next token is there: `now` when it is already.
    pub fn ready_at(&mut self, now: Instant) -> Instant {
        self.refill(now);
        // A millisecond more than exact, so that rounding cannot make a caller wake too early again and again.
        let missing = 1.0 - self.tokens;
        if missing <= 0.0 {
            now
        } else {
            now + Duration::from_secs_f64(missing / self.rate.refill) + Duration::from_millis(1)
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.updated).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate.refill).min(self.rate.burst);
        self.updated = self.updated.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_refill() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { burst: 3.0, refill: 2.0 }, start);
        assert_eq!((0..5).filter(|_| bucket.take(start)).count(), 3);
        let ready = bucket.ready_at(start);
        assert!(ready > start + Duration::from_millis(499) && ready < start + Duration::from_millis(502));
        assert!(!bucket.take(start + Duration::from_millis(400)));
        assert!(bucket.take(ready));
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| bucket.take(later)).count(), 3);
        assert!(!bucket.take(start), "a clock that steps back gives nothing");
    }
}
