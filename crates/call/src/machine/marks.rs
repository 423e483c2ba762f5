//! How good the call with each is: readings in, marks on the snapshot and events out.

use super::watch::Facts;
use super::{Machine, PeerKey};
use crate::event::Event;
use crate::quality::Reason;
use crate::snapshot::Connection;
use crate::stats::Stats;
use std::sync::Arc;
use std::time::Instant;

impl Machine {
    pub(super) fn on_stats(&mut self, all: Vec<(PeerKey, Stats)>, now: Instant) {
        for (key, stats) in all {
            let Some(facts) = self.facts(key) else { continue };
            let Some(peering) = self.peers.get_mut(&key) else { continue };
            let stats = Arc::new(stats);
            peering.watch.read(&stats, facts, now);
            let (id, history) = (peering.id.clone(), peering.watch.history());
            if let Some(participant) = self.participant(&id) {
                participant.stats = Some(stats);
                participant.history = history;
            }
            self.judge(key, now);
        }
        self.snapshot.me.limit = self.common_limit();
    }

    /// Marks them anew: there is a new reading, or their path changed.
    pub(super) fn judge(&mut self, key: PeerKey, now: Instant) {
        let Some(facts) = self.facts(key) else { return };
        let Some(peering) = self.peers.get_mut(&key) else { return };
        let verdict = peering.watch.judge(facts, now);
        peering.limit = verdict.and_then(|verdict| verdict.limit);
        let id = peering.id.clone();
        let Some(participant) = self.participant(&id) else { return };
        participant.lost_for = verdict.and_then(|verdict| verdict.lost_for);
        let mark = verdict.map(|verdict| (verdict.quality, verdict.reason));
        if mark == participant.quality.map(|quality| (quality, participant.reason)) {
            return;
        }
        participant.quality = mark.map(|(quality, _)| quality);
        participant.reason = mark.and_then(|(_, reason)| reason);
        if let Some((quality, reason)) = mark {
            self.emit(Event::Quality { id, quality, reason });
        }
    }

    fn facts(&self, key: PeerKey) -> Option<Facts> {
        let id = &self.peers.get(&key)?.id;
        let them = self.snapshot.participants.iter().find(|p| p.id == *id)?;
        let showing = self.ours().1;
        let (connection, muted, camera_off) = (them.connection, them.muted, them.camera_off);
        Some(Facts { connection, muted, camera_off, showing })
    }

    /// What limits our picture to all who can get it. A busy computer is the same for all.
    fn common_limit(&self) -> Option<Reason> {
        let connected = self.snapshot.participants.iter().filter(|p| p.connection == Connection::Connected);
        let limits: Vec<Option<Reason>> = connected
            .filter_map(|p| self.peers.values().find(|peering| peering.id == p.id))
            .map(|peering| peering.limit)
            .collect();
        if limits.contains(&Some(Reason::Cpu)) {
            return Some(Reason::Cpu);
        }
        // The mildest of them is what all have.
        if limits.contains(&None) { None } else { limits.into_iter().flatten().max() }
    }
}
