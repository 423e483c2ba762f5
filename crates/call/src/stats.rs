//! Statistics of the call with one participant, merged from media and peer, named after W3C webrtc-stats.

use serde::Serialize;

/// What is known of the media between one participant and us; measured over the last second where a rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Round trip, seconds.
    pub current_round_trip_time: Option<f64>,
    /// Whether packets go straight or through a relay; none before a path is chosen.
    pub path: Option<Path>,
    /// What we send them as picture.
    pub outbound_video: OutboundVideo,
    /// What we get from them as picture.
    pub inbound_video: InboundVideo,
    /// What we send them as sound.
    pub outbound_audio: OutboundAudio,
    /// What we get from them as sound.
    pub inbound_audio: InboundAudio,
}

/// The way packets take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// From person to person.
    Direct,
    /// Through a TURN server, at either end.
    Relayed,
}

/// Picture sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboundVideo {
    /// Bits a second.
    pub bitrate: f64,
    /// Bits a second that the encoder aims at.
    pub target_bitrate: f64,
    /// RTP packets sent in all.
    pub packets_sent: u64,
    /// RTP packets sent again in all.
    pub retransmitted_packets_sent: u64,
    /// Pictures encoded in all.
    pub frames_encoded: u64,
    /// Keyframes encoded in all.
    pub key_frames_encoded: u64,
    /// Pictures a second.
    pub frames_per_second: f64,
    /// Pixels across.
    pub frame_width: u32,
    /// Pixels down.
    pub frame_height: u32,
    /// Keyframes they asked for.
    pub pli_count: u64,
    /// Packets they asked for again.
    pub nack_count: u64,
    /// Share of our packets that they say was lost, 0 to 1.
    pub fraction_lost: f64,
}

/// Picture received.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundVideo {
    /// Bits a second.
    pub bitrate: f64,
    /// RTP packets in all.
    pub packets_received: u64,
    /// RTP packets that never came.
    pub packets_lost: u64,
    /// Seconds, RFC 3550.
    pub jitter: f64,
    /// Pictures decoded in all.
    pub frames_decoded: u64,
    /// Keyframes decoded in all.
    pub key_frames_decoded: u64,
    /// Pictures a second.
    pub frames_per_second: f64,
    /// Pixels across.
    pub frame_width: u32,
    /// Pixels down.
    pub frame_height: u32,
    /// Freezes in all: a gap of at least max(3 x mean, mean + 150 ms).
    pub freeze_count: u64,
    /// Seconds frozen in all.
    pub total_freezes_duration: f64,
    /// Keyframes we asked for.
    pub pli_count: u64,
}

/// Sound sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboundAudio {
    /// Bits a second.
    pub bitrate: f64,
    /// RTP packets in all.
    pub packets_sent: u64,
    /// Share of our packets that they say was lost, 0 to 1.
    pub fraction_lost: f64,
}

/// Sound received.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundAudio {
    /// Bits a second.
    pub bitrate: f64,
    /// RTP packets in all.
    pub packets_received: u64,
    /// RTP packets that never came.
    pub packets_lost: u64,
    /// Seconds, RFC 3550.
    pub jitter: f64,
    /// Samples made up for missing ones, in all.
    pub concealed_samples: u64,
    /// Samples played, in all.
    pub total_samples_received: u64,
    /// Seconds that sound now waits before it is played.
    pub jitter_buffer_delay: f64,
    /// Loudness now: 0 silent to 1 full scale.
    pub audio_level: f64,
}
