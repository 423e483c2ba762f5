//! Addresses: which are private, and ranges of them. Pure.

use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address alone.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Net {
    address: IpAddr,
    bits: u8,
}

/// Not a range of addresses.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is no range of addresses: write 10.0.0.0/8, fd00::/8, or one address")]
pub struct NetError(String);

impl Net {
    /// Whether `ip` is one of them. An IPv4 address written as an IPv6 one (`::ffff:10.0.0.1`) counts as
    /// itself.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.contains_literally(ip.to_canonical())
    }

    /// The same, of what is written: `::ffff:10.0.0.1` is in no range of IPv4.
    pub fn contains_literally(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => contains_v4(net, self.bits, ip),
            (IpAddr::V6(net), IpAddr::V6(ip)) => contains_v6(net, self.bits, ip),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

pub(crate) fn contains_v4(net: Ipv4Addr, bits: u8, ip: Ipv4Addr) -> bool {
    let differ = net.to_bits() ^ ip.to_bits();
    differ.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
}

pub(crate) fn contains_v6(net: Ipv6Addr, bits: u8, ip: Ipv6Addr) -> bool {
    let differ = net.to_bits() ^ ip.to_bits();
    differ.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
}

impl FromStr for Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let wrong = || NetError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl TryFrom<String> for Net {
    type Error = NetError;

    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Whether anybody on the internet may have this address: not loopback, private (RFC 1918, RFC 4193, RFC
/// 6598), link-local, multicast, nor kept for documentation and benchmarks (RFC 6890).
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmarks = a == 198 && (b == 18 || b == 19);
    !(ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_unspecified()
        || ip.is_documentation()
        || shared
        || benchmarks
        || a >= 224)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    !(ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_unique_local()
        || ip.is_unicast_link_local()
        || ip.is_multicast()
        || (a == 0x2001 && b == 0xdb8))
}

/// What one customer has: an IPv4 address, or the /64 of an IPv6 one.
pub fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_hold_what_they_say() {
        for (net, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "9.9.9.9", "2001:4860::1"),
            ("::/0", "2001:4860::1", "9.9.9.9"),
            ("fd00::/8", "fdab::1", "fc00::1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("2001:db8::5/128", "2001:db8::5", "2001:db8::6"),
        ] {
            let range: Net = net.parse().unwrap();
            assert!(range.contains(ip(inside)), "{net} {inside}");
            assert!(!range.contains(ip(outside)), "{net} {outside}");
        }
        for wrong in ["10.0.0.0/33", "::/129", "here", "10.0.0.0/", "10.0.0.0/-1", ""] {
            assert!(wrong.parse::<Net>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_internet_is_told_from_the_rest() {
        for public in ["93.184.216.34", "8.8.8.8", "2606:2800::1", "::ffff:8.8.8.8", "100.128.0.1"] {
            assert!(is_public(ip(public)), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "203.0.113.5",
            "198.18.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(ip(private)), "{private}");
        }
    }

    #[test]
    fn an_ipv6_customer_is_a_whole_64() {
        assert_eq!(household(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(household(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }
}
