//! The section `[turn]` of the server's file, and what is checked before anything starts.

use crate::net::Net;
use crate::turn::own::External;
use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// How the STUN and TURN server is set up.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether there is one; by default unless another server is named by `turn_urls`.
    pub enabled: Option<bool>,
    /// Where to listen for UDP; by default where the server itself listens, so that one port is opened for
    /// both. `0.0.0.0` and `[::]` are all addresses of the machine, each with a socket of its own.
    pub listen: Vec<SocketAddr>,
    /// Addresses by which others reach this machine, where a 1:1 NAT stands before it.
    pub external: Vec<External>,
    /// Ports of the relayed addresses.
    pub relay_ports: Ports,
    /// Peers that are allowed although they are not public.
    pub allow_peers: Vec<Net>,
    /// The realm: any name, 1 to 64 characters.
    pub realm: String,
    /// Secrets that credentials may be made with, where others make them too: the first is ours. By default
    /// one made at random at each start.
    pub secrets: Vec<String>,
    /// How long the credentials in a welcome are good, in seconds.
    pub ttl: u64,
    /// What is given out at most.
    pub quotas: Quotas,
}

/// What is given out at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Allocations in all.
    pub allocations: usize,
    /// Allocations of clients at one address.
    pub per_address: usize,
    /// Allocations with one credential.
    pub per_credential: usize,
    /// Of one credential, to peers and from them each, in thousands of bits a second.
    pub bandwidth_kbps: u64,
    /// How long an allocation lives without a refresh, in seconds.
    pub lifetime: u32,
    /// Connections over TCP and TLS in all; at one address as many as allocations.
    pub connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: None,
            listen: Vec::new(),
            external: Vec::new(),
            relay_ports: Ports { first: 49152, last: 65535 },
            allow_peers: Vec::new(),
            realm: "snug".into(),
            secrets: Vec::new(),
            ttl: 12 * 3600,
            quotas: Quotas::default(),
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            allocations: 1000,
            per_address: 200,
            per_credential: 64,
            bandwidth_kbps: 20_000,
            lifetime: 3600,
            connections: 2000,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secrets.
        f.debug_struct("Settings")
            .field("enabled", &self.enabled)
            .field("listen", &self.listen)
            .field("external", &self.external)
            .field("relay_ports", &self.relay_ports)
            .field("allow_peers", &self.allow_peers)
            .field("quotas", &self.quotas)
            .finish_non_exhaustive()
    }
}

/// A range of ports, `49152-65535`, both within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A range that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of ports: write \"49152-65535\", 1024 at least")]
pub struct NotPorts(String);

impl FromStr for Ports {
    type Err = NotPorts;

    fn from_str(text: &str) -> Result<Self, NotPorts> {
        let read = |port: &str| port.trim().parse::<u16>().ok().filter(|port| *port >= 1024);
        text.split_once('-')
            .and_then(|(first, last)| Some(Self { first: read(first)?, last: read(last)? }))
            .filter(|ports| ports.first <= ports.last)
            .ok_or_else(|| NotPorts(text.to_owned()))
    }
}

impl TryFrom<String> for Ports {
    type Error = NotPorts;

    fn try_from(text: String) -> Result<Self, NotPorts> {
        text.parse()
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[turn] {key}: {message}")]
pub struct BadSetting {
    /// Which.
    pub key: &'static str,
    /// What is wrong with it, and what to write instead.
    pub message: &'static str,
}

/// The shortest secret that is taken: who guesses it relays through this server.
const MIN_SECRET: usize = 16;

impl Settings {
    /// What no single value shows.
    pub fn check(&self) -> Result<(), BadSetting> {
        let rules: [(bool, &'static str, &'static str); 7] = [
            (
                (1..=64).contains(&self.realm.len()) && self.realm.bytes().all(|b| b.is_ascii_graphic()),
                "realm",
                "1 to 64 characters of ASCII, no spaces",
            ),
            (
                self.secrets.iter().all(|secret| secret.len() >= MIN_SECRET),
                "secrets",
                "each takes 16 characters at least: make one with `openssl rand -hex 32`",
            ),
            (self.ttl >= 60, "ttl", "credentials are good for 60 seconds at least"),
            (self.quotas.lifetime >= 60, "quotas.lifetime", "an allocation lives 60 seconds at least"),
            (self.quotas.bandwidth_kbps >= 64, "quotas.bandwidth_kbps", "less than 64 carries no call"),
            (
                self.quotas.allocations > 0 && self.quotas.per_address > 0 && self.quotas.per_credential > 0,
                "quotas",
                "with no allocations there is no relay: write enabled = false instead",
            ),
            (self.listen.len() <= 16, "listen", "16 addresses at most"),
        ];
        match rules.iter().find(|(holds, ..)| !holds) {
            Some(&(_, key, message)) => Err(BadSetting { key, message }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let settings: Settings = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        settings.check().map(|()| settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_section() {
        let settings = read(
            r#"enabled = true
               listen = ["0.0.0.0:3478", "[::]:3478"]
               external = ["192.0.2.5", "192.0.2.6/10.0.0.6"]
               relay_ports = "50000-50099"
               allow_peers = ["10.0.0.0/8", "fd00::/8"]
               realm = "turn.example"
               secrets = ["0123456789abcdef"]
               ttl = 3600
               [quotas]
               allocations = 10
               per_credential = 2
               bandwidth_kbps = 4000"#,
        )
        .unwrap();
        assert_eq!(settings.relay_ports, Ports { first: 50000, last: 50099 });
        assert_eq!((settings.quotas.allocations, settings.quotas.per_address), (10, 200));
        assert!(!format!("{settings:?}").contains("0123456789abcdef"));
        assert_eq!(read(""), Ok(Settings::default()));
    }

    #[test]
    fn faults_say_what_to_write() {
        for (text, part) in [
            ("relay_ports = \"9-10\"", "49152-65535"),
            ("relay_ports = \"50000\"", "49152-65535"),
            ("relay_ports = \"50001-50000\"", "49152-65535"),
            ("allow_peers = [\"10.0.0.0/40\"]", "write 10.0.0.0/8"),
            ("external = [\"192.0.2.5/::1\"]", "PUBLIC/PRIVATE"),
            ("realm = \"\"", "[turn] realm"),
            ("secrets = [\"short\"]", "openssl rand"),
            ("ttl = 1", "[turn] ttl"),
            ("[quotas]\nbandwidth_kbps = 1", "bandwidth_kbps"),
            ("[quotas]\nallocations = 0", "enabled = false"),
            ("port = 3478", "unknown field `port`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
