//! A router's rules, for `nft`. Its interfaces are `wan` and `lan`.
//!
//! Linux keeps the port of what it masquerades where that is free, so its mapping does not depend on the
//! destination, and its filtering does, on address and port: a port-restricted cone. The others are made of
//! that by more rules.

use super::kind::Kind;
use std::net::Ipv4Addr;

/// The rules of a router for one host behind it; `None` where it only forwards.
pub(super) fn rules(kind: Kind, host: Ipv4Addr) -> Option<String> {
    let lines: Vec<String> = match kind {
        Kind::Open => return None,
        Kind::Full => [masquerade(""), to_host(host)].concat(),
        Kind::Restricted => [masquerade(""), to_host(host), known_addresses_only()].concat(),
        Kind::Port | Kind::Double => [masquerade(""), unasked_is_dropped()].concat(),
        Kind::Symmetric => [masquerade(" random,fully-random"), unasked_is_dropped()].concat(),
        Kind::NoUdp => {
            [masquerade(""), unasked_is_dropped(), lines(&["oifname \"wan\" meta l4proto udp drop"])].concat()
        }
        Kind::Tcp443 => {
            let out = "oifname \"wan\" tcp dport != 443 drop";
            [masquerade(""), unasked_is_dropped(), lines(&["oifname \"wan\" meta l4proto udp drop", out])]
                .concat()
        }
        Kind::V6 => {
            let known = "iifname \"wan\" ct state != { established, related } drop";
            return Some(table("ip6", &lines(&[known])));
        }
    };
    Some(table("ip", &lines))
}

/// The provider's NAT of [`Kind::Double`].
pub(super) fn provider() -> String {
    table("ip", &[masquerade(""), unasked_is_dropped()].concat())
}

/// The rules of a router with two hosts in networks of their own that may not reach each other; with
/// `hairpin` they may by way of its public address, which then is `WAN` in the rules.
pub(super) fn isolating(hairpin: bool) -> String {
    let mut all = masquerade("");
    let between = "iifname { \"lan\", \"lan2\" } oifname { \"lan\", \"lan2\" }";
    if hairpin {
        // Whose a port is that was used towards the outside; it is kept, as two hosts seldom take the same.
        let map =
            "type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 120s; size 4096;";
        all.insert(0, format!("add map FAMILY nat owners {{ {map} }}"));
        let learn = "oifname \"wan\" meta l4proto udp update @owners { udp sport : ip saddr . udp sport }";
        all.push(format!("add rule FAMILY nat forward {learn}"));
        all.push(
            "add rule FAMILY nat pre ip daddr WAN meta l4proto udp dnat to udp dport map @owners".into(),
        );
        // What goes to the public address comes from the public address.
        all.push(format!("add rule FAMILY nat post {between} ct status dnat snat to WAN"));
        all.push(format!("add rule FAMILY nat forward {between} ct status dnat accept"));
    }
    all.push(format!("add rule FAMILY nat forward {between} drop"));
    table("ip", &all)
}

fn lines(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|rule| format!("add rule FAMILY nat forward {rule}")).collect()
}

fn masquerade(how: &str) -> Vec<String> {
    vec![format!("add rule FAMILY nat post oifname \"wan\" masquerade{how}")]
}

fn to_host(host: Ipv4Addr) -> Vec<String> {
    vec![format!("add rule FAMILY nat pre iifname \"wan\" meta l4proto udp dnat to {host}")]
}

/// What nobody asked for is for the router itself, which must not remember it: the host's own packet to
/// there would be given another port.
fn unasked_is_dropped() -> Vec<String> {
    vec!["add rule FAMILY nat input iifname \"wan\" meta l4proto udp drop".into()]
}

fn known_addresses_only() -> Vec<String> {
    vec![
        "add set FAMILY nat spoken { type ipv4_addr; flags dynamic,timeout; timeout 120s; size 4096; }"
            .into(),
        "add rule FAMILY nat forward oifname \"wan\" meta l4proto udp update @spoken { ip daddr }".into(),
        "add rule FAMILY nat forward iifname \"wan\" meta l4proto udp ip saddr != @spoken drop".into(),
    ]
}

fn table(family: &str, rules: &[String]) -> String {
    let chain = |name: &str, hook: &str, kind: &str, priority: &str| {
        format!("add chain {family} nat {name} {{ type {kind} hook {hook} priority {priority}; }}")
    };
    let mut text = vec![format!("add table {family} nat")];
    if family == "ip" {
        text.push(chain("pre", "prerouting", "nat", "-100"));
        text.push(chain("post", "postrouting", "nat", "100"));
    }
    text.push(chain("input", "input", "filter", "0"));
    text.push(chain("forward", "forward", "filter", "0"));
    text.extend(rules.iter().map(|rule| rule.replace("FAMILY", family)));
    text.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_rules_of_its_own() {
        let host = Ipv4Addr::new(192, 168, 1, 2);
        let mut seen: Vec<String> = Kind::ALL.iter().filter_map(|kind| rules(*kind, host)).collect();
        assert_eq!(seen.len(), Kind::ALL.len() - 1, "all but the open one");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), Kind::ALL.len() - 2, "double is port, twice");
        assert!(seen.iter().all(|text| !text.contains("FAMILY")));
    }
}
