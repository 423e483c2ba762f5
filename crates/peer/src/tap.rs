//! A tap at the wire: it counts what really leaves and comes, and reads the RTCP that asks something of us
//! or tells how our packets fare. It changes nothing but the times in our sender reports, which it alone can
//! say truly.
//!
//! RTCP from outside is matched by type and never formatted: some of it panics when printed.

use crate::Kind;
use crate::clock::Clocks;
use crate::counters::{Received, Reported, Seen, Sent, SentReports};
use crate::engine::Wires;
use crate::keyframe::KeyframeWanted;
use crate::pacer::PaceControl;
use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::marshal::MarshalSize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Nothing is nearer to the wire.
pub(crate) const TAP_SLOT: usize = 500;

/// Remote streams whose kind we remember; a call has two.
const MAX_REMOTE: usize = 16;

pub(crate) fn is_rtp_of(packet: &TaggedPacket, ssrc: u32) -> bool {
    matches!(&packet.message.packet, Packet::Rtp(rtp) if rtp.header.ssrc == ssrc)
}

/// One kind's counters.
#[derive(Debug, Default)]
pub(crate) struct KindCounts {
    pub(crate) sent: Sent,
    pub(crate) reported: Option<Reported>,
    pub(crate) received: Received,
    reports: SentReports,
}

/// Counters of both kinds, shared with whoever asks for statistics.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    audio: KindCounts,
    video: KindCounts,
}

