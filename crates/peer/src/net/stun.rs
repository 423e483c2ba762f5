//! As much of STUN and TURN as is needed to see what passes: headers and a few attributes (RFC 8489, 8656).
//! Reads what anybody may have sent: every length is checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) const BINDING_REQUEST: u16 = 0x0001;
pub(crate) const BINDING_INDICATION: u16 = 0x0011;
pub(crate) const BINDING_SUCCESS: u16 = 0x0101;
pub(crate) const ALLOCATE_SUCCESS: u16 = 0x0103;
pub(crate) const ALLOCATE_ERROR: u16 = 0x0113;
pub(crate) const SEND_INDICATION: u16 = 0x0016;
pub(crate) const DATA_INDICATION: u16 = 0x0017;
pub(crate) const CHANNEL_BIND_REQUEST: u16 = 0x0009;

const USERNAME: u16 = 0x0006;
const CHANNEL_NUMBER: u16 = 0x000c;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const USE_CANDIDATE: u16 = 0x0025;
const OTHER_ADDRESS: u16 = 0x802c;
const DATA: u16 = 0x0013;
const ERROR_CODE: u16 = 0x0009;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;

const HEADER: usize = 20;
const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();

/// A transaction's number.
pub(crate) type TransactionId = [u8; 12];

/// A message, unauthenticated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) id: TransactionId,
    attributes: &'a [u8],
}

impl<'a> Message<'a> {
    /// `None`: this is no STUN message.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if kind >> 14 != 0 || header[4..8] != COOKIE || !length.is_multiple_of(4) {
            return None;
        }
        Some(Self { kind, id: header[8..20].try_into().ok()?, attributes: rest.get(..length)? })
    }

    /// A success or an error, in whatever method.
    pub(crate) fn is_response(&self) -> bool {
        self.kind & 0x0100 != 0
    }

    /// A request, in whatever method.
    pub(crate) fn is_request(&self) -> bool {
        self.kind & 0x0110 == 0
    }

    fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut rest = self.attributes;
        loop {
            let (head, after) = rest.split_at_checked(4)?;
            let kind = u16::from_be_bytes([head[0], head[1]]);
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            if kind == wanted {
                return after.get(..length);
            }
            rest = after.get(length.next_multiple_of(4)..)?;
        }
    }

    /// Whom a connectivity check is for: what is before the colon of its user name.
    pub(crate) fn called(&self) -> Option<&'a [u8]> {
        self.attribute(USERNAME)?.split(|byte| *byte == b':').next()
    }

    /// Whether a connectivity check nominates its path.
    pub(crate) fn nominates(&self) -> bool {
        self.attribute(USE_CANDIDATE).is_some()
    }

    /// The other end behind a relay.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.xored(XOR_PEER_ADDRESS)
    }

    /// Under what address the server sees us.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        self.xored(XOR_MAPPED_ADDRESS)
    }

    /// The server's second address (RFC 5780), IPv4 alone.
    pub(crate) fn other(&self) -> Option<SocketAddr> {
        match *self.attribute(OTHER_ADDRESS)? {
            [0, 1, high, low, a, b, c, d] => {
                Some(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low]))))
            }
            _ => None,
        }
    }

    fn xored(&self, attribute: u16) -> Option<SocketAddr> {
        let value = self.attribute(attribute)?;
        let (head, address) = value.split_at_checked(4)?;
        let port = u16::from_be_bytes([head[2] ^ COOKIE[0], head[3] ^ COOKIE[1]]);
        let key = COOKIE.iter().chain(&self.id);
        let plain: Vec<u8> = address.iter().zip(key).map(|(byte, key)| byte ^ key).collect();
        let ip: IpAddr = match head[1] {
            1 => Ipv4Addr::from(<[u8; 4]>::try_from(plain).ok()?).into(),
            2 => Ipv6Addr::from(<[u8; 16]>::try_from(plain).ok()?).into(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// What is relayed.
    pub(crate) fn data(&self) -> Option<&'a [u8]> {
        self.attribute(DATA)
    }

    /// The channel that is bound.
    pub(crate) fn channel(&self) -> Option<u16> {
        let value = self.attribute(CHANNEL_NUMBER)?;
        Some(u16::from_be_bytes([*value.first()?, *value.get(1)?]))
    }
}

/// Number and content of a ChannelData message (RFC 8656, section 12.4).
pub(crate) fn channel_data(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, data) = bytes.split_at_checked(4)?;
    let channel = u16::from_be_bytes([head[0], head[1]]);
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    (0x4000..=0x4fff).contains(&channel).then_some(())?;
    Some((channel, data.get(..length)?))
}

/// The answer to an Allocate request that will not be made, in a server's place. The stack counts an
/// allocation as over only when its second request is refused, the one with credentials; so the first is
/// asked for them (401), and the second told that there is no room (508).
pub(crate) fn refused_allocation(request: &Message<'_>) -> Vec<u8> {
    let code = |class, number| (ERROR_CODE, vec![0, 0, class, number]);
    let attributes = match request.attribute(USERNAME) {
        Some(_) => vec![code(5, 8)],
        None => vec![code(4, 1), (REALM, b"snug".to_vec()), (NONCE, b"none".to_vec())],
    };
    write(ALLOCATE_ERROR, request.id, &attributes)
}

