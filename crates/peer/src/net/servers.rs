//! The STUN and TURN servers that are asked, in the stack's words.
//!
//! The stack asks TURN servers over UDP alone. One that is asked over TCP or TLS gets an address of our own
//! making, from ranges that nothing on a network has: what the stack sends there, [`super::socket`] puts on
//! a stream, and no socket ever sees it.

use crate::IceServer;
use rtc::ice::url::{ProtoType, SchemeType, Url};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use webrtc::peer_connection::RTCIceServer;

/// Of the reserved 240.0.0.0/4, and of the discard-only 100::/64 (RFC 6666).
const MADE_V4: [u8; 3] = [240, 115, 117];
const MADE_V6: [u16; 7] = [0x100, 0, 0, 0, 0, 0, 0x7375];
/// Servers over streams at most; further ones are left out.
const MAX_STREAMS: usize = 16;
/// Under this name the stack looks a made address up. `.invalid` never is in the DNS (RFC 6761).
const MADE_NAME: &str = "-stream.snug.invalid";

/// How a TURN server is reached that is not asked over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Tcp,
    Tls,
}

/// A TURN server on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamServer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) over: Over,
}

/// All that were named so far; their numbers stay theirs.
#[derive(Debug, Default)]
pub(super) struct Servers {
    streams: Vec<StreamServer>,
    udp_relay: bool,
}

impl Servers {
    /// Translates a configuration. What cannot be used is left out: one bad address must not cost the
    /// whole connection.
    pub(super) fn for_stack(&mut self, servers: &[IceServer], relay_only: bool) -> Vec<RTCIceServer> {
        self.udp_relay = false;
        let translated = servers.iter().map(|server| {
            let urls = server.urls.iter().filter_map(|url| match self.translate(url, server) {
                // Asking it would tell it our address for nothing.
                Ok((_, SchemeType::Stun)) if relay_only => None,
                Ok((url, _)) => Some(url),
                Err(why) => {
                    tracing::warn!(url, "this STUN or TURN address is not used: {why}");
                    None
                }
            });
            RTCIceServer {
                urls: urls.collect(),
                username: server.username.clone(),
                credential: server.credential.clone(),
            }
        });
        translated.filter(|server| !server.urls.is_empty()).collect()
    }

    fn translate(&mut self, raw: &str, server: &IceServer) -> Result<(String, SchemeType), &'static str> {
        let url = Url::parse_url(raw).map_err(|_| "it is malformed")?;
        let turn = matches!(url.scheme, SchemeType::Turn | SchemeType::Turns);
        if turn && (server.username.is_empty() || server.credential.is_empty()) {
            return Err("TURN needs credentials");
        }
        let over = match (url.scheme, url.proto) {
            (SchemeType::Stun, _) => return Ok((raw.to_owned(), url.scheme)),
            (SchemeType::Turn, ProtoType::Udp) => {
                self.udp_relay = true;
                return Ok((raw.to_owned(), url.scheme));
            }
            (SchemeType::Turn, ProtoType::Tcp) => Over::Tcp,
            (SchemeType::Turns, ProtoType::Tcp) => Over::Tls,
            (SchemeType::Turns, ProtoType::Udp) => return Err("TURN over DTLS is not supported"),
            _ => return Err("use stun:, turn: or turns:"),
        };
        let stream = StreamServer { host: url.host, port: url.port, over };
        let number = match self.streams.iter().position(|known| *known == stream) {
            Some(number) => number,
            // overflow: the newcomer is left out.
            None if self.streams.len() >= MAX_STREAMS => return Err("there are too many"),
            None => {
                self.streams.push(stream);
                self.streams.len() - 1
            }
        };
        Ok((format!("turn:{number}{MADE_NAME}:{}?transport=udp", url.port), url.scheme))
    }

    /// Whether a TURN server is asked over UDP.
    pub(super) fn has_udp_relay(&self) -> bool {
        self.udp_relay
    }

    /// The server that the stack looks up under one of our names, and its number.
    pub(super) fn named(&self, host: &str) -> Option<(u8, StreamServer)> {
        let number: u8 = host.strip_suffix(MADE_NAME)?.parse().ok()?;
        Some((number, self.streams.get(usize::from(number))?.clone()))
    }

    /// The server behind a made address.
    pub(super) fn at(&self, address: SocketAddr) -> Option<StreamServer> {
        self.streams.get(number_of(address)?).filter(|server| server.port == address.port()).cloned()
    }
}

/// Whether an address is one of ours, of whatever server.
pub(super) fn is_made(address: SocketAddr) -> bool {
    number_of(address).is_some()
}

