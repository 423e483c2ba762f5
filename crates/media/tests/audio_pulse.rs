//! The real way: a PulseAudio daemon of our own with null sinks, cpal on both sides, no hardware.
//!
//! The daemon's address is an environment variable, which must not be changed while threads run: the first
//! test starts the daemon and runs the second one, which is ignored otherwise, in a process of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

use media::audio::measure::{rms, tone_share};
use media::audio::{list_mics, list_speakers};
use media::codec::opus::OpusDecoder;
use media::{Audio, AudioEvent, AudioPacket, MicUse, RtpPacket, SpeakerUse};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A private daemon: speaker "spk", microphone "vmic", which hears what is played into "micfeed".
struct Daemon {
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { folder };
        std::fs::create_dir(this.folder.path().join("pulse")).unwrap();
        let socket = this.folder.path().join("pulse/native");
        let mut command = this.command("pulseaudio");
        command.args(["-n", "--daemonize=yes", "--exit-idle-time=-1", "--use-pid-file=yes"]);
        let socket = format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket.display());
        for module in [
            socket.as_str(),
            "module-null-sink sink_name=spk rate=48000",
            "module-null-sink sink_name=micfeed rate=48000",
            "module-remap-source source_name=vmic master=micfeed.monitor",
            "module-always-sink",
        ] {
            command.args(["-L", module]);
        }
        match command.status() {
            Ok(status) => assert!(status.success(), "pulseaudio did not start: {status}"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("pulseaudio: {error}"),
        }
        Some(this)
    }

    fn command(&self, program: &str) -> Command {
        let home = self.folder.path();
        let mut command = Command::new(program);
        command.env("XDG_RUNTIME_DIR", home).env("HOME", home).env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.env("PULSE_SERVER", format!("unix:{}", home.join("pulse/native").display()));
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // By its own pid file: no other daemon is meant. Gone already is fine.
        let _ = self.command("pulseaudio").arg("--kill").status();
    }
}

#[test]
fn sound_goes_through_real_devices_both_ways() {
    let Some(daemon) = Daemon::start() else {
        eprintln!(
            "SKIPPED: no pulseaudio on this machine, so no sound device was tested. Install pulseaudio."
        );
        return;
    };
    let me = std::env::current_exe().unwrap();
    let mut command = daemon.command(me.to_str().unwrap());
    command.args(["--exact", "inside_the_private_daemon", "--ignored", "--nocapture", "--test-threads=1"]);
    assert!(command.status().unwrap().success());
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
            eprintln!("{event:?}");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Decodes what the microphone gives for so many packets.
    fn record(&self, packets: usize) -> Vec<f32> {
        let mut decoder = OpusDecoder::new().unwrap();
        let (mut heard, mut out) = (Vec::new(), [0.0; 5760]);
        for _ in 0..packets {
            let packet = self.packets.recv_timeout(PATIENCE).expect("a packet came");
            let samples = decoder.decode(&packet.data, &mut out).unwrap();
            heard.extend_from_slice(&out[..samples]);
        }
        heard
    }
}

fn tone(path: &Path, frequency: f32, seconds: u32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for n in 0..48_000 * seconds {
        let x = (n as f32 * frequency * std::f32::consts::TAU / 48_000.0).sin();
        writer.write_sample((x * 16_000.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
}

/// The loudest second of `pcm`.
fn loudest(pcm: &[f32]) -> &[f32] {
    pcm.windows(48_000).step_by(4800).max_by(|a, b| rms(a).total_cmp(&rms(b))).unwrap()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pactl(args: &[&str]) {
    let status = Command::new("pactl").args(args).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "pactl {args:?}");
}

#[test]
#[ignore = "run by the test above, with a daemon of its own"]
fn inside_the_private_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let mics = list_mics();
    assert!(mics.iter().any(|mic| mic.id.ends_with("vmic")), "{mics:?}");
    assert!(mics.iter().all(|mic| !mic.id.ends_with(".monitor")), "{mics:?}");
    assert!(list_speakers().iter().any(|speaker| speaker.id.ends_with(":spk")));

    let rig = rig();
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
    let mut listener = Command::new("parec");
    listener.args([
        "-d",
        "spk.monitor",
        "--format=s16le",
        "--rate=48000",
        "--channels=1",
        "--latency-msec=20",
    ]);
    let mut listener = Running(listener.stdout(Stdio::piped()).spawn().unwrap());
    let mut bytes = vec![0; 48_000 * 2 * 4];
    listener.0.stdout.take().unwrap().read_exact(&mut bytes).unwrap();
    let heard: Vec<f32> =
        bytes.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect();
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
