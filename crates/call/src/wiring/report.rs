//! Statistics of media and peer merged into one value, and rates made of counters.

use crate::stats::{InboundAudio, InboundVideo, Limitation, OutboundAudio, OutboundVideo, Path, Stats};
use media::{AudioInStats, VideoInStats, VideoOutStats};
use std::time::Instant;

/// Remembers the counters of a second ago.
#[derive(Default)]
pub(super) struct Meter {
    before: Option<(Instant, Counters)>,
    waited: (f64, u64),
}

#[derive(Clone, Copy, Default)]
struct Counters {
    video_out: u64,
    video_again: u64,
    video_in: u64,
    audio_out: u64,
    audio_in: u64,
}

impl Meter {
    pub(super) fn merge(
        &mut self,
        peer: &peer::Stats,
        video_in: &VideoInStats,
        audio_in: Option<AudioInStats>,
        video_out: &VideoOutStats,
    ) -> Stats {
        let counters = Counters {
            video_out: peer.video.outbound_rtp.bytes_sent,
            video_again: peer.video.outbound_rtp.retransmitted_bytes_sent,
            video_in: peer.video.inbound_rtp.bytes_received,
            audio_out: peer.audio.outbound_rtp.bytes_sent,
            audio_in: peer.audio.inbound_rtp.bytes_received,
        };
        let now = Instant::now();
        let (since, before) = self.before.replace((now, counters)).unwrap_or((now, counters));
        let seconds = now.duration_since(since).as_secs_f64().max(0.001);
        let rate =
            |of: fn(&Counters) -> u64| (of(&counters).saturating_sub(of(&before))) as f64 * 8.0 / seconds;
        Stats {
            current_round_trip_time: peer.transport.current_round_trip_time,
            path: peer.transport.path.as_deref().map(|path| match path {
                "relayed" => Path::Relayed,
                _ => Path::Direct,
            }),
            local_candidate_type: peer.transport.local_candidate_type.clone(),
            remote_candidate_type: peer.transport.remote_candidate_type.clone(),
            local_address: peer.transport.local_address,
            available_outgoing_bitrate: peer.transport.available_outgoing_bitrate,
            bytes_received: peer.transport.bytes_received,
            lip_skew: video_in.skew_ms.map(|ms| ms / 1000.0),
            outbound_video: OutboundVideo {
                retransmitted_bitrate: rate(|c| c.video_again),
                ..outbound_video(peer, video_out, rate(|c| c.video_out))
            },
            inbound_video: InboundVideo {
                nack_count: peer.video.inbound_rtp.nack_count,
                ..inbound_video(video_in, rate(|c| c.video_in))
            },
            outbound_audio: OutboundAudio {
                bitrate: rate(|c| c.audio_out),
                target_bitrate: 0.0,
                packets_sent: peer.audio.outbound_rtp.packets_sent,
                fraction_lost: fraction_lost(&peer.audio),
            },
            inbound_audio: self.inbound_audio(&audio_in.unwrap_or_default(), rate(|c| c.audio_in)),
        }
    }

    fn inbound_audio(&mut self, stats: &AudioInStats, bitrate: f64) -> InboundAudio {
        let (waited_before, played_before) =
            std::mem::replace(&mut self.waited, (stats.jitter_buffer_delay_ms, stats.played));
        let played = stats.played.saturating_sub(played_before);
        let waited = stats.jitter_buffer_delay_ms - waited_before;
        InboundAudio {
            bitrate,
            packets_received: stats.packets,
            packets_lost: stats.packets_lost,
            jitter: f64::from(stats.jitter_ms) / 1000.0,
            concealed_samples: stats.concealed_samples,
            concealment_events: stats.concealment_events,
            fec_packets_received: stats.fec_packets,
            inserted_samples_for_deceleration: stats.stretched_samples.0,
            removed_samples_for_acceleration: stats.stretched_samples.1,
            total_samples_received: stats.total_samples,
            jitter_buffer_delay: if played == 0 { 0.0 } else { waited / played as f64 / 1000.0 },
            audio_level: f64::from(stats.level),
        }
    }
}

fn fraction_lost(kind: &peer::stats::KindStats) -> f64 {
    kind.remote_inbound_rtp.as_ref().map_or(0.0, |report| report.fraction_lost)
}

fn outbound_video(peer: &peer::Stats, encoder: &VideoOutStats, bitrate: f64) -> OutboundVideo {
    let sent = &peer.video.outbound_rtp;
    OutboundVideo {
        bitrate,
        // The encoder's last one stays what it was while nothing is encoded.
        target_bitrate: if encoder.suspended { 0.0 } else { f64::from(encoder.bitrate) },
        packets_sent: sent.packets_sent,
        retransmitted_packets_sent: sent.retransmitted_packets_sent,
        frames_encoded: encoder.frames_encoded,
        key_frames_encoded: encoder.keyframes,
        frames_per_second: encoder.fps,
        frame_width: encoder.width,
        frame_height: encoder.height,
        pli_count: sent.pli_count,
        nack_count: sent.nack_count,
        fraction_lost: fraction_lost(&peer.video),
        quality_limitation_reason: match encoder.limitation {
            media::Limitation::None if encoder.suspended => Limitation::Bandwidth,
            media::Limitation::None => Limitation::None,
            media::Limitation::Bandwidth => Limitation::Bandwidth,
            media::Limitation::Cpu => Limitation::Cpu,
        },
        suspended: encoder.suspended,
        ..OutboundVideo::default()
    }
}

fn inbound_video(stats: &VideoInStats, bitrate: f64) -> InboundVideo {
    InboundVideo {
        bitrate,
        packets_received: stats.packets,
        packets_lost: stats.packets_lost,
        jitter: stats.jitter_ms / 1000.0,
        frames_decoded: stats.frames_decoded,
        frames_dropped: stats.frames_dropped,
        key_frames_decoded: stats.key_frames_decoded,
        frames_per_second: stats.fps,
        frame_width: stats.width,
        frame_height: stats.height,
        freeze_count: stats.freeze_count,
        total_freezes_duration: stats.total_freezes_ms as f64 / 1000.0,
        pli_count: stats.plis,
        jitter_buffer_delay: stats.jitter_buffer_delay_ms / 1000.0,
        ..InboundVideo::default()
    }
}
