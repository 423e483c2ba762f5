//! What Prometheus reads, in its text format 0.0.4: counters kept here, and whatever [`Source`]s add when
//! asked.

use crate::door::Settings as DoorSettings;
use crate::door::{Door, Inside, PlainHttp};
use crate::proxy::Proxies;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// Something that has figures.
pub trait Source: Send + Sync {
    /// Adds them.
    fn write(&self, out: &mut Exposition);
}

/// Figures, written down one after the other.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// What only grows. `name` ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "counter");
        self.0.push_str(&format!("{name} {value}\n"));
    }

    /// What goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.0.push_str(&format!("{name} {value}\n"));
    }

    /// Counters told apart by one label, whose values are plain words.
    pub fn counters(&mut self, name: &str, help: &str, label: &str, values: &BTreeMap<String, u64>) {
        self.head(name, help, "counter");
        for (word, value) in values {
            self.0.push_str(&format!("{name}{{{label}=\"{word}\"}} {value}\n"));
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }
}

/// What the server counts itself.
#[derive(Default)]
pub struct Metrics {
    accepted: AtomicU64,
    streams: AtomicU64,
    handshakes: AtomicU64,
    handshakes_failed: AtomicU64,
    relayed: AtomicU64,
    /// By reason: a fixed set of words, so it stays small.
    refused: Mutex<BTreeMap<String, u64>>,
    sources: Mutex<Vec<Arc<dyn Source>>>,
    connections: OnceLock<Arc<crate::door::Ledger>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Has `source` write its figures too.
    pub fn add(&self, source: Arc<dyn Source>) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stream(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handshake(&self, done: bool) {
        let counter = if done { &self.handshakes } else { &self.handshakes_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A message went from one participant to another.
    pub(crate) fn relayed(&self) {
        self.relayed.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody or something was turned away. `why` is one of a fixed set of words.
    pub(crate) fn refused(&self, why: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.get_mut(why) {
            Some(count) => *count += 1,
            None => drop(refused.insert(why.to_owned(), 1)),
        }
    }

    pub(crate) fn watch_connections(&self, ledger: &Arc<crate::door::Ledger>) {
        // There is one public door; the second, if there ever were one, is not counted.
        self.connections.get_or_init(|| ledger.clone());
    }

    /// All figures, as text.
    pub fn text(&self) -> String {
        let mut out = Exposition::default();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let open = self.connections.get().map_or(0, |ledger| ledger.count());
        out.gauge("snug_connections", "TCP connections that are open", open);
        out.counter("snug_connections_total", "TCP connections accepted", load(&self.accepted));
        out.counter("snug_stun_streams_total", "Connections that spoke STUN or TURN", load(&self.streams));
        out.counter("snug_tls_handshakes_total", "TLS handshakes done", load(&self.handshakes));
        out.counter(
            "snug_tls_handshakes_failed_total",
            "TLS handshakes failed",
            load(&self.handshakes_failed),
        );
        out.counter(
            "snug_messages_relayed_total",
            "Messages from participant to participant",
            load(&self.relayed),
        );
        {
            let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            let help = "What was turned away, by reason: connections, and errors said to clients";
            out.counters("snug_refused_total", help, "reason", &refused);
        }
        process(&mut out);
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for source in sources {
            source.write(&mut out);
        }
        out.0
    }
}

/// The process, where Linux tells of it; else nothing.
fn process(out: &mut Exposition) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    if let Some(kilobytes) = kilobytes {
        out.gauge("process_resident_memory_bytes", "Resident memory", kilobytes * 1024);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        out.gauge("process_open_fds", "Open file descriptors", files.count());
    }
}

/// When this process began to count, for Prometheus' `process_start_time_seconds`.
struct Started(u64);

impl Source for Started {
    fn write(&self, out: &mut Exposition) {
        out.gauge("process_start_time_seconds", "When the server started, in Unix seconds", self.0);
    }
}

/// Serves them at `/metrics`, behind a door of its own.
pub(crate) fn serve(listener: TcpListener, metrics: &Arc<Metrics>) -> Door {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    metrics.add(Arc::new(Started(now)));
    let told = metrics.clone();
    let text = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let router = Router::new().route("/metrics", get(move || async move { (text, told.text()) }));
    let inside = Inside {
        router,
        tls: None,
        streams: None,
        proxies: Arc::new(Proxies::default()),
        // What is counted there is not the public door's.
        metrics: Arc::new(Metrics::default()),
    };
    let settings = DoorSettings {
        connections: 64,
        connections_per_address: 64,
        plain_http: PlainHttp::PrivateClients,
        ..DoorSettings::default()
    };
    Door::open(vec![listener], settings, inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Turn;

    impl Source for Turn {
        fn write(&self, out: &mut Exposition) {
            out.gauge("snug_turn_allocations", "Allocations", 3);
        }
    }

    #[test]
    fn the_text_is_prometheus() {
        let metrics = Metrics::default();
        metrics.relayed();
        metrics.refused("room-full");
        metrics.refused("room-full");
        metrics.add(Arc::new(Turn));
        let text = metrics.text();
        for line in [
            "# TYPE snug_messages_relayed_total counter\nsnug_messages_relayed_total 1\n",
            "snug_refused_total{reason=\"room-full\"} 2\n",
            "# TYPE snug_turn_allocations gauge\nsnug_turn_allocations 3\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let named = |line: &str| {
            line.starts_with("# ") || line.split_once(' ').is_some_and(|(_, v)| v.parse::<f64>().is_ok())
        };
        assert!(text.lines().all(named), "{text}");
    }
}
