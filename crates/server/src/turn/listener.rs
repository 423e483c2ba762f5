//! The UDP sockets that clients reach: one for each address of the machine, so that answers leave by the
//! address that the client called, and relayed addresses are made where it can reach them.

use crate::turn::TurnError;
use crate::turn::engine::Engine;
use crate::turn::own::{External, Own};
use crate::turn::peers::is_public;
use crate::turn::refusal::Dropped;
use crate::turn::sink::Sink;
use crate::turn::state::{Client, Transport};
use crate::turn::wire::{self, MAX_FRAME};
use socket2::SockRef;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// Addresses of one machine at most.
const MAX_ADDRESSES: usize = 16;

/// Datagrams that are read before others have their turn.
const BATCH: usize = 64;

/// What a listening socket holds for us while we are busy: all clients of an address share it.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

/// How often another port is tried where any will do.
const PORT_TRIES: usize = 16;

/// All addresses of this machine's interfaces.
pub(crate) fn interfaces() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.into_iter().map(|interface| interface.ip()).collect(),
        Err(error) => {
            tracing::warn!(%error, "the network interfaces cannot be listed: using the loopback");
            vec![Ipv4Addr::LOCALHOST.into()]
        }
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// What the machine is called, for a server that listens on `wanted`.
pub(crate) fn own(wanted: &[SocketAddr], external: &[External], interfaces: Vec<IpAddr>) -> Own {
    let mut relays: Vec<IpAddr> =
        wanted.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect();
    if wanted.iter().any(|at| at.ip().is_unspecified()) {
        let (public, other): (Vec<_>, Vec<_>) = interfaces
            .iter()
            .copied()
            .filter(|ip| !ip.is_loopback() && !is_link_local(ip))
            .partition(|ip| is_public(*ip));
        relays.extend(public.into_iter().chain(other));
        if relays.is_empty() {
            relays.extend(interfaces.iter().filter(|ip| ip.is_loopback()));
        }
    }
    Own { interfaces, relays, external: external.to_vec() }
}

/// Leaves out what another wanted place stands for already: IPv4 beside `[::]`, an address beside all.
pub(crate) fn without_doubles(wanted: &[SocketAddr]) -> Vec<SocketAddr> {
    let covers = |all: &SocketAddr, at: &SocketAddr| {
        all != at && all.ip().is_unspecified() && all.port() == at.port() && (all.is_ipv6() || at.is_ipv4())
    };
    let mut left: Vec<SocketAddr> = Vec::new();
    for at in wanted.iter().filter(|at| !wanted.iter().any(|all| covers(all, at))) {
        if !left.contains(at) {
            left.push(*at);
        }
    }
    left
}

/// The addresses to listen on, for one that is wanted.
fn expand(wanted: SocketAddr, interfaces: &[IpAddr]) -> Vec<IpAddr> {
    if !wanted.ip().is_unspecified() {
        return vec![wanted.ip()];
    }
    let mut all: Vec<IpAddr> = Vec::new();
    for ip in interfaces.iter().filter(|ip| !is_link_local(ip) && (ip.is_ipv4() || wanted.is_ipv6())) {
        if !all.contains(ip) && all.len() < MAX_ADDRESSES {
            all.push(*ip);
        }
    }
    all
}

/// The sockets of one wanted address.
pub(crate) struct Listening {
    wanted: SocketAddr,
    sockets: HashMap<IpAddr, Reading>,
}

struct Reading(AbortHandle);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listening {
    /// Binds all; with port 0 one that is free on all of them.
    pub(crate) fn bind(
        wanted: SocketAddr,
        interfaces: &[IpAddr],
    ) -> Result<(Self, Vec<UdpSocket>), TurnError> {
        let addresses = expand(wanted, interfaces);
        let mut tries = 0;
        loop {
            tries += 1;
            match bind_all(&addresses, wanted.port()) {
                Ok((port, sockets)) => {
                    let wanted = SocketAddr::new(wanted.ip(), port);
                    return Ok((Self { wanted, sockets: HashMap::new() }, sockets));
                }
                Err((_, error)) if is_taken(&error) && wanted.port() == 0 && tries < PORT_TRIES => {}
                Err((at, error)) => return Err(TurnError::bind(at, error)),
            }
        }
    }

    /// Where, with the port that it got.
    pub(crate) fn wanted(&self) -> SocketAddr {
        self.wanted
    }

    /// Reads sockets from now on.
    pub(crate) fn read(&mut self, engine: &Arc<Engine>, sockets: Vec<UdpSocket>) {
        for socket in sockets {
            let Ok(local) = socket.local_addr() else { continue };
            let reading = tokio::spawn(read(engine.clone(), Arc::new(socket), local)).abort_handle();
            self.sockets.insert(local.ip(), Reading(reading));
        }
    }

