//! The thin driver between [`Session`] and a WebSocket: one task, which opens the socket when told, moves
//! frames between both, and sleeps until the session's deadline.

use crate::connect::{self, WebSocket};
use crate::session::{ClientEvent, Entry, Frame, Input, Output, Session, Trouble};
use crate::{ClientMessage, Name, Password, RoomName, Server};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

/// How long a bye may take to get out and be answered.
const BYE_WITHIN: Duration = Duration::from_millis(500);

/// Who wants into which room of which server.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The server.
    pub server: Server,
    /// The room.
    pub room: RoomName,
    /// How the others see us.
    pub name: Name,
    /// The microphone is on.
    pub audio: bool,
    /// The camera is on.
    pub video: bool,
    /// The room's password; empty when we know of none.
    pub password: Password,
}

/// A place in a room, kept until it is dropped, [`Client::bye`] is said, or [`ClientEvent::Failed`] or
/// [`ClientEvent::NoEntry`] comes.
/// Dropping it breaks the connection without a bye: the others then see us as away for a while.
#[derive(Debug)]
pub struct Client {
    messages: mpsc::Sender<ClientMessage>,
    buttons: watch::Sender<(bool, bool)>,
    probe: Arc<Notify>,
    renew: Arc<Notify>,
    leave: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// The client takes no more messages: 512 wait to be taken, or it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signaling client takes no more messages")]
pub struct Full;

impl Client {
    /// Starts to join, and goes on trying. Must be called within a tokio runtime; spawns one task.
    /// overflow: while `events` is full nothing is read from the server, which in the end drops a connection
    /// that does not read; the place is resumed later.
    pub fn connect(request: JoinRequest, events: mpsc::Sender<ClientEvent>) -> Self {
        let JoinRequest { server, room, name, audio, video, password } = request;
        // overflow: the message is refused with `Full`.
        let (messages, messages_rx) = mpsc::channel(512);
        let (buttons, buttons_rx) = watch::channel((audio, video));
        let (leave, leave_rx) = oneshot::channel();
        let entry = Entry { room, name, audio, video, password };
        let session = Session::new(entry, server.base(), rand::random(), Instant::now());
        let (probe, renew) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let pending = VecDeque::new();
        let driver = Driver {
            session,
            server,
            wire: Wire::None,
            events,
            pending,
            probe: probe.clone(),
            renew: renew.clone(),
        };
        let task = tokio::spawn(driver.run(messages_rx, buttons_rx, leave_rx));
        Self { messages, buttons, probe, renew, leave: Some(leave), task }
    }

    /// Says something; never waits. While there is no connection it is kept (the latest 256 messages, of
    /// which candidates go first) and said after the resume. For the buttons use [`Client::set_state`].
    pub fn send(&self, message: ClientMessage) -> Result<(), Full> {
        self.messages.try_send(message).map_err(|_| Full)
    }

    /// Our buttons: said now if they changed, and again with every hello. Only the latest counts.
    pub fn set_state(&self, audio: bool, video: bool) {
        self.buttons.send_replace((audio, video));
    }

    /// Our addresses changed: asks the server for a sign of life, and when none comes within 2 s takes the
    /// place back over a new connection. A try that waits is made at once.
    pub fn probe(&self) {
        self.probe.notify_one();
    }

    /// The address that our connection came from is gone: takes the place back over a new one at once.
    pub fn reconnect(&self) {
        self.renew.notify_one();
    }

