//! The room: joining, leaving, who is there and what they say of themselves.

use super::{Effect, Hello, Machine, OpenPeer, PeerKey, Peering};
use crate::event::Event;
use crate::snapshot::{About, ChatLine, Connection, Entrance, Participant, Phase, Snapshot};
use media::Slot;
use media::audio::Chime;
use signaling::{ClientMessage, ErrorCode, ParticipantId, ParticipantInfo, Password, ServerMessage, Welcome};
use std::sync::Arc;
use std::time::Instant;

impl Machine {
    pub(super) fn join(
        &mut self,
        server: String,
        room: String,
        (name, password): (String, Password),
        now: Instant,
    ) {
        if self.snapshot.phase != Phase::Lobby {
            self.leave("another room");
        }
        self.stop_test(now);
        for about in [About::Server, About::Connection, About::Entry] {
            self.resolve(about);
        }
        self.server = server.trim_end_matches('/').to_owned();
        self.attempt.clicked = Some(now);
        self.snapshot.chat.clear();
        self.snapshot.me.name.clone_from(&name);
        self.snapshot.phase = Phase::Joining { room: room.clone() };
        let (audio, video) = self.ours();
        self.announced = Some((audio, video));
        self.attempt.count += 1;
        let attempt = self.attempt.count;
        self.effect(Effect::Connect(Hello { attempt, server, room, name, password, audio, video }));
    }

    pub(super) fn leave(&mut self, reason: &str) {
        if self.snapshot.phase == Phase::Lobby {
            return;
        }
        self.close_all_peers();
        self.effect(Effect::Disconnect);
        self.snapshot.phase = Phase::Lobby;
        self.snapshot.me.id = None;
        self.snapshot.entrance = Entrance::default();
        self.announced = None;
        self.emit(Event::Left { reason: reason.to_owned() });
    }

    pub(super) fn close_all_peers(&mut self) {
        let mut keys: Vec<PeerKey> = self.peers.drain().map(|(key, _)| key).collect();
        keys.sort_unstable();
        for key in keys {
            self.effect(Effect::ClosePeer(key));
        }
        self.snapshot.participants.clear();
        self.snapshot.voices.clear();
    }

    /// We are in: new to the room, or back in our place after the server was lost.
    pub(super) fn on_welcome(&mut self, mut welcome: Welcome, now: Instant) {
        let Some(room) = self.room_asked_for() else { return };
        let again = self.in_room();
        let link = self.link_to(&room);
        self.snapshot.phase = Phase::InRoom { room: room.clone(), link: link.clone() };
        self.resolve(About::Server);
        let servers = std::mem::take(&mut welcome.ice_servers);
        self.use_ice_servers(servers, welcome.ice_ttl, now);
        if again {
            self.server_back = Some(now);
            self.emit(Event::Signaling { connected: true });
        }
        if !(again && welcome.resumed) {
            self.close_all_peers();
            self.snapshot.me.id = Some(welcome.id.clone());
            self.snapshot.entrance = Entrance::default();
            self.emit(Event::Joined { room, link, id: welcome.id.clone() });
        }
        self.take_over_entrance(&mut welcome);
        let mut known: Vec<PeerKey> = self.peers.keys().copied().collect();
        known.sort_unstable();
        self.take_over_list(welcome.participants, now);
        // What was on its way when the server was lost may be lost with it.
        for key in known.into_iter().filter(|key| self.peers.contains_key(key)).collect::<Vec<_>>() {
            self.effect(Effect::RepeatOffer(key));
        }
        // The buttons may have been pressed while the hello was on its way, and a test begun.
        self.move_gate(now);
        let ours = self.ours();
        self.announced = Some(ours);
        self.effect(Effect::Announce { audio: ours.0, video: ours.1 });
    }

