//! What a description tells of us, taken out: for those who go by relays alone (RFC 8828, mode 4).
//!
//! The stack gathers nothing but relays then; still its relay candidates name the address that they were
//! asked for from. Lines are let through by what they are, so that nothing new gets out unnoticed.

use crate::description::Candidate;

/// A candidate without our address; `None` when it is one.
pub(crate) fn candidate(candidate: &Candidate) -> Option<Candidate> {
    let text = line(&candidate.candidate)?;
    Some(Candidate { candidate: text, ..candidate.clone() })
}

/// A description without our addresses.
pub(crate) fn description(sdp: &str) -> String {
    let mut hidden = String::with_capacity(sdp.len());
    for text in sdp.lines().map(str::trim_end) {
        let kept = if let Some(value) = text.strip_prefix("a=candidate:") {
            line(value).map(|value| format!("a=candidate:{value}"))
        } else if text.starts_with("c=") {
            Some("c=IN IP4 0.0.0.0".to_owned())
        } else if text.starts_with("a=rtcp:") {
            Some("a=rtcp:9 IN IP4 0.0.0.0".to_owned())
        } else if let Some(origin) = text.strip_prefix("o=") {
            origin.rsplit_once(" IN ").map(|(who, _)| format!("o={who} IN IP4 0.0.0.0"))
        } else if let Some(media) = text.strip_prefix("m=") {
            // The port of the default candidate.
            let mut words: Vec<&str> = media.split(' ').collect();
            if let Some(port) = words.get_mut(1).filter(|port| **port != "0") {
                *port = "9";
            }
            Some(format!("m={}", words.join(" ")))
        } else {
            Some(text.to_owned())
        };
        if let Some(kept) = kept {
            hidden.push_str(&kept);
            hidden.push_str("\r\n");
        }
    }
    hidden
}

/// `FOUNDATION 1 udp PRIORITY ADDRESS PORT typ relay raddr ADDRESS rport PORT …`
fn line(candidate: &str) -> Option<String> {
    let mut words: Vec<&str> = candidate.split(' ').collect();
    (words.get(6) == Some(&"typ") && words.get(7) == Some(&"relay")).then_some(())?;
    for (name, nothing) in [("raddr", "0.0.0.0"), ("rport", "0")] {
        if let Some(at) = words.iter().skip(8).position(|word| *word == name) {
            *words.get_mut(8 + at + 1)? = nothing;
        }
    }
    Some(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: &str = "candidate:7 1 udp 16777215 198.51.100.1 50000 typ relay raddr 192.0.2.7 rport 4242";
    const HIDDEN: &str = "candidate:7 1 udp 16777215 198.51.100.1 50000 typ relay raddr 0.0.0.0 rport 0";

    fn of(text: &str) -> Candidate {
        Candidate { candidate: text.into(), sdp_m_line_index: Some(0), ..Candidate::default() }
    }

    #[test]
    fn only_relays_leave_and_without_what_is_behind_them() {
        assert_eq!(candidate(&of(RELAY)), Some(of(HIDDEN)));
        for address in [
            "candidate:1 1 udp 2130706431 192.0.2.7 4242 typ host",
            "candidate:1 1 udp 1694498815 203.0.113.5 4242 typ srflx raddr 192.0.2.7 rport 4242",
            "candidate:1 1 udp 1694498815 203.0.113.5 4242 typ prflx raddr 192.0.2.7 rport 4242",
            "candidate:1 1 udp 2130706431 0b1c.local 4242 typ host",
            "candidate:1 1 udp 2130706431 192.0.2.7 4242 typ host typ relay",
            "",
        ] {
            assert_eq!(candidate(&of(address)), None, "{address}");
        }
    }

    #[test]
    fn a_description_names_no_address_of_ours() {
        let sdp = format!(
            "v=0\r\no=- 12 2 IN IP4 192.0.2.7\r\ns=-\r\nm=audio 4242 UDP/TLS/RTP/SAVPF 111\r\n\
             c=IN IP4 192.0.2.7\r\na=rtcp:4243 IN IP4 192.0.2.7\r\na=mid:0\r\n\
             a=candidate:1 1 udp 2130706431 192.0.2.7 4242 typ host\r\na={RELAY}\r\nm=video 0 X 96\r\n"
        );
        let hidden = description(&sdp);
        assert!(!hidden.contains("192.0.2.7") && !hidden.contains("424"), "{hidden}");
        assert!(hidden.contains(&format!("a={HIDDEN}\r\n")) && hidden.contains("a=mid:0\r\n"), "{hidden}");
        assert!(hidden.contains("m=audio 9 UDP") && hidden.contains("m=video 0 X 96"), "{hidden}");
        assert_eq!(description(&hidden), hidden);
    }
}