    /// Leaves: says bye and waits for the server's close, half a second at most.
    pub async fn bye(mut self) {
        if let Some(leave) = self.leave.take() {
            // The task may have ended by itself; then there is nobody to say bye to.
            let _ = leave.send(());
        }
        if tokio::time::timeout(BYE_WITHIN, &mut self.task).await.is_err() {
            tracing::debug!("the server did not answer our bye");
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The connection as far as it is.
enum Wire {
    None,
    Opening(Pin<Box<dyn Future<Output = Result<WebSocket, Trouble>> + Send>>),
    Open { socket: Box<WebSocket>, dirty: bool },
}

struct Driver {
    session: Session,
    server: Server,
    wire: Wire,
    events: mpsc::Sender<ClientEvent>,
    /// Events that the engine has not taken. While there are some nothing is read, so they are few.
    pending: VecDeque<ClientEvent>,
    probe: Arc<Notify>,
    renew: Arc<Notify>,
}

impl Driver {
    async fn run(
        mut self,
        mut messages: mpsc::Receiver<ClientMessage>,
        mut buttons: watch::Receiver<(bool, bool)>,
        mut leave: oneshot::Receiver<()>,
    ) {
        let mut left = false;
        while !self.session.is_ended() {
            let now = Instant::now();
            let deadline = self.session.deadline(now).unwrap_or(now).into();
            let Self { session, wire, events, pending, probe, renew, .. } = &mut self;
            let may_read = pending.is_empty();
            let input = tokio::select! {
                biased;
                _ = &mut leave => {
                    left = true;
                    Input::Bye
                }
                permit = events.reserve(), if !pending.is_empty() => match (permit, pending.pop_front()) {
                    (Ok(permit), Some(event)) => {
                        permit.send(event);
                        continue;
                    }
                    // Nobody listens any more: leave.
                    (Err(_), _) | (_, None) => Input::Bye,
                },
                Ok(()) = buttons.changed() => {
                    let (audio, video) = *buttons.borrow_and_update();
                    Input::State { audio, video }
                }
                () = probe.notified() => Input::Probe,
                () = renew.notified() => Input::Reconnect,
                Some(message) = messages.recv() => Input::Send(message),
                input = poll_fn(|cx| wire.poll(session, may_read, cx)) => input,
                () = tokio::time::sleep_until(deadline) => Input::Tick,
            };
            self.take(input);
        }
        self.finish(left).await;
    }

    fn take(&mut self, input: Input) {
        for output in self.session.on(input, Instant::now()) {
            match output {
                Output::Open => self.wire = Wire::Opening(Box::pin(connect::open(self.server.clone()))),
                Output::Drop => self.wire = Wire::None,
                Output::Event(event) => self.pending.push_back(event),
                // `Session::is_ended` ends the loop.
                Output::End => {}
            }
        }
    }

    async fn finish(mut self, left: bool) {
        if let Wire::Open { mut socket, .. } = self.wire {
            let goodbye = async {
                while let Some(frame) = self.session.next_frame(Instant::now()) {
                    socket.send(frame.into()).await?;
                }
                socket.flush().await?;
                // The server closes after bye; reading on lets it do so.
                while socket.next().await.transpose()?.is_some() {}
                Ok::<_, tokio_tungstenite::tungstenite::Error>(())
            };
            match tokio::time::timeout(BYE_WITHIN, goodbye).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the connection broke during our bye"),
                Err(_) => tracing::debug!("no close from the server after our bye"),
            }
        }
        if !left {
            for event in self.pending {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Wire {
    /// Moves what can be moved: frames out, then one thing that happened in.
    fn poll(&mut self, session: &mut Session, may_read: bool, cx: &mut Context<'_>) -> Poll<Input> {
        let input = match self {
            Self::None => return Poll::Pending,
            Self::Opening(opening) => match opening.as_mut().poll(cx) {
                Poll::Ready(Ok(socket)) => {
                    *self = Self::Open { socket: Box::new(socket), dirty: false };
                    return Poll::Ready(Input::Opened);
                }
                Poll::Ready(Err(trouble)) => Input::Lost(trouble),
                Poll::Pending => return Poll::Pending,
            },
            Self::Open { socket, dirty } => match poll_open(socket, dirty, session, may_read, cx) {
                Poll::Ready(input) => input,
                Poll::Pending => return Poll::Pending,
            },
        };
        if matches!(input, Input::Lost(_)) {
            *self = Self::None;
        }
        Poll::Ready(input)
    }
}

fn poll_open(
    socket: &mut WebSocket,
    dirty: &mut bool,
    session: &mut Session,
    may_read: bool,
    cx: &mut Context<'_>,
) -> Poll<Input> {
    let mut socket = Pin::new(socket);
    loop {
        match socket.as_mut().poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Input::Lost(connect::broken(&error))),
            Poll::Pending => break,
        }
        let Some(frame) = session.next_frame(Instant::now()) else { break };
        *dirty = true;
        if let Err(error) = socket.as_mut().start_send(frame.into()) {
            return Poll::Ready(Input::Lost(connect::broken(&error)));
        }
    }
    if *dirty {
        match socket.as_mut().poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                *dirty = false;
                return Poll::Ready(Input::Flushed);
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Input::Lost(connect::broken(&error))),
            Poll::Pending => {}
        }
    }
    if !may_read {
        return Poll::Pending;
    }
    socket.poll_next(cx).map(|frame| match frame {
        Some(Ok(Message::Text(text))) => Input::Text(text.as_str().to_owned()),
        Some(Ok(Message::Close(frame))) => Input::Lost(connect::closed(frame.as_ref())),
        Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
            Input::Heard
        }
        Some(Err(error)) => Input::Lost(connect::broken(&error)),
        None => Input::Lost(connect::closed(None)),
    })
}

impl From<Frame> for Message {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Text(text) => Self::Text(text.into()),
            Frame::Ping => Self::Ping(Vec::new().into()),
        }
    }
}
