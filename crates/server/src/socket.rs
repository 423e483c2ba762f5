//! One WebSocket: a reader and a writer, joined in one task. Whatever ends one of them ends both.

use crate::address::Source;
use crate::hub::Hub;
use crate::intake::{Intake, Verdict};
use crate::outbox::{Closing, Next, Outbox};
use crate::room::SocketId;
use crate::upgrade::WebSocket;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use signaling::{ErrorCode, ServerMessage};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Deadlines of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From the upgrade to hello.
    pub hello_within: Duration,
    /// Between pings.
    pub ping_every: Duration,
    /// After this long without a frame the socket is lost.
    pub silence_most: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            hello_within: Duration::from_secs(10),
            ping_every: Duration::from_secs(5),
            silence_most: Duration::from_secs(15),
        }
    }
}

/// How long one message may take to be taken.
const WRITE_WITHIN: Duration = Duration::from_secs(15);
/// How long a client may take to answer our close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// `from`: whom the limits count it to, and what the client calls this server.
pub(crate) async fn run(
    socket: WebSocket,
    hub: Arc<Hub>,
    (from, host): (Source, Option<Box<str>>),
    timing: Timing,
) {
    let Some((id, outbox)) = hub.open(from, host) else {
        let _counted = hub.turns_away();
        return turn_away(socket).await;
    };
    tracing::debug!(socket = id.0, "opened");
    let (mut sink, mut stream) = socket.split();
    let why = {
        let reading = read(&mut stream, &hub, id, &outbox, timing);
        let writing = write(&mut sink, &outbox, timing.ping_every);
        tokio::pin!(reading, writing);
        tokio::select! {
            why = &mut reading => why,
            why = &mut writing => {
                // Our close is out: read on until the client's, so that it gets all we said.
                if why == "closed by us" && timeout(CLOSE_WITHIN, &mut reading).await.is_err() {
                    tracing::debug!(socket = id.0, "the client does not answer the close");
                }
                why
            }
            () = outbox.given_up() => "it did not read, or its place was given up",
        }
    };
    hub.close(id);
    tracing::debug!(socket = id.0, why, "closed");
}

async fn turn_away(mut socket: WebSocket) {
    let message = ServerMessage::Error {
        code: ErrorCode::ServerFull,
        message: "the server takes no more connections, or no more from your network: try later".into(),
        fatal: true,
    };
    let goodbye = async {
        socket.send(Message::Text(message.to_json().into())).await?;
        socket.send(close_frame(Closing::Policy)).await
    };
    if !matches!(timeout(CLOSE_WITHIN, goodbye).await, Ok(Ok(()))) {
        tracing::debug!("a client went before it heard that the server is full");
    }
}

async fn read(
    stream: &mut SplitStream<WebSocket>,
    hub: &Hub,
    id: SocketId,
    outbox: &Outbox,
    timing: Timing,
) -> &'static str {
    let opened = Instant::now();
    let mut intake = Intake::new(opened);
    let mut heard = opened;
    let mut closing = false;
    loop {
        let silent_at = heard + timing.silence_most;
        let hello_at = opened + timing.hello_within;
        let deadline = if intake.is_greeted() || closing { silent_at } else { hello_at.min(silent_at) };
        let Ok(frame) = timeout_at(deadline.into(), stream.next()).await else {
            if intake.is_greeted() || closing {
                return "nothing came for too long";
            }
            closing = true;
            let message = format!("hello must come within {} s", timing.hello_within.as_secs());
            hub.say(id, fatal(ErrorCode::NotWelcome, message));
            outbox.close(Closing::Policy);
            continue;
        };
        heard = Instant::now();
        // Its end, too, is a sign that it lived until now.
        outbox.hears(heard);
        let verdict = match frame {
            Some(Ok(_)) if closing => continue,
            Some(Ok(Message::Text(text))) => intake.text(&text, heard),
            Some(Ok(Message::Binary(_))) => intake.binary(heard),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => intake.sign_of_life(heard),
            Some(Ok(Message::Close(_))) => return "closed by the client",
            None => return "the connection ended",
            // Not asked for, so not given.
            Some(Ok(Message::Frame(_))) => continue,
            Some(Err(Error::Capacity(_))) if !closing => {
                hub.say(id, fatal(ErrorCode::TooLarge, "a message may have 65536 bytes".into()));
                outbox.close(Closing::TooLarge);
                closing = true;
                continue;
            }
            Some(Err(error)) => {
                tracing::debug!(socket = id.0, %error, "read");
                return "the connection broke";
            }
        };
        match verdict {
            Verdict::Accept(message) => hub.message(id, message),
            Verdict::Drop => {}
            Verdict::Refuse(message) => {
                let ServerMessage::Error { code, fatal, .. } = message else { continue };
                hub.say(id, message);
                if fatal {
                    closing = true;
                    let too_large = code == ErrorCode::TooLarge;
                    outbox.close(if too_large { Closing::TooLarge } else { Closing::Policy });
                }
            }
        }
    }
}

async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    outbox: &Outbox,
    ping_every: Duration,
) -> &'static str {
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + ping_every, ping_every);
    loop {
        let next = tokio::select! {
            next = outbox.next() => next,
            _ = ping.tick() => {
                if let Err(why) = out(sink, Message::Ping(Vec::new().into())).await {
                    return why;
                }
                continue;
            }
        };
        match next {
            Next::Send(message) => {
                if let Err(why) = out(sink, Message::Text(message.to_json().into())).await {
                    return why;
                }
                outbox.sent();
            }
            Next::Close(closing) => {
                return match out(sink, close_frame(closing)).await {
                    Ok(()) => "closed by us",
                    Err(why) => why,
                };
            }
            Next::GiveUp => return "given up",
        }
    }
}

async fn out(sink: &mut SplitSink<WebSocket, Message>, message: Message) -> Result<(), &'static str> {
    match timeout(WRITE_WITHIN, sink.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("the connection broke"),
        Err(_) => Err("it does not read"),
    }
}

fn fatal(code: ErrorCode, message: String) -> ServerMessage {
    ServerMessage::Error { code, message, fatal: true }
}

fn close_frame(closing: Closing) -> Message {
    let code: u16 = match closing {
        Closing::Normal => 1000,
        Closing::Policy => 1008,
        Closing::TooLarge => 1009,
        Closing::Away => 1001,
    };
    Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() }))
}
