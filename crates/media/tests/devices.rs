//! Real devices, made by the kernel: vivid's cameras and the sound card of snd-aloop, whose ends are joined.
//!
//! Ignored, for few machines have them: `./dev devices` starts one that has, and runs these there. Run elsewhere
//! they fail for want of the devices, and change nothing but those.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use media::audio::measure::{rms, tone_share};
use media::audio::{Noise, Processing};
use media::codec::opus::{OpusDecoder, OpusEncoder};
use media::{
    Audio, AudioEvent, AudioPacket, Camera, CameraEvent, CameraUse, DeviceError, DeviceInfo, Frame, MicUse,
    RtpPacket, Slot, SpeakerUse,
};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// An emulated machine is twenty times slower than a real one.
const PATIENCE: Duration = Duration::from_secs(60);

/// vivid's cameras.
fn cameras() -> Vec<DeviceInfo> {
    let cameras = media::camera::list();
    assert!(cameras.len() >= 3, "vivid's three cameras are wanted, here are {cameras:?}: see ./dev devices");
    cameras
}

/// The node of vivid's camera of that number, by the kernel's name for it.
fn node(number: usize) -> PathBuf {
    let all = std::fs::read_dir("/sys/class/video4linux").unwrap().flatten();
    let named = |entry: &std::fs::DirEntry| {
        let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        name.trim() == format!("vivid-{number:03}-vid-cap")
    };
    let entry = all.into_iter().find(named).expect("a camera of vivid's");
    PathBuf::from("/dev").join(entry.file_name())
}

/// vivid's camera of that number, by its id.
fn device(number: usize) -> CameraUse {
    let (cameras, name) = (cameras(), format!("vivid-{number:03}-vid-cap"));
    let camera = cameras.iter().find(|camera| camera.name == name);
    CameraUse::Device(camera.unwrap_or_else(|| panic!("no {name} in {cameras:?}")).id.clone())
}

struct Rig {
    camera: Camera,
    pictures: Slot<Frame>,
    events: Receiver<CameraEvent>,
}

impl Rig {
    fn new() -> Self {
        let pictures = Slot::default();
        // overflow: a test that makes more events than this fails when it misses one.
        let (sender, events) = sync_channel(256);
        let tell = Box::new(move |event: CameraEvent| drop(sender.try_send(event)));
        Self { camera: Camera::spawn(vec![pictures.clone()], tell), pictures, events }
    }

    fn event(&self) -> CameraEvent {
        let event = self.events.recv_timeout(PATIENCE).expect("an event in time");
        eprintln!("{event:?}");
        event
    }

    fn opened(&self) -> CameraUse {
        match self.event() {
            CameraEvent::Opened { source, .. } => source,
            other => panic!("{other:?}"),
        }
    }

