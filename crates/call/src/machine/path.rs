//! The connections: relaying what they say, watching over their paths, mending them.

use super::{Effect, Machine, PathState, PeerKey, Peering};
use crate::event::Event;
use crate::network::Change;
use crate::snapshot::{About, Connection, Phase};
use signaling::{Candidate, ClientMessage, Description, ParticipantId};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A path that was lost may come back by itself within this time. A restart gives the old path up, and
/// what the server carries comes late after an outage that it shared: begun too early, it makes a short
/// outage longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A path whose ICE agent has given it up will not come back by itself; nor one whose address is gone.
const NO_PATIENCE: Duration = Duration::ZERO;
/// After our addresses changed, a path from which nothing comes for so long was one of the old ones.
const DOUBT: Duration = Duration::from_secs(3);
/// What is heard so long after the change was sent after it: readings come once a second.
const CONFIRMED: Duration = Duration::from_millis(1500);
/// The polite side lets the other begin an ICE restart, and steps in when nothing came of it.
const POLITENESS: Duration = Duration::from_secs(3);
/// A first path that does not come for so long: candidates may have been lost on the way.
const FIRST_PATH: Duration = Duration::from_secs(8);
/// Between two ICE restarts of the same connection: the agent gives each of its pairs up after 5 s.
const RESTART_INTERVAL: Duration = Duration::from_secs(6);
/// So many restarts come at that pace; then each waits twice as long as the one before.
const RESTARTS_AT_PACE: u32 = 5;
/// The longest wait between two.
const RESTART_MOST: Duration = Duration::from_secs(30);
/// When the server was lost and is back, the path may be too: so long it may take.
const SERVER_BACK: Duration = Duration::from_secs(1);
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
            PathState::Connecting if peering.up || peering.restarted.is_some() => Connection::Restarting,
            PathState::Connecting => Connection::Connecting,
            PathState::Connected => Connection::Connected,
            PathState::Disconnected => Connection::Disconnected,
            PathState::Failed => Connection::Failed,
        };
        if state == PathState::Connected {
            (peering.up, peering.told) = (true, false);
            (peering.down_since, peering.restarted, peering.restarts) = (None, None, 0);
            self.resolve(About::Connection);
            self.effect(Effect::Connected(key));
        } else {
            peering.down_since.get_or_insert(now);
            if shown == Connection::Restarting {
                // By the other side, if not by us.
                peering.restarted.get_or_insert(now);
            }
        }
        self.show_connection(key, shown);
        self.mend(key, now);
        self.judge(key, now);
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

    pub(super) fn restart_all(&mut self, now: Instant) {
        self.restart_all_without(&[], now);
    }

    /// On the network that was left a path may still answer first, and be taken. So it is only looked at again
    /// when the new one had none.
    fn restart_all_without(&mut self, avoided: &[IpAddr], now: Instant) {
        let mut keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.restart_without(key, avoided, now);
        }
    }

    pub(super) fn on_tick(&mut self, now: Instant) {
        self.on_sound_tick(now);
        self.refresh_ice_servers(now);
        let mut keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.mend(key, now);
        }
    }

    /// The addresses changed: the server may not hear us any more, and a path may be gone that is not known
    /// to be. One that still works is left alone, unless the system sends elsewhere now: then the old network is
    /// gone, or going, or worse than the new one, and nobody waits until that shows.
    pub(super) fn on_addresses_changed(&mut self, change: &Change, now: Instant) {
        let Change { gone, left, elsewhere } = change;
        if !self.in_room() {
            return;
        }
        if *elsewhere {
            self.effect(Effect::ReconnectServer);
            return self.restart_all_without(left, now);
        }
        // The connection to the server may have stood on an address that went: it is not waited for.
        self.effect(if gone.is_empty() { Effect::ProbeServer } else { Effect::ReconnectServer });
        for key in self.stood_on(gone) {
            self.restart(key, now);
        }
        for peering in self.peers.values_mut() {
            peering.doubted = Some(now);
        }
        self.on_tick(now);
    }

    /// The connections whose path stood on one of these addresses.
    fn stood_on(&self, gone: &[IpAddr]) -> Vec<PeerKey> {
        let stood = |id: &ParticipantId| {
            let them = self.snapshot.participants.iter().find(|them| them.id == *id);
            let address = them.and_then(|them| them.stats.as_ref()).and_then(|stats| stats.local_address);
            address.is_some_and(|address| gone.contains(&address))
        };
        let mut keys: Vec<PeerKey> =
            self.peers.iter().filter(|(_, peering)| stood(&peering.id)).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// Restarts ICE where a path is down for longer than it may take to come back by itself.
    fn mend(&mut self, key: PeerKey, now: Instant) {
        let shown = self.shown(key);
        let Some(peering) = self.peers.get_mut(&key) else { return };
        let passed = |since: Instant| now.saturating_duration_since(since);
        peering.doubted = peering.doubted.filter(|at| !peering.watch.heard_after(*at + CONFIRMED));
        let down = peering.down_since.map(passed);
        let due = match shown {
            Some(Connection::Connected) => peering.doubted.is_some_and(|at| passed(at) >= DOUBT),
            Some(Connection::Connecting) => down.is_some_and(|down| down >= FIRST_PATH),
            Some(Connection::Failed) => down.is_some_and(|down| down >= peering.waits(NO_PATIENCE)),
            Some(Connection::Disconnected | Connection::Restarting) => {
                // A search that does without a network that may still be good is not waited for long.
                let partial = peering.avoids && peering.restarted.is_some();
                let patience = if partial || peering.doubted.is_some() { NO_PATIENCE } else { PATIENCE };
                down.is_some_and(|down| down >= peering.waits(patience)) && !peering.watch.hears(now)
            }
            None => false,
        };
        let again = peering.restarted.is_none_or(|at| passed(at) >= peering.waits(peering.interval()));
        if due && again && self.server_is_well(now) {
            self.restart(key, now);
        }
        self.give_word(key, down, now);
    }

    /// Whether what is said by way of the server gets there. Without it a restart would only give the old
    /// path up.
    fn server_is_well(&self, now: Instant) -> bool {
        let settled = |back| now.saturating_duration_since(back) >= SERVER_BACK;
        matches!(self.snapshot.phase, Phase::InRoom { .. }) && self.server_back.is_none_or(settled)
    }

    fn give_word(&mut self, key: PeerKey, down: Option<Duration>, now: Instant) {
        let Some(peering) = self.peers.get_mut(&key) else { return };
        if peering.told
            || down.is_none_or(|down| down < GIVE_WORD)
            || (peering.up && peering.watch.hears(now))
        {
            return;
        }
        peering.told = true;
        let why = "no way between your two networks answers. Still trying; check the network, and that the \
                   server offers TURN";
        self.on_peer_failed(key, why.into());
    }

    fn restart(&mut self, key: PeerKey, now: Instant) {
        self.restart_without(key, &[], now);
    }

    fn restart_without(&mut self, key: PeerKey, avoided: &[IpAddr], now: Instant) {
        let Some(peering) = self.peers.get_mut(&key) else { return };
        let avoids = !avoided.is_empty();
        if std::mem::replace(&mut peering.avoids, avoids) || avoids {
            self.effect(Effect::Avoid(key, avoided.to_vec()));
        }
        let Some(peering) = self.peers.get_mut(&key) else { return };
        peering.restarted = Some(now);
        peering.restarts += 1;
        peering.doubted = None;
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

impl Peering {
    /// How long this side waits where the other would wait `patience`.
    fn waits(&self, patience: Duration) -> Duration {
        if self.polite { patience + POLITENESS } else { patience }
    }

    /// How long the last restart is given.
    fn interval(&self) -> Duration {
        let doublings = self.restarts.saturating_sub(RESTARTS_AT_PACE).min(8);
        (RESTART_INTERVAL * (1 << doublings)).min(RESTART_MOST)
    }
}

#[cfg(test)]
mod tests;
