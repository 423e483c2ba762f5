//! Kinds of access to the internet, and what two of them should come to.

use clap::ValueEnum;
use serde::Serialize;

/// What stands between a host and the internet. The NATs by RFC 4787's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing: a public IPv4 address.
    Open,
    /// Full cone: endpoint-independent mapping and filtering.
    Full,
    /// Restricted cone: address-dependent filtering.
    Restricted,
    /// Port-restricted cone: address- and port-dependent filtering. What most homes have.
    Port,
    /// Symmetric: another port, by chance, for each destination.
    Symmetric,
    /// A port-restricted NAT behind another one, as with a provider's.
    Double,
    /// A port-restricted NAT that lets no UDP out.
    NoUdp,
    /// A port-restricted NAT that lets nothing out but TCP to port 443.
    Tcp443,
    /// IPv6 alone, behind a firewall that lets in what was asked for.
    V6,
}

impl Kind {
    /// All, from the most open on.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::Full,
        Self::Restricted,
        Self::Port,
        Self::Double,
        Self::Symmetric,
        Self::V6,
        Self::NoUdp,
        Self::Tcp443,
    ];

    /// As it is named on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Full => "full",
            Self::Restricted => "restricted",
            Self::Port => "port",
            Self::Symmetric => "symmetric",
            Self::Double => "double",
            Self::NoUdp => "no-udp",
            Self::Tcp443 => "tcp443",
            Self::V6 => "v6",
        }
    }

    fn lets_udp_out(self) -> bool {
        !matches!(self, Self::NoUdp | Self::Tcp443)
    }

    /// Whether a stranger's first packet from a port that nobody could foretell gets in, once something was
    /// sent to the stranger's address.
    fn takes_any_port(self) -> bool {
        matches!(self, Self::Open | Self::Full | Self::Restricted)
    }
}

/// How two reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// From one to the other.
    Direct,
    /// By a TURN server.
    Relayed,
}

impl Way {
    /// As it is named in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relayed => "relay",
        }
    }
}

/// The best way that there is between two that are behind different routers.
pub fn expected(one: Kind, two: Kind) -> Way {
    let both = [one, two];
    let reachable = both.iter().all(|kind| kind.lets_udp_out())
        && (one == Kind::V6) == (two == Kind::V6)
        && match both.iter().filter(|kind| **kind == Kind::Symmetric).count() {
            0 => true,
            1 => both.iter().any(|kind| kind.takes_any_port()),
            _ => false,
        };
    if reachable { Way::Direct } else { Way::Relayed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_way_is_known_for_every_pair_and_the_same_from_both_sides() {
        for one in Kind::ALL {
            for two in Kind::ALL {
                assert_eq!(expected(one, two), expected(two, one));
            }
        }
        for (one, two, way) in [
            (Kind::Port, Kind::Port, Way::Direct),
            (Kind::Symmetric, Kind::Restricted, Way::Direct),
            (Kind::Symmetric, Kind::Port, Way::Relayed),
            (Kind::Symmetric, Kind::Symmetric, Way::Relayed),
            (Kind::Open, Kind::NoUdp, Way::Relayed),
            (Kind::V6, Kind::Open, Way::Relayed),
            (Kind::V6, Kind::V6, Way::Direct),
        ] {
            assert_eq!(expected(one, two), way, "{one:?} {two:?}");
        }
    }
}
