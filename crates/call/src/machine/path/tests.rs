//! Outages of every length on a virtual clock: what comes back by itself is left alone, what does not is
//! mended, and nobody has to press anything.

use super::*;
use crate::command::Command;
use crate::machine::tests::{Rig, id, info, join, welcome};
use crate::machine::{Input, OpenPeer};
use crate::quality::Quality;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use signaling::{LeftReason, ServerMessage};

/// What ICE says, and when: silent for 2 s it calls the path disconnected, for 30 s failed.
const DISCONNECTED_AFTER: u64 = 2000;
const FAILED_AFTER: u64 = 30_000;

const NEVER: [u64; 0] = [];

/// A call with `b` whose link can be cut, run in steps of a tenth of a second as the runner does.
struct Call {
    rig: Rig,
    stats: Stats,
    cut_for: Option<u64>,
    passed: u64,
    effects: Vec<(u64, Effect)>,
}

impl Call {
    fn of(me: &str) -> Self {
        let mut rig = Rig::new();
        rig.on(join());
        rig.on(welcome(me, &["b"], false));
        rig.on(Input::PeerState(1, PathState::Connected));
        let mut call = Self { rig, stats: Stats::default(), cut_for: None, passed: 0, effects: Vec::new() };
        call.run(5000);
        call.effects.clear();
        call
    }

    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 100 {
            self.step();
        }
    }

    fn step(&mut self) {
        self.rig.now += Duration::from_millis(100);
        self.passed += 100;
        let mut inputs = vec![Input::Tick];
        match &mut self.cut_for {
            None => self.stats.bytes_received += 10_000,
            Some(cut) => {
                *cut += 100;
                match *cut {
                    DISCONNECTED_AFTER => inputs.push(Input::PeerState(1, PathState::Disconnected)),
                    FAILED_AFTER => inputs.push(Input::PeerState(1, PathState::Failed)),
                    _ => {}
                }
            }
        }
        if self.passed.is_multiple_of(1000) {
            inputs.push(Input::Stats(vec![(1, self.stats.clone())]));
        }
        for input in inputs {
            self.feed(input);
        }
    }

    fn feed(&mut self, input: Input) {
        for effect in self.rig.on(input) {
            let restarted = matches!(effect, Effect::RestartIce(1));
            self.effects.push((self.passed, effect));
            if restarted {
                self.feed(Input::PeerState(1, PathState::Connecting));
            }
        }
    }

    /// Nothing comes through for so long; then the path, or the one that a restart found, is there again.
    fn outage(&mut self, milliseconds: u64) {
        self.cut_for = Some(0);
        self.run(milliseconds);
        self.cut_for = None;
        if milliseconds >= DISCONNECTED_AFTER {
            self.feed(Input::PeerState(1, PathState::Connected));
        }
    }

    fn restarts(&self) -> Vec<u64> {
        let restart = |(at, effect): &(u64, Effect)| matches!(effect, Effect::RestartIce(_)).then_some(*at);
        self.effects.iter().filter_map(restart).collect()
    }

    fn avoided(&self) -> Vec<Vec<IpAddr>> {
        let avoided = |(_, effect): &(u64, Effect)| match effect {
            Effect::Avoid(_, addresses) => Some(addresses.clone()),
            _ => None,
        };
        self.effects.iter().filter_map(avoided).collect()
    }

    fn tears_down(&self) -> bool {
        let torn = |effect: &Effect| matches!(effect, Effect::ClosePeer(_) | Effect::OpenPeer(_));
        self.effects.iter().any(|(_, effect)| torn(effect))
    }

    fn quality(&self) -> Option<Quality> {
        self.snapshot().participants[0].quality
    }

    fn snapshot(&self) -> &Snapshot {
        self.rig.machine.snapshot()
    }
}

fn network(gone: Vec<IpAddr>, elsewhere: bool) -> Input {
    Input::AddressesChanged(Change { gone, left: vec![], elsewhere })
}

#[test]
fn short_outages_are_left_to_the_path_itself() {
    for me in ["a", "z"] {
        for outage in [500, 3000, 10_000] {
            let mut call = Call::of(me);
            call.outage(outage);
            assert_eq!(call.restarts(), NEVER, "{me}, {outage} ms: the old path was given up");
            assert!(!call.tears_down());
            assert_eq!(call.snapshot().participants[0].connection, Connection::Connected);
            call.run(1000);
            assert_ne!(call.quality(), Some(Quality::Lost), "a second after the link is back");
            call.run(20_000);
            assert_eq!(call.quality(), Some(Quality::Good));
            assert_eq!(call.restarts(), NEVER);
            assert!(call.snapshot().problems.is_empty(), "{:?}", call.snapshot().problems);
        }
    }
}

