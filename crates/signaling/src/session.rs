//! One participant's connection to the server as a pure state machine: what happened and when goes in, what
//! to do comes out. `socket` drives it.
//!
//! A session is closed (waiting for the next try), opening (TCP, TLS, upgrade), greeting (hello said), knocking
//! (the host is asked) or live (welcomed); `bye` or a failure that trying again cannot mend ends it.

use crate::message::{ErrorCode, Hello, ParseError, Password, ServerMessage, VERSION, Welcome};
use crate::outgoing::Outgoing;
use crate::{ClientMessage, Name, RoomName};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

/// The wait before the first new try.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// The longest wait between tries.
pub const BACKOFF_MOST: Duration = Duration::from_secs(8);
/// How long the upgrade, and then the welcome, may take.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often we ping.
pub const PING_EVERY: Duration = Duration::from_secs(3);
/// After this long without a word from the server its socket is dead.
pub const SILENCE_MOST: Duration = Duration::from_secs(9);
/// How long the server may take to answer when there is a reason to doubt the connection.
pub const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// Whoever was never in the room is told after this long that it does not work.
pub const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// A connection that lasted this long starts the backoff anew.
const STEADY: Duration = Duration::from_secs(5);

/// Who wants to be where.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The room.
    pub room: RoomName,
    /// How the others see us.
    pub name: Name,
    /// The microphone is on.
    pub audio: bool,
    /// The camera is on.
    pub video: bool,
    /// The room's password, as far as we know it.
    pub password: Password,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Time passed.
    Tick,
    /// The WebSocket is open.
    Opened,
    /// A text frame came.
    Text(String),
    /// Any other frame came, a pong for one.
    Heard,
    /// The connection could not be made, or is over.
    Lost(Trouble),
    /// All frames given out are written.
    Flushed,
    /// The engine wants this said.
    Send(ClientMessage),
    /// Our buttons.
    State {
        /// The microphone is on.
        audio: bool,
        /// The camera is on.
        video: bool,
    },
    /// Our addresses changed: the connection may be dead without knowing.
    Probe,
    /// The address that the connection came from is gone.
    Reconnect,
    /// We leave.
    Bye,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened and what to do, for people.
    pub message: String,
    /// Another try will not help somebody who never got in: a wrong address, not a Snug server.
    pub permanent: bool,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Open the WebSocket.
    Open,
    /// Drop the WebSocket, or the try to open it.
    Drop,
    /// Tell the engine.
    Event(ClientEvent),
    /// It is over. Write what there is, close, stop.
    End,
}

/// A frame to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text frame.
    Text(String),
    /// A ping.
    Ping,
}

/// What the engine hears of its place in the room.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// We are in. With `resumed` false everything starts afresh: peer connections of before are void.
    Welcome(Welcome),
    /// The server says something (not a welcome). A fatal error comes as `Failed` or `Disconnected` instead.
    Message(ServerMessage),
    /// No connection to the server; the next try follows by itself. Media goes on.
    Disconnected {
        /// What happened, for people.
        why: String,
        /// When the next try begins.
        retry_in: Duration,
    },
    /// The room cannot be entered so: full, shut or not open. It is over, until a person tries otherwise.
    NoEntry {
        /// What may be the matter and what to do.
        message: String,
    },
    /// It is over, and trying again will not help.
    Failed {
        /// What happened and what to do.
        message: String,
    },
}

#[derive(Debug, PartialEq)]
enum State {
    Closed { until: Instant },
    Opening { since: Instant },
    Greeting { since: Instant },
    Knocking,
    Live { since: Instant },
    Ended,
}

/// The machine. It starts closed, with its first try due at once.
#[derive(Debug)]
pub struct Session {
    entry: Entry,
    address: String,
    state: State,
    born: Instant,
    welcomed: bool,
    resume: Option<String>,
    tries: u32,
    heard: Instant,
    pinged: Instant,
    /// Until then the server must be heard: it was probed.
    answer_by: Option<Instant>,
    urgent: Vec<Frame>,
    outgoing: Outgoing,
    jitter: StdRng,
}

