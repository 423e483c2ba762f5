//! [`Pacing`] as an interceptor, and what others may know and set of it.

use crate::keyframe::KeyframeWanted;
use crate::pacing::{Pacing, Taken};
use crate::packetizer::begins_keyframe;
use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::marshal::MarshalSize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bits a second before anything is known of the path: a first keyframe of 30 kB takes 60 ms.
const START_RATE: u64 = 4_000_000;
/// No rate is taken below this: sound, which does not wait, takes more.
const MIN_RATE: u64 = 5_000;
/// IP, UDP and SRTP around each packet.
const OVERHEAD: usize = 38;

/// Shared by the congestion controller, the pacer, and whoever asks how far behind it is.
#[derive(Debug)]
pub(crate) struct PaceControl {
    rate: AtomicU64,
    /// Microseconds; 0: not known.
    round_trip: AtomicU64,
    exact: AtomicBool,
    /// Microseconds.
    backlog: AtomicU64,
    dropped: AtomicU64,
    awaiting: AtomicBool,
    /// No reports come: what was dropped is made good once one does.
    silent: AtomicBool,
    owed: AtomicBool,
    /// The line has room.
    roomy: AtomicBool,
    /// ICE restarts: what is known of the path is of no use for the next.
    restarts: AtomicBool,
}

impl Default for PaceControl {
    fn default() -> Self {
        let (rate, round_trip) = (AtomicU64::new(START_RATE), AtomicU64::new(0));
        let off = || AtomicBool::new(false);
        let (exact, awaiting, silent, owed) = (off(), off(), off(), off());
        let (backlog, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
        let (roomy, restarts) = (AtomicBool::new(true), off());
        Self { rate, round_trip, exact, backlog, dropped, awaiting, silent, owed, roomy, restarts }
    }
}

impl PaceControl {
    /// In bits a second.
    pub(crate) fn set_rate(&self, bits_per_second: f64) {
        self.rate.store((bits_per_second as u64).max(MIN_RATE), Ordering::Relaxed);
    }

    /// In bits a second.
    pub(crate) fn rate(&self) -> f64 {
        self.rate.load(Ordering::Relaxed) as f64
    }

    /// As reports of sound and pictures tell it, which know how long they were held back.
    pub(crate) fn set_round_trip(&self, round_trip: Duration) {
        let us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX).max(1);
        self.round_trip.store(us, Ordering::Relaxed);
        self.exact.store(true, Ordering::Relaxed);
    }