#[test]
fn a_lost_path_shows_within_five_seconds() {
    let mut call = Call::of("a");
    call.cut_for = Some(0);
    call.run(500);
    assert_eq!(call.quality(), Some(Quality::Good));
    call.run(3500);
    let them = &call.snapshot().participants[0];
    assert_eq!((them.quality, them.connection), (Some(Quality::Lost), Connection::Disconnected));
    assert!(them.lost_for.is_some_and(|seconds| (2..=4).contains(&seconds)), "{:?}", them.lost_for);
    let told = call
        .effects
        .iter()
        .any(|(_, effect)| matches!(effect, Effect::Emit(Event::Quality { quality: Quality::Lost, .. })));
    assert!(told, "{:?}", call.effects);
}

#[test]
fn forty_seconds_are_mended_by_restarts_that_one_side_begins() {
    let (mut impolite, mut polite) = (Call::of("a"), Call::of("z"));
    for call in [&mut impolite, &mut polite] {
        call.outage(40_000);
        assert!(!call.tears_down());
        assert_eq!(call.snapshot().participants[0].connection, Connection::Connected);
        assert!(call.restarts().len() >= 3, "{:?}", call.restarts());
        call.run(1000);
        assert_ne!(call.quality(), Some(Quality::Lost));
        let before = call.restarts().len();
        call.run(60_000);
        assert_eq!(call.restarts().len(), before, "it is mended");
    }
    assert!(impolite.restarts()[0] + 2000 <= polite.restarts()[0], "the polite side waits");
}

#[test]
fn restarts_go_on_ever_more_seldom_until_the_path_is_back() {
    let mut call = Call::of("a");
    call.cut_for = Some(0);
    call.run(600_000);
    let restarts = call.restarts();
    let gaps: Vec<u64> = restarts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.is_sorted(), "{gaps:?}");
    assert!(gaps[..4].iter().all(|gap| *gap <= 6000), "{gaps:?}");
    assert_eq!(gaps.last(), Some(&30_000));
    assert!(call.effects.iter().all(|(_, effect)| !matches!(effect, Effect::ClosePeer(_))));
}

#[test]
fn a_restart_by_the_other_side_is_given_its_time() {
    let mut call = Call::of("z");
    call.cut_for = Some(0);
    call.run(14_000);
    call.feed(Input::PeerState(1, PathState::Connecting));
    assert_eq!(call.snapshot().participants[0].connection, Connection::Restarting);
    call.run(8000);
    assert_eq!(call.restarts(), NEVER);
    call.run(2000);
    assert_eq!(call.restarts().len(), 1);
}

#[test]
fn without_the_server_the_old_path_is_not_given_up() {
    let mut call = Call::of("a");
    call.cut_for = Some(0);
    call.run(9000);
    call.feed(Input::ServerLost { why: "silent".into() });
    call.run(30_000);
    assert_eq!(call.restarts(), NEVER, "an offer would not get there");
    call.feed(welcome("a", &["b"], true));
    call.run(900);
    assert_eq!(call.restarts(), NEVER, "the path may be back as the server is");
    call.run(300);
    assert_eq!(call.restarts().len(), 1);
}

#[test]
fn media_does_not_notice_that_the_server_was_killed() {
    let mut call = Call::of("a");
    call.feed(Input::ServerLost { why: "killed".into() });
    call.run(25_000);
    call.feed(welcome("a", &["b"], true));
    call.run(10_000);
    let touched = call.effects.iter().find(|(_, effect)| {
        matches!(effect, Effect::RestartIce(_) | Effect::ClosePeer(_) | Effect::OpenPeer(OpenPeer { .. }))
    });
    assert!(touched.is_none(), "{touched:?}");
    assert_eq!(call.quality(), Some(Quality::Good));
}

#[test]
fn another_address_is_no_reason_while_packets_come() {
    let mut call = Call::of("a");
    call.feed(network(vec![], false));
    call.run(60_000);
    assert!(matches!(call.effects[0].1, Effect::ProbeServer), "{:?}", call.effects);
    assert_eq!(call.restarts(), NEVER);
}

