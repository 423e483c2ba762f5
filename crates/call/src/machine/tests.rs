//! The machine alone, on a clock of its own.

use super::*;
use crate::snapshot::{Connection, Me};
use proptest::prelude::*;
use signaling::{LeftReason, ParticipantInfo};

pub(super) fn id(text: &str) -> ParticipantId {
    ParticipantId(text.into())
}

pub(super) fn info(text: &str) -> ParticipantInfo {
    ParticipantInfo { id: id(text), name: text.to_uppercase(), audio: true, video: true, away: false }
}

pub(super) fn welcome(me: &str, others: &[&str], resumed: bool) -> Input {
    Input::Welcome(Welcome {
        v: 1,
        room: "tea".into(),
        id: id(me),
        resume: "secret".into(),
        ice_servers: vec![],
        participants: others.iter().map(|other| info(other)).collect(),
        resumed,
        host: Some(id(me)),
        ..Welcome::default()
    })
}

pub(super) fn join() -> Input {
    Input::Command(Command::Join {
        server: "http://127.0.0.1:8080".into(),
        room: "tea".into(),
        name: "Ann".into(),
        password: Password::default(),
    })
}

pub(super) struct Rig {
    pub(super) machine: Machine,
    pub(super) now: Instant,
}

impl Rig {
    pub(super) fn new() -> Self {
        let me = Me { mic_live: true, camera_live: true, ..Me::default() };
        let machine = Machine::new(Snapshot { me, ..Snapshot::default() }, BTreeMap::new());
        Self { machine, now: Instant::now() }
    }

    pub(super) fn on(&mut self, input: Input) -> Vec<Effect> {
        self.machine.on(input, self.now)
    }

    /// In a room with `b`, connected.
    pub(super) fn in_call() -> Self {
        let mut rig = Self::new();
        rig.on(join());
        rig.on(welcome("a", &["b"], false));
        rig.on(Input::PeerState(1, PathState::Connected));
        rig
    }

    pub(super) fn after(&mut self, seconds: u64) -> Vec<Effect> {
        self.now += Duration::from_secs(seconds);
        self.on(Input::Tick)
    }

    fn phase(&self) -> &Phase {
        &self.machine.snapshot().phase
    }

    fn their_path(&self) -> Connection {
        self.machine.snapshot().participants[0].connection
    }
}

#[test]
fn the_newcomer_offers_and_whoever_was_there_answers() {
    let mut newcomer = Rig::new();
    newcomer.on(join());
    let effects = newcomer.on(welcome("b", &["a"], false));
    let open = effects.iter().find_map(|e| if let Effect::OpenPeer(open) = e { Some(open) } else { None });
    assert!(open.is_some_and(|open| open.offer && open.polite), "{effects:?}");

    let mut host = Rig::new();
    host.on(join());
    host.on(welcome("a", &[], false));
    let effects = host.on(Input::Message(ServerMessage::Joined { participant: info("b") }));
    let open = effects.iter().find_map(|e| if let Effect::OpenPeer(open) = e { Some(open) } else { None });
    assert!(open.is_some_and(|open| !open.offer && !open.polite), "{effects:?}");
}

#[test]
fn mute_is_told_to_the_others_and_outlives_leaving_and_joining_again() {
    let mut rig = Rig::in_call();
    let effects = rig.on(Input::Command(Command::Mute { on: true }));
    assert!(matches!(
        effects[..],
        [Effect::SetMuted(true), Effect::Emit(_), Effect::Announce { audio: false, video: true }]
    ));
    rig.on(Input::Command(Command::Leave));
    let effects = rig.on(join());
    assert!(effects.iter().any(|e| matches!(e, Effect::Connect(Hello { audio: false, video: true, .. }))));
    assert!(rig.machine.snapshot().me.muted);
}

#[test]
fn a_camera_that_fails_is_told_and_one_that_comes_back_too() {
    let mut rig = Rig::in_call();
    let failed = EndReport::CameraLost { why: "unplugged".into() };
    let effects = rig.on(Input::End(failed));
    assert!(effects.iter().any(|e| matches!(e, Effect::Announce { video: false, .. })));
    assert_eq!(rig.machine.snapshot().problems.len(), 1);
    let opened = EndReport::CameraOpened { source: CameraUse::Default, width: 640, height: 360 };
    let effects = rig.on(Input::End(opened));
    assert!(effects.iter().any(|e| matches!(e, Effect::Announce { video: true, .. })));
    assert!(rig.machine.snapshot().problems.is_empty());
}

#[test]
fn a_late_word_of_the_room_before_is_not_of_this_one() {
    let mut rig = Rig::in_call();
    rig.on(Input::Command(Command::Leave));
    rig.on(join());
    let late = |report| Input::FromServer { attempt: 1, report: Box::new(report) };
    rig.on(late(Input::ServerFailed { why: "full".into() }));
    assert!(rig.on(late(welcome("a", &["b"], false))).is_empty());
    assert!(matches!(rig.phase(), Phase::Joining { .. }));
    rig.on(Input::FromServer { attempt: 2, report: Box::new(welcome("c", &[], false)) });
    assert!(matches!(rig.phase(), Phase::InRoom { .. }));
}

