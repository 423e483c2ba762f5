//! How a server is set up: what all settings become, whichever way they were given (`settings`).

use crate::door;
use crate::limits::Limits;
use crate::proxy::Proxies;
use crate::room::Opening;
use crate::socket::Timing;
use crate::tls;
use crate::turn::{self, Turn};
use signaling::IceServer;
use std::net::SocketAddr;
use std::sync::Arc;

/// A server's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any free one.
    pub listen: Listen,
    /// What each welcome offers.
    pub ice: IceConfig,
    /// Browser origins (`https://host`) allowed beside the server's own.
    pub origins: Vec<String>,
    /// How much the server takes.
    pub limits: Limits,
    /// Which rooms may be opened.
    pub rooms: Opening,
    /// Deadlines of a connection.
    pub timing: Timing,
    /// Connections: how many, how slow, plain or not.
    pub door: door::Settings,
    /// Certificates; without them it is plain HTTP.
    pub tls: Option<tls::Settings>,
    /// What stands between clients and us.
    pub proxies: Proxies,
    /// Where Prometheus finds the metrics.
    pub metrics: Option<SocketAddr>,
    /// The STUN and TURN server inside.
    pub turn: turn::Settings,
}

/// Where a server listens: one address or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(pub Vec<SocketAddr>);

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self(vec![address])
    }
}

impl From<([u8; 4], u16)> for Listen {
    fn from(address: ([u8; 4], u16)) -> Self {
        Self(vec![address.into()])
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            ice: IceConfig::default(),
            origins: Vec::new(),
            limits: Limits::default(),
            rooms: Opening::default(),
            timing: Timing::default(),
            door: door::Settings::default(),
            tls: None,
            proxies: Proxies::default(),
            metrics: None,
            turn: turn::Settings::default(),
        }
    }
}

/// STUN and TURN servers.
#[derive(Clone, Default)]
pub struct IceConfig {
    /// Given out as they are.
    pub fixed: Vec<IceServer>,
    /// Given out with credentials that expire.
    pub turn: Option<TurnConfig>,
    /// The server inside, where it runs.
    pub inside: Option<Arc<Turn>>,
}

/// A TURN server that shares a secret with us (`use-auth-secret` of coturn, "TURN REST API").
#[derive(Clone)]
pub struct TurnConfig {
    /// `turn:` and `turns:` addresses.
    pub urls: Vec<String>,
    /// The shared secret.
    pub secret: String,
    /// How long credentials are good, in seconds.
    pub ttl: u64,
}

impl std::fmt::Debug for IceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let turn = self.turn.as_ref().map(|t| &t.urls);
        let inside = self.inside.is_some();
        f.debug_struct("IceConfig")
            .field("fixed", &self.fixed)
            .field("turn", &turn)
            .field("inside", &inside)
            .finish()
    }
}

impl IceConfig {
    /// How long what is given now is good, in seconds; none: for ever.
    pub fn ttl(&self) -> Option<u64> {
        let inside = self.inside.as_ref().map(|turn| turn.ttl());
        let named = self.turn.as_ref().map(|turn| turn.ttl);
        [inside, named].into_iter().flatten().min()
    }

    /// What to give to `user` now, who calls this server `host` (without a port; without a host the server
    /// inside is not offered, as it does not know its name).
    pub fn servers(&self, user: &str, unix_seconds: u64, host: Option<&str>) -> Vec<IceServer> {
        let mut servers = self.fixed.clone();
        if let Some((inside, host)) = self.inside.as_ref().zip(host) {
            servers.extend(inside.ice_servers(user, unix_seconds, host));
        }
        if let Some(turn) = &self.turn {
            let username = format!("{}:{user}", unix_seconds + turn.ttl);
            servers.push(IceServer {
                urls: turn.urls.clone(),
                credential: turn::gate::password(&turn.secret, &username),
                username: Some(username),
            });
        }
        servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_of_the_turn_rest_api() {
        // From: printf 1433895918:filip | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(
            turn::gate::password("north", "1433895918:filip").as_deref(),
            Some(include_str!("../tests/turn_credential.txt").trim())
        );
    }
}
