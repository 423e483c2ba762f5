//! A made world of devices, and a virtual clock.

use super::*;
use crate::audio::watch::Seen;
use std::sync::{Arc, Mutex};

/// What opening each device gives: its life, or an error.
type World = Arc<Mutex<Vec<(&'static str, Result<u32, DeviceError>)>>>;

#[derive(Clone, Debug)]
struct TestUse {
    choice: MicUse,
    world: World,
}

impl PartialEq for TestUse {
    fn eq(&self, other: &Self) -> bool {
        self.choice == other.choice
    }
}

// All openers of a test share the world of its thread, for `default` has none of its own.
std::thread_local! {
    static WORLD: World = World::default();
}

impl Choice for TestUse {
    fn nothing(&self) -> Option<&'static str> {
        self.choice.nothing()
    }

    fn device(&self) -> Option<&str> {
        Choice::device(&self.choice)
    }

    fn default() -> Self {
        Self { choice: MicUse::Default, world: WORLD.with(Clone::clone) }
    }
}

struct End {
    id: Option<String>,
    gives: bool,
}

impl Named for End {
    fn name(&self) -> String {
        self.id.clone().unwrap_or("file".into())
    }

    fn device(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn gave(&self) -> bool {
        self.gives
    }
}

fn open(wanted: &TestUse, _: &Thread) -> Result<Box<End>, DeviceError> {
    let world = wanted.world.lock().unwrap();
    let missing = || DeviceError::NotFound { what: "it".into() };
    let found = match &wanted.choice {
        MicUse::Default => world.first(),
        MicUse::Device(name) => world.iter().find(|(id, _)| id == name),
        _ => return Ok(Box::new(End { id: None, gives: true })),
    };
    let (id, result) = found.ok_or_else(missing)?;
    result.clone().map(|_| Box::new(End { id: Some((*id).into()), gives: *id != "mute" }))
}

struct Rig {
    opener: Opener<TestUse, End>,
    start: Instant,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        let nothing = TestUse { choice: MicUse::None, world: World::default() };
        let (opener, now) = (Opener::new("mic", nothing, open, std::thread::current()), Instant::now());
        Self { opener, start: now, now }
    }

