//! This computer's place on the network, and what a change of it means. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// The addresses that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// Those that others may reach it by.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Those that its packets to the internet leave from: one of a family, at most.
    pub(crate) routed: BTreeSet<IpAddr>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The addresses that it has no more.
    pub(crate) gone: Vec<IpAddr>,
    /// Of those that it still has, the ones that packets do not leave from any more.
    pub(crate) left: Vec<IpAddr>,
    /// No address is left of those that were, or packets leave from another one now: the system wants another
    /// network to be used, and knows why, although the old one may still be there.
    pub(crate) elsewhere: bool,
}

impl Network {
    /// Takes what is found now. None where that is nothing new, or nothing at all: without a network, the
    /// old one may well come back. Nor while there is no way out by IPv4 where there was one: a network gives an
    /// address first and then the way, and what the stack binds in between (multicast DNS) fails for good.
    pub(crate) fn becomes(&mut self, now: Self) -> Option<Change> {
        let Self { addresses, mut routed } = now;
        let lost = |v4: bool| {
            let has = |all: &BTreeSet<IpAddr>| all.iter().any(|ip| ip.is_ipv4() == v4);
            has(&self.routed) && !has(&routed)
        };
        if addresses.is_empty() || lost(true) || (routed.is_empty() && lost(false)) {
            return None;
        }
        let family = |all: &BTreeSet<IpAddr>, v4: bool| all.iter().find(|ip| ip.is_ipv4() == v4).copied();
        let mut left = Vec::new();
        for v4 in [true, false] {
            match (family(&self.routed, v4), family(&routed, v4)) {
                (Some(old), Some(new)) if old != new => left.push(old),
                // IPv6 alone: it may come back a moment later.
                (Some(old), None) => drop(routed.insert(old)),
                _ => {}
            }
        }
        let rerouted = !left.is_empty();
        let changed = rerouted || addresses != self.addresses;
        let all_gone = !self.addresses.is_empty() && self.addresses.is_disjoint(&addresses);
        left.retain(|ip| addresses.contains(ip));
        let gone = self.addresses.difference(&addresses).copied().collect();
        *self = Self { addresses, routed };
        changed.then_some(Change { gone, left, elsewhere: all_gone || rerouted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(addresses: &[&str], routed: &[&str]) -> Network {
        let set = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect();
        Network { addresses: set(addresses), routed: set(routed) }
    }

    const WIFI: &str = "192.168.1.2";
    const CELLULAR: &str = "10.9.0.7";

    /// What each network after the first means: `None`, or how many addresses went, how many were left, and
    /// whether it is elsewhere.
    fn changes(all: &[Network]) -> Vec<Option<(usize, usize, bool)>> {
        let mut place = all[0].clone();
        let mut change = |now: &Network| {
            place.becomes(now.clone()).map(|change| (change.gone.len(), change.left.len(), change.elsewhere))
        };
        all[1..].iter().map(&mut change).collect()
    }

    #[test]
    fn nothing_new_and_no_network_are_no_change() {
        let wifi = network(&[WIFI], &[WIFI]);
        let all = [wifi.clone(), wifi.clone(), network(&[], &[]), wifi];
        assert_eq!(changes(&all), [None, None, None]);
    }

    #[test]
    fn another_way_out_is_another_place_whether_or_not_the_old_address_stays() {
        let wifi = network(&[WIFI], &[WIFI]);
        for (both, went) in [(true, 0), (false, 1)] {
            let now = if both {
                network(&[WIFI, CELLULAR], &[CELLULAR])
            } else {
                network(&[CELLULAR], &[CELLULAR])
            };
            assert_eq!(changes(&[wifi.clone(), now.clone(), now]), [Some((went, 1 - went, true)), None]);
        }
    }

    #[test]
    fn an_address_that_is_not_the_way_out_changes_nothing_else() {
        let wifi = network(&[WIFI], &[WIFI]);
        let docker = network(&[WIFI, "172.17.0.1"], &[WIFI]);
        let v6 = network(&[WIFI, "2001:db8::2"], &[WIFI, "2001:db8::2"]);
        assert_eq!(changes(&[wifi.clone(), docker, wifi]), [Some((0, 0, false)), Some((1, 0, false))]);
        let wifi = network(&[WIFI], &[WIFI]);
        assert_eq!(changes(&[wifi, v6]), [Some((0, 0, false))]);
    }

    #[test]
    fn the_way_out_may_come_later_than_the_address() {
        let all = [
            network(&[WIFI], &[WIFI]),
            network(&[WIFI, CELLULAR], &[]),
            network(&[WIFI, CELLULAR], &[CELLULAR]),
            network(&[CELLULAR], &[CELLULAR]),
        ];
        assert_eq!(changes(&all), [None, Some((0, 1, true)), Some((1, 0, false))]);
    }
}
