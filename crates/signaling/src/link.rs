//! Addresses as people type them: of a server, or of a room on it.

use crate::names::{NameError, RoomName};
use std::fmt;
use std::net::IpAddr;

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    secure: bool,
    host: String,
    port: u16,
}

/// What somebody typed or pasted: a server, perhaps with a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The server.
    pub server: Server,
    /// The room, when the address has a path.
    pub room: Option<RoomName>,
}

/// What is wrong with an address, and so what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing typed.
    #[error("no server given: type its address as a browser would open it, such as https://host")]
    Empty,
    /// Not http, https, ws, wss.
    #[error("\"{0}://\" is no address of a server: it begins with https:// or http://")]
    Scheme(String),
    /// The part between `//` and `/`.
    #[error("\"{0}\" is no host: type a name or an IP address, and a port if needed, such as host:8080")]
    Host(String),
    /// More than one path segment.
    #[error("the address has more than one part after the host; a room's link is https://host/ROOM")]
    Path,
    /// `%` without two hexadecimal digits, or not UTF-8.
    #[error("the room in the address is not correctly percent-encoded")]
    Encoding,
    /// The room's name breaks the rules.
    #[error(transparent)]
    Room(#[from] NameError),
}

impl Link {
    /// Takes `https://host`, `http://127.0.0.1:8080`, `host:8080`, `https://host/ROOM` (percent-encoded or
    /// not). Without a scheme it is http for an IP address, `localhost`, a name without a dot or a port other
    /// than 443; https for everything else.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if text.is_empty() || authority.is_empty() {
            return Err(LinkError::Empty);
        }
        let (host, port) = host_and_port(authority).ok_or_else(|| LinkError::Host(authority.into()))?;
        let secure = match scheme.as_deref() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            Some(other) => return Err(LinkError::Scheme(other.chars().take(20).collect())),
            None => !is_near(&host) && matches!(port, None | Some(443)),
        };
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        // A query or fragment (added by mail programs and the like) means nothing here.
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.contains('/') {
            return Err(LinkError::Path);
        }
        let room = if path.is_empty() { None } else { Some(RoomName::parse(&decode(path)?)?) };
        Ok(Self { server: Server { secure, host, port }, room })
    }
}

impl Server {
    /// Takes a server's address; a room in it is left out.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        Link::parse(text).map(|link| link.server)
    }

    /// Whether the connection is encrypted (https).
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Name or IP address; IPv6 without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As a browser would open it, without a slash at the end: `http://127.0.0.1:8080`.
    pub fn base(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }

    /// Where the WebSocket is.
    pub fn ws_url(&self) -> String {
        format!("{}://{}/ws", if self.secure { "wss" } else { "ws" }, self.authority())
    }

    /// What others open to join a room.
    pub fn room_link(&self, room: &RoomName) -> String {
        format!("{}/{}", self.base(), encode(room.as_str()))
    }

    fn authority(&self) -> String {
        if self.port == if self.secure { 443 } else { 80 } {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base())
    }
}

/// The host as it stands in an address (IPv6 in brackets), lower case, and the port if there is one.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(end) = authority.find(']') {
        let (host, rest) = authority.split_at(end + 1);
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = match port {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse::<u16>().ok()?),
        Some(_) => return None,
        None => None,
    };
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let valid = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.len() <= 253 && host.bytes().all(named),
    };
    (valid && port != Some(0)).then(|| (host.to_ascii_lowercase(), port))
}

/// Whether a host is likely on this machine or network, where nobody has certificates.
fn is_near(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok() || !host.contains('.') || host.ends_with(".local")
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Undoes percent-encoding; text that was never encoded passes through.
pub(crate) fn decode(text: &str) -> Result<String, LinkError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = digit().zip(digit()).ok_or(LinkError::Encoding)?;
            out.push(u8::try_from(value.0 * 16 + value.1).map_err(|_| LinkError::Encoding)?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|_| LinkError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type() {
        for (typed, base, ws, room) in [
            ("https://host", "https://host", "wss://host/ws", None),
            ("https://Host.Example/", "https://host.example", "wss://host.example/ws", None),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws", None),
            ("host:8080", "http://host:8080", "ws://host:8080/ws", None),
            ("snug.example", "https://snug.example", "wss://snug.example/ws", None),
            ("snug.example:443", "https://snug.example", "wss://snug.example/ws", None),
            ("192.168.1.5", "http://192.168.1.5", "ws://192.168.1.5/ws", None),
            ("[::1]:8080", "http://[::1]:8080", "ws://[::1]:8080/ws", None),
            (" https://host/tea ", "https://host", "wss://host/ws", Some("tea")),
            ("https://host/Tea%20Time/?from=mail#x", "https://host", "wss://host/ws", Some("Tea Time")),
            ("host:8080/Tea Time", "http://host:8080", "ws://host:8080/ws", Some("Tea Time")),
            ("wss://host:444/%F0%9F%AB%96", "https://host:444", "wss://host:444/ws", Some("🫖")),
        ] {
            let link = Link::parse(typed).unwrap();
            assert_eq!(link.server.base(), base, "{typed}");
            assert_eq!(link.server.ws_url(), ws, "{typed}");
            assert_eq!(link.room.as_ref().map(RoomName::as_str), room, "{typed}");
        }
        assert_eq!(Server::parse("http://[::1]:8080").unwrap().host(), "::1");
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(Link::parse("  "), Err(LinkError::Empty));
        assert_eq!(Link::parse("https:///tea"), Err(LinkError::Empty));
        assert_eq!(Link::parse("ftp://host"), Err(LinkError::Scheme("ftp".into())));
        for host in ["host:99999", "host:", "ho st", "a@b", "[::1", "host:0", "hö", "host:+8", "[::1]8"] {
            assert!(matches!(Link::parse(host), Err(LinkError::Host(_))), "{host}");
        }
        assert_eq!(Link::parse("https://host/a/b"), Err(LinkError::Path));
        assert_eq!(Link::parse("https://host/%4"), Err(LinkError::Encoding));
        assert_eq!(Link::parse("https://host/%FF"), Err(LinkError::Encoding));
        assert!(matches!(Link::parse("https://host/a%2Fb"), Err(LinkError::Room(NameError::Forbidden('/')))));
        assert!(matches!(Link::parse("https://host/ws"), Err(LinkError::Room(NameError::Reserved(_)))));
    }

    #[test]
    fn a_rooms_link_leads_back_to_it() {
        let server = Server::parse("http://127.0.0.1:8080").unwrap();
        for name in ["tea", "Tea Time", "👩‍👩‍👧 ❤️", "ünï+&=~_-.", "\"<>"] {
            let room = RoomName::parse(name).unwrap();
            let link = server.room_link(&room);
            assert!(link.is_ascii(), "{link}");
            assert_eq!(Link::parse(&link).unwrap(), Link { server: server.clone(), room: Some(room) });
        }
        let room = RoomName::parse("Tea Time").unwrap();
        assert_eq!(server.room_link(&room), "http://127.0.0.1:8080/Tea%20Time");
    }

    proptest::proptest! {
        #[test]
        fn nothing_typed_panics(text in "\\PC{0,60}", odd in ".{0,40}") {
            let _ = (Link::parse(&text), Link::parse(&format!("https://h/{text}")), Link::parse(&odd));
        }
    }
}
