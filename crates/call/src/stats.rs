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
    /// Our end of the path: `host`, `srflx`, `prflx` or `relay`.
    pub local_candidate_type: Option<String>,
    /// Their end of the path.
    pub remote_candidate_type: Option<String>,
    /// The address of ours that the path stands on, where it is known; not told to anybody.
    #[serde(skip)]
    pub local_address: Option<std::net::IpAddr>,
    /// Bits a second that the path to them is thought to carry; none without an estimate.
    pub available_outgoing_bitrate: Option<f64>,
    /// Bytes that came from them in all, with headers and RTCP: what tells a silent room from a dead path.
    pub bytes_received: u64,
    /// Seconds that their picture is shown after its sound, negative when before it; none while not both
    /// play, or before their clocks are known. Not W3C's.
    pub lip_skew: Option<f64>,
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

/// What keeps the picture that we send smaller or slower than it could be (W3C's
/// `RTCQualityLimitationReason`, without `other`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limitation {
    /// Nothing: it is as large and as fast as the camera gives it.
    #[default]
    None,
    /// What the path to them carries.
    Bandwidth,
    /// What this computer can encode.
    Cpu,
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
    /// Bits a second of packets sent again, in `bitrate` too. W3C has the count of bytes only.
    pub retransmitted_bitrate: f64,
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
    /// What keeps the picture from being better.
    pub quality_limitation_reason: Limitation,
    /// The picture is stopped, for the path carries no more than the sound. Not W3C's.
    pub suspended: bool,
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
    /// Pictures given up in all: a part never came, or they were broken.
    pub frames_dropped: u64,
    /// Keyframes decoded in all.
    pub key_frames_decoded: u64,
    /// Pictures a second.
    pub frames_per_second: f64,
    /// Pixels across.
    pub frame_width: u32,
    /// Pixels down.
    pub frame_height: u32,
    /// Seconds that a picture now waits before it is shown. W3C's is the sum over all pictures.
    pub jitter_buffer_delay: f64,
    /// Freezes in all: a gap of at least max(3 x mean, mean + 150 ms).
    pub freeze_count: u64,
    /// Seconds frozen in all.
    pub total_freezes_duration: f64,
    /// Keyframes we asked for.
    pub pli_count: u64,
    /// Requests for missing packets that we sent.
    pub nack_count: u64,
}

/// Sound sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboundAudio {
    /// Bits a second.
    pub bitrate: f64,
    /// Bits a second that the encoder aims at.
    pub target_bitrate: f64,
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
    /// How often that began.
    pub concealment_events: u64,
    /// Packets that never came but that a later one carried a copy of.
    pub fec_packets_received: u64,
    /// Samples added so that it plays slower, in all.
    pub inserted_samples_for_deceleration: u64,
    /// Samples left out so that it plays faster, in all.
    pub removed_samples_for_acceleration: u64,
    /// Samples played, in all.
    pub total_samples_received: u64,
    /// Seconds that sound now waits before it is played. W3C's is the sum over all samples.
    pub jitter_buffer_delay: f64,
    /// Loudness now: 0 silent to 1 full scale.
    pub audio_level: f64,
}
