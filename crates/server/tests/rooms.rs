//! The room machine: a table of cases on a virtual clock, and random sequences.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

use proptest::prelude::*;
use server::room::{Input, Limits, Output, Rooms, SocketId};
use signaling::{ClientMessage, Hello, LeftReason, ParticipantId, ServerMessage, Welcome};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

fn rooms() -> Rooms {
    Rooms::new(Limits::default(), [7; 32])
}

fn hello(socket: u64, room: &str, resume: Option<String>) -> Input {
    let hello = Hello { v: 1, room: room.into(), name: "N".into(), audio: true, video: true, resume };
    Input::Hello { socket: SocketId(socket), hello, ice_servers: Vec::new() }
}

fn say(socket: u64, message: ClientMessage) -> Input {
    Input::Message { socket: SocketId(socket), message }
}

fn lost(socket: u64, heard: Instant, unsent: Vec<ServerMessage>) -> Input {
    Input::Lost { socket: SocketId(socket), heard, unsent }
}

fn candidate(to: &ParticipantId) -> ClientMessage {
    ClientMessage::Candidate { to: to.clone(), candidate: None }
}

fn chat(text: &str) -> ClientMessage {
    ClientMessage::Chat { text: text.into() }
}

/// What was sent to a socket.
fn sent(outputs: &[Output], to: u64) -> Vec<ServerMessage> {
    let of = |o: &Output| match o {
        Output::Send { socket, message } if socket.0 == to => Some(message.clone()),
        Output::Send { .. } | Output::Close { .. } => None,
    };
    outputs.iter().filter_map(of).collect()
}

