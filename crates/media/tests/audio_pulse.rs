//! The real way: a PulseAudio daemon of our own with null sinks, cpal on both sides, no hardware.
#![allow(clippy::unwrap_used, reason = "tests")]

mod pulse;

use media::audio::measure::{rms, tone_share};
use media::audio::{list_mics, list_speakers};
use media::{Audio, AudioEvent, AudioPacket, MicUse, RtpPacket, SpeakerUse};
use pulse::{PATIENCE, Rig, Running, listen_to, pactl, sine, with_daemon};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn sound_goes_through_real_devices_both_ways() {
    with_daemon("inside_the_private_daemon");
}

fn tone(path: &Path, frequency: f32, seconds: u32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    sine(frequency, seconds).for_each(|x| writer.write_sample(x).unwrap());
    writer.finalize().unwrap();
}

/// The loudest second of `pcm`.
fn loudest(pcm: &[f32]) -> &[f32] {
    pcm.windows(48_000).step_by(4800).max_by(|a, b| rms(a).total_cmp(&rms(b))).unwrap()
}

#[test]
#[ignore = "run by the test above, with a daemon of its own"]
fn inside_the_private_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let mics = list_mics();
    assert!(mics.iter().any(|mic| mic.id.ends_with("vmic")), "{mics:?}");
    let connections = || pactl(&["list", "short", "clients"]).lines().count();
    let before = connections();
    (0..20).for_each(|_| assert_eq!(list_mics(), mics));
    assert_eq!(connections(), before, "a server has room for some sixty");
    assert!(mics.iter().all(|mic| !mic.id.ends_with(".monitor")), "{mics:?}");
    assert!(list_speakers().iter().any(|speaker| speaker.id.ends_with(":spk")));

    let rig = Rig::new();
    rig.audio.use_mic(MicUse::Device("vmic".into()));
    rig.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    rig.audio.use_speaker(SpeakerUse::Device("spk".into()));
    rig.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    speak_into_the_microphone(&rig, folder.path());
    hear_a_remote(&rig, folder.path());
    lose_the_microphone_and_get_it_back(&rig);
    rig.audio.use_mic(MicUse::Device("no such thing".into()));
    rig.event(|event| matches!(event, AudioEvent::MicFailed { .. }));
}

fn speak_into_the_microphone(rig: &Rig, folder: &Path) {
    let path = folder.join("1000.wav");
    tone(&path, 1000.0, 4);
    let player = Command::new("paplay").args(["-d", "micfeed"]).arg(&path).spawn().unwrap();
    let _player = Running(player);
    let heard = rig.record(200);
    let loud = loudest(&heard);
    assert!(rms(loud) > 0.2, "{}", rms(loud));
    assert!(tone_share(loud, 1000.0) > 0.95, "{}", tone_share(loud, 1000.0));
}

fn hear_a_remote(rig: &Rig, folder: &Path) {
    let path = folder.join("700.wav");
    tone(&path, 700.0, 1);
    let inlet = rig.audio.add_remote(1);
    let mut seq = 0u16;
    let remote = Audio::spawn(
        Box::new(move |packet: AudioPacket| {
            seq = seq.wrapping_add(1);
            inlet.push(RtpPacket {
                seq,
                timestamp: packet.timestamp,
                marker: packet.marker,
                payload: packet.data,
                arrived: Instant::now(),
                sender_us: None,
            });
        }),
        Box::new(|_| {}),
    );
    remote.use_mic(MicUse::File(path));
    rig.event(|event| matches!(event, AudioEvent::FirstSound { remote: 1 }));
    let heard = listen_to("spk", 4);
    let loud = loudest(&heard);
    let stats = rig.audio.remote_stats(1).unwrap();
    eprintln!("{stats:?}, waited {:.1} ms a packet", stats.jitter_buffer_delay_ms / stats.played as f64);
    assert!(rms(loud) > 0.2, "{}", rms(loud));
    assert!(tone_share(loud, 700.0) > 0.95, "{}", tone_share(loud, 700.0));
    drop(remote);
}

fn lose_the_microphone_and_get_it_back(rig: &Rig) {
    rig.audio.set_muted(true);
    pactl(&["unload-module", "module-remap-source"]);
    rig.event(|event| matches!(event, AudioEvent::MicLost { .. }));
    pactl(&["load-module", "module-remap-source", "source_name=vmic", "master=micfeed.monitor"]);
    rig.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    while rig.packets.try_recv().is_ok() {}
    assert!(rig.packets.recv_timeout(Duration::from_millis(300)).is_err(), "mute outlives the loss");
    rig.audio.set_muted(false);
    assert!(rig.packets.recv_timeout(PATIENCE).unwrap().marker);
}