    /// The devices that there are from now on; the first is the default.
    fn world(&mut self, devices: &[(&'static str, u32)]) -> Vec<String> {
        let all = devices.iter().map(|(id, life)| (*id, Ok(*life))).collect();
        WORLD.with(|world| *world.lock().unwrap() = all);
        let seen = |(id, life): &(&str, u32)| Seen { id: (*id).into(), name: (*id).into(), life: *life };
        let side = Side {
            default: devices.first().map(|(id, _)| (*id).into()),
            devices: devices.iter().map(seen).collect(),
        };
        let change = self.opener.news(side, self.now);
        let mut said: Vec<String> = change.into_iter().map(tell).collect();
        said.extend(self.settle());
        said
    }

    fn breaks(&mut self, id: &'static str, error: DeviceError) {
        WORLD.with(|world| {
            world.lock().unwrap().iter_mut().filter(|(one, _)| *one == id).for_each(|(_, result)| {
                *result = Err(error.clone());
            });
        });
    }

    fn choose(&mut self, choice: MicUse) -> Vec<String> {
        let world = WORLD.with(Clone::clone);
        self.opener.choose(TestUse { choice, world }, self.now);
        self.settle()
    }

    fn device(&mut self, id: &str) -> Vec<String> {
        self.choose(MicUse::Device(id.into()))
    }

    /// Runs until nothing is under way and nothing due; what was said.
    fn settle(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            said.extend(self.opener.poll(self.now).map(tell));
            if self.opener.opening.is_some() {
                // The job unparks this thread when it is done.
                std::thread::park_timeout(Duration::from_millis(100));
            } else if self.opener.retry_at.is_none_or(|at| at > self.now) {
                return said;
            }
        }
    }

    fn later(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        self.settle()
    }

    fn in_use(&mut self) -> String {
        self.opener.current().map_or("nothing".into(), |end| end.name())
    }
}

fn tell(change: Change<TestUse>) -> String {
    match change {
        Change::Opened(wanted, name) => format!("opened {} for {}", name, wanted.choice),
        Change::Failed(wanted, _) => format!("failed {}", wanted.choice),
        Change::Lost(wanted, _) => format!("lost {}", wanted.choice),
        Change::FellBack(wanted, name, _) => format!("{} for lack of {}", name, wanted.choice),
    }
}

const NONE: [&str; 0] = [];

#[test]
fn the_default_is_followed() {
    let mut rig = Rig::new();
    assert_eq!(rig.world(&[("a", 1), ("b", 2)]), NONE);
    assert_eq!(rig.choose(MicUse::Default), ["opened a for default"]);
    assert_eq!(rig.world(&[("b", 2), ("a", 1)]), ["opened b for default"]);
    assert_eq!(rig.world(&[("b", 2), ("c", 3)]), NONE, "what is not in use may come and go");
    assert_eq!(rig.world(&[("c", 3)]), ["opened c for default"], "unplugged, and another one took its place");
    assert_eq!(rig.world(&[]), ["lost default", "failed default"]);
    assert_eq!((rig.later(2), rig.later(2)), (vec![], vec![]), "once is enough");
    assert_eq!(rig.world(&[("a", 4)]), ["opened a for default"]);
    assert_eq!(rig.now, rig.start + Duration::from_secs(4), "nothing but the two vain retries took time");
}

#[test]
fn a_device_that_goes_has_the_default_in_its_place_until_it_is_back() {
    let mut rig = Rig::new();
    rig.world(&[("a", 1), ("b", 2)]);
    assert_eq!(rig.device("b"), ["opened b for b"]);
    assert_eq!(rig.world(&[("a", 1)]), ["lost b", "a for lack of b"]);
    assert_eq!(rig.world(&[("c", 3), ("a", 1)]), ["c for lack of b"], "the default is followed meanwhile");
    assert_eq!(rig.world(&[]), ["lost default"]);
    assert_eq!(rig.in_use(), "nothing");
    assert_eq!(rig.world(&[("a", 5)]), ["a for lack of b"]);
    assert_eq!(rig.world(&[("a", 5), ("b", 6)]), ["opened b for b"]);
    assert_eq!(rig.now, rig.start, "all at once");
}

#[test]
fn a_device_that_was_away_from_the_beginning_is_taken_when_it_comes() {
    let mut rig = Rig::new();
    rig.world(&[("a", 1)]);
    assert_eq!(rig.device("b"), ["a for lack of b"]);
    assert_eq!(rig.later(10), NONE);
    assert_eq!(rig.world(&[("a", 1), ("b", 2)]), ["opened b for b"]);
    // Once there is a device in use, one that cannot be opened is refused instead.
    assert_eq!(rig.device("c"), ["failed c"]);
    assert_eq!((rig.later(2), rig.in_use()), (vec![], "b".into()));
}

#[test]
fn a_vain_choice_changes_nothing_about_the_one_that_is_waited_for() {
    let mut rig = Rig::new();
    rig.world(&[("a", 1)]);
    rig.device("b");
    assert_eq!(rig.device("c"), ["failed c"]);
    assert_eq!(rig.in_use(), "a");
    assert_eq!(rig.world(&[("a", 1), ("b", 2)]), ["opened b for b"]);
}

#[test]
fn nothing_at_all_is_said_once_and_tried_again() {
    let mut rig = Rig::new();
    rig.world(&[]);
    assert_eq!(rig.device("b"), ["failed b"]);
    assert_eq!((rig.later(2), rig.later(2)), (vec![], vec![]));
    assert_eq!(rig.world(&[("a", 1)]), ["a for lack of b"]);
}

#[test]
fn a_device_that_returns_under_its_name_is_opened_anew() {
    let mut rig = Rig::new();
    rig.world(&[("a", 1), ("b", 2)]);
    rig.device("b");
    assert_eq!(rig.world(&[("a", 1), ("b", 3)]), ["opened b for b"]);
    assert_eq!(rig.world(&[("a", 1), ("b", 3)]), NONE);
}

#[test]
fn a_stream_that_stops_is_opened_anew_and_else_replaced() {
    let mut rig = Rig::new();
    rig.world(&[("a", 1), ("b", 2)]);
    rig.device("b");
    let stopped = DeviceError::Lost { what: "b".into(), why: "silence".into() };
    assert_eq!(rig.opener.lost(stopped.clone(), rig.now).map(tell).as_deref(), Some("lost b"));
    assert_eq!(rig.settle(), ["opened b for b"]);
    rig.breaks("b", stopped.clone());
    rig.opener.lost(stopped, rig.now);
    assert_eq!(rig.settle(), ["a for lack of b"], "it is there, but does not work");
    assert_eq!(rig.world(&[("a", 1), ("b", 7)]), ["opened b for b"]);
}

#[test]
fn a_device_that_opens_and_gives_nothing_is_as_good_as_away_until_it_is_plugged_in_again() {
    let mut rig = Rig::new();
    rig.world(&[("a", 1), ("mute", 2)]);
    assert_eq!(rig.device("mute"), ["opened mute for mute"]);
    let silent = DeviceError::Lost { what: "mute".into(), why: "nothing came".into() };
    rig.opener.lost(silent.clone(), rig.now);
    assert_eq!(rig.settle(), ["opened mute for mute"], "it is given a second chance");
    rig.opener.lost(silent.clone(), rig.now);
    assert_eq!(rig.settle(), ["a for lack of mute"]);
    assert_eq!(rig.later(60), NONE);
    assert_eq!(rig.world(&[("a", 1), ("mute", 2), ("c", 3)]), NONE, "what else comes changes nothing");
    assert_eq!(rig.world(&[("a", 1), ("mute", 4)]), ["opened mute for mute"]);
    // Where there is nothing else, or it is the default itself, it is tried less and less often.
    for choice in ["mute", "default"] {
        rig.world(&[("mute", 5)]);
        if choice == "default" {
            rig.choose(MicUse::Default);
        } else {
            rig.device(choice);
        }
        only_now_and_then(&mut rig, &silent);
    }
}

fn only_now_and_then(rig: &mut Rig, silent: &DeviceError) {
    let mut waits = Vec::new();
    for _ in 0..20 {
        let lost = rig.now;
        assert_eq!(rig.in_use(), "mute");
        rig.opener.lost(silent.clone(), rig.now);
        while rig.settle().is_empty() {
            rig.now += Duration::from_secs(1);
        }
        waits.push((rig.now - lost).as_secs());
    }
    assert!(waits.is_sorted() && waits[..4] == [0, 0, 2, 4] && waits[19] == 30, "{waits:?}");
}

#[test]
fn a_device_that_is_back_and_broken_leaves_the_default_in_use() {
    for error in [DeviceError::Busy { what: "b".into() }, DeviceError::NotFound { what: "b".into() }] {
        let busy = matches!(error, DeviceError::Busy { .. });
        let mut rig = Rig::new();
        rig.world(&[("a", 1)]);
        rig.device("b");
        WORLD.with(|world| world.lock().unwrap().push(("b", Err(error))));
        let side = Side {
            default: Some("a".into()),
            devices: ["a", "b"].map(|id| Seen { id: id.into(), name: id.into(), life: 1 }).into(),
        };
        assert!(rig.opener.news(side, rig.now).is_none());
        // Busy may mean that it is the default, so that is closed for it; it is back at once.
        assert_eq!(rig.settle(), if busy { vec!["a for lack of b"] } else { vec![] });
        assert_eq!(rig.in_use(), "a");
        WORLD.with(|world| world.lock().unwrap()[1].1 = Ok(1));
        assert_eq!(rig.later(2), ["opened b for b"]);
    }
}

#[test]
fn a_choice_in_place_of_one_that_is_away_ends_the_waiting() {
    let mut rig = Rig::new();
    rig.world(&[("a", 1)]);
    rig.device("b");
    assert_eq!(rig.choose(MicUse::Default), ["opened a for default"]);
    assert_eq!(rig.world(&[("a", 1), ("b", 2)]), NONE);
    rig.device("b");
    assert_eq!(rig.choose(MicUse::Tone), ["opened file for tone"]);
    assert_eq!(rig.world(&[]), NONE, "no device matters");
    assert_eq!(rig.choose(MicUse::None), ["opened No microphone for none"]);
    assert_eq!(rig.in_use(), "nothing");
}
