//! The door of the room: who is host, who comes in, who waits, and waiting ourselves.

use super::{Effect, Machine};
use crate::event::Event;
use crate::snapshot::{About, Entrance, Knocker, Phase};
use media::audio::Chime;
use signaling::{ClientMessage, Door, Knock, ParticipantId, ServerMessage, Welcome};

impl Machine {
    /// To the server, as long as it can mean something there.
    pub(super) fn tell_server(&mut self, message: ClientMessage) {
        if self.in_room() {
            self.effect(Effect::Send(message));
        }
    }

    /// How the door is when we come, or come back.
    pub(super) fn take_over_entrance(&mut self, welcome: &mut Welcome) {
        if let Some(host) = welcome.host.take() {
            self.on_host(host);
        }
        self.on_door(welcome.door);
        let knocks = std::mem::take(&mut welcome.knocks);
        let over: Vec<ParticipantId> = (self.snapshot.entrance.knocks.iter())
            .filter(|waiting| knocks.iter().all(|knock| knock.id != waiting.id))
            .map(|waiting| waiting.id.clone())
            .collect();
        for id in over {
            self.on_knock_over(&id);
        }
        for knock in knocks {
            self.on_knock(knock);
        }
    }

    /// What the server says of the door. Gives back what is of something else.
    pub(super) fn on_entrance(&mut self, message: ServerMessage) -> Option<ServerMessage> {
        match message {
            ServerMessage::Waiting { seconds } => self.on_waiting(seconds),
            ServerMessage::Host { id } => self.on_host(id),
            ServerMessage::Door(door) => self.on_door(door),
            ServerMessage::Knock(knock) => self.on_knock(knock),
            ServerMessage::KnockOver { id } => self.on_knock_over(&id),
            other => return Some(other),
        }
        None
    }

    /// We wait outside: for the first time, or because our place was lost with the server.
    fn on_waiting(&mut self, seconds: u64) {
        let Some(room) = self.room_asked_for() else { return };
        self.close_all_peers();
        self.snapshot.me.id = None;
        self.snapshot.entrance = Entrance::default();
        self.snapshot.phase = Phase::Waiting { room };
        self.resolve(About::Server);
        self.emit(Event::Waiting { seconds });
    }

    fn on_host(&mut self, id: ParticipantId) {
        let me = self.snapshot.me.id.as_ref() == Some(&id);
        let entrance = &mut self.snapshot.entrance;
        if entrance.host.as_ref() == Some(&id) && entrance.is_ours == me {
            return;
        }
        (entrance.host, entrance.is_ours) = (Some(id.clone()), me);
        if !me {
            entrance.knocks.clear();
        }
        self.emit(Event::Host { id, me });
    }

    fn on_door(&mut self, door: Door) {
        let entrance = &mut self.snapshot.entrance;
        if (entrance.password, entrance.knock) == (door.password, door.knock) {
            return;
        }
        (entrance.password, entrance.knock) = (door.password, door.knock);
        self.emit(Event::Door { password: door.password, knock: door.knock });
    }

    fn on_knock(&mut self, knock: Knock) {
        let Knock { id, name } = knock;
        if self.snapshot.entrance.knocks.iter().any(|waiting| waiting.id == id) {
            return;
        }
        // overflow: the server lets no more wait at a room than it is set to.
        self.snapshot.entrance.knocks.push(Knocker { id: id.clone(), name: name.clone() });
        self.emit(Event::Knock { id, name });
        self.chime(Chime::Join);
    }

    fn on_knock_over(&mut self, id: &ParticipantId) {
        let knocks = &mut self.snapshot.entrance.knocks;
        let before = knocks.len();
        knocks.retain(|waiting| waiting.id != *id);
        if knocks.len() < before {
            self.emit(Event::KnockOver { id: id.clone() });
        }
    }

    /// The room is shut to us: a person decides what to try next.
    pub(super) fn on_no_entry(&mut self, why: String) {
        if self.snapshot.phase == Phase::Lobby {
            return;
        }
        self.problem(About::Entry, why.clone(), true);
        self.leave(&why);
    }
}
