//! Music through real devices: two channels of a microphone arrive as two, and leave a speaker as two.
#![allow(clippy::unwrap_used, reason = "tests")]

mod pulse;

use media::audio::Processing;
use media::audio::measure::{rms, tone_share};
use media::codec::opus::{OpusDecoder, OpusEncoder};
use media::{AudioEvent, AudioUplink, MicUse, RtpPacket, SpeakerUse};
use pulse::{PATIENCE, Rig, Running, play_into, with_daemon};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn music_keeps_left_and_right_apart_in_a_microphone_and_in_a_speaker() {
    with_daemon("inside_the_private_daemon");
}

#[test]
#[ignore = "run by the test above, with a daemon of its own"]
fn inside_the_private_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    rig.audio.set_processing(Processing { music: true, ..Processing::default() });
    rig.audio.set_uplink(AudioUplink { bitrate: 128_000, loss: 0.0, long: false, dtx: true });
    rig.audio.use_mic(MicUse::Device("vmic".into()));
    rig.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    let _player = play_into("micfeed", folder.path(), 600.0, 1, 2);
    assert!(apart(|| record(&rig), [None, Some(600.0)]), "the tone is on the right alone");

    rig.audio.use_speaker(SpeakerUse::Device("spk".into()));
    rig.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    let inlet = rig.audio.add_remote(1);
    let (done, over) = std::sync::mpsc::sync_channel::<()>(1);
    let sender = std::thread::Builder::new().name("remote".into());
    let sender = sender.spawn(move || {
        let (mut encoder, start) = (OpusEncoder::music().unwrap(), Instant::now());
        for n in 0u32.. {
            let tone = |hertz: f32, i: u32| {
                ((n * 960 + i) as f32 % 48_000.0 * hertz * std::f32::consts::TAU / 48_000.0).sin() * 0.4
            };
            let pcm: Vec<f32> = (0..960).flat_map(|i| [tone(500.0, i), tone(800.0, i)]).collect();
            let (payload, arrived) = (encoder.encode(&pcm).unwrap(), Instant::now());
            let (seq, timestamp) = (n as u16, n * 960);
            inlet.push(RtpPacket { seq, timestamp, marker: n == 0, payload, arrived, sender_us: None });
            let next = start + Duration::from_millis(20) * (n + 1);
            // Its end, or the next packet's time.
            let wait = over.recv_timeout(next.saturating_duration_since(Instant::now()));
            if wait != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                return;
            }
        }
    });
    rig.event(|event| matches!(event, AudioEvent::FirstSound { remote: 1 }));
    assert!(apart(listen, [Some(500.0), Some(800.0)]), "the speaker plays left and right");
    drop(done);
    sender.unwrap().join().unwrap();
}

/// Whether, sooner or later, a second's left and right are these tones, or silent.
fn apart(mut second: impl FnMut() -> Vec<f32>, wanted: [Option<f32>; 2]) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let frames = second();
        let sides = [0, 1].map(|side| frames.iter().skip(side).step_by(2).copied().collect::<Vec<f32>>());
        let fits = |(pcm, tone): (&Vec<f32>, &Option<f32>)| match tone {
            Some(tone) => tone_share(pcm, *tone) > 0.95 && rms(pcm) > 0.1,
            None => rms(pcm) < 0.01,
        };
        if sides.iter().zip(&wanted).all(fits) {
            return true;
        }
        eprintln!(
            "not yet: {:?}",
            sides.map(|pcm| (rms(&pcm), wanted.map(|t| t.map(|t| tone_share(&pcm, t)))))
        );
    }
    false
}

/// A second of what the microphone gives, left and right in turn.
fn record(rig: &Rig) -> Vec<f32> {
    while rig.packets.try_recv().is_ok() {}
    let mut decoder = OpusDecoder::stereo().unwrap();
    let (mut heard, mut out) = (Vec::new(), vec![0.0; 2 * 5760]);
    for n in 0..55 {
        let packet = rig.packets.recv_timeout(PATIENCE).expect("a packet came");
        let frames = decoder.decode(&packet.data, &mut out).unwrap();
        // The decoder finds its way first.
        heard.extend(out[..2 * frames].iter().filter(|_| n >= 5));
    }
    heard
}

/// A second of what the speaker plays.
fn listen() -> Vec<f32> {
    let mut listener = Command::new("parec");
    listener.args([
        "--format=s16le",
        "--rate=48000",
        "--channels=2",
        "--latency-msec=20",
        "-d",
        "spk.monitor",
    ]);
    let mut listener = Running(listener.stdout(Stdio::piped()).spawn().unwrap());
    let mut bytes = vec![0; 48_000 * 2 * 2];
    listener.0.stdout.take().unwrap().read_exact(&mut bytes).unwrap();
    bytes.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect()
}
