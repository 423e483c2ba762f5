//! One remote's voice: packets in, 10 ms blocks of sound out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::jitter::{GUESS, Jitter, Packet, Play, Stretch};
use super::measure::rms;
use super::{BLOCK, stretch};
use crate::codec::opus::{self, MAX_PACKET, OpusDecoder, OpusError};
use crate::rtp::RtpPacket;

/// Packets that wait for the audio thread, which takes them each 10 ms.
const INLET: usize = 256;
/// Guessed sound is at full loudness for 40 ms and gone after [`GUESS`].
const FADE_FROM: u32 = 1920;

/// How a remote's sound has been so far. Names after W3C webrtc-stats where there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AudioInStats {
    /// Packets received, duplicates not counted.
    pub packets: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Packets that came too late, twice, or were no Opus.
    pub packets_discarded: u64,
    /// Packets dropped because the audio thread did not keep up.
    pub overflow: u64,
    /// Lost packets that the next one carried a copy of.
    pub fec_packets: u64,
    /// Samples (48 kHz) played, silence between talks not counted.
    pub total_samples: u64,
    /// Samples that had to be guessed.
    pub concealed_samples: u64,
    /// Guesses in a row count once.
    pub concealment_events: u64,
    /// Samples added to play slower, and left out to play faster.
    pub stretched_samples: (u64, u64),
    /// Interarrival jitter of RFC 3550, milliseconds.
    pub jitter_ms: f32,
    /// Time that played packets waited in the jitter buffer, milliseconds, in all; divide by `played`.
    pub jitter_buffer_delay_ms: f64,
    /// Packets played.
    pub played: u64,
    /// Loudness of the last 10 ms played: root mean square, 0 to 1.
    pub level: f32,
}

/// What an [`AudioInlet`] and the audio thread share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    overflow: AtomicU64,
    stats: Mutex<AudioInStats>,
}