    /// What others open to join. Server and room were both read once already, by [`Effect::Connect`].
    fn link_to(&self, room: &str) -> String {
        match (signaling::Server::parse(&self.server), signaling::RoomName::parse(room)) {
            (Ok(server), Ok(room)) => server.room_link(&room),
            _ => format!("{}/{room}", self.server),
        }
    }

    pub(super) fn room_asked_for(&self) -> Option<String> {
        match &self.snapshot.phase {
            Phase::Lobby => None,
            Phase::Joining { room }
            | Phase::Waiting { room }
            | Phase::InRoom { room, .. }
            | Phase::Reconnecting { room, .. } => Some(room.clone()),
        }
    }

    /// The server's list is the truth: who is not on it went while we were not looking.
    fn take_over_list(&mut self, list: Vec<ParticipantInfo>, now: Instant) {
        let gone: Vec<ParticipantId> = (self.snapshot.participants.iter())
            .filter(|p| list.iter().all(|info| info.id != p.id))
            .map(|p| p.id.clone())
            .collect();
        for id in gone {
            self.part(&id, "timeout");
        }
        for info in list {
            if self.participant(&info.id).is_some() {
                self.on_state(&info.id, info.audio, info.video);
                self.set_away(&info.id, info.away);
            } else {
                self.meet(info, true, now);
            }
        }
    }

    pub(super) fn on_message(&mut self, message: ServerMessage, now: Instant) {
        let Some(message) = self.on_entrance(message) else { return };
        match message {
            // Taken by `on_entrance`.
            ServerMessage::Waiting { .. }
            | ServerMessage::Host { .. }
            | ServerMessage::Door(_)
            | ServerMessage::Knock(_)
            | ServerMessage::KnockOver { .. } => {}
            // Handed in as `Input::Welcome`.
            ServerMessage::Welcome(_) => {}
            ServerMessage::Joined { participant } => {
                if self.in_room() && self.participant(&participant.id).is_none() {
                    self.meet(participant, false, now);
                    self.chime(Chime::Join);
                }
            }
            ServerMessage::Left { id, reason } => {
                if self.part(&id, reason.as_str()) {
                    self.chime(Chime::Leave);
                }
            }
            ServerMessage::Away { id } => self.set_away(&id, true),
            ServerMessage::Back { id } => {
                self.set_away(&id, false);
                // What was on its way to them may be lost.
                if let Some(key) = self.key_of(&id) {
                    self.effect(Effect::RepeatOffer(key));
                }
            }
            ServerMessage::Ice { ice_servers, ttl } => self.use_ice_servers(ice_servers, Some(ttl), now),
            ServerMessage::Description { from, description } => {
                if let Some(key) = self.key_of(&from) {
                    self.effect(Effect::Describe(key, description));
                }
            }
            ServerMessage::Candidate { from, candidate } => {
                if let Some(key) = self.key_of(&from) {
                    self.effect(Effect::Candidate(key, candidate));
                }
            }
            ServerMessage::State { from, audio, video } => self.on_state(&from, audio, video),
            ServerMessage::Chat { from, text } => self.on_chat(from, text),
            ServerMessage::Error { code, message, fatal } => self.on_server_error(code, message, fatal),
        }
    }

    /// Somebody new: the newcomer offers, whoever was there answers.
    fn meet(&mut self, info: ParticipantInfo, offer: bool, now: Instant) {
        let Some(me) = self.snapshot.me.id.clone() else { return };
        let key = self.next_key;
        self.next_key += 1;
        let view = Slot::default();
        let polite = me > info.id;
        self.peers.insert(key, Peering::new(info.id.clone(), polite, now));
        self.emit(Event::Participant {
            id: info.id.clone(),
            name: info.name.clone(),
            muted: !info.audio,
            camera_off: !info.video,
        });
        self.snapshot.participants.push(Participant {
            id: info.id.clone(),
            name: info.name.clone(),
            muted: !info.audio,
            camera_off: !info.video,
            away: info.away,
            connection: Connection::Connecting,
            view: view.clone(),
            stats: None,
            quality: None,
            reason: None,
            lost_for: None,
            history: Arc::default(),
        });
        let ice_servers = self.ice_servers.now().to_vec();
        let relay_only = self.snapshot.me.relay_only;
        let id = info.id.clone();
        self.effect(Effect::OpenPeer(OpenPeer { key, id, polite, offer, ice_servers, relay_only, view }));
        self.recall_volume(key, &info.id, &info.name);
    }

