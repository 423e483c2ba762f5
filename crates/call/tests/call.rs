//! Calls over loopback with real codecs.

mod common;

use call::{Command, Connection, Event, Password};
use common::{Person, World};
use lab::mark::Colour;
use media::{CameraUse, MicUse};

async fn in_call(world: &World) -> (Person, Person) {
    let mut ann = world.person("Ann", Colour::Red);
    let mut bob = world.person("Bob", Colour::Green);
    ann.join(&world.line.url, "tea").await;
    bob.join(&world.line.url, "tea").await;
    ann.sees(Colour::Green).await;
    bob.sees(Colour::Red).await;
    ann.hears().await;
    bob.hears().await;
    (ann, bob)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_see_and_hear_each_other_and_part() {
    let world = World::new().await;
    let (ann, mut bob) = in_call(&world).await;
    assert_eq!(ann.other().name, "Bob");
    assert_eq!(bob.other().connection, Connection::Connected);
    let stats = bob.other().stats.expect("statistics");
    assert!(stats.current_round_trip_time.is_some_and(|trip| trip < 1.0), "{stats:?}");
    assert_eq!(stats.inbound_video.frame_width, 320);
    ann.tell(Command::Leave);
    bob.event("goodbye", |e| matches!(e, Event::ParticipantLeft { reason, .. } if reason == "bye")).await;
    drop(ann);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switched_camera_reaches_the_other_side() {
    let world = World::new().await;
    let (ann, bob) = in_call(&world).await;
    ann.tell(Command::Camera { source: world.clip(Colour::Blue) });
    bob.sees(Colour::Blue).await;
    ann.tell(Command::Camera { source: world.clip(Colour::Yellow) });
    bob.sees(Colour::Yellow).await;
    assert_eq!(bob.other().connection, Connection::Connected);
}

/// The bug that Snug exists for: after a camera switch, mute did nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switch_the_camera_then_mute_unmute_mute() {
    let world = World::new().await;
    let (ann, bob) = in_call(&world).await;
    ann.tell(Command::Camera { source: world.clip(Colour::Blue) });
    bob.sees(Colour::Blue).await;
    for _ in 0..2 {
        ann.tell(Command::Mute { on: true });
        bob.snapshot("mute mark", |s| s.participants[0].muted).await;
        bob.hears_nothing().await;
        ann.tell(Command::Mute { on: false });
        bob.snapshot("no mute mark", |s| !s.participants[0].muted).await;
        bob.hears().await;
    }
    ann.tell(Command::Mute { on: true });
    bob.hears_nothing().await;
    bob.sees(Colour::Blue).await;
    ann.tell(Command::CameraOff { on: true });
    bob.snapshot("camera-off mark", |s| s.participants[0].camera_off).await;
    bob.sees_nothing().await;
    ann.tell(Command::CameraOff { on: false });
    bob.sees(Colour::Blue).await;
    bob.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_people_see_and_hear_each_other() {
    let world = World::new().await;
    let colours = [Colour::Red, Colour::Green, Colour::Blue];
    let names = ["Ann", "Bob", "Cat"];
    let mut people: Vec<Person> = names.iter().zip(colours).map(|(n, c)| world.person(n, c)).collect();
    for person in &mut people {
        person.join(&world.line.url, "three").await;
    }
    for person in &people {
        person
            .snapshot("two others", |s| {
                s.participants.len() == 2
                    && s.participants.iter().all(|p| {
                        let stats = p.stats.as_deref();
                        stats.is_some_and(|s| {
                            s.inbound_video.frames_decoded > 10 && s.inbound_audio.audio_level > 0.02
                        })
                    })
            })
            .await;
    }
    let gone = people.pop().expect("three people");
    drop(gone);
    people[0].sees(Colour::Green).await;
    people[1].sees(Colour::Red).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_without_camera_and_microphone_works() {
    let world = World::new().await;
    let mut ann = world.person("Ann", Colour::Red);
    ann.tell(Command::Camera { source: CameraUse::None });
    ann.tell(Command::Mic { source: MicUse::None });
    ann.join(&world.line.url, "listen").await;
    let mut bob = world.person("Bob", Colour::Green);
    bob.join(&world.line.url, "listen").await;
    ann.sees(Colour::Green).await;
    ann.hears().await;
    bob.snapshot("marks", |s| s.participants[0].muted && s.participants[0].camera_off).await;
    ann.tell(Command::Camera { source: world.clip(Colour::Red) });
    ann.tell(Command::Mic { source: MicUse::Tone });
    bob.sees(Colour::Red).await;
    bob.hears().await;
    bob.snapshot("no marks", |s| !s.participants[0].muted && !s.participants[0].camera_off).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_does_not_notice_a_lost_server_and_the_place_is_taken_back() {
    let world = World::new().await;
    let (mut ann, bob) = in_call(&world).await;
    world.line.cut();
    ann.event("loss of the server", |e| matches!(e, Event::Signaling { connected: false })).await;
    bob.snapshot("outage", |s| matches!(s.phase, call::Phase::Reconnecting { .. })).await;
    ann.tell(Command::Mute { on: true });
    bob.hears_nothing().await;
    bob.sees(Colour::Red).await;
    world.line.mend();
    ann.event("the server again", |e| matches!(e, Event::Signaling { connected: true })).await;
    bob.snapshot("mute mark", |s| s.participants.len() == 1 && s.participants[0].muted).await;
    ann.sees(Colour::Green).await;
    let anew = ann.events_so_far().iter().filter(|e| matches!(e, Event::Joined { .. })).count();
    assert_eq!(anew, 0, "the place was taken back, not a new one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_are_renewed_without_a_gap_that_lasts() {
    let world = World::new().await;
    let (ann, bob) = in_call(&world).await;
    ann.tell(Command::RestartIce);
    bob.tell(Command::RestartIce);
    bob.sees(Colour::Red).await;
    ann.sees(Colour::Green).await;
    ann.hears().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_server_and_a_bad_room_are_told_plainly() {
    let world = World::new().await;
    let mut ann = world.person("Ann", Colour::Red);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (server, room) in
        [(format!("http://{free}"), "tea"), (world.line.url.clone(), "a/b"), ("::".into(), "tea")]
    {
        ann.tell(Command::Join {
            server,
            room: room.into(),
            name: "Ann".into(),
            password: Password::default(),
        });
        let event = ann.event("error", |e| matches!(e, Event::Error { fatal: true, .. })).await;
        let Event::Error { message, .. } = event else { unreachable!() };
        assert!(message.len() > 20, "{message}");
        ann.event("end", |e| matches!(e, Event::Left { .. })).await;
    }
    ann.join(&world.line.url, "tea ☕").await;
}