fn welcome(outputs: &[Output], to: u64) -> Welcome {
    match sent(outputs, to).first() {
        Some(ServerMessage::Welcome(welcome)) => welcome.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn away_kept_back() {
    let (mut rooms, now) = (rooms(), Instant::now());
    let ann = welcome(&rooms.on(hello(1, "tea", None), now), 1);
    let bo = welcome(&rooms.on(hello(2, "TEA", None), now), 2);
    assert_eq!(bo.participants[0].id, ann.id);
    let early = ServerMessage::Candidate { from: bo.id.clone(), candidate: None };
    let unsent = vec![early, ServerMessage::Away { id: bo.id.clone() }];
    assert_eq!(sent(&rooms.on(lost(1, now, unsent), now), 2), [ServerMessage::Away { id: ann.id.clone() }]);
    assert_eq!(rooms.on(lost(1, now, Vec::new()), now), [], "lost is lost once");
    for _ in 0..100 {
        assert_eq!(rooms.on(say(2, candidate(&ann.id)), now), []);
    }
    let later = now + Duration::from_secs(27);
    assert_eq!(rooms.on(Input::Tick, later), []);
    let outputs = rooms.on(hello(3, "tea", Some(ann.resume.clone())), later);
    let again = welcome(&outputs, 3);
    assert!(again.resumed && again.id == ann.id && again.resume != ann.resume);
    assert_eq!(sent(&outputs, 3).len(), 1 + 64, "the oldest kept went");
    assert_eq!(sent(&outputs, 2), [ServerMessage::Back { id: ann.id.clone() }]);
    assert_eq!(rooms.on(Input::Tick, later + Duration::from_secs(60)), []);
    // The welcome may be lost: a secret is good until its successor was used.
    let outputs = rooms.on(hello(4, "tea", Some(ann.resume.clone())), later);
    let third = welcome(&outputs, 4);
    assert!(third.resumed);
    let outputs = rooms.on(hello(5, "tea", Some(again.resume)), later);
    assert!(!welcome(&outputs, 5).resumed, "this one reached nobody");
    let outputs = rooms.on(hello(6, "tea", Some(third.resume)), later);
    assert!(welcome(&outputs, 6).resumed);
    let outputs = rooms.on(hello(7, "tea", Some(ann.resume)), later);
    assert!(!welcome(&outputs, 7).resumed, "its successor was used");
}

#[test]
fn gone_after_the_grace() {
    let (mut rooms, now) = (rooms(), Instant::now());
    let ann = welcome(&rooms.on(hello(1, "tea", None), now), 1);
    rooms.on(hello(2, "tea", None), now);
    rooms.on(lost(1, now, Vec::new()), now);
    // The driver looks once a second: gone within 30 s.
    let outputs = rooms.on(Input::Tick, now + Duration::from_secs(29));
    assert_eq!(sent(&outputs, 2), [ServerMessage::Left { id: ann.id, reason: LeftReason::Timeout }]);
    let outputs = rooms.on(hello(3, "tea", Some(ann.resume)), now);
    assert!(!welcome(&outputs, 3).resumed);
    for socket in [2, 3] {
        rooms.on(say(socket, ClientMessage::Bye), now);
    }
    assert!(rooms.is_empty(), "an empty room is forgotten");
}

#[test]
fn a_connection_that_was_dead_before_it_showed_has_no_more_time() {
    let (mut rooms, heard) = (rooms(), Instant::now());
    let ann = welcome(&rooms.on(hello(1, "tea", None), heard), 1);
    rooms.on(hello(2, "tea", None), heard);
    let noticed = heard + server::socket::Timing::default().silence_most;
    rooms.on(lost(1, heard, Vec::new()), noticed);
    assert_eq!(rooms.on(Input::Tick, heard + Duration::from_secs(27)), []);
    let outputs = rooms.on(Input::Tick, heard + Duration::from_secs(29));
    assert_eq!(sent(&outputs, 2), [ServerMessage::Left { id: ann.id, reason: LeftReason::Timeout }]);
}

#[test]
fn a_place_taken_over_and_a_place_replaced() {
    let (mut rooms, now) = (rooms(), Instant::now());
    let ann = welcome(&rooms.on(hello(1, "tea", None), now), 1);
    rooms.on(hello(2, "tea", None), now);
    let outputs = rooms.on(hello(3, "tea", Some(ann.resume)), now);
    assert!(outputs.contains(&Output::Close { socket: SocketId(1), normal: false }));
    assert_eq!(sent(&outputs, 2), [], "nobody notices a take-over");
    assert_eq!(rooms.on(lost(1, now, Vec::new()), now), [], "the old socket is nobody's");
    let resume = welcome(&outputs, 3).resume;
    let outputs = rooms.on(hello(4, "coffee", Some(resume)), now);
    assert_eq!(sent(&outputs, 2), [ServerMessage::Left { id: ann.id, reason: LeftReason::Replaced }]);
    assert!(outputs.contains(&Output::Close { socket: SocketId(3), normal: false }));
    assert!(!welcome(&outputs, 4).resumed);
}

#[derive(Clone, Debug)]
enum Step {
    Hello { room: usize, resume: Option<usize> },
    Message { who: usize, kind: usize, to: usize },
    Lost(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3usize, proptest::option::of(0..40usize)).prop_map(|(room, resume)| Step::Hello { room, resume }),
        (0..40usize, 0..5usize, 0..40usize).prop_map(|(who, kind, to)| Step::Message { who, kind, to }),
        (0..40usize).prop_map(Step::Lost),
        (0..40u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn nobody_hears_another_room_and_ids_are_unique(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut rooms, mut now) = (rooms(), Instant::now());
        let mut next = 0u64;
        let mut room_of_socket: HashMap<u64, String> = HashMap::new();
        let mut room_of_id: HashMap<ParticipantId, String> = HashMap::new();
        let mut welcomes: Vec<Welcome> = Vec::new();
        let mut fresh = HashSet::new();
        for step in steps {
            let some = |n: usize| if next == 0 { 0 } else { n as u64 % next };
            let input = match step {
                Step::Hello { room, resume } => {
                    let resume = resume.and_then(|n| welcomes.get(n)).map(|w| w.resume.clone());
                    let name = ["tea", "Coffee", "a/b"][room];
                    room_of_socket.insert(next, name.to_lowercase());
                    next += 1;
                    hello(next - 1, name, resume)
                }
                Step::Message { who, kind, to } => {
                    let nobody = ParticipantId("nobody".into());
                    let to = welcomes.get(to).map_or(nobody, |w| w.id.clone());
                    say(some(who), match kind {
                        0 => candidate(&to),
                        1 => ClientMessage::State { audio: false, video: true },
                        2 => chat("hi"),
                        3 => ClientMessage::Bye,
                        _ => chat(" "),
                    })
                }
                Step::Lost(who) => lost(some(who), now, Vec::new()),
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    Input::Tick
                }
            };
            for output in rooms.on(input, now) {
                let Output::Send { socket, message } = output else { continue };
                // Only a refusal goes to a socket that has not said hello.
                let room = room_of_socket.get(&socket.0).cloned().unwrap_or_default();
                let about = match message {
                    ServerMessage::Welcome(w) => {
                        if !w.resumed {
                            prop_assert!(fresh.insert(w.id.clone()), "{} came twice", w.id);
                            room_of_id.insert(w.id.clone(), room.clone());
                        }
                        prop_assert!(w.participants.len() < 12);
                        welcomes.push(w.clone());
                        w.participants.into_iter().map(|p| p.id).chain([w.id]).collect()
                    }
                    ServerMessage::Joined { participant } => vec![participant.id],
                    ServerMessage::Left { id, .. } | ServerMessage::Away { id } | ServerMessage::Back { id } => vec![id],
                    ServerMessage::Description { from, .. } | ServerMessage::Candidate { from, .. }
                    | ServerMessage::State { from, .. } | ServerMessage::Chat { from, .. } => vec![from],
                    ServerMessage::Error { .. } | ServerMessage::Ice { .. } => Vec::new(),
                };
                for id in about {
                    // A newcomer's welcome comes before the others hear of it, so each id is known here.
                    prop_assert_eq!(&room_of_id[&id], &room);
                }
            }
        }
    }
}
