//! Where a call takes place: what people type or paste, read into a server and a room.

use anyhow::{Result, bail};

/// A room, and the server when the text named one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The server as a browser would open it, without a slash at its end.
    pub server: Option<String>,
    /// The room's name, as people write it.
    pub room: String,
}

impl Place {
    /// Reads a room's name, or a room's link (`https://host/ROOM`, percent-encoded).
    ///
    /// Errors say what to type instead.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            bail!("the room needs a name: type one, or paste a room's link");
        }
        if !text.contains("://") {
            return Ok(Self { server: None, room: text.to_owned() });
        }
        let link = text.split(['?', '#']).next().unwrap_or(text).trim_end_matches('/');
        let after_scheme = link.find("://").map_or(0, |at| at + 3);
        let Some(slash) = link[after_scheme..].rfind('/').map(|at| at + after_scheme) else {
            bail!("the link {text} names no room: it should end in /ROOM");
        };
        let room = percent_decoded(&link[slash + 1..]);
        Ok(Self { server: Some(server(&link[..slash])?), room })
    }
}

/// Reads a server's address. Without a scheme, this computer and plain addresses are taken as `http://`,
/// names as `https://`. No slash at the end of what it returns.
pub fn server(text: &str) -> Result<String> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None if is_plain_host(text) => ("http".to_owned(), text),
        None => ("https".to_owned(), text),
    };
    let rest = rest.trim_end_matches('/');
    if !matches!(scheme.as_str(), "http" | "https") {
        bail!("the server {text} should begin with https:// or http://");
    }
    let host = rest.split('/').next().unwrap_or_default();
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '\\' | '@');
    if host.is_empty() || rest.chars().any(odd) {
        bail!("{text} is no server's address: it should look like https://host or http://127.0.0.1:8080");
    }
    Ok(format!("{scheme}://{rest}"))
}

/// Whether a host without a scheme is this computer or an address: such servers seldom have a certificate.
fn is_plain_host(text: &str) -> bool {
    let host = text.split('/').next().unwrap_or_default();
    if host.starts_with('[') {
        return true;
    }
    let name = host.split(':').next().unwrap_or_default();
    name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Percent-encoded bytes decoded; what is no valid escape stays, what is no UTF-8 becomes U+FFFD.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> (Option<String>, String) {
        let place = Place::parse(text).unwrap();
        (place.server, place.room)
    }

    #[test]
    fn a_room_is_a_name_or_a_link() {
        assert_eq!(place(" tea time "), (None, "tea time".into()));
        assert_eq!(place("https://call.example/tea"), (Some("https://call.example".into()), "tea".into()));
        assert_eq!(
            place("http://127.0.0.1:8080/Tea%20%E2%9D%A4/?x=1#y"),
            (Some("http://127.0.0.1:8080".into()), "Tea ❤".into())
        );
        assert_eq!(place("https://a.b/calls/tea"), (Some("https://a.b/calls".into()), "tea".into()));
        assert_eq!(place("http://[::1]:80/50%"), (Some("http://[::1]:80".into()), "50%".into()));
    }

    #[test]
    fn what_is_no_place_says_what_to_type() {
        for bad in ["", "  ", "https://call.example", "https://call.example/", "ftp://a/b", "https:///tea"] {
            assert!(Place::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_server_may_come_without_its_scheme() {
        assert_eq!(server("call.example/").unwrap(), "https://call.example");
        assert_eq!(server("localhost:8080").unwrap(), "http://localhost:8080");
        assert_eq!(server("192.168.1.2:80").unwrap(), "http://192.168.1.2:80");
        assert_eq!(server("[::1]:80").unwrap(), "http://[::1]:80");
        assert_eq!(server("HTTP://host").unwrap(), "http://host");
        for bad in ["", "http://", "ws://host", "https://a b", "https://a@b"] {
            assert!(server(bad).is_err(), "{bad:?}");
        }
    }
}
