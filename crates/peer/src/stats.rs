//! Statistics of a connection, named after W3C webrtc-stats.

use crate::tap::{Counts, KindCounts};
use crate::{ConnectionState, Kind};
use rtc::peer_connection::transport::RTCIceCandidateType;
use serde::Serialize;
use webrtc::peer_connection::{RTCStatsReport, RTCStatsReportEntry};

/// Statistics of one connection. Counts are since its beginning; times in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// The path.
    pub transport: TransportStats,
    /// Sound.
    pub audio: KindStats,
    /// Pictures.
    pub video: KindStats,
}

/// Statistics of one kind of media (W3C's RTP stream dictionaries).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KindStats {
    /// What we send.
    pub outbound_rtp: OutboundRtp,
    /// What the other side reports of it; `None` before its first report.
    pub remote_inbound_rtp: Option<RemoteInboundRtp>,
    /// What we receive.
    pub inbound_rtp: InboundRtp,
}

/// W3C `RTCTransportStats` and the selected `RTCIceCandidatePairStats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransportStats {
    /// The connection's state.
    pub connection_state: ConnectionState,
    /// By STUN on the selected pair; `None` before the first answer.
    pub current_round_trip_time: Option<f64>,
    /// `host`, `srflx`, `prflx` or `relay`.
    pub local_candidate_type: Option<String>,
    /// `host`, `srflx`, `prflx` or `relay`.
    pub remote_candidate_type: Option<String>,
    /// The address of ours that the selected pair stands on; behind a relay, none is told.
    pub local_address: Option<std::net::IpAddr>,
    /// `direct` or `relayed`: whether a TURN server carries the media.
    pub path: Option<String>,
    /// With headers.
    pub bytes_sent: u64,
    /// With headers.
    pub bytes_received: u64,
    /// What the path is thought to carry, in bits a second; `None` without an estimate.
    pub available_outgoing_bitrate: Option<f64>,
    /// Packets thrown away at our sockets: strangers', and ours to where none may go. Not W3C's.
    pub packets_discarded: u64,
}

/// W3C `RTCOutboundRtpStreamStats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboundRtp {
    /// What left, retransmissions included.
    pub packets_sent: u64,
    /// Payload only.
    pub bytes_sent: u64,
    /// RTP headers.
    pub header_bytes_sent: u64,
    /// Sent again on request.
    pub retransmitted_packets_sent: u64,
    /// Payload only.
    pub retransmitted_bytes_sent: u64,
    /// Whole pictures (Opus packets, for sound).
    pub frames_sent: u64,
    /// Requests for packets that came.
    pub nack_count: u64,
    /// Requests for a keyframe that came.
    pub pli_count: u64,
    /// The same, the older way.
    pub fir_count: u64,
    /// Whether the slot is on.
    pub active: bool,
    /// Packets held back because the slot was off, or given up by the pacer. Not W3C's.
    pub packets_discarded: u64,
}

/// W3C `RTCRemoteInboundRtpStreamStats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteInboundRtp {
    /// By RTCP.
    pub round_trip_time: Option<f64>,
    /// Sum of all measurements.
    pub total_round_trip_time: f64,
    /// How many there were.
    pub round_trip_time_measurements: u64,
    /// Of the packets since the report before, 0 to 1.
    pub fraction_lost: f64,
    /// Since the beginning.
    pub packets_lost: i64,
    /// In seconds.
    pub jitter: f64,
}

/// W3C `RTCInboundRtpStreamStats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundRtp {
    /// What came, duplicates included.
    pub packets_received: u64,
    /// Payload only.
    pub bytes_received: u64,
    /// RTP headers.
    pub header_bytes_received: u64,
    /// What never came; negative when duplicates came.
    pub packets_lost: i64,
    /// In seconds.
    pub jitter: f64,
    /// Requests for packets that we sent.
    pub nack_count: u64,
    /// Requests for a keyframe that we sent.
    pub pli_count: u64,
}

/// What a slot knows of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotState {
    pub(crate) active: bool,
    pub(crate) discarded: u64,
}