    /// That so many pictures come from now on, each later than the one before, and none of one colour.
    fn streams(&self, pictures: usize) {
        self.pictures.take();
        let mut last = None;
        for _ in 0..pictures {
            let frame = self.pictures.wait(Instant::now() + PATIENCE).expect("a picture in time");
            assert!(last.replace(frame.captured).is_none_or(|last| last < frame.captured));
            let luma = &frame.image.packed()[..(frame.image.width() * frame.image.height()) as usize];
            let (least, most) = (luma.iter().min().unwrap(), luma.iter().max().unwrap());
            assert!(most - least > 100, "vivid's bars go from black to white, and not {least} to {most}");
        }
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs vivid's cameras: ./dev devices"]
fn each_camera_is_listed_once_and_streams() {
    let cameras = cameras();
    assert_eq!(cameras.iter().filter(|camera| camera.default).count(), 1);
    for (at, camera) in cameras.iter().enumerate() {
        assert!(cameras[..at].iter().all(|other| other.id != camera.id), "{cameras:?}");
        let rig = Rig::new();
        let wanted = CameraUse::Device(camera.id.clone());
        rig.camera.use_source(wanted.clone());
        assert_eq!(rig.opened(), wanted);
        rig.streams(10);
    }
}

#[test]
#[ignore = "needs vivid's cameras: ./dev devices"]
fn two_cameras_are_switched_between_ten_times() {
    let rig = Rig::new();
    for n in 0..11 {
        let wanted = device(n % 2);
        let asked = Instant::now();
        rig.camera.use_source(wanted.clone());
        assert_eq!(rig.opened(), wanted);
        rig.streams(3);
        eprintln!("switched, and three pictures, within {:?}", asked.elapsed());
    }
    assert!(rig.events.try_recv().is_err());
}

#[test]
#[ignore = "needs vivid's cameras: ./dev devices"]
fn two_cameras_stream_at_once() {
    let rigs = [Rig::new(), Rig::new()];
    for (n, rig) in rigs.iter().enumerate() {
        rig.camera.use_source(device(n));
        rig.opened();
    }
    rigs.iter().for_each(|rig| rig.streams(5));
}

/// As the plug pulled does: the driver refuses everything, and the last one to close brings the device back.
#[test]
#[ignore = "needs vivid's cameras: ./dev devices"]
fn a_camera_that_is_disconnected_is_told_of_and_taken_back() {
    let rig = Rig::new();
    rig.camera.use_source(device(0));
    rig.opened();
    rig.streams(3);
    let node = node(0);
    let pulled = Instant::now();
    let status = Command::new("v4l2-ctl").arg("-d").arg(&node).args(["-c", "disconnect=1"]).status();
    assert!(status.expect("v4l2-ctl, of v4l-utils").success());
    match rig.event() {
        CameraEvent::Lost { error: DeviceError::Lost { .. }, .. } => {}
        other => panic!("{other:?}"),
    }
    eprintln!("noticed {:?} after the command was begun", pulled.elapsed());
    rig.opened();
    rig.streams(3);
}

/// The nodes go away and come back, as with a cable.
#[test]
#[ignore = "needs vivid's cameras: ./dev devices"]
fn a_camera_whose_node_goes_is_told_of_and_taken_back() {
    let rig = Rig::new();
    let wanted = device(0);
    rig.camera.use_source(wanted.clone());
    rig.opened();
    rig.streams(3);
    let driver = |what: &str| {
        std::fs::write(format!("/sys/bus/platform/drivers/vivid/{what}"), "vivid.0").unwrap();
    };
    driver("unbind");
    match rig.event() {
        CameraEvent::Lost { error: DeviceError::Lost { .. }, .. } => {}
        other => panic!("{other:?}"),
    }
    assert!(media::camera::list().is_empty());
    driver("bind");
    assert_eq!(rig.opened(), wanted);
    rig.streams(3);
}

#[test]
#[ignore = "needs vivid's cameras: ./dev devices"]
fn a_camera_in_use_elsewhere_is_busy_until_it_is_free() {
    let mut other = Command::new("v4l2-ctl");
    other.arg("-d").arg(node(0)).args(["--stream-mmap", "--stream-count=100000", "--verbose"]);
    let mut other = Running(other.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    // It tells of each picture.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(other.0.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("seq")), "v4l2-ctl does not stream");

    let rig = Rig::new();
    rig.camera.use_source(device(0));
    match rig.event() {
        CameraEvent::Failed { error: DeviceError::Busy { .. }, fell_back: false, .. } => {}
        other => panic!("{other:?}"),
    }
    // Another one can be chosen meanwhile, and goes on when this one is chosen again.
    rig.camera.use_source(device(1));
    rig.opened();
    rig.camera.use_source(device(0));
    match rig.event() {
        CameraEvent::Failed { error: DeviceError::Busy { .. }, fell_back: true, .. } => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(rig.opened(), device(1));
    rig.streams(3);
    drop(other);
    rig.camera.use_source(device(0));
    assert_eq!(rig.opened(), device(0));
    rig.streams(3);
}

/// The id of the card's end of that number.
fn end(devices: &[DeviceInfo], number: u32) -> String {
    let wanted = format!("plughw:CARD=Loopback,DEV={number}");
    let found = devices.iter().find(|device| device.id.ends_with(&wanted));
    found
        .unwrap_or_else(|| panic!("snd-aloop's card is wanted, here is {devices:?}: see ./dev devices"))
        .id
        .clone()
}

/// The sound of a call on the card, and somebody in it who hums or is silent.
struct Call {
    audio: Audio,
    packets: Receiver<AudioPacket>,
    events: Receiver<AudioEvent>,
    inlet: media::AudioInlet,
    tone: Vec<bytes::Bytes>,
    start: Instant,
    sent: u32,
}

impl Call {
    fn new() -> Self {
        let (packet_in, packets) = sync_channel::<AudioPacket>(4096);
        let (event_in, events) = sync_channel(256);
        let audio = Audio::spawn(
            Box::new(move |packet| packet_in.try_send(packet).unwrap()),
            Box::new(move |event| event_in.try_send(event).unwrap()),
        );
        // Noise suppression takes a steady tone for noise; here the devices are tested.
        let plain = Processing { echo: false, noise: Noise::Off, gain: false, music: false };
        audio.set_processing(plain);
        let inlet = audio.add_remote(1);
        Self { audio, packets, events, inlet, tone: second_of_tone(), start: Instant::now(), sent: 0 }
    }

    fn event(&self, wanted: impl Fn(&AudioEvent) -> bool) {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("an event in time");
            eprintln!("{event:?}");
            if wanted(&event) {
                return;
            }
        }
    }

    /// Waits for our next packet, but not beyond the time for the next of theirs, which is sent if they hum.
    fn step(&mut self, hums: bool) -> Option<AudioPacket> {
        let due = self.start + Duration::from_millis(20) * self.sent;
        if let Ok(packet) = self.packets.recv_timeout(due.saturating_duration_since(Instant::now())) {
            return Some(packet);
        }
        if hums {
            self.inlet.push(RtpPacket {
                seq: self.sent as u16,
                timestamp: self.sent * 960,
                marker: false,
                payload: self.tone[self.sent as usize % self.tone.len()].clone(),
                arrived: Instant::now(),
                sender_us: None,
            });
        }
        self.sent += 1;
        None
    }

    /// Until the level of our own microphone is as wanted.
    fn until(&mut self, hums: bool, wanted: impl Fn(f32) -> bool) {
        let start = Instant::now();
        while !wanted(self.audio.mic_level()) {
            self.step(hums);
            assert!(start.elapsed() < PATIENCE, "the level is {}", self.audio.mic_level());
        }
        eprintln!("level {} after {:?}", self.audio.mic_level(), start.elapsed());
    }
}

/// What is played into the speaker comes back by the microphone.
#[test]
#[ignore = "needs snd-aloop's card: ./dev devices"]
fn sound_goes_out_and_comes_back_through_alsa() {
    let mut call = Call::new();
    // An emulated machine is too slow to encode as well; a meter goes on while muted.
    call.audio.set_muted(true);
    call.audio.use_speaker(SpeakerUse::Device(end(&media::audio::list_speakers(), 0)));
    call.event(|event| matches!(event, AudioEvent::SpeakerOpened { .. }));
    call.audio.use_mic(MicUse::Device(end(&media::audio::list_mics(), 1)));
    call.event(|event| matches!(event, AudioEvent::MicOpened { .. }));
    for _ in 0..3 {
        call.until(true, |level| level > 0.1);
        call.until(false, |level| level < 0.001);
    }
    assert!(call.packets.try_recv().is_err(), "muted");
    call.audio.set_muted(false);
    let (mut decoder, mut heard, mut out) = (OpusDecoder::new().unwrap(), Vec::new(), [0.0; 5760]);
    let unmuted = Instant::now();
    while heard.len() < 48_000 * 4 {
        assert!(unmuted.elapsed() < PATIENCE, "{} samples so far", heard.len());
        let Some(packet) = call.step(true) else { continue };
        let samples = decoder.decode(&packet.data, &mut out).unwrap();
        heard.extend_from_slice(&out[..samples]);
    }
    let pieces = heard.windows(4800).step_by(480).filter(|piece| rms(piece) > 0.1);
    let purest = pieces.map(|piece| tone_share(piece, 440.0)).fold(0.0, f32::max);
    eprintln!("4 s of sound in {:?}, purest {purest}; {:?}", unmuted.elapsed(), call.audio.remote_stats(1));
    // Such a machine drops some of each tenth of a second; of anything but the tone this would be next to nothing.
    assert!(purest > 0.6, "{purest} of the purest 100 ms is the tone that was played");
}

/// Packets of 440 Hz that can be repeated; encoded beforehand, for that takes an emulated machine long.
fn second_of_tone() -> Vec<bytes::Bytes> {
    let mut encoder = OpusEncoder::new().unwrap();
    let sample = |n: usize| (n as f32 * 440.0 * std::f32::consts::TAU / 48_000.0).sin() * 0.25;
    let packet = |at: usize| encoder.encode(&(at * 960..(at + 1) * 960).map(sample).collect::<Vec<_>>());
    (0..50).map(packet).collect::<Result<_, _>>().unwrap()
}
