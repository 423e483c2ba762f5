//! Descriptions and candidates of the other side, and its packets before there are keys.

use crate::config::PeerConfig;
use crate::connection::readable;
use crate::description::{Candidate, Description, DescriptionType};
use crate::engine::{self, Wires};
use crate::gate::Door;
use crate::net::Net;
use crate::{Kind, controller, sender};
use bytes::BytesMut;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A connection without a network: the stack under the same checks as in a call.
pub struct Signals {
    stack: RTCPeerConnection,
    now: Instant,
    /// Packets that want to leave, so far.
    pub left: usize,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signals({} packets left)", self.left)
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Signals {
    /// Where our only socket would be.
    pub const HERE: ([u8; 4], u16) = ([192, 0, 2, 1], 4000);
    /// And theirs.
    pub const THERE: ([u8; 4], u16) = ([192, 0, 2, 2], 5000);

    /// # Errors
    /// When the stack cannot be set up.
    pub fn new(now: Instant) -> Result<Self, String> {
        let (audio, video) = (0x0101_0101, 0x0202_0202);
        let wires = Wires {
            audio: Door::new(audio),
            video: Door::new(video),
            counts: Arc::default(),
            keyframe: Arc::default(),
            pace: Arc::default(),
            clocks: Arc::default(),
            estimate: watch::Sender::new(controller::Controller::first()),
        };
        let (media, registry) = engine::media(&wires).map_err(words)?;
        let net = Net::new(&PeerConfig::default());
        let mut stack = RTCPeerConnectionBuilder::new()
            .with_configuration(engine::configuration(&net, &[], false))
            .with_media_engine(media)
            .with_interceptor_registry(registry)
            .with_setting_engine(engine::settings(false, MulticastDnsMode::Disabled))
            .build(now)
            .map_err(words)?;
        stack.add_track(sender::media_track(Kind::Audio, audio, engine::opus())).map_err(words)?;
        stack.add_track(sender::media_track(Kind::Video, video, engine::vp8())).map_err(words)?;
        let mut signals = Self { stack, now, left: 0 };
        signals.gather()?;
        Ok(signals)
    }

    fn gather(&mut self) -> Result<(), String> {
        let (ip, port) = Self::HERE;
        let [a, b, c, d] = ip;
        let candidate = format!("candidate:1 1 udp 2130706431 {a}.{b}.{c}.{d} {port} typ host");
        let candidate = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
        self.stack.add_local_candidate(candidate).map_err(words)
    }

    /// A description came: an offer is answered; an answer is taken for one to an offer that we make.
    ///
    /// # Errors
    /// Why it is not taken; nothing has changed then.
    pub fn description(&mut self, description: Description) -> Result<(), String> {
        readable(&description)?;
        let taken = match description.kind {
            DescriptionType::Offer => self.accept(description.sdp),
            DescriptionType::Answer => self.complete(description.sdp),
        };
        if taken.is_err() {
            self.roll_back()?;
        }
        taken
    }

    fn accept(&mut self, offer: String) -> Result<(), String> {
        let offer = RTCSessionDescription::offer(offer).map_err(words)?;
        self.stack.set_remote_description(self.now, offer).map_err(words)?;
        let answer = self.stack.create_answer(None).map_err(words)?;
        self.stack.set_local_description(self.now, answer).map_err(words)
    }

    fn complete(&mut self, answer: String) -> Result<(), String> {
        let offer = self.stack.create_offer(None).map_err(words)?;
        self.stack.set_local_description(self.now, offer).map_err(words)?;
        let answer = RTCSessionDescription::answer(answer).map_err(words)?;
        self.stack.set_remote_description(self.now, answer).map_err(words)
    }

    fn roll_back(&mut self) -> Result<(), String> {
        if self.stack.pending_local_description().is_some() {
            let rollback = RTCSessionDescription::rollback(None).map_err(words)?;
            self.stack.set_local_description(self.now, rollback).map_err(words)?;
        }
        if self.stack.pending_remote_description().is_some() {
            let rollback = RTCSessionDescription::rollback(None).map_err(words)?;
            self.stack.set_remote_description(self.now, rollback).map_err(words)?;
        }
        Ok(())
    }

    /// Our own offer: what an answer has to answer.
    ///
    /// # Errors
    /// When the stack makes none.
    pub fn offer(&mut self) -> Result<String, String> {
        self.stack.create_offer(None).map(|offer| offer.sdp).map_err(words)
    }

    /// A candidate came, after a description.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn candidate(&mut self, candidate: &Candidate) -> Result<(), String> {
        if !candidate.usable() {
            return Err("it is not used".into());
        }
        let candidate = RTCIceCandidateInit {
            candidate: candidate.candidate.clone(),
            sdp_mline_index: Some(candidate.sdp_m_line_index.unwrap_or(0)),
            sdp_mid: candidate.sdp_mid.clone(),
            username_fragment: candidate.username_fragment.clone(),
            url: None,
        };
        self.stack.add_remote_candidate(candidate).map_err(words)
    }

    /// A datagram came from where the other side is.
    ///
    /// # Errors
    /// What the stack says of it.
    pub fn datagram(&mut self, packet: &[u8]) -> Result<(), String> {
        let transport = TransportContext {
            local_addr: SocketAddr::from(Self::HERE),
            peer_addr: SocketAddr::from(Self::THERE),
            ecn: None,
            transport_protocol: TransportProtocol::UDP,
        };
        let message = BytesMut::from(packet);
        let result = self.stack.handle_read(TaggedBytesMut { now: self.now, transport, message });
        self.drain();
        result.map_err(words)
    }

    /// Time passes, and what is due is done.
    ///
    /// # Errors
    /// What the stack says of it.
    pub fn pass(&mut self, time: Duration) -> Result<(), String> {
        self.now += time;
        let result = self.stack.handle_timeout(self.now);
        self.drain();
        result.map_err(words)
    }

    fn drain(&mut self) {
        while self.stack.poll_read().is_some() {}
        while self.stack.poll_event().is_some() {}
        while self.stack.poll_write().is_some() {
            self.left += 1;
        }
    }
}
