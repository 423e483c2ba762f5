//! Who gets into a room: passwords, knocking, the host; on a virtual clock.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

use proptest::prelude::*;
use server::address::Source;
use server::room::{Create, Input, Limits, NO_ENTRY, Opening, Output, Rooms, SocketId};
use signaling::{
    ClientMessage, Door, ErrorCode, Hello, Knock, ParticipantId, Password, ServerMessage, Welcome,
};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// One address for each number.
fn address(n: u32) -> Source {
    IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n)).into()
}

struct House {
    rooms: Rooms,
    now: Instant,
}

impl House {
    fn new() -> Self {
        Self::with(Limits::default().unlimited_by_address(), Opening::default())
    }

    fn with(limits: Limits, opening: Opening) -> Self {
        let now = Instant::now();
        Self { rooms: Rooms::new(limits, opening, [7; 32], now), now }
    }

    /// Whoever is socket `n` comes from address `n`.
    fn hello(&mut self, n: u32, room: &str, password: &str, knock: bool) -> Vec<Output> {
        self.hello_from(n, n, room, password, knock)
    }

    fn hello_from(&mut self, socket: u32, from: u32, room: &str, password: &str, knock: bool) -> Vec<Output> {
        let hello = greeting(socket, room, password, knock);
        self.rooms.on(Input::Hello { socket: id(socket), from: address(from), hello }, self.now)
    }

    fn enter(&mut self, n: u32, password: &str) -> Welcome {
        let outputs = self.hello(n, "tea", password, false);
        welcome(&outputs, n).unwrap_or_else(|| panic!("{outputs:?}"))
    }

    fn say(&mut self, n: u32, message: ClientMessage) -> Vec<Output> {
        self.rooms.on(Input::Message { socket: id(n), message }, self.now)
    }

    fn door(&mut self, n: u32, password: &str, knock: bool) -> Vec<Output> {
        self.say(n, ClientMessage::Door { password: Some(Password::new(password)), knock: Some(knock) })
    }

    fn lose(&mut self, n: u32) -> Vec<Output> {
        self.rooms.on(Input::Lost { socket: id(n), heard: self.now, unsent: Vec::new() }, self.now)
    }

    fn pass(&mut self, seconds: u64) -> Vec<Output> {
        self.now += Duration::from_secs(seconds);
        self.rooms.on(Input::Tick, self.now)
    }
}

fn id(n: u32) -> SocketId {
    SocketId(n.into())
}

fn greeting(n: u32, room: &str, password: &str, knock: bool) -> Hello {
    Hello {
        v: 1,
        room: room.into(),
        name: format!("Person {n}"),
        audio: true,
        video: true,
        resume: None,
        password: (!password.is_empty()).then(|| Password::new(password)),
        knock: knock.then_some(true),
    }
}

fn sent(outputs: &[Output], to: u32) -> Vec<ServerMessage> {
    let of = |output: &Output| match output {
        Output::Send { socket, message } if *socket == id(to) => Some(message.clone()),
        Output::Send { .. } | Output::Close { .. } => None,
    };
    outputs.iter().filter_map(of).collect()
}

fn welcome(outputs: &[Output], to: u32) -> Option<Welcome> {
    match sent(outputs, to).first() {
        Some(ServerMessage::Welcome(welcome)) => Some(welcome.clone()),
        _ => None,
    }
}

/// The id of somebody who is told to wait, as the host hears it.
fn waits(outputs: &[Output], n: u32, host: u32) -> ParticipantId {
    assert_eq!(sent(outputs, n), [ServerMessage::Waiting { seconds: 300 }]);
    match sent(outputs, host).as_slice() {
        [ServerMessage::Knock(knock)] => {
            assert_eq!(knock.name, format!("Person {n}"));
            knock.id.clone()
        }
        other => panic!("{other:?}"),
    }
}

fn stays_out(outputs: &[Output], n: u32) -> bool {
    let message = ServerMessage::Error { code: ErrorCode::NoEntry, message: NO_ENTRY.into(), fatal: true };
    sent(outputs, n) == [message] && outputs.contains(&Output::Close { socket: id(n), normal: false })
}

fn error(outputs: &[Output], to: u32) -> Option<(ErrorCode, bool)> {
    match sent(outputs, to).as_slice() {
        [ServerMessage::Error { code, fatal, .. }] => Some((*code, *fatal)),
        _ => None,
    }
}

