//! The rooms behind a lock, and the sockets' outboxes: what a message changes is done at once, by the task
//! that read it. Nothing waits while the lock is held.

use crate::config::IceConfig;
use crate::outbox::{Closing, Full, Outbox};
use crate::room::{Input, Limits, Output, Rooms, SocketId};
use signaling::{ClientMessage, IceServer, ServerMessage};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub(crate) struct Hub {
    inner: Mutex<Inner>,
    most_sockets: usize,
}

struct Inner {
    ice: IceConfig,
    rooms: Rooms,
    sockets: HashMap<SocketId, Arc<Outbox>>,
    counted: u64,
    stopping: bool,
}

impl Hub {
    pub(crate) fn new(limits: Limits, most_sockets: usize, ice: IceConfig) -> Self {
        let rooms = Rooms::new(limits, rand::random());
        let inner = Inner { ice, rooms, sockets: HashMap::new(), counted: 0, stopping: false };
        Self { inner: Mutex::new(inner), most_sockets }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The rooms hold no invariant across a panic that a later message could trip over.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new socket; none when there are too many.
    pub(crate) fn open(&self) -> Option<(SocketId, Arc<Outbox>)> {
        let mut inner = self.lock();
        if inner.sockets.len() >= self.most_sockets || inner.stopping {
            return None;
        }
        inner.counted += 1;
        let (id, outbox) = (SocketId(inner.counted), Arc::new(Outbox::new(Instant::now())));
        inner.sockets.insert(id, outbox.clone());
        Some((id, outbox))
    }

    pub(crate) fn message(&self, socket: SocketId, message: ClientMessage) {
        let mut inner = self.lock();
        let input = match message {
            ClientMessage::Hello(hello) => {
                let ice_servers = inner.ice_servers(socket);
                Input::Hello { socket, hello, ice_servers }
            }
            ClientMessage::Description { .. }
            | ClientMessage::Candidate { .. }
            | ClientMessage::State { .. }
            | ClientMessage::Chat { .. }
            | ClientMessage::Ice
            | ClientMessage::Bye => Input::Message { socket, message },
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

    fn ice_servers(&self, socket: SocketId) -> Vec<IceServer> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.ice.servers(&format!("snug{}", socket.0), unix.as_secs())
    }

    fn send(&mut self, socket: SocketId, mut message: ServerMessage) {
        if let ServerMessage::Ice { ice_servers, ttl } = &mut message {
            *ice_servers = self.ice_servers(socket);
            *ttl = self.ice.turn.as_ref().map_or(24 * 3600, |turn| turn.ttl);
        }
        let Some(outbox) = self.sockets.get(&socket) else { return };
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
