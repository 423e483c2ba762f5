//! The rooms behind a lock, and the sockets' outboxes: what a message changes is done at once, by the task
//! that read it. Nothing waits while the lock is held.

use crate::address::Source;
use crate::config::{Config, IceConfig};
use crate::limits::Limits;
use crate::metrics::{self, Exposition, Metrics};
use crate::outbox::{Closing, Full, Outbox};
use crate::room::{Input, Output, Rooms, SocketId};
use signaling::{ClientMessage, ServerMessage};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Connections that are told at the same time that there is no place for them.
/// overflow: they are told nothing.
const TURNED_AWAY: usize = 64;
/// Said of servers whose credentials never end: look again tomorrow.
const A_DAY: u64 = 86_400;

pub(crate) struct Hub {
    inner: Mutex<Inner>,
    turned_away: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// What there is, to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Open WebSockets.
    pub sockets: usize,
    /// Rooms.
    pub rooms: usize,
    /// People in them, those away included.
    pub people: usize,
}

struct Inner {
    rooms: Rooms,
    sockets: HashMap<SocketId, Socket>,
    /// Sockets by address.
    sources: HashMap<Source, usize>,
    limits: Limits,
    ice: IceConfig,
    counted: u64,
    stopping: bool,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
struct Socket {
    outbox: Arc<Outbox>,
    from: Source,
    /// What the client calls this server, without a port.
    host: Option<Box<str>>,
}

impl Hub {
    pub(crate) fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        let limits = config.limits.clone();
        let rooms = Rooms::new(limits.clone(), config.rooms.clone(), rand::random(), Instant::now());
        let inner = Inner {
            rooms,
            sockets: HashMap::new(),
            sources: HashMap::new(),
            limits,
            ice: config.ice.clone(),
            counted: 0,
            stopping: false,
            metrics: metrics.clone(),
        };
        Self { inner: Mutex::new(inner), turned_away: AtomicUsize::new(0), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The rooms hold no invariant across a panic that a later message could trip over.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new socket; none when there are too many, in all or from there.
    pub(crate) fn open(&self, from: Source, host: Option<Box<str>>) -> Option<(SocketId, Arc<Outbox>)> {
        let mut inner = self.lock();
        let theirs = inner.sources.get(&from).copied().unwrap_or(0);
        let full = inner.sockets.len() >= inner.limits.sockets || theirs >= inner.limits.address.sockets;
        if full || inner.stopping {
            self.metrics.refused("too-many-sockets");
            return None;
        }
        inner.counted += 1;
        let (id, outbox) = (SocketId(inner.counted), Arc::new(Outbox::new(Instant::now())));
        inner.sockets.insert(id, Socket { outbox: outbox.clone(), from, host });
        inner.sources.insert(from, theirs + 1);
        Some((id, outbox))
    }

    /// Whether so many are being turned away that one more is not worth a word.
    pub(crate) fn is_flooded(&self) -> bool {
        self.turned_away.load(Ordering::Relaxed) >= TURNED_AWAY
    }

    /// Counts one more that is turned away, for as long as what it gives lives.
    pub(crate) fn turns_away(&self) -> TurnedAway<'_> {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        TurnedAway(&self.turned_away)
    }

    pub(crate) fn message(&self, socket: SocketId, message: ClientMessage) {
        let mut inner = self.lock();
        let input = match message {
            ClientMessage::Hello(hello) => {
                let Some(from) = inner.sockets.get(&socket).map(|socket| socket.from) else { return };
                Input::Hello { socket, from, hello }
            }
            message => Input::Message { socket, message },
        };
        inner.on(input);
    }

    /// Says something to one socket without the rooms.
    pub(crate) fn say(&self, socket: SocketId, message: ServerMessage) {
        self.lock().send(socket, message);
    }

    /// The socket is over.
    pub(crate) fn close(&self, socket: SocketId) {
        let mut inner = self.lock();
        inner.give_up(socket, None);
        let Some(Socket { from, .. }) = inner.sockets.remove(&socket) else { return };
        if let Some(theirs) = inner.sources.get_mut(&from) {
            *theirs -= 1;
            if *theirs == 0 {
                inner.sources.remove(&from);
            }
        }
    }

