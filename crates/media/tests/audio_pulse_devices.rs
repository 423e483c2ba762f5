//! Sound devices that come, go and change in mid-call, by a PulseAudio daemon of our own.
#![allow(clippy::unwrap_used, reason = "tests")]

mod pulse;

use media::{AudioEvent, MicUse, SpeakerUse};
use pulse::{Rig, listen_to, pactl, play_into, purest, remote, with_daemon};
use std::time::{Duration, Instant};

/// What is promised for an unplugged device.
const SOON: Duration = Duration::from_secs(1);
/// Until the sound server gives what it takes, on a machine that has stalled.
const SETTLED: Duration = Duration::from_secs(12);

#[test]
fn a_microphone_that_goes_is_replaced_within_a_second_and_taken_back() {
    with_daemon("microphone");
}

#[test]
fn a_speaker_that_goes_is_replaced_within_a_second_and_taken_back() {
    with_daemon("speaker");
}

#[test]
fn a_stream_that_stops_is_noticed_within_a_second_and_opened_anew() {
    with_daemon("stall");
}

#[test]
fn the_defaults_are_followed_as_they_change() {
    with_daemon("defaults");
}

#[test]
fn what_was_picked_by_hand_stays_when_the_default_moves() {
    with_daemon("picks");
}

#[test]
fn sound_goes_on_at_another_rate() {
    with_daemon("rates");
}

#[test]
fn a_voice_on_one_channel_of_four_is_heard_at_its_full_loudness() {
    with_daemon("channels");
}

fn null_sink(name: &str, more: &str) -> String {
    pactl(&["load-module", "module-null-sink", &format!("sink_name={name}"), more])
}

fn source(name: &str, sink: &str) -> String {
    let (name, master) = (format!("source_name={name}"), format!("master={sink}.monitor"));
    pactl(&["load-module", "module-remap-source", &name, &master])
}

/// Which of these tones the microphone hears, and how loud.
fn hears(rig: &Rig, tones: &[f32]) -> (f32, f32) {
    let start = Instant::now();
    loop {
        let heard = rig.record(75);
        let rated = tones.iter().map(|tone| (*tone, purest(&heard[12_000..], *tone, 24_000)));
        let (tone, (share, loudness)) = rated.max_by(|a, b| a.1.0.total_cmp(&b.1.0)).unwrap();
        if share > 0.95 {
            return (tone, loudness);
        }
        assert!(start.elapsed() < SETTLED, "{tone} Hz: {share}");
    }
}

#[test]
#[ignore = "needs a daemon of its own"]
fn microphone() {
    let folder = tempfile::tempdir().unwrap();
    null_sink("otherfeed", "rate=44100");
    source("other", "otherfeed");
    let module = source("picked", "micfeed");
    pactl(&["set-default-source", "other"]);
    let _playing = [
        play_into("micfeed", folder.path(), 1000.0, 0, 1),
        play_into("otherfeed", folder.path(), 700.0, 0, 1),
    ];
    let rig = Rig::new();
    let wanted = MicUse::Device("pulseaudio:picked".into());
    rig.audio.use_mic(wanted.clone());
    rig.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    assert_eq!(hears(&rig, &[700.0, 1000.0]).0, 1000.0);

    let unplugged = Instant::now();
    pactl(&["unload-module", &module]);
    let fell_back = rig.event_within(SOON, |event| matches!(event, AudioEvent::MicFellBack { .. }));
    eprintln!("in use {:?} after the command was begun", unplugged.elapsed());
    assert!(unplugged.elapsed() < SOON, "{:?}", unplugged.elapsed());
    assert!(matches!(&fell_back, AudioEvent::MicFellBack { wanted: kept, .. } if *kept == wanted));
    assert_eq!(hears(&rig, &[700.0, 1000.0]).0, 700.0);

    rig.audio.set_muted(true);
    let module = source("picked", "micfeed");
    let back = rig.event_within(SOON, |event| matches!(event, AudioEvent::MicOpened { .. }));
    assert!(matches!(&back, AudioEvent::MicOpened { source, .. } if *source == wanted));
    pactl(&["unload-module", &module]);
    rig.event_within(SOON, |event| matches!(event, AudioEvent::MicFellBack { .. }));
    while rig.packets.try_recv().is_ok() {}
    assert!(rig.packets.recv_timeout(Duration::from_millis(300)).is_err(), "mute outlives both");
    source("picked", "micfeed");
    rig.event_within(SOON, |event| matches!(event, AudioEvent::MicOpened { .. }));
    rig.audio.set_muted(false);
    assert_eq!(hears(&rig, &[700.0, 1000.0]).0, 1000.0);
}