    /// As congestion control sees it, other side's waiting included.
    pub(crate) fn guess_round_trip(&self, round_trip: Duration) {
        let us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX).max(1);
        self.round_trip.store(us, Ordering::Relaxed);
    }

    /// Whether [`Self::set_round_trip`] was ever called.
    pub(crate) fn round_trip_is_exact(&self) -> bool {
        self.exact.load(Ordering::Relaxed)
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let us = self.round_trip.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us))
    }

    /// How long it takes until all that waits has left.
    pub(crate) fn backlog(&self) -> Duration {
        Duration::from_micros(self.backlog.load(Ordering::Relaxed))
    }

    /// The other side can use nothing but a keyframe, which must be asked for beside this.
    pub(crate) fn await_keyframe(&self) {
        self.awaiting.store(true, Ordering::Relaxed);
        // Whoever encodes is not to be held up by what will be dropped.
        self.backlog.store(0, Ordering::Relaxed);
    }

    /// Whether reports stay away. Says whether a keyframe is owed, now that they do not any more.
    pub(crate) fn set_silent(&self, silent: bool) -> bool {
        self.silent.store(silent, Ordering::Relaxed);
        !silent && self.owed.swap(false, Ordering::Relaxed)
    }

    /// Whether the line has room for what is sent again more than once.
    pub(crate) fn set_roomy(&self, roomy: bool) {
        self.roomy.store(roomy, Ordering::Relaxed);
    }

    /// ICE restarts, and will find another path.
    pub(crate) fn restart(&self) {
        self.restarts.store(true, Ordering::Relaxed);
    }

    /// Whether it did since this was last asked.
    pub(crate) fn take_restart(&self) -> bool {
        self.restarts.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Bits of the whole IP packet.
pub(crate) fn wire_bytes(rtp: &rtc::rtp::Packet) -> usize {
    rtp.marshal_size() + OVERHEAD
}

pub(crate) struct Pacer {
    control: Arc<PaceControl>,
    keyframe: Arc<KeyframeWanted>,
    audio: u32,
    pacing: Pacing<TaggedPacket>,
    ready: VecDeque<TaggedPacket>,
    reads: VecDeque<TaggedPacket>,
}

impl Pacer {
    /// `audio`: the SSRC that never waits.
    pub(crate) fn new(control: Arc<PaceControl>, keyframe: Arc<KeyframeWanted>, audio: u32) -> Self {
        let pacing = Pacing::new(control.rate());
        Self { control, keyframe, audio, pacing, ready: VecDeque::new(), reads: VecDeque::new() }
    }

    fn obey(&mut self) {
        if self.control.awaiting.swap(false, Ordering::Relaxed) {
            let dropped = self.pacing.await_keyframe();
            self.control.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        }
    }

    /// So many packets were dropped, and all that comes is of no use before a keyframe.
    fn flushed(&self, count: usize) {
        self.control.dropped.fetch_add(count as u64, Ordering::Relaxed);
        // A keyframe into a path that is gone would be dropped like the last, and each costs all the others.
        if self.control.silent.load(Ordering::Relaxed) {
            self.control.owed.store(true, Ordering::Relaxed);
        } else {
            self.keyframe.raise();
        }
    }

    fn release(&mut self, now: Instant) {
        self.obey();
        self.pacing.set_roomy(self.control.roomy.load(Ordering::Relaxed));
        self.pacing.set_rate(self.control.rate(), now);
        // While reports stay away what waits keeps the encoder from making more of it.
        let silent = self.control.silent.load(Ordering::Relaxed);
        if let Some(count) = self.pacing.drop_hopeless(silent, now) {
            self.flushed(count);
        }
        while let Some(mut packet) = self.pacing.pop(now) {
            packet.now = now;
            self.ready.push_back(packet);
        }
        let backlog = u64::try_from(self.pacing.backlog().as_micros()).unwrap_or(u64::MAX);
        self.control.backlog.store(backlog, Ordering::Relaxed);
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Pacer {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if matches!(packet.message.packet, Packet::Rtcp(_)) {
            // It may have brought another rate, and what waits was to wait for the old one's next turn.
            self.release(packet.now);
        }
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
        // What the other side has asked for meanwhile holds for what comes now, before anything leaves.
        self.obey();
        let (bits, seq) = (wire_bytes(rtp) as f64 * 8.0, rtp.header.sequence_number);
        if rtp.header.ssrc == self.audio {
            self.pacing.passes(bits, now);
            self.ready.push_back(packet);
            return Ok(());
        }
        let again = packet.message.has(&Attribute::Retransmission);
        if !again && begins_keyframe(&rtp.payload) {
            let dropped = self.pacing.keyframe(seq);
            self.control.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        }
        let taken = if again {
            self.pacing.push_again(packet, bits, seq, self.control.round_trip(), now)
        } else {
            self.pacing.push(packet, bits, seq)
        };
        if let Taken::Flushed(count) = taken {
            self.flushed(count);
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
        self.pacing.due()
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
    fn sound_overtakes_a_keyframe_and_the_backlog_is_told() {
        let start = Instant::now();
        let control = Arc::<PaceControl>::default();
        let mut pacer = Pacer::new(control.clone(), Arc::default(), AUDIO);
        for seq in 0..50 {
            pacer.handle_write(packet(2, seq, start)).unwrap();
        }
        let first = left(&mut pacer);
        assert!(first.len() < 10, "{} left at once", first.len());
        assert!(control.backlog() > Duration::from_millis(80), "{:?}", control.backlog());
        pacer.handle_write(packet(AUDIO, 7, start)).unwrap();
        assert_eq!(left(&mut pacer), [(AUDIO, 7)]);
        let mut all = first;
        while let Some(due) = pacer.poll_timeout() {
            pacer.handle_timeout(due).unwrap();
            all.extend(left(&mut pacer));
        }
        assert_eq!(all, (0..50).map(|seq| (2, seq)).collect::<Vec<_>>());
        assert_eq!(control.backlog(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_hopeless_queue_is_dropped_and_a_keyframe_asked_for() {
        let start = Instant::now();
        let (control, keyframe) = (Arc::<PaceControl>::default(), Arc::<KeyframeWanted>::default());
        control.set_rate(100_000.0);
        let mut pacer = Pacer::new(control.clone(), keyframe.clone(), AUDIO);
        (0..100).for_each(|seq| pacer.handle_write(packet(2, seq, start)).unwrap());
        assert!(control.dropped() > 10);
        keyframe.taken().await;
    }

    #[test]
    fn while_no_reports_come_a_keyframe_is_owed_and_not_asked_for() {
        let start = Instant::now();
        let (control, keyframe) = (Arc::<PaceControl>::default(), Arc::<KeyframeWanted>::default());
        control.set_rate(100_000.0);
        assert!(!control.set_silent(true));
        let mut pacer = Pacer::new(control.clone(), keyframe.clone(), AUDIO);
        (0..100).for_each(|seq| pacer.handle_write(packet(2, seq, start)).unwrap());
        assert!(control.dropped() > 10);
        let mut asked = std::pin::pin!(keyframe.taken());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(asked.as_mut().poll(&mut context).is_pending());
        assert!(control.set_silent(false), "it is owed");
        assert!(!control.set_silent(false), "once");
    }
}
