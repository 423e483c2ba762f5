//! Two peers in one process, joined by a signaling that delivers everything in order.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and a test may fail anywhere"
)]

use bytes::Bytes;
use peer::{ConnectionState, Encoded, Full, Kind, Peer, PeerConfig, PeerEvent, RtpIn, SourceWriter};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// No test takes longer.
pub const LONG: Duration = Duration::from_secs(20);

/// Everything that a peer told and received, and whoever waits for more.
#[derive(Default)]
pub struct Seen {
    pub rtp: Mutex<Vec<(Kind, RtpIn)>>,
    pub events: Mutex<Vec<PeerEvent>>,
    changed: Notify,
}

impl Seen {
    pub fn rtp_of(&self, kind: Kind) -> Vec<RtpIn> {
        let all = self.rtp.lock().unwrap();
        all.iter().filter(|(of, _)| *of == kind).map(|(_, packet)| packet.clone()).collect()
    }

    pub fn count(&self, wanted: impl Fn(&PeerEvent) -> bool) -> usize {
        self.events.lock().unwrap().iter().filter(|event| wanted(event)).count()
    }

    pub fn descriptions(&self) -> usize {
        self.count(|event| matches!(event, PeerEvent::Description(_)))
    }

    pub fn keyframe_requests(&self) -> usize {
        self.count(|event| *event == PeerEvent::KeyframeRequested)
    }

    /// Waits until what was seen is enough.
    pub async fn until(&self, what: &str, enough: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if enough(self) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(LONG, waiting).await.is_err() {
            panic!("no {what} within {LONG:?}; events: {:?}", self.events.lock().unwrap());
        }
    }
}

pub struct Side {
    pub peer: Arc<Peer>,
    pub seen: Arc<Seen>,
    pub events: Option<mpsc::Receiver<PeerEvent>>,
}

pub fn side(polite: bool) -> Side {
    side_with(PeerConfig { polite, ..Default::default() })
}

pub fn side_with(config: PeerConfig) -> Side {
    let seen = Arc::new(Seen::default());
    let (sender, events) = mpsc::channel(64);
    let sink = seen.clone();
    let on_rtp = Arc::new(move |kind: Kind, packet: RtpIn| {
        sink.rtp.lock().unwrap().push((kind, packet));
        sink.changed.notify_one();
    });
    let peer = Arc::new(Peer::new(config, sender, on_rtp).unwrap());
    Side { peer, seen, events: Some(events) }
}

/// Notes events, and passes on what is for the other side.
pub fn deliver(mut from: mpsc::Receiver<PeerEvent>, seen: Arc<Seen>, to: Arc<Peer>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(event) = from.recv().await {
            seen.events.lock().unwrap().push(event.clone());
            let delivered = match event {
                PeerEvent::Description(description) => to.remote_description(description),
                PeerEvent::Candidate(candidate) => to.remote_candidate(candidate),
                _ => Ok(()),
            };
            if delivered.is_err() {
                return;
            }
            seen.changed.notify_one();
        }
    })
}

pub struct Pair {
    pub a: Side,
    pub b: Side,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Pair {
    /// `a` is impolite.
    pub fn new() -> Self {
        Self::with(&PeerConfig::default())
    }

    /// `a` is impolite, all else is as given.
    pub fn with(config: &PeerConfig) -> Self {
        let [mut a, mut b] = [false, true].map(|polite| side_with(PeerConfig { polite, ..config.clone() }));
        let there = deliver(a.events.take().unwrap(), a.seen.clone(), b.peer.clone());
        let back = deliver(b.events.take().unwrap(), b.seen.clone(), a.peer.clone());
        Self { a, b, tasks: vec![there, back] }
    }

    pub async fn connected(&self) {
        for side in [&self.a, &self.b] {
            side.seen
                .until("connection", |seen| {
                    seen.count(|event| *event == PeerEvent::State(ConnectionState::Connected)) > 0
                })
                .await;
        }
    }

    pub async fn call() -> Self {
        let pair = Self::new();
        pair.a.peer.negotiate().unwrap();
        pair.connected().await;
        pair
    }
}

pub fn frame(bytes: usize, timestamp: u32, key: bool) -> Encoded {
    let mut data = vec![0x5a; bytes.max(1)];
    data[0] = u8::from(!key);
    Encoded { data: Bytes::from(data), timestamp, key, marker: false, captured: Instant::now() }
}

/// Writes frames in real time (video 25 a second and sound 50), from now until stopped.
pub struct Stream {
    task: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn stream(writer: SourceWriter, bytes: usize, base: u32) -> Stream {
    let every = if writer.kind() == Kind::Video { 40 } else { 20 };
    let ticks = writer.kind().clock_rate() / 1000 * every;
    let task = tokio::spawn(async move {
        let mut clock = tokio::time::interval(Duration::from_millis(u64::from(every)));
        let mut n = 0_u32;
        while !writer.is_closed() {
            clock.tick().await;
            let key = n.is_multiple_of(5);
            let timestamp = base.wrapping_add(n.wrapping_mul(ticks));
            match writer.write(frame(bytes, timestamp, key)) {
                Ok(()) | Err(Full) => n += 1,
            }
        }
    });
    Stream { task }
}
