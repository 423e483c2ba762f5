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

    /// Whether who wrote it would rather be sent less in pauses of speech (`usedtx=1` of Opus; RFC 7587, 6.1).
    pub fn wants_dtx(&self) -> bool {
        let lines = || self.sdp.lines().map(str::trim_end);
        let coded = lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
        let opus = coded.filter(|(_, codec)| codec.to_ascii_lowercase().starts_with("opus/"));
        let types: Vec<&str> = opus.map(|(payload_type, _)| payload_type).take(MAX_MEDIA).collect();
        let mut formats = lines().filter_map(|line| line.strip_prefix("a=fmtp:")?.split_once(' '));
        formats.any(|(payload_type, parameters)| {
            types.contains(&payload_type) && parameters.split(';').any(|each| each.trim() == "usedtx=1")
        })
    }

    /// Whether it is short enough and carries what a connection cannot do without. The stack below finds
    /// out half way through, when the connection is already changed.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        if self.sdp.len() > MAX_SDP {
            return Err(format!("the description is {} bytes long, more than {MAX_SDP}", self.sdp.len()));
        }
        let lines: Vec<&str> = self.sdp.lines().map(str::trim_end).collect();
        let values = |key: &'static str| lines.iter().filter_map(move |line| line.strip_prefix(key));
        if lines.first() != Some(&"v=0") {
            return Err("the description does not begin as SDP does".into());
        }
        let media: Vec<&str> = values("m=").collect();
        if media.is_empty() || media.len() > MAX_MEDIA {
            return Err(format!("the description has {} media sections, not 1 to {MAX_MEDIA}", media.len()));
        }
        if let Some(bad) = media.iter().find(|section| !is_media(section)) {
            return Err(format!("the description has a media section that cannot be read: {bad:?}"));
        }
        if !media.iter().any(|section| section.starts_with("audio ") || section.starts_with("video ")) {
            return Err("the description has neither sound nor pictures".into());
        }
        let codecs = || values("a=rtpmap:").map(str::to_ascii_lowercase);
        if !codecs().any(|codec| codec.ends_with(" vp8/90000") || codec.contains(" opus/48000")) {
            return Err("the other side speaks neither Opus nor VP8".into());
        }
        let mut mids: Vec<&str> = values("a=mid:").filter(|mid| !mid.is_empty()).collect();
        mids.sort_unstable();
        mids.dedup();
        if mids.len() != media.len() {
            return Err("the description's media sections have no names of their own (mid)".into());
        }
        // RFC 8839, 5.4.
        for (key, what, least) in [("a=ice-ufrag:", "user name", 4), ("a=ice-pwd:", "password", 22)] {
            let good = |value: &str| (least..=256).contains(&value.len());
            if values(key).next().is_none() || !values(key).all(good) {
                return Err(format!("the description has no usable ICE {what}"));
            }
        }
        if values("a=fingerprint:").next().is_none() || !values("a=fingerprint:").all(is_fingerprint) {
            return Err("the description has no usable certificate fingerprint".into());
        }
        Ok(())
    }
}

/// `audio 9 UDP/TLS/RTP/SAVPF 111`
fn is_media(section: &str) -> bool {
    let mut words = section.split(' ');
    let kind = words.next().is_some_and(|kind| ["audio", "video", "application"].contains(&kind));
    let port = words.next().is_some_and(|port| port.parse::<u16>().is_ok());
    let protocol = words.next().is_some_and(|protocol| !protocol.is_empty());
    kind && port && protocol && words.next().is_some_and(|format| !format.is_empty())
}

/// `sha-256 00:11:…`, as long as its hash says.
fn is_fingerprint(value: &str) -> bool {
    let Some((hash, digest)) = value.split_once(' ') else { return false };
    let bytes = match hash.to_ascii_lowercase().as_str() {
        "sha-256" => 32,
        "sha-384" => 48,
        "sha-512" => 64,
        _ => return false,
    };
    let hex = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    digest.split(':').count() == bytes && digest.split(':').all(hex)
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
    fn a_wish_for_pauses_is_read_where_it_is_said_of_opus() {
        let wants = |fmtp: &str| {
            let sdp = format!("v=0\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n{fmtp}\r\n");
            Description::answer(sdp).wants_dtx()
        };
        assert!(wants("a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1"));
        assert!(wants("a=fmtp:111 usedtx=1; stereo=1"));
        assert!(!wants("a=fmtp:111 minptime=10;useinbandfec=1"));
        assert!(!wants("a=fmtp:111 usedtx=0"));
        assert!(!wants("a=fmtp:63 usedtx=1"));
        assert!(!wants("a=fmtp:111"));
        assert!(!wants(""));
    }

    #[test]
    fn descriptions_that_cannot_work_are_refused_before_anything_changes() {
        let good = format!(
            "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=ice-ufrag:user\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\n",
            "p".repeat(22),
            ["aF"; 32].join(":"),
        );
        assert_eq!(Description::offer(&good).check(), Ok(()));
        assert_eq!(Description::offer(&good).ufrag(), Some("user"));
        let change = |from: &str, to: &str| {
            assert!(good.contains(from));
            good.replace(from, to)
        };
        let bad = [
            String::new(),
            "garbage".into(),
            "v=0\r\n".into(),
            change("v=0", "v=1"),
            change("m=audio 9", "m=audio x"),
            change("m=audio", "m=smell"),
            change("a=mid:0", "a=mid:"),
            change("opus", "G722"),
            change("ice-ufrag:user", "ice-ufrag:u"),
            change("ice-pwd:pp", "ice-pwd:"),
            change("aF:aF", "aF:zz"),
            change(":aF", ""),
            change("sha-256", "md5"),
            good.repeat(2),
            format!("{good}{}", "m=audio 9 UDP 1\r\n".repeat(99)),
            "x".repeat(MAX_SDP + 1),
        ];
        for bad in bad {
            assert!(Description::offer(&bad).check().is_err(), "{bad:?}");
        }
    }
}