impl Session {
    /// A session that wants to be in a room. `address` is the server's, for error texts; the seed makes the
    /// backoff's jitter.
    pub fn new(entry: Entry, address: String, seed: u64, now: Instant) -> Self {
        Self {
            entry,
            address,
            state: State::Closed { until: now },
            born: now,
            welcomed: false,
            resume: None,
            tries: 0,
            heard: now,
            pinged: now,
            answer_by: None,
            urgent: Vec::new(),
            outgoing: Outgoing::new(now),
            jitter: StdRng::seed_from_u64(seed),
        }
    }

    /// Takes what happened; gives what to do, in order.
    pub fn on(&mut self, input: Input, now: Instant) -> Vec<Output> {
        if self.state == State::Ended {
            return Vec::new();
        }
        match input {
            Input::Tick => self.tick(now),
            Input::Opened => self.opened(now),
            Input::Text(text) => {
                self.hears(now);
                self.text(&text, now)
            }
            Input::Heard => {
                self.hears(now);
                Vec::new()
            }
            Input::Lost(trouble) => self.lost(trouble, now),
            Input::Flushed => {
                self.outgoing.flushed();
                Vec::new()
            }
            Input::Send(message) => {
                self.send(message);
                Vec::new()
            }
            Input::State { audio, video } => {
                self.set_state(audio, video);
                Vec::new()
            }
            Input::Probe => {
                self.probe(now);
                Vec::new()
            }
            Input::Reconnect => self.reconnect(now),
            Input::Bye => self.bye(),
        }
    }

    fn send(&mut self, message: ClientMessage) {
        match message {
            ClientMessage::State { audio, video } => return self.set_state(audio, video),
            // Should our place be lost, we come back as anybody.
            ClientMessage::Door { password: Some(ref password), .. } => {
                self.entry.password = password.clone();
            }
            _ => {}
        }
        self.outgoing.push(message);
    }

    fn reconnect(&mut self, now: Instant) -> Vec<Output> {
        self.tries = 0;
        if let State::Closed { until } = &mut self.state {
            *until = now;
            return Vec::new();
        }
        let message = "this computer is in another network now".into();
        self.give_up_socket(Trouble { message, permanent: false }, now)
    }

    fn hears(&mut self, now: Instant) {
        self.heard = now;
        self.answer_by = None;
    }

    fn probe(&mut self, now: Instant) {
        match &mut self.state {
            // No need to wait for the next try.
            State::Closed { until } => *until = now.min(*until),
            State::Greeting { .. } | State::Knocking | State::Live { .. } => {
                self.pinged = now;
                self.urgent.push(Frame::Ping);
                self.answer_by.get_or_insert(now + PROBE_WITHIN);
            }
            State::Opening { .. } | State::Ended => {}
        }
    }

    /// The next frame to write into the open WebSocket; none when nothing may be written now.
    pub fn next_frame(&mut self, now: Instant) -> Option<Frame> {
        if !self.urgent.is_empty() {
            return Some(self.urgent.remove(0));
        }
        match self.state {
            State::Live { .. } => self.outgoing.next(now).map(|m| Frame::Text(m.to_json())),
            State::Closed { .. }
            | State::Opening { .. }
            | State::Greeting { .. }
            | State::Knocking
            | State::Ended => None,
        }
    }

    /// When [`Input::Tick`], or another look at [`Session::next_frame`], is due.
    pub fn deadline(&mut self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Closed { until } => Some(until),
            State::Opening { since } => Some(since + ANSWER_WITHIN),
            State::Greeting { since } => Some((since + ANSWER_WITHIN).min(self.keepalive_at())),
            // The server says when the wait is over.
            State::Knocking => Some(self.keepalive_at()),
            State::Live { .. } => {
                let at = self.keepalive_at();
                Some(self.outgoing.ready_at(now).map_or(at, |ready| ready.min(at)))
            }
            State::Ended => None,
        }
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    fn keepalive_at(&self) -> Instant {
        (self.pinged + PING_EVERY).min(self.dead_at())
    }

