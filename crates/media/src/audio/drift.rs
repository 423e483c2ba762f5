//! A speaker whose clock is not ours, for half an hour of a virtual clock: nothing clicks, grows or drops.

use super::device::{DeviceSpeaker, Opened};
use super::ends::SpeakerSink;
use super::measure::tone_share;
use super::remote::{AudioInStats, Remote, inlet};
use super::ring::{Gauge, SpeakerFeed, to_speaker};
use super::{BLOCK, remote};
use crate::codec::opus::{OpusEncoder, RATE};
use crate::rtp::RtpPacket;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What the speaker played, and how it was on the way.
struct Outcome {
    stats: AudioInStats,
    /// Samples that the speaker asked for in vain, its first second left out.
    missed: u64,
    /// The longest that a sample waited in the ring, of what was there after each look.
    most_ahead: Duration,
    /// The worst second's share of the tone.
    purest: f32,
}

/// 50 packets of a tone of 400 Hz, which joins up with itself.
fn packets() -> Vec<bytes::Bytes> {
    let mut encoder = OpusEncoder::new().unwrap();
    let tone = |n: usize| (n as f32 * 400.0 * std::f32::consts::TAU / RATE as f32).sin() * 0.3;
    let packet = |at: usize| encoder.encode(&(at * 960..(at + 1) * 960).map(tone).collect::<Vec<_>>());
    // The first second teaches the encoder; the decoder's state is that of the second one's end.
    (0..100).map(packet).skip(50).collect::<Result<_, _>>().unwrap()
}

struct Device {
    start: Instant,
    /// Its samples a second by our clock.
    rate: f64,
    feed: SpeakerFeed,
    calls: u64,
    heard: Vec<f32>,
}

impl Device {
    /// When it asks next.
    fn due(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.calls as f64 * BLOCK as f64 / self.rate)
    }

    fn call(&mut self) {
        self.calls += 1;
        let heard = &mut self.heard;
        self.feed.read(BLOCK, |[left, _]| heard.push(left));
    }
}

/// A speaker, its device's end, and what is known of it.
fn speaker() -> (DeviceSpeaker, SpeakerFeed, Arc<Gauge>) {
    let (feed, ring, gauge) = to_speaker(RATE as usize / 2, &std::thread::current());
    let opened = Opened {
        stream: Box::new(()),
        name: "virtual".into(),
        id: "virtual".into(),
        rate: RATE,
        gauge: Arc::clone(&gauge),
    };
    (DeviceSpeaker::new(opened, ring), feed, gauge)
}

fn play(parts_per_million: f64, length: Duration) -> Outcome {
    let start = Instant::now();
    let (mut speaker, feed, gauge) = speaker();
    let rate = f64::from(RATE) * (1.0 + parts_per_million / 1e6);
    let mut device = Device { start, rate, feed, calls: 0, heard: Vec::new() };
    let (inlet, outlet, shared) = inlet(1);
    let mut voice = Remote::new(outlet).unwrap();
    let (packets, mut sent) = (packets(), 0u32);
    let (mut most_ahead, mut purest, mut early) = (Duration::ZERO, 1.0f32, 0);
    while device.due() < start + length {
        let now = device.due();
        while start + Duration::from_millis(20) * sent < now {
            let arrived = start + Duration::from_millis(20) * sent;
            inlet.push(packet(sent, &packets, arrived));
            assert!(voice.receive());
            sent += 1;
        }
        device.call();
        run(&mut speaker, &mut voice, now);
        most_ahead = most_ahead.max(speaker.ahead());
        if device.heard.len() >= RATE as usize {
            if device.calls > 1000 {
                purest = purest.min(tone_share(&device.heard, 400.0));
            }
            device.heard.clear();
        }
        if now < start + Duration::from_secs(1) {
            early = gauge.missed.load(Ordering::Relaxed);
        }
    }
    Outcome {
        stats: shared.stats(),
        missed: gauge.missed.load(Ordering::Relaxed) - early,
        most_ahead,
        purest,
    }
}

fn packet(number: u32, packets: &[bytes::Bytes], arrived: Instant) -> RtpPacket {
    RtpPacket {
        seq: number as u16,
        timestamp: number.wrapping_mul(960),
        marker: false,
        payload: packets[number as usize % packets.len()].clone(),
        arrived,
        sender_us: None,
    }
}

/// What the audio thread does when the device's callback wakes it.
fn run(speaker: &mut DeviceSpeaker, voice: &mut remote::Remote, now: Instant) {
    for _ in 0..speaker.wanted(now).unwrap() {
        let block = voice.pull(now, now + speaker.ahead()).copied().unwrap_or([[0.0; BLOCK]; 2]);
        speaker.write(&block).unwrap();
    }
}

#[test]
fn half_an_hour_with_a_speaker_200_ppm_off_neither_clicks_nor_grows_nor_drops() {
    let length = Duration::from_secs(30 * 60);
    for ppm in [-200.0, 200.0] {
        let Outcome { stats, missed, most_ahead, purest } = play(ppm, length);
        eprintln!("{ppm} ppm: {missed} missed, {most_ahead:?} ahead, purity {purest}, {stats:?}");
        assert_eq!(missed, 0, "{ppm} ppm: the speaker ran dry");
        assert!(stats.concealed_samples < RATE.into(), "{ppm} ppm: {stats:?}");
        assert!(most_ahead <= Duration::from_millis(45), "{ppm} ppm: {most_ahead:?}");
        assert!(stats.delay_ms < 80.0, "{ppm} ppm: {stats:?}");
        assert!(purest > 0.97, "{ppm} ppm: {purest}");
    }
}

#[test]
fn a_speaker_that_is_hopelessly_slow_leaves_sound_out_and_guesses_nothing() {
    let Outcome { stats, .. } = play(-300_000.0, Duration::from_secs(120));
    assert!(stats.packets_discarded > 300, "{stats:?}");
    assert!(stats.concealed_samples < RATE.into(), "{stats:?}");
    assert!(stats.delay_ms < 1100.0, "{stats:?}");
}

#[test]
fn sound_does_not_wait_for_a_speaker_that_takes_its_time_to_start() {
    // Some take what they need to begin with, and nothing more until they have started.
    for taken_at_first in [0, 4] {
        let start = Instant::now();
        let (mut speaker, mut feed, _gauge) = speaker();
        let (inlet, outlet, shared) = inlet(1);
        let mut voice = Remote::new(outlet).unwrap();
        let packets = packets();
        for tick in 0..300 {
            let now = start + Duration::from_millis(10) * tick;
            if tick % 2 == 0 {
                inlet.push(packet(tick / 2, &packets, now));
                assert!(voice.receive());
            }
            // A second and a half.
            if tick < taken_at_first || tick >= 150 {
                feed.read(BLOCK, |_| {});
            }
            run(&mut speaker, &mut voice, now);
        }
        let stats = shared.stats();
        assert!(stats.delay_ms < 110.0, "{stats:?}");
        assert_eq!(stats.concealed_samples, 0, "{stats:?}");
    }
}
