//! Whom the relay may talk to. A relay that reaches the operator's own network, or the machine itself, is a
//! hole in a firewall; so only public addresses are peers, and what the operator lists.

use crate::net::{Net, contains_v4, contains_v6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 that is not the public's (IANA's registry of special-purpose addresses).
const NOT_PUBLIC_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10), // carriers' NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16), // with it the metadata services of rented machines
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24), // 6to4's gateways
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4), // with it the broadcast
];

/// Within 2000::/3 what is not the public's. All that is outside is not either: loopback, `::ffff:0:0/96` and
/// `::/96` (IPv4 mapped and compatible), `64:ff9b::/96` and `64:ff9b:1::/48` (NAT64), unique local,
/// link-local and multicast addresses.
const NOT_PUBLIC_V6: [(Ipv6Addr, u8); 7] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32), // Teredo carries an IPv4 address
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48), // benchmarks
    (Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0), 28), // ORCHID
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28), // ORCHIDv2
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4 carries an IPv4 address
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Whether anybody on the internet may have this address.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !NOT_PUBLIC_V4.iter().any(|(network, bits)| contains_v4(*network, *bits, ip)),
        IpAddr::V6(ip) => {
            contains_v6(GLOBAL_V6.0, GLOBAL_V6.1, ip)
                && !NOT_PUBLIC_V6.iter().any(|(network, bits)| contains_v6(*network, *bits, ip))
        }
    }
}

/// The rule of one server.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Allowed although they are not public.
    pub allowed: Vec<Net>,
    /// Whether programs on this machine are peers: of a server that only this machine reaches.
    pub loopback: bool,
}

impl Peers {
    /// Whether packets may go to `ip`. Nobody is at an unspecified address, at a group's or everyone's: no
    /// list makes those peers.
    pub fn may_reach(&self, ip: IpAddr) -> bool {
        let nobody = ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        !nobody && (is_public(ip) || self.is_listed(ip))
    }

    /// Whether the operator has named `ip`.
    pub fn is_listed(&self, ip: IpAddr) -> bool {
        self.loopback && ip.is_loopback() || self.allowed.iter().any(|net| net.contains_literally(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_read_and_written() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "8.8.8.8", "::"),
            ("::/0", "2001:db8::1", "0.0.0.0"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("10.0.0.0/8", "10.0.0.1", "::ffff:10.0.0.1"),
        ] {
            let network: Net = text.parse().unwrap();
            assert!(network.contains_literally(ip(inside)), "{network} {inside}");
            assert!(!network.contains_literally(ip(outside)), "{network} {outside}");
        }
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10/8", "host", "10.0.0.0/-1"] {
            assert!(text.parse::<Net>().is_err(), "{text}");
        }
    }

    /// The first and the last address of each network that is closed, and the public ones beside it.
    #[test]
    fn what_is_not_public_is_closed_to_the_last_address() {
        for (first, last, beside) in [
            ("0.0.0.0", "0.255.255.255", "1.0.0.0"),
            ("10.0.0.0", "10.255.255.255", "9.255.255.255"),
            ("100.64.0.0", "100.127.255.255", "100.128.0.0"),
            ("127.0.0.1", "127.255.255.255", "126.255.255.255"),
            ("169.254.0.0", "169.254.255.255", "169.253.255.255"),
            ("172.16.0.0", "172.31.255.255", "172.32.0.0"),
            ("192.168.0.0", "192.168.255.255", "192.167.255.255"),
            ("198.18.0.0", "198.19.255.255", "198.20.0.0"),
            ("224.0.0.1", "255.255.255.255", "223.255.255.255"),
            ("::", "1fff::1", "2600::1"),
            ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe::1"),
            ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "2001:1::1"),
            ("2001:db8::", "2001:db8:ffff::1", "2001:db9::1"),
            ("2002::", "2002:ffff::1", "2003::1"),
        ] {
            assert!(!is_public(ip(first)), "{first}");
            assert!(!is_public(ip(last)), "{last}");
            assert!(is_public(ip(beside)), "{beside}");
        }
    }

    #[test]
    fn the_operator_opens_networks_but_not_what_is_nobodys() {
        let closed = Peers::default();
        let open = Peers { allowed: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()], ..closed };
        for address in ["10.1.2.3", "127.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1"] {
            assert!(!Peers::default().may_reach(ip(address)), "{address}");
            assert!(open.may_reach(ip(address)), "{address}");
        }
        for address in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            assert!(!open.may_reach(ip(address)), "{address}");
        }
        let here = Peers { loopback: true, ..Peers::default() };
        assert!(here.may_reach(ip("127.0.0.1")) && here.may_reach(ip("::1")));
        assert!(!here.may_reach(ip("10.0.0.1")) && !here.may_reach(ip("::ffff:127.0.0.1")));
    }
}
