//! Gate, hints, volumes, chimes and tests, on a clock of their own.

use super::super::tests::{Rig, id, info, join, welcome};
use super::super::{EndReport, Hello, Input};
use super::*;
use crate::command::Command;
use crate::snapshot::Sound;
use media::MicUse;
use proptest::prelude::*;
use signaling::{LeftReason, ServerMessage};

impl Rig {
    fn tell(&mut self, command: Command) -> Vec<Effect> {
        self.on(Input::Command(command))
    }

    fn sound(&self) -> Sound {
        self.machine.snapshot().me.sound
    }

    /// Time passes in the steps of the engine's tick; what it brought.
    fn wait(&mut self, ms: u64) -> Vec<Effect> {
        let step = Duration::from_millis(100);
        (0..ms / 100)
            .flat_map(|_| {
                self.now += step;
                self.on(Input::Tick)
            })
            .collect()
    }
}

fn events(effects: &[Effect]) -> Vec<Event> {
    let event = |effect: &Effect| if let Effect::Emit(event) = effect { Some(event.clone()) } else { None };
    effects.iter().filter_map(event).collect()
}

#[test]
fn push_to_talk_shuts_the_gate_until_the_key_is_held() {
    let mut rig = Rig::in_call();
    let effects = rig.tell(Command::PushToTalk { on: true });
    assert!(matches!(
        effects[..],
        [Effect::SetMuted(true), Effect::Emit(_), Effect::Announce { audio: false, video: true }]
    ));
    let effects = rig.tell(Command::Talk { on: true });
    assert!(matches!(
        effects[..],
        [Effect::SetMuted(false), Effect::Emit(_), Effect::Announce { audio: true, video: true }]
    ));
    assert!(rig.tell(Command::Talk { on: true }).is_empty(), "held is held");
    rig.tell(Command::Mute { on: true });
    assert!(rig.machine.snapshot().me.muted, "the button comes before the key");
    rig.tell(Command::Mute { on: false });
    assert!(!rig.machine.snapshot().me.muted);
    rig.tell(Command::Talk { on: false });
    assert!(rig.machine.snapshot().me.muted);
    rig.tell(Command::PushToTalk { on: false });
    assert!(!rig.machine.snapshot().me.muted);
    assert!(rig.tell(Command::Talk { on: true }).is_empty(), "without push-to-talk the key is no key");
    rig.tell(Command::PushToTalk { on: true });
    assert!(rig.machine.snapshot().me.muted, "a key held before counts for nothing");
}

#[test]
fn who_talks_while_muted_is_told_now_and_then() {
    let mut rig = Rig::in_call();
    rig.on(Input::OwnVoice(true));
    assert!(rig.wait(3000).is_empty(), "heard by all");
    rig.tell(Command::Mute { on: true });
    assert!(rig.wait(900).is_empty(), "the end of a sentence");
    assert_eq!(events(&rig.wait(100)), [Event::MutedTalk { on: true }]);
    let effects = rig.tell(Command::Mute { on: false });
    assert!(events(&effects).contains(&Event::MutedTalk { on: false }));
    rig.on(Input::OwnVoice(false));
    rig.tell(Command::Mute { on: true });
    rig.wait(57_000);
    for _ in 0..3 {
        rig.on(Input::OwnVoice(true));
        assert!(rig.wait(900).is_empty(), "a cough");
        rig.on(Input::OwnVoice(false));
    }
    rig.on(Input::OwnVoice(true));
    assert_eq!(events(&rig.wait(1000)), [Event::MutedTalk { on: true }]);
    assert_eq!(events(&rig.wait(4900)), []);
    assert_eq!(events(&rig.wait(100)), [Event::MutedTalk { on: false }]);
    assert_eq!(events(&rig.wait(54_900)), [], "not again so soon");
    assert_eq!(events(&rig.wait(100)), [Event::MutedTalk { on: true }]);
}

#[test]
fn nobody_is_told_that_they_are_muted_where_nobody_could_hear_them() {
    let mut rig = Rig::new();
    rig.tell(Command::Mute { on: true });
    rig.on(Input::OwnVoice(true));
    assert!(rig.wait(10_000).is_empty());
    rig.on(join());
    rig.on(welcome("a", &[], false));
    assert!(rig.wait(10_000).is_empty());
}

#[test]
fn a_silent_microphone_is_told_of_while_it_is_on_and_the_word_goes_with_the_silence() {
    let mut rig = Rig::new();
    let effects = rig.on(Input::MicSilent(true));
    assert_eq!(
        (events(&effects), rig.sound().hint),
        (vec![Event::MicSilent { on: true }], Some(Hint::SilentMic))
    );
    assert_eq!(events(&rig.on(Input::MicSilent(false))), [Event::MicSilent { on: false }]);
    rig.tell(Command::Mute { on: true });
    assert!(rig.on(Input::MicSilent(true)).is_empty(), "muted");
    rig.tell(Command::Mute { on: false });
    assert!(rig.wait(2900).is_empty(), "it was only just unmuted");
    assert_eq!(events(&rig.wait(100)), [Event::MicSilent { on: true }]);
    let effects = rig.on(Input::End(EndReport::MicLost { why: "unplugged".into() }));
    assert!(events(&effects).iter().any(|e| matches!(e, Event::Error { .. })));
    assert_eq!(events(&rig.wait(100)), [Event::MicSilent { on: false }], "that is another matter");
}

