//! The addresses that sockets are bound to. webrtc asks again at each ICE restart, so a changed network is
//! seen then.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// Sockets of one connection at most.
const MAX: usize = 8;

/// All addresses of this machine that another one may reach; the loopback only where there is no other, so
/// that two programs on a machine without a network find each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalAddresses;

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

impl ToSocketAddrs for LocalAddresses {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        // Port 0: the system chooses.
        let chosen = local_addresses().into_iter().map(|ip| SocketAddr::new(ip, 0));
        Ok(chosen.collect::<Vec<_>>().into_iter())
    }
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
    fn this_machine_has_at_least_one() {
        assert!(LocalAddresses.to_socket_addrs().unwrap().count() > 0);
    }
}