impl Shared {
    pub(crate) fn stats(&self) -> AudioInStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a remote's packets are put in. When the last clone is dropped, the remote is no longer heard.
#[derive(Clone, Debug)]
pub struct AudioInlet {
    // overflow: the packet is dropped and counted (`AudioInStats::overflow`); 256 packets are 5 s of sound.
    sender: SyncSender<RtpPacket>,
    shared: Arc<Shared>,
}

impl AudioInlet {
    /// Takes a packet; never blocks.
    pub fn push(&self, packet: RtpPacket) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(packet) {
            self.shared.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The audio thread's end of an inlet.
pub(crate) struct Outlet {
    pub(crate) id: u64,
    receiver: Receiver<RtpPacket>,
    shared: Arc<Shared>,
}

pub(crate) fn inlet(id: u64) -> (AudioInlet, Outlet, Arc<Shared>) {
    let (sender, receiver) = sync_channel(INLET);
    let shared = Arc::new(Shared::default());
    let outlet = Outlet { id, receiver, shared: shared.clone() };
    (AudioInlet { sender, shared: shared.clone() }, outlet, shared)
}

/// A remote as the audio thread has it.
pub(crate) struct Remote {
    outlet: Outlet,
    voice: Voice,
    rfc3550: Rfc3550,
    unusable: u64,
    heard: bool,
}

impl Remote {
    pub(crate) fn new(outlet: Outlet) -> Result<Self, OpusError> {
        let voice = Voice::new()?;
        Ok(Self { outlet, voice, rfc3550: Rfc3550::default(), unusable: 0, heard: false })
    }

    pub(crate) fn id(&self) -> u64 {
        self.outlet.id
    }

    /// Takes in what has come; false when the inlet is gone.
    pub(crate) fn receive(&mut self) -> bool {
        loop {
            match self.outlet.receiver.try_recv() {
                Ok(packet) => self.push(packet),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn push(&mut self, packet: RtpPacket) {
        let Some(duration) = opus::duration(&packet.payload) else {
            self.unusable += 1;
            return;
        };
        self.rfc3550.note(packet.timestamp, packet.arrived);
        let RtpPacket { seq, timestamp, payload, arrived, .. } = packet;
        self.voice.push(Packet { seq, timestamp, payload, duration, arrived });
    }

    /// The next 10 ms, or `None` while this remote is silent.
    pub(crate) fn pull(&mut self, now: Instant) -> Option<&[f32]> {
        let sounding = self.voice.pull(now);
        self.publish(sounding);
        sounding.then_some(&self.voice.block[..])
    }

    /// True once: when the first packet has been played.
    pub(crate) fn first_sound(&mut self) -> bool {
        let first = !self.heard && self.voice.jitter.counts().played > 0;
        self.heard |= first;
        first
    }

    fn publish(&self, sounding: bool) {
        let counts = self.voice.jitter.counts();
        let stats = AudioInStats {
            packets: counts.received,
            packets_lost: self.voice.jitter.lost(),
            packets_discarded: counts.discarded + counts.duplicates + self.unusable + self.voice.broken,
            overflow: self.outlet.shared.overflow.load(Ordering::Relaxed),
            fec_packets: counts.recovered,
            total_samples: self.voice.samples,
            concealed_samples: counts.concealed,
            concealment_events: counts.concealments,
            stretched_samples: self.voice.stretched,
            jitter_ms: self.rfc3550.jitter_ms(),
            jitter_buffer_delay_ms: counts.waited.as_secs_f64() * 1000.0,
            played: counts.played,
            level: if sounding { rms(&self.voice.block) } else { 0.0 },
        };
        *self.outlet.shared.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

/// Jitter buffer, decoder and time-stretching together. No clock, no queue: tested on virtual time.
pub(crate) struct Voice {
    jitter: Jitter,
    decoder: OpusDecoder,
    /// Decoded and not yet played, oldest first.
    ready: Vec<f32>,
    frame: Vec<f32>,
    block: [f32; BLOCK],
    broken: u64,
    samples: u64,
    stretched: (u64, u64),
}

impl Voice {
    pub(crate) fn new() -> Result<Self, OpusError> {
        Ok(Self {
            jitter: Jitter::new(),
            decoder: OpusDecoder::new()?,
            ready: Vec::with_capacity(MAX_PACKET + BLOCK),
            frame: Vec::with_capacity(MAX_PACKET),
            block: [0.0; BLOCK],
            broken: 0,
            samples: 0,
            stretched: (0, 0),
        })
    }

    pub(crate) fn push(&mut self, packet: Packet) {
        self.jitter.push(packet, self.ready.len());
    }

    /// Makes the next 10 ms in `block`; false when it is plain silence.
    pub(crate) fn pull(&mut self, now: Instant) -> bool {
        let mut sounding = !self.ready.is_empty();
        while self.ready.len() < BLOCK {
            match self.jitter.pull(now) {
                Play::Silence => self.ready.resize(BLOCK, 0.0),
                play => {
                    sounding = true;
                    self.play(play);
                }
            }
        }
        self.block.copy_from_slice(&self.ready[..BLOCK]);
        self.ready.drain(..BLOCK);
        self.samples += if sounding { BLOCK as u64 } else { 0 };
        sounding
    }

    fn play(&mut self, play: Play) {
        self.frame.resize(MAX_PACKET, 0.0);
        let made = match &play {
            Play::Silence => Ok(0),
            Play::Decode { payload, .. } => self.decoder.decode(payload, &mut self.frame),
            Play::Recover { next, length, .. } => {
                self.decoder.recover(next, &mut self.frame[..*length as usize])
            }
            Play::Conceal { samples, .. } => self.decoder.conceal(&mut self.frame[..*samples as usize]),
        };
        match made {
            Ok(samples) => self.frame.truncate(samples),
            Err(error) => {
                self.broken += 1;
                tracing::debug!(%error, "a packet of sound could not be decoded");
                self.frame.clear();
                self.frame.resize(BLOCK, 0.0);
            }
        }
        match play {
            Play::Decode { stretch, first, .. } => {
                if first {
                    fade_in(&mut self.frame);
                }
                self.stretch(stretch);
            }
            Play::Recover { keep, .. } => {
                let cut = self.frame.len().saturating_sub(keep as usize);
                self.frame.drain(..cut);
            }
            Play::Conceal { already, .. } => fade_out(&mut self.frame, already),
            Play::Silence => {}
        }
        self.ready.append(&mut self.frame);
    }

    fn stretch(&mut self, how: Stretch) {
        let change = match how {
            Stretch::None => return,
            Stretch::Faster => {
                let out = stretch::shorten(&mut self.frame);
                self.stretched.1 += out as u64;
                -(out as i32)
            }
            Stretch::Slower => {
                let more = stretch::lengthen(&mut self.frame);
                self.stretched.0 += more as u64;
                more as i32
            }
        };
        self.jitter.stretched(change);
    }
}

/// Sound begins: no click (2.5 ms).
fn fade_in(pcm: &mut [f32]) {
    for (n, x) in pcm.iter_mut().take(120).enumerate() {
        *x *= n as f32 / 120.0;
    }
}

/// Guessed sound ends in silence; `already` samples of it were played before.
fn fade_out(pcm: &mut [f32], already: u32) {
    let fade = (GUESS - FADE_FROM) as f32;
    for (n, x) in pcm.iter_mut().enumerate() {
        let at = (already + n as u32).saturating_sub(FADE_FROM) as f32;
        *x *= (1.0 - at / fade).max(0.0);
    }
}

/// Interarrival jitter, RFC 3550 section 6.4.1, in samples.
#[derive(Default)]
struct Rfc3550 {
    last: Option<(u32, Instant)>,
    jitter: f64,
}

impl Rfc3550 {
    fn note(&mut self, timestamp: u32, arrived: Instant) {
        if let Some((before, then)) = self.last {
            let sent = f64::from(timestamp.wrapping_sub(before) as i32);
            let came = arrived.saturating_duration_since(then).as_secs_f64() * f64::from(opus::RATE);
            // A jump of the sender's clock is no jitter.
            if (came - sent).abs() < f64::from(opus::RATE) {
                self.jitter += ((came - sent).abs() - self.jitter) / 16.0;
            }
        }
        self.last = Some((timestamp, arrived));
    }

    fn jitter_ms(&self) -> f32 {
        (self.jitter / f64::from(opus::RATE) * 1000.0) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::{Lcg, tone_share};
    use crate::codec::opus::{OpusEncoder, PACKET};
    use std::time::Duration;

    /// A tone through encoder, lossy network, jitter buffer and decoder on a virtual clock.
    fn chain(
        frequency: f32,
        seconds: usize,
        mut arrives: impl FnMut(u32) -> Option<u64>,
    ) -> (Vec<f32>, Voice) {
        let (start, mut voice) = (Instant::now(), Voice::new().unwrap());
        let mut encoder = OpusEncoder::new().unwrap();
        let mut flights: Vec<(u64, Packet)> = Vec::new();
        for n in 0..seconds as u32 * 50 {
            let pcm: Vec<f32> = (0..PACKET)
                .map(|i| {
                    let at = (n as usize * PACKET + i) as f32;
                    (at * frequency * std::f32::consts::TAU / 48_000.0).sin() * 0.4
                })
                .collect();
            let payload = encoder.encode(&pcm).unwrap();
            if let Some(delay) = arrives(n) {
                let at = u64::from(n) * 20 + delay;
                let arrived = start + Duration::from_millis(at);
                let packet = Packet { seq: n as u16, timestamp: n * 960, payload, duration: 960, arrived };
                flights.push((at, packet));
            }
        }
        flights.sort_by_key(|(at, _)| *at);
        let (mut flights, mut heard) = (flights.into_iter().peekable(), Vec::new());
        for now in (0..seconds as u64 * 1000).step_by(10) {
            while let Some((_, packet)) = flights.next_if(|(at, _)| *at <= now) {
                voice.push(packet);
            }
            voice.pull(start + Duration::from_millis(now));
            heard.extend_from_slice(&voice.block);
        }
        (heard, voice)
    }

    #[test]
    fn a_tone_survives_a_clean_link_untouched() {
        let (heard, voice) = chain(1000.0, 10, |_| Some(3));
        assert!(tone_share(&heard[48_000..], 1000.0) > 0.99, "{}", tone_share(&heard[48_000..], 1000.0));
        assert_eq!((voice.jitter.counts().concealed, voice.stretched), (0, (0, 0)));
    }

    #[test]
    fn a_tone_survives_loss_jitter_and_the_stretching_that_they_cause() {
        for seed in 0..3 {
            let mut noise = Lcg::new(seed + 9);
            let lossy = |_| (noise.below(10) > 0).then_some(()).map(|()| u64::from(noise.below(40)));
            let (heard, voice) = chain(400.0, 20, lossy);
            let counts = voice.jitter.counts();
            assert!(counts.recovered > 40, "{counts:?}");
            assert!(counts.concealed < 20 * 48_000 / 20, "{counts:?}");
            // Joins shift the phase, which Goertzel's pieces see as a little less of the tone.
            let share = tone_share(&heard[96_000..], 400.0);
            assert!(share > 0.8, "{share}, {counts:?}, stretched {:?}", voice.stretched);
            assert!(rms(&heard[96_000..]) > 0.2);
        }
    }

    #[test]
    fn after_the_last_packet_the_voice_fades_into_silence() {
        let (heard, voice) = chain(1000.0, 3, |n| (n < 50).then_some(0));
        let end = heard.len();
        assert!(heard[end - 48_000..].iter().all(|x| *x == 0.0));
        assert!(voice.jitter.counts().concealed <= u64::from(GUESS));
        let click = heard[48_000..].windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(click < 0.15, "a jump of {click} at the end");
    }
}
