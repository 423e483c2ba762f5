//! What is played and heard beside the call: chimes, tests of speaker and microphone, who speaks, volumes.
//! Nothing of it is sent.
#![allow(clippy::unwrap_used, reason = "tests")]

use media::audio::measure::{rms, tone_share};
use media::audio::{Chime, Rehearsal, Rehearse};
use media::{Audio, AudioEvent, AudioInlet, AudioPacket, MicUse, RtpPacket, SpeakerUse};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    audio: Audio,
    packets: Receiver<AudioPacket>,
    events: Receiver<AudioEvent>,
    out: PathBuf,
    _folder: tempfile::TempDir,
}

impl Rig {
    /// With a wav file for a speaker.
    fn new() -> Self {
        let (packet_in, packets) = sync_channel(8192);
        let (event_in, events) = sync_channel(256);
        let audio = Audio::spawn(
            Box::new(move |packet| packet_in.try_send(packet).unwrap()),
            Box::new(move |event| event_in.try_send(event).unwrap()),
        );
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.wav");
        audio.use_speaker(SpeakerUse::File(out.clone()));
        let rig = Self { audio, packets, events, out, _folder: folder };
        rig.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
        rig
    }

    fn mic(&self, source: MicUse) {
        self.audio.use_mic(source);
        self.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    }

    /// Those before it are gone.
    fn event(&self, wanted: impl Fn(&AudioEvent) -> bool) -> AudioEvent {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let event = event.expect("the event came");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// The steps of a test, up to its end.
    fn rehearsal(&self) -> Vec<Rehearsal> {
        let mut steps = Vec::new();
        while !matches!(steps.last(), Some(Rehearsal::Over | Rehearsal::NothingHeard)) {
            let event = self.event(|event| matches!(event, AudioEvent::Rehearsal(_)));
            let AudioEvent::Rehearsal(step) = event else { unreachable!() };
            steps.push(step);
        }
        steps
    }

    /// Ends it; what the speaker played.
    fn played(self) -> Vec<f32> {
        let Self { audio, out, .. } = self;
        drop(audio);
        let reader = hound::WavReader::open(out).unwrap();
        let all: Vec<f32> = reader.into_samples::<i16>().map(|x| f32::from(x.unwrap()) / 32_768.0).collect();
        // Left and right are the same.
        assert!(all.chunks_exact(2).all(|frame| frame[0] == frame[1]));
        all.into_iter().step_by(2).collect()
    }
}

fn loud(pcm: &[f32]) -> Vec<f32> {
    pcm.chunks_exact(480).filter(|block| rms(block) > 0.003).flatten().copied().collect()
}

fn silent_wav(path: &Path) -> MicUse {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for _ in 0..48_000 {
        writer.write_sample(0i16).unwrap();
    }
    writer.finalize().unwrap();
    MicUse::File(path.to_owned())
}

#[test]
fn chimes_and_the_speaker_test_are_played_here_and_sent_to_nobody() {
    let rig = Rig::new();
    rig.audio.ring(Chime::Leave);
    rig.audio.rehearse(Rehearse::Speaker);
    assert_eq!(rig.rehearsal(), [Rehearsal::Speaker, Rehearsal::Over]);
    assert!(rig.packets.try_recv().is_err());
    let played = loud(&rig.played());
    assert!((0.8..2.0).contains(&(played.len() as f32 / 48_000.0)), "{}", played.len());
    let (leave, test) = played.split_at(4800);
    assert!(tone_share(leave, 880.0) > 0.8, "the chime first");
    assert!(tone_share(&test[test.len() - 14_400..], 783.99) > 0.8, "then the test");
}

#[test]
fn the_echo_test_plays_back_four_seconds_of_a_muted_microphone_and_sends_nothing() {
    let rig = Rig::new();
    rig.audio.set_muted(true);
    rig.mic(MicUse::Tone);
    rig.audio.rehearse(Rehearse::Echo);
    let recording = (1..=4).rev().map(|left| Rehearsal::Recording { left });
    let playing = (1..=4).rev().map(|left| Rehearsal::Playing { left });
    let all: Vec<_> = recording.chain(playing).chain([Rehearsal::Over]).collect();
    assert_eq!(rig.rehearsal(), all);
    assert!(rig.packets.try_recv().is_err(), "muted");
    let played = loud(&rig.played());
    assert!((3.8..4.1).contains(&(played.len() as f32 / 48_000.0)), "{}", played.len());
    assert!(tone_share(&played, 440.0) > 0.95 && (rms(&played) - 0.1768).abs() < 0.01);
}

#[test]
fn a_microphone_that_gives_nothing_is_told_of_and_so_is_one_that_speaks() {
    let rig = Rig::new();
    let folder = tempfile::tempdir().unwrap();
    rig.mic(silent_wav(&folder.path().join("silent.wav")));
    let began = Instant::now();
    rig.event(|event| *event == AudioEvent::MicSilent { on: true });
    assert!((3.0..8.0).contains(&began.elapsed().as_secs_f32()), "{:?}", began.elapsed());
    rig.audio.use_mic(MicUse::Tone);
    rig.event(|event| *event == AudioEvent::MicSilent { on: false });
    rig.event(|event| *event == AudioEvent::OwnVoice { on: true });
    rig.audio.use_mic(MicUse::None);
    rig.event(|event| *event == AudioEvent::OwnVoice { on: false });
}

/// Hands on what the microphone sent, as a remote's, for so many packets.
fn speak(rig: &Rig, inlet: &AudioInlet, seq: &mut u16, packets: usize) {
    for _ in 0..packets {
        let AudioPacket { data, timestamp, marker, .. } = rig.packets.recv_timeout(PATIENCE).unwrap();
        let packet = RtpPacket {
            seq: *seq,
            timestamp,
            marker,
            payload: data,
            arrived: Instant::now(),
            sender_us: None,
        };
        inlet.push(packet);
        *seq = seq.wrapping_add(1);
    }
}

#[test]
fn a_volume_changes_what_is_played_and_not_who_speaks() {
    let rig = Rig::new();
    let inlet = rig.audio.add_remote(7);
    rig.mic(MicUse::Tone);
    let mut seq = 0;
    speak(&rig, &inlet, &mut seq, 50);
    rig.event(|event| *event == AudioEvent::Speaking { remote: 7, on: true });
    for volume in [2.0, 0.0] {
        rig.audio.set_volume(7, volume);
        speak(&rig, &inlet, &mut seq, 75);
    }
    let stats = rig.audio.remote_stats(7).unwrap();
    assert!(stats.level > 0.1, "{stats:?}");
    rig.audio.set_volume(9, 0.5);
    // Nothing more comes from them.
    rig.event(|event| *event == AudioEvent::Speaking { remote: 7, on: false });
    drop(inlet);
    let played = rig.played();
    let blocks = |low: f32, high: f32| {
        played.chunks_exact(480).filter(|block| (low..high).contains(&rms(block))).count()
    };
    assert!(blocks(0.16, 0.19) > 40, "as it came: {}", blocks(0.16, 0.19));
    assert!(blocks(0.32, 0.38) > 100, "twice: {}", blocks(0.32, 0.38));
    let heard = played.iter().rposition(|x| x.abs() > 0.01).unwrap();
    assert!(played.len() - heard > 48_000, "nothing at the end");
}