    /// When the socket counts as dead unless the server is heard.
    fn dead_at(&self) -> Instant {
        let silent = self.heard + SILENCE_MOST;
        self.answer_by.map_or(silent, |by| by.min(silent))
    }

    fn set_state(&mut self, audio: bool, video: bool) {
        if (audio, video) == (self.entry.audio, self.entry.video) {
            return;
        }
        (self.entry.audio, self.entry.video) = (audio, video);
        match self.state {
            // Hello has been said with the old state.
            State::Greeting { .. } | State::Knocking | State::Live { .. } => {
                self.outgoing.set_state(audio, video);
            }
            // Hello will say it.
            State::Closed { .. } | State::Opening { .. } | State::Ended => {}
        }
    }

    fn tick(&mut self, now: Instant) -> Vec<Output> {
        match self.state {
            State::Closed { until } if now >= until => {
                self.state = State::Opening { since: now };
                vec![Output::Open]
            }
            State::Opening { since } | State::Greeting { since } if now >= since + ANSWER_WITHIN => {
                let message =
                    format!("{} does not answer: check the address and the network connection", self.address);
                self.give_up_socket(Trouble { message, permanent: false }, now)
            }
            State::Greeting { .. } | State::Knocking | State::Live { .. } => self.keepalive(now),
            State::Closed { .. } | State::Opening { .. } | State::Ended => Vec::new(),
        }
    }

    fn keepalive(&mut self, now: Instant) -> Vec<Output> {
        if now >= self.dead_at() {
            let message = format!("{} has stopped answering", self.address);
            return self.give_up_socket(Trouble { message, permanent: false }, now);
        }
        if now >= self.pinged + PING_EVERY {
            self.pinged = now;
            self.urgent.push(Frame::Ping);
        }
        Vec::new()
    }

    fn opened(&mut self, now: Instant) -> Vec<Output> {
        self.state = State::Greeting { since: now };
        (self.heard, self.pinged, self.answer_by) = (now, now, None);
        self.outgoing.restart(now);
        let hello = ClientMessage::Hello(Hello {
            v: VERSION,
            room: self.entry.room.as_str().into(),
            name: self.entry.name.as_str().into(),
            audio: self.entry.audio,
            video: self.entry.video,
            resume: self.resume.clone(),
            password: self.entry.password.clone().given(),
            knock: Some(true),
        });
        self.urgent = vec![Frame::Text(hello.to_json())];
        Vec::new()
    }

    fn text(&mut self, text: &str, now: Instant) -> Vec<Output> {
        match (ServerMessage::parse(text), &self.state) {
            (Ok(ServerMessage::Welcome(welcome)), State::Greeting { .. } | State::Knocking) => {
                self.welcome(welcome, now)
            }
            (Ok(message @ ServerMessage::Waiting { .. }), State::Greeting { .. }) => {
                self.state = State::Knocking;
                vec![Output::Event(ClientEvent::Message(message))]
            }
            (Ok(ServerMessage::Error { code, message, fatal: true }), _) => self.refused(code, message, now),
            (Ok(ServerMessage::Error { code, message, fatal: false }), _) => {
                if code == ErrorCode::TooFast {
                    // It may have been the buttons that got lost.
                    self.outgoing.set_state(self.entry.audio, self.entry.video);
                }
                vec![Output::Event(ClientEvent::Message(ServerMessage::Error {
                    code,
                    message,
                    fatal: false,
                }))]
            }
            (Ok(ServerMessage::Welcome(_)), State::Live { .. }) => {
                tracing::warn!("the server welcomes us twice");
                Vec::new()
            }
            (Ok(message), State::Live { .. }) => vec![Output::Event(ClientEvent::Message(message))],
            (Err(ParseError::UnknownType(kind)), State::Live { .. }) => {
                tracing::debug!(kind, "the server says something of a later version");
                Vec::new()
            }
            (Err(error), State::Live { .. }) => {
                tracing::warn!(%error, "the server says something that is not understood");
                Vec::new()
            }
            (Err(ParseError::Version(v)), State::Greeting { .. }) => {
                let message = format!("{} speaks version {v}: update Snug", self.address);
                self.fail(message)
            }
            (other, State::Knocking) => {
                tracing::debug!(?other, "not for somebody who waits");
                Vec::new()
            }
            (_, State::Greeting { .. }) => self.fail(format!("{} is not a Snug server", self.address)),
            // The socket is not ours any more.
            (_, State::Closed { .. } | State::Opening { .. } | State::Ended) => Vec::new(),
        }
    }

