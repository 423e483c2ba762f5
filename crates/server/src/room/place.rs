//! A room, and the places in it.

use super::SocketId;
use super::door::Lock;
use crate::address::Source;
use crate::limits::Kept;
use signaling::{Door, Knock, ParticipantId, ParticipantInfo, RoomName, ServerMessage, Welcome};
use std::collections::VecDeque;
use std::time::Instant;

/// Where somebody sits: the room's key and the id.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) room: String,
    pub(super) id: ParticipantId,
}

/// Somebody's place, kept for a while when their connection is lost.
pub(super) struct Place {
    pub(super) info: ParticipantInfo,
    pub(super) resume: String,
    /// The secret before: good until the present one was used, for a welcome may be lost on its way.
    pub(super) previous: Option<String>,
    pub(super) socket: Option<SocketId>,
    pub(super) from: Source,
    pub(super) gone_at: Option<Instant>,
    kept: VecDeque<ServerMessage>,
    kept_bytes: usize,
}

impl Place {
    pub(super) fn new(info: ParticipantInfo, resume: String, socket: SocketId, from: Source) -> Self {
        Self {
            info,
            resume,
            previous: None,
            socket: Some(socket),
            from,
            gone_at: None,
            kept: VecDeque::new(),
            kept_bytes: 0,
        }
    }

    /// Takes a new secret; gives the one that is no longer good. The one just used stays good.
    pub(super) fn renew(&mut self, fresh: String, used: Option<&str>) -> Option<String> {
        let current = std::mem::replace(&mut self.resume, fresh);
        if self.previous.as_deref().is_some_and(|previous| Some(previous) == used) {
            return Some(current);
        }
        self.previous.replace(current)
    }

    /// Keeps a message until they are back.
    /// overflow: the oldest goes.
    pub(super) fn keep(&mut self, message: ServerMessage, most: Kept) {
        self.kept_bytes += message.weight();
        self.kept.push_back(message);
        while self.kept.len() > most.messages.max(1) || self.kept_bytes > most.bytes {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.weight();
        }
    }

    /// What was kept, in order.
    pub(super) fn take_kept(&mut self) -> VecDeque<ServerMessage> {
        self.kept_bytes = 0;
        std::mem::take(&mut self.kept)
    }
}

/// Somebody who waits to be let in.
pub(super) struct Knocker {
    pub(super) socket: SocketId,
    pub(super) info: ParticipantInfo,
    pub(super) from: Source,
    pub(super) until: Instant,
}

impl Knocker {
    pub(super) fn told(&self) -> Knock {
        Knock { id: self.info.id.clone(), name: self.info.name.clone() }
    }
}

/// A room. There is somebody in it, always.
pub(super) struct Room {
    pub(super) name: RoomName,
    /// Who opened it.
    pub(super) opened_from: Source,
    /// In the order they came.
    pub(super) places: Vec<Place>,
    pub(super) host: ParticipantId,
    pub(super) password: Option<Lock>,
    pub(super) knock: bool,
    /// In the order they came.
    /// overflow: no more are taken, see `Limits::knocks`.
    pub(super) knockers: Vec<Knocker>,
}

impl Room {
    /// What shows of its door inside.
    pub(super) fn door(&self) -> Door {
        Door { password: self.password.is_some(), knock: self.knock }
    }

    /// What somebody in it is told when they come, or come back.
    pub(super) fn welcome(&self, id: &ParticipantId, resume: String, resumed: bool) -> Welcome {
        let others = self.places.iter().filter(|p| p.info.id != *id);
        let is_host = self.host == *id;
        Welcome {
            v: signaling::message::VERSION,
            room: self.name.as_str().into(),
            id: id.clone(),
            resume,
            participants: others.map(|p| p.info.clone()).collect(),
            resumed,
            host: Some(self.host.clone()),
            door: self.door(),
            knocks: if is_host { self.knockers.iter().map(Knocker::told).collect() } else { Vec::new() },
            // The hub knows the servers: they come with the welcome's way out.
            ice_servers: Vec::new(),
            ice_ttl: None,
        }
    }

    /// Who is host when the host is gone: of those connected whoever has been here longest, else of all.
    pub(super) fn next_host(&self) -> Option<ParticipantId> {
        let connected = self.places.iter().find(|p| p.socket.is_some());
        connected.or(self.places.first()).map(|p| p.info.id.clone())
    }

    /// The host's connection, when they have one.
    pub(super) fn host_socket(&self) -> Option<SocketId> {
        self.places.iter().find(|p| p.info.id == self.host)?.socket
    }
}
