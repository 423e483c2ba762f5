//! The session on a virtual clock.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

use signaling::session::{Entry, Frame, Input, Output, Session, Trouble};
use signaling::{
    ClientEvent, ClientMessage, Name, ParticipantId, Password, RoomName, ServerMessage, Welcome,
};
use std::time::{Duration, Instant};

struct Bench {
    session: Session,
    now: Instant,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let entry = Entry {
            room: RoomName::parse("tea").unwrap(),
            name: Name::parse("Ann").unwrap(),
            audio: true,
            video: true,
            password: Password::default(),
        };
        let now = Instant::now();
        Self { session: Session::new(entry, "http://host".into(), seed, now), now }
    }

    fn on(&mut self, input: Input) -> Vec<Output> {
        self.session.on(input, self.now)
    }

    /// Goes to the session's next deadline.
    fn pass(&mut self) -> Vec<Output> {
        self.now = self.session.deadline(self.now).unwrap().max(self.now);
        self.on(Input::Tick)
    }

    fn frames(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.session.next_frame(self.now)).collect()
    }

    /// Opens and is welcomed; gives the hello said.
    fn enter(&mut self, resumed: bool) -> String {
        assert_eq!(self.pass(), [Output::Open]);
        assert_eq!(self.on(Input::Opened), []);
        let frames = self.frames();
        let [Frame::Text(hello)] = frames.as_slice() else { panic!("{frames:?}") };
        let welcome = Welcome {
            v: 1,
            room: "tea".into(),
            id: ParticipantId("a".into()),
            resume: "secret".into(),
            ice_servers: Vec::new(),
            participants: Vec::new(),
            resumed,
            ..Welcome::default()
        };
        let outputs = self.on(Input::Text(ServerMessage::Welcome(welcome.clone()).to_json()));
        assert_eq!(outputs, [Output::Event(ClientEvent::Welcome(welcome))]);
        hello.clone()
    }

    fn lose(&mut self) -> Vec<Output> {
        self.on(Input::Lost(Trouble { message: "lost".into(), permanent: true }))
    }
}

fn retry_in(outputs: &[Output]) -> Duration {
    match outputs.last() {
        Some(Output::Event(ClientEvent::Disconnected { retry_in, .. })) => *retry_in,
        other => panic!("{other:?}"),
    }
}

fn candidate() -> ClientMessage {
    ClientMessage::Candidate { to: ParticipantId("b".into()), candidate: None }
}

#[test]
fn waits_double_to_eight_seconds_with_jitter() {
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        bench.enter(false);
        let mut expected = 0.25;
        let mut outputs = bench.lose();
        for _ in 0..12 {
            let wait = retry_in(&outputs).as_secs_f64();
            assert!(wait >= expected * 0.75 && wait <= expected * 1.25, "{wait} for {expected}");
            expected = f64::min(expected * 2.0, 8.0);
            let before = bench.now;
            assert_eq!(bench.pass(), [Output::Open]);
            assert!((bench.now - before).as_secs_f64() - wait < 1e-6);
            outputs = bench.lose();
        }
    }
}