impl Counts {
    pub(crate) fn of(&self, kind: Kind) -> &KindCounts {
        match kind {
            Kind::Audio => &self.audio,
            Kind::Video => &self.video,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut KindCounts {
        match kind {
            Kind::Audio => &mut self.audio,
            Kind::Video => &mut self.video,
        }
    }
}

/// Locks counters; nothing panics while holding them.
pub(crate) fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Tap {
    counts: Arc<Mutex<Counts>>,
    keyframe: Arc<KeyframeWanted>,
    clocks: Arc<Clocks>,
    pace: Arc<PaceControl>,
    local: [(u32, Kind); 2],
    remote: VecDeque<(u32, Kind)>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Tap {
    /// `audio`, `video`: the SSRCs of our own streams.
    pub(crate) fn new(wires: &Wires, audio: u32, video: u32) -> Self {
        let local = [(audio, Kind::Audio), (video, Kind::Video)];
        let (reads, writes) = (VecDeque::new(), VecDeque::new());
        Self {
            counts: wires.counts.clone(),
            keyframe: wires.keyframe.clone(),
            clocks: wires.clocks.clone(),
            pace: wires.pace.clone(),
            local,
            remote: VecDeque::new(),
            reads,
            writes,
        }
    }

    fn local_kind(&self, ssrc: u32) -> Option<Kind> {
        self.local.iter().find(|(own, _)| *own == ssrc).map(|(_, kind)| *kind)
    }

    fn remote_kind(&self, ssrc: u32) -> Option<Kind> {
        self.remote.iter().find(|(other, _)| *other == ssrc).map(|(_, kind)| *kind)
    }

    fn rtp_came(&self, packet: &rtp::Packet, now: Instant) {
        let Some(kind) = self.remote_kind(packet.header.ssrc) else { return };
        let seen = Seen {
            ssrc: packet.header.ssrc,
            seq: packet.header.sequence_number,
            timestamp: packet.header.timestamp,
            bytes: packet.payload.len(),
            header_bytes: packet.header.marshal_size(),
        };
        lock(&self.counts).of_mut(kind).received.packet(seen, kind.clock_rate(), now);
    }

    fn rtcp_came(&self, packet: &dyn rtcp::Packet, now: Instant) {
        let any = packet.as_any();
        if let Some(pli) = any.downcast_ref::<PictureLossIndication>() {
            if self.local_kind(pli.media_ssrc) == Some(Kind::Video) {
                lock(&self.counts).video.sent.plis += 1;
                self.pace.await_keyframe();
                self.keyframe.raise();
            }
        } else if let Some(fir) = any.downcast_ref::<FullIntraRequest>() {
            if fir.fir.iter().any(|entry| self.local_kind(entry.ssrc) == Some(Kind::Video)) {
                lock(&self.counts).video.sent.firs += 1;
                self.pace.await_keyframe();
                self.keyframe.raise();
            }
        } else if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
            if let Some(kind) = self.local_kind(nack.media_ssrc) {
                lock(&self.counts).of_mut(kind).sent.nacks += 1;
            }
        } else if let Some(report) = any.downcast_ref::<rtcp::receiver_report::ReceiverReport>() {
            self.reports_came(&report.reports, now);
        } else if let Some(report) = any.downcast_ref::<rtcp::sender_report::SenderReport>() {
            if let Some(kind) = self.remote_kind(report.ssrc) {
                self.clocks.remote(kind, report.ssrc, report.ntp_time, report.rtp_time);
            }
            self.reports_came(&report.reports, now);
        }
    }

    /// The stack counts media time from when a packet passes it; what the other side needs, to keep lips and
    /// voice together, is when it was captured.
    fn correct(&self, packet: &mut Box<dyn rtcp::Packet>, now: Instant) {
        let Some(report) = packet.as_any().downcast_ref::<rtcp::sender_report::SenderReport>() else {
            return;
        };
        let Some(kind) = self.local_kind(report.ssrc) else { return };
        if let Some(rtp_time) = self.clocks.local_time(kind, now) {
            let report = rtcp::sender_report::SenderReport { rtp_time, ..report.clone() };
            *packet = Box::new(report);
        }
    }

    fn reports_came(&self, reports: &[ReceptionReport], now: Instant) {
        let mut counts = lock(&self.counts);
        for report in reports {
            let Some(kind) = self.local_kind(report.ssrc) else { continue };
            let counts = counts.of_mut(kind);
            let round_trip = counts.reports.echoed(report.last_sender_report, report.delay, now);
            let reported = counts.reported.get_or_insert_default();
            reported.fraction_lost = f64::from(report.fraction_lost) / 256.0;
            // 24 bits, signed.
            reported.lost = i64::from((report.total_lost << 8) as i32 >> 8);
            reported.jitter = report.jitter;
            if let Some(round_trip) = round_trip {
                self.pace.set_round_trip(round_trip);
                reported.round_trip = Some(round_trip);
                reported.measurements += 1;
                reported.total_round_trip += round_trip;
            }
        }
    }

    fn rtp_leaves(&self, packet: &rtp::Packet, again: bool) {
        let Some(kind) = self.local_kind(packet.header.ssrc) else { return };
        let mut counts = lock(&self.counts);
        let sent = &mut counts.of_mut(kind).sent;
        sent.packets += 1;
        sent.bytes += packet.payload.len() as u64;
        sent.header_bytes += packet.header.marshal_size() as u64;
        if again {
            sent.retransmitted_packets += 1;
            sent.retransmitted_bytes += packet.payload.len() as u64;
        } else if packet.header.marker || kind == Kind::Audio {
            sent.frames += 1;
        }
    }

    fn rtcp_leaves(&self, packet: &dyn rtcp::Packet, now: Instant) {
        let any = packet.as_any();
        if let Some(report) = any.downcast_ref::<rtcp::sender_report::SenderReport>() {
            if let Some(kind) = self.local_kind(report.ssrc) {
                lock(&self.counts).of_mut(kind).reports.left(report.ntp_time, now);
            }
        } else if any.is::<PictureLossIndication>() {
            lock(&self.counts).video.received.plis += 1;
        } else if let Some(nack) = any.downcast_ref::<TransportLayerNack>()
            && let Some(kind) = self.remote_kind(nack.media_ssrc)
        {
            lock(&self.counts).of_mut(kind).received.nacks += 1;
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        match &packet.message.packet {
            Packet::Rtp(rtp) => self.rtp_came(rtp, packet.now),
            Packet::Rtcp(all) => all.iter().for_each(|one| self.rtcp_came(one.as_ref(), packet.now)),
            _ => {}
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        let again = packet.message.has(&Attribute::Retransmission);
        match &mut packet.message.packet {
            Packet::Rtp(rtp) => self.rtp_leaves(rtp, again),
            Packet::Rtcp(all) => {
                for one in all {
                    self.correct(one, packet.now);
                    self.rtcp_leaves(one.as_ref(), packet.now);
                }
            }
            _ => {}
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        let kind =
            if info.mime_type.to_ascii_lowercase().starts_with("audio/") { Kind::Audio } else { Kind::Video };
        self.remote.retain(|(ssrc, _)| *ssrc != info.ssrc);
        // overflow: the oldest is forgotten, and no longer counted.
        if self.remote.len() == MAX_REMOTE {
            self.remote.pop_front();
        }
        self.remote.push_back((info.ssrc, kind));
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.remote.retain(|(ssrc, _)| *ssrc != info.ssrc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::interceptor::AttributedPacket;
    use rtc::rtcp::payload_feedbacks::full_intra_request::FirEntry;
    use rtc::rtcp::sender_report::SenderReport;
    use rtc::shared::TransportContext;
    use std::time::Duration;

    const AUDIO: u32 = 1;
    const VIDEO: u32 = 2;
    const THEIRS: u32 = 3;

    fn tap() -> Tap {
        let mut tap = Tap {
            counts: Arc::default(),
            keyframe: Arc::default(),
            clocks: Arc::default(),
            pace: Arc::default(),
            local: [(AUDIO, Kind::Audio), (VIDEO, Kind::Video)],
            remote: VecDeque::new(),
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        };
        let info = StreamInfo { ssrc: THEIRS, mime_type: "video/VP8".into(), ..Default::default() };
        tap.bind_remote_stream(&info);
        tap
    }

    fn rtcp(packet: impl rtcp::Packet + 'static, now: Instant) -> TaggedPacket {
        let message = AttributedPacket::new(Packet::Rtcp(vec![Box::new(packet)]));
        TaggedPacket { now, transport: TransportContext::default(), message }
    }

    #[test]
    fn a_full_intra_request_for_our_picture_asks_for_a_keyframe() {
        let (mut tap, now) = (tap(), Instant::now());
        let fir = |ssrc| FullIntraRequest {
            fir: vec![FirEntry { ssrc, sequence_number: 1 }],
            ..Default::default()
        };
        for (ssrc, wanted) in [(AUDIO, false), (77, false), (VIDEO, true)] {
            tap.handle_read(rtcp(fir(ssrc), now)).unwrap();
            assert_eq!(tap.keyframe.is_raised(), wanted, "{ssrc}");
        }
        assert_eq!(lock(&tap.counts).video.sent.firs, 1);
    }

    #[test]
    fn our_reports_tell_when_what_leaves_was_captured_and_theirs_are_believed() {
        let (mut tap, now) = (tap(), Instant::now());
        // What leaves now was captured 80 ms ago, when the stack says that it is of now.
        tap.clocks.local(Kind::Video, 90_000, now - Duration::from_millis(80));
        let report = |ssrc, ntp_time| SenderReport { ssrc, ntp_time, rtp_time: 5000, ..Default::default() };
        tap.handle_write(rtcp(report(VIDEO, 1), now)).unwrap();
        let Some(Packet::Rtcp(all)) = tap.poll_write().map(|packet| packet.message.packet) else {
            panic!("a report leaves")
        };
        let told = all[0].as_any().downcast_ref::<SenderReport>().unwrap();
        assert!(told.rtp_time.abs_diff(90_000 + 7200) <= 1, "{}", told.rtp_time);

        assert_eq!(tap.clocks.remote_time(Kind::Video, THEIRS, 5000), None);
        tap.handle_read(rtcp(report(THEIRS, 10 << 32), now)).unwrap();
        assert_eq!(tap.clocks.remote_time(Kind::Video, THEIRS, 5000 + 45_000), Some(10_500_000));
    }
}