#[test]
fn the_first_is_host_and_only_the_host_shuts_the_door() {
    let mut house = House::new();
    let ann = house.enter(1, "");
    let bo = house.enter(2, "");
    assert_eq!((ann.host.as_ref(), bo.host.as_ref()), (Some(&ann.id), Some(&ann.id)));
    assert_eq!(error(&house.door(2, "x", true), 2), Some((ErrorCode::NotHost, false)));
    for message in [ClientMessage::Admit { id: ann.id.clone() }, ClientMessage::Refuse { id: ann.id.clone() }]
    {
        assert_eq!(error(&house.say(2, message.clone()), 2), Some((ErrorCode::NotHost, false)));
        assert_eq!(error(&house.say(1, message), 1), Some((ErrorCode::NoSuchParticipant, false)));
    }
    let told = [ServerMessage::Door(Door { password: true, knock: false })];
    let outputs = house.door(1, "earl grey", false);
    assert_eq!((sent(&outputs, 1), sent(&outputs, 2)), (told.to_vec(), told.to_vec()));
    assert!(stays_out(&house.hello(3, "tea", "", true), 3));
    assert!(stays_out(&house.hello(4, "tea", "Earl Grey", true), 4));
    assert!(house.enter(5, "earl grey").door.password);
    // What is left out stays as it is; empty takes it away.
    house.say(1, ClientMessage::Door { password: None, knock: Some(true) });
    assert!(house.enter(6, "earl grey").door.knock);
    house.door(1, "", false);
    assert_eq!(house.enter(7, "whatever").door, Door::default());
    let long = house.door(1, &"x".repeat(129), false);
    assert_eq!(error(&long, 1), Some((ErrorCode::BadMessage, false)));
}

#[test]
fn whoever_opens_a_room_with_a_password_has_shut_it() {
    let mut house = House::new();
    assert!(house.enter(1, "earl grey").door.password);
    assert!(stays_out(&house.hello(2, "tea", "", false), 2));
    house.enter(3, "earl grey");
    assert!(stays_out(&house.hello(4, "den", &"x".repeat(129), false), 4), "it could not be kept");
}

#[test]
fn knocking_waiting_and_being_let_in() {
    let mut house = House::new();
    house.enter(1, "");
    house.enter(2, "");
    house.door(1, "earl grey", true);
    let outputs = house.hello(3, "tea", "", true);
    let cy = waits(&outputs, 3, 1);
    assert_eq!(sent(&outputs, 2), [], "the host alone is asked");
    assert!(stays_out(&house.hello(4, "tea", "", false), 4), "an older client cannot wait");
    let outputs = house.say(1, ClientMessage::Admit { id: cy.clone() });
    let inside = welcome(&outputs, 3).unwrap();
    assert_eq!((&inside.id, inside.participants.len()), (&cy, 2));
    assert_eq!(sent(&outputs, 1)[0], ServerMessage::KnockOver { id: cy });
    assert!(matches!(sent(&outputs, 2)[..], [ServerMessage::Joined { .. }]));

    let di = waits(&house.hello(5, "tea", "wrong", true), 5, 1);
    let outputs = house.say(1, ClientMessage::Refuse { id: di.clone() });
    assert!(stays_out(&outputs, 5));
    assert_eq!(
        error(&house.say(1, ClientMessage::Admit { id: di }), 1).unwrap().0,
        ErrorCode::NoSuchParticipant
    );
}

#[test]
fn a_wait_ends_by_bye_by_a_lost_connection_and_by_itself() {
    let mut house = House::new();
    house.enter(1, "");
    house.door(1, "", true);
    let cy = waits(&house.hello(2, "tea", "", true), 2, 1);
    let outputs = house.say(2, ClientMessage::Bye);
    assert_eq!(sent(&outputs, 1), [ServerMessage::KnockOver { id: cy }]);
    assert!(outputs.contains(&Output::Close { socket: id(2), normal: true }));
    let di = waits(&house.hello(3, "tea", "", true), 3, 1);
    assert_eq!(sent(&house.lose(3), 1), [ServerMessage::KnockOver { id: di }]);
    assert_eq!(house.pass(60), [], "nobody has a place to come back to");
    let ed = waits(&house.hello(4, "tea", "", true), 4, 1);
    assert_eq!(house.pass(299), []);
    let outputs = house.pass(1);
    assert!(stays_out(&outputs, 4));
    assert_eq!(sent(&outputs, 1), [ServerMessage::KnockOver { id: ed }]);
    // Whoever waits has nothing else to say.
    waits(&house.hello(5, "tea", "", true), 5, 1);
    let outputs = house.say(5, ClientMessage::Chat { text: "let me in".into() });
    assert_eq!(error(&outputs, 5), Some((ErrorCode::NotWelcome, true)));
    assert!(matches!(sent(&outputs, 1)[..], [ServerMessage::KnockOver { .. }]));
}

