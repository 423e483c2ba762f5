//! Accepting: what is left when a machine is short of something, too, is a server that goes on.

use super::ledger::Crowded;
use super::stream::Seated;
use super::{STOP_WITHIN, Shared, Via, closing, connection};
use crate::net::household;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// After an error that is not one connection's own (no file descriptor left, no memory), accepting rests this
/// long, then twice as long, up to [`REST_MOST`].
const REST: Duration = Duration::from_millis(20);
const REST_MOST: Duration = Duration::from_secs(1);

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut rest = REST;
    let stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            () = closing(&mut stop) => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection broke the task that served it");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                rest = REST;
                if let Some((stream, via)) = shared.admit(stream, peer) {
                    connections.spawn(connection::serve(shared.clone(), stream, via, stopped.clone()));
                }
            }
            Err(error) if is_of_one_connection(error.kind()) => {}
            Err(error) => {
                shared.inside.metrics.refused("accept-failed");
                let advice = "give it more file descriptors (LimitNOFILE)";
                tracing::warn!(%error, advice, "no connection can be accepted");
                tokio::select! {
                    () = tokio::time::sleep(rest) => rest = (rest * 2).min(REST_MOST),
                    () = closing(&mut stop) => break,
                }
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
        tracing::debug!(left = connections.len(), "some connections did not end in time");
        connections.shutdown().await;
    }
}

fn is_of_one_connection(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
    )
}

impl Shared {
    /// Gives a connection its place. Whoever gets none is closed without a word: words cost what we are short
    /// of.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<(Seated, Via)> {
        self.inside.metrics.accepted();
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let of = (!self.inside.proxies.trusts(peer.ip())).then(|| household(peer.ip()));
        let seat = match self.ledger.seat(of) {
            Ok(seat) => seat,
            Err(crowded) => {
                let why = match crowded {
                    Crowded::All => "too-many-connections",
                    Crowded::Household => "too-many-of-one-address",
                };
                self.refuse(peer, why);
                return None;
            }
        };
        let local = stream.local_addr().and_then(|local| stream.set_nodelay(true).map(|()| local));
        match local {
            Ok(local) => {
                let local = SocketAddr::new(local.ip().to_canonical(), local.port());
                let seated = Seated::new(stream, self.settings.stalled, seat);
                Some((seated, Via { peer, local, tls: false }))
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was gone at once");
                None
            }
        }
    }

    pub(super) fn refuse(&self, peer: SocketAddr, why: &'static str) {
        self.inside.metrics.refused(why);
        if self.settings.log_addresses {
            tracing::debug!(%peer, why, "refused");
        } else {
            tracing::debug!(why, "refused");
        }
    }
}
