//! Calls between the engine and a guest in headless Chromium, by content in both directions: marks are read
//! behind each side's decoder, tones are found in what each side plays.

mod common;
#[path = "common/guest.rs"]
mod guest;
#[path = "../../peer/tests/common/turn.rs"]
mod turn;

use call::{Command, Connection, Event};
use common::{DEADLINE, Person, World};
use guest::{GUEST_HERTZ, Guest, browser};
use lab::mark::{Clip, write_clip};
use lab::mark::{Colour, read_mark};
use media::CameraUse;
use std::time::Instant;

/// The engine sees the guest's clip, and its numbers advance.
async fn sees_move(person: &Person, colour: Colour) {
    person.sees(colour).await;
    let view = person.other().view;
    let read = tokio::task::spawn_blocking(move || {
        let until = Instant::now() + DEADLINE;
        let mut numbers = Vec::new();
        while numbers.len() < 12
            && let Some(frame) = view.wait(until)
        {
            let mark = read_mark(&frame.image).filter(|mark| mark.colour == colour);
            // A busy browser sends a picture twice.
            numbers.extend(mark.map(|mark| mark.number).filter(|number| numbers.last() != Some(number)));
        }
        numbers
    });
    let numbers = read.await.expect("no panic");
    // The clip may start over once.
    let back = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(numbers.len() == 12 && back <= 1, "{numbers:?}");
}

/// The guest's tone comes out of the engine's speaker.
async fn hears_tone(world: &World, person: &Person) {
    person.hears().await;
    let path = world.path(&format!("{}.wav", person.name));
    let until = tokio::time::Instant::now() + DEADLINE;
    let mut snapshot = person.call.snapshot();
    loop {
        let (samples, rate) = lab::tone::read_wav(&path).expect("what the speaker wrote");
        let last = &samples[samples.len().saturating_sub(rate as usize)..];
        let share = media::audio::measure::tone_share(last, GUEST_HERTZ);
        if last.len() == rate as usize && share > 0.5 {
            return;
        }
        // Statistics come ten times a second.
        let changed = tokio::time::timeout_at(until, snapshot.changed()).await;
        assert!(
            changed.is_ok(),
            "{}: a share of {share} is the tone: {:#?}",
            person.name,
            person.other().stats
        );
    }
}

async fn both_ways(world: &World, person: &Person, guest: &Guest) {
    sees_move(person, Colour::Green).await;
    hears_tone(world, person).await;
    guest.sees(Colour::Red).await;
    guest.hears().await;
}