#[test]
fn who_waits_is_bounded_and_an_open_door_lets_them_in() {
    let limits = Limits { participants: 4, ..Limits::default().unlimited_by_address() };
    let mut house = House::with(limits, Opening::default());
    house.enter(1, "");
    house.door(1, "", true);
    for n in 2..18 {
        waits(&house.hello(n, "tea", "", true), n, 1);
    }
    assert!(stays_out(&house.hello(18, "tea", "", true), 18), "sixteen wait");
    let outputs = house.door(1, "", false);
    assert_eq!((2..18).filter(|n| welcome(&outputs, *n).is_some()).collect::<Vec<_>>(), [2, 3, 4]);
    assert!((5..18).all(|n| stays_out(&outputs, n)), "the room is full");
    // A full room is no less shut to whoever is let in; the host hears why.
    house.door(1, "", true);
    let late = waits(&house.hello(20, "tea", "", true), 20, 1);
    assert_eq!(
        error(&house.say(1, ClientMessage::Admit { id: late.clone() }), 1),
        Some((ErrorCode::RoomFull, false))
    );
    house.say(2, ClientMessage::Bye);
    assert!(welcome(&house.say(1, ClientMessage::Admit { id: late }), 20).is_some());
    // With a password in place of the question, nobody is asked any more.
    house.say(3, ClientMessage::Bye);
    waits(&house.hello(21, "tea", "", true), 21, 1);
    assert!(stays_out(&house.door(1, "earl grey", false), 21));
}

#[test]
fn a_host_who_is_away_stays_host_and_one_who_left_has_an_heir() {
    let mut house = House::new();
    let ann = house.enter(1, "");
    let bo = house.enter(2, "");
    let cy = house.enter(3, "");
    house.door(1, "", true);
    house.lose(2);
    house.lose(1);
    let outputs = house.hello(4, "tea", "", true);
    assert_eq!(outputs.len(), 1, "nobody else is asked: {outputs:?}");
    // The host is back and hears of it.
    let mut hello = greeting(5, "tea", "", false);
    hello.resume = Some(ann.resume);
    let outputs = house.rooms.on(Input::Hello { socket: id(5), from: address(5), hello }, house.now);
    let again = welcome(&outputs, 5).unwrap();
    assert!(again.resumed && again.host == Some(ann.id.clone()));
    let [Knock { id: waiting, .. }] = again.knocks.as_slice() else { panic!("{again:?}") };
    // The host goes for good: of Bo, away, and Cy, here, it is Cy.
    let outputs = house.say(5, ClientMessage::Bye);
    let [_, host, knock] = sent(&outputs, 3).try_into().unwrap();
    assert_eq!(host, ServerMessage::Host { id: cy.id });
    assert!(matches!(&knock, ServerMessage::Knock(knock) if knock.id == *waiting));
    assert!(welcome(&house.say(3, ClientMessage::Admit { id: waiting.clone() }), 4).is_some());
    assert_ne!(bo.id, ann.id);
}

#[test]
fn a_host_who_stays_away_too_long_is_host_no_more() {
    let mut house = House::new();
    house.enter(1, "");
    let bo = house.enter(2, "");
    house.lose(1);
    let outputs = house.pass(29);
    assert_eq!(sent(&outputs, 2)[1], ServerMessage::Host { id: bo.id });
    assert!(house.rooms.participants() == 1);
}

