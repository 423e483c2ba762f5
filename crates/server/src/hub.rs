//! The rooms behind a lock, and the sockets' outboxes: what a message changes is done at once, by the task
//! that read it. Nothing waits while the lock is held.

use crate::config::IceConfig;
use crate::metrics::{Exposition, Metrics, Source};
use crate::outbox::{Closing, Full, Outbox};
use crate::room::{Input, Limits, Output, Rooms, SocketId};
use signaling::{ClientMessage, ServerMessage};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub(crate) struct Hub {
    inner: Mutex<Inner>,
    ice: IceConfig,
    most_sockets: usize,
    metrics: Arc<Metrics>,
}

struct Inner {
    rooms: Rooms,
    sockets: HashMap<SocketId, Arc<Outbox>>,
    counted: u64,
    stopping: bool,
    metrics: Arc<Metrics>,
}

impl Hub {
    pub(crate) fn new(limits: Limits, most_sockets: usize, ice: IceConfig, metrics: Arc<Metrics>) -> Self {
        let rooms = Rooms::new(limits, rand::random());
        let (sockets, counter) = (HashMap::new(), metrics.clone());
        let inner = Inner { rooms, sockets, counted: 0, stopping: false, metrics: counter };
        Self { inner: Mutex::new(inner), ice, most_sockets, metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The rooms hold no invariant across a panic that a later message could trip over.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new socket; none when there are too many.
    pub(crate) fn open(&self) -> Option<(SocketId, Arc<Outbox>)> {
        let mut inner = self.lock();
        if inner.sockets.len() >= self.most_sockets || inner.stopping {
            self.metrics.refused("too-many-sockets");
            return None;
        }
        inner.counted += 1;
        let (id, outbox) = (SocketId(inner.counted), Arc::new(Outbox::new(Instant::now())));
        inner.sockets.insert(id, outbox.clone());
        Some((id, outbox))
    }

    pub(crate) fn message(&self, socket: SocketId, message: ClientMessage) {
        let input = match message {
            ClientMessage::Hello(hello) => {
                let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let ice_servers = self.ice.servers(&format!("snug{}", socket.0), unix.as_secs());
                Input::Hello { socket, hello, ice_servers }
            }
            ClientMessage::Description { .. }
            | ClientMessage::Candidate { .. }
            | ClientMessage::State { .. }
            | ClientMessage::Chat { .. }
            | ClientMessage::Bye => Input::Message { socket, message },
        };
        self.lock().on(input);
    }

    /// Says something to one socket without the rooms.
    pub(crate) fn say(&self, socket: SocketId, message: ServerMessage) {
        self.lock().send(socket, message);
    }

    /// The socket is over.
    pub(crate) fn close(&self, socket: SocketId) {
        let mut inner = self.lock();
        inner.give_up(socket, None);
        inner.sockets.remove(&socket);
    }

    pub(crate) fn tick(&self) {
        self.lock().on(Input::Tick);
    }

    /// No more sockets; those there are close.
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        for outbox in inner.sockets.values() {
            outbox.close(Closing::Away);
        }
    }

    /// How many sockets are open.
    pub(crate) fn sockets(&self) -> usize {
        self.lock().sockets.len()
    }

    /// Whether it still takes sockets.
    pub(crate) fn is_open(&self) -> bool {
        !self.lock().stopping
    }
}

impl Source for Hub {
    fn write(&self, out: &mut Exposition) {
        let (sockets, rooms, participants) = {
            let inner = self.lock();
            (inner.sockets.len(), inner.rooms.len(), inner.rooms.participants())
        };
        out.gauge("snug_sockets", "WebSockets that are open", sockets);
        out.gauge("snug_rooms", "Rooms that somebody is in", rooms);
        out.gauge("snug_participants", "People in rooms, those away too", participants);
    }
}

/// Counts what is said to a client, where it counts.
fn count(metrics: &Metrics, message: &ServerMessage) {
    match message {
        ServerMessage::Error { code, .. } => {
            // The word of the protocol: "room-full".
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

impl Inner {
    fn on(&mut self, input: Input) {
        let mut outputs = VecDeque::from(self.rooms.on(input, Instant::now()));
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Send { socket, message } => self.send(socket, message),
                Output::Close { socket, normal } => {
                    if let Some(outbox) = self.sockets.get(&socket) {
                        outbox.close(if normal { Closing::Normal } else { Closing::Policy });
                    }
                }
            }
        }
    }

    fn send(&mut self, socket: SocketId, message: ServerMessage) {
        let Some(outbox) = self.sockets.get(&socket) else { return };
        count(&self.metrics, &message);
        if let Err(Full) = outbox.push(message.clone()) {
            tracing::info!(socket = socket.0, "a client does not read: its connection is given up");
            self.give_up(socket, Some(message));
        }
    }

    /// Tells the rooms that a socket is lost, with what it did not get.
    fn give_up(&mut self, socket: SocketId, last: Option<ServerMessage>) {
        let Some(outbox) = self.sockets.get(&socket) else { return };
        let (heard, mut unsent) = (outbox.heard(), outbox.give_up());
        unsent.extend(last);
        self.on(Input::Lost { socket, heard, unsent });
    }
}
