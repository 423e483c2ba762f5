//! What a connection is made from, and what it says.

use crate::description::{Candidate, Description};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Instant;

/// Sound or picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Opus, 48 kHz.
    Audio,
    /// VP8, 90 kHz.
    Video,
}

impl Kind {
    /// Ticks of the RTP timestamp in a second.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Audio => 48_000,
            Self::Video => 90_000,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
        })
    }
}

/// A STUN or TURN server (W3C `RTCIceServer`).
///
/// `stun:`, `turn:` over UDP and TCP, and `turns:` (TLS) are used; addresses that are malformed or want
/// DTLS are left out with a warning in the log. Over TCP and TLS a server is asked where none relays over
/// UDP within 0.3 s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:host:port`, `turn:host:port?transport=udp`, `turn:host:port?transport=tcp`, `turns:host:port`.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// For TURN.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credential: String,
}

/// How to make a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerConfig {
    /// Servers that help to find a path.
    pub ice_servers: Vec<IceServer>,
    /// When both sides offer at once, whether ours gives way. Must differ on the two sides.
    pub polite: bool,
    /// Use TURN and nothing else: no description, candidate or packet tells the other side our address.
    pub relay_only: bool,
    /// Certificates (DER) of authorities that `turns:` servers may have beside those of the web.
    pub certificates: Vec<Vec<u8>>,
}

/// W3C `RTCPeerConnectionState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionState {
    /// Nothing was tried.
    #[default]
    New,
    /// Looking for a path, or agreeing on keys.
    Connecting,
    /// Media may flow.
    Connected,
    /// The path gives no sign of life; it may come back by itself.
    Disconnected,
    /// No path works. An ICE restart may find one.
    Failed,
    /// Closed by us.
    Closed,
}

/// What a connection tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// Send this to the other side.
    Description(Description),
    /// Send this to the other side; `None` when there are no more.
    Candidate(Option<Candidate>),
    /// The path changed.
    State(ConnectionState),
    /// The other side (or our own slot, on its first frame) needs a whole picture from us.
    KeyframeRequested,
    /// What the other side sent was not usable and was left out; the connection goes on.
    Rejected(String),
    /// The connection cannot go on; make a new one.
    Failed(String),
}

/// A received RTP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpIn {
    /// Sequence number.
    pub seq: u16,
    /// Media time: 90 kHz for video, 48 kHz for Opus.
    pub timestamp: u32,
    /// Last packet of a picture; first packet after silence.
    pub marker: bool,
    /// Codec payload, VP8's payload descriptor included. Empty for video that is padding: part of no picture,
    /// but its number is taken. Never empty for sound.
    pub payload: Bytes,
    /// When it came.
    pub arrived: Instant,
    /// The stream it belongs to; another one begins with its own numbers and times.
    pub ssrc: u32,
    /// When what is in it was captured, in microseconds by the other side's clock, as its sender reports tell;
    /// `None` before the first.
    pub sender_us: Option<i64>,
}

/// One encoded frame: a whole VP8 picture, or an Opus packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The codec's bytes.
    pub data: Bytes,
    /// 90 kHz for video, 48 kHz for Opus; any base. A slot keeps what leaves continuous.
    pub timestamp: u32,
    /// Whether a picture can be decoded without earlier ones. Ignored for sound.
    pub key: bool,
    /// First sound after silence. Ignored for pictures.
    pub marker: bool,
    /// When it was captured: sender reports tell the other side, which keeps lips and voice together by it.
    pub captured: Instant,
}