#[test]
fn a_place_is_taken_back_past_a_shut_door_and_by_its_own_secret_only() {
    let mut house = House::new();
    let ann = house.enter(1, "");
    let bo = house.enter(2, "");
    let other = welcome(&house.hello(3, "den", "", false), 3).unwrap();
    house.door(1, "earl grey", true);
    house.lose(2);
    for (n, secret) in
        [(10, "0".repeat(32)), (11, String::new()), (12, bo.id.0.clone()), (13, bo.resume.to_uppercase())]
    {
        let mut hello = greeting(n, "tea", "", false);
        hello.resume = Some(secret.clone());
        if secret == bo.resume {
            continue;
        }
        let outputs = house.rooms.on(Input::Hello { socket: id(n), from: address(n), hello }, house.now);
        assert!(stays_out(&outputs, n), "{secret}");
    }
    // Another room's secret opens nothing here, and gives its own place up.
    let mut hello = greeting(14, "tea", "", false);
    hello.resume = Some(other.resume);
    let outputs = house.rooms.on(Input::Hello { socket: id(14), from: address(14), hello }, house.now);
    assert!(stays_out(&outputs, 14));
    let mut hello = greeting(15, "tea", "", false);
    hello.resume = Some(bo.resume.clone());
    let outputs = house.rooms.on(Input::Hello { socket: id(15), from: address(15), hello }, house.now);
    let again = welcome(&outputs, 15).unwrap();
    assert!(again.resumed && again.id == bo.id && again.host == Some(ann.id));
    // An old one, once its successor was used.
    let mut hello = greeting(16, "tea", "", false);
    hello.resume = Some(again.resume);
    house.rooms.on(Input::Hello { socket: id(16), from: address(16), hello }, house.now);
    let mut hello = greeting(17, "tea", "", false);
    hello.resume = Some(bo.resume);
    let outputs = house.rooms.on(Input::Hello { socket: id(17), from: address(17), hello }, house.now);
    assert!(stays_out(&outputs, 17));
}

/// Everything for which somebody stays outside, each at a server of its own: what they are answered, and in
/// how many nanoseconds.
fn refusals() -> Vec<(&'static str, String, u128)> {
    let listed = Opening { create: Create::Listed, names: ["tea".to_owned()].into() };
    let cases = ["wrong", "none", "full", "full and wrong", "full and right", "absent", "guessed too often"];
    let refused = |case: &'static str| {
        let mut house = House::with(Limits::default().unlimited_by_address(), listed.clone());
        house.enter(1, "earl grey");
        let last = if case.starts_with("full") { 13 } else { 12 };
        for n in 2..last {
            house.enter(n, "earl grey");
        }
        if case == "guessed too often" {
            for n in 0..6 {
                house.hello_from(50 + n, 40, "tea", "wrong", true);
            }
        }
        let (room, password) = match case {
            "wrong" | "full and wrong" => ("tea", "darjeeling"),
            "absent" => ("den", "earl grey"),
            "full and right" | "guessed too often" => ("tea", "earl grey"),
            _ => ("tea", ""),
        };
        let asked = Instant::now();
        let outputs = house.hello_from(40, 40, room, password, true);
        let took = asked.elapsed().as_nanos();
        assert!(stays_out(&outputs, 40), "{case}: {outputs:?}");
        let told: Vec<String> = sent(&outputs, 40).iter().map(ServerMessage::to_json).collect();
        (case, told.concat(), took)
    };
    cases.into_iter().map(refused).collect()
}

#[test]
fn full_shut_and_absent_rooms_answer_alike_to_the_byte_and_in_the_same_time() {
    let mut times: Vec<(&str, Vec<u128>)> = Vec::new();
    for round in 0..150 {
        for (at, (case, told, took)) in refusals().into_iter().enumerate() {
            let error =
                ServerMessage::Error { code: ErrorCode::NoEntry, message: NO_ENTRY.into(), fatal: true };
            assert_eq!(told, error.to_json(), "{case}");
            if round == 0 {
                times.push((case, Vec::new()));
            }
            times[at].1.push(took);
        }
    }
    let medians: Vec<(&str, u128)> = times
        .into_iter()
        .map(|(case, mut all)| {
            all.sort_unstable();
            (case, all[all.len() / 2])
        })
        .collect();
    println!("nanoseconds until refused: {medians:?}");
    let (least, most) =
        (medians.iter().map(|m| m.1).min().unwrap(), medians.iter().map(|m| m.1).max().unwrap());
    // A network's own wavering is a thousand times as much.
    assert!(most - least < 20_000, "{medians:?}");
}

#[test]
fn ten_thousand_guesses_do_not_find_the_password_and_shut_nobody_out() {
    let mut house = House::new();
    house.enter(1, "5000");
    for n in 0..10_000_u32 {
        house.now += Duration::from_millis(10);
        let outputs = house.hello_from(100 + n, 66, "tea", &n.to_string(), true);
        assert!(stays_out(&outputs, 100 + n), "guess {n}");
    }
    // Whoever knows it comes in, and whoever is in comes back.
    let bo = house.enter(2, "5000");
    house.lose(2);
    let mut hello = greeting(3, "tea", "", false);
    hello.resume = Some(bo.resume);
    let outputs = house.rooms.on(Input::Hello { socket: id(3), from: address(66), hello }, house.now);
    assert!(welcome(&outputs, 3).unwrap().resumed, "from the attacker's address too");
}

