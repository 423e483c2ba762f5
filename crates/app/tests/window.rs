//! The window clicked through, by the labels that a screen reader would read, over snapshots made by hand.
#![allow(clippy::unwrap_used, reason = "tests")]

use app::settings::Settings;
use app::ui::{View, theme};
use call::{About, ChatLine, Command, Connection, Devices, Participant, Phase, Problem, Snapshot, Stats};
use eframe::egui::{Event, Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use media::{CameraUse, DeviceInfo, Frame, I420, MicUse};
use std::sync::Arc;
use std::time::Instant;

/// The view, what it draws, and what came out of it.
struct Stage {
    view: View,
    snapshot: Snapshot,
    said: Vec<Command>,
}

impl Stage {
    fn said(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.said)
    }
}

fn window(snapshot: Snapshot) -> Harness<'static, Stage> {
    sized(snapshot, 1120.0, 680.0)
}

fn sized(snapshot: Snapshot, width: f32, height: f32) -> Harness<'static, Stage> {
    let settings = Settings { name: "Ann".into(), room: "tea".into(), ..Settings::default() };
    let stage = Stage { view: View::new(&settings, None), snapshot, said: Vec::new() };
    let draw = |ui: &mut eframe::egui::Ui, stage: &mut Stage| {
        let said = stage.view.ui(ui, &stage.snapshot);
        stage.said.extend(said);
    };
    let mut harness = Harness::builder()
        .with_size([width, height])
        .with_context_setup(theme::apply)
        .build_ui_state(draw, stage);
    harness.run();
    harness
}

fn lobby() -> Snapshot {
    let device = |id: &str, name: &str| DeviceInfo { id: id.into(), name: name.into(), default: false };
    let devices = Devices {
        cameras: vec![device("/dev/video0", "Front camera"), device("/dev/video2", "Desk camera")],
        mics: vec![device("mic-1", "Headset")],
        speakers: Vec::new(),
    };
    let mut snapshot = Snapshot { devices, ..Snapshot::default() };
    (snapshot.me.camera_live, snapshot.me.mic_live) = (true, true);
    snapshot
}

fn participant(id: &str, name: &str) -> Participant {
    Participant {
        id: serde_json::from_value(id.into()).unwrap(),
        name: name.into(),
        muted: false,
        camera_off: false,
        away: false,
        connection: Connection::Connected,
        view: media::Slot::default(),
        stats: None,
        quality: None,
        reason: None,
        lost_for: None,
        history: Arc::default(),
    }
}

fn room(participants: Vec<Participant>) -> Snapshot {
    let phase = Phase::InRoom { room: "tea".into(), link: "http://10.0.0.5:8787/tea".into() };
    Snapshot { phase, participants, ..lobby() }
}

fn frame(width: u32, height: u32) -> Frame {
    Frame { image: Arc::new(I420::black(width, height)), captured: Instant::now() }
}

fn click(window: &mut Harness<'_, Stage>, label: &str) -> Vec<Command> {
    window.get_by_label(label).click();
    window.run();
    window.state_mut().said()
}

fn join(server: &str, room: &str, name: &str) -> Command {
    Command::Join { server: server.into(), room: room.into(), name: name.into() }
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
    let mut window = window(Snapshot { phase: Phase::Joining { room: "tea".into() }, ..lobby() });
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
    (me.muted, me.camera_off) = (true, true);
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
