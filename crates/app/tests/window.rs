//! The window clicked through, by the labels that a screen reader would read, over snapshots made by hand.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "window/stage.rs"]
mod stage;

use call::history::{History, Sample};
use call::stats::Path;
use call::{
    About, ChatLine, Command, Connection, Participant, Password, Phase, Problem, Quality, Reason, Stats,
};
use eframe::egui::{Event, Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use media::{CameraUse, Frame, I420, MicUse};
use stage::{Stage, click, lobby, participant, room, sized, window};
use std::sync::Arc;
use std::time::Instant;

fn frame(width: u32, height: u32) -> Frame {
    Frame { image: Arc::new(I420::black(width, height)), captured: Instant::now() }
}

fn join(server: &str, room: &str, name: &str) -> Command {
    let password = Password::default();
    Command::Join { server: server.into(), room: room.into(), name: name.into(), password }
}

#[test]
fn join_yields_exactly_that_command() {
    let mut window = window(lobby());
    assert_eq!(window.state_mut().said(), []);
    assert_eq!(click(&mut window, "Join"), [join("", "tea", "Ann")]);
}

fn retype(window: &mut Harness<'_, Stage>, label: &str, text: &str) {
    let field = window.get_by_role_and_label(eframe::egui::accesskit::Role::TextInput, label);
    field.focus();
    window.run();
    window.key_press_modifiers(Modifiers::COMMAND, Key::A);
    window.event(Event::Text(text.into()));
    window.run();
}

#[test]
fn what_is_typed_is_what_is_joined() {
    let mut window = window(lobby());
    retype(&mut window, "Your name", "Ben v M");
    retype(&mut window, "Room", "den");
    retype(&mut window, "Server", "call.example");
    assert_eq!(window.state_mut().said(), [], "letters in a field are no keys");
    assert_eq!(click(&mut window, "Join"), [join("https://call.example", "den", "Ben v M")]);
    retype(&mut window, "Room", "http://10.0.0.2:8787/Tea%20time");
    assert_eq!(click(&mut window, "Join"), [join("http://10.0.0.2:8787", "Tea time", "Ben v M")]);
    retype(&mut window, "Room", "https://nothing");
    assert_eq!(click(&mut window, "Join"), []);
    assert!(window.query_by_label_contains("names no room").is_some());
}

#[test]
fn enter_in_the_room_field_joins() {
    let mut window = window(lobby());
    retype(&mut window, "Room", "den");
    window.key_press(Key::Enter);
    window.run();
    assert_eq!(window.state_mut().said(), [join("", "den", "Ann")]);
}

#[test]
fn devices_are_chosen_from_the_menus() {
    let mut window = window(lobby());
    window.get_by_role_and_label(eframe::egui::accesskit::Role::ComboBox, "Camera").click();
    window.run();
    let chosen = click(&mut window, "Desk camera");
    assert_eq!(chosen, [Command::Camera { source: CameraUse::Device("/dev/video2".into()) }]);
    window.get_by_role_and_label(eframe::egui::accesskit::Role::ComboBox, "Microphone").click();
    window.run();
    assert_eq!(click(&mut window, "None"), [Command::Mic { source: MicUse::None }]);
}

#[test]
fn while_joining_one_can_only_cancel() {
    let mut window = window(call::Snapshot { phase: Phase::Joining { room: "tea".into() }, ..lobby() });
    assert!(window.query_by_label("Join").is_none());
    assert!(window.query_by_label_contains("Joining tea").is_some());
    assert_eq!(click(&mut window, "Cancel"), [Command::Leave]);
}

#[test]
fn the_buttons_say_what_they_will_do() {
    let mut window = window(room(vec![participant("b", "Ben")]));
    assert_eq!(click(&mut window, "Mute (M)"), [Command::Mute { on: true }]);
    assert_eq!(click(&mut window, "Camera off (V)"), [Command::CameraOff { on: true }]);
    let me = &mut window.state_mut().snapshot.me;
    (me.muted, me.sound.mute_button, me.camera_off) = (true, true, true);
    window.run();
    assert_eq!(click(&mut window, "Unmute (M)"), [Command::Mute { on: false }]);
    assert_eq!(click(&mut window, "Camera on (V)"), [Command::CameraOff { on: false }]);
    assert!(window.query_by_label("You, muted, camera off").is_some());
    assert_eq!(click(&mut window, "Leave (Ctrl+W)"), [Command::Leave]);
}

#[test]
fn the_keys_do_what_the_buttons_do() {
    let mut window = window(room(Vec::new()));
    window.key_press(Key::M);
    window.run();
    window.key_press(Key::V);
    window.run();
    window.key_press_modifiers(Modifiers::COMMAND, Key::W);
    window.run();
    let said = window.state_mut().said();
    assert_eq!(said, [Command::Mute { on: true }, Command::CameraOff { on: true }, Command::Leave]);
}

#[test]
fn problems_can_be_acted_on_and_put_away() {
    let mut snapshot = room(vec![participant("b", "Ben")]);
    let text = "Front camera is in use by another program: close that program, or choose another one";
    snapshot.problems = vec![
        Problem { id: 7, about: About::Camera, text: text.into() },
        Problem { id: 9, about: About::Connection, text: "No way to Ben was found".into() },
    ];
    let mut window = window(snapshot);
    assert!(window.query_by_label(text).is_some());
    assert_eq!(click(&mut window, "Try again"), [Command::RestartIce]);
    window.get_all_by_label("Dismiss").next().unwrap().click();
    window.run();
    assert_eq!(window.state_mut().said(), [Command::Dismiss { problem: 7 }]);
    assert_eq!(click(&mut window, "Choose another"), []);
    window.get_by_role_and_label(eframe::egui::accesskit::Role::ComboBox, "Camera").click();
    window.run();
    let chosen = click(&mut window, "Desk camera");
    assert_eq!(chosen, [Command::Camera { source: CameraUse::Device("/dev/video2".into()) }]);
    window.state_mut().snapshot.problems.clear();
    window.run();
    assert!(window.query_by_label(text).is_none());
}

#[test]
fn tiles_tell_who_is_muted_and_how_the_connection_is() {
    let ben = Participant { muted: true, ..participant("b", "Ben") };
    let eve = Participant { camera_off: true, connection: Connection::Failed, ..participant("c", "Eve") };
    let window = window(room(vec![ben, eve]));
    assert!(window.query_by_label("Ben, muted").is_some());
    assert!(window.query_by_label("Eve, camera off, No connection").is_some());
    assert!(window.query_by_label("3 people").is_some());
}

#[test]
fn tiles_are_marked_by_how_good_the_call_is_and_why() {
    let with = |id: &str, name: &str, quality, reason| Participant {
        quality: Some(quality),
        reason,
        lost_for: (quality == Quality::Lost).then_some(4),
        ..participant(id, name)
    };
    let people = vec![
        with("b", "Ben", Quality::Good, None),
        with("c", "Eve", Quality::Poor, Some(Reason::Loss)),
        with("d", "Fay", Quality::Lost, Some(Reason::Silence)),
        with("e", "Gus", Quality::Good, Some(Reason::TheirSide)),
        participant("f", "Hal"),
    ];
    let window = window(room(people));
    for label in [
        "Ben",
        "Ben: Good connection",
        "Eve, Packets are lost on the way",
        "Eve: Poor connection. Packets are lost on the way",
        "Fay, Connection lost, trying again (4 s)",
        "Fay: Connection lost",
        "Gus, Their picture is reduced on their side",
        "Gus: Good connection. Their picture is reduced on their side",
        "Hal",
    ] {
        assert!(window.query_by_label(label).is_some(), "{label}");
    }
    assert!(window.query_by_label_contains("Hal:").is_none(), "no mark before media could flow");
}

#[test]
fn what_is_being_done_about_a_lost_path_is_said() {
    let ben = Participant {
        quality: Some(Quality::Lost),
        connection: Connection::Restarting,
        lost_for: Some(12),
        ..participant("b", "Ben")
    };
    let mut window = window(room(vec![ben]));
    assert!(window.query_by_label("Ben, Looking for a new path (12 s)").is_some());
    let stage = window.state_mut();
    stage.snapshot.participants[0].connection = Connection::Disconnected;
    stage.snapshot.phase = Phase::Reconnecting { room: "tea".into(), link: "http://h/tea".into() };
    window.run();
    let label = "Ben, Connection lost, and the server's too: trying again (12 s)";
    assert!(window.query_by_label(label).is_some());
}

#[test]
fn what_limits_us_stands_with_ourselves_and_once() {
    let limited = |id: &str, name: &str| Participant {
        quality: Some(Quality::Poor),
        reason: Some(Reason::Suspended),
        ..participant(id, name)
    };
    let text = "Your picture is paused: the connection carries sound only";
    let mut window = window(room(vec![limited("b", "Ben"), participant("c", "Eve")]));
    assert!(window.query_by_label(text).is_none());
    assert!(window.query_by_label(&format!("Ben, {text}")).is_some(), "to Ben alone");
    window.state_mut().snapshot.me.limit = Some(Reason::Suspended);
    window.run();
    assert!(window.query_by_label(text).is_some());
    assert!(window.query_by_label("Ben").is_some(), "to everybody");
}

/// Somebody whose minute was full.
fn measured(id: &str, name: &str) -> Participant {
    let mut stats =
        Stats { current_round_trip_time: Some(0.021), path: Some(Path::Direct), ..Stats::default() };
    (stats.inbound_video.frame_width, stats.inbound_video.frame_height) = (1280, 720);
    stats.inbound_video.frames_per_second = 30.0;
    let mut history = History::default();
    for second in 0..60_u8 {
        let sent = 1e6 + 1e4 * f32::from(second);
        history.push(Sample { sent, target: 2e6, received: 1.24e6, ..Sample::default() });
    }
    Participant { stats: Some(Arc::new(stats)), history: Arc::new(history), ..participant(id, name) }
}

#[test]
fn one_key_shows_the_statistics_and_hides_them() {
    let mut window = window(room(vec![measured("b", "Ben")]));
    assert!(window.query_by_label("Ben, Round trip: 21 ms").is_none());
    window.key_press(Key::S);
    window.run();
    for label in [
        "Ben, Sending: 1.59 Mbit/s of 2.00 Mbit/s",
        "Ben, Receiving: 1.24 Mbit/s",
        "Ben, Round trip: 21 ms",
        "Ben, Loss: in 0 %, out 0 %",
        "Ben, Jitter: 0 ms",
        "Ben, Delay: sound 0 ms, picture 0 ms",
        "Ben, Concealed: 0 %",
        "Ben, Freezes: none",
        "Ben, Path: direct",
        "Ben, Their picture: 1280×720",
        "Ben, Their frames: 30 a second",
        "Ben, Your picture: none",
        "Ben, Lips: not known",
    ] {
        assert!(window.query_by_label(label).is_some(), "{label}");
    }
    window.key_press(Key::S);
    window.run();
    assert!(window.query_by_label("Ben, Round trip: 21 ms").is_none());
    assert_eq!(click(&mut window, "Statistics (S)"), []);
    assert_eq!(click(&mut window, "Close statistics (S)"), []);
    assert!(window.query_by_label("Ben, Round trip: 21 ms").is_none());
    assert!(!window.ctx.has_requested_repaint(), "nothing moves by itself");
}

#[test]
fn statistics_of_many_scroll_and_cover_no_button() {
    for (width, height) in [(480.0, 360.0), (1120.0, 680.0)] {
        let people = (0..6).map(|n| measured(&n.to_string(), &format!("Person {n}"))).collect();
        let mut window = sized(room(people), width, height);
        window.key_press(Key::S);
        window.run();
        let overlay = window.get_by_label("Person 0, Round trip: 21 ms").rect();
        let bar = window.get_by_label("Mute (M)").rect();
        assert!(overlay.bottom() < bar.top(), "{overlay:?} {bar:?}");
        let last = "Person 5, Lips: not known";
        window.get_by_label(last).scroll_to_me();
        window.run();
        let shown = window.get_by_label(last).rect();
        assert!(shown.bottom() < bar.top(), "{shown:?} at {width}x{height}");
        assert_eq!(click(&mut window, "Mute (M)"), [Command::Mute { on: true }]);
        assert_eq!(click(&mut window, "Leave (Ctrl+W)"), [Command::Leave]);
    }
}

#[test]
fn alone_the_link_is_at_hand() {
    let mut window = window(room(Vec::new()));
    assert!(window.query_by_label("Nobody else is here yet").is_some());
    assert_eq!(click(&mut window, "Copy link"), []);
    assert!(window.query_by_label("Copied").is_some());
    assert!(window.query_by_label("Link copied").is_some());
}

#[test]
fn chat_is_typed_and_read() {
    let mut snapshot = room(vec![participant("b", "Ben")]);
    let id = snapshot.participants[0].id.clone();
    snapshot.chat = vec![ChatLine { from: Some(id), name: "Ben".into(), text: "hello there".into() }];
    let mut window = window(snapshot);
    assert!(window.query_by_label("hello there").is_none());
    window.key_press(Key::C);
    window.run();
    assert!(window.query_by_label("hello there").is_some());
    window.event(Event::Text("me too, mv".into()));
    window.run();
    window.key_press(Key::Enter);
    window.run();
    assert_eq!(window.state_mut().said(), [Command::Chat { text: "me too, mv".into() }]);
    assert_eq!(click(&mut window, "Close"), []);
    assert!(window.query_by_label("hello there").is_none());
}

#[test]
fn a_lost_server_is_said_and_the_call_stays() {
    let mut snapshot = room(vec![participant("b", "Ben")]);
    snapshot.phase = Phase::Reconnecting { room: "tea".into(), link: "http://h/tea".into() };
    let window = window(snapshot);
    assert!(window.query_by_label_contains("The call goes on").is_some());
    assert!(window.query_by_label("Ben").is_some());
}

#[test]
fn every_size_from_smallest_to_full_hd_holds_all_buttons() {
    for (width, height) in [(480.0, 360.0), (800.0, 600.0), (1920.0, 1080.0)] {
        let people = (0..5).map(|n| participant(&n.to_string(), &format!("Person {n}"))).collect();
        let mut window = sized(room(people), width, height);
        let screen =
            eframe::egui::Rect::from_min_size(eframe::egui::Pos2::ZERO, eframe::egui::vec2(width, height));
        for label in [
            "Mute (M)",
            "Camera off (V)",
            "Devices (D)",
            "Chat (C)",
            "Statistics (S)",
            "Fullscreen (F)",
            "Leave (Ctrl+W)",
            "Person 4",
        ] {
            let rect = window.get_by_label(label).rect();
            assert!(screen.contains_rect(rect), "{label} at {width}x{height}: {rect:?}");
        }
        assert_eq!(click(&mut window, "Leave (Ctrl+W)"), [Command::Leave]);
        let mut window = sized(lobby(), width, height);
        window.get_by_label("Join").scroll_to_me();
        window.run();
        assert_eq!(click(&mut window, "Join").len(), 1, "{width}x{height}");
    }
}

#[test]
fn when_nothing_changes_nothing_is_painted_and_a_frame_wakes_the_window() {
    let ben = Participant { stats: Some(Arc::new(Stats::default())), ..participant("b", "Ben") };
    let slot = ben.view.clone();
    let mut window = window(room(vec![ben]));
    let ctx = window.ctx.clone();
    assert!(!ctx.has_requested_repaint(), "idle");
    slot.put(frame(64, 36));
    assert!(ctx.has_requested_repaint(), "a frame came");
    window.run();
    assert!(!ctx.has_requested_repaint(), "it is drawn");
    window.state().snapshot.me.view.put(frame(32, 18));
    assert!(!ctx.has_requested_repaint(), "oneself goes along with the others");
    slot.put(frame(64, 36));
    assert!(ctx.has_requested_repaint());
    window.run();
    window.state_mut().snapshot.participants.clear();
    window.run();
    window.state().snapshot.me.view.put(frame(32, 18));
    assert!(ctx.has_requested_repaint(), "alone, oneself is what moves");
}

#[test]
fn a_key_held_down_counts_once() {
    let mut window = window(room(Vec::new()));
    let press = |repeat| Event::Key {
        key: Key::M,
        physical_key: None,
        pressed: true,
        repeat,
        modifiers: Modifiers::NONE,
    };
    window.event(press(false));
    window.run();
    window.event(press(true));
    window.run();
    assert_eq!(window.state_mut().said(), [Command::Mute { on: true }]);
}