#[test]
fn what_was_said_while_away_is_said_after_the_resume() {
    let mut bench = Bench::new(1);
    assert!(!bench.enter(false).contains("resume"));
    bench.lose();
    bench.on(Input::State { audio: false, video: true });
    bench.on(Input::Send(candidate()));
    let hello = bench.enter(true);
    assert!(hello.contains(r#""resume":"secret""#) && hello.contains(r#""audio":false"#), "{hello}");
    assert_eq!(bench.frames(), [Frame::Text(candidate().to_json())]);
    // Not flushed when the socket breaks: said again. To a place that is new: not.
    bench.lose();
    bench.enter(true);
    assert_eq!(bench.frames(), [Frame::Text(candidate().to_json())]);
    bench.lose();
    bench.enter(false);
    assert_eq!(bench.frames(), []);
}

#[test]
fn a_button_pressed_between_hello_and_welcome_is_said() {
    let mut bench = Bench::new(1);
    bench.pass();
    bench.on(Input::Opened);
    assert_eq!(bench.frames().len(), 1);
    bench.on(Input::State { audio: false, video: false });
    let welcome = r#"{"type":"welcome","v":1,"room":"tea","id":"a","resume":"s","iceServers":[],"participants":[],"resumed":false}"#;
    bench.on(Input::Text(welcome.into()));
    let state = ClientMessage::State { audio: false, video: false };
    assert_eq!(bench.frames(), [Frame::Text(state.to_json())]);
}

#[test]
fn a_dead_socket_is_noticed_within_ten_seconds() {
    let mut bench = Bench::new(1);
    bench.enter(false);
    let start = bench.now;
    let mut pings = 0;
    let outputs = loop {
        let outputs = bench.pass();
        pings += bench.frames().iter().filter(|f| **f == Frame::Ping).count();
        if !outputs.is_empty() {
            break outputs;
        }
    };
    assert!(bench.now - start <= Duration::from_secs(10));
    assert!(pings >= 2);
    assert_eq!(outputs[0], Output::Drop);
    retry_in(&outputs);
}

#[test]
fn pongs_keep_it_alive() {
    let mut bench = Bench::new(1);
    bench.enter(false);
    for _ in 0..1000 {
        assert_eq!(bench.pass(), []);
        bench.frames();
        bench.on(Input::Heard);
    }
}

#[test]
fn a_server_that_never_answers_hello_fails_the_first_join() {
    let mut bench = Bench::new(1);
    bench.pass();
    bench.on(Input::Opened);
    bench.frames();
    let outputs = loop {
        bench.frames();
        bench.on(Input::Heard);
        let outputs = bench.pass();
        if !outputs.is_empty() {
            break outputs;
        }
    };
    assert!(outputs.contains(&Output::End) && bench.session.is_ended(), "{outputs:?}");
}

#[test]
fn refusals_end_it_and_broken_texts_do_not() {
    for (text, ends) in [
        (r#"{"type":"error","code":"no-entry","message":"full","fatal":true}"#, true),
        (r#"{"type":"error","code":"not-welcome","message":"taken","fatal":true}"#, true),
        (r#"{"type":"error","code":"too-fast","message":"slow","fatal":true}"#, false),
        (r#"{"type":"error","code":"bad-message","message":"what","fatal":false}"#, false),
        (r#"{"type":"wave"}"#, false),
        ("{", false),
    ] {
        let mut bench = Bench::new(1);
        bench.enter(false);
        bench.on(Input::Text(text.into()));
        assert_eq!(bench.session.is_ended(), ends, "{text}");
    }
    for text in ["SSH-2.0", "{}", r#"{"type":"welcome","v":2}"#] {
        let mut bench = Bench::new(1);
        bench.pass();
        bench.on(Input::Opened);
        let outputs = bench.on(Input::Text(text.into()));
        assert!(matches!(&outputs[1], Output::Event(ClientEvent::Failed { .. })), "{outputs:?}");
    }
}

#[test]
fn bye_is_said_when_there_is_somebody_to_hear_it() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.on(Input::Bye), [Output::Drop, Output::End]);
    let mut bench = Bench::new(1);
    bench.enter(false);
    assert_eq!(bench.on(Input::Bye), [Output::End]);
    assert_eq!(bench.frames(), [Frame::Text(ClientMessage::Bye.to_json())]);
}

#[test]
fn a_probe_that_is_not_answered_gives_the_socket_up_early() {
    let mut bench = Bench::new(1);
    bench.enter(false);
    bench.on(Input::Probe);
    assert_eq!(bench.frames(), [Frame::Ping]);
    bench.now += Duration::from_millis(500);
    bench.on(Input::Heard);
    let probed = bench.now;
    while bench.now < probed + Duration::from_secs(5) {
        assert_eq!(bench.pass(), [], "it was answered");
    }
    bench.on(Input::Heard);
    let probed = bench.now;
    bench.on(Input::Probe);
    bench.now += Duration::from_secs(1);
    bench.on(Input::Probe);
    let lost = loop {
        let outputs = bench.pass();
        if !outputs.is_empty() {
            break outputs;
        }
    };
    assert_eq!(bench.now, probed + signaling::session::PROBE_WITHIN, "a second probe gives no more time");
    assert!(matches!(lost[..], [Output::Drop, Output::Event(ClientEvent::Disconnected { .. })]), "{lost:?}");
    bench.on(Input::Probe);
    assert_eq!(bench.session.deadline(bench.now), Some(bench.now), "the next try is due at once");
    assert_eq!(bench.enter(true).matches("secret").count(), 1);
}

#[test]
fn in_another_network_the_place_is_taken_back_without_waiting_for_the_old_socket() {
    let mut bench = Bench::new(1);
    bench.enter(false);
    bench.now += Duration::from_secs(60);
    let outputs = bench.on(Input::Reconnect);
    assert!(
        matches!(outputs[..], [Output::Drop, Output::Event(ClientEvent::Disconnected { .. })]),
        "{outputs:?}"
    );
    let again = bench.session.deadline(bench.now).unwrap() - bench.now;
    assert!(again <= signaling::session::BACKOFF_FIRST * 2, "{again:?}");
    assert!(bench.enter(true).contains("secret"));
    bench.on(Input::Lost(Trouble { message: "x".into(), permanent: false }));
    assert_eq!(bench.on(Input::Reconnect), []);
    assert_eq!(bench.session.deadline(bench.now), Some(bench.now), "the next try is due at once");
}

#[test]
fn whoever_knocks_waits_as_long_as_the_server_says_and_is_welcomed_or_not() {
    let knocking = || {
        let mut bench = Bench::new(1);
        bench.pass();
        bench.on(Input::Opened);
        let frames = bench.frames();
        assert!(
            matches!(&frames[..], [Frame::Text(hello)] if hello.contains(r#""knock":true"#)),
            "{frames:?}"
        );
        let outputs = bench.on(Input::Text(r#"{"type":"waiting","seconds":300}"#.into()));
        let waiting = ServerMessage::Waiting { seconds: 300 };
        assert_eq!(outputs, [Output::Event(ClientEvent::Message(waiting))]);
        // A button pressed meanwhile is said once we are in; nothing of the room is taken before.
        bench.on(Input::State { audio: false, video: true });
        for _ in 0..100 {
            assert_eq!(bench.pass(), []);
            assert!(bench.frames().iter().all(|frame| *frame == Frame::Ping));
            bench.on(Input::Heard);
        }
        assert_eq!(bench.on(Input::Text(r#"{"type":"chat","from":"a","text":"x"}"#.into())), []);
        bench
    };
    let mut bench = knocking();
    let welcome = r#"{"type":"welcome","v":1,"room":"tea","id":"a","resume":"s","iceServers":[],"participants":[],"resumed":false}"#;
    let outputs = bench.on(Input::Text(welcome.into()));
    assert!(matches!(outputs[..], [Output::Event(ClientEvent::Welcome(_))]), "{outputs:?}");
    let state = ClientMessage::State { audio: false, video: true };
    assert_eq!(bench.frames(), [Frame::Text(state.to_json())]);
    let mut bench = knocking();
    let refusal = r#"{"type":"error","code":"no-entry","message":"no","fatal":true}"#;
    let outputs = bench.on(Input::Text(refusal.into()));
    let event = Output::Event(ClientEvent::NoEntry { message: "no".into() });
    assert_eq!(outputs, [Output::Drop, event, Output::End]);
    let mut bench = knocking();
    assert_eq!(bench.on(Input::Bye), [Output::End]);
    assert_eq!(bench.frames(), [Frame::Text(ClientMessage::Bye.to_json())]);
}

#[test]
fn the_hosts_own_password_is_remembered_for_a_place_that_is_lost() {
    let mut bench = Bench::new(1);
    assert!(!bench.enter(false).contains("password"));
    let door = ClientMessage::Door { password: Some(Password::new("earl grey")), knock: None };
    bench.on(Input::Send(door.clone()));
    assert_eq!(bench.frames(), [Frame::Text(door.to_json())]);
    bench.on(Input::Flushed);
    bench.lose();
    assert!(bench.enter(false).contains(r#""password":"earl grey""#));
}