#[test]
fn the_microphone_in_use_is_the_truth() {
    let mut rig = Rig::in_call();
    let opened = |source: &str| {
        Input::End(EndReport::MicOpened { source: MicUse::Device(source.into()), name: source.into() })
    };
    rig.on(Input::Command(Command::Mic { source: MicUse::Device("one".into()) }));
    rig.on(opened("one"));
    rig.on(Input::End(EndReport::MicLost { why: "unplugged".into() }));
    rig.on(Input::Command(Command::Mic { source: MicUse::Device("two".into()) }));
    rig.on(Input::End(EndReport::MicFailed { why: "busy".into() }));
    let effects = rig.on(opened("two"));
    assert!(effects.iter().any(|e| matches!(e, Effect::Announce { audio: true, .. })), "{effects:?}");
    assert_eq!(rig.machine.snapshot().me.mic, MicUse::Device("two".into()));
}

#[test]
fn a_microphone_in_place_of_one_that_is_away_is_sent_and_told_of_until_that_is_back() {
    let mut rig = Rig::in_call();
    let wanted = MicUse::Device("one".into());
    let opened = || Input::End(EndReport::MicOpened { source: wanted.clone(), name: "one".into() });
    rig.on(Input::Command(Command::Mic { source: wanted.clone() }));
    rig.on(opened());
    rig.on(Input::End(EndReport::MicLost { why: "unplugged".into() }));
    let fell_back = EndReport::MicFellBack { wanted: wanted.clone(), why: "another one".into() };
    let effects = rig.on(Input::End(fell_back));
    assert!(effects.iter().any(|e| matches!(e, Effect::Announce { audio: true, .. })), "{effects:?}");
    assert_eq!(rig.machine.snapshot().me.mic, wanted, "the choice is the user's");
    assert_eq!(rig.machine.snapshot().problems.len(), 1);
    rig.on(opened());
    assert!(rig.machine.snapshot().problems.is_empty());
}

#[test]
fn a_speaker_in_place_of_one_that_is_away_is_told_of_until_that_is_back() {
    let mut rig = Rig::in_call();
    let wanted = SpeakerUse::Device("one".into());
    rig.on(Input::Command(Command::Speaker { sink: wanted.clone() }));
    let fell_back = EndReport::SpeakerFellBack { wanted: wanted.clone(), why: "another one".into() };
    rig.on(Input::End(fell_back));
    assert_eq!(rig.machine.snapshot().me.speaker, wanted, "the choice is the user's");
    assert_eq!(rig.machine.snapshot().problems.len(), 1);
    rig.on(Input::End(EndReport::SpeakerOpened { sink: wanted, name: "one".into() }));
    assert!(rig.machine.snapshot().problems.is_empty());
}

#[test]
fn what_stands_in_for_a_microphone_is_told_of_though_another_was_chosen_meanwhile() {
    let mut rig = Rig::in_call();
    let (one, other) = (MicUse::Device("one".into()), MicUse::Device("other".into()));
    rig.on(Input::Command(Command::Mic { source: one.clone() }));
    rig.on(Input::End(EndReport::MicOpened { source: one.clone(), name: "one".into() }));
    rig.on(Input::End(EndReport::MicLost { why: "unplugged".into() }));
    rig.on(Input::Command(Command::Mic { source: other.clone() }));
    let fell_back = || EndReport::MicFellBack { wanted: one.clone(), why: "another one".into() };
    let effects = rig.on(Input::End(fell_back()));
    assert!(effects.iter().any(|e| matches!(e, Effect::Announce { audio: true, .. })), "{effects:?}");
    assert_eq!(rig.machine.snapshot().me.mic, other, "it may still open");
    rig.on(Input::End(EndReport::MicFailed { why: "busy".into() }));
    assert_eq!(rig.machine.snapshot().me.mic, one, "which has one in its place");
    assert!(rig.machine.snapshot().me.mic_live);
    rig.on(Input::Command(Command::Mic { source: MicUse::None }));
    let effects = rig.on(Input::End(fell_back()));
    assert!(effects.is_empty() && !rig.machine.snapshot().me.mic_live, "none is wanted: {effects:?}");
}

#[test]
fn an_unreachable_server_ends_the_attempt_but_not_a_call() {
    let mut rig = Rig::new();
    rig.on(join());
    let effects = rig.on(Input::ServerLost { why: "no route".into() });
    assert_eq!(*rig.phase(), Phase::Lobby);
    assert!(effects.iter().any(|e| matches!(e, Effect::Emit(Event::Error { fatal: true, .. }))));

    let mut rig = Rig::in_call();
    rig.on(Input::ServerLost { why: "no route".into() });
    assert!(matches!(rig.phase(), Phase::Reconnecting { .. }));
    assert_eq!(rig.their_path(), Connection::Connected);
    let effects = rig.on(welcome("a", &["b"], true));
    assert!(matches!(rig.phase(), Phase::InRoom { .. }));
    assert!(!effects.iter().any(|e| matches!(e, Effect::OpenPeer(_) | Effect::ClosePeer(_))));
    assert!(effects.iter().any(|e| matches!(e, Effect::RepeatOffer(1))), "it may have been lost");
    assert!(rig.machine.snapshot().problems.is_empty());
}

