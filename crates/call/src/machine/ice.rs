//! STUN and TURN servers, whose credentials end: fresh ones are fetched long before.

use super::{Effect, Machine};
use signaling::{ClientMessage, IceServer};
use std::time::{Duration, Instant};

/// A welcome does not say how long its credentials are good: so soon the server is asked for others.
const FIRST: Duration = Duration::from_secs(60);
/// The bounds of half the time that credentials are said to be good.
const LEAST: Duration = Duration::from_secs(20);
const MOST: Duration = Duration::from_secs(6 * 3600);
/// An answer may get lost with the connection; asked again so much later.
const AGAIN: Duration = Duration::from_secs(60);

/// What the server offers now, and when to ask for it anew.
#[derive(Debug, Default)]
pub(super) struct IceServers {
    now: Vec<IceServer>,
    due: Option<Instant>,
}

impl IceServers {
    pub(super) fn now(&self) -> &[IceServer] {
        &self.now
    }
}

impl Machine {
    /// New ones came, good for `ttl` seconds; they serve from the next ICE restart on.
    pub(super) fn use_ice_servers(&mut self, servers: Vec<IceServer>, ttl: Option<u64>, now: Instant) {
        let ends = servers.iter().any(|server| server.credential.is_some());
        let wait = ttl.map_or(FIRST, |ttl| (Duration::from_secs(ttl) / 2).clamp(LEAST, MOST));
        self.ice_servers.due = ends.then(|| now + wait);
        if !self.peers.is_empty() && servers != self.ice_servers.now {
            self.effect(Effect::IceServers(servers.clone()));
        }
        self.ice_servers.now = servers;
    }

    pub(super) fn refresh_ice_servers(&mut self, now: Instant) {
        if self.in_room() && self.ice_servers.due.is_some_and(|due| now >= due) {
            self.ice_servers.due = Some(now + AGAIN);
            self.effect(Effect::Send(ClientMessage::Ice));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Input, Machine, OpenPeer};
    use super::*;
    use crate::command::Command;
    use crate::snapshot::Snapshot;
    use signaling::{ParticipantId, ParticipantInfo, ServerMessage, Welcome};
    use std::collections::BTreeMap;

    fn server(credential: Option<&str>) -> IceServer {
        let credential = credential.map(str::to_owned);
        IceServer { urls: vec!["turn:h".into()], username: credential.clone(), credential }
    }

    fn room(first: Option<&str>, now: Instant) -> (Machine, Vec<Effect>) {
        let mut machine = Machine::new(Snapshot::default(), BTreeMap::new());
        let (server_at, room, name) = ("http://h".into(), "tea".into(), "A".into());
        let join = Command::Join { server: server_at, room, name, password: signaling::Password::default() };
        machine.on(Input::Command(join), now);
        let other = ParticipantInfo {
            id: ParticipantId("b".into()),
            name: "B".into(),
            audio: true,
            video: true,
            away: false,
        };
        let welcome = Welcome {
            v: 1,
            room: "tea".into(),
            id: ParticipantId("a".into()),
            resume: "r".into(),
            ice_servers: vec![server(first)],
            participants: vec![other],
            resumed: false,
            ice_ttl: None,
            host: None,
            door: signaling::Door::default(),
            knocks: vec![],
        };
        let effects = machine.on(Input::Welcome(welcome), now);
        (machine, effects)
    }

    /// When it asked within so many seconds, answered each time with `ttl`.
    fn asked(machine: &mut Machine, start: Instant, seconds: u64, ttl: u64) -> Vec<u64> {
        let mut asked = vec![];
        for second in 0..seconds {
            let now = start + Duration::from_secs(second);
            let effects = machine.on(Input::Tick, now);
            if effects.iter().any(|effect| matches!(effect, Effect::Send(ClientMessage::Ice))) {
                asked.push(second);
                let fresh = format!("{second}");
                let answer = ServerMessage::Ice { ice_servers: vec![server(Some(&fresh))], ttl };
                let effects = machine.on(Input::Message(answer), now);
                assert!(effects.iter().any(|effect| matches!(effect, Effect::IceServers(_))), "{effects:?}");
            }
        }
        asked
    }

    #[test]
    fn credentials_are_renewed_when_half_their_time_is_over() {
        let start = Instant::now();
        let (mut machine, effects) = room(Some("first"), start);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::OpenPeer(OpenPeer { .. }))));
        assert_eq!(asked(&mut machine, start, 700, 400), [60, 260, 460, 660]);
        assert_eq!(machine.ice_servers.now()[0].credential.as_deref(), Some("660"));
        // However short they are said to live, the server is not asked without end.
        let (mut machine, _) = room(Some("first"), start);
        assert_eq!(asked(&mut machine, start, 125, 0), [60, 80, 100, 120]);
    }

    #[test]
    fn servers_without_credentials_are_good_for_ever() {
        let start = Instant::now();
        let (mut machine, _) = room(None, start);
        assert_eq!(asked(&mut machine, start, 4000, 1), [0_u64; 0]);
    }

    #[test]
    fn an_answer_that_is_lost_is_asked_for_again() {
        let start = Instant::now();
        let (mut machine, _) = room(Some("first"), start);
        let mut count = 0;
        for second in 0..200 {
            let effects = machine.on(Input::Tick, start + Duration::from_secs(second));
            count += effects.iter().filter(|e| matches!(e, Effect::Send(ClientMessage::Ice))).count();
        }
        assert_eq!(count, 3);
    }
}