/// Asks a server under what address it sees us.
pub(crate) fn binding_request(id: TransactionId) -> Vec<u8> {
    write(BINDING_REQUEST, id, &[])
}

fn write(kind: u16, id: TransactionId, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut message = [&kind.to_be_bytes()[..], &[0, 0], &COOKIE, &id].concat();
    for (kind, value) in attributes {
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
        message.extend_from_slice(value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let length = u16::try_from(message.len() - HEADER).unwrap_or_default();
    message[2..4].copy_from_slice(&length.to_be_bytes());
    message
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message with attributes as they are given.
    pub(in crate::net) fn message(kind: u16, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
        write(kind, [7; 12], attributes)
    }

    pub(in crate::net) fn check(username: &str) -> Vec<u8> {
        message(BINDING_REQUEST, &[(USERNAME, username.as_bytes().to_vec())])
    }

    pub(in crate::net) fn nomination(username: &str) -> Vec<u8> {
        message(BINDING_REQUEST, &[(USERNAME, username.as_bytes().to_vec()), (USE_CANDIDATE, vec![])])
    }

    pub(in crate::net) fn relayed(kind: u16, peer: SocketAddr, data: &[u8]) -> Vec<u8> {
        message(kind, &[(XOR_PEER_ADDRESS, xored(peer)), (DATA, data.to_vec())])
    }

    pub(in crate::net) fn bind(channel: u16, peer: SocketAddr) -> Vec<u8> {
        let number = [channel.to_be_bytes().to_vec(), vec![0, 0]].concat();
        message(CHANNEL_BIND_REQUEST, &[(CHANNEL_NUMBER, number), (XOR_PEER_ADDRESS, xored(peer))])
    }

    pub(crate) fn seen(id: TransactionId, address: SocketAddr) -> Vec<u8> {
        // IPv4 is masked by the cookie alone, whatever the transaction.
        write(BINDING_SUCCESS, id, &[(XOR_MAPPED_ADDRESS, xored(address))])
    }

    fn xored(address: SocketAddr) -> Vec<u8> {
        let (family, octets) = match address.ip() {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (2, ip.octets().to_vec()),
        };
        let port = address.port().to_be_bytes();
        let mut value = vec![0, family, port[0] ^ COOKIE[0], port[1] ^ COOKIE[1]];
        let key = [COOKIE.to_vec(), vec![7; 12]].concat();
        value.extend(octets.iter().zip(key).map(|(byte, key)| byte ^ key));
        value
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = check("mine:theirs");
        let check = Message::read(&bytes).unwrap();
        assert_eq!((check.kind, check.called()), (BINDING_REQUEST, Some(&b"mine"[..])));
        assert!(check.is_request() && !check.is_response());
        for peer in ["192.0.2.9:4000", "[2001:db8::9]:4000"] {
            let peer: SocketAddr = peer.parse().unwrap();
            let bytes = relayed(DATA_INDICATION, peer, b"abc");
            let message = Message::read(&bytes).unwrap();
            assert_eq!((message.peer(), message.data()), (Some(peer), Some(&b"abc"[..])));
            let bytes = bind(0x4001, peer);
            let message = Message::read(&bytes).unwrap();
            assert_eq!((message.peer(), message.channel()), (Some(peer), Some(0x4001)));
        }
        assert_eq!(channel_data(&[0x40, 1, 0, 2, 5, 6, 0, 0]), Some((0x4001, &[5, 6][..])));
        assert_eq!(channel_data(&[0x40, 1, 0, 9, 5, 6]), None);
    }

    #[test]
    fn an_allocation_is_refused_in_two_steps() {
        let anonymous = message(0x0003, &[]);
        let refused = refused_allocation(&Message::read(&anonymous).unwrap());
        let refused = Message::read(&refused).unwrap();
        assert!(refused.kind == ALLOCATE_ERROR && refused.is_response() && refused.id == [7; 12]);
        assert_eq!(refused.attribute(ERROR_CODE), Some(&[0, 0, 4, 1][..]));
        assert!(refused.attribute(REALM).is_some() && refused.attribute(NONCE).is_some());
        let named = check("u:v");
        let refused = refused_allocation(&Message::read(&named).unwrap());
        assert_eq!(Message::read(&refused).unwrap().attribute(ERROR_CODE), Some(&[0, 0, 5, 8][..]));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), fix: bool) {
            if fix && bytes.len() >= HEADER {
                bytes[0] &= 0x3f;
                bytes[4..8].copy_from_slice(&COOKIE);
                let length = (bytes.len() - HEADER) as u16 & !3;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                prop_assert!(Message::read(&bytes).is_some());
            }
            if let Some(message) = Message::read(&bytes) {
                let _ = (message.called(), message.peer(), message.data(), message.channel());
            }
            let _ = channel_data(&bytes);
        }
    }
}
