//! Mute never lies: whatever is done to one side, in any order, what the other side's decoders give is what
//! the buttons of the first say.

mod common;

use call::{Command, Event};
use common::{Person, World, break_file};
use lab::mark::Colour;
use media::{CameraUse, MicUse};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Mute,
    Unmute,
    CameraOff,
    CameraOn,
    SwitchCamera,
    SwitchMic,
    CameraFails,
    RestartIce,
    ServerDrops,
    LeaveAndRejoin,
    PushToTalk,
    NoPushToTalk,
    HoldKey,
    LetGoKey,
}

const DEEDS: [Deed; 14] = [
    Deed::Mute,
    Deed::Unmute,
    Deed::CameraOff,
    Deed::CameraOn,
    Deed::SwitchCamera,
    Deed::SwitchMic,
    Deed::CameraFails,
    Deed::RestartIce,
    Deed::ServerDrops,
    Deed::LeaveAndRejoin,
    Deed::PushToTalk,
    Deed::NoPushToTalk,
    Deed::HoldKey,
    Deed::LetGoKey,
];

/// Ann, to whom all is done, and what her buttons say.
struct Ann {
    person: Person,
    muted: bool,
    push_to_talk: bool,
    key_held: bool,
    camera_off: bool,
    camera_works: bool,
    colour: Colour,
    clip: PathBuf,
    clips: u32,
    tone: bool,
}

impl Ann {
    async fn suffer(&mut self, deed: Deed, world: &World, random: &mut StdRng) {
        match deed {
            Deed::Mute | Deed::Unmute => {
                self.muted = matches!(deed, Deed::Mute);
                self.person.tell(Command::Mute { on: self.muted });
            }
            Deed::CameraOff | Deed::CameraOn => {
                self.camera_off = matches!(deed, Deed::CameraOff);
                self.person.tell(Command::CameraOff { on: self.camera_off });
            }
            Deed::SwitchCamera => self.new_camera(world, random),
            Deed::SwitchMic => {
                self.tone = !self.tone;
                let source = if self.tone { MicUse::Tone } else { world.wav(900.0) };
                self.person.tell(Command::Mic { source });
            }
            Deed::CameraFails => {
                break_file(&self.clip);
                self.camera_works = false;
            }
            Deed::RestartIce => self.person.tell(Command::RestartIce),
            Deed::ServerDrops => {
                world.line.cut();
                self.person.event("outage", |e| matches!(e, Event::Signaling { connected: false })).await;
                world.line.mend();
                self.person.event("mending", |e| matches!(e, Event::Signaling { connected: true })).await;
            }
            Deed::PushToTalk | Deed::NoPushToTalk => {
                (self.push_to_talk, self.key_held) = (matches!(deed, Deed::PushToTalk), false);
                self.person.tell(Command::PushToTalk { on: self.push_to_talk });
            }
            Deed::HoldKey | Deed::LetGoKey => {
                self.key_held = self.push_to_talk && matches!(deed, Deed::HoldKey);
                self.person.tell(Command::Talk { on: matches!(deed, Deed::HoldKey) });
            }
            Deed::LeaveAndRejoin => {
                self.person.tell(Command::Leave);
                self.person.event("leaving", |e| matches!(e, Event::Left { .. })).await;
                self.person.join(&world.line.url, "mute").await;
            }
        }
    }

    /// A clip of its own file, so that breaking it breaks no other.
    fn new_camera(&mut self, world: &World, random: &mut StdRng) {
        let others: Vec<Colour> = Colour::ALL.into_iter().filter(|c| *c != self.colour).collect();
        self.colour = *others.choose(random).expect("six colours");
        let CameraUse::File(original) = world.clip(self.colour) else { unreachable!() };
        self.clips += 1;
        self.clip = world.path(&format!("camera-{}.y4m", self.clips));
        std::fs::copy(original, &self.clip).expect("a copy");
        self.camera_works = true;
        self.person.tell(Command::Camera { source: CameraUse::File(self.clip.clone()) });
    }
}

async fn check(ann: &Ann, bob: &Person) {
    let audio = !ann.muted && (!ann.push_to_talk || ann.key_held);
    let video = !ann.camera_off && ann.camera_works;
    bob.snapshot("what Ann's buttons say", |s| {
        s.participants
            .first()
            .is_some_and(|p| p.muted != audio && p.camera_off != video && s.participants.len() == 1)
    })
    .await;
    if audio {
        bob.hears().await
    } else {
        bob.hears_nothing().await
    }
    if video { bob.sees(ann.colour).await } else { bob.sees_nothing().await }
}

async fn run(seed: u64, deeds: &[Deed]) {
    let world = World::new().await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut ann = Ann {
        person: world.person("Ann", Colour::Red),
        muted: false,
        push_to_talk: false,
        key_held: false,
        camera_off: false,
        camera_works: true,
        colour: Colour::Red,
        clip: PathBuf::new(),
        clips: 0,
        tone: true,
    };
    let mut bob = world.person("Bob", Colour::Green);
    ann.new_camera(&world, &mut random);
    bob.join(&world.line.url, "mute").await;
    ann.person.join(&world.line.url, "mute").await;
    check(&ann, &bob).await;
    for (done, deed) in deeds.iter().enumerate() {
        // Shown by the test runner when the check below fails.
        println!("seed {seed}, deed {done} of {deeds:?}: {deed:?}");
        ann.suffer(*deed, &world, &mut random).await;
        check(&ann, &bob).await;
    }
}

fn deeds(seed: u64, count: usize) -> Vec<Deed> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| DEEDS[random.random_range(0..DEEDS.len())]).collect()
}

/// `SNUG_SEEDS=40 cargo test -p call --test mute` goes further.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_the_other_side_gets_what_the_buttons_say() {
    let seeds = std::env::var("SNUG_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    for seed in 1..=seeds {
        run(seed, &deeds(seed, 12)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_deed_while_muted_and_camera_off() {
    use Deed::{CameraFails, LeaveAndRejoin, RestartIce, ServerDrops, SwitchCamera, SwitchMic};
    let off = [Deed::Mute, Deed::CameraOff];
    let all = [SwitchCamera, SwitchMic, CameraFails, RestartIce, ServerDrops, LeaveAndRejoin, SwitchCamera];
    let on = [Deed::Unmute, Deed::CameraOn];
    let deeds: Vec<Deed> = off.into_iter().chain(all).chain(on).collect();
    run(0, &deeds).await;
}

/// With push-to-talk, what the others hear is the key, and the mute button comes before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn push_to_talk_is_heard_while_the_key_is_held_and_no_longer() {
    use Deed::{HoldKey, LeaveAndRejoin, LetGoKey, Mute, NoPushToTalk, PushToTalk, SwitchMic, Unmute};
    let talk = [PushToTalk, HoldKey, LetGoKey, SwitchMic, HoldKey, LeaveAndRejoin, LetGoKey];
    let muted = [Mute, HoldKey, Unmute, LetGoKey, NoPushToTalk, HoldKey, PushToTalk];
    let deeds: Vec<Deed> = talk.into_iter().chain(muted).collect();
    run(0, &deeds).await;
}
