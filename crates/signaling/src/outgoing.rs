//! What the client still has to say. Messages stay here until the socket has them all the way out, so that
//! those lost with a broken socket are said again after the resume.

use crate::ClientMessage;
use crate::limits::{Bucket, Class, Rate};
use std::collections::VecDeque;
use std::time::Instant;

/// The most messages that wait.
pub(crate) const MAX_WAITING: usize = 256;

/// The queue towards the server, kept below the server's rate limits.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// overflow: the oldest candidate that is not being written goes, or the oldest message when there is none:
    /// ICE finds a path with a candidate less, but not without a description.
    waiting: VecDeque<ClientMessage>,
    /// How many of the front are in the socket's buffer, not flushed.
    taken: usize,
    /// The buttons, when they changed since they were last said. Only the latest counts.
    state: Option<(bool, bool)>,
    relays: Bucket,
    others: Bucket,
    dropped: u64,
}

impl Outgoing {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            taken: 0,
            state: None,
            relays: Bucket::new(Rate::RELAY.with_margin(), now),
            others: Bucket::new(Rate::OTHER.with_margin(), now),
            dropped: 0,
        }
    }

    pub(crate) fn push(&mut self, message: ClientMessage) {
        if let ClientMessage::State { audio, video } = message {
            self.state = Some((audio, video));
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            let is_candidate = |m: &ClientMessage| matches!(m, ClientMessage::Candidate { .. });
            let oldest = self.waiting.iter().skip(self.taken).position(is_candidate).unwrap_or(0);
            if self.waiting.remove(self.taken + oldest).is_none() {
                // All is in the socket's buffer: then the new one goes.
                self.count_drop();
                return;
            }
            self.count_drop();
        }
        self.waiting.push_back(message);
    }

    fn count_drop(&mut self) {
        self.dropped += 1;
        tracing::warn!(dropped = self.dropped, "too much to say to the server, a message is dropped");
    }

    pub(crate) fn set_state(&mut self, audio: bool, video: bool) {
        self.state = Some((audio, video));
    }

    /// The next message to write, when there is one and the rate allows it.
    pub(crate) fn next(&mut self, now: Instant) -> Option<ClientMessage> {
        if let Some((audio, video)) = self.state
            && self.others.take(now)
        {
            self.state = None;
            return Some(ClientMessage::State { audio, video });
        }
        let message = self.waiting.get(self.taken)?;
        let bucket = match Class::of(message) {
            Class::Relay => &mut self.relays,
            Class::Other => &mut self.others,
        };
        if !bucket.take(now) {
            return None;
        }
        self.taken += 1;
        Some(message.clone())
    }

    /// When [`Outgoing::next`] would give something: none while there is nothing to say.
    pub(crate) fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        let state = self.state.is_some().then(|| self.others.ready_at(now));
        let front = match self.waiting.get(self.taken).map(Class::of) {
            Some(Class::Relay) => Some(self.relays.ready_at(now)),
            Some(Class::Other) => Some(self.others.ready_at(now)),
            None => None,
        };
        state.into_iter().chain(front).min()
    }

    /// All that was taken is out.
    pub(crate) fn flushed(&mut self) {
        self.waiting.drain(..self.taken);
        self.taken = 0;
    }

    /// A fresh connection: what was not flushed is to be said again, the buttons were said by hello. The
    /// server counts anew too.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.taken = 0;
        self.state = None;
        self.relays = Bucket::new(Rate::RELAY.with_margin(), now);
        self.others = Bucket::new(Rate::OTHER.with_margin(), now);
        // Hello counts too.
        self.others.take(now);
    }

    /// Forgets what was meant for participants: they are others now, or know us no more.
    pub(crate) fn forget_relays(&mut self) {
        self.waiting.retain(|m| Class::of(m) == Class::Other);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Description, ParticipantId, SdpType};
    use std::time::Duration;

    fn candidate() -> ClientMessage {
        ClientMessage::Candidate { to: ParticipantId("b".into()), candidate: None }
    }

    fn offer(sdp: &str) -> ClientMessage {
        let description = Description { kind: SdpType::Offer, sdp: sdp.into() };
        ClientMessage::Description { to: ParticipantId("b".into()), description }
    }

    #[test]
    fn a_full_queue_drops_candidates_before_descriptions() {
        let mut out = Outgoing::new(Instant::now());
        out.push(offer("0"));
        for _ in 0..MAX_WAITING {
            out.push(candidate());
        }
        out.push(offer("1"));
        assert_eq!(out.len(), MAX_WAITING);
        assert_eq!(out.waiting.front(), Some(&offer("0")));
        assert_eq!(out.waiting.back(), Some(&offer("1")));
        for n in 2..1000 {
            out.push(offer(&n.to_string()));
        }
        assert_eq!(out.len(), MAX_WAITING);
        assert_eq!(out.waiting.back(), Some(&offer("999")));
    }

    #[test]
    fn what_was_not_flushed_is_said_again() {
        let now = Instant::now();
        let mut out = Outgoing::new(now);
        for n in 0..3 {
            out.push(offer(&n.to_string()));
        }
        assert_eq!(out.next(now), Some(offer("0")));
        out.flushed();
        assert_eq!(out.next(now), Some(offer("1")));
        assert_eq!(out.next(now), Some(offer("2")));
        assert_eq!(out.next(now), None);
        out.restart(now);
        assert_eq!(out.next(now), Some(offer("1")));
    }

    #[test]
    fn buttons_pressed_fast_end_in_the_last_state_below_the_rate() {
        let mut now = Instant::now();
        let mut out = Outgoing::new(now);
        let (mut said, mut last) = (0, None);
        for n in 0..1000 {
            out.set_state(n % 2 == 0, true);
            while let Some(message) = out.next(now) {
                (said, last) = (said + 1, Some(message));
            }
            now += Duration::from_millis(1);
        }
        now = out.ready_at(now).unwrap();
        last = out.next(now).or(last);
        assert_eq!(last, Some(ClientMessage::State { audio: false, video: true }));
        assert!(said <= 65, "{said} in a second");
    }
}
