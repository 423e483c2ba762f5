//! Packets that leave, and reports of them made by hand.

use super::*;
use crate::pacer::Pacer;
use rtc::interceptor::{AttributedPacket, RTPHeaderExtension};
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, SymbolTypeTcc,
};
use rtc::shared::TransportContext;

const VIDEO: u32 = 2;
const EXTENSION: u8 = 5;

struct Rig {
    controller: Controller,
    control: Arc<PaceControl>,
    keyframe: Arc<KeyframeWanted>,
    estimate: watch::Receiver<Estimate>,
    start: Instant,
    next: u16,
}

impl Rig {
    fn new() -> Self {
        let (control, keyframe) = (Arc::<PaceControl>::default(), Arc::<KeyframeWanted>::default());
        let (told, estimate) = watch::channel(Controller::first());
        let mut controller = Controller::new(control.clone(), keyframe.clone(), told);
        let extension = RTPHeaderExtension { uri: TWCC.into(), id: EXTENSION.into() };
        let rtp_header_extensions = vec![extension];
        controller.bind_local_stream(&StreamInfo {
            ssrc: VIDEO,
            rtp_header_extensions,
            ..Default::default()
        });
        Self { controller, control, keyframe, estimate, start: Instant::now(), next: 0 }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// So many packets leave, a millisecond apart.
    fn leave(&mut self, count: u16, ms: u64) {
        for n in 0..count {
            let packet = packet(VIDEO, Some(self.next), self.at(ms + u64::from(n)));
            self.controller.handle_write(packet).unwrap();
            self.next = self.next.wrapping_add(1);
        }
        while self.controller.poll_write().is_some() {}
    }

    /// Of the packets from `first` on so many came, a millisecond apart from `came_ms` on, and so many did not.
    fn report(&mut self, first: u16, came: u16, lost: u16, came_ms: u64, ms: u64) {
        let run = |packet_status_symbol, run_length| {
            let type_tcc = StatusChunkTypeTcc::RunLengthChunk;
            PacketStatusChunk::RunLengthChunk(RunLengthChunk { type_tcc, packet_status_symbol, run_length })
        };
        let delta = |n: u16| RecvDelta {
            type_tcc_packet: SymbolTypeTcc::PacketReceivedSmallDelta,
            delta: if n == 0 { (came_ms % 64 * 1000) as i64 } else { 1000 },
        };
        let report = TransportLayerCc {
            base_sequence_number: first,
            packet_status_count: came + lost,
            reference_time: (came_ms / 64) as u32,
            packet_chunks: vec![
                run(SymbolTypeTcc::PacketReceivedSmallDelta, came),
                run(SymbolTypeTcc::PacketNotReceived, lost),
            ],
            recv_deltas: (0..came).map(delta).collect(),
            ..Default::default()
        };
        let message = AttributedPacket::new(Packet::Rtcp(vec![Box::new(report)]));
        let tagged = TaggedPacket { now: self.at(ms), transport: TransportContext::default(), message };
        self.controller.handle_read(tagged).unwrap();
        while self.controller.poll_read().is_some() {}
    }

    /// Two tenths of a second in which everything comes, 20 ms after it left.
    fn fine(&mut self, ms: u64) {
        for ms in [ms, ms + 100] {
            let first = self.next;
            self.leave(100, ms);
            self.report(first, 100, 0, ms + 20, ms + 130);
        }
    }

    fn bitrate(&self) -> f64 {
        self.estimate.borrow().bitrate
    }
}

fn packet(ssrc: u32, number: Option<u16>, now: Instant) -> TaggedPacket {
    let mut header = rtp::Header { version: 2, ssrc, ..Default::default() };
    if let Some(number) = number {
        header.set_extension(EXTENSION, number.to_be_bytes().to_vec().into()).unwrap();
    }
    let message = AttributedPacket::new(Packet::Rtp(rtp::Packet { header, payload: vec![0; 1000].into() }));
    TaggedPacket { now, transport: TransportContext::default(), message }
}

#[test]
fn a_report_of_mostly_lost_packets_brings_a_keyframe_before_it_is_asked_for() {
    let mut rig = Rig::new();
    rig.fine(0);
    assert!(!rig.keyframe.is_raised() && rig.estimate.borrow().measured);
    rig.leave(60, 300);
    rig.report(200, 31, 29, 320, 400);
    assert!(!rig.keyframe.is_raised(), "half of them may be sent again");
    rig.leave(60, 500);
    rig.report(260, 20, 40, 520, 600);
    assert!(rig.keyframe.is_raised());
}

#[test]
fn while_reports_stay_away_next_to_nothing_leaves_and_the_next_one_brings_what_is_owed() {
    let mut rig = Rig::new();
    rig.fine(0);
    let before = rig.control.rate();
    rig.leave(20, 300);
    let mut waited = Duration::ZERO;
    while let Some(due) = rig.controller.poll_timeout() {
        waited = due - rig.at(300);
        rig.controller.handle_timeout(due).unwrap();
    }
    assert!((150..700).contains(&waited.as_millis()), "{waited:?}");
    assert!(rig.control.rate() < 0.1 * before, "{} of {before}", rig.control.rate());
    assert_eq!(rig.estimate.borrow().pace as u64, rig.control.rate() as u64);
    // Pictures that are made all the same are dropped, and a keyframe is owed.
    let mut pacer = Pacer::new(rig.control.clone(), rig.keyframe.clone(), 1);
    let late = rig.at(1000);
    (0..200).for_each(|_| pacer.handle_write(packet(VIDEO, None, late)).unwrap());
    assert!(rig.control.dropped() > 0 && !rig.keyframe.is_raised());
    rig.report(200, 20, 0, 1320, 1400);
    assert!(rig.keyframe.is_raised());
    assert!(rig.control.rate() > 0.5 * before, "{} of {before}", rig.control.rate());
}

#[test]
fn nothing_is_waited_for_where_the_other_side_reports_nothing() {
    let mut rig = Rig::new();
    for ms in 0..5000 {
        rig.controller.handle_write(packet(VIDEO, None, rig.at(ms))).unwrap();
        rig.controller.handle_write(packet(77, Some(3), rig.at(ms))).unwrap();
    }
    assert_eq!(rig.controller.poll_timeout(), None);
    rig.controller.handle_timeout(rig.at(5000)).unwrap();
    assert_eq!(*rig.estimate.borrow(), Controller::first());
}

#[test]
fn what_is_known_of_a_path_is_not_taken_for_the_next() {
    let mut rig = Rig::new();
    (0..15).for_each(|n| rig.fine(n * 200));
    let before = rig.bitrate();
    assert!(before > 2_000_000.0, "{before}");
    rig.control.restart();
    rig.fine(3000);
    assert!(rig.bitrate() < 1_500_000.0, "{}", rig.bitrate());
    (16..30).for_each(|n| rig.fine(n * 200));
    assert!(rig.bitrate() > 2_000_000.0, "it grows again: {}", rig.bitrate());
}