    fn welcome(&mut self, welcome: Welcome, now: Instant) -> Vec<Output> {
        self.state = State::Live { since: now };
        self.welcomed = true;
        self.resume = Some(welcome.resume.clone());
        if !welcome.resumed {
            self.outgoing.forget_relays();
        }
        vec![Output::Event(ClientEvent::Welcome(welcome))]
    }

    /// The server's fatal error.
    fn refused(&mut self, code: ErrorCode, message: String, now: Instant) -> Vec<Output> {
        if code == ErrorCode::NoEntry {
            return self.end(ClientEvent::NoEntry { message });
        }
        let mendable = match code {
            ErrorCode::TooFast | ErrorCode::TooLarge | ErrorCode::ServerFull => self.welcomed,
            ErrorCode::BadMessage
            | ErrorCode::BadVersion
            | ErrorCode::BadRoom
            | ErrorCode::BadName
            | ErrorCode::NoEntry
            | ErrorCode::RoomFull
            | ErrorCode::NotHost
            | ErrorCode::NoSuchParticipant
            | ErrorCode::NotWelcome
            | ErrorCode::Other => false,
        };
        if mendable {
            self.give_up_socket(Trouble { message, permanent: false }, now)
        } else {
            self.fail(message)
        }
    }

    fn fail(&mut self, message: String) -> Vec<Output> {
        self.end(ClientEvent::Failed { message })
    }

    fn end(&mut self, event: ClientEvent) -> Vec<Output> {
        self.state = State::Ended;
        self.urgent.clear();
        vec![Output::Drop, Output::Event(event), Output::End]
    }

    fn give_up_socket(&mut self, trouble: Trouble, now: Instant) -> Vec<Output> {
        let mut outputs = vec![Output::Drop];
        outputs.extend(self.lost(trouble, now));
        outputs
    }

    fn lost(&mut self, trouble: Trouble, now: Instant) -> Vec<Output> {
        match self.state {
            State::Live { since } if now >= since + STEADY => self.tries = 0,
            State::Live { .. } | State::Opening { .. } | State::Greeting { .. } | State::Knocking => {}
            State::Closed { .. } | State::Ended => return Vec::new(),
        }
        self.urgent.clear();
        let retry_in = self.backoff();
        if !self.welcomed && (trouble.permanent || now + retry_in > self.born + FIRST_PATIENCE) {
            return self.fail(trouble.message);
        }
        self.state = State::Closed { until: now + retry_in };
        vec![Output::Event(ClientEvent::Disconnected { why: trouble.message, retry_in })]
    }

    fn backoff(&mut self) -> Duration {
        let doubled = BACKOFF_FIRST.saturating_mul(1 << self.tries.min(16));
        self.tries += 1;
        doubled.min(BACKOFF_MOST).mul_f64(self.jitter.random_range(0.75..=1.25))
    }

    fn bye(&mut self) -> Vec<Output> {
        let live = matches!(self.state, State::Greeting { .. } | State::Knocking | State::Live { .. });
        self.state = State::Ended;
        if live {
            self.urgent.push(Frame::Text(ClientMessage::Bye.to_json()));
            vec![Output::End]
        } else {
            vec![Output::Drop, Output::End]
        }
    }
}
