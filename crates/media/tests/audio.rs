//! Sound from end to end with files in the place of devices: microphone, Opus, jitter buffer, speaker.
#![allow(clippy::unwrap_used, reason = "tests")]

use media::audio::Processing;
use media::audio::measure::{rms, tone_share};
use media::{Audio, AudioEvent, AudioPacket, AudioUplink, DeviceError, MicUse, RtpPacket, SpeakerUse};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn wav(path: &Path, spec: hound::WavSpec, frequency: f32, seconds: f32) {
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for n in 0..(seconds * spec.sample_rate as f32) as u32 {
        let x = (n as f32 * frequency * std::f32::consts::TAU / spec.sample_rate as f32).sin() * 0.5;
        for _ in 0..spec.channels {
            match spec.sample_format {
                hound::SampleFormat::Float => writer.write_sample(x).unwrap(),
                hound::SampleFormat::Int => {
                    let full = (1u64 << (spec.bits_per_sample - 1)) as f32 - 1.0;
                    writer.write_sample((x * full) as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
}

fn spec(channels: u16, sample_rate: u32, bits: u16, float: bool) -> hound::WavSpec {
    let sample_format = if float { hound::SampleFormat::Float } else { hound::SampleFormat::Int };
    hound::WavSpec { channels, sample_rate, bits_per_sample: bits, sample_format }
}

fn heard_wide(path: &Path) -> Vec<[f32; 2]> {
    let reader = hound::WavReader::open(path).unwrap();
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 48_000));
    let all: Vec<f32> = reader.into_samples::<i16>().map(|x| f32::from(x.unwrap()) / 32_768.0).collect();
    all.chunks_exact(2).map(|frame| [frame[0], frame[1]]).collect()
}

fn heard(path: &Path) -> Vec<f32> {
    heard_wide(path).iter().map(|[left, right]| (left + right) * 0.5).collect()
}

struct Rig {
    audio: Audio,
    packets: Receiver<AudioPacket>,
    events: Receiver<AudioEvent>,
}

fn rig() -> Rig {
    let (packet_in, packets) = sync_channel(4096);
    let (event_in, events) = sync_channel(256);
    let audio = Audio::spawn(
        Box::new(move |packet| packet_in.try_send(packet).unwrap()),
        Box::new(move |event| event_in.try_send(event).unwrap()),
    );
    Rig { audio, packets, events }
}

impl Rig {
    fn event(&self, wanted: impl Fn(&AudioEvent) -> bool) -> AudioEvent {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).expect("the event came");
            if wanted(&event) {
                return event;
            }
        }
    }

    fn packet(&self) -> AudioPacket {
        self.packets.recv_timeout(PATIENCE).expect("a packet came")
    }
}

fn rtp(seq: u16, packet: &AudioPacket) -> RtpPacket {
    RtpPacket {
        seq,
        timestamp: packet.timestamp,
        marker: packet.marker,
        payload: packet.data.clone(),
        arrived: Instant::now(),
        sender_us: None,
    }
}

fn temp() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

#[test]
fn a_wav_microphone_is_heard_in_a_wav_speaker_and_mute_is_silence() {
    let (_keep, folder) = temp();
    wav(&folder.join("in.wav"), spec(2, 44_100, 16, false), 1000.0, 1.0);
    let out = folder.join("out.wav");
    let rig = rig();
    rig.audio.use_speaker(SpeakerUse::File(out.clone()));
    rig.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    let inlet = rig.audio.add_remote(7);
    rig.audio.use_mic(MicUse::File(folder.join("in.wav")));
    let mut before: Option<AudioPacket> = None;
    for seq in 65_500..65_535 + 65 {
        let packet = rig.packet();
        assert_eq!(packet.marker, before.is_none());
        if let Some(before) = before {
            assert_eq!(packet.timestamp, before.timestamp.wrapping_add(960));
        }
        inlet.push(rtp(seq as u16, &packet));
        before = Some(packet);
    }
    assert_eq!(
        rig.event(|event| matches!(event, AudioEvent::FirstSound { .. })),
        AudioEvent::FirstSound { remote: 7 }
    );
    assert!(rig.audio.mic_level() > 0.2, "{}", rig.audio.mic_level());
    rig.audio.set_muted(true);
    while rig.packets.try_recv().is_ok() {}
    // From here on nothing may come; a second's worth of time is measured by waiting for a packet.
    assert!(rig.packets.recv_timeout(Duration::from_millis(1000)).is_err());
    assert!(rig.audio.mic_level() > 0.2, "the meter goes on while muted");
    rig.audio.set_muted(false);
    let after = rig.packet();
    assert!(after.marker);
    let gap = after.timestamp.wrapping_sub(before.unwrap().timestamp) as f32 / 48_000.0;
    assert!((1.0..2.0).contains(&gap), "timestamps ran on for {gap} s");
    let stats = rig.audio.remote_stats(7).unwrap();
    assert_eq!((stats.packets, stats.packets_lost, stats.overflow), (100, 0, 0));
    drop(rig);
    drop(inlet);
    let heard = heard(&out);
    let loud: Vec<f32> = heard.chunks_exact(480).filter(|b| rms(b) > 0.1).flatten().copied().collect();
    assert!((1.7..2.4).contains(&(loud.len() as f32 / 48_000.0)), "{} samples of tone", loud.len());
    assert!(tone_share(&loud, 1000.0) > 0.9, "{}", tone_share(&loud, 1000.0));
    let tail = &heard[heard.len() - 24_000..];
    assert!(rms(tail) < 0.001, "muted, yet {}", rms(tail));
}

/// Tones of 500 Hz on the left and 800 Hz on the right.
fn two_tones(path: &Path) {
    let mut writer = hound::WavWriter::create(path, spec(2, 48_000, 16, false)).unwrap();
    for n in 0..48_000 {
        for hertz in [500.0, 800.0] {
            let x = (n as f32 * hertz * std::f32::consts::TAU / 48_000.0).sin();
            writer.write_sample((x * 10_000.0) as i16).unwrap();
        }
    }
    writer.finalize().unwrap();
}

#[test]
fn music_is_stereo_from_end_to_end_and_can_be_switched_to_and_from_in_the_middle() {
    let (_keep, folder) = temp();
    two_tones(&folder.join("in.wav"));
    let out = folder.join("out.wav");
    let rig = rig();
    rig.audio.use_speaker(SpeakerUse::File(out.clone()));
    rig.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    let inlet = rig.audio.add_remote(7);
    rig.audio.set_uplink(AudioUplink { bitrate: 128_000, loss: 0.0, long: false, dtx: true });
    rig.audio.use_mic(MicUse::File(folder.join("in.wav")));
    let (mut seq, mut next) = (0, None);
    let mut send = |seconds: usize| {
        for _ in 0..seconds * 50 {
            let packet = rig.packet();
            // Some samples are left out where the one kind ends and the other begins, and what a machine that
            // stood still has missed.
            let gap = next.map_or(0, |next| packet.timestamp.wrapping_sub(next));
            assert!(gap < 48_000, "a gap of {gap} samples");
            next = Some(packet.timestamp.wrapping_add(960));
            inlet.push(rtp(seq, &packet));
            seq += 1;
        }
    };
    send(2);
    rig.audio.set_processing(Processing { music: true, ..Processing::default() });
    send(3);
    rig.audio.set_processing(Processing::default());
    send(2);
    let stats = rig.audio.remote_stats(7).unwrap();
    assert_eq!(stats.packets_lost, 0, "{stats:?}");
    drop((rig, inlet));
    // What each piece of a fifth of a second is: a voice in the middle, music, or something else.
    let heard = heard_wide(&out);
    let kind = |piece: &[[f32; 2]]| {
        let [left, right] = [0, 1].map(|n| piece.iter().map(|frame| frame[n]).collect::<Vec<f32>>());
        let shares = [500.0, 800.0].map(|tone| [tone_share(&left, tone), tone_share(&right, tone)]);
        match shares {
            [[l, r], [l2, r2]] if left == right && l > 0.3 && r > 0.3 && l2 > 0.3 && r2 > 0.3 => 'v',
            [[l, r], [l2, r2]] if l > 0.95 && r2 > 0.95 && l2 < 0.01 && r < 0.01 => 'm',
            _ => '-',
        }
    };
    let kinds: String = heard.chunks_exact(9600).map(kind).collect();
    let (first, last) = (kinds.find('m').expect(&kinds), kinds.rfind('m').expect(&kinds));
    assert!(!kinds[first..=last].contains('v'), "{kinds}");
    let count = |kinds: &str, kind| kinds.matches(kind).count();
    let (before, after) = (count(&kinds[..first], 'v'), count(&kinds[last..], 'v'));
    assert!(before >= 4 && count(&kinds, 'm') >= 6 && after >= 4, "{kinds}");
}

#[test]
fn every_kind_of_wav_file_is_a_microphone() {
    let (_keep, folder) = temp();
    let kinds = [
        spec(1, 8_000, 8, false),
        spec(2, 48_000, 24, false),
        spec(6, 44_100, 32, true),
        spec(1, 96_000, 32, false),
    ];
    let rig = rig();
    for (n, kind) in kinds.into_iter().enumerate() {
        let path = folder.join(format!("{n}.wav"));
        wav(&path, kind, 500.0, 0.3);
        rig.audio.use_mic(MicUse::File(path.clone()));
        rig.event(|event| {
            *event
                == AudioEvent::MicOpened {
                    source: MicUse::File(path.clone()),
                    name: path.display().to_string(),
                }
        });
        while rig.packets.try_recv().is_ok() {}
        let mut decoder = media::codec::opus::OpusDecoder::new().unwrap();
        let (mut heard, mut out) = (Vec::new(), [0.0; 5760]);
        for _ in 0..50 {
            let samples = decoder.decode(&rig.packet().data, &mut out).unwrap();
            heard.extend_from_slice(&out[..samples]);
        }
        // A file of 0.3 s holds whole periods, so its loop has no seam.
        let steady = &heard[24_000..];
        assert!(tone_share(steady, 500.0) > 0.9, "{kind:?}: {}", tone_share(steady, 500.0));
        assert!((rms(steady) - 0.3536).abs() < 0.08, "{kind:?}: {}", rms(steady));
    }
}

#[test]
fn files_that_are_no_sound_are_refused_with_a_reason_and_the_old_microphone_stays() {
    let (_keep, folder) = temp();
    let rig = rig();
    rig.audio.use_mic(MicUse::Tone);
    rig.event(|event| matches!(event, AudioEvent::MicOpened { source: MicUse::Tone, .. }));
    std::fs::write(folder.join("garbage.wav"), [7; 5000]).unwrap();
    std::fs::write(folder.join("empty.wav"), []).unwrap();
    wav(&folder.join("whole.wav"), spec(1, 48_000, 16, false), 440.0, 1.0);
    let whole = std::fs::read(folder.join("whole.wav")).unwrap();
    std::fs::write(folder.join("short.wav"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(folder.join("header.wav"), &whole[..30]).unwrap();
    wav(&folder.join("silent.wav"), spec(1, 48_000, 16, false), 440.0, 0.0);
    for name in ["garbage.wav", "empty.wav", "short.wav", "header.wav", "silent.wav"] {
        rig.audio.use_mic(MicUse::File(folder.join(name)));
        let event = rig.event(|event| matches!(event, AudioEvent::MicFailed { .. }));
        let AudioEvent::MicFailed { error: DeviceError::Unusable { what, .. }, .. } = event else {
            panic!("{name}: {event:?}");
        };
        assert!(what.ends_with(name));
    }
    rig.audio.use_mic(MicUse::File(folder.join("absent.wav")));
    let event = rig.event(|event| matches!(event, AudioEvent::MicFailed { .. }));
    assert!(matches!(event, AudioEvent::MicFailed { error: DeviceError::NotFound { .. }, .. }), "{event:?}");
    rig.audio.use_speaker(SpeakerUse::File(folder.join("no/such/folder.wav")));
    let event = rig.event(|event| matches!(event, AudioEvent::SpeakerFailed { .. }));
    assert!(
        matches!(event, AudioEvent::SpeakerFailed { error: DeviceError::NotFound { .. }, .. }),
        "{event:?}"
    );
    while rig.packets.try_recv().is_ok() {}
    rig.packet();
}

#[test]
fn mute_outlives_switching_the_microphone() {
    let (_keep, folder) = temp();
    wav(&folder.join("a.wav"), spec(1, 48_000, 16, false), 1000.0, 1.0);
    let rig = rig();
    rig.audio.set_muted(true);
    for choice in [MicUse::Tone, MicUse::File(folder.join("a.wav")), MicUse::None, MicUse::Tone] {
        rig.audio.use_mic(choice.clone());
        rig.event(|event| matches!(event, AudioEvent::MicOpened { source, .. } if *source == choice));
        assert!(rig.packets.recv_timeout(Duration::from_millis(150)).is_err(), "{choice} spoke while muted");
    }
    rig.audio.set_muted(false);
    assert!(rig.packet().marker);
    // Pressed while the new one is still being opened: nothing after the call has returned.
    for _ in 0..20 {
        rig.audio.use_mic(MicUse::File(folder.join("a.wav")));
        rig.audio.set_muted(true);
        while rig.packets.try_recv().is_ok() {}
        assert!(rig.packets.recv_timeout(Duration::from_millis(45)).is_err());
        rig.audio.set_muted(false);
        assert!(rig.packet().marker);
    }
}

#[test]
fn a_packet_leaves_within_30_ms_of_being_full() {
    let rig = rig();
    rig.audio.use_mic(MicUse::Tone);
    rig.packet();
    let mut ages: Vec<_> = (0..100).map(|_| rig.packet().captured.elapsed().as_millis()).collect();
    ages.sort_unstable();
    assert!(ages[50] < 20 + 30, "median age {} ms, of which 20 are the packet", ages[50]);
}

#[test]
fn a_thinner_link_makes_smaller_packets_at_once() {
    let rig = rig();
    rig.audio.use_mic(MicUse::Tone);
    let size = |bitrate| {
        rig.audio.set_uplink(AudioUplink { bitrate, loss: 0.0, long: false, dtx: false });
        // Those that were on their way, and one that the encoder turns in.
        (0..5).for_each(|_| drop(rig.packet()));
        (0..25).map(|_| rig.packet().data.len()).sum::<usize>()
    };
    let (thick, thin) = (size(48_000), size(8_000));
    assert!(thin * 3 < thick, "{thin} bytes at 8 kb/s, {thick} at 48");
}

#[test]
fn long_and_short_packets_follow_each_other_without_a_gap() {
    let rig = rig();
    rig.audio.use_mic(MicUse::Tone);
    let mut next = None;
    let mut lengths = Vec::new();
    let mut stalls = 0;
    for long in [false, true, false] {
        rig.audio.set_uplink(AudioUplink { bitrate: 16_000, loss: 0.0, long, dtx: false });
        for _ in 0..15 {
            let packet = rig.packet();
            let length = media::codec::opus::duration(&packet.data).unwrap();
            // A machine that stalls leaves sound out, and marks what comes after it.
            let follows = next.is_none_or(|next| next == packet.timestamp);
            assert!(follows || packet.marker, "{next:?}: {packet:?}");
            stalls += u32::from(!follows);
            next = Some(packet.timestamp.wrapping_add(length));
            lengths.push(length);
        }
    }
    // Each of the two changes would show, and no machine stalls at each.
    assert!(stalls < 2, "{stalls}");
    for length in [960, 1920] {
        assert!(lengths.iter().filter(|l| **l == length).count() > 10, "{lengths:?}");
    }
}

#[test]
fn the_speakers_file_is_a_wav_file_at_every_moment_and_keeps_time() {
    let (_keep, folder) = temp();
    let out = folder.join("out.wav");
    let rig = rig();
    rig.audio.use_speaker(SpeakerUse::File(out.clone()));
    rig.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    assert!(hound::WavReader::open(&out).is_ok(), "a wav file from the first moment");
    rig.audio.use_mic(MicUse::Tone);
    let since = Instant::now();
    for _ in 0..120 {
        rig.packet();
    }
    let (written, passed) = (heard(&out).len() as f32 / 48_000.0, since.elapsed().as_secs_f32());
    assert!(written > passed - 0.7 && written < passed + 0.3, "{written} s written in {passed} s");
}

#[test]
fn what_is_no_opus_is_counted_and_a_dropped_inlet_is_forgotten() {
    let rig = rig();
    let inlet = rig.audio.add_remote(1);
    let packet = |seq: u16, payload: &'static [u8]| RtpPacket {
        seq,
        timestamp: u32::from(seq) * 960,
        marker: false,
        payload: payload.into(),
        arrived: Instant::now(),
        sender_us: None,
    };
    for seq in 0..50 {
        inlet.push(packet(seq, b""));
        inlet.push(packet(seq, &[0xff, 0xff, 0xff]));
    }
    rig.audio.use_mic(MicUse::Tone);
    for _ in 0..10 {
        rig.packet();
    }
    let stats = rig.audio.remote_stats(1).unwrap();
    assert_eq!((stats.packets_discarded + stats.packets, stats.played), (100, 0), "{stats:?}");
    for seq in 0..2000 {
        inlet.push(packet(seq, b""));
    }
    drop(inlet);
    for _ in 0..10 {
        rig.packet();
    }
    assert_eq!(rig.audio.remote_stats(1), None);
}