    /// Listens on addresses that have come, and no more on those that have gone.
    pub(crate) fn follow(&mut self, engine: &Arc<Engine>, interfaces: &[IpAddr]) {
        if !self.wanted.ip().is_unspecified() {
            return;
        }
        let addresses = expand(self.wanted, interfaces);
        self.sockets.retain(|ip, _| addresses.contains(ip));
        for ip in addresses.into_iter().filter(|ip| !self.sockets.contains_key(ip)).collect::<Vec<_>>() {
            let at = SocketAddr::new(ip, self.wanted.port());
            match bind_one(at) {
                Ok(socket) => self.read(engine, vec![socket]),
                Err(error) => tracing::info!(%at, %error, "a new address of this machine cannot be used yet"),
            }
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Sockets on all addresses and one port; what cannot be had yet, as an IPv6 address that is still being
/// checked for doubles, is left out.
fn bind_all(addresses: &[IpAddr], port: u16) -> Result<(u16, Vec<UdpSocket>), (SocketAddr, io::Error)> {
    let (mut port, mut sockets) = (port, vec![]);
    for ip in addresses {
        let at = SocketAddr::new(*ip, port);
        match bind_one(at) {
            Ok(socket) => {
                port = socket.local_addr().map_err(|error| (at, error))?.port();
                sockets.push(socket);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && addresses.len() > 1 => {
                tracing::info!(%at, "an address of this machine cannot be used yet");
            }
            Err(error) => return Err((at, error)),
        }
    }
    Ok((port, sockets))
}

fn bind_one(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(at)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "the receive buffer stays as it is");
    }
    UdpSocket::from_std(socket)
}

async fn read(engine: Arc<Engine>, socket: Arc<UdpSocket>, local: SocketAddr) {
    // One byte more than is taken shows what is too large.
    let mut buffer = vec![0; MAX_FRAME + 1];
    while socket.readable().await.is_ok() {
        for _ in 0..BATCH {
            let (length, remote) = match socket.try_recv_from(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An error is one of an earlier answer, such as a port that nobody listens on.
                Err(_) => continue,
            };
            match wire::datagram(&buffer[..length]).filter(|_| length <= MAX_FRAME) {
                Some(frame) => {
                    let client = Client { remote, local, over: Transport::Udp, stream: 0 };
                    engine.frame(&client, &Sink::Datagrams(socket.clone(), remote), frame);
                }
                None => engine.counters.dropped(Dropped::Malformed),
            }
        }
        tokio::task::consume_budget().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::gate::Gate;
    use crate::turn::nonce::Nonces;
    use crate::turn::peers::Peers;
    use crate::turn::settings::{Ports, Quotas};
    use crate::turn::state::{Rules, State};

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn addresses_that_come_are_listened_on_and_those_that_go_are_not() {
        let rules = Rules {
            ports: Ports { first: 49152, last: 65535 },
            quotas: Quotas::default(),
            peers: Peers::default(),
        };
        let gate = Gate::new("snug".into(), vec![], Nonces::new([0; 64]));
        let engine = Arc::new(Engine::new(gate, State::new(rules, Own::default(), 1)));
        let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let (mut listening, sockets) = Listening::bind(any, &ips(&["127.0.0.1"])).unwrap();
        listening.read(&engine, sockets);
        let port = listening.wanted().port();
        let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
        let ask = async |ip: &str| {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect((ip, port)).await.unwrap();
            socket.send(&request).await.unwrap();
            // Where nobody listens, the loopback says so.
            socket.recv(&mut [0; 100]).await.is_ok()
        };
        assert_eq!((ask("127.0.0.1").await, ask("127.0.0.2").await), (true, false));
        listening.follow(&engine, &ips(&["127.0.0.1", "127.0.0.2"]));
        assert_eq!((ask("127.0.0.1").await, ask("127.0.0.2").await), (true, true));
        listening.follow(&engine, &ips(&["127.0.0.2"]));
        // Its socket is closed when the runtime comes to it.
        while ask("127.0.0.1").await {}
        assert!(ask("127.0.0.2").await);
    }

    #[test]
    fn no_address_is_listened_on_twice() {
        let places = |list: &[&str]| list.iter().map(|at| at.parse().unwrap()).collect::<Vec<SocketAddr>>();
        for (wanted, left) in [
            (&["0.0.0.0:1", "[::]:1"][..], &["[::]:1"][..]),
            (&["0.0.0.0:1", "[::]:2"], &["0.0.0.0:1", "[::]:2"]),
            (&["10.0.0.5:1", "0.0.0.0:1", "[::1]:1"], &["0.0.0.0:1", "[::1]:1"]),
            (&["10.0.0.5:1", "10.0.0.5:1"], &["10.0.0.5:1"]),
        ] {
            assert_eq!(without_doubles(&places(wanted)), places(left));
        }
    }

    #[test]
    fn a_server_on_all_addresses_listens_on_each_and_relays_from_those_that_others_reach() {
        let all = ips(&["127.0.0.1", "10.0.0.5", "8.8.4.4", "169.254.1.1", "::1", "fe80::1", "2600::5"]);
        let any4: SocketAddr = "0.0.0.0:3478".parse().unwrap();
        let any6: SocketAddr = "[::]:3478".parse().unwrap();
        assert_eq!(expand(any4, &all), ips(&["127.0.0.1", "10.0.0.5", "8.8.4.4"]));
        assert_eq!(expand(any6, &all), ips(&["127.0.0.1", "10.0.0.5", "8.8.4.4", "::1", "2600::5"]));
        let relays = |wanted: &[SocketAddr], all: &[IpAddr]| own(wanted, &[], all.to_vec()).relays;
        assert_eq!(relays(&[any4], &all), ips(&["8.8.4.4", "2600::5", "10.0.0.5"]));
        assert_eq!(relays(&[any4], &ips(&["127.0.0.1"])), ips(&["127.0.0.1"]));
        let one: SocketAddr = "10.0.0.5:3478".parse().unwrap();
        assert_eq!(expand(one, &all), ips(&["10.0.0.5"]));
        assert_eq!(relays(&[one], &all), ips(&["10.0.0.5"]));
    }
}
