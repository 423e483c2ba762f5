//! Received tracks: packets go straight to whoever assembles and plays them.

use crate::clock::Clocks;
use crate::red;
use crate::sender::Slot;
use crate::{Kind, RtpIn};
use bytes::Bytes;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tokio::task::JoinHandle;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

/// Called for each packet, on a tokio worker; must not block.
pub type OnRtp = Arc<dyn Fn(Kind, RtpIn) + Send + Sync>;

/// A track that is being read.
pub(crate) struct Receiver {
    track: Arc<dyn TrackRemote>,
    /// Zero until the first packet.
    ssrc: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// The kind of a track, if it is one that we play.
    pub(crate) async fn kind_of(track: &Arc<dyn TrackRemote>) -> Option<Kind> {
        match track.kind().await {
            RtpCodecKind::Audio => Some(Kind::Audio),
            RtpCodecKind::Video => Some(Kind::Video),
            _ => None,
        }
    }

    /// `slot`: ours of the kind, which knows what was negotiated.
    pub(crate) fn start(
        slot: Arc<Slot>,
        track: Arc<dyn TrackRemote>,
        clocks: Arc<Clocks>,
        on_rtp: OnRtp,
    ) -> Self {
        let ssrc = Arc::<AtomicU32>::default();
        let task = tokio::spawn(read(slot, track.clone(), ssrc.clone(), clocks, on_rtp));
        Self { track, ssrc, task }
    }

    /// Asks the other side for a whole picture. Nothing is asked before the first packet: the stream starts
    /// with one.
    pub(crate) async fn request_keyframe(&self, sender_ssrc: u32) {
        let media_ssrc = self.ssrc.load(Ordering::Relaxed);
        if media_ssrc == 0 {
            return;
        }
        let pli = PictureLossIndication { sender_ssrc, media_ssrc };
        if let Err(error) = self.track.write_rtcp(vec![Box::new(pli)]).await {
            tracing::debug!(%error, "a keyframe request was not sent");
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(
    slot: Arc<Slot>,
    track: Arc<dyn TrackRemote>,
    current: Arc<AtomicU32>,
    clocks: Arc<Clocks>,
    on_rtp: OnRtp,
) {
    let kind = slot.kind();
    while let Some(event) = track.poll().await {
        match event {
            // Browsers probe the path with packets of padding between pictures. Their numbers count: without
            // them they would look lost.
            TrackRemoteEvent::OnRtpPacket(packet) if kind == Kind::Video || !packet.payload.is_empty() => {
                let header = packet.header;
                current.store(header.ssrc, Ordering::Relaxed);
                let arrived = Instant::now();
                let hand_on = |before: u16, offset: u32, payload: Bytes| {
                    let timestamp = header.timestamp.wrapping_sub(offset);
                    let packet = RtpIn {
                        seq: header.sequence_number.wrapping_sub(before),
                        timestamp,
                        marker: header.marker && before == 0,
                        payload,
                        arrived,
                        ssrc: header.ssrc,
                        sender_us: clocks.remote_time(kind, header.ssrc, timestamp),
                    };
                    on_rtp(kind, packet);
                };
                if slot.is_redundant(header.payload_type) {
                    // Copies of what came already are known as such where sound is ordered.
                    for block in red::unpack(&packet.payload) {
                        hand_on(block.before, block.offset, block.data);
                    }
                } else {
                    hand_on(0, 0, packet.payload);
                }
            }
            TrackRemoteEvent::OnEnded => break,
            _ => {}
        }
    }
    tracing::debug!(%kind, "a remote track ended");
}