#[test]
#[ignore = "needs a daemon of its own"]
fn stall() {
    let folder = tempfile::tempdir().unwrap();
    let _playing = play_into("micfeed", folder.path(), 1000.0, 0, 1);
    let rig = Rig::new();
    rig.audio.use_mic(MicUse::Device("vmic".into()));
    rig.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    // Older than what is let start slowly.
    rig.record(150);
    pactl(&["suspend-sink", "micfeed", "1"]);
    let stopped = Instant::now();
    rig.event(|event| matches!(event, AudioEvent::MicLost { .. }));
    eprintln!("noticed after {:?}", stopped.elapsed());
    assert!(stopped.elapsed() < SOON, "{:?}", stopped.elapsed());
    pactl(&["suspend-sink", "micfeed", "0"]);
    rig.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    assert_eq!(hears(&rig, &[1000.0]).0, 1000.0);
}

fn comes_out_of(sink: &str, frequency: f32) {
    let start = Instant::now();
    loop {
        let (share, loudness) = purest(&listen_to(sink, 3), frequency, 24_000);
        if loudness > 0.2 && share > 0.95 {
            return;
        }
        assert!(start.elapsed() < SETTLED, "{sink}: {loudness}, {share} of it the tone");
    }
}

#[test]
#[ignore = "needs a daemon of its own"]
fn speaker() {
    let folder = tempfile::tempdir().unwrap();
    let module = null_sink("picked", "rate=48000");
    pactl(&["set-default-sink", "spk"]);
    let rig = Rig::new();
    let wanted = SpeakerUse::Device("pulseaudio:picked".into());
    rig.audio.use_speaker(wanted.clone());
    rig.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    let _remote = remote(&rig, folder.path(), 700.0);
    comes_out_of("picked", 700.0);

    let unplugged = Instant::now();
    pactl(&["unload-module", &module]);
    let fell_back = rig.event_within(SOON, |event| matches!(event, AudioEvent::SpeakerFellBack { .. }));
    eprintln!("in use {:?} after the command was begun", unplugged.elapsed());
    assert!(unplugged.elapsed() < SOON, "{:?}", unplugged.elapsed());
    assert!(matches!(&fell_back, AudioEvent::SpeakerFellBack { wanted: kept, .. } if *kept == wanted));
    comes_out_of("spk", 700.0);
    null_sink("picked", "rate=48000");
    let back = rig.event_within(SOON, |event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    assert!(matches!(&back, AudioEvent::SpeakerOpened { sink, .. } if *sink == wanted));
    comes_out_of("picked", 700.0);
}

#[test]
#[ignore = "needs a daemon of its own"]
fn defaults() {
    let folder = tempfile::tempdir().unwrap();
    null_sink("otherfeed", "rate=48000");
    source("other", "otherfeed");
    null_sink("otherspk", "rate=48000");
    pactl(&["set-default-source", "vmic"]);
    pactl(&["set-default-sink", "spk"]);
    let _playing = [
        play_into("micfeed", folder.path(), 1000.0, 0, 1),
        play_into("otherfeed", folder.path(), 700.0, 0, 1),
    ];
    let rig = Rig::new();
    rig.audio.use_mic(MicUse::Default);
    rig.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    rig.audio.use_speaker(SpeakerUse::Default);
    rig.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    let _remote = remote(&rig, folder.path(), 400.0);
    assert_eq!(hears(&rig, &[700.0, 1000.0]).0, 1000.0);
    comes_out_of("spk", 400.0);

    pactl(&["set-default-source", "other"]);
    rig.event_within(SOON, |event| {
        assert!(!matches!(event, AudioEvent::MicLost { .. }), "{event:?}");
        matches!(event, AudioEvent::MicOpened { source: MicUse::Default, .. })
    });
    assert_eq!(hears(&rig, &[700.0, 1000.0]).0, 700.0);
    pactl(&["set-default-sink", "otherspk"]);
    rig.event_within(SOON, |event| {
        assert!(!matches!(event, AudioEvent::SpeakerLost { .. }), "{event:?}");
        matches!(event, AudioEvent::SpeakerOpened { sink: SpeakerUse::Default, .. })
    });
    comes_out_of("otherspk", 400.0);
}

/// The server moves what is on the old default to the new one, unless it is told not to.
#[test]
#[ignore = "needs a daemon of its own"]
fn picks() {
    let folder = tempfile::tempdir().unwrap();
    null_sink("otherfeed", "rate=48000");
    source("other", "otherfeed");
    null_sink("otherspk", "rate=48000");
    pactl(&["set-default-source", "vmic"]);
    pactl(&["set-default-sink", "spk"]);
    let _playing = [
        play_into("micfeed", folder.path(), 1000.0, 0, 1),
        play_into("otherfeed", folder.path(), 700.0, 0, 1),
    ];
    let rig = Rig::new();
    rig.audio.use_mic(MicUse::Device("pulseaudio:vmic".into()));
    rig.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    rig.audio.use_speaker(SpeakerUse::Device("pulseaudio:spk".into()));
    rig.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    let _remote = remote(&rig, folder.path(), 400.0);
    assert_eq!(hears(&rig, &[700.0, 1000.0]).0, 1000.0);
    comes_out_of("spk", 400.0);

    pactl(&["set-default-source", "other"]);
    pactl(&["set-default-sink", "otherspk"]);
    assert_eq!(hears(&rig, &[700.0, 1000.0]).0, 1000.0);
    comes_out_of("spk", 400.0);
}

/// As a Bluetooth headset does when its microphone is taken into use.
#[test]
#[ignore = "needs a daemon of its own"]
fn rates() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let mut module = null_sink("headset", "rate=48000");
    pactl(&["set-default-sink", "headset"]);
    rig.audio.use_speaker(SpeakerUse::Device("headset".into()));
    rig.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    rig.audio.use_mic(MicUse::Device("headset.monitor".into()));
    rig.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    let _remote = remote(&rig, folder.path(), 700.0);
    // An idle null sink passes sound on every 2 s only.
    let _playing = play_into("micfeed", folder.path(), 1000.0, 0, 1);
    for rate in ["rate=16000", "rate=44100", "rate=96000"] {
        pactl(&["unload-module", &module]);
        module = null_sink("headset", rate);
        pactl(&["set-default-sink", "headset"]);
        let opened = |event: &AudioEvent| match event {
            AudioEvent::SpeakerOpened { sink, .. } => *sink == SpeakerUse::Device("headset".into()),
            _ => false,
        };
        rig.event(opened);
        comes_out_of("headset", 700.0);
        assert_eq!(hears(&rig, &[700.0]).0, 700.0, "{rate}, by the monitor, as a microphone");
    }
}

#[test]
#[ignore = "needs a daemon of its own"]
fn channels() {
    let folder = tempfile::tempdir().unwrap();
    null_sink("quadfeed", "channels=4");
    source("quad", "quadfeed");
    let rig = Rig::new();
    for channel in 0..4 {
        let playing = play_into("quadfeed", folder.path(), 1000.0, channel, 4);
        rig.audio.use_mic(MicUse::Device("quad".into()));
        rig.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
        let (_, loud) = hears(&rig, &[1000.0]);
        assert!((loud - 0.345).abs() < 0.05, "channel {channel}: {loud}");
        drop(playing);
    }
}
