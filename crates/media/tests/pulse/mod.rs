//! A PulseAudio daemon of our own with null sinks, and a call's sound on it: no hardware.
//!
//! The daemon's address is an environment variable, which must not be changed while threads run: a test
//! starts the daemon and runs itself, by another name, in a process of its own.
#![allow(dead_code, reason = "each test program uses a part")]

use media::audio::measure::{rms, tone_share};
use media::audio::{Noise, Processing};
use media::codec::opus::OpusDecoder;
use media::{Audio, AudioEvent, AudioPacket, MicUse, RtpPacket};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A private daemon: speaker "spk", microphone "vmic", which hears what is played into "micfeed".
pub(crate) struct Daemon {
    folder: tempfile::TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Option<Self> {
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

/// Runs an ignored test of this program in a process of its own, with a daemon of its own.
pub(crate) fn with_daemon(test: &str) {
    let Some(daemon) = Daemon::start() else {
        eprintln!(
            "SKIPPED: no pulseaudio on this machine, so no sound device was tested. Install pulseaudio."
        );
        return;
    };
    let me = std::env::current_exe().unwrap();
    let mut command = daemon.command(me.to_str().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    assert!(command.status().unwrap().success());
}

/// The sound of a call, and what it gives.
pub(crate) struct Rig {
    pub(crate) audio: Audio,
    pub(crate) packets: Receiver<AudioPacket>,
    pub(crate) events: Receiver<AudioEvent>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let (packet_in, packets) = sync_channel(4096);
        let (event_in, events) = sync_channel(256);
        let audio = Audio::spawn(
            Box::new(move |packet| packet_in.try_send(packet).unwrap()),
            Box::new(move |event| event_in.try_send(event).unwrap()),
        );
        // Noise suppression takes a steady tone for noise; here the devices are tested.
        let plain = Processing { echo: false, noise: Noise::Off, gain: false, music: false };
        audio.set_processing(plain);
        Self { audio, packets, events }
    }

    pub(crate) fn event(&self, wanted: impl Fn(&AudioEvent) -> bool) -> AudioEvent {
        self.event_within(PATIENCE, wanted)
    }

    pub(crate) fn event_within(
        &self,
        patience: Duration,
        wanted: impl Fn(&AudioEvent) -> bool,
    ) -> AudioEvent {
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            let event = self.events.recv_timeout(left).expect("the event came");
            eprintln!("{event:?} after {:?}", start.elapsed());
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Decodes what the microphone gives from now on for so many packets.
    pub(crate) fn record(&self, packets: usize) -> Vec<f32> {
        while self.packets.try_recv().is_ok() {}
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

/// A program that is ended when it is not needed any more.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `pactl` prints.
pub(crate) fn pactl(args: &[&str]) -> String {
    let output = Command::new("pactl").args(args).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "pactl {args:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// How much of so many samples of `heard`, where it is most, is this tone, and how loud they are: a busy machine's sound
/// server leaves something out here and there.
pub(crate) fn purest(heard: &[f32], tone: f32, samples: usize) -> (f32, f32) {
    let stretches = heard.windows(samples).step_by(2400);
    let rated = stretches.map(|stretch| (tone_share(stretch, tone), rms(stretch)));
    rated.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// A tone at half of full scale.
pub(crate) fn sine(frequency: f32, seconds: u32) -> impl Iterator<Item = i16> {
    (0..48_000 * seconds).map(move |n| {
        let x = (n as f32 * frequency * std::f32::consts::TAU / 48_000.0).sin();
        (x * 16_000.0) as i16
    })
}

/// Plays a minute of a tone into a sink of so many channels, on one of them.
pub(crate) fn play_into(
    sink: &str,
    folder: &Path,
    frequency: f32,
    channel: usize,
    channels: usize,
) -> Running {
    let path = folder.join(format!("{sink}-{frequency}.raw"));
    let silence = std::iter::repeat_n(0, channels - 1).collect::<Vec<i16>>();
    let frames = sine(frequency, 60).flat_map(|x| {
        let mut frame = silence.clone();
        frame.insert(channel, x);
        frame
    });
    std::fs::write(&path, frames.flat_map(i16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    let mut player = Command::new("pacat");
    player.args(["--playback", "-d", sink, "--raw", "--format=s16le", "--rate=48000", "--latency-msec=100"]);
    player.arg(format!("--channels={channels}")).arg(&path);
    Running(player.spawn().unwrap())
}

/// What comes out of a sink: `seconds` from now on.
pub(crate) fn listen_to(sink: &str, seconds: usize) -> Vec<f32> {
    let mut listener = Command::new("parec");
    listener.args(["--format=s16le", "--rate=48000", "--channels=1", "--latency-msec=20", "-d"]);
    let listener = listener.arg(format!("{sink}.monitor")).stdout(Stdio::piped()).spawn().unwrap();
    let mut listener = Running(listener);
    let mut bytes = vec![0; 48_000 * 2 * seconds];
    listener.0.stdout.take().unwrap().read_exact(&mut bytes).unwrap();
    bytes.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect()
}

/// A tone in a WAV file.
pub(crate) fn tone(path: &Path, frequency: f32, seconds: u32) {
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

/// Somebody else in the call, number 1, who plays this tone for ever.
pub(crate) fn remote(rig: &Rig, folder: &Path, frequency: f32) -> Audio {
    let path = folder.join("remote.wav");
    tone(&path, frequency, 1);
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
    remote
}