#[test]
fn a_volume_is_kept_by_name() {
    let mut rig = Rig::in_call();
    let volume = |id: &str, volume| Command::Volume { participant: ParticipantId(id.into()), volume };
    assert!(matches!(rig.tell(volume("b", 0.5))[..], [Effect::SetVolume(1, v)] if v == 0.5));
    assert!(matches!(rig.tell(volume("b", 7.0))[..], [Effect::SetVolume(1, v)] if v == 2.0));
    assert_eq!(rig.machine.snapshot().voice(&id("b")).volume, 2.0);
    for (whom, loud) in [("z", 1.0), ("b", f32::NAN)] {
        let told = events(&rig.tell(volume(whom, loud)));
        assert!(matches!(told[..], [Event::Error { about: About::Command, fatal: false, .. }]), "{told:?}");
    }
    rig.on(Input::Message(ServerMessage::Left { id: id("b"), reason: LeftReason::Bye }));
    assert!(rig.machine.snapshot().voices.is_empty());
    let mut back = info("c");
    back.name = "B".into();
    let effects = rig.on(Input::Message(ServerMessage::Joined { participant: back }));
    assert!(effects.iter().any(|e| matches!(e, Effect::SetVolume(2, v) if *v == 2.0)), "{effects:?}");
    rig.tell(volume("c", 1.0));
    assert!(rig.machine.hearing.volumes.is_empty());
    for n in 0..1000 {
        rig.machine.hearing.volumes.insert(format!("{n}"), 0.5);
        rig.tell(volume("c", 0.5));
        assert!(rig.machine.hearing.volumes.len() <= MOST_VOLUMES + 1);
    }
}

#[test]
fn who_speaks_is_known_while_they_are_here() {
    let mut rig = Rig::in_call();
    let told = events(&rig.on(Input::Speaking(1, true)));
    assert_eq!(told, [Event::Speaking { id: id("b"), on: true }]);
    assert!(rig.machine.snapshot().voice(&id("b")).speaking);
    assert!(rig.on(Input::Speaking(9, true)).is_empty(), "late");
    rig.on(Input::Speaking(1, false));
    assert!(!rig.machine.snapshot().voice(&id("b")).speaking);
}

#[test]
fn chimes_ring_for_those_who_come_and_go_and_not_for_those_who_were_there() {
    let ring = |effects: Vec<Effect>| -> Vec<Chime> {
        let chime = |e: &Effect| if let Effect::Ring(chime) = e { Some(*chime) } else { None };
        effects.iter().filter_map(chime).collect()
    };
    let mut rig = Rig::new();
    rig.tell(Command::Chimes { on: true });
    rig.on(join());
    assert_eq!(ring(rig.on(welcome("a", &["b", "c", "d"], false))), []);
    let joined = |who: &str| Input::Message(ServerMessage::Joined { participant: info(who) });
    let left = |who: &str| Input::Message(ServerMessage::Left { id: id(who), reason: LeftReason::Timeout });
    assert_eq!(ring(rig.on(joined("e"))), [Chime::Join]);
    assert_eq!(ring(rig.on(joined("e"))), [], "once");
    assert_eq!(ring(rig.on(left("b"))), [Chime::Leave]);
    assert_eq!(ring(rig.on(left("b"))), []);
    rig.on(Input::ServerLost { why: "gone".into() });
    assert_eq!(ring(rig.on(welcome("a", &["f", "g"], true))), [], "nobody saw them come and go");
    rig.tell(Command::Chimes { on: false });
    assert_eq!(ring(rig.on(joined("h"))), []);
}

#[test]
fn during_an_echo_test_in_a_room_nothing_is_sent() {
    let mut rig = Rig::in_call();
    let effects = rig.tell(Command::EchoTest);
    assert!(matches!(effects[0], Effect::SetMuted(true)), "first the gate: {effects:?}");
    assert!(matches!(effects.last(), Some(Effect::Rehearse(Rehearse::Echo))));
    rig.on(Input::Rehearsal(Rehearsal::Recording { left: 4 }));
    assert_eq!(rig.sound().rehearsal, Some(Rehearsal::Recording { left: 4 }));
    rig.on(Input::OwnVoice(true));
    rig.wait(5000);
    assert_eq!(rig.sound().hint, None, "one is to talk");
    let effects = rig.on(Input::Rehearsal(Rehearsal::Over));
    assert!(effects.iter().any(|e| matches!(e, Effect::SetMuted(false))), "{effects:?}");
    assert_eq!(rig.sound().rehearsal, None);
    rig.tell(Command::EchoTest);
    assert!(
        !rig.on(Input::Rehearsal(Rehearsal::Over)).iter().any(|e| matches!(e, Effect::SetMuted(_))),
        "late"
    );
    rig.tell(Command::Mute { on: true });
    rig.tell(Command::StopTest);
    assert!(rig.machine.snapshot().me.muted, "the button still says so");
}

