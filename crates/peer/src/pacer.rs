//! Spreads a picture's packets over a few milliseconds, so that a keyframe does not arrive as a burst that
//! a small router queue drops; sound never waits.
//!
//! The rate is a shared number: a congestion controller sets it later.

use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::marshal::MarshalSize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bits a second before anything is known of the path: a 60 kB keyframe takes 24 ms.
const START_RATE: u64 = 20_000_000;
/// No rate is taken below this.
const MIN_RATE: u64 = 100_000;
/// What may leave at once after a pause.
const BURST: Duration = Duration::from_millis(3);
/// Two full packets may always leave.
const MIN_BURST_BITS: f64 = 2.0 * 1300.0 * 8.0;
/// Packets that wait at most.
const MAX_QUEUED: usize = 1024;
/// IP, UDP and SRTP around each packet.
const OVERHEAD: usize = 38;

/// How fast pictures may leave, and how many packets were given up.
#[derive(Debug)]
pub(crate) struct PaceControl {
    rate: AtomicU64,
    dropped: AtomicU64,
}

impl Default for PaceControl {
    fn default() -> Self {
        Self { rate: AtomicU64::new(START_RATE), dropped: AtomicU64::new(0) }
    }
}

impl PaceControl {
    /// In bits a second.
    pub(crate) fn set_rate(&self, bits_per_second: u64) {
        self.rate.store(bits_per_second.max(MIN_RATE), Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

pub(crate) struct Pacer {
    control: Arc<PaceControl>,
    audio: u32,
    again: VecDeque<TaggedPacket>,
    fresh: VecDeque<TaggedPacket>,
    /// Bits that may leave; negative after a packet larger than what was left.
    budget: f64,
    filled: Option<Instant>,
    ready: VecDeque<TaggedPacket>,
    reads: VecDeque<TaggedPacket>,
}

impl Pacer {
    /// `audio`: the SSRC that never waits.
    pub(crate) fn new(control: Arc<PaceControl>, audio: u32) -> Self {
        Self {
            control,
            audio,
            again: VecDeque::new(),
            fresh: VecDeque::new(),
            budget: 0.0,
            filled: None,
            ready: VecDeque::new(),
            reads: VecDeque::new(),
        }
    }

    fn rate(&self) -> f64 {
        self.control.rate.load(Ordering::Relaxed) as f64
    }

    fn fill(&mut self, now: Instant) {
        let rate = self.rate();
        let burst = (rate * BURST.as_secs_f64()).max(MIN_BURST_BITS);
        self.budget = match self.filled {
            Some(last) => {
                let passed = now.saturating_duration_since(last).as_secs_f64();
                (self.budget + passed * rate).min(burst)
            }
            None => burst,
        };
        self.filled = Some(now);
    }

    fn release(&mut self, now: Instant) {
        self.fill(now);
        while self.budget > 0.0 {
            let Some(mut packet) = self.again.pop_front().or_else(|| self.fresh.pop_front()) else { break };
            self.budget -= bits(&packet);
            packet.now = now;
            self.ready.push_back(packet);
        }
    }
}

fn bits(packet: &TaggedPacket) -> f64 {
    match &packet.message.packet {
        Packet::Rtp(rtp) => (rtp.marshal_size() + OVERHEAD) as f64 * 8.0,
        _ => 0.0,
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Pacer {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        let now = packet.now;
        let Packet::Rtp(rtp) = &packet.message.packet else {
            self.ready.push_back(packet);
            return Ok(());
        };
        if rtp.header.ssrc == self.audio {
            self.fill(now);
            self.budget -= bits(&packet);
            self.ready.push_back(packet);
            return Ok(());
        }
        // overflow: the newcomer is dropped and counted; the other side asks for it again, or for a
        // keyframe.
        if self.again.len() + self.fresh.len() >= MAX_QUEUED {
            self.control.dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let again = packet.message.has(&Attribute::Retransmission);
        if again {
            self.again.push_back(packet)
        } else {
            self.fresh.push_back(packet)
        }
        self.release(now);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.ready.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.release(now);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        if self.again.is_empty() && self.fresh.is_empty() {
            return None;
        }
        let owed = (-self.budget).max(0.0) / self.rate();
        // Not before the next millisecond: timers are no finer.
        Some(self.filled? + Duration::from_secs_f64(owed) + Duration::from_millis(1))
    }
}

impl Interceptor for Pacer {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::interceptor::AttributedPacket;
    use rtc::rtp;
    use rtc::shared::TransportContext;

    const AUDIO: u32 = 1;

    fn packet(ssrc: u32, seq: u16, now: Instant) -> TaggedPacket {
        let header = rtp::Header { version: 2, ssrc, sequence_number: seq, ..Default::default() };
        let packet = Packet::Rtp(rtp::Packet { header, payload: vec![0; 1200].into() });
        TaggedPacket { now, transport: TransportContext::default(), message: AttributedPacket::new(packet) }
    }

    fn left(pacer: &mut Pacer) -> Vec<(u32, u16)> {
        std::iter::from_fn(|| pacer.poll_write())
            .map(|packet| match packet.message.packet {
                Packet::Rtp(rtp) => (rtp.header.ssrc, rtp.header.sequence_number),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_keyframe_is_spread_in_order_and_sound_overtakes_it() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Arc::default(), AUDIO);
        for seq in 0..50 {
            pacer.handle_write(packet(2, seq, start)).unwrap();
        }
        let first = left(&mut pacer);
        assert!(first.len() < 10, "{} left at once", first.len());
        pacer.handle_write(packet(AUDIO, 7, start)).unwrap();
        assert_eq!(left(&mut pacer), [(AUDIO, 7)]);

        let (mut all, mut now) = (first, start);
        while let Some(due) = pacer.poll_timeout() {
            assert!(due > now);
            now = due;
            pacer.handle_timeout(now).unwrap();
            all.extend(left(&mut pacer));
        }
        assert_eq!(all, (0..50).map(|seq| (2, seq)).collect::<Vec<_>>());
        let took = now - start;
        assert!((Duration::from_millis(15)..Duration::from_millis(40)).contains(&took), "{took:?}");
    }

    #[test]
    fn the_queue_is_bounded() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Arc::default(), AUDIO);
        for seq in 0..4 * MAX_QUEUED as u16 {
            pacer.handle_write(packet(2, seq, start)).unwrap();
        }
        assert!(pacer.fresh.len() <= MAX_QUEUED);
        assert!(pacer.control.dropped() > 0);
    }
}
