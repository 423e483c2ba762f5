//! What media needs to know of a received RTP packet.

use bytes::Bytes;
use std::time::Instant;

/// A received RTP packet, its header reduced to what assembling and playing need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpPacket {
    /// Sequence number.
    pub seq: u16,
    /// Media time: 90 kHz for video, 48 kHz for Opus.
    pub timestamp: u32,
    /// Last packet of a picture; first packet after silence.
    pub marker: bool,
    /// Codec payload, payload descriptor included.
    pub payload: Bytes,
    /// When it came.
    pub arrived: Instant,
    /// The sender's wall clock (microseconds since 1970, or since whenever its clock began) when what is in
    /// here was captured, from its RTCP sender reports; `None` before the first of them.
    pub sender_us: Option<i64>,
}
