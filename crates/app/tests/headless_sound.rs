//! Sound as chosen and tried on the command line: each command of the window has its line.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "headless/world.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod world;

use lab::mark::Colour;
use lab::tone::{power_at, read_wav};
use serde_json::{Value, json};
use std::path::Path;
use world::{Snug, World};

/// `--mic tone`.
const TONE: f32 = 440.0;

/// How much of the tone there is in the last half second of what somebody heard.
fn tone(dir: &Path) -> Option<f32> {
    let (all, rate) = read_wav(&dir.join("heard.wav")).ok()?;
    Some(power_at(&all[all.len().checked_sub(rate as usize / 2)?..], rate, TONE))
}

/// What there is of a frequency in the last three seconds of what somebody heard.
fn power_of_late(dir: &Path, hertz: f32) -> f32 {
    let (all, rate) = read_wav(&dir.join("heard.wav")).unwrap();
    power_at(&all[all.len() - rate as usize * 3..], rate, hertz)
}

/// Ann and Ben in a call in which each hears the other's tone; how the others call Ben.
fn in_call(world: &World) -> (Snug, Snug, Value) {
    let mut ann = world.person("Ann", Colour::Red, "tea").joined();
    let mut ben = world.person("Ben", Colour::Blue, "tea");
    let id = ben.event("joined")["id"].clone();
    for person in [&mut ann, &mut ben] {
        person.until("a tone", |dir| tone(dir).filter(|power| *power > 0.01));
    }
    (ann, ben, id)
}

#[test]
fn who_speaks_is_told_and_a_volume_is_obeyed() {
    let world = World::new();
    let (mut ann, mut ben, id) = in_call(&world);
    ann.event_with("speaking", |event| event["id"] == id && event["on"] == true);
    let usual = tone(&ann.dir).unwrap();
    ann.tell(&json!({ "cmd": "volume", "participant": id, "volume": 0 }));
    ann.until("silence", |dir| tone(dir).filter(|power| *power < 1e-6));
    ann.tell(&json!({ "cmd": "volume", "participant": id, "volume": 2 }));
    ann.until("twice the loudness", |dir| tone(dir).filter(|power| *power > usual * 3.0));
    ann.tell(&json!({ "cmd": "volume", "participant": "nobody", "volume": 1 }));
    assert_eq!(ann.event("error")["about"], "command");
    ben.tell(&json!({ "cmd": "mute", "on": true }));
    ann.event_with("speaking", |event| event["id"] == id && event["on"] == false);
    ann.leave();
    ben.leave();
}

#[test]
fn push_to_talk_is_told_and_heard_by_the_key() {
    let world = World::new();
    let (mut ann, mut ben, _) = in_call(&world);
    ann.tell(&json!({ "cmd": "push_to_talk", "on": true }));
    assert_eq!(ann.event("muted")["on"], true);
    ben.event_with("state", |event| event["muted"] == true);
    ben.until("silence", |dir| tone(dir).filter(|power| *power < 1e-6));
    // The tone goes on.
    assert_eq!(ann.event("muted_talk")["on"], true);
    ann.tell(&json!({ "cmd": "talk", "on": true }));
    assert_eq!(ann.event("muted")["on"], false);
    ben.event_with("state", |event| event["muted"] == false);
    ben.until("a tone", |dir| tone(dir).filter(|power| *power > 0.01));
    ann.tell(&json!({ "cmd": "talk", "on": false }));
    ben.event_with("state", |event| event["muted"] == true);
    ben.until("silence", |dir| tone(dir).filter(|power| *power < 1e-6));
    ann.leave();
    ben.leave();
}

#[test]
fn tests_and_chimes_are_for_oneself_alone() {
    let world = World::new();
    let (mut ann, mut ben, id) = in_call(&world);
    ben.tell(&json!({ "cmd": "mute", "on": true }));
    ann.event_with("state", |event| event["id"] == id && event["muted"] == true);
    ann.until("silence", |dir| tone(dir).filter(|power| *power < 1e-6));
    ann.tell(&json!({ "cmd": "echo_test" }));
    ben.event_with("state", |event| event["muted"] == true);
    for left in (1..=4).rev() {
        ann.event_with("rehearsal", |event| event["state"] == "recording" && event["left"] == left);
    }
    ben.until("silence", |dir| tone(dir).filter(|power| *power < 1e-6));
    ann.event_with("rehearsal", |event| event["state"] == "playing");
    ann.until("one's own voice", |dir| tone(dir).filter(|power| *power > 0.01));
    ann.event_with("rehearsal", |event| event["state"] == "over");
    ben.event_with("state", |event| event["muted"] == false);
    ben.until("a tone", |dir| tone(dir).filter(|power| *power > 0.01));
    ann.tell(&json!({ "cmd": "speaker_test" }));
    ann.event_with("rehearsal", |event| event["state"] == "speaker");
    ann.event_with("rehearsal", |event| event["state"] == "over");
    ann.until("the last note", |dir| Some(()).filter(|()| power_of_late(dir, 783.99) > 1e-4));
    let length = |dir: &Path| read_wav(&dir.join("heard.wav")).unwrap().0.len();
    let before = length(&ben.dir);
    ben.until("a second more", |dir| Some(()).filter(|()| length(dir) > before + 48_000));
    assert!(power_of_late(&ben.dir, 783.99) < 1e-5, "{}", power_of_late(&ben.dir, 783.99));
    ann.tell(&json!({ "cmd": "chimes", "on": true }));
    ben.leave();
    ann.event("participant_left");
    let down = |dir: &Path| {
        let (all, rate) = read_wav(&dir.join("heard.wav")).ok()?;
        let piece = all.get(all.len().checked_sub(rate as usize)?..)?;
        Some(power_at(piece, rate, 880.0)).filter(|power| *power > 1e-6)
    };
    ann.until("the chime of who leaves", down);
    ann.leave();
}
