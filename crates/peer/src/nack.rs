//! [`Missing`] as an interceptor: asks for packets of received streams that allow it.

use crate::missing::Missing;
use crate::pacer::PaceControl;
use crate::packetizer::begins_keyframe;
use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Streams watched at most; a call has one.
const MAX_STREAMS: usize = 4;

pub(crate) struct NackGenerator {
    /// Knows the round trip.
    control: Arc<PaceControl>,
    sender_ssrc: u32,
    streams: VecDeque<(u32, Missing)>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl NackGenerator {
    /// `sender_ssrc`: in whose name it asks.
    pub(crate) fn new(control: Arc<PaceControl>, sender_ssrc: u32) -> Self {
        let (streams, reads, writes) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self { control, sender_ssrc, streams, reads, writes }
    }

    fn ask(&mut self, now: Instant) {
        let round_trip = self.control.round_trip();
        for (media_ssrc, missing) in &mut self.streams {
            let due = missing.due(round_trip, now);
            if due.is_empty() {
                continue;
            }
            let nack = TransportLayerNack {
                sender_ssrc: self.sender_ssrc,
                media_ssrc: *media_ssrc,
                nacks: nack_pairs_from_sequence_numbers(&due),
            };
            self.writes.push_back(TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: AttributedPacket::new(Packet::Rtcp(vec![Box::new(nack)])),
            });
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for NackGenerator {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &packet.message.packet
            && let Some((_, missing)) = self.streams.iter_mut().find(|(ssrc, _)| *ssrc == rtp.header.ssrc)
        {
            missing.came(rtp.header.sequence_number, self.control.round_trip(), packet.now);
            if begins_keyframe(&rtp.payload) {
                missing.keyframe(rtp.header.sequence_number);
            }
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.ask(now);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.streams.iter().filter_map(|(_, missing)| missing.next_due()).min()
    }
}

impl Interceptor for NackGenerator {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        if !info.rtcp_feedback.iter().any(|feedback| feedback.typ == "nack" && feedback.parameter.is_empty())
        {
            return;
        }
        // Bound again by each negotiation: what is missing stays so.
        if self.streams.iter().any(|(ssrc, _)| *ssrc == info.ssrc) {
            return;
        }
        // overflow: the oldest stream is no longer asked for.
        if self.streams.len() == MAX_STREAMS {
            self.streams.pop_front();
        }
        self.streams.push_back((info.ssrc, Missing::new()));
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.streams.retain(|(ssrc, _)| *ssrc != info.ssrc);
    }
}
