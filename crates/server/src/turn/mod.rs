//! STUN and TURN (RFC 8489 and 8656) inside the server: over UDP on sockets of its own, and over any stream
//! that the door hands to it.
//!
//! `wire`, `message`, `gate`, `nonce`, `peers`, `own`, `bucket`, `allocation` and `state` are pure. `engine`
//! takes every frame through them; `listener`, `stream` and `relay` are the tasks that read sockets: one for
//! each listening address, each connection and each relayed address. Nothing is queued but what a slow TCP
//! reader has not read yet, and that is bounded (`sink`).

mod allocation;
mod bucket;
mod engine;
pub(crate) mod gate;
mod listener;
mod message;
mod nonce;
pub mod own;
pub mod peers;
mod refusal;
mod relay;
pub mod settings;
mod sink;
mod state;
mod stream;
pub mod wire;

pub use engine::examine;
pub use refusal::{Dropped, Refusal, Traffic};
pub use settings::{BadSetting, Settings};
pub use state::Transport;

use crate::door::{self, BoxedIo};
use crate::metrics::{Exposition, Source};
use engine::Engine;
use gate::Gate;
use listener::Listening;
use nonce::Nonces;
use peers::Peers;
use signaling::IceServer;
use state::{Rules, State};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use stream::Streams;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why the STUN and TURN server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// A setting that cannot be.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// Somebody else has the port.
    #[error(
        "UDP port {} of {} is taken: stop what listens there, or name another with listen in [turn]",
        .0.port(),
        .0.ip()
    )]
    Taken(SocketAddr),
    /// All else.
    #[error("cannot listen for STUN and TURN on UDP {address}: {error}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

impl TurnError {
    fn bind(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::Taken(address),
            _ => Self::Bind { address, error },
        }
    }
}

/// Where the server's own door is, since it takes STUN and TURN too.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// Where it listens; UDP listens there too unless the settings name another place.
    pub listen: SocketAddr,
    /// Its port, if it takes connections without TLS.
    pub tcp: Option<u16>,
    /// Its port, if it takes connections with TLS.
    pub tls: Option<u16>,
}

/// What the server does, for metrics. All counts are since the start.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Allocations now, by UDP, TCP and TLS.
    pub allocations: [(Transport, usize); 3],
    /// Allocations that were made.
    pub allocated: u64,
    /// Connections over TCP and TLS now.
    pub connections: usize,
    /// STUN binding requests that were answered.
    pub bindings: u64,
    /// Requests that were refused, by why.
    pub refused: Vec<(Refusal, u64)>,
    /// Packets that went nowhere, by why.
    pub dropped: Vec<(Dropped, u64)>,
    /// What clients sent to their peers.
    pub to_peers: Traffic,
    /// What peers sent to clients.
    pub to_clients: Traffic,
}

/// How often what is over is looked for.
const TICK: Duration = Duration::from_secs(1);

/// How many ticks pass until the machine's addresses are looked at again.
const FOLLOW_EVERY: u32 = 30;

/// A STUN and TURN server. It stops when it is dropped.
pub struct Turn {
    engine: Arc<Engine>,
    streams: Arc<Streams>,
    listening: Arc<Mutex<Vec<Listening>>>,
    stop: watch::Sender<bool>,
    ticking: JoinHandle<()>,
    secret: String,
    ttl: u64,
    door: Door,
    udp: Option<u16>,
    /// Whether UDP is for programs on this machine only.
    only_here: bool,
}

impl Turn {
    /// Binds its UDP sockets and serves from then on; `secret` makes credentials unless the settings have
    /// secrets. Must be called within a tokio runtime.
    pub fn start(settings: Settings, secret: String, door: Door) -> Result<Arc<Self>, TurnError> {
        settings.check()?;
        let usual = vec![door.listen];
        let wanted = if settings.listen.is_empty() { &usual } else { &settings.listen };
        let wanted = listener::without_doubles(wanted);
        let interfaces = listener::interfaces();
        let bound = wanted.iter().map(|at| Listening::bind(*at, &interfaces));
        let bound = bound.collect::<Result<Vec<_>, _>>()?;
        let udp = bound.first().map(|(listening, _)| listening.wanted().port());
        let only_here = wanted.iter().all(|at| at.ip().is_loopback());
        let rules = Rules {
            ports: settings.relay_ports,
            quotas: settings.quotas,
            peers: Peers { allowed: settings.allow_peers.clone(), loopback: only_here },
        };
        let own = listener::own(&wanted, &settings.external, interfaces);
        let secrets = if settings.secrets.is_empty() { vec![secret] } else { settings.secrets.clone() };
        let secret = secrets.first().cloned().unwrap_or_default();
        let gate = Gate::new(settings.realm.clone(), secrets, Nonces::new(rand::random()));
        let engine = Arc::new(Engine::new(gate, State::new(rules, own, rand::random())));
        let mut listening = Vec::new();
        for (mut place, sockets) in bound {
            place.read(&engine, sockets);
            listening.push(place);
        }
        let listening = Arc::new(Mutex::new(listening));
        let ticking =
            tokio::spawn(tick(engine.clone(), listening.clone(), wanted, settings.external.clone()));
        let streams = Arc::new(Streams::new(settings.quotas.connections, settings.quotas.per_address));
        let (stop, _) = watch::channel(false);
        let ttl = settings.ttl;
        let turn = Self { engine, streams, listening, stop, ticking, secret, ttl, door, udp, only_here };
        Ok(Arc::new(turn))
    }

