//! A sender slot: W3C's `RTCRtpSender`, whose track is replaced behind one stream that lasts for the call.
//!
//! webrtc 0.21 never binds a track that replaces another, so the slot binds one track for good and swaps
//! what is written to it: same SSRC, continuous numbers and times, nothing to negotiate.

use crate::clock::Clocks;
use crate::controller::Estimate;
use crate::engine::Wires;
use crate::gate::Door;
use crate::keyframe::KeyframeWanted;
use crate::packetizer::Packetizer;
use crate::red;
use crate::source::Source;
use crate::{Encoded, Kind, PeerError};
use bytes::Bytes;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, watch};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

/// No payload type is negotiated: RTP's dynamic ones start at 96.
const NO_PAYLOAD_TYPE: u8 = 0;

#[derive(Debug, Default)]
struct Swap {
    generation: u64,
    /// A source (or none) that the pump has not taken yet.
    waiting: Option<Option<Source>>,
    closed: bool,
}

/// The track that a slot sends for good.
pub(crate) fn media_track(kind: Kind, ssrc: u32, codec: RTCRtpCodec) -> MediaStreamTrack {
    let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() };
    let encoding = RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec, ..Default::default() };
    let (id, rtp_kind) = match kind {
        Kind::Audio => ("audio", RtpCodecKind::Audio),
        Kind::Video => ("video", RtpCodecKind::Video),
    };
    MediaStreamTrack::new("snug".into(), id.into(), id.into(), rtp_kind, vec![encoding])
}

/// Shared by the handle, the pump and the connection.
pub(crate) struct Slot {
    kind: Kind,
    door: Arc<Door>,
    swap: Mutex<Swap>,
    generation: AtomicU64,
    changed: Notify,
    /// The path carries media.
    live: AtomicBool,
    payload_type: AtomicU8,
    /// Of sound with copies of earlier packets.
    redundant_type: AtomicU8,
    keyframe: Arc<KeyframeWanted>,
    track: Arc<TrackLocalStaticRTP>,
}

impl Slot {
    pub(crate) fn new(kind: Kind, ssrc: u32, codec: RTCRtpCodec, keyframe: Arc<KeyframeWanted>) -> Arc<Self> {
        Arc::new(Self {
            kind,
            door: Door::new(ssrc),
            swap: Mutex::default(),
            generation: AtomicU64::new(0),
            changed: Notify::new(),
            live: AtomicBool::new(false),
            payload_type: AtomicU8::new(NO_PAYLOAD_TYPE),
            redundant_type: AtomicU8::new(NO_PAYLOAD_TYPE),
            keyframe,
            track: Arc::new(TrackLocalStaticRTP::new(media_track(kind, ssrc, codec))),
        })
    }

    fn swap(&self) -> MutexGuard<'_, Swap> {
        self.swap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn door(&self) -> Arc<Door> {
        self.door.clone()
    }

    pub(crate) fn track(&self) -> Arc<TrackLocalStaticRTP> {
        self.track.clone()
    }

    pub(crate) fn set_payload_types(&self, payload_type: Option<u8>, redundant: Option<u8>) {
        self.payload_type.store(payload_type.unwrap_or(NO_PAYLOAD_TYPE), Ordering::SeqCst);
        self.redundant_type.store(redundant.unwrap_or(NO_PAYLOAD_TYPE), Ordering::SeqCst);
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn is_audio(&self) -> bool {
        self.kind == Kind::Audio
    }

    /// Whether packets of this type carry copies of earlier ones.
    pub(crate) fn is_redundant(&self, payload_type: u8) -> bool {
        payload_type != NO_PAYLOAD_TYPE && payload_type == self.redundant_type.load(Ordering::SeqCst)
    }

    pub(crate) fn set_live(&self, live: bool) {
        let was = self.live.swap(live, Ordering::SeqCst);
        // The first picture of a new path has to be a whole one: ask before any delta goes by.
        if live && !was && self.kind == Kind::Video {
            self.keyframe.raise();
        }
    }

    pub(crate) fn close(&self) {
        let mut swap = self.swap();
        swap.closed = true;
        swap.waiting = None;
        drop(swap);
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
    }

    fn may_send(&self) -> bool {
        self.live.load(Ordering::SeqCst) && self.door.is_open()
    }
}

/// One of a peer's two senders.
pub struct SenderSlot(pub(crate) Arc<Slot>);

impl std::fmt::Debug for SenderSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SenderSlot({})", self.0.kind)
    }
}

impl SenderSlot {
    /// W3C `replaceTrack`: what is sent from now on. `None` sends nothing. Nothing is negotiated, and the
    /// other side sees one stream go on. The source before is dropped, which its writer can see.
    ///
    /// # Errors
    /// [`PeerError::KindMismatch`], [`PeerError::Closed`]; then nothing changes.
    pub fn replace_track(&self, source: Option<Source>) -> Result<(), PeerError> {
        let slot = self.0.kind;
        if let Some(given) = source.as_ref().map(Source::kind).filter(|given| *given != slot) {
            return Err(PeerError::KindMismatch { slot, given });
        }
        let mut swap = self.0.swap();
        if swap.closed {
            return Err(PeerError::Closed);
        }
        swap.generation += 1;
        swap.waiting = Some(source);
        self.0.generation.store(swap.generation, Ordering::SeqCst);
        drop(swap);
        self.0.changed.notify_one();
        Ok(())
    }