    pub(crate) fn tick(&self) {
        self.lock().on(Input::Tick);
    }

    /// No more sockets; those there are close.
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        for socket in inner.sockets.values() {
            socket.outbox.close(Closing::Away);
        }
    }

    /// How many sockets are open.
    pub(crate) fn sockets(&self) -> usize {
        self.lock().sockets.len()
    }

    /// What there is now.
    pub(crate) fn figures(&self) -> Figures {
        let inner = self.lock();
        Figures { sockets: inner.sockets.len(), rooms: inner.rooms.len(), people: inner.rooms.participants() }
    }

    /// Whether it still takes sockets.
    pub(crate) fn is_open(&self) -> bool {
        !self.lock().stopping
    }
}

impl metrics::Source for Hub {
    fn write(&self, out: &mut Exposition) {
        let Figures { sockets, rooms, people } = self.figures();
        out.gauge("snug_sockets", "WebSockets that are open", sockets);
        out.gauge("snug_rooms", "Rooms that somebody is in", rooms);
        out.gauge("snug_participants", "People in rooms, those away too", people);
    }
}

/// Counts what is said to a client, where it counts.
fn count(metrics: &Metrics, message: &ServerMessage) {
    match message {
        ServerMessage::Error { code, .. } => {
            // The word of the protocol: "not-open".
            let word = serde_json::to_value(code);
            metrics.refused(word.as_ref().ok().and_then(|word| word.as_str()).unwrap_or("other"));
        }
        ServerMessage::Description { .. }
        | ServerMessage::Candidate { .. }
        | ServerMessage::State { .. }
        | ServerMessage::Chat { .. } => metrics.relayed(),
        _ => {}
    }
}

/// One connection that is being turned away.
pub(crate) struct TurnedAway<'a>(&'a AtomicUsize);

impl Drop for TurnedAway<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    fn on(&mut self, input: Input) {
        let mut outputs = VecDeque::from(self.rooms.on(input, Instant::now()));
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Send { socket, message } => {
                    let message = self.with_servers(socket, message);
                    self.send(socket, message);
                }
                Output::Close { socket, normal } => {
                    if let Some(Socket { outbox, .. }) = self.sockets.get(&socket) {
                        outbox.close(if normal { Closing::Normal } else { Closing::Policy });
                    }
                }
            }
        }
    }

    /// Credentials are made on the way out: only whoever is in a room is ever given any.
    fn with_servers(&self, socket: SocketId, message: ServerMessage) -> ServerMessage {
        let servers = || {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let host = self.sockets.get(&socket).and_then(|socket| socket.host.as_deref());
            self.ice.servers(&format!("snug{}", socket.0), unix.as_secs(), host)
        };
        match message {
            ServerMessage::Welcome(mut welcome) => {
                (welcome.ice_servers, welcome.ice_ttl) = (servers(), self.ice.ttl());
                ServerMessage::Welcome(welcome)
            }
            ServerMessage::Ice { .. } => {
                ServerMessage::Ice { ice_servers: servers(), ttl: self.ice.ttl().unwrap_or(A_DAY) }
            }
            other => other,
        }
    }

    fn send(&mut self, socket: SocketId, message: ServerMessage) {
        let Some(Socket { outbox, .. }) = self.sockets.get(&socket) else { return };
        count(&self.metrics, &message);
        if let Err(Full(message)) = outbox.push(message) {
            tracing::info!(socket = socket.0, "a client does not read: its connection is given up");
            self.give_up(socket, Some(*message));
        }
    }

    /// Tells the rooms that a socket is lost, with what it did not get.
    fn give_up(&mut self, socket: SocketId, last: Option<ServerMessage>) {
        let Some(Socket { outbox, .. }) = self.sockets.get(&socket) else { return };
        let (heard, mut unsent) = (outbox.heard(), outbox.give_up());
        unsent.extend(last);
        self.on(Input::Lost { socket, heard, unsent });
    }
}