#[test]
fn an_echo_test_before_the_call_ends_with_the_wish_to_join_and_needs_both_ends() {
    let mut rig = Rig::new();
    assert!(matches!(rig.tell(Command::EchoTest)[..], [Effect::Rehearse(Rehearse::Echo)]));
    let effects = rig.on(join());
    assert!(matches!(
        effects[..],
        [Effect::Rehearse(Rehearse::Stop), Effect::Connect(Hello { audio: true, .. })]
    ));
    rig.tell(Command::Speaker { sink: SpeakerUse::None });
    for command in [Command::EchoTest, Command::SpeakerTest] {
        let told = events(&rig.tell(command));
        assert!(matches!(told[..], [Event::Error { about: About::Command, .. }]), "{told:?}");
    }
    rig.tell(Command::Speaker { sink: SpeakerUse::Default });
    assert!(matches!(rig.tell(Command::SpeakerTest)[..], [Effect::Rehearse(Rehearse::Speaker)]));
    rig.tell(Command::Mic { source: MicUse::None });
    assert!(matches!(events(&rig.tell(Command::EchoTest))[..], [Event::Error { .. }]));
}

#[test]
fn an_echo_test_that_never_ends_is_ended() {
    let mut rig = Rig::in_call();
    rig.tell(Command::EchoTest);
    let effects = rig.wait(10_000);
    assert!(effects.iter().any(|e| matches!(e, Effect::Rehearse(Rehearse::Stop))), "{effects:?}");
    assert!(!rig.machine.snapshot().me.muted);
}

/// What the three bolts should be, by what was asked for.
#[derive(Debug, Default)]
struct Bolts {
    button: bool,
    push_to_talk: bool,
    held: bool,
    testing: Option<Instant>,
}

fn nth_input(n: u8) -> Input {
    let command = |command| Input::Command(command);
    match n {
        0 | 1 => command(Command::Mute { on: n == 0 }),
        2 | 3 => command(Command::PushToTalk { on: n == 2 }),
        4 | 5 => command(Command::Talk { on: n == 4 }),
        6 => command(Command::EchoTest),
        7 => command(Command::StopTest),
        8 => Input::Rehearsal(Rehearsal::Over),
        9 => Input::Rehearsal(Rehearsal::Recording { left: 3 }),
        10 => command(Command::Leave),
        11 => join(),
        12 => welcome("a", &["b"], true),
        13 => Input::ServerLost { why: "x".into() },
        14 => Input::End(EndReport::MicLost { why: "x".into() }),
        15 => Input::End(EndReport::MicOpened { source: MicUse::Tone, name: "tone".into() }),
        _ => Input::Tick,
    }
}

impl Bolts {
    fn follow(&mut self, n: u8, rig: &Rig) {
        let testing_for = self.testing.map(|since| rig.now.duration_since(since));
        match n {
            0 | 1 => self.button = n == 0,
            2 | 3 => (self.push_to_talk, self.held) = (n == 2, false),
            4 | 5 => self.held = n == 4 && self.push_to_talk,
            6 if rig.machine.snapshot().me.mic_live => self.testing = Some(rig.now),
            7 | 11 => self.testing = None,
            8 if testing_for.is_some_and(|time| time >= TEST_LEAST) => self.testing = None,
            16.. if testing_for.is_some_and(|time| time >= TEST_MOST) => self.testing = None,
            _ => {}
        }
    }
}

proptest! {
    /// Whatever happens: the slots are shut when any bolt is, and the others were told what is so.
    #[test]
    fn what_is_told_is_the_gate(inputs in prop::collection::vec((0..20u8, 0..4u64), 1..100)) {
        let mut rig = Rig::new();
        let (mut shut, mut told, mut bolts) = (false, None, Bolts::default());
        for (n, seconds) in inputs {
            rig.now += Duration::from_secs(seconds);
            bolts.follow(n, &rig);
            for effect in rig.on(nth_input(n)) {
                match effect {
                    Effect::SetMuted(on) => shut = on,
                    Effect::Connect(Hello { audio, .. }) | Effect::Announce { audio, .. } => told = Some(audio),
                    Effect::Disconnect => told = None,
                    _ => {}
                }
            }
            let me = &rig.machine.snapshot().me;
            let by_hand = bolts.button || (bolts.push_to_talk && !bolts.held);
            prop_assert_eq!(me.muted, shut);
            prop_assert!(shut || !by_hand, "open though {:?}", bolts);
            if rig.machine.in_room() {
                prop_assert_eq!(shut, by_hand || bolts.testing.is_some(), "{:?}", bolts);
            }
            if let Some(audio) = told {
                prop_assert_eq!(audio, !shut && me.mic_live);
            }
        }
    }
}
