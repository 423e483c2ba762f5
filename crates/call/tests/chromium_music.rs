//! Music through a whole call: left and right are told apart at the far end, by an engine and by a guest in Chromium,
//! and the way to and from it is not negotiated.

mod common;
#[path = "common/guest.rs"]
mod guest;

use call::{Command, Config, Display};
use common::{DEADLINE, Person, World};
use guest::{Guest, browser};
use lab::mark::Colour;
use media::audio::Processing;
use media::audio::measure::tone_share;
use media::{MicUse, SpeakerUse};
use std::path::Path;
use std::time::Duration;

const LEFT: f32 = 500.0;
const RIGHT: f32 = 800.0;

/// A second of one tone on the left and another on the right.
fn two_tones(path: &Path) {
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 2, sample_rate: 48_000, bits_per_sample: 16, sample_format };
    let mut writer = hound::WavWriter::create(path, spec).expect("a file of the test");
    for n in 0..48_000 {
        for hertz in [LEFT, RIGHT] {
            let x = (n as f32 * hertz * std::f32::consts::TAU / 48_000.0).sin();
            writer.write_sample((x * 10_000.0) as i16).expect("a file of the test");
        }
    }
    writer.finalize().expect("a file of the test");
}

fn person(world: &World, name: &str, mic: MicUse) -> Person {
    let speaker = SpeakerUse::File(world.path(&format!("{name}.wav")));
    let stats_every = Duration::from_millis(100);
    Person::with(
        name,
        Config {
            camera: world.clip(Colour::Red),
            mic,
            speaker,
            display: Display::Window,
            stats_every,
            ..Config::default()
        },
    )
}

/// The last half second of each side of what a speaker's file holds.
fn sides(path: &Path) -> Option<[Vec<f32>; 2]> {
    let reader = hound::WavReader::open(path).ok()?;
    let all: Vec<f32> = reader.into_samples::<i16>().map_while(Result::ok).map(f32::from).collect();
    let last = all.len().checked_sub(48_000)? / 2 * 2;
    Some([0, 1].map(|side| all[last..].iter().skip(side).step_by(2).copied().collect()))
}

async fn until(person: &Person, what: &str, heard: impl Fn(&[Vec<f32>; 2]) -> bool, path: &Path) {
    let until = tokio::time::Instant::now() + DEADLINE;
    let mut snapshot = person.call.snapshot();
    while !sides(path).is_some_and(|sides| heard(&sides)) {
        // Statistics come ten times a second.
        let changed = tokio::time::timeout_at(until, snapshot.changed()).await;
        assert!(changed.is_ok(), "{}: {what} is not heard", person.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn left_and_right_differ_at_the_far_end_and_a_voice_is_in_the_middle_again() {
    let world = World::new().await;
    two_tones(&world.path("music.wav"));
    let mut ann = person(&world, "Ann", MicUse::File(world.path("music.wav")));
    let mut ben = person(&world, "Ben", MicUse::Tone);
    ann.join(&world.line.url, "tea").await;
    ben.join(&world.line.url, "tea").await;
    ben.hears().await;
    let heard = world.path("Ben.wav");
    let apart = |[left, right]: &[Vec<f32>; 2]| {
        tone_share(left, LEFT) > 0.9 && tone_share(right, RIGHT) > 0.9 && tone_share(left, RIGHT) < 0.02
    };
    let middle = |[left, right]: &[Vec<f32>; 2]| left == right && tone_share(left, RIGHT) > 0.3;
    until(&ben, "a voice", middle, &heard).await;
    ann.tell(Command::Processing { processing: Processing { music: true, ..Processing::default() } });
    until(&ben, "music", apart, &heard).await;
    ann.tell(Command::Processing { processing: Processing::default() });
    until(&ben, "the voice again", middle, &heard).await;
}

/// The loudest tone on each side of what the guest hears.
const PEAKS: &str = "(() => {
    const stream = tile()?.querySelector('video')?.srcObject;
    if (!stream?.getAudioTracks().length) return null;
    if (window.wide?.stream !== stream) {
        const context = new AudioContext();
        const source = context.createMediaStreamSource(stream);
        const splitter = context.createChannelSplitter(2);
        source.connect(splitter);
        const ears = [0, 1].map((side) => {
            const ear = Object.assign(context.createAnalyser(), { fftSize: 8192 });
            splitter.connect(ear, side);
            return ear;
        });
        window.wide = { stream, context, ears };
    }
    return wide.ears.map((ear) => {
        const bins = new Float32Array(ear.frequencyBinCount);
        ear.getFloatFrequencyData(bins);
        const peak = bins.reduce((best, level, i) => (level > bins[best] ? i : best), 0);
        return bins[peak] > -50 ? (peak * wide.context.sampleRate) / ear.fftSize : 0;
    });
})()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_in_a_browser_hears_left_and_right() {
    let world = World::new().await;
    two_tones(&world.path("music.wav"));
    let browser = browser(&world, Colour::Green).await;
    let mut ann = person(&world, "Ann", MicUse::File(world.path("music.wav")));
    ann.join(&world.line.url, "tea").await;
    let guest = Guest::joins(&browser, &world, "tea").await;
    ann.tell(Command::Processing { processing: Processing { music: true, ..Processing::default() } });
    let near = |side: usize, hertz: f32| format!("Math.abs(peaks[{side}] - {hertz}) < 12");
    let both = format!("{} && {}", near(0, LEFT), near(1, RIGHT));
    guest.until(&format!("((peaks) => peaks && {both})({PEAKS})")).await;
    assert_eq!(guest.number("described").await, 2, "nothing was negotiated for it");
    // And the engine was told that pauses need not be sent.
    let said = guest.get("connection().localDescription.sdp").await;
    assert!(said.as_str().is_some_and(|sdp| sdp.contains("stereo=1;usedtx=1")), "{said}");
}
