//! Another access for a host, and how it comes to be used: from Wi-Fi to cellular.

use super::{Side, World, default_route, nft};
use crate::link::LinkError;
use crate::link::netns::ip;
use crate::nat::{Kind, rules};
use clap::ValueEnum;
use serde::Serialize;

const THIRD: Side = Side { number: 3, letter: 'c' };

/// What becomes of the access that was used until then. The new one is the default route in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Old {
    /// It goes, with its address.
    Gone,
    /// Its address stays, and nothing passes.
    Silent,
    /// It stays, as good as it was.
    Kept,
    /// Its address stays, and of 100 packets 60 are lost, both ways.
    Lossy,
}

impl Old {
    /// All.
    pub const ALL: [Self; 4] = [Self::Gone, Self::Silent, Self::Lossy, Self::Kept];

    fn rule(self) -> Option<&'static str> {
        match self {
            Self::Gone => None,
            Self::Silent => Some("drop"),
            Self::Kept => Some("accept"),
            Self::Lossy => Some("numgen random mod 100 < 60 drop"),
        }
    }
}

impl World {
    /// Prepares another access for a host, behind a router of its own; it is not used yet.
    ///
    /// # Errors
    /// What the tools say.
    pub fn second_access(&mut self, side: usize, kind: Kind) -> Result<(), LinkError> {
        let router = self.maker.namespace("crouter")?;
        let lan = [THIRD.lan_host(), THIRD.lan_router()].map(|address| format!("{address}/24"));
        let host = &self.hosts[side];
        self.maker.cable([(host, "eth1", &lan[0]), (&router, "lan", &lan[1])])?;
        ip(&["-n", host.name(), "address", "flush", "dev", "eth1"])?;
        let wan = [THIRD.public(), THIRD.gateway()].map(|address| format!("{address}/30"));
        self.maker.cable([(&router, "wan", &wan[0]), (&self.public, "wanc", &wan[1])])?;
        default_route(&router, &THIRD.gateway().to_string())?;
        if let Some(rules) = rules::rules(kind, THIRD.lan_host()) {
            nft(&router, &rules)?;
        }
        self.routers.push(router);
        Ok(())
    }

    /// The host's default route is the other access from now on.
    ///
    /// # Errors
    /// What the tools say.
    pub fn hand_over(&self, side: usize, old: Old) -> Result<(), LinkError> {
        let host = self.host(side);
        let from = super::SIDES[side];
        match old.rule() {
            None => {
                ip(&["-n", host, "address", "flush", "dev", "eth0"])?;
            }
            Some(rule) => {
                // Of two accesses each serves its own address.
                let (address, via) = (from.lan_host().to_string(), from.lan_router().to_string());
                ip(&["-n", host, "route", "add", "default", "via", &via, "dev", "eth0", "table", "101"])?;
                ip(&["-n", host, "rule", "add", "from", &address, "table", "101"])?;
                self.worsen(from, rule)?;
            }
        }
        let new = THIRD.lan_host();
        ip(&["-n", host, "address", "add", &format!("{new}/24"), "dev", "eth1"])?;
        let via = THIRD.lan_router().to_string();
        ip(&["-n", host, "route", "replace", "default", "via", &via, "dev", "eth1"]).map(drop)
    }

    /// What passes the router of a side's first access.
    fn worsen(&self, side: Side, rule: &str) -> Result<(), LinkError> {
        let rules = format!(
            "add table inet worse\n\
             add chain inet worse through {{ type filter hook forward priority -10; }}\n\
             add rule inet worse through {rule}\n"
        );
        let name = format!("{}router", side.letter);
        let mut routers = self.routers.iter().filter(|router| router.name().ends_with(&name));
        routers.try_for_each(|router| nft(router, &rules))
    }
}
