//! What is said in a room, and who hears it.

use super::place::Seat;
use super::{Output, Rooms, SocketId};
use signaling::message::MAX_CHAT;
use signaling::{ClientMessage, ErrorCode, LeftReason, ParticipantId, ServerMessage};
use std::time::Instant;

impl Rooms {
    pub(super) fn message(&mut self, socket: SocketId, message: ClientMessage, now: Instant) {
        let Some(seat) = self.sockets.get(&socket).cloned() else {
            return self.said_outside(socket, &message);
        };
        let from = seat.id.clone();
        match message {
            ClientMessage::Hello(_) => self.error(socket, ErrorCode::BadMessage, "hello was said before"),
            ClientMessage::Description { to, description } => {
                self.relay(socket, &seat, &to, ServerMessage::Description { from, description });
            }
            ClientMessage::Candidate { to, candidate } => {
                self.relay(socket, &seat, &to, ServerMessage::Candidate { from, candidate });
            }
            ClientMessage::State { audio, video } => {
                if let Some(place) = self.place(&seat, &seat.id) {
                    (place.info.audio, place.info.video) = (audio, video);
                }
                self.tell_others(&seat, &ServerMessage::State { from, audio, video });
            }
            ClientMessage::Chat { text } => self.chat(socket, &seat, text),
            // The hub knows the servers.
            ClientMessage::Ice => self.send(socket, ServerMessage::Ice { ice_servers: Vec::new(), ttl: 0 }),
            ClientMessage::Door { password, knock } => self.set_door(socket, &seat, password, knock),
            ClientMessage::Admit { id } => self.admit(socket, &seat, &id),
            ClientMessage::Refuse { id } => self.send_off(socket, &seat, &id, now),
            ClientMessage::Bye => {
                self.leave(&seat, LeftReason::Bye);
                self.outputs.push(Output::Close { socket, normal: true });
            }
        }
    }

    /// Whoever is in no room says only bye, and only while they wait.
    fn said_outside(&mut self, socket: SocketId, message: &ClientMessage) {
        let waits = self.take_knocker(socket).is_some();
        match message {
            ClientMessage::Bye if waits => self.outputs.push(Output::Close { socket, normal: true }),
            _ if waits => self.refuse(socket, ErrorCode::NotWelcome, "whoever waits can only say bye"),
            _ => self.refuse(socket, ErrorCode::NotWelcome, "the first message must be hello"),
        }
    }

    fn chat(&mut self, socket: SocketId, seat: &Seat, text: String) {
        if text.chars().count() > MAX_CHAT {
            let what = format!("at most {MAX_CHAT} characters can be said at once");
            self.error(socket, ErrorCode::TooLarge, &what);
        } else if text.trim().is_empty() {
            self.error(socket, ErrorCode::BadMessage, "there is nothing in this chat message");
        } else {
            self.tell_others(seat, &ServerMessage::Chat { from: seat.id.clone(), text });
        }
    }

    fn relay(&mut self, socket: SocketId, seat: &Seat, to: &ParticipantId, message: ServerMessage) {
        let most = self.limits.kept;
        if *to == seat.id {
            return self.error(socket, ErrorCode::NoSuchParticipant, "this message is for yourself");
        }
        match self.place(seat, to) {
            Some(place) => match place.socket {
                Some(socket) => self.send(socket, message),
                None => place.keep(message, most),
            },
            None => self.error(socket, ErrorCode::NoSuchParticipant, "they are not in this room (any more)"),
        }
    }

    pub(super) fn tell_others(&mut self, seat: &Seat, message: &ServerMessage) {
        let Some(room) = self.rooms.get(&seat.room) else { return };
        for place in room.places.iter().filter(|p| p.info.id != seat.id) {
            if let Some(socket) = place.socket {
                self.outputs.push(Output::Send { socket, message: message.clone() });
            }
        }
    }

    pub(super) fn send(&mut self, socket: SocketId, message: ServerMessage) {
        self.outputs.push(Output::Send { socket, message });
    }

    pub(super) fn error(&mut self, socket: SocketId, code: ErrorCode, message: &str) {
        self.send(socket, ServerMessage::Error { code, message: message.into(), fatal: false });
    }

    pub(super) fn refuse(&mut self, socket: SocketId, code: ErrorCode, message: &str) {
        self.send(socket, ServerMessage::Error { code, message: message.into(), fatal: true });
        self.outputs.push(Output::Close { socket, normal: false });
    }
}
