//! Signaling, both ways, and the addresses that people paste.

use crate::feed::text;
use crate::now;
use server::address::ClientAddress;
use server::intake::{Intake, Verdict};
use server::limits::Limits;
use server::room::{Input, Opening, Output, Rooms, SocketId};
use signaling::session::{self, Entry, Session, Trouble};
use signaling::{ClientMessage, Link, Name, Password, RoomName, ServerMessage};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Lines in a run.
const MOST_LINES: usize = 200;

/// What clients say to the server: each line is one of a socket, `1{"type":"hello",…}`. A line of another
/// first letter is time that passes, or (`x1`) a connection that is lost.
pub fn signaling_client(data: &[u8]) {
    let mut server = Server::new();
    for line in text(data).lines().take(MOST_LINES) {
        match line.split_at_checked(1) {
            Some((socket @ ("1" | "2" | "3" | "4"), frame)) => server.says(socket, frame),
            Some(("x", socket)) => server.loses(socket),
            _ => server.passes(Duration::from_millis(line.len() as u64 * 700)),
        }
    }
}

struct Server {
    rooms: Rooms,
    sockets: HashMap<String, (SocketId, Intake)>,
    opened: u64,
    now: std::time::Instant,
}

impl Server {
    fn new() -> Self {
        let rooms = Rooms::new(Limits::default(), Opening::default(), [3; 32], now());
        Self { rooms, sockets: HashMap::new(), opened: 0, now: now() }
    }

    fn says(&mut self, name: &str, frame: &str) {
        if let Ok(message) = ClientMessage::parse(frame) {
            assert_eq!(ClientMessage::parse(&message.to_json()), Ok(message), "not what was written");
        }
        let opened = &mut self.opened;
        let (socket, intake) = self.sockets.entry(name.to_owned()).or_insert_with(|| {
            *opened += 1;
            (SocketId(*opened), Intake::new(now()))
        });
        let socket = *socket;
        let input = match intake.text(frame, self.now) {
            Verdict::Accept(ClientMessage::Hello(hello)) => {
                let from = ClientAddress(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))).into();
                Input::Hello { socket, from, hello }
            }
            Verdict::Accept(message) => Input::Message { socket, message },
            Verdict::Refuse(error) => {
                self.check(&error);
                return;
            }
            Verdict::Drop => return,
        };
        self.on(input);
    }

    fn loses(&mut self, name: &str) {
        if let Some((socket, _)) = self.sockets.remove(name) {
            self.on(Input::Lost { socket, heard: self.now, unsent: Vec::new() });
        }
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.on(Input::Tick);
    }

    fn on(&mut self, input: Input) {
        for output in self.rooms.on(input, self.now) {
            match output {
                Output::Send { message, .. } => self.check(&message),
                Output::Close { socket, .. } => {
                    let name = self.sockets.iter().find(|(_, (id, _))| *id == socket).map(|(n, _)| n.clone());
                    name.into_iter().for_each(|name| self.loses(&name));
                }
            }
        }
        assert!(self.rooms.participants() <= self.opened as usize);
    }

    /// Whatever clients say, the server says nothing that a client cannot read.
    fn check(&self, message: &ServerMessage) {
        assert_eq!(ServerMessage::parse(&message.to_json()).as_ref(), Ok(message));
    }
}

/// What a server says to us: each line after a `t` is a text frame, other letters are what happens else.
pub fn signaling_server(data: &[u8]) {
    let mut now = now();
    let (Ok(room), Ok(name)) = (RoomName::parse("tea"), Name::parse("Ann")) else { return };
    let entry = Entry { room, name, audio: true, video: true, password: Password::default() };
    let mut session = Session::new(entry, "https://snug.example".into(), 7, now);
    for line in text(data).lines().take(MOST_LINES) {
        let (kind, frame) = line.split_at_checked(1).unwrap_or_default();
        if let ("t", Ok(message)) = (kind, ServerMessage::parse(frame)) {
            assert_eq!(ServerMessage::parse(&message.to_json()), Ok(message), "not what was written");
        }
        let input = match kind {
            "t" => session::Input::Text(frame.to_owned()),
            "o" => session::Input::Opened,
            "h" => session::Input::Heard,
            "x" => session::Input::Lost(Trouble { message: frame.into(), permanent: frame.len() == 3 }),
            "f" => session::Input::Flushed,
            "c" => session::Input::Send(ClientMessage::Chat { text: frame.into() }),
            "s" => session::Input::State { audio: frame.len() == 1, video: frame.len() > 1 },
            "p" => session::Input::Probe,
            "r" => session::Input::Reconnect,
            _ => {
                now += Duration::from_millis(line.len() as u64 * 300);
                session::Input::Tick
            }
        };
        session.on(input, now);
        while let Some(frame) = session.next_frame(now) {
            if let session::Frame::Text(text) = frame {
                assert!(ClientMessage::parse(&text).is_ok(), "we say what no server understands: {text}");
            }
        }
        session.deadline(now);
    }
}

/// A link that somebody sends to somebody.
pub fn link(data: &[u8]) {
    let typed = text(data);
    if let Ok(name) = Name::parse(typed) {
        assert_eq!(Name::parse(name.as_str()), Ok(name));
    }
    let Ok(link) = Link::parse(typed) else { return };
    let again = match &link.room {
        Some(room) => link.server.room_link(room),
        None => link.server.base(),
    };
    assert_eq!(Link::parse(&again).as_ref(), Ok(&link), "{again} leads elsewhere than {typed}");
}