    /// Mute and camera off. While `false`, no RTP packet of this slot leaves, retransmissions included,
    /// whatever the source does; turned on again, pictures start with a keyframe.
    pub fn set_enabled(&self, enabled: bool) {
        let was = self.0.door.is_open();
        self.0.door.set_open(enabled);
        if enabled && !was && self.0.kind == Kind::Video {
            self.0.keyframe.raise();
        }
    }

    /// Whether packets may leave.
    pub fn is_enabled(&self) -> bool {
        self.0.door.is_open()
    }

    /// What it sends.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The stream's SSRC, the same for the whole call.
    pub fn ssrc(&self) -> u32 {
        self.0.door.ssrc
    }
}

/// Reads the slot's source and writes packets, until the slot is closed.
pub(crate) struct Pump {
    slot: Arc<Slot>,
    clocks: Arc<Clocks>,
    path: watch::Receiver<Estimate>,
    packer: red::Packer,
    packetizer: Packetizer,
    source: Option<Source>,
    generation: u64,
    /// Nothing was sent since a pause: the next picture must be a keyframe, the next sound is marked.
    fresh: bool,
}

impl Pump {
    pub(crate) fn new(slot: Arc<Slot>, wires: &Wires) -> Self {
        let packetizer = Packetizer::new(slot.kind, slot.door.ssrc, rand::random(), rand::random());
        Self {
            slot,
            clocks: wires.clocks.clone(),
            path: wires.estimate.subscribe(),
            packer: red::Packer::default(),
            packetizer,
            source: None,
            generation: 0,
            fresh: true,
        }
    }

    pub(crate) async fn run(mut self) {
        let slot = self.slot.clone();
        loop {
            let frame = tokio::select! {
                biased;
                () = slot.changed.notified() => None,
                frame = next(&mut self.source) => frame,
            };
            match frame {
                Some(frame) => self.send(frame).await,
                None => {
                    if !self.take_source() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether to go on.
    fn take_source(&mut self) -> bool {
        let mut swap = self.slot.swap();
        if swap.closed {
            return false;
        }
        if let Some(mut source) = swap.waiting.take() {
            self.generation = swap.generation;
            drop(swap);
            if let Some(source) = &mut source {
                source.attach(self.slot.keyframe.clone());
                if self.slot.kind == Kind::Video && self.slot.may_send() {
                    self.slot.keyframe.raise();
                }
            }
            self.source = source;
            self.packetizer.new_source();
            self.fresh = true;
        } else if self.source.as_ref().is_some_and(Source::is_over) {
            self.source = None;
        }
        true
    }

    fn may_send(&self) -> bool {
        self.slot.may_send() && self.slot.generation.load(Ordering::SeqCst) == self.generation
    }

    /// Sound, with copies of the packets before it if the path loses some and the other side takes them.
    fn redundant(&mut self, payload_type: u8, timestamp: u32, data: Bytes) -> (u8, Bytes) {
        if !self.slot.is_audio() || data.is_empty() {
            return (payload_type, data);
        }
        if self.fresh {
            // Numbers are counted back: a copy from before a pause would take another packet's place.
            self.packer.forget();
        }
        let redundant = self.slot.redundant_type.load(Ordering::SeqCst);
        let copies = self.path.borrow().copies;
        if redundant == NO_PAYLOAD_TYPE || copies == 0 {
            self.packer.note(timestamp, &data);
            return (payload_type, data);
        }
        (redundant, self.packer.pack(payload_type, timestamp, &data, copies))
    }

    async fn send(&mut self, frame: Encoded) {
        let payload_type = self.slot.payload_type.load(Ordering::SeqCst);
        if !self.may_send() || payload_type == NO_PAYLOAD_TYPE {
            self.fresh = true;
            return;
        }
        if self.fresh && self.slot.kind == Kind::Video && !frame.key {
            self.slot.keyframe.raise();
            return;
        }
        let timestamp = self.packetizer.timestamp(frame.timestamp, Instant::now());
        self.clocks.local(self.slot.kind, timestamp, frame.captured);
        let (payload_type, data) = self.redundant(payload_type, timestamp, frame.data);
        let payloads = self.packetizer.payloads(&data);
        let count = payloads.len();
        for (n, payload) in payloads.into_iter().enumerate() {
            let marker = match self.slot.kind {
                Kind::Audio => frame.marker || self.fresh,
                Kind::Video => n + 1 == count,
            };
            if !self.may_send() {
                self.fresh = true;
                return;
            }
            let packet = self.packetizer.packet(payload_type, timestamp, marker, payload);
            if let Err(error) = self.slot.track.write_rtp(packet).await {
                tracing::debug!(kind = %self.slot.kind, %error, "a packet was not taken");
                self.fresh = true;
                return;
            }
            self.packetizer.sent();
        }
        self.fresh = false;
    }
}

async fn next(source: &mut Option<Source>) -> Option<Encoded> {
    match source {
        Some(source) => source.next().await,
        None => std::future::pending().await,
    }
}