#[test]
fn a_place_that_was_lost_is_taken_anew() {
    let mut rig = Rig::in_call();
    rig.on(Input::ServerLost { why: "gone".into() });
    let effects = rig.on(welcome("c", &["b"], false));
    assert!(effects.iter().any(|e| matches!(e, Effect::ClosePeer(1))));
    assert!(effects.iter().any(|e| matches!(e, Effect::OpenPeer(OpenPeer { key: 2, offer: true, .. }))));
    assert_eq!(rig.machine.snapshot().me.id, Some(id("c")));
}

#[test]
fn who_went_during_an_outage_is_gone_after_it() {
    let mut rig = Rig::in_call();
    rig.on(Input::ServerLost { why: "gone".into() });
    let effects = rig.on(welcome("a", &[], true));
    assert!(effects.iter().any(|e| matches!(e, Effect::ClosePeer(1))));
    assert!(rig.machine.snapshot().participants.is_empty());
}

#[test]
fn the_user_is_told_when_no_path_is_found() {
    let mut rig = Rig::new();
    rig.on(join());
    rig.on(welcome("a", &["b"], false));
    for _ in 0..20 {
        rig.after(1);
    }
    let problems = &rig.machine.snapshot().problems;
    assert!(problems.iter().any(|p| p.about == About::Connection), "{problems:?}");
    let shown = problems[0].id;
    rig.on(Input::Command(Command::Dismiss { problem: shown }));
    rig.after(1);
    assert!(rig.machine.snapshot().problems.is_empty(), "told once");
    rig.on(Input::PeerState(1, PathState::Connected));
    assert!(rig.machine.snapshot().problems.is_empty());
}

#[test]
fn reports_of_closed_connections_are_ignored() {
    let mut rig = Rig::in_call();
    rig.on(Input::Message(ServerMessage::Left { id: id("b"), reason: LeftReason::Bye }));
    assert!(rig.on(Input::PeerState(1, PathState::Failed)).is_empty());
    assert!(rig.on(Input::PeerFailed(1, "late".into())).is_empty());
    assert!(rig.on(Input::FirstFrame(1, 2, 2)).is_empty());
}

fn any_input() -> impl Strategy<Value = u8> {
    0..16u8
}

fn nth_input(n: u8) -> Input {
    let failed = || EndReport::CameraFailed { why: "x".into(), fell_back: false };
    match n {
        0 => Input::Command(Command::Mute { on: true }),
        1 => Input::Command(Command::Mute { on: false }),
        2 => Input::Command(Command::CameraOff { on: true }),
        3 => Input::Command(Command::CameraOff { on: false }),
        4 => Input::Command(Command::Camera { source: CameraUse::Pattern }),
        5 => Input::Command(Command::Mic { source: MicUse::Tone }),
        6 => Input::End(failed()),
        7 => Input::End(EndReport::CameraOpened { source: CameraUse::Pattern, width: 64, height: 64 }),
        8 => Input::End(EndReport::MicLost { why: "x".into() }),
        9 => Input::End(EndReport::MicOpened { source: MicUse::Tone, name: "tone".into() }),
        10 => Input::ServerLost { why: "x".into() },
        11 => welcome("a", &["b", "c"], true),
        12 => welcome("d", &["b"], false),
        13 => Input::Command(Command::Leave),
        14 => Input::End(EndReport::CameraClosed),
        _ => join(),
    }
}

proptest! {
    /// Whatever happens: the slots are what the buttons say, only the buttons move them, and the others
    /// were told what is so.
    #[test]
    fn only_the_buttons_mute(inputs in prop::collection::vec(any_input(), 1..80)) {
        let mut rig = Rig::new();
        let (mut muted, mut camera_off, mut told) = (false, false, None);
        let mut buttons = (false, false);
        for n in inputs {
            match n {
                0 => buttons.0 = true,
                1 => buttons.0 = false,
                2 => buttons.1 = true,
                3 => buttons.1 = false,
                _ => {}
            }
            for effect in rig.on(nth_input(n)) {
                match effect {
                    Effect::SetMuted(on) => muted = on,
                    Effect::SetCameraOff(on) => camera_off = on,
                    Effect::Connect(Hello { audio, video, .. }) | Effect::Announce { audio, video } => {
                        told = Some((audio, video));
                    }
                    Effect::Disconnect => told = None,
                    _ => {}
                }
            }
            let me = &rig.machine.snapshot().me;
            prop_assert_eq!((muted, camera_off), buttons);
            prop_assert_eq!((me.muted, me.camera_off), buttons);
            if let Some((audio, video)) = told {
                prop_assert_eq!(audio, !muted && me.mic_live);
                prop_assert_eq!(video, !camera_off && me.camera_live);
            }
        }
    }
}
