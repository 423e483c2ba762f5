//! Session descriptions and candidates as they cross signaling (W3C dictionaries), and the little that we
//! read in them ourselves.

use serde::{Deserialize, Serialize};

/// Longer descriptions are refused: two media sections need a few kilobytes.
pub const MAX_SDP: usize = 64 * 1024;
/// More media sections are refused: each one costs a transceiver for good.
pub const MAX_MEDIA: usize = 16;
/// Longer candidates are refused.
pub const MAX_CANDIDATE: usize = 1024;

/// W3C `RTCSdpType`, as far as it crosses the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DescriptionType {
    /// Proposes.
    Offer,
    /// Agrees.
    Answer,
}

/// W3C `RTCSessionDescriptionInit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Offer or answer.
    #[serde(rename = "type")]
    pub kind: DescriptionType,
    /// SDP.
    pub sdp: String,
}

impl Description {
    /// An offer.
    pub fn offer(sdp: impl Into<String>) -> Self {
        Self { kind: DescriptionType::Offer, sdp: sdp.into() }
    }

    /// An answer.
    pub fn answer(sdp: impl Into<String>) -> Self {
        Self { kind: DescriptionType::Answer, sdp: sdp.into() }
    }

    /// The ICE user name fragment: another one on the same connection means an ICE restart.
    pub fn ufrag(&self) -> Option<&str> {
        self.sdp.lines().find_map(|line| line.trim_end().strip_prefix("a=ice-ufrag:"))
    }

    /// Whether it is short enough and carries what a connection cannot do without.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        if self.sdp.len() > MAX_SDP {
            return Err(format!("the description is {} bytes long, more than {MAX_SDP}", self.sdp.len()));
        }
        let media = self.sdp.lines().filter(|line| line.starts_with("m=")).count();
        if media == 0 || media > MAX_MEDIA {
            return Err(format!("the description has {media} media sections, not 1 to {MAX_MEDIA}"));
        }
        for (key, what) in [
            ("a=ice-ufrag:", "ICE user name"),
            ("a=ice-pwd:", "ICE password"),
            ("a=fingerprint:", "certificate fingerprint"),
        ] {
            if !self.sdp.lines().any(|line| line.starts_with(key)) {
                return Err(format!("the description has no {what}"));
            }
        }
        Ok(())
    }
}

/// W3C `RTCIceCandidateInit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// `candidate:…`; empty means that there are no more.
    pub candidate: String,
    /// The media section by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdp_mid: Option<String>,
    /// The media section by position.
    #[serde(default, rename = "sdpMLineIndex", skip_serializing_if = "Option::is_none")]
    pub sdp_m_line_index: Option<u16>,
    /// Which description it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username_fragment: Option<String>,
}

impl Candidate {
    /// Whether it is a candidate over UDP of a sane length: we open no TCP connections to wherever
    /// somebody else points.
    pub fn usable(&self) -> bool {
        let protocol = self.candidate.split_ascii_whitespace().nth(2);
        self.candidate.len() <= MAX_CANDIDATE && protocol.is_some_and(|p| p.eq_ignore_ascii_case("udp"))
    }

    /// The ICE user name fragment of the description that it belongs to, where it says so.
    pub fn ufrag(&self) -> Option<&str> {
        let inside = || {
            let mut words = self.candidate.split_ascii_whitespace();
            words.find(|word| *word == "ufrag").and_then(|_| words.next())
        };
        self.username_fragment.as_deref().filter(|text| !text.is_empty()).or_else(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_reads_as_browsers_write_it() {
        let text = r#"{"candidate":"candidate:1 1 udp 2130706431 192.0.2.2 5000 typ host ufrag aB1+","sdpMLineIndex":0}"#;
        let candidate: Candidate = serde_json::from_str(text).unwrap();
        assert_eq!((candidate.sdp_mid.as_deref(), candidate.sdp_m_line_index), (None, Some(0)));
        assert_eq!(candidate.ufrag(), Some("aB1+"));
        assert!(candidate.usable());
        assert_eq!(serde_json::to_string(&candidate).unwrap(), text);
    }

    #[test]
    fn tcp_and_endless_candidates_are_not_used() {
        let of = |text: &str| Candidate { candidate: text.into(), ..Default::default() };
        assert!(!of("candidate:1 1 tcp 1 192.0.2.2 9 typ host tcptype active").usable());
        assert!(!of("").usable());
        assert!(!of(&format!("candidate:1 1 udp {}", "1".repeat(MAX_CANDIDATE))).usable());
    }

    #[test]
    fn descriptions_that_cannot_work_are_refused_before_anything_changes() {
        let good = "v=0\r\nm=audio 9\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 00\r\n";
        assert_eq!(Description::offer(good).check(), Ok(()));
        assert_eq!(Description::offer(good).ufrag(), Some("u"));
        for bad in ["", "garbage", "v=0\r\n", &good.replace("ice-pwd", "x"), &"m=audio\r\n".repeat(99)] {
            assert!(Description::offer(bad).check().is_err(), "{bad:?}");
        }
        assert!(Description::offer("x".repeat(MAX_SDP + 1)).check().is_err());
    }
}
