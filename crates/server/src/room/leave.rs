//! Going: lost connections, places that stand empty too long, and who is host then.

use super::place::Seat;
use super::{Rooms, SocketId};
use signaling::{ErrorCode, LeftReason, ServerMessage};
use std::time::Instant;

impl Rooms {
    pub(super) fn lost(&mut self, socket: SocketId, heard: Instant, unsent: Vec<ServerMessage>) {
        // Whoever waits has no place to come back to.
        self.take_knocker(socket);
        let Some(seat) = self.sockets.remove(&socket) else { return };
        let (grace, most) = (self.limits.grace, self.limits.kept);
        let Some(place) = self.place(&seat, &seat.id) else { return };
        place.socket = None;
        place.info.away = true;
        place.gone_at = Some(heard + grace);
        for message in unsent {
            // All else shows from the next welcome.
            if matches!(
                message,
                ServerMessage::Description { .. }
                    | ServerMessage::Candidate { .. }
                    | ServerMessage::Chat { .. }
            ) {
                place.keep(message, most);
            }
        }
        self.away += 1;
        self.tell_others(&seat, &ServerMessage::Away { id: seat.id.clone() });
    }

    pub(super) fn tick(&mut self, now: Instant) {
        // Mostly there is nobody to look for among thousands.
        if self.away > 0 {
            self.free_places(now);
        }
        if !self.waiting.is_empty() {
            let mut keys: Vec<String> = self.waiting.values().cloned().collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                self.send_away(&key, Some(now));
            }
        }
        self.sweep(now);
    }

    fn free_places(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for (key, room) in &self.rooms {
            for place in &room.places {
                if place.gone_at.is_some_and(|at| now >= at) {
                    gone.push(Seat { room: key.clone(), id: place.info.id.clone() });
                }
            }
        }
        for seat in gone {
            self.leave(&seat, LeftReason::Timeout);
        }
    }

    /// Frees a place. A socket that still sits there must be closed by the caller, or is another's already.
    pub(super) fn leave(&mut self, seat: &Seat, reason: LeftReason) {
        self.tell_others(seat, &ServerMessage::Left { id: seat.id.clone(), reason });
        let Some(room) = self.rooms.get_mut(&seat.room) else { return };
        let Some(at) = room.places.iter().position(|p| p.info.id == seat.id) else { return };
        let place = room.places.remove(at);
        let next = room.next_host();
        self.away -= usize::from(place.gone_at.is_some());
        self.count(place.from, |counted| counted.people -= 1);
        self.resumes.remove(&place.resume);
        if let Some(previous) = &place.previous {
            self.resumes.remove(previous);
        }
        match next {
            Some(next) => self.hand_over(seat, next),
            None => self.close_room(&seat.room),
        }
        if let Some(socket) = place.socket {
            self.sockets.remove(&socket);
            if reason == LeftReason::Replaced {
                self.refuse(socket, ErrorCode::NotWelcome, "your place was given up for another room");
            }
        }
    }

    /// Somebody left: when it was the host, somebody else is.
    fn hand_over(&mut self, left: &Seat, next: signaling::ParticipantId) {
        let Some(room) = self.rooms.get_mut(&left.room) else { return };
        if room.host != left.id {
            return;
        }
        room.host = next.clone();
        let host = room.host_socket();
        let told: Vec<_> = room.knockers.iter().map(super::place::Knocker::told).collect();
        self.tell_others(left, &ServerMessage::Host { id: next });
        if let Some(host) = host {
            for knock in told {
                self.send(host, ServerMessage::Knock(knock));
            }
        }
    }

    fn close_room(&mut self, key: &str) {
        self.send_away(key, None);
        if let Some(room) = self.rooms.remove(key) {
            self.count(room.opened_from, |counted| counted.rooms -= 1);
        }
    }
}
