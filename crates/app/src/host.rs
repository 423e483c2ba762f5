//! The server inside this program: for people who have none.

use anyhow::{Context as _, Result};
use server::door::PlainHttp;
use server::turn::TurnError;
use server::{BindError, Config, Running, Server};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port that is tried first, so that a room's link stays the same from day to day.
const USUAL_PORT: u16 = 8787;

/// How the server inside is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// By this computer.
    pub address: String,
    /// By others on the network, where there is one.
    pub network: Option<String>,
}

impl Links {
    /// A link that we use as one that others can open.
    pub fn shared(&self, link: &str) -> String {
        match (link.strip_prefix(&self.address), &self.network) {
            (Some(room), Some(network)) => format!("{network}{room}"),
            _ => link.to_owned(),
        }
    }
}

/// A running server; dropping it ends it. Lives in a tokio runtime.
pub struct Host {
    links: Links,
    /// Held for its life.
    _running: Running,
}

impl Host {
    /// Starts it on every interface, on the usual port or else on one that is free.
    pub async fn start() -> Result<Self> {
        let running = match bind(USUAL_PORT).await {
            Err(BindError::Taken(_) | BindError::Turn(TurnError::Taken(_))) => bind(0).await,
            bound => bound,
        };
        let running =
            running.context("the server inside Snug cannot start: name another one with --server")?;
        let port = running.local_addr().port();
        let network = network_address().map(|ip| format!("http://{}", SocketAddr::new(ip, port)));
        Ok(Self { links: Links { address: running.url(), network }, _running: running })
    }

    /// How it is called.
    pub fn links(&self) -> &Links {
        &self.links
    }
}

async fn bind(port: u16) -> Result<Running, BindError> {
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let mut config = Config { listen: listen.into(), ..Config::default() };
    // It starts on a machine with a public address too, and answers private ones alone.
    config.door.plain_http = PlainHttp::PrivateClients;
    Server::bind(config).await
}

/// The address by which others on the network reach this computer: private IPv4 addresses first, then
/// other IPv4 ones; virtual bridges of containers and machines last.
pub fn network_address() -> Option<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = interfaces.iter().filter(|interface| !interface.is_loopback());
    best(addresses.map(|interface| (interface.name.as_str(), interface.ip())))
}

fn best<'a>(addresses: impl Iterator<Item = (&'a str, IpAddr)>) -> Option<IpAddr> {
    let is_virtual =
        |name: &str| ["docker", "veth", "br-", "virbr", "vmnet"].iter().any(|word| name.starts_with(word));
    let rank = |(name, address): &(&str, IpAddr)| match address {
        IpAddr::V4(v4) if v4.is_link_local() => None,
        IpAddr::V4(v4) => Some((is_virtual(name), !v4.is_private())),
        IpAddr::V6(_) => None,
    };
    addresses.filter(|address| rank(address).is_some()).min_by_key(rank).map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_this_computer_become_links_of_the_network() {
        let links = |network: Option<&str>| Links {
            address: "http://127.0.0.1:8787".into(),
            network: network.map(Into::into),
        };
        let there = links(Some("http://10.0.0.5:8787"));
        assert_eq!(there.shared("http://127.0.0.1:8787/tea"), "http://10.0.0.5:8787/tea");
        assert_eq!(there.shared("https://other/tea"), "https://other/tea");
        assert_eq!(links(None).shared("http://127.0.0.1:8787/tea"), "http://127.0.0.1:8787/tea");
    }

    #[test]
    fn the_network_of_the_house_comes_first() {
        let all = [
            ("docker0", "172.17.0.1"),
            ("eth0", "fe80::1"),
            ("eth1", "169.254.3.4"),
            ("ppp0", "93.184.216.34"),
            ("wlan0", "192.168.1.7"),
        ]
        .map(|(name, address)| (name, address.parse::<IpAddr>().unwrap()));
        let pick =
            |list: &[(&'static str, IpAddr)]| best(list.iter().copied()).map(|address| address.to_string());
        assert_eq!(pick(&all).as_deref(), Some("192.168.1.7"));
        assert_eq!(pick(&all[..4]).as_deref(), Some("93.184.216.34"));
        assert_eq!(pick(&all[..3]).as_deref(), Some("172.17.0.1"));
        assert_eq!(pick(&all[1..3]), None);
    }
}