#[test]
fn an_address_that_went_with_its_path_is_replaced_at_once() {
    for me in ["a", "z"] {
        let mut call = Call::of(me);
        call.cut_for = Some(0);
        call.run(300);
        let changed = call.passed;
        call.feed(network(vec![], false));
        call.run(6000);
        let restarts = call.restarts();
        assert!(restarts[0] <= changed + 5000, "{me}: {restarts:?} after {changed}");
    }
}

#[test]
fn when_the_system_sends_elsewhere_nothing_is_waited_for() {
    for me in ["a", "z"] {
        let mut call = Call::of(me);
        call.cut_for = Some(0);
        call.feed(network(vec![], true));
        assert!(matches!(call.effects[0].1, Effect::ReconnectServer), "{:?}", call.effects);
        assert_eq!(call.restarts(), [call.passed]);
        // The offer waits with the client until the server is there again.
        call.feed(Input::ServerLost { why: "another network".into() });
        call.run(500);
        call.feed(welcome(me, &["b"], true));
        call.run(1000);
        call.cut_for = None;
        call.feed(Input::PeerState(1, PathState::Connected));
        call.run(20_000);
        assert_eq!(call.restarts().len(), 1);
        assert!(!call.tears_down());
    }
}

#[test]
fn a_path_that_is_merely_bad_is_left_when_the_system_sends_elsewhere() {
    for me in ["a", "z"] {
        let mut call = Call::of(me);
        let left: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
        let change = Change { gone: vec![], left: left.clone(), elsewhere: true };
        call.feed(Input::AddressesChanged(change));
        assert!(matches!(call.effects[0].1, Effect::ReconnectServer), "{:?}", call.effects);
        assert_eq!(call.restarts(), [call.passed], "{me}: though packets come");
        assert_eq!(call.avoided(), [left], "{me}: it may still answer first");
        call.feed(Input::PeerState(1, PathState::Connected));
        call.run(20_000);
        assert_eq!(call.restarts().len(), 1);
    }
}

#[test]
fn a_network_that_was_left_is_tried_again_where_the_new_one_has_no_way() {
    for me in ["a", "z"] {
        let mut call = Call::of(me);
        call.cut_for = Some(0);
        let left: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
        let change = Change { gone: vec![], left: left.clone(), elsewhere: true };
        call.feed(Input::AddressesChanged(change));
        call.run(12_000);
        assert_eq!(call.avoided(), [left, vec![]], "{me}");
        assert!(call.restarts()[1] <= 5000 + 10_000, "{me}: {:?}", call.restarts());
    }
}

#[test]
fn a_path_that_stood_on_an_address_that_went_is_replaced_at_once_and_no_other() {
    let (ours, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    for me in ["a", "z"] {
        for (gone, restarts) in [(ours, 1), (other, 0)] {
            let mut call = Call::of(me);
            call.stats.local_address = Some(ours);
            call.run(2000);
            call.feed(network(vec![gone], false));
            assert!(matches!(call.effects[0].1, Effect::ReconnectServer), "{:?}", call.effects);
            assert_eq!(call.restarts().len(), restarts);
        }
    }
}

#[test]
fn an_address_that_comes_after_the_path_went_is_tried_at_once() {
    let mut call = Call::of("a");
    call.cut_for = Some(0);
    call.run(6000);
    assert_eq!(call.restarts(), NEVER);
    call.feed(network(vec![], false));
    call.run(100);
    assert_eq!(call.restarts().len(), 1);
}

#[test]
fn whoever_was_killed_is_gone_when_the_server_says_so() {
    let mut call = Call::of("a");
    call.feed(Input::Message(ServerMessage::Away { id: id("b") }));
    call.cut_for = Some(0);
    call.run(28_000);
    assert_eq!(call.quality(), Some(Quality::Lost));
    call.feed(Input::Message(ServerMessage::Left { id: id("b"), reason: LeftReason::Timeout }));
    assert!(call.snapshot().participants.is_empty() && call.snapshot().problems.is_empty());
    call.feed(Input::Message(ServerMessage::Joined { participant: info("b") }));
    assert_eq!(call.snapshot().participants.len(), 1, "the name is free again");
}

#[test]
fn the_user_may_ask_for_a_restart_at_any_time() {
    let mut call = Call::of("a");
    call.feed(Input::Command(Command::RestartIce));
    assert_eq!(call.restarts().len(), 1);
}