/// The guest comes last.
async fn in_call(world: &World, browser: &lab::browser::Browser) -> (Person, Guest) {
    let mut ann = world.person("Ann", Colour::Red);
    ann.join(&world.line.url, "tea").await;
    let guest = Guest::joins(browser, world, "tea").await;
    both_ways(world, &ann, &guest).await;
    (ann, guest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_browser_offers() {
    let world = World::new().await;
    let browser = browser(&world, Colour::Green).await;
    let (ann, guest) = in_call(&world, &browser).await;
    assert_eq!((ann.other().name.as_str(), ann.other().connection), ("Gus", Connection::Connected));
    guest.until("tile().querySelector('.name').textContent === 'Ann'").await;
    guest.sees_muted(false).await;
    assert_eq!(guest.number("described").await, 2);
    println!("the browser's click on Join to its first picture: {} ms", guest.get("joinMs").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_offers() {
    let world = World::new().await;
    let browser = browser(&world, Colour::Green).await;
    let guest = Guest::joins(&browser, &world, "tea").await;
    let mut ann = world.person("Ann", Colour::Red);
    ann.join(&world.line.url, "tea").await;
    let first = ann.event("first picture", |e| matches!(e, Event::FirstFrame { .. })).await;
    println!("{first:?}");
    both_ways(&world, &ann, &guest).await;
    assert_eq!(guest.number("described").await, 2);
}

/// A second camera that the page can choose: a canvas in magenta, with a white bar that moves. (Of a marked
/// clip Chromium makes one camera only.)
const SECOND_CAMERA: &str = "
    const devices = navigator.mediaDevices;
    const [list, open] = [devices.enumerateDevices.bind(devices), devices.getUserMedia.bind(devices)];
    const second = { kind: 'videoinput', deviceId: 'second', groupId: '', label: 'Second' };
    devices.enumerateDevices = async () => [...await list(), second];
    devices.getUserMedia = async (wanted) => {
        const id = wanted.video?.deviceId;
        if ((id?.exact ?? id?.ideal) !== 'second') return open(wanted);
        const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
        const context = canvas.getContext('2d');
        const stream = canvas.captureStream(30);
        const [track] = stream.getTracks();
        let x = 0;
        const draw = setInterval(() => {
            context.fillStyle = '#f0f';
            context.fillRect(0, 0, 320, 180);
            context.fillStyle = '#fff';
            context.fillRect(x = (x + 3) % 320, 120, 10, 20);
            if (track.readyState === 'ended') clearInterval(draw);
        }, 33);
        track.getSettings = () => ({ deviceId: 'second' });
        return stream;
    };
";

/// The engine sees the guest's second camera.
async fn sees_second(person: &Person) {
    let view = person.other().view;
    let seen = tokio::task::spawn_blocking(move || {
        let until = Instant::now() + DEADLINE;
        let mut pictures = 0;
        while pictures < 12
            && let Some(frame) = view.wait(until)
        {
            let [_, u, v] = frame.image.planes();
            let mean = |plane: &[u8]| plane.iter().map(|v| u32::from(*v)).sum::<u32>() / plane.len() as u32;
            // Magenta is some (202, 222).
            pictures += u32::from(mean(u) > 180 && mean(v) > 200);
        }
        pictures
    });
    assert_eq!(seen.await.expect("no panic"), 12, "{} does not see the second camera", person.name);
}

/// What must stay as it is whatever anybody presses.
async fn negotiated(guest: &Guest) -> String {
    let all =
        "(async () => [described, await ssrc('outbound-rtp', 'video'), await ssrc('outbound-rtp', 'audio'),
        await ssrc('inbound-rtp', 'video'), await ssrc('inbound-rtp', 'audio')].join(' '))()";
    guest.get(all).await.as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cameras_are_switched_and_muted_without_negotiation() {
    let world = World::new().await;
    let browser = browser(&world, Colour::Green).await;
    let mut ann = world.person("Ann", Colour::Red);
    ann.join(&world.line.url, "tea").await;
    let guest = Guest::opens(&browser, &world, "tea", SECOND_CAMERA).await;
    guest.enters("Gus").await;
    both_ways(&world, &ann, &guest).await;
    let before = negotiated(&guest).await;
    assert_eq!(before.split(' ').count(), 5, "{before}");

    ann.tell(Command::Camera { source: world.clip(Colour::Blue) });
    guest.sees(Colour::Blue).await;
    guest.clicks("#devices-toggle").await;
    guest.page.choose("#camera-select", 1).await.expect("a second camera");
    sees_second(&ann).await;
    guest.until("snug.media.device('video') === 'second'").await;

    // The bug that Snug exists for: after a switch of the camera, mute did nothing.
    for _ in 0..2 {
        guest.clicks("#mute").await;
        ann.snapshot("mute mark", |s| s.participants[0].muted).await;
        ann.hears_nothing().await;
        sees_second(&ann).await;
        guest.clicks("#mute").await;
        ann.snapshot("no mute mark", |s| !s.participants[0].muted).await;
        hears_tone(&world, &ann).await;
    }
    guest.clicks("#mute").await;
    ann.hears_nothing().await;
    guest.page.choose("#camera-select", 0).await.expect("the first camera");
    sees_move(&ann, Colour::Green).await;
    ann.hears_nothing().await;
    assert_eq!(negotiated(&guest).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_turns_off_the_browser_gets_no_more() {
    let world = World::new().await;
    let browser = browser(&world, Colour::Green).await;
    let (ann, guest) = in_call(&world, &browser).await;
    let before = negotiated(&guest).await;
    for _ in 0..2 {
        ann.tell(Command::Mute { on: true });
        guest.hears_nothing().await;
        ann.tell(Command::Mute { on: false });
        guest.sees_muted(false).await;
        guest.hears().await;
    }
    ann.tell(Command::CameraOff { on: true });
    guest.sees_nothing().await;
    ann.tell(Command::Camera { source: world.clip(Colour::Blue) });
    guest.sees_nothing().await;
    guest.hears().await;
    ann.tell(Command::CameraOff { on: false });
    guest.sees(Colour::Blue).await;
    ann.tell(Command::Mute { on: true });
    guest.hears_nothing().await;
    assert_eq!(negotiated(&guest).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_browser_turns_off_the_engine_gets_no_more() {
    let world = World::new().await;
    let browser = browser(&world, Colour::Green).await;
    let (ann, guest) = in_call(&world, &browser).await;
    let before = negotiated(&guest).await;
    guest.clicks("#camera-toggle").await;
    ann.snapshot("camera-off mark", |s| s.participants[0].camera_off).await;
    ann.sees_nothing().await;
    hears_tone(&world, &ann).await;
    guest.clicks("#mute").await;
    ann.snapshot("mute mark", |s| s.participants[0].muted).await;
    ann.hears_nothing().await;
    guest.clicks("#camera-toggle").await;
    sees_move(&ann, Colour::Green).await;
    ann.hears_nothing().await;
    guest.clicks("#mute").await;
    hears_tone(&world, &ann).await;
    assert_eq!(negotiated(&guest).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_again_is_met_again() {
    let world = World::new().await;
    let browser = browser(&world, Colour::Green).await;
    let (mut ann, guest) = in_call(&world, &browser).await;
    let first = ann.other().id;
    guest.clicks("#mute").await;
    ann.snapshot("mute mark", |s| s.participants[0].muted).await;
    guest.loads().await;
    ann.snapshot("empty room", |s| s.participants.is_empty()).await;
    guest.enters("Gus").await;
    sees_move(&ann, Colour::Green).await;
    assert_ne!(ann.other().id, first);
    assert!(ann.other().muted, "mute outlives a reload");
    ann.hears_nothing().await;
    guest.clicks("#mute").await;
    hears_tone(&world, &ann).await;
    guest.sees(Colour::Red).await;
    guest.hears().await;

    ann.tell(Command::Mute { on: true });
    ann.tell(Command::Leave);
    guest.until("!tile()").await;
    ann.join(&world.line.url, "tea").await;
    guest.sees(Colour::Red).await;
    guest.hears_nothing().await;
    sees_move(&ann, Colour::Green).await;
    ann.tell(Command::Mute { on: false });
    guest.hears().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_may_use_a_relay_alone() {
    let Some(turn) = turn::Turn::start() else { return };
    let server = signaling::IceServer {
        urls: vec![turn.url.clone()],
        username: Some(turn::USER.into()),
        credential: Some(turn::PASSWORD.into()),
    };
    let ice = server::config::IceConfig { fixed: vec![server], ..Default::default() };
    a_relay_alone(World::with(ice).await).await;
}

/// The relay inside the server: a browser is a client of its own kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_may_use_the_servers_own_relay_alone() {
    a_relay_alone(World::new().await).await;
}

async fn a_relay_alone(world: World) {
    let browser = browser(&world, Colour::Green).await;
    let mut ann = world.person("Ann", Colour::Red);
    ann.join(&world.line.url, "tea").await;
    let relay_alone = "window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(config) { super({ ...config, iceTransportPolicy: 'relay' }); }
    };";
    let guest = Guest::opens(&browser, &world, "tea", relay_alone).await;
    guest.enters("Gus").await;
    both_ways(&world, &ann, &guest).await;
    println!("click on Join to first picture through the relay: {} ms", guest.get("joinMs").await);
    let path = guest.get("path()").await;
    assert_eq!(path[0], "relay", "{path}");
    ann.snapshot("relayed path", |s| {
        s.participants[0].stats.as_ref().is_some_and(|s| s.path == Some(call::stats::Path::Relayed))
    })
    .await;
}

/// The browser's figures of what it sends and gets.
const FIGURES: &str = "(async () => {
    const all = [...(await connection().getStats()).values()];
    const video = (type) => all.find((each) => each.type === type && each.kind === 'video');
    return { out: video('outbound-rtp'), in: video('inbound-rtp') };
})()";

/// A camera of 720p at both ends: the browser soon sends at a good rate (by itself it begins at 300 kb/s),
/// nothing is lost (its probes are padding, whose numbers count), and keyframes stay rare.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_browser_sends_at_a_good_rate_and_nothing_is_lost() {
    let world = World::new().await;
    let clip = world.path("large.y4m");
    let large = Clip { width: 1280, height: 720, fps: 30, frames: 60, colour: Colour::Green };
    write_clip(&clip, &large).expect("a clip");
    let browser = guest::browser_with(&world, &clip).await;
    let mut ann = world.person("Ann", Colour::Red);
    ann.tell(Command::Camera { source: CameraUse::File(clip.clone()) });
    ann.join(&world.line.url, "tea").await;
    let guest = Guest::joins(&browser, &world, "tea").await;
    sees_move(&ann, Colour::Green).await;
    guest.sees(Colour::Green).await;
    guest.until("count('outbound-rtp', 'video', 'framesEncoded').then((now) => now > 30)").await;
    let early = guest.get(FIGURES).await;
    assert!(early["out"]["targetBitrate"].as_f64().is_some_and(|rate| rate >= 1e6), "{early:#}");
    // Some five seconds, by the browser's own clock of pictures sent.
    guest.until("count('outbound-rtp', 'video', 'framesEncoded').then((now) => now > 180)").await;
    let late = guest.get(FIGURES).await;
    let stats = ann.other().stats.expect("statistics");
    println!("{late:#}\n{stats:#?}");
    // One to begin with, and one each time the browser takes another size.
    assert!(late["out"]["keyFramesEncoded"].as_u64().is_some_and(|keys| keys <= 4), "{late:#}");
    assert!(late["in"]["keyFramesDecoded"].as_u64().is_some_and(|keys| keys <= 4), "{late:#}");
    let asked = [&late["out"]["pliCount"], &late["in"]["pliCount"]].map(|count| count.as_u64().unwrap_or(99));
    assert!(asked.iter().all(|count| *count <= 1), "{late:#}");
    assert_eq!(stats.inbound_video.packets_lost, 0, "{stats:#?}");
}
