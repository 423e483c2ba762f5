//! One remote's voice: packets in, 10 ms blocks of sound out.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::BLOCK;
use super::attention::Speaking;
use super::jitter::Packet;
use super::measure::rms;
use super::mix;
use super::voice::Voice;
use crate::codec::opus::{self, OpusError};
use crate::rtp::RtpPacket;
use crate::sync::Lips;

/// Packets that wait for the audio thread, which takes them each 10 ms.
const INLET: usize = 256;

/// How a remote's sound has been so far. Names after W3C webrtc-stats where there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AudioInStats {
    /// Packets received, duplicates not counted.
    pub packets: u64,
    /// Packets of which neither they nor a copy in another packet came.
    pub packets_lost: u64,
    /// Packets that came too late to be played, or were no Opus. Copies of packets that had come are not counted.
    pub packets_discarded: u64,
    /// Packets dropped because the audio thread did not keep up.
    pub overflow: u64,
    /// Lost packets that the next one carried a copy of.
    pub fec_packets: u64,
    /// Samples (48 kHz) played, the noise in pauses (DTX) too, silence between talks not counted.
    pub total_samples: u64,
    /// Samples that had to be guessed.
    pub concealed_samples: u64,
    /// Those of them that nobody hears, for the voice was silent there.
    pub silent_concealed_samples: u64,
    /// Guesses in a row count once.
    pub concealment_events: u64,
    /// Samples added to play slower, and left out to play faster.
    pub stretched_samples: (u64, u64),
    /// Interarrival jitter of RFC 3550, milliseconds, of packets in order.
    pub jitter_ms: f32,
    /// Time that played packets waited in the jitter buffer, milliseconds, in all; divide by `played`.
    pub jitter_buffer_delay_ms: f64,
    /// Time that sound played of late waited here, decoded or not, milliseconds.
    pub delay_ms: f32,
    /// Packets played.
    pub played: u64,
    /// Loudness of the last 10 ms as they came, whatever the volume: root mean square, 0 to 1.
    pub level: f32,
}

/// What an [`AudioInlet`] and the audio thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    overflow: AtomicU64,
    lips: Lips,
    /// The bits of an f32.
    volume: AtomicU32,
    stats: Mutex<AudioInStats>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            overflow: AtomicU64::default(),
            lips: Lips::default(),
            volume: AtomicU32::new(1f32.to_bits()),
            stats: Mutex::default(),
        }
    }
}

impl Shared {
    pub(crate) fn set_volume(&self, volume: f32) {
        let volume = if volume.is_nan() { 1.0 } else { volume.clamp(0.0, 2.0) };
        self.volume.store(volume.to_bits(), Ordering::Relaxed);
    }

    fn volume(&self) -> f32 {
        f32::from_bits(self.volume.load(Ordering::Relaxed))
    }

    pub(crate) fn stats(&self) -> AudioInStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a remote's packets are put in. When the last clone is dropped, the remote is no longer heard.
#[derive(Clone, Debug)]
pub struct AudioInlet {
    // overflow: the packet is dropped and counted (`AudioInStats::overflow`); 256 packets are 5 s of sound, or 1.7 with two copies of each.
    sender: SyncSender<RtpPacket>,
    shared: Arc<Shared>,
}

impl AudioInlet {
    /// What pictures of the same participant are to follow.
    pub fn lips(&self) -> Lips {
        self.shared.lips.clone()
    }

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
    speaking: Speaking,
    told_speaking: bool,
    /// The volume at the end of the last block.
    volume: f32,
    /// The last 10 ms as loud as they are to be played, left and right.
    block: [[f32; BLOCK]; 2],
}

impl Remote {
    pub(crate) fn new(outlet: Outlet) -> Result<Self, OpusError> {
        let voice = Voice::new()?;
        Ok(Self {
            voice,
            rfc3550: Rfc3550::default(),
            unusable: 0,
            heard: false,
            speaking: Speaking::default(),
            told_speaking: false,
            volume: outlet.shared.volume(),
            block: [[0.0; BLOCK]; 2],
            outlet,
        })
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
        let RtpPacket { seq, timestamp, payload, arrived, sender_us, .. } = packet;
        let newest = self.voice.push(Packet { seq, timestamp, payload, duration, arrived, sender_us });
        if newest {
            self.rfc3550.note(timestamp, arrived);
        }
    }

    /// The next 10 ms, left and right, which will leave the speaker at `heard`, or `None` while this remote is
    /// silent.
    pub(crate) fn pull(&mut self, now: Instant, heard: Instant) -> Option<&[[f32; BLOCK]; 2]> {
        let lips = &self.outlet.shared.lips;
        self.voice.set_extra(lips.extra(now));
        if let Some(captured) = self.voice.next_us() {
            lips.sound_played(captured, heard);
        }
        let sounding = self.voice.pull(now);
        let level = if sounding { rms(&self.voice.block().mid) } else { 0.0 };
        self.speaking.hear(level, BLOCK);
        self.publish(level);
        let before = std::mem::replace(&mut self.volume, self.outlet.shared.volume());
        let voice = self.voice.block();
        let [left, right] = &mut self.block;
        let outs = left.iter_mut().zip(right).zip(voice.mid.iter().zip(&voice.side));
        outs.for_each(|((left, right), (mid, side))| (*left, *right) = (mid + side, mid - side));
        self.block.iter_mut().for_each(|pcm| mix::fade(pcm, before, self.volume));
        sounding.then_some(&self.block)
    }

