//! Tests of the door: knocking, being host, being let in or not.

use super::tests::{Rig, id, join, welcome};
use super::*;
use signaling::{Door, Knock};

fn knock(name: &str) -> Knock {
    Knock { id: id(name), name: name.to_uppercase() }
}

fn events(effects: Vec<Effect>) -> Vec<Event> {
    effects.into_iter().filter_map(|e| if let Effect::Emit(event) = e { Some(event) } else { None }).collect()
}

fn sent(effects: &[Effect]) -> Vec<ClientMessage> {
    let of = |e: &Effect| if let Effect::Send(message) = e { Some(message.clone()) } else { None };
    effects.iter().filter_map(of).collect()
}

#[test]
fn a_host_sees_who_knocks_and_answers() {
    let mut rig = Rig::in_call();
    assert!(rig.machine.snapshot().entrance.is_ours);
    let lock = Command::Lock { password: Some(Password::new("earl grey")), knock: Some(true) };
    let told = sent(&rig.on(Input::Command(lock)));
    assert!(matches!(told[..], [ClientMessage::Door { knock: Some(true), .. }]), "{told:?}");
    let door = Door { password: true, knock: true };
    let told = events(rig.on(Input::Message(ServerMessage::Door(door))));
    assert_eq!(told, [Event::Door { password: true, knock: true }]);
    let told = events(rig.on(Input::Message(ServerMessage::Knock(knock("c")))));
    assert_eq!(told, [Event::Knock { id: id("c"), name: "C".into() }]);
    assert!(rig.on(Input::Message(ServerMessage::Knock(knock("c")))).is_empty(), "told once");
    assert_eq!(rig.machine.snapshot().entrance.knocks.len(), 1);
    let told = sent(&rig.on(Input::Command(Command::Admit { id: id("c") })));
    assert_eq!(told, [ClientMessage::Admit { id: id("c") }]);
    let told = events(rig.on(Input::Message(ServerMessage::KnockOver { id: id("c") })));
    assert_eq!(told, [Event::KnockOver { id: id("c") }]);
    assert!(rig.machine.snapshot().entrance.knocks.is_empty());
    // Somebody else is host: what only the host knows is forgotten.
    rig.on(Input::Message(ServerMessage::Knock(knock("d"))));
    let told = events(rig.on(Input::Message(ServerMessage::Host { id: id("b") })));
    assert_eq!(told, [Event::Host { id: id("b"), me: false }]);
    let entrance = &rig.machine.snapshot().entrance;
    assert!(!entrance.is_ours && entrance.knocks.is_empty() && entrance.password);
}

#[test]
fn whoever_waits_is_let_in_or_not() {
    let mut rig = Rig::new();
    rig.on(join());
    let told = events(rig.on(Input::Message(ServerMessage::Waiting { seconds: 300 })));
    assert_eq!(told, [Event::Waiting { seconds: 300 }]);
    assert_eq!(rig.machine.snapshot().phase, Phase::Waiting { room: "tea".into() });
    assert!(sent(&rig.on(Input::Command(Command::Chat { text: "hello?".into() }))).is_empty());
    rig.on(welcome("b", &["a"], false));
    assert!(matches!(rig.machine.snapshot().phase, Phase::InRoom { .. }));

    rig.on(Input::Command(Command::Leave));
    rig.on(join());
    rig.on(Input::Message(ServerMessage::Waiting { seconds: 300 }));
    let told = events(rig.on(Input::NoEntry { why: "not now".into() }));
    assert!(matches!(&told[0], Event::Error { about: About::Entry, fatal: true, .. }), "{told:?}");
    assert_eq!(rig.machine.snapshot().phase, Phase::Lobby);
    rig.on(join());
    assert!(rig.machine.snapshot().problems.is_empty(), "a new try is a new try");
}

#[test]
fn a_place_that_is_lost_behind_a_shut_door_means_waiting_again() {
    let mut rig = Rig::in_call();
    rig.on(Input::ServerLost { why: "gone".into() });
    let effects = rig.on(Input::Message(ServerMessage::Waiting { seconds: 300 }));
    assert!(effects.iter().any(|e| matches!(e, Effect::ClosePeer(1))));
    let snapshot = rig.machine.snapshot();
    assert!(snapshot.participants.is_empty() && snapshot.me.id.is_none());
    assert_eq!(snapshot.phase, Phase::Waiting { room: "tea".into() });
    rig.on(welcome("a", &["b"], false));
    assert_eq!(rig.machine.snapshot().participants.len(), 1);
}

#[test]
fn fresh_servers_are_for_the_next_connection() {
    let mut rig = Rig::in_call();
    let server = IceServer { urls: vec!["stun:new".into()], username: None, credential: None };
    rig.on(Input::Message(ServerMessage::Ice { ice_servers: vec![server.clone()], ttl: 60 }));
    let effects = rig.on(Input::Message(ServerMessage::Joined { participant: super::tests::info("c") }));
    let open = effects.iter().find_map(|e| if let Effect::OpenPeer(open) = e { Some(open) } else { None });
    assert_eq!(open.unwrap().ice_servers, [server]);
}
