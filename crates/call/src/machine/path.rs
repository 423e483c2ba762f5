//! The connections: relaying what they say, watching over their paths, mending them.

use super::{Effect, Machine, PathState, PeerKey};
use crate::event::Event;
use crate::snapshot::{About, Connection};
use crate::stats::Stats;
use signaling::{Candidate, ClientMessage, Description, ParticipantId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A path that was lost may come back by itself within this time.
const PATIENCE: Duration = Duration::from_secs(3);
/// The polite side lets the other begin an ICE restart, and steps in when nothing came of it.
const POLITE_PATIENCE: Duration = Duration::from_secs(6);
/// Between two ICE restarts of the same connection.
const RESTART_INTERVAL: Duration = Duration::from_secs(8);
/// When no path was found for so long, the user is told.
const GIVE_WORD: Duration = Duration::from_secs(15);

impl Machine {
    pub(super) fn on_peer_description(&mut self, key: PeerKey, description: Description) {
        if let Some(to) = self.id_of(key) {
            self.effect(Effect::Send(ClientMessage::Description { to, description }));
        }
    }

    pub(super) fn on_peer_candidate(&mut self, key: PeerKey, candidate: Option<Candidate>) {
        if let Some(to) = self.id_of(key) {
            self.effect(Effect::Send(ClientMessage::Candidate { to, candidate }));
        }
    }

    pub(super) fn on_peer_state(&mut self, key: PeerKey, state: PathState, now: Instant) {
        let Some(peering) = self.peers.get_mut(&key) else { return };
        let shown = match state {
            PathState::Connecting if peering.restarted.is_some() => Connection::Restarting,
            PathState::Connecting => Connection::Connecting,
            PathState::Connected => Connection::Connected,
            PathState::Disconnected => Connection::Disconnected,
            PathState::Failed => Connection::Failed,
        };
        if state == PathState::Connected {
            peering.down_since = None;
            peering.restarted = None;
            peering.told = false;
            self.resolve(About::Connection);
            self.effect(Effect::Connected(key));
        } else {
            peering.down_since.get_or_insert(now);
        }
        self.show_connection(key, shown);
        self.mend(key, now);
    }

    fn show_connection(&mut self, key: PeerKey, shown: Connection) {
        let Some(id) = self.id_of(key) else { return };
        let Some(participant) = self.participant(&id) else { return };
        if participant.connection != shown {
            participant.connection = shown;
            self.emit(Event::Connection { id, state: shown });
        }
    }

    pub(super) fn on_peer_failed(&mut self, key: PeerKey, why: String) {
        let Some(id) = self.id_of(key) else { return };
        let name = self.participant(&id).map(|p| p.name.clone()).unwrap_or_default();
        self.problem(About::Connection, format!("The connection to {name} has a problem: {why}"), false);
    }

    pub(super) fn on_first_frame(&mut self, key: PeerKey, width: u32, height: u32, now: Instant) {
        let Some(id) = self.id_of(key) else { return };
        let after_join_ms = self.since_click(now);
        self.emit(Event::FirstFrame { id, width, height, after_join_ms });
    }

    pub(super) fn on_first_sound(&mut self, key: PeerKey, now: Instant) {
        let Some(id) = self.id_of(key) else { return };
        let after_join_ms = self.since_click(now);
        self.emit(Event::FirstSound { id, after_join_ms });
    }

    pub(super) fn on_stats(&mut self, all: Vec<(PeerKey, Stats)>) {
        for (key, stats) in all {
            let Some(id) = self.id_of(key) else { continue };
            if let Some(participant) = self.participant(&id) {
                participant.stats = Some(Arc::new(stats));
            }
        }
    }

    pub(super) fn restart_all(&mut self, now: Instant) {
        let mut keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.restart(key, now);
        }
    }

    pub(super) fn on_tick(&mut self, now: Instant) {
        let mut keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.mend(key, now);
        }
    }

    /// Restarts ICE where a path is down for longer than it may take to come back by itself.
    fn mend(&mut self, key: PeerKey, now: Instant) {
        let Some(peering) = self.peers.get(&key) else { return };
        let Some(down_since) = peering.down_since else { return };
        let down = now.saturating_duration_since(down_since);
        let shown = self.shown(key);
        let patience = if peering.polite { POLITE_PATIENCE } else { PATIENCE };
        let due = peering.restarted.is_none_or(|at| now.saturating_duration_since(at) >= RESTART_INTERVAL);
        let lost = match shown {
            Some(Connection::Disconnected | Connection::Failed | Connection::Restarting) => down >= patience,
            // A first path that does not come: candidates may have been lost on the way.
            Some(Connection::Connecting) => down >= RESTART_INTERVAL,
            Some(Connection::Connected) | None => false,
        };
        if lost && due {
            self.restart(key, now);
        }
        let Some(peering) = self.peers.get_mut(&key).filter(|p| down >= GIVE_WORD && !p.told) else { return };
        peering.told = true;
        let why = "no way between your two networks answers. Still trying; check the network, and that the \
                   server offers TURN";
        self.on_peer_failed(key, why.into());
    }

    fn restart(&mut self, key: PeerKey, now: Instant) {
        let Some(peering) = self.peers.get_mut(&key) else { return };
        peering.restarted = Some(now);
        let was_connected = self.shown(key) == Some(Connection::Connected);
        if !was_connected {
            self.show_connection(key, Connection::Restarting);
        }
        self.effect(Effect::RestartIce(key));
    }

    fn shown(&self, key: PeerKey) -> Option<Connection> {
        let id = &self.peers.get(&key)?.id;
        self.snapshot.participants.iter().find(|p| p.id == *id).map(|p| p.connection)
    }

    fn id_of(&self, key: PeerKey) -> Option<ParticipantId> {
        self.peers.get(&key).map(|peering| peering.id.clone())
    }
}
