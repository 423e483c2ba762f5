//! Clients by TCP and TLS: one connection each, frames cut out of a stream.

use crate::net::household;
use crate::turn::engine::Engine;
use crate::turn::sink::{Outgoing, Sink};
use crate::turn::state::{Client, Transport};
use crate::turn::wire::{self, MAX_FRAME};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long a connection may be without an allocation, whatever it sends.
const IDLE: Duration = Duration::from_secs(30);

/// Read at once before there was a whole frame: whoever says nothing sensible is to cost little.
const FIRST: usize = 256;
/// What is read at once.
const READ: usize = 4096;

/// How long the last answers may take when the client has said all it has.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Streams {
    most: usize,
    most_of_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of_address: HashMap<IpAddr, usize>,
    ever: u64,
}

/// A connection's place; given back when dropped.
pub(crate) struct Seat {
    streams: Arc<Streams>,
    address: IpAddr,
    number: u64,
}

impl Streams {
    pub(crate) fn new(most: usize, most_of_address: usize) -> Self {
        Self { most, most_of_address, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.lock().all
    }

    fn enter(self: &Arc<Self>, remote: IpAddr) -> Option<Seat> {
        let address = household(remote);
        let mut open = self.lock();
        let of_address = open.of_address.get(&address).copied().unwrap_or(0);
        // overflow: the connection is closed.
        if open.all >= self.most || of_address >= self.most_of_address {
            return None;
        }
        open.all += 1;
        open.ever += 1;
        open.of_address.insert(address, of_address + 1);
        Some(Seat { streams: self.clone(), address, number: open.ever })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        open.all -= 1;
        if let Some(count) = open.of_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.of_address.remove(&self.address);
            }
        }
    }
}

/// Ends what the client holds when its connection does, however that ends.
struct Holding<'a> {
    engine: &'a Engine,
    client: Client,
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.engine.state().remove(&self.client);
    }
}

/// Serves one connection until it ends, the server does, or the client has nothing to do here.
pub(crate) async fn serve(
    engine: Arc<Engine>,
    streams: Arc<Streams>,
    mut stopped: watch::Receiver<bool>,
    io: impl AsyncRead + AsyncWrite + Send + 'static,
    [remote, local]: [SocketAddr; 2],
    over: Transport,
) {
    let Some(seat) = streams.enter(remote.ip()) else {
        tracing::debug!(client = %remote, "too many connections");
        return;
    };
    let client = Client { remote, local, over, stream: seat.number };
    let holding = Holding { engine: &engine, client };
    let out = Arc::new(Outgoing::default());
    let sink = Sink::Stream(out.clone());
    let (reader, writer) = tokio::io::split(io);
    let reading = read(&engine, &client, &sink, reader);
    let writing = out.write(writer);
    tokio::pin!(reading, writing);
    let stopping = async { drop(stopped.wait_for(|stopped| *stopped).await) };
    let (why, has_last_words) = tokio::select! {
        why = &mut reading => (why, true),
        _ = &mut writing => ("it cannot be written to", false),
        () = stopping => ("the server stops", false),
    };
    drop(holding);
    if has_last_words {
        out.close();
        // Whether they arrive or not, the connection is over.
        let _ = timeout(LAST_WORDS, &mut writing).await;
    }
    tracing::debug!(client = %remote, why, "a connection ends");
}

/// Reads frames until there are no more, and says why.
async fn read(
    engine: &Arc<Engine>,
    client: &Client,
    sink: &Sink,
    mut from: impl AsyncRead + Unpin,
) -> &'static str {
    let mut held: Vec<u8> = Vec::new();
    let mut most = FIRST;
    let mut idle_since = Instant::now();
    loop {
        let left = IDLE.saturating_sub(idle_since.elapsed()).max(Duration::from_millis(1));
        held.reserve(most.min(MAX_FRAME - held.len().min(MAX_FRAME)).max(1));
        match timeout(left, from.read_buf(&mut held)).await {
            Ok(Ok(0)) => return "the client closed it",
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(_)) => return "it cannot be read",
        }
        let mut at = 0;
        loop {
            match wire::stream(&held[at..]) {
                Ok(Some((frame, length))) => {
                    engine.frame(client, sink, frame);
                    at += length;
                    most = READ;
                }
                Ok(None) => break,
                Err(_) => return "it is neither STUN nor ChannelData",
            }
        }
        held.drain(..at);
        if idle_since.elapsed() >= IDLE {
            // A client that holds something may be silent, or send a byte at a time.
            if !engine.state().holds(client) {
                return "it did nothing for too long";
            }
            idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_by_address() {
        let streams = Arc::new(Streams::new(3, 2));
        let [a, b, c]: [IpAddr; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|ip| ip.parse().unwrap());
        let first = streams.enter(a).unwrap();
        let second = streams.enter(a).unwrap();
        assert!(streams.enter(a).is_none(), "two of one address");
        let third = streams.enter(b).unwrap();
        assert!(streams.enter(c).is_none(), "three in all");
        assert_eq!([first.number, second.number, third.number], [1, 2, 3]);
        drop(first);
        assert_eq!(streams.enter(c).unwrap().number, 4);
        drop((second, third));
        assert_eq!((streams.count(), streams.lock().of_address.len()), (0, 0));
    }
}
