//! The parts of the window that are about sound, clicked through by their labels.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "window/stage.rs"]
mod stage;

use call::{Command, Hint, Voice};
use eframe::egui::accesskit::Role;
use eframe::egui::{Event, Key, Modifiers, Pos2, Rect, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use media::audio::{Noise, Processing, Rehearsal};
use media::{MicUse, SpeakerUse};
use stage::{Stage, click, lobby, participant, room, sized, window};

fn key(window: &mut Harness<'_, Stage>, key: Key, pressed: bool) -> Vec<Command> {
    let event = Event::Key { key, physical_key: None, pressed, repeat: false, modifiers: Modifiers::NONE };
    window.event(event);
    window.run();
    let mut said = window.state_mut().said();
    // It is said until the engine has heard it.
    said.dedup();
    said
}

/// Clicks what may have to be scrolled to.
fn reach(window: &mut Harness<'_, Stage>, label: &str) -> Vec<Command> {
    window.get_by_label(label).scroll_to_me();
    window.run();
    click(window, label)
}

fn pick(window: &mut Harness<'_, Stage>, menu: &str, what: &str) -> Vec<Command> {
    window.get_by_role_and_label(Role::ComboBox, menu).scroll_to_me();
    window.run();
    window.get_by_role_and_label(Role::ComboBox, menu).click();
    window.run();
    click(window, what)
}

#[test]
fn processing_is_chosen_and_music_leaves_none_of_it() {
    let mut window = window(lobby());
    reach(&mut window, "Sound and privacy");
    let usual = Processing::default();
    let chosen = |processing| vec![Command::Processing { processing }];
    let said = reach(&mut window, "Echo cancellation");
    assert_eq!(said, chosen(Processing { echo: false, ..usual }));
    assert_eq!(reach(&mut window, "Automatic gain"), chosen(Processing { gain: false, ..usual }));
    let said = pick(&mut window, "Noise suppression", "High");
    assert_eq!(said, chosen(Processing { noise: Noise::High, ..usual }));
    assert_eq!(reach(&mut window, "Music mode"), chosen(Processing { music: true, ..usual }));
    window.state_mut().snapshot.me.sound.processing.music = true;
    window.run();
    assert_eq!(reach(&mut window, "Echo cancellation"), [], "there is nothing to choose");
    assert_eq!(reach(&mut window, "Music mode"), chosen(usual));
}

#[test]
fn the_key_of_push_to_talk_talks_while_it_is_held() {
    let mut window = window(room(vec![participant("b", "Ben")]));
    assert_eq!(key(&mut window, Key::Space, true), [], "it is not on");
    key(&mut window, Key::Space, false);
    click(&mut window, "Devices (D)");
    assert_eq!(reach(&mut window, "Push to talk"), [Command::PushToTalk { on: true }]);
    let me = &mut window.state_mut().snapshot.me;
    (me.sound.push_to_talk, me.muted) = (true, true);
    window.run();
    assert!(window.query_by_label("Mute (M); hold Space to talk").is_some());
    assert!(window.query_by_label("You, muted").is_some());
    assert_eq!(key(&mut window, Key::Space, true), [Command::Talk { on: true }]);
    let me = &mut window.state_mut().snapshot.me;
    (me.sound.talking, me.muted) = (true, false);
    window.run();
    assert_eq!(window.state_mut().said(), []);
    assert_eq!(key(&mut window, Key::Space, false), [Command::Talk { on: false }]);
    window.state_mut().snapshot.me.sound.talking = false;
    window.run();
    assert_eq!(click(&mut window, "Mute (M); hold Space to talk"), [Command::Mute { on: true }]);
    assert_eq!(pick(&mut window, "Hold to talk", "B"), []);
    assert_eq!(key(&mut window, Key::Space, true), []);
    assert_eq!(key(&mut window, Key::B, true), [Command::Talk { on: true }]);
}

#[test]
fn a_key_is_let_go_when_the_window_loses_the_keyboard_and_is_none_while_one_types() {
    let mut snapshot = room(vec![participant("b", "Ben")]);
    snapshot.me.sound.push_to_talk = true;
    let mut window = window(snapshot);
    assert_eq!(key(&mut window, Key::Space, true), [Command::Talk { on: true }]);
    window.state_mut().snapshot.me.sound.talking = true;
    window.event(Event::WindowFocused(false));
    window.run();
    assert_eq!(window.state_mut().said().first(), Some(&Command::Talk { on: false }));
    window.state_mut().snapshot.me.sound.talking = false;
    window.event(Event::WindowFocused(true));
    window.run();
    window.state_mut().said();
    window.key_press(Key::C);
    window.run();
    assert_eq!(key(&mut window, Key::Space, true), [], "a space in the chat");
}

#[test]
fn the_held_key_presses_no_button() {
    let mut snapshot = room(vec![participant("b", "Ben")]);
    (snapshot.me.sound.push_to_talk, snapshot.me.sound.talking) = (true, false);
    let mut window = window(snapshot);
    window.get_by_label("Leave (Ctrl+W)").focus();
    window.run();
    assert_eq!(key(&mut window, Key::Space, true), [Command::Talk { on: true }]);
}

#[test]
fn whoever_speaks_is_marked() {
    let mut snapshot = room(vec![participant("b", "Ben"), participant("c", "Eve")]);
    let ids: Vec<_> = snapshot.participants.iter().map(|them| them.id.clone()).collect();
    snapshot.voices.insert(ids[0].clone(), Voice { speaking: true, ..Voice::default() });
    snapshot.me.sound.speaking = true;
    let mut window = window(snapshot);
    for label in ["Ben, speaking", "Eve", "You, speaking"] {
        assert!(window.query_by_label(label).is_some(), "{label}");
    }
    let snapshot = &mut window.state_mut().snapshot;
    (snapshot.me.muted, snapshot.participants[0].muted) = (true, true);
    window.run();
    for label in ["Ben, muted", "You, muted"] {
        assert!(window.query_by_label(label).is_some(), "{label}");
    }
}

#[test]
fn a_volume_is_set_by_the_tile_and_by_the_panel() {
    let mut window = window(room(vec![participant("b", "Ben"), participant("c", "Eve")]));
    let id = window.state().snapshot.participants[0].id.clone();
    let quiet = [Command::Volume { participant: id.clone(), volume: 0.35 }];
    assert!(window.query_by_label("Volume of Ben").is_none());
    window.get_by_label("Ben").click();
    window.run();
    let slider = window.get_by_role_and_label(Role::Slider, "Volume of Ben");
    assert!(slider.rect().width() > 150.0, "wide enough for a hand: {:?}", slider.rect());
    slider.set_value_accesskit(35.0);
    window.run();
    assert_eq!(window.state_mut().said(), quiet);
    window.state_mut().snapshot.voices.insert(id, Voice { speaking: true, volume: 0.35 });
    window.run();
    assert!(window.query_by_label("Ben, speaking, volume 35 %").is_some());
    window.key_press(Key::Escape);
    window.run();
    assert!(window.query_by_label("Volume of Ben").is_none());
    click(&mut window, "Devices (D)");
    let slider = window.get_by_role_and_label(Role::Slider, "Volume of Ben");
    assert_eq!(slider.accesskit_node().numeric_value(), Some(35.0));
    slider.set_value_accesskit(200.0);
    window.run();
    let said = window.state_mut().said();
    assert!(matches!(said[..], [Command::Volume { volume: 2.0, .. }]), "{said:?}");
    assert!(window.query_by_role_and_label(Role::Slider, "Volume of Eve").is_some());
}

#[test]
fn tests_of_speaker_and_microphone_count_and_can_be_ended() {
    let mut window = window(lobby());
    assert_eq!(click(&mut window, "Test the speaker"), [Command::SpeakerTest]);
    assert_eq!(click(&mut window, "Echo test"), [Command::EchoTest]);
    for (step, label) in [
        (Rehearsal::Speaker, "Playing…"),
        (Rehearsal::Recording { left: 4 }, "Speak… 4"),
        (Rehearsal::Playing { left: 2 }, "Listen… 2"),
    ] {
        window.state_mut().snapshot.me.sound.rehearsal = Some(step);
        window.run();
        assert_eq!(click(&mut window, label), [Command::StopTest]);
    }
    let me = &mut window.state_mut().snapshot.me;
    (me.sound.rehearsal, me.mic) = (None, MicUse::None);
    window.run();
    assert_eq!(click(&mut window, "Echo test"), [], "without a microphone");
    assert_eq!(click(&mut window, "Test the speaker"), [Command::SpeakerTest]);
    window.state_mut().snapshot.me.speaker = SpeakerUse::None;
    window.run();
    assert_eq!(click(&mut window, "Test the speaker"), [], "without a speaker");
}

#[test]
fn chimes_can_be_had_or_not() {
    let mut window = window(lobby());
    reach(&mut window, "Sound and privacy");
    assert_eq!(reach(&mut window, "Sounds when people come and go"), [Command::Chimes { on: true }]);
    window.state_mut().snapshot.me.sound.chimes = true;
    window.run();
    assert_eq!(reach(&mut window, "Sounds when people come and go"), [Command::Chimes { on: false }]);
}

#[test]
fn one_may_go_by_relays_alone_and_is_told_what_that_means() {
    let mut window = window(lobby());
    reach(&mut window, "Sound and privacy");
    assert_eq!(reach(&mut window, "Relay only"), [Command::RelayOnly { on: true }]);
    window.state_mut().snapshot.me.relay_only = true;
    window.run();
    assert_eq!(reach(&mut window, "Relay only"), [Command::RelayOnly { on: false }]);
}

#[test]
fn a_silent_microphone_is_told_before_the_call_and_in_it_and_the_word_goes_by_itself() {
    for in_call in [false, true] {
        let snapshot = if in_call { room(vec![participant("b", "Ben")]) } else { lobby() };
        let mut window = window(snapshot);
        assert!(window.query_by_label_contains("No sound comes").is_none());
        window.state_mut().snapshot.me.sound.hint = Some(Hint::SilentMic);
        window.run();
        for why in ["muted in the system", "the wrong one", "not be allowed"] {
            assert!(window.query_by_label_contains(why).is_some(), "{why}");
        }
        if in_call {
            assert_eq!(click(&mut window, "Choose another"), []);
            assert!(window.query_by_role_and_label(Role::ComboBox, "Microphone").is_some());
        }
        window.state_mut().snapshot.me.sound.hint = None;
        window.run();
        assert!(window.query_by_label_contains("No sound comes").is_none());
    }
}

#[test]
fn who_talks_while_muted_is_told_what_to_press() {
    let mut snapshot = room(vec![participant("b", "Ben")]);
    (snapshot.me.muted, snapshot.me.sound.mute_button) = (true, true);
    snapshot.me.sound.hint = Some(Hint::MutedTalk);
    let mut window = window(snapshot);
    assert!(window.query_by_label("You are muted: press M").is_some());
    let sound = &mut window.state_mut().snapshot.me.sound;
    (sound.mute_button, sound.push_to_talk) = (false, true);
    window.run();
    assert!(window.query_by_label("You are muted: hold Space to talk").is_some());
}

#[test]
fn the_meter_goes_on_while_muted_and_says_so() {
    let mut snapshot = lobby();
    snapshot.me.sound.level = 0.1;
    let mut window = window(snapshot);
    let value =
        |window: &Harness<'_, Stage>, label| window.get_by_label(label).accesskit_node().numeric_value();
    assert!(value(&window, "Microphone level").is_some_and(|share| share > 0.5));
    window.state_mut().snapshot.me.muted = true;
    window.run();
    assert!(value(&window, "Microphone level, muted").is_some_and(|share| share > 0.5));
}

#[test]
fn at_every_size_all_of_it_is_within_reach() {
    for (width, height) in [(480.0, 360.0), (1280.0, 760.0)] {
        let screen = Rect::from_min_size(Pos2::ZERO, vec2(width, height));
        let mut snapshot = lobby();
        snapshot.me.sound.hint = Some(Hint::SilentMic);
        let mut before = sized(snapshot, width, height);
        reach(&mut before, "Sound and privacy");
        let mut snapshot =
            room((0..5).map(|n| participant(&n.to_string(), &format!("Person {n}"))).collect());
        (snapshot.me.sound.push_to_talk, snapshot.me.sound.mute_button) = (true, true);
        snapshot.me.sound.hint = Some(Hint::MutedTalk);
        let mut inside = sized(snapshot, width, height);
        let hint = inside.get_by_label("You are muted: press M").rect();
        assert!(screen.contains_rect(hint) && hint.bottom() < inside.get_by_label("Unmute (M)").rect().top());
        click(&mut inside, "Devices (D)");
        for window in [&mut before, &mut inside] {
            for label in ["Test the speaker", "Echo test", "Music mode", "Sounds when people come and go"] {
                window.get_by_label(label).scroll_to_me();
                window.run();
                let rect = window.get_by_label(label).rect();
                assert!(screen.contains_rect(rect), "{label} at {width}x{height}: {rect:?}");
            }
        }
    }
}
