//! What waits to be written to one socket. The hub pushes, the socket's task writes; a message leaves only
//! when it is out, so that whoever resumes gets the rest. It also keeps when the socket was last heard.

use signaling::ServerMessage;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// The most messages that wait, and the most bytes of them, about.
/// overflow: the socket is given up; its participant is away and may resume.
const MOST: usize = 128;
const MOST_BYTES: usize = 1024 * 1024;

/// How a socket is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// As it should end: 1000.
    Normal,
    /// The client broke a rule: 1008.
    Policy,
    /// A message was too large: 1009.
    TooLarge,
    /// The server stops: 1001.
    Away,
}

/// What the socket's task has to do next.
pub(crate) enum Next {
    /// Write this; then call [`Outbox::sent`].
    Send(Arc<ServerMessage>),
    /// Close.
    Close(Closing),
    /// Stop without a close: the socket was given up.
    GiveUp,
}

struct Inner {
    heard: Instant,
    waiting: VecDeque<Arc<ServerMessage>>,
    /// Of what waits.
    bytes: usize,
    closing: Option<Closing>,
    given_up: bool,
}

pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    /// For the writer.
    changed: Notify,
    /// For whoever waits in [`Outbox::given_up`].
    gone: Notify,
}

/// There is no place left for this.
pub(crate) struct Full(pub(crate) Box<ServerMessage>);

impl Outbox {
    /// Of a socket that opens now.
    pub(crate) fn new(now: Instant) -> Self {
        let inner = Inner { heard: now, waiting: VecDeque::new(), bytes: 0, closing: None, given_up: false };
        Self { inner: Mutex::new(inner), changed: Notify::new(), gone: Notify::new() }
    }

    /// A frame came from it.
    pub(crate) fn hears(&self, now: Instant) {
        self.lock().heard = now;
    }

    /// When a frame came from it last.
    pub(crate) fn heard(&self) -> Instant {
        self.lock().heard
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing here can panic half-way, so a poisoned state is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, message: ServerMessage) -> Result<(), Full> {
        let mut inner = self.lock();
        if inner.closing.is_some() || inner.given_up {
            return Ok(());
        }
        let weight = message.weight();
        if inner.waiting.len() >= MOST || inner.bytes + weight > MOST_BYTES {
            return Err(Full(Box::new(message)));
        }
        inner.bytes += weight;
        inner.waiting.push_back(Arc::new(message));
        drop(inner);
        self.changed.notify_one();
        Ok(())
    }

    /// Close when all that waits is out; what is pushed later is dropped.
    pub(crate) fn close(&self, closing: Closing) {
        self.lock().closing.get_or_insert(closing);
        self.changed.notify_one();
    }

    /// Takes all that is not out, and ends the socket's task.
    pub(crate) fn give_up(&self) -> Vec<ServerMessage> {
        let mut inner = self.lock();
        inner.given_up = true;
        let waiting = std::mem::take(&mut inner.waiting);
        inner.bytes = 0;
        drop(inner);
        self.changed.notify_one();
        self.gone.notify_one();
        waiting.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    /// For the one writing task. Cancelling it loses nothing.
    pub(crate) async fn next(&self) -> Next {
        loop {
            let changed = self.changed.notified();
            {
                let inner = self.lock();
                if inner.given_up {
                    return Next::GiveUp;
                }
                if let Some(message) = inner.waiting.front() {
                    return Next::Send(message.clone());
                }
                if let Some(closing) = inner.closing {
                    return Next::Close(closing);
                }
            }
            changed.await;
        }
    }

    /// The message that [`Outbox::next`] gave is out.
    pub(crate) fn sent(&self) {
        let mut inner = self.lock();
        // None: the socket was given up meanwhile.
        let Some(message) = inner.waiting.pop_front() else { return };
        inner.bytes -= message.weight();
        if inner.waiting.is_empty() {
            // After a burst an idle socket keeps no room for the next one.
            inner.waiting = VecDeque::new();
        }
    }

    /// Resolves once the socket was given up: the writer may be stuck in a write and not look.
    pub(crate) async fn given_up(&self) {
        loop {
            let gone = self.gone.notified();
            if self.lock().given_up {
                return;
            }
            gone.await;
        }
    }
}