    /// Whether they were here.
    fn part(&mut self, id: &ParticipantId, reason: &str) -> bool {
        if let Some(key) = self.key_of(id) {
            let told = self.peers.remove(&key).is_some_and(|peering| peering.told);
            if told {
                self.resolve(About::Connection);
            }
            self.effect(Effect::ClosePeer(key));
        }
        let before = self.snapshot.participants.len();
        self.snapshot.participants.retain(|p| p.id != *id);
        self.snapshot.voices.remove(id);
        let gone = self.snapshot.participants.len() < before;
        if gone {
            self.emit(Event::ParticipantLeft { id: id.clone(), reason: reason.to_owned() });
        }
        gone
    }

    fn set_away(&mut self, id: &ParticipantId, away: bool) {
        if let Some(participant) = self.participant(id) {
            participant.away = away;
        }
    }

    fn on_state(&mut self, id: &ParticipantId, audio: bool, video: bool) {
        let Some(participant) = self.participant(id) else { return };
        if participant.muted != audio && participant.camera_off != video {
            return;
        }
        let camera_went = !participant.camera_off && !video;
        participant.muted = !audio;
        participant.camera_off = !video;
        self.emit(Event::State { id: id.clone(), muted: !audio, camera_off: !video });
        if let Some(key) = self.key_of(id).filter(|_| camera_went) {
            self.effect(Effect::ClearView(key));
        }
    }

    pub(super) fn chat(&mut self, text: String) {
        if !self.in_room() || text.trim().is_empty() {
            return;
        }
        let name = self.snapshot.me.name.clone();
        self.effect(Effect::Send(ClientMessage::Chat { text: text.clone() }));
        self.say(ChatLine { from: None, name, text });
    }

    fn on_chat(&mut self, from: ParticipantId, text: String) {
        let Some(name) = self.participant(&from).map(|p| p.name.clone()) else { return };
        self.emit(Event::Chat { from: from.clone(), name: name.clone(), text: text.clone() });
        self.say(ChatLine { from: Some(from), name, text });
    }

    fn say(&mut self, line: ChatLine) {
        if self.snapshot.chat.len() == Snapshot::MAX_CHAT {
            self.snapshot.chat.remove(0);
        }
        self.snapshot.chat.push(line);
    }

    fn on_server_error(&mut self, code: ErrorCode, message: String, fatal: bool) {
        tracing::warn!(?code, fatal, "the server refuses: {message}");
        if fatal {
            self.on_server_failed(message);
        } else {
            self.problem(About::Server, message, false);
        }
    }

    /// Before we are in, an outage ends the attempt: better a clear word than a window that waits.
    pub(super) fn on_server_lost(&mut self, why: String) {
        match self.snapshot.phase.clone() {
            Phase::Lobby => {}
            Phase::Joining { .. } | Phase::Waiting { .. } => self.on_server_failed(why),
            Phase::InRoom { room, link } => {
                self.snapshot.phase = Phase::Reconnecting { room, link };
                self.emit(Event::Signaling { connected: false });
                let text = format!("{why}. The call goes on; trying again");
                self.problem(About::Server, text, false);
            }
            Phase::Reconnecting { .. } => {}
        }
    }

    pub(super) fn on_server_failed(&mut self, why: String) {
        if self.snapshot.phase == Phase::Lobby {
            return;
        }
        self.problem(About::Server, why.clone(), true);
        self.leave(&why);
    }
}
