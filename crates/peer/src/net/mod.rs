//! What stands between the stack and the network: sockets that do not hear strangers ([`filter`]), TURN over
//! TCP and TLS ([`stream`]), and addresses looked up.
//!
//! The stack knows none of it: this is its [`Runtime`], and hands it sockets.

mod filter;
mod framing;
mod servers;
mod socket;
mod stream;
pub(crate) mod stun;

use crate::{IceServer, PeerConfig};
pub(crate) use filter::Filter;
pub(crate) use framing::Unframer;
use servers::{Servers, StreamServer};
use socket::Socket;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
pub(crate) use stun::{Message, channel_data};
use tokio::sync::Notify;
use webrtc::peer_connection::RTCIceServer;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Multicast DNS has this port, and senders of all addresses.
const MDNS_PORT: u16 = 5353;

/// One connection's network. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Net(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    relay_only: bool,
    certificates: Vec<Vec<u8>>,
    tls: OnceLock<Arc<rustls::ClientConfig>>,
    servers: Mutex<Servers>,
    filter: Mutex<Filter>,
    avoided: Mutex<Vec<IpAddr>>,
    dropped: AtomicU64,
    lost: Arc<Notify>,
    relays: Relays,
}

/// See [`Runtime::sleep`] of [`Net`].
#[derive(Debug, Default)]
struct Relays {
    /// There is an allocation.
    used: AtomicBool,
    /// The stack's own task.
    driver: Mutex<Option<tokio::task::Id>>,
    /// How often it has wanted to sleep.
    rounds: AtomicU64,
}

/// Nothing panics while holding these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Net {
    pub(crate) fn new(config: &PeerConfig) -> Self {
        Self(Arc::new(Shared {
            relay_only: config.relay_only,
            certificates: config.certificates.clone(),
            tls: OnceLock::new(),
            servers: Mutex::default(),
            filter: Mutex::new(Filter::new(config.relay_only)),
            avoided: Mutex::default(),
            dropped: AtomicU64::new(0),
            lost: Arc::default(),
            relays: Relays::default(),
        }))
    }

    /// A configuration's servers as the stack is told of them.
    pub(crate) fn for_stack(&self, servers: &[IceServer]) -> Vec<RTCIceServer> {
        lock(&self.0.servers).for_stack(servers, self.0.relay_only)
    }

    /// A description of ours goes out: the other side will call us by this name. Before it is told.
    pub(crate) fn expect(&self, ufrag: &str) {
        self.filter().add_ufrag(ufrag, Instant::now());
    }

    /// The other side told of a candidate (`candidate:…`). Before the stack is told.
    pub(crate) fn told(&self, candidate: &str) {
        let mut words = candidate.split_ascii_whitespace().skip(4);
        let address =
            words.next().and_then(|ip| ip.parse().ok()).zip(words.next().and_then(|p| p.parse().ok()));
        if let Some((ip, port)) = address {
            let relay = words.next() == Some("typ") && words.next() == Some("relay");
            self.filter().add_told(SocketAddr::new(ip, port), relay);
        }
    }

    /// There are keys: for SRTP of this kind (W3C `srtpCipher`).
    pub(crate) fn set_srtp(&self, cipher: &str) {
        self.filter().set_srtp(cipher);
    }

    /// Packets that were thrown away: of strangers, to where none may go, or beyond what a stream takes.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Told when the stream to a relay breaks that was in use.
    pub(crate) fn lost(&self) -> Arc<Notify> {
        self.0.lost.clone()
    }

    /// Addresses of ours that new sockets are not bound to, where there are others.
    pub(crate) fn avoid(&self, addresses: Vec<IpAddr>) {
        *lock(&self.0.avoided) = addresses;
    }

    pub(crate) fn avoided(&self) -> Vec<IpAddr> {
        lock(&self.0.avoided).clone()
    }

    fn count_dropped(&self, packets: u64) {
        self.0.dropped.fetch_add(packets, Ordering::Relaxed);
    }

    fn filter(&self) -> MutexGuard<'_, Filter> {
        lock(&self.0.filter)
    }

    /// A server gave us an allocation.
    fn relays(&self) {
        self.0.relays.used.store(true, Ordering::Relaxed);
    }

    fn stream_server(&self, made: SocketAddr) -> Option<StreamServer> {
        lock(&self.0.servers).at(made)
    }

    fn is_made(&self, address: SocketAddr) -> bool {
        servers::is_made(address)
    }

    fn has_udp_relay(&self) -> bool {
        lock(&self.0.servers).has_udp_relay()
    }

    fn tls(&self) -> Arc<rustls::ClientConfig> {
        self.0.tls.get_or_init(|| Arc::new(stream::tls(&self.0.certificates))).clone()
    }

    async fn look_up(&self, authority: &str) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = servers::split(authority).ok_or(io::ErrorKind::InvalidInput)?;
        let named = lock(&self.0.servers).named(host);
        let real = match &named {
            Some((_, server)) => tokio::net::lookup_host((server.host.as_str(), server.port)).await,
            None => tokio::net::lookup_host((host, port)).await,
        };
        let mut found: Vec<SocketAddr> = real?.collect();
        if let Some((number, _)) = named {
            found = servers::made(number, &found);
        }
        let mut filter = self.filter();
        found.iter().for_each(|server| filter.add_server(*server));
        Ok(found)
    }
}

impl Runtime for Net {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn spawn_reactor(&self, pool: usize, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn_reactor(pool, future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        if inner.local_addr()?.port() == MDNS_PORT {
            return Ok(inner);
        }
        *lock(&self.0.relays.driver) = tokio::task::try_id();
        Ok(Arc::new(Socket::new(inner, self.clone())?))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, to: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async move { TokioRuntime.connect_tcp(to).await })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(self.look_up(host))
    }

    /// The stack's loop hands what goes through a relay to its TURN client after it has sent what that had
    /// to send, and then sleeps: a packet would wait for whatever wakes it next, up to 0.2 s. So where there
    /// is a relay, it goes around twice more before it sleeps: what came through the relay is answered in the
    /// first round, and the answer sent in the second.
    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        let relays = &self.0.relays;
        let is_driver = || *lock(&relays.driver) == tokio::task::try_id();
        if relays.used.load(Ordering::Relaxed)
            && is_driver()
            && relays.rounds.fetch_add(1, Ordering::Relaxed) % 3 != 2
        {
            return Box::pin(std::future::ready(()));
        }
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        "snug"
    }
}
