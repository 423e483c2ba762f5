//! The machine's own addresses: where relayed addresses are made, how others call them, and that the
//! machine's other services are no peers.

use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// An address by which others reach this machine: for the relayed addresses on `private`, or on any of the
/// same family.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct External {
    /// What others see.
    pub public: IpAddr,
    /// What the machine has.
    pub private: Option<IpAddr>,
}

/// An external address that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no external address: write \"PUBLIC\" or \"PUBLIC/PRIVATE\", both of one family")]
pub struct NotExternal(String);

impl FromStr for External {
    type Err = NotExternal;

    fn from_str(text: &str) -> Result<Self, NotExternal> {
        let not = || NotExternal(text.to_owned());
        let (public, private) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let read = |ip: &str| ip.parse::<IpAddr>().map_err(|_| not());
        let (public, private) = (read(public)?, private.map(read).transpose()?);
        if private.is_some_and(|ip| ip.is_ipv4() != public.is_ipv4()) {
            return Err(not());
        }
        Ok(Self { public, private })
    }
}

impl TryFrom<String> for External {
    type Error = NotExternal;

    fn try_from(text: String) -> Result<Self, NotExternal> {
        text.parse()
    }
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.private {
            Some(private) => write!(f, "{}/{private}", self.public),
            None => write!(f, "{}", self.public),
        }
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// As the attributes have it; none if it is unknown.
    pub fn read(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::V4),
            2 => Some(Self::V6),
            _ => None,
        }
    }
}

/// What the machine is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// All addresses that its interfaces have.
    pub interfaces: Vec<IpAddr>,
    /// Of these, where relayed addresses are made: the best first.
    pub relays: Vec<IpAddr>,
    /// How others call them.
    pub external: Vec<External>,
}

impl Own {
    /// Where to relay from, for a client that reached us at `local`: there, if that can be, since it is an
    /// address that works for this client.
    pub fn relay_ip(&self, local: IpAddr, family: Family) -> Option<IpAddr> {
        let mut of_family = self.relays.iter().copied().filter(|ip| Family::of(*ip) == family);
        if self.relays.contains(&local) && Family::of(local) == family {
            return Some(local);
        }
        of_family.next()
    }

    /// How others call one of our addresses.
    pub fn public_of(&self, address: SocketAddr) -> SocketAddr {
        let ip = address.ip();
        let exact = self.external.iter().find(|external| external.private == Some(ip));
        let general = || {
            let same = |external: &&External| {
                external.private.is_none() && external.public.is_ipv4() == ip.is_ipv4() && !ip.is_loopback()
            };
            self.external.iter().find(same)
        };
        SocketAddr::new(exact.or_else(general).map_or(ip, |external| external.public), address.port())
    }

    /// Whether packets to `ip` come to this machine.
    pub fn is_ours(&self, ip: IpAddr) -> bool {
        self.interfaces.contains(&ip)
            || self.relays.contains(&ip)
            || self.external.iter().any(|external| external.public == ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(relays: &[&str], external: &[&str]) -> Own {
        Own {
            interfaces: ["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap()).to_vec(),
            relays: relays.iter().map(|ip| ip.parse().unwrap()).collect(),
            external: external.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_relay_is_where_the_client_came_or_else_in_its_family() {
        let own = own(&["192.0.2.1", "192.0.2.2", "2001:db8::1"], &[]);
        let at = |local: &str, family| own.relay_ip(local.parse().unwrap(), family).map(|ip| ip.to_string());
        assert_eq!(at("192.0.2.2", Family::V4).as_deref(), Some("192.0.2.2"));
        assert_eq!(at("192.0.2.2", Family::V6).as_deref(), Some("2001:db8::1"));
        assert_eq!(at("2001:db8::1", Family::V4).as_deref(), Some("192.0.2.1"));
        assert_eq!(at("127.0.0.1", Family::V4).as_deref(), Some("192.0.2.1"));
        assert_eq!(self::own(&["192.0.2.1"], &[]).relay_ip("::1".parse().unwrap(), Family::V6), None);
    }

    #[test]
    fn others_call_it_by_its_external_address() {
        let own = own(&["10.0.0.5", "10.0.0.6", "fd00::5"], &["192.0.2.9", "192.0.2.6/10.0.0.6"]);
        for (inside, outside) in [
            ("10.0.0.5:7", "192.0.2.9:7"),
            ("10.0.0.6:7", "192.0.2.6:7"),
            ("[fd00::5]:7", "[fd00::5]:7"),
            ("127.0.0.1:7", "127.0.0.1:7"),
        ] {
            assert_eq!(own.public_of(inside.parse().unwrap()), outside.parse().unwrap());
        }
        for ours in ["192.0.2.9", "192.0.2.6", "10.0.0.5", "127.0.0.1", "::1"] {
            assert!(own.is_ours(ours.parse().unwrap()), "{ours}");
        }
        assert!(!own.is_ours("192.0.2.1".parse().unwrap()));
    }
}