    /// Whether they speak, when that is new. How loud they are played makes no difference.
    pub(crate) fn speaking_changed(&mut self) -> Option<bool> {
        let on = self.speaking.on();
        (std::mem::replace(&mut self.told_speaking, on) != on).then_some(on)
    }

    /// True once: when the first packet has been played.
    pub(crate) fn first_sound(&mut self) -> bool {
        let first = !self.heard && self.voice.counts().played > 0;
        self.heard |= first;
        first
    }

    fn publish(&self, level: f32) {
        let counts = self.voice.counts();
        let stats = AudioInStats {
            packets: counts.received,
            packets_lost: self.voice.lost(),
            packets_discarded: counts.discarded + self.unusable + self.voice.broken(),
            overflow: self.outlet.shared.overflow.load(Ordering::Relaxed),
            fec_packets: counts.recovered,
            total_samples: self.voice.samples(),
            concealed_samples: counts.concealed,
            silent_concealed_samples: self.voice.silent_guesses(),
            concealment_events: counts.concealments,
            stretched_samples: self.voice.stretched(),
            jitter_ms: self.rfc3550.jitter_ms(),
            jitter_buffer_delay_ms: counts.waited.as_secs_f64() * 1000.0,
            delay_ms: self.voice.delay_ms(),
            played: counts.played,
            level,
        };
        *self.outlet.shared.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

/// Interarrival jitter, RFC 3550 section 6.4.1, in samples.
#[derive(Default)]
struct Rfc3550 {
    last: Option<(u32, Instant)>,
    /// The newest packet: one that came at the same instant came in the same packet, and only the last of
    /// them is not a copy.
    newest: Option<(u32, Instant)>,
    jitter: f64,
}

impl Rfc3550 {
    fn note(&mut self, timestamp: u32, arrived: Instant) {
        if let Some((before, then)) = self.newest.replace((timestamp, arrived))
            && then != arrived
        {
            self.count(before, then);
        }
    }

    fn count(&mut self, timestamp: u32, arrived: Instant) {
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
    use crate::codec::opus::OpusEncoder;
    use crate::testnet::Dice;
    use std::time::Duration;

    #[test]
    fn every_short_packet_is_survived() {
        let (inlet, outlet, shared) = inlet(1);
        let (mut remote, start) = (Remote::new(outlet).unwrap(), Instant::now());
        let good = OpusEncoder::new().unwrap().encode(&[0.1; 960]).unwrap();
        let (mut dice, mut sent) = (Dice::new(3), 0u32);
        for length in 0..120usize {
            for kind in 0..12u32 {
                let mut garbage = || -> Vec<u8> { (0..length).map(|_| dice.next() as u8).collect() };
                let payload = match kind {
                    0 => vec![0; length],
                    1 => vec![0xff; length],
                    2 => good.iter().copied().take(length).collect(),
                    _ => garbage(),
                };
                // Now and then a packet is missing, so that the next one is asked for its copy.
                sent += 1 + u32::from(kind % 4 == 3);
                let now = start + Duration::from_millis(u64::from(sent) * 20);
                let (seq, timestamp) = (sent as u16, sent * 960);
                let packet = RtpPacket {
                    seq,
                    timestamp,
                    marker: false,
                    payload: payload.into(),
                    arrived: now,
                    sender_us: None,
                };
                inlet.push(packet);
                assert!(remote.receive());
                for half in 0..2 {
                    remote.pull(now + Duration::from_millis(half * 10), now);
                }
            }
        }
        let stats = shared.stats();
        assert!(stats.packets_discarded > 100 && stats.played > 100, "{stats:?}");
        assert!(stats.delay_ms < 400.0, "{stats:?}");
    }

    #[test]
    fn copies_in_other_packets_are_neither_jitter_nor_discards() {
        let (inlet, outlet, shared) = inlet(1);
        let (mut remote, start) = (Remote::new(outlet).unwrap(), Instant::now());
        let payload = OpusEncoder::new().unwrap().encode(&[0.1; 960]).unwrap();
        for n in 0..500u32 {
            let arrived = start + Duration::from_millis(u64::from(n) * 20);
            // RED: each packet and the two before it; each tenth is lost.
            for copy in (n.saturating_sub(2)..=n).filter(|_| n % 10 != 9) {
                let (seq, timestamp, sender_us) = (copy as u16, copy * 960, Some(i64::from(copy) * 20_000));
                inlet.push(RtpPacket {
                    seq,
                    timestamp,
                    marker: false,
                    payload: payload.clone(),
                    arrived,
                    sender_us,
                });
            }
            assert!(remote.receive());
            for half in 0..2 {
                let now = arrived + Duration::from_millis(half * 10);
                remote.pull(now, now);
            }
        }
        let stats = shared.stats();
        assert_eq!((stats.packets_lost, stats.packets_discarded), (0, 0), "{stats:?}");
        assert!(stats.jitter_ms < 0.1, "{stats:?}");
        assert!(stats.concealed_samples < 960 * 2 && stats.played > 490, "{stats:?}");
        assert!((10.0..60.0).contains(&stats.delay_ms), "{stats:?}");
        // The sound has a clock: a picture captured with what is heard 100 ms from now waits that long.
        let now = start + Duration::from_millis(499 * 20 + 10);
        // Less the 40 ms that a picture may be ahead of it.
        let due = inlet.lips().due(502 * 20_000, now).unwrap();
        assert!((10..120).contains(&due.duration_since(now).as_millis()), "{:?}", due.duration_since(now));
    }
}
