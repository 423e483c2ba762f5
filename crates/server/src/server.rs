//! A server that runs: bound, called by its address, stopped.

use crate::acme::{self, Tokens};
use crate::config::Config;
use crate::door::{BindError, Door, Inside, Streams, bind, check_plain};
use crate::http::{self, Web};
use crate::hub::{Figures, Hub};
use crate::metrics::{self, Metrics};
use crate::proxy::Proxies;
use crate::redirect::{self, Redirect};
use crate::tls::{self, Certificates, Source, TlsError};
use crate::turn::{self, Turn, TurnError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::door::STOP_WITHIN;

/// Makes [`Running`].
#[derive(Debug)]
pub struct Server;

/// A running server. Dropping it stops it at once; [`Running::shutdown`] closes what is open first.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    redirects: Vec<SocketAddr>,
    url: String,
    hub: Arc<Hub>,
    turn: Option<Arc<Turn>>,
    reload: Arc<Notify>,
    doors: Vec<Door>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Whether it could start with these settings, as far as that can be said without listening.
    ///
    /// # Errors
    /// Plain HTTP where it must not be, or certificates that cannot be used.
    pub fn check(config: &Config) -> Result<(), BindError> {
        match config.tls.as_ref().map(|tls| &tls.source) {
            None => check_plain(config.door.plain_http, &config.listen.0),
            Some(Source::Files { cert, key }) => Ok(tls::load(cert, key).map(drop)?),
            Some(Source::Acme(_)) => Ok(()),
        }
    }

    /// Listens, and serves from then on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// An address that cannot be had, plain HTTP where it must not be, or certificates that cannot be used.
    // Async, since listening needs the runtime's reactor, and callers wait for what may one day take longer.
    #[expect(clippy::unused_async, reason = "callers must be in a tokio runtime")]
    pub async fn bind(mut config: Config) -> Result<Running, BindError> {
        if config.tls.is_none() {
            check_plain(config.door.plain_http, &config.listen.0)?;
        }
        let listeners = bind(&config.listen.0)?;
        let addresses = local(&listeners);
        let metrics = Arc::new(Metrics::default());
        let turn = start_turn(&config, &addresses)?;
        if let Some(turn) = &turn {
            metrics.add(turn.clone());
        }
        config.ice.inside.clone_from(&turn);
        let tick_every = (config.limits.grace / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let hub = Arc::new(Hub::new(&config, metrics.clone()));
        metrics.add(hub.clone());
        let mut parts = Parts::new(Arc::new(config.proxies.clone()));
        let secured = parts.secure(&config, addresses.first().map_or(443, SocketAddr::port))?;
        if let Some(certificates) = &secured {
            metrics.add(certificates.clone());
        }
        let web = Web {
            hub: hub.clone(),
            origins: config.origins.clone(),
            timing: config.timing,
            certificates: secured.clone(),
        };
        let inside = Inside {
            router: http::router(web, parts.proxies.clone()),
            tls: secured.map(tls::server_config).transpose()?,
            streams: turn.clone().map(|turn| turn as Arc<dyn Streams>),
            proxies: parts.proxies.clone(),
            metrics: metrics.clone(),
        };
        let url = url(&config, addresses.first().copied());
        parts.doors.push(Door::open(listeners, config.door.clone(), inside));
        let mut metrics_address = None;
        if let Some(address) = config.metrics {
            for listener in bind(&[address])? {
                metrics_address = listener.local_addr().ok();
                parts.doors.push(metrics::serve(listener, &metrics));
            }
        }
        parts.tasks.spawn(tick(hub.clone(), tick_every));
        let Parts { doors, tasks, reload, redirects, .. } = parts;
        Ok(Running { addresses, metrics_address, redirects, url, hub, turn, reload, doors, tasks })
    }
}

/// Starts STUN and TURN, unless they are off, or another server is named and this one not asked for.
fn start_turn(config: &Config, addresses: &[SocketAddr]) -> Result<Option<Arc<Turn>>, TurnError> {
    let enabled = config.turn.enabled.unwrap_or(config.ice.turn.is_none());
    let Some(address) = addresses.first().filter(|_| enabled) else { return Ok(None) };
    let mut settings = config.turn.clone();
    if settings.listen.is_empty() {
        // Where any port will do, any will do for UDP as well.
        let here = config.listen.0.iter().zip(addresses);
        settings.listen = here.map(|(wanted, got)| if wanted.port() == 0 { *wanted } else { *got }).collect();
    }
    let secret: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let port = Some(address.port());
    let (tcp, tls) = if config.tls.is_some() { (None, port) } else { (port, None) };
    Turn::start(settings, secret, turn::Door { listen: *address, tcp, tls }).map(Some)
}

/// What a server is put together of.
struct Parts {
    proxies: Arc<Proxies>,
    reload: Arc<Notify>,
    doors: Vec<Door>,
    redirects: Vec<SocketAddr>,
    tasks: JoinSet<()>,
}

impl Parts {
    fn new(proxies: Arc<Proxies>) -> Self {
        let reload = Arc::new(Notify::new());
        Self { proxies, reload, doors: Vec::new(), redirects: Vec::new(), tasks: JoinSet::new() }
    }

    /// Reads or resumes the certificate, and keeps it fresh from now on. None without TLS.
    fn secure(&mut self, config: &Config, port: u16) -> Result<Option<Arc<Certificates>>, BindError> {
        let Some(settings) = &config.tls else { return Ok(None) };
        let certificates = Arc::new(Certificates::default());
        let tokens = Arc::new(Tokens::default());
        let listeners = bind(&settings.redirect)?;
        self.redirects = local(&listeners);
        if !listeners.is_empty() {
            let redirect = Redirect { tokens: tokens.clone(), port, proxies: self.proxies.clone() };
            self.doors.push(redirect::serve(listeners, &config.door, redirect));
        }
        match &settings.source {
            Source::Files { cert, key } => {
                let loaded = tls::load(cert, key)?;
                loaded.warn(cert, SystemTime::now());
                certificates.set(&loaded);
                let (cert, key) = (cert.clone(), key.clone());
                self.tasks.spawn(tls::watch(cert, key, certificates.clone(), self.reload.clone()));
            }
            Source::Acme(acme) => {
                let desk = acme::Desk { settings: acme.clone(), certificates: certificates.clone(), tokens };
                let unusable = |error: acme::AcmeError| TlsError::File {
                    path: PathBuf::from(&acme.cache),
                    message: error.to_string(),
                };
                let current = acme::resume(&desk).map_err(unusable)?;
                self.tasks.spawn(acme::keep(desk, current));
            }
        }
        Ok(Some(certificates))
    }
}

fn local(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    // A socket that listens has an address.
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

async fn tick(hub: Arc<Hub>, every: Duration) {
    let mut tick = tokio::time::interval(every);
    loop {
        tick.tick().await;
        hub.tick();
    }
}

/// What a browser opens.
fn url(config: &Config, address: Option<SocketAddr>) -> String {
    if let Some(url) = &config.proxies.public_url {
        return url.to_string();
    }
    let address = address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    if let Some(Source::Acme(acme)) = config.tls.as_ref().map(|tls| &tls.source) {
        let port = if address.port() == 443 { String::new() } else { format!(":{}", address.port()) };
        return format!("{scheme}://{}{port}", acme.host);
    }
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

impl Running {
    /// What it listens on; the first of several.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or_else(|| ([127, 0, 0, 1], 0).into())
    }

    /// All that it listens on, in the order of the settings.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it leads from plain HTTP to https.
    pub fn redirect_addrs(&self) -> &[SocketAddr] {
        &self.redirects
    }

    /// Where the metrics are.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// What a browser opens: the public address where the settings have one, else what one on this machine
    /// opens: `http://127.0.0.1:8080`. A server that listens on all addresses can be called from elsewhere by
    /// the machine's own.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Reads the certificate's files again, at once.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// The STUN and TURN server inside, where it runs.
    pub fn turn(&self) -> Option<&Arc<Turn>> {
        self.turn.as_ref()
    }

    /// What there is now.
    pub fn figures(&self) -> Figures {
        self.hub.figures()
    }

    /// Stops: no new connections, those open are closed (code 1001, clients come back by themselves when
    /// there is a server again), two seconds at most. Calls go on: their media does not pass through here.
    pub async fn shutdown(mut self) {
        self.hub.stop();
        let closing = self.doors.drain(..).map(Door::close).collect::<Vec<_>>();
        let emptied = async {
            let mut look = tokio::time::interval(Duration::from_millis(10));
            while self.hub.sockets() > 0 {
                look.tick().await;
            }
        };
        let (emptied, _) =
            tokio::join!(tokio::time::timeout(STOP_WITHIN, emptied), futures_util::future::join_all(closing));
        if emptied.is_err() {
            tracing::info!(left = self.hub.sockets(), "some connections did not close in time");
        }
        self.tasks.shutdown().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Sockets that are still open know it too, and would keep its port.
        if let Some(turn) = &self.turn {
            turn.shutdown();
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("sockets", &self.sockets()).finish_non_exhaustive()
    }
}
