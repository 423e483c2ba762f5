//! The door in the window: the lock, who knocks, the password, waiting.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "window/stage.rs"]
mod stage;

use call::{About, Command, Entrance, Knocker, Password, Phase, Problem, Snapshot};
use eframe::egui::{Event, Key, Modifiers, accesskit::Role};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use stage::{Stage, click, lobby, participant, room, sized, window};

fn knocker(id: &str, name: &str) -> Knocker {
    Knocker { id: serde_json::from_value(id.into()).unwrap(), name: name.into() }
}

fn hosted(entrance: Entrance) -> Snapshot {
    Snapshot { entrance: Entrance { is_ours: true, ..entrance }, ..room(vec![participant("b", "Ben")]) }
}

fn retype(window: &mut Harness<'_, Stage>, role: Role, label: &str, text: &str) {
    window.get_by_role_and_label(role, label).focus();
    window.run();
    window.key_press_modifiers(Modifiers::COMMAND, Key::A);
    window.event(Event::Text(text.into()));
    window.run();
}

#[test]
fn whoever_knocks_is_let_in_or_not_by_one_click() {
    let knocks = vec![knocker("c", "Cy"), knocker("d", "Di")];
    let mut window = window(hosted(Entrance { knock: true, knocks, ..Entrance::default() }));
    assert!(window.query_by_label("Cy wants to come in").is_some());
    let id = |id: &str| serde_json::from_value(id.into()).unwrap();
    assert_eq!(click(&mut window, "Let Di in"), [Command::Admit { id: id("d") }]);
    assert_eq!(click(&mut window, "Do not let Cy in"), [Command::Refuse { id: id("c") }]);
    window.state_mut().snapshot.entrance.knocks.clear();
    window.run();
    assert!(window.query_by_label("Cy wants to come in").is_none());
}

#[test]
fn many_who_knock_cover_no_button() {
    for (width, height) in [(480.0, 360.0), (1120.0, 680.0)] {
        let knocks = (0..16).map(|n| knocker(&n.to_string(), &"W".repeat(64))).collect();
        let mut window =
            sized(hosted(Entrance { knock: true, knocks, ..Entrance::default() }), width, height);
        assert!(window.query_by_label("13 more wait").is_some());
        assert_eq!(click(&mut window, "Leave (Ctrl+W)"), [Command::Leave], "{width}x{height}");
    }
}

#[test]
fn the_host_sets_the_door() {
    let mut window = window(hosted(Entrance::default()));
    assert_eq!(click(&mut window, "Room is open (L)"), []);
    assert!(window.query_by_label("Whoever knows the room's name or link comes in.").is_some());
    let asked = click(&mut window, "Ask me before somebody comes in");
    assert_eq!(asked, [Command::Lock { password: None, knock: Some(true) }]);
    retype(&mut window, Role::PasswordInput, "Password", "earl grey");
    let password = Some(Password::new("earl grey"));
    assert_eq!(click(&mut window, "Set password"), [Command::Lock { password, knock: None }]);
    window.state_mut().snapshot.entrance.password = true;
    window.run();
    assert!(window.query_by_label("Room is shut (L)").is_some());
    let removed = click(&mut window, "Remove password");
    assert_eq!(removed, [Command::Lock { password: Some(Password::default()), knock: None }]);
    window.key_press(Key::L);
    window.run();
    assert!(window.query_by_label("Remove password").is_none(), "the key closes it");
}

#[test]
fn others_see_the_door_and_who_can_change_it() {
    let mut snapshot = room(vec![participant("b", "Ben")]);
    let host = Some(snapshot.participants[0].id.clone());
    snapshot.entrance = Entrance { host, knock: true, ..Entrance::default() };
    let mut window = window(snapshot);
    click(&mut window, "Room is shut (L)");
    assert!(window.query_by_label("Everybody knocks, and the host lets them in.").is_some());
    assert!(window.query_by_label("Ben can change that.").is_some());
    assert!(window.query_by_label("Set password").is_none());
}

#[test]
fn a_shut_room_asks_for_its_password_and_waiting_can_be_given_up() {
    let mut window = window(lobby());
    assert!(window.query_by_label("Password of the room").is_none());
    let text = "you cannot enter this room so";
    let problem = Problem { id: 1, about: About::Entry, text: text.into() };
    window.state_mut().snapshot.problems = vec![problem];
    window.run();
    assert!(window.query_by_label(text).is_some());
    retype(&mut window, Role::PasswordInput, "Password of the room", "earl grey");
    let password = Password::new("earl grey");
    let (server, room, name) = (String::new(), "tea".into(), "Ann".into());
    assert_eq!(click(&mut window, "Join"), [Command::Join { server, room, name, password }]);
    window.state_mut().snapshot.problems.clear();
    window.state_mut().snapshot.phase = Phase::Waiting { room: "tea".into() };
    window.run();
    assert!(window.query_by_label("Waiting to be let into tea…").is_some());
    assert_eq!(click(&mut window, "Cancel"), [Command::Leave]);
}
