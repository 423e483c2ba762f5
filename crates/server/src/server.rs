//! A server that runs: bound, called by its address, stopped.

use crate::config::Config;
use crate::http::{self, Web};
use crate::hub::Hub;
use crate::turn::{self, Turn, TurnError};
use axum::serve::ListenerExt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long connections may take to close when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Makes [`Running`].
#[derive(Debug)]
pub struct Server;

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error("the port {} is taken: stop what listens there, or choose another with --listen {}:PORT", .0.port(), .0.ip())]
    Taken(SocketAddr),
    /// Ports below 1024, mostly.
    #[error("listening on {0} is not permitted: choose a port above 1023")]
    Forbidden(SocketAddr),
    /// STUN and TURN cannot start.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// All else, an address that is not this machine's for one.
    #[error("cannot listen on {address}: {error}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

/// A running server. Dropping it stops it at once; [`Running::shutdown`] closes what is open first.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    hub: Arc<Hub>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Listens, and serves from then on. Must be called within a tokio runtime.
    pub async fn bind(mut config: Config) -> Result<Running, BindError> {
        let wanted = config.listen;
        let refused = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AddrInUse => BindError::Taken(wanted),
            std::io::ErrorKind::PermissionDenied => BindError::Forbidden(wanted),
            _ => BindError::Other { address: wanted, error },
        };
        let listener = TcpListener::bind(wanted).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        config.ice.inside = start_turn(&config, address)?;
        let tick_every = (config.limits.grace / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let hub = Arc::new(Hub::new(config.limits, config.sockets, config.ice));
        let web = Web { hub: hub.clone(), origins: config.origins, timing: config.timing };
        let (stop, mut stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY cannot be set");
            }
        });
        tasks.spawn(async move {
            let stopping = async move {
                // An error means that the sender is gone, and the server with it.
                let _ = stopped.wait_for(|s| *s).await;
            };
            if let Err(error) =
                axum::serve(listener, http::router(web)).with_graceful_shutdown(stopping).await
            {
                tracing::error!(%error, "the server cannot accept any more");
            }
        });
        let ticking = hub.clone();
        tasks.spawn(async move {
            let mut tick = tokio::time::interval(tick_every);
            loop {
                tick.tick().await;
                ticking.tick();
            }
        });
        Ok(Running { address, hub, stop, tasks })
    }
}

/// Starts STUN and TURN, unless they are off, or another server is named and this one not asked for.
fn start_turn(config: &Config, address: SocketAddr) -> Result<Option<Arc<Turn>>, TurnError> {
    if !config.turn.enabled.unwrap_or(config.ice.turn.is_none()) {
        return Ok(None);
    }
    // Where any port will do, any will do for UDP as well.
    let listen = if config.listen.port() == 0 { config.listen } else { address };
    let secret: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let door = turn::Door { listen, tcp: None, tls: None };
    Turn::start(config.turn.clone(), secret, door).map(Some)
}

impl Running {
    /// What it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What a browser on this machine opens: `http://127.0.0.1:8080`. A server that listens on all addresses
    /// can be called from elsewhere by the machine's own.
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// Stops: no new connections, those open are closed (code 1001, clients come back by themselves when
    /// there is a server again), two seconds at most.
    pub async fn shutdown(mut self) {
        self.hub.stop();
        self.stop.send_replace(true);
        let emptied = async {
            let mut look = tokio::time::interval(Duration::from_millis(10));
            while self.hub.sockets() > 0 {
                look.tick().await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, emptied).await.is_err() {
            tracing::info!(left = self.hub.sockets(), "some connections did not close in time");
        }
        self.tasks.shutdown().await;
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("sockets", &self.sockets()).finish_non_exhaustive()
    }
}