fn number_of(address: SocketAddr) -> Option<usize> {
    match address.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, number] = ip.octets();
            ([a, b, c] == MADE_V4).then_some(usize::from(number))
        }
        IpAddr::V6(ip) => {
            let (number, made) = ip.segments().split_last().map(|(last, made)| (*last, made.to_vec()))?;
            (made == MADE_V6).then_some(usize::from(number))
        }
    }
}

/// The made addresses of a server, one for each family that it really has.
pub(super) fn made(number: u8, real: &[SocketAddr]) -> Vec<SocketAddr> {
    let [a, b, c] = MADE_V4;
    let v4 = IpAddr::from(Ipv4Addr::new(a, b, c, number));
    let [s0, s1, s2, s3, s4, s5, s6] = MADE_V6;
    let v6 = IpAddr::from(Ipv6Addr::new(s0, s1, s2, s3, s4, s5, s6, number.into()));
    let mut made: Vec<SocketAddr> = Vec::new();
    for address in real {
        let address = SocketAddr::new(if address.is_ipv4() { v4 } else { v6 }, address.port());
        if !made.contains(&address) {
            made.push(address);
        }
    }
    made
}

/// `host:port` as the stack writes it, which puts no brackets around the IPv6 address of a TURN server.
pub(super) fn split(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = authority.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str, username: &str) -> IceServer {
        IceServer { urls: vec![url.into()], username: username.into(), credential: username.into() }
    }

    #[test]
    fn servers_that_cannot_work_are_left_out() {
        let servers = [
            server("stun:192.0.2.1:3478", ""),
            server("turn:192.0.2.1:3478?transport=udp", "u"),
            server("turn:192.0.2.1:3478?transport=tcp", "u"),
            server("turns:turn.example", "u"),
            server("turns:turn.example?transport=udp", "u"),
            server("turn:192.0.2.1:3478", ""),
            server("turns:192.0.2.1:443", ""),
            server("stuns:192.0.2.1", ""),
            server("http://192.0.2.1", "u"),
            server("", ""),
        ];
        let urls = |servers: Vec<RTCIceServer>| -> Vec<String> {
            servers.into_iter().flat_map(|server| server.urls).collect()
        };
        let mut table = Servers::default();
        let streams = [
            "turn:0-stream.snug.invalid:3478?transport=udp",
            "turn:1-stream.snug.invalid:5349?transport=udp",
        ];
        assert_eq!(
            urls(table.for_stack(&servers, false)),
            ["stun:192.0.2.1:3478", "turn:192.0.2.1:3478?transport=udp", streams[0], streams[1]]
        );
        assert!(table.has_udp_relay());
        assert_eq!(urls(table.for_stack(&servers[2..], true)), streams, "the same again, no STUN");
        assert!(!table.has_udp_relay());
    }

    #[test]
    fn made_addresses_lead_to_their_server() {
        let mut table = Servers::default();
        table.for_stack(
            &[server("turns:[2001:db8::1]:443", "u"), server("turn:a.example?transport=tcp", "u")],
            false,
        );
        let (number, stream) = table.named("1-stream.snug.invalid").unwrap();
        assert_eq!((number, stream.host.as_str(), stream.over), (1, "a.example", Over::Tcp));
        let real: Vec<SocketAddr> = ["192.0.2.1:3478", "192.0.2.2:3478", "[2001:db8::1]:3478"]
            .iter()
            .map(|a| a.parse().unwrap())
            .collect();
        let addresses = made(number, &real);
        assert_eq!(addresses.len(), 2, "{addresses:?}");
        for address in addresses {
            assert_eq!(table.at(address), Some(stream.clone()));
            assert_eq!(table.at(SocketAddr::new(address.ip(), 1)), None, "another port");
        }
        assert_eq!(table.named("0-stream.snug.invalid").unwrap().1.host, "2001:db8::1");
        assert!(table.named("9-stream.snug.invalid").is_none() && table.named("a.example").is_none());
        assert!(table.at("192.0.2.1:3478".parse().unwrap()).is_none());
    }

    #[test]
    fn hosts_are_split_from_ports_with_and_without_brackets() {
        assert_eq!(split("2001:db8::1:3478"), Some(("2001:db8::1", 3478)));
        assert_eq!(split("[2001:db8::1]:3478"), Some(("2001:db8::1", 3478)));
        assert_eq!(split("turn.example:443"), Some(("turn.example", 443)));
        assert_eq!(split("turn.example"), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = Servers::default();
        for n in 0..100 {
            table.for_stack(&[server(&format!("turns:{n}.example"), "u")], false);
        }
        assert_eq!(table.streams.len(), MAX_STREAMS);
    }
}
