//! The door: every TCP connection comes in here, on however many addresses. It counts them, speaks TLS where
//! that is on, and tells by the first byte (RFC 7983) what is spoken: HTTP goes to the rooms' router, STUN
//! and TURN to [`Streams`]. Whoever says nothing in time, or nothing that is known, is let go.
//!
//! One task for each address accepts; one for each connection serves it until it ends, or until it becomes a
//! WebSocket, which has a task of its own.

mod accept;
mod bind;
mod connection;
mod ledger;
mod plain;
mod stream;
mod turnstile;

pub use bind::BindError;
pub(crate) use bind::bind;
pub(crate) use plain::check as check_plain;

use crate::metrics::Metrics;
use crate::proxy::Proxies;
use axum::Router;
pub(crate) use ledger::Ledger;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::rustls::ServerConfig;
use turnstile::Turnstile;

/// How long connections may take to end when the server stops.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Who may be spoken to without TLS, where there are no certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainHttp {
    /// The server starts only where it has no public address; only private clients are answered.
    #[default]
    Private,
    /// It starts anywhere, but answers only private clients and trusted proxies.
    PrivateClients,
    /// Anybody: somebody said that this is meant.
    Anybody,
}

/// What the door lets in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one IPv4 address or IPv6 /64. Trusted proxies have no such limit.
    pub connections_per_address: usize,
    /// Connections in all that speak HTTP and are no WebSocket yet; more wait.
    pub requests: usize,
    /// The same, of one IPv4 address or IPv6 /64. Trusted proxies have no such limit.
    pub requests_per_address: usize,
    /// From the connection to the end of the TLS handshake and the first byte in it.
    pub first_bytes: Duration,
    /// From there to the end of the first request's headers.
    pub headers: Duration,
    /// From an answer to the end of the next request's headers.
    pub idle: Duration,
    /// After this long without taking a byte that we have for it, a client is given up.
    pub stalled: Duration,
    /// Who is answered without TLS.
    pub plain_http: PlainHttp,
    /// Whether the log may name clients' addresses.
    pub log_addresses: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 256,
            requests: 768,
            requests_per_address: 96,
            first_bytes: Duration::from_secs(10),
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(5),
            stalled: Duration::from_secs(20),
            plain_http: PlainHttp::Private,
            log_addresses: false,
        }
    }
}

/// How a request came in. An extension of requests.
#[derive(Clone, Copy, Debug)]
pub struct Via {
    /// The other end of the connection: the client, or a proxy.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Whether over TLS.
    pub tls: bool,
}

/// What carries a stream of STUN messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP alone.
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// Bytes in both directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection whose kind no longer matters.
pub type BoxedIo = Box<dyn Io>;

/// Whoever speaks STUN and TURN over streams (RFC 8489, RFC 8656).
pub trait Streams: Send + Sync {
    /// Serves one connection, given from its very first byte, until it ends. Dropping the future closes it.
    fn serve_stream(
        &self,
        io: BoxedIo,
        peer: SocketAddr,
        local: SocketAddr,
        over: Transport,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What is behind the door.
pub(crate) struct Inside {
    pub(crate) router: Router,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) streams: Option<Arc<dyn Streams>>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) metrics: Arc<Metrics>,
}

/// An open door. Dropping it ends its connections at once; WebSockets are the rooms'.
#[derive(Debug)]
pub(crate) struct Door {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// What all connections share.
struct Shared {
    inside: Inside,
    settings: Settings,
    ledger: Arc<Ledger>,
    turnstile: Turnstile,
}

impl Door {
    /// Lets people in. Must be called within a tokio runtime.
    pub(crate) fn open(listeners: Vec<TcpListener>, settings: Settings, inside: Inside) -> Self {
        let ledger = Arc::new(Ledger::new(settings.connections, settings.connections_per_address));
        inside.metrics.watch_connections(&ledger);
        let turnstile = Turnstile::new(settings.requests, settings.requests_per_address);
        let shared = Arc::new(Shared { inside, settings, ledger, turnstile });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(accept::accept(listener, shared.clone(), stopped.clone()));
        }
        Self { stop, tasks }
    }

    /// Accepts no more; answers what was asked, two seconds at most.
    pub(crate) async fn close(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task that accepts connections broke");
            }
        }
    }
}

/// Waits until the door is to close, or is gone.
async fn closing(stop: &mut watch::Receiver<bool>) {
    // The guard must not live on; an error means that the door is gone.
    drop(stop.wait_for(|stop| *stop).await);
}