    /// Serves one accepted connection, from its very first byte, until it ends.
    pub fn serve_stream<I>(
        &self,
        io: I,
        peer: SocketAddr,
        local: SocketAddr,
        over: Transport,
    ) -> impl Future<Output = ()> + Send + use<I>
    where
        I: AsyncRead + AsyncWrite + Send + 'static,
    {
        let addresses = [peer, local].map(|at| SocketAddr::new(at.ip().to_canonical(), at.port()));
        let (engine, streams) = (self.engine.clone(), self.streams.clone());
        stream::serve(engine, streams, self.stop.subscribe(), io, addresses, over)
    }

    /// The UDP port, which port 0 in the settings leaves open.
    pub fn udp_port(&self) -> Option<u16> {
        self.udp
    }

    /// What this server is called, by those who call it `host` (a name or an address, without a port): STUN
    /// first, then TURN over UDP, TCP and TLS as far as they are on. What listens on the loopback only is
    /// not told to those who call this machine by another name: they come by a proxy, and would not reach it.
    pub fn urls(&self, host: &str) -> Vec<String> {
        let is_here = names_the_loopback(host);
        let udp_port = self.udp.filter(|_| is_here || !self.only_here);
        let has_door = is_here || !self.door.listen.ip().is_loopback();
        let host = match host.parse::<Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]"),
            Err(_) => host.to_owned(),
        };
        let stun = udp_port.map(|port| format!("stun:{host}:{port}"));
        let udp = udp_port.map(|port| format!("turn:{host}:{port}?transport=udp"));
        let tcp = self.door.tcp.filter(|_| has_door).map(|port| format!("turn:{host}:{port}?transport=tcp"));
        let tls = self.door.tls.filter(|_| has_door).map(|port| format!("turns:{host}:{port}?transport=tcp"));
        [stun, udp, tcp, tls].into_iter().flatten().collect()
    }

    /// What to give to `user` now: STUN, and TURN with a credential that ends.
    pub fn ice_servers(&self, user: &str, unix_seconds: u64, host: &str) -> Vec<IceServer> {
        let (stun, turn): (Vec<_>, Vec<_>) =
            self.urls(host).into_iter().partition(|url| url.starts_with("stun:"));
        let username = format!("{}:{user}", unix_seconds + self.ttl);
        let credential = gate::password(&self.secret, &username);
        let servers = [
            IceServer { urls: stun, username: None, credential: None },
            IceServer { urls: turn, username: Some(username), credential },
        ];
        servers.into_iter().filter(|server| !server.urls.is_empty()).collect()
    }

    /// How long credentials are good, in seconds.
    pub fn ttl(&self) -> u64 {
        self.ttl
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        let counters = &self.engine.counters;
        let [to_peers, to_clients] = counters.traffic();
        let state = self.engine.state();
        let over = [Transport::Udp, Transport::Tcp, Transport::Tls];
        Stats {
            allocations: over.map(|transport| (transport, state.over(transport))),
            allocated: state.counts().1,
            connections: self.streams.count(),
            bindings: counters.bindings.load(Relaxed),
            refused: counters.all_refused(),
            dropped: counters.all_dropped(),
            to_peers,
            to_clients,
        }
    }

    /// Stops: no more answers, all allocations and connections end.
    pub fn shutdown(&self) {
        self.ticking.abort();
        self.stop.send_replace(true);
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.engine.state().clear();
    }
}

/// What the door hands over.
impl door::Streams for Turn {
    fn serve_stream(
        &self,
        io: BoxedIo,
        peer: SocketAddr,
        local: SocketAddr,
        over: door::Transport,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let over = match over {
            door::Transport::Tcp => Transport::Tcp,
            door::Transport::Tls => Transport::Tls,
        };
        Box::pin(Turn::serve_stream(self, io, peer, local, over))
    }
}

impl Source for Turn {
    fn write(&self, out: &mut Exposition) {
        let stats = self.stats();
        let now: usize = stats.allocations.iter().map(|(_, count)| count).sum();
        out.gauge("snug_turn_allocations", "TURN allocations now", now);
        out.gauge("snug_turn_connections", "TURN over TCP and TLS: connections now", stats.connections);
        let words = |pairs: &[(String, u64)]| pairs.iter().cloned().collect::<BTreeMap<_, _>>();
        let done = [("allocated".to_owned(), stats.allocated), ("bindings".to_owned(), stats.bindings)];
        out.counters("snug_turn_done", "What STUN and TURN clients got", "what", &words(&done));
        let refused: Vec<_> =
            stats.refused.iter().map(|(why, count)| (why.reason().to_owned(), *count)).collect();
        out.counters("snug_turn_refused", "Requests refused, by reason", "reason", &words(&refused));
        let bytes = [
            ("to_peers".to_owned(), stats.to_peers.bytes),
            ("to_clients".to_owned(), stats.to_clients.bytes),
        ];
        out.counters("snug_turn_relayed_bytes", "Bytes relayed, by direction", "direction", &words(&bytes));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("door", &self.door).field("udp", &self.udp).finish_non_exhaustive()
    }
}

fn names_the_loopback(host: &str) -> bool {
    let is_loopback = |ip: IpAddr| ip.is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}

async fn tick(
    engine: Arc<Engine>,
    listening: Arc<Mutex<Vec<Listening>>>,
    wanted: Vec<SocketAddr>,
    external: Vec<own::External>,
) {
    let mut tick = tokio::time::interval(TICK);
    let mut known: Vec<IpAddr> = listener::interfaces();
    for ticks in 1_u32.. {
        tick.tick().await;
        engine.state().expire(Instant::now());
        if !ticks.is_multiple_of(FOLLOW_EVERY) {
            continue;
        }
        let interfaces = listener::interfaces();
        for place in listening.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            place.follow(&engine, &interfaces);
        }
        if interfaces != known {
            tracing::info!("the addresses of this machine have changed");
            engine.state().set_own(listener::own(&wanted, &external, interfaces.clone()));
            known = interfaces;
        }
    }
}