impl KindStats {
    pub(crate) fn of(kind: Kind, counts: &Counts, slot: SlotState) -> Self {
        let KindCounts { sent, reported, received, .. } = counts.of(kind);
        let clock_rate = kind.clock_rate();
        Self {
            outbound_rtp: OutboundRtp {
                packets_sent: sent.packets,
                bytes_sent: sent.bytes,
                header_bytes_sent: sent.header_bytes,
                retransmitted_packets_sent: sent.retransmitted_packets,
                retransmitted_bytes_sent: sent.retransmitted_bytes,
                frames_sent: sent.frames,
                nack_count: sent.nacks,
                pli_count: sent.plis,
                fir_count: sent.firs,
                active: slot.active,
                packets_discarded: slot.discarded,
            },
            remote_inbound_rtp: reported.map(|reported| RemoteInboundRtp {
                round_trip_time: reported.round_trip.map(|trip| trip.as_secs_f64()),
                total_round_trip_time: reported.total_round_trip.as_secs_f64(),
                round_trip_time_measurements: reported.measurements,
                fraction_lost: reported.fraction_lost,
                packets_lost: reported.lost,
                jitter: f64::from(reported.jitter) / f64::from(clock_rate),
            }),
            inbound_rtp: InboundRtp {
                packets_received: received.packets,
                bytes_received: received.bytes,
                header_bytes_received: received.header_bytes,
                packets_lost: received.lost(),
                jitter: received.jitter(clock_rate),
                nack_count: received.nacks,
                pli_count: received.plis,
            },
        }
    }
}

/// W3C `srtpCipher`, once there are keys.
pub(crate) fn srtp_cipher(report: &RTCStatsReport) -> Option<&str> {
    report.iter().find_map(|entry| match entry {
        RTCStatsReportEntry::Transport(transport) if !transport.srtp_cipher.is_empty() => {
            Some(transport.srtp_cipher.as_str())
        }
        _ => None,
    })
}

impl TransportStats {
    /// Reads what the stack itself counts.
    pub(crate) fn read(&mut self, report: &RTCStatsReport) {
        let transport = report.iter().find_map(|entry| match entry {
            RTCStatsReportEntry::Transport(transport) => Some(transport),
            _ => None,
        });
        let Some(transport) = transport else { return };
        self.bytes_sent = transport.bytes_sent;
        self.bytes_received = transport.bytes_received;
        let Some(RTCStatsReportEntry::IceCandidatePair(pair)) =
            report.get(&transport.selected_candidate_pair_id)
        else {
            return;
        };
        let measured = pair.current_round_trip_time > 0.0;
        self.current_round_trip_time = measured.then_some(pair.current_round_trip_time);
        // The stack lists candidates under longer names than its pairs call them by, and has no entry for
        // remote ones that came inside a description.
        let local = format!("RTCLocalIceCandidate_{}", pair.local_candidate_id);
        let remote = format!("RTCRemoteIceCandidate_{}", pair.remote_candidate_id);
        let types = [local, remote].map(|id| match report.get(&id) {
            Some(RTCStatsReportEntry::LocalCandidate(c) | RTCStatsReportEntry::RemoteCandidate(c)) => {
                Some(c.candidate_type)
            }
            _ => None,
        });
        self.local_address = match report.get(&format!("RTCLocalIceCandidate_{}", pair.local_candidate_id)) {
            Some(RTCStatsReportEntry::LocalCandidate(c)) if c.candidate_type == RTCIceCandidateType::Host => {
                c.address.as_deref().and_then(|address| address.parse().ok())
            }
            _ => None,
        };
        // A check may come before the candidate that it comes from: its sender then counts as unknown (peer
        // reflexive), though it was the relay, if the other side told of nothing but relays.
        let unknown_is_relay = types[1].is_none() && only_relays(report);
        let relayed = types.contains(&Some(RTCIceCandidateType::Relay)) || unknown_is_relay;
        self.path = Some(if relayed { "relayed" } else { "direct" }.into());
        let [local, remote] = types.map(|kind| kind.map(|kind| kind.to_string()));
        self.local_candidate_type = local;
        // One that came unheralded has no entry.
        self.remote_candidate_type = remote.or_else(|| Some("prflx".into()));
    }
}

/// Whether the other side told of candidates, and all of them are relays.
fn only_relays(report: &RTCStatsReport) -> bool {
    let mut told = report.iter().filter_map(|entry| match entry {
        RTCStatsReportEntry::RemoteCandidate(candidate) => Some(candidate.candidate_type),
        _ => None,
    });
    told.next().is_some_and(|first| {
        first == RTCIceCandidateType::Relay && told.all(|other| other == RTCIceCandidateType::Relay)
    })
}
