//! The addresses that sockets are bound to. webrtc asks again at each ICE restart, so a changed network is
//! seen then.

use crate::net::Net;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// Sockets of one connection at most.
const MAX: usize = 8;

/// All addresses of this machine that another one may reach, but for those to be avoided; the loopback only
/// where there is no other, so that two programs on a machine without a network find each other.
#[derive(Clone, Debug)]
pub(crate) struct LocalAddresses(pub(crate) Net);

/// The addresses of this machine that connections use, as it has them now; at least one. Whoever sees them
/// change may want an ICE restart.
pub fn local_addresses() -> Vec<IpAddr> {
    let all: Vec<IpAddr> = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.into_iter().map(|interface| interface.ip()).collect(),
        Err(error) => {
            tracing::warn!(%error, "the network interfaces cannot be listed: using the loopback");
            vec![]
        }
    };
    choose(&all)
}

/// Somewhere on the internet, of each family: of ranges for documentation, so that nothing is special there.
const SOMEWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
/// The discard service. Nothing is sent there: the system is only asked which way it would go.
const NO_PORT: u16 = 9;

/// The addresses that packets to the internet leave from, as the system routes them now: one for each family
/// that has a way there. When they change, the system wants another network to be used, also where the
/// addresses of the old one stay.
pub fn routed_addresses() -> Vec<IpAddr> {
    let from = |to: &IpAddr| {
        let any =
            if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let asked = UdpSocket::bind((any, 0)).and_then(|socket| {
            socket.connect((*to, NO_PORT))?;
            socket.local_addr()
        });
        asked.ok().map(|address| address.ip()).filter(reachable)
    };
    SOMEWHERE.iter().filter_map(from).collect()
}

impl ToSocketAddrs for LocalAddresses {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        // Port 0: the system chooses.
        let chosen =
            without(local_addresses(), &self.0.avoided()).into_iter().map(|ip| SocketAddr::new(ip, 0));
        Ok(chosen.collect::<Vec<_>>().into_iter())
    }
}

/// Those that are not to be avoided; all of them, if nothing else is left.
fn without(all: Vec<IpAddr>, avoided: &[IpAddr]) -> Vec<IpAddr> {
    let left: Vec<IpAddr> = all.iter().copied().filter(|ip| !avoided.contains(ip)).collect();
    if left.is_empty() { all } else { left }
}

fn choose(all: &[IpAddr]) -> Vec<IpAddr> {
    let mut chosen: Vec<IpAddr> = Vec::new();
    for ip in all.iter().filter(|ip| reachable(ip)) {
        if !chosen.contains(ip) && chosen.len() < MAX {
            chosen.push(*ip);
        }
    }
    if chosen.is_empty() {
        chosen.push(all.iter().copied().find(IpAddr::is_loopback).unwrap_or(Ipv4Addr::LOCALHOST.into()));
    }
    chosen
}

fn reachable(ip: &IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        // Of no use to others: the interface that it belongs to does not cross in a candidate.
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_others_can_reach_is_used_and_the_loopback_only_alone() {
        let all = ips(&["127.0.0.1", "::1", "192.0.2.2", "192.0.2.2", "169.254.0.1", "fe80::1", "fd00::2"]);
        assert_eq!(choose(&all), ips(&["192.0.2.2", "fd00::2"]));
        assert_eq!(choose(&ips(&["127.0.0.1", "::1", "fe80::1"])), ips(&["127.0.0.1"]));
        assert_eq!(choose(&[]), ips(&["127.0.0.1"]));
    }

    #[test]
    fn packets_leave_from_addresses_that_this_machine_has() {
        let (routed, all) = (routed_addresses(), local_addresses());
        assert!(routed.iter().all(|address| all.contains(address)), "{routed:?} of {all:?}");
    }

    #[test]
    fn this_machine_has_at_least_one() {
        let net = Net::new(&crate::PeerConfig::default());
        assert!(LocalAddresses(net).to_socket_addrs().unwrap().count() > 0);
    }

    #[test]
    fn what_is_to_be_avoided_is_used_only_alone() {
        let all = ips(&["192.0.2.2", "198.51.100.7"]);
        assert_eq!(without(all.clone(), &ips(&["192.0.2.2", "203.0.113.1"])), ips(&["198.51.100.7"]));
        assert_eq!(without(all.clone(), &all), all);
    }
}
