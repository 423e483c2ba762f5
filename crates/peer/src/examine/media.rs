//! RTP and RTCP, through all interceptors.

use crate::engine::{self, Wires};
use crate::gate::Door;
use crate::packetizer::Packetizer;
use crate::{Kind, controller, red};
use bytes::Bytes;
use rtc::interceptor::{
    AttributedPacket, Interceptor, Packet, RTCPFeedback, RTPHeaderExtension, StreamInfo, TaggedPacket,
};
use rtc::shared::TransportContext;
use rtc::shared::marshal::{Marshal, Unmarshal};
use rtc::{rtcp, rtp};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const TWCC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// The header extension that carries the transport-wide number.
const TWCC_ID: u16 = 4;

/// The media of a connection whose both sides send both kinds. Time stands still until it is told to pass.
pub struct Media {
    chain: Box<dyn Interceptor>,
    wires: Wires,
    now: Instant,
    packetizers: [(u8, u32, Packetizer); 2],
    /// Packets that were handed on to who plays them, copies in other packets included.
    pub heard: usize,
    /// RTP and RTCP packets that left.
    pub left: usize,
}

impl std::fmt::Debug for Media {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Media({} heard, {} left)", self.heard, self.left)
    }
}

impl Media {
    /// The SSRCs of our sound and pictures.
    pub const OURS: [u32; 2] = [0x0101_0101, 0x0202_0202];
    /// And of theirs.
    pub const THEIRS: [u32; 2] = [0x0a0a_0a0a, 0x0b0b_0b0b];

    /// # Errors
    /// When the stack cannot be set up.
    pub fn new(now: Instant) -> Result<Self, String> {
        let wires = Wires {
            audio: Door::new(Self::OURS[0]),
            video: Door::new(Self::OURS[1]),
            counts: Arc::default(),
            keyframe: Arc::default(),
            pace: Arc::default(),
            clocks: Arc::default(),
            estimate: watch::Sender::new(controller::Controller::first()),
        };
        let (_, registry) = engine::media(&wires).map_err(|error| error.to_string())?;
        let mut chain: Box<dyn Interceptor> = Box::new(registry.build());
        for (at, kind) in [Kind::Audio, Kind::Video].into_iter().enumerate() {
            chain.bind_local_stream(&stream(kind, Self::OURS[at]));
            chain.bind_remote_stream(&stream(kind, Self::THEIRS[at]));
        }
        let packetizers = [
            (engine::OPUS_PAYLOAD_TYPE, 0, Packetizer::new(Kind::Audio, Self::OURS[0], u16::MAX - 9, 0)),
            (engine::VP8_PAYLOAD_TYPE, 0, Packetizer::new(Kind::Video, Self::OURS[1], u16::MAX - 9, 0)),
        ];
        Ok(Self { chain, wires, now, packetizers, heard: 0, left: 0 })
    }

    /// A packet came, with SRTP taken off already.
    ///
    /// # Errors
    /// What the stack says of it.
    pub fn came(&mut self, packet: &[u8]) -> Result<(), String> {
        let mut bytes = Bytes::copy_from_slice(packet);
        // RFC 5761, section 4.
        let packet = if packet.get(1).is_some_and(|kind| (192..=223).contains(kind)) {
            rtcp::packet::unmarshal(&mut bytes).map(Packet::Rtcp)
        } else {
            rtp::Packet::unmarshal(&mut bytes).map(Packet::Rtp)
        };
        let packet = self.tagged(packet.map_err(|error| error.to_string())?);
        let result = self.chain.handle_read(packet).map_err(|error| error.to_string());
        self.drain()?;
        result
    }

    /// A frame of ours leaves in packets of its own.
    ///
    /// # Errors
    /// What the stack says of it.
    pub fn send(&mut self, kind: Kind, data: &[u8]) -> Result<(), String> {
        let (payload_type, timestamp, packetizer) = &mut self.packetizers[kind as usize];
        *timestamp = timestamp.wrapping_add(kind.clock_rate() / 50);
        let at = packetizer.timestamp(*timestamp, self.now);
        self.wires.clocks.local(kind, at, self.now);
        let payloads = packetizer.payloads(&Bytes::copy_from_slice(data));
        let count = payloads.len();
        let mut packets = Vec::with_capacity(count);
        for (index, payload) in payloads.into_iter().enumerate() {
            packets.push(packetizer.packet(*payload_type, at, index + 1 == count, payload));
            packetizer.sent();
        }
        for packet in packets {
            let packet = self.tagged(Packet::Rtp(packet));
            self.chain.handle_write(packet).map_err(|error| error.to_string())?;
        }
        self.drain()
    }

    /// Time passes, and what is due is done.
    ///
    /// # Errors
    /// What the stack says of it.
    pub fn pass(&mut self, time: Duration) -> Result<(), String> {
        self.now += time;
        self.chain.handle_timeout(self.now).map_err(|error| error.to_string())?;
        self.drain()
    }

    fn tagged(&self, packet: Packet) -> TaggedPacket {
        let message = AttributedPacket::new(packet);
        TaggedPacket { now: self.now, transport: TransportContext::default(), message }
    }

    /// Takes out what the chain has to say to either side, as the driver of a connection does.
    fn drain(&mut self) -> Result<(), String> {
        while let Some(packet) = self.chain.poll_read() {
            if let Packet::Rtp(packet) = packet.message.packet {
                self.hear(&packet);
            }
        }
        while let Some(packet) = self.chain.poll_write() {
            self.left += 1;
            match packet.message.packet {
                Packet::Rtp(packet) => packet.marshal(),
                Packet::Rtcp(packets) => rtcp::packet::marshal(&packets),
                _ => continue,
            }
            .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn hear(&mut self, packet: &rtp::Packet) {
        let kind = if packet.header.ssrc == Self::THEIRS[1] { Kind::Video } else { Kind::Audio };
        let header = &packet.header;
        if header.payload_type != engine::RED_PAYLOAD_TYPE {
            self.heard += 1;
            self.wires.clocks.remote_time(kind, header.ssrc, header.timestamp);
            return;
        }
        for block in red::unpack(&packet.payload) {
            self.heard += 1;
            self.wires.clocks.remote_time(kind, header.ssrc, header.timestamp.wrapping_sub(block.offset));
        }
    }
}

/// A stream as it is negotiated with a browser.
fn stream(kind: Kind, ssrc: u32) -> StreamInfo {
    let (codec, payload_type) = match kind {
        Kind::Audio => (engine::opus(), engine::OPUS_PAYLOAD_TYPE),
        Kind::Video => (engine::vp8(), engine::VP8_PAYLOAD_TYPE),
    };
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let nack = || vec![feedback("nack", ""), feedback("nack", "pli"), feedback("ccm", "fir")];
    let mut rtcp_feedback = if kind == Kind::Video { nack() } else { Vec::new() };
    rtcp_feedback.push(feedback("transport-cc", ""));
    StreamInfo {
        ssrc,
        payload_type,
        rtp_header_extensions: vec![RTPHeaderExtension { uri: TWCC.into(), id: TWCC_ID }],
        mime_type: codec.mime_type,
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        sdp_fmtp_line: codec.sdp_fmtp_line,
        rtcp_feedback,
        ..StreamInfo::default()
    }
}
