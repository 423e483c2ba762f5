//! A TURN server tried as a call uses it: two connections in this program that may go by it alone.

use super::Finding;
use peer::{ConnectionState, IceServer, Peer, PeerConfig, PeerEvent};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(8);

/// What one end told, in order.
enum Told {
    Candidate,
    Connected,
}

/// An allocation for each of two ends, and their handshake through both.
pub(super) async fn look(url: &str, server: &signaling::IceServer) -> Finding {
    let server = IceServer {
        urls: vec![url.to_owned()],
        username: server.username.clone().unwrap_or_default(),
        credential: server.credential.clone().unwrap_or_default(),
    };
    let config = PeerConfig {
        ice_servers: vec![server],
        relay_only: true,
        certificates: signaling::own_certificates(),
        ..PeerConfig::default()
    };
    // overflow: the connection waits until it is read.
    let (told, mut heard) = mpsc::channel(64);
    let began = Instant::now();
    let (mut candidates, mut connected) = (0, 0);
    let ends = match both(&config, &told) {
        Ok(ends) => ends,
        Err(error) => return Finding::failed("turn", format!("{url}: {error}"), "try again"),
    };
    let watching = async {
        while let Some(told) = heard.recv().await {
            match told {
                Told::Candidate => candidates += 1,
                Told::Connected => connected += 1,
            }
            if connected == 2 {
                return;
            }
        }
    };
    let over = tokio::time::timeout(PATIENCE, watching).await;
    let took = began.elapsed().as_millis();
    for end in ends {
        end.close().await;
    }
    if over.is_ok() {
        return Finding::ok("turn", format!("{url}: packets go through the relay ({took} ms to connect)"));
    }
    if candidates > 0 {
        let advice = "the server may not let the relay reach itself, which is fine, or its relay ports \
                      (UDP 49152 to 65535) may be shut in its firewall, which is not";
        return Finding::warning(
            "turn",
            format!("{url}: gives an allocation, but nothing comes back"),
            advice,
        );
    }
    let advice = "this network may not let that out, or nothing listens there; with turns: its certificate may not \
                  be valid; or it refuses the credentials: do the clock and the secret agree on both sides?";
    Finding::warning("turn", format!("{url}: no allocation within {} s", PATIENCE.as_secs()), advice)
}

fn both(config: &PeerConfig, told: &mpsc::Sender<Told>) -> Result<[Arc<Peer>; 2], peer::PeerError> {
    let end = |polite| {
        let (events, reports) = mpsc::channel(64);
        let peer = Peer::new(PeerConfig { polite, ..config.clone() }, events, Arc::new(|_, _| {}))?;
        Ok((Arc::new(peer), reports))
    };
    let ((one, from_one), (two, from_two)) = (end(false)?, end(true)?);
    tokio::spawn(carry(from_one, Arc::downgrade(&two), told.clone()));
    tokio::spawn(carry(from_two, Arc::downgrade(&one), told.clone()));
    one.negotiate()?;
    Ok([one, two])
}

/// Signaling between the two. Ends with its connection.
async fn carry(mut from: mpsc::Receiver<PeerEvent>, to: std::sync::Weak<Peer>, told: mpsc::Sender<Told>) {
    while let Some(event) = from.recv().await {
        let Some(to) = to.upgrade() else { return };
        let (handed, news) = match event {
            PeerEvent::Description(description) => (to.remote_description(description), None),
            PeerEvent::Candidate(Some(candidate)) => {
                (to.remote_candidate(Some(candidate)), Some(Told::Candidate))
            }
            PeerEvent::State(ConnectionState::Connected) => (Ok(()), Some(Told::Connected)),
            _ => (Ok(()), None),
        };
        if let Err(error) = handed {
            tracing::debug!(%error, "the test of a relay");
        }
        if let Some(news) = news
            && told.send(news).await.is_err()
        {
            return;
        }
    }
}