#[test]
fn an_address_has_its_share_and_no_more() {
    let mut limits = Limits::default();
    (limits.address.people, limits.address.rooms, limits.address.hellos) = (3, 2, 5);
    let mut house = House::with(limits, Opening::default());
    let mut next = 0;
    let mut join = |house: &mut House, from, room: &str| {
        next += 1;
        let outputs = house.hello_from(next, from, room, "", false);
        (next, if welcome(&outputs, next).is_some() { None } else { error(&outputs, next) })
    };
    assert_eq!(join(&mut house, 1, "a").1, None);
    assert_eq!(join(&mut house, 1, "b").1, None);
    assert_eq!(join(&mut house, 1, "c").1, Some((ErrorCode::NoEntry, true)), "a third room");
    assert_eq!(join(&mut house, 2, "c").1, None, "another address opens it");
    let (third, answer) = join(&mut house, 1, "c");
    assert_eq!(answer, None);
    assert_eq!(join(&mut house, 1, "a").1, Some((ErrorCode::ServerFull, true)), "a fourth person");
    assert_eq!(join(&mut house, 1, "a").1, Some((ErrorCode::TooFast, true)), "a sixth hello in a minute");
    house.now += Duration::from_secs(60);
    house.say(third, ClientMessage::Bye);
    assert_eq!(join(&mut house, 1, "a").1, None, "who left is counted no more");
}

#[derive(Clone, Debug)]
enum Step {
    Hello { room: usize, password: usize, knock: bool },
    Door { who: usize, password: Option<usize>, knock: Option<bool> },
    Answer { who: usize, whom: usize, admit: bool },
    Bye(usize),
    Lost(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2usize, 0..3usize, any::<bool>())
            .prop_map(|(room, password, knock)| Step::Hello { room, password, knock }),
        2 => (0..30usize, proptest::option::of(0..3usize), proptest::option::of(any::<bool>()))
            .prop_map(|(who, password, knock)| Step::Door { who, password, knock }),
        2 => (0..30usize, 0..30usize, any::<bool>())
            .prop_map(|(who, whom, admit)| Step::Answer { who, whom, admit }),
        1 => (0..30usize).prop_map(Step::Bye),
        1 => (0..30usize).prop_map(Step::Lost),
        1 => (0..200u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn outside_nothing_is_learnt_and_what_is_counted_is_given_back(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        const PASSWORDS: [&str; 3] = ["", "earl grey", "darjeeling"];
        let mut house = House::new();
        let mut next = 0_u32;
        let mut inside = HashSet::new();
        let mut knocks: Vec<ParticipantId> = Vec::new();
        for step in steps {
            let some = |n: usize| if next == 0 { 0 } else { n as u32 % next };
            let outputs = match step {
                Step::Hello { room, password, knock } => {
                    next += 1;
                    house.hello(next - 1, ["tea", "den"][room], PASSWORDS[password], knock)
                }
                Step::Door { who, password, knock } => {
                    let password = password.map(|n| Password::new(PASSWORDS[n]));
                    house.say(some(who), ClientMessage::Door { password, knock })
                }
                Step::Answer { who, whom, admit } => {
                    let id = knocks.get(whom).cloned().unwrap_or_default();
                    let answer = if admit { ClientMessage::Admit { id } } else { ClientMessage::Refuse { id } };
                    house.say(some(who), answer)
                }
                Step::Bye(who) => house.say(some(who), ClientMessage::Bye),
                Step::Lost(who) => house.lose(some(who)),
                Step::Wait(seconds) => house.pass(seconds),
            };
            for output in outputs {
                let Output::Send { socket, message } = output else { continue };
                match message {
                    ServerMessage::Welcome(_) => { inside.insert(socket); }
                    ServerMessage::Waiting { .. } | ServerMessage::Error { .. } => {}
                    other => {
                        prop_assert!(inside.contains(&socket), "outside, {socket:?} hears {other:?}");
                        if let ServerMessage::Knock(knock) = other { knocks.push(knock.id); }
                    }
                }
            }
        }
        for n in 0..next {
            house.say(n, ClientMessage::Bye);
        }
        house.pass(1000);
        prop_assert!(house.rooms.is_empty() && house.rooms.participants() == 0);
        prop_assert_eq!(house.rooms.remembered(), (0, 0, 0));
    }
}
