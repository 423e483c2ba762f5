//! The rooms: who is in which, who hears what. Pure: sockets are numbers, time is an argument.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use signaling::message::{MAX_CHAT, VERSION};
use signaling::{
    ClientMessage, ErrorCode, Hello, IceServer, LeftReason, Name, ParticipantId, ParticipantInfo, RoomName,
    ServerMessage, Welcome,
};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// A connection, numbered by the driver; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// How much the rooms take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Participants a room.
    pub participants: usize,
    /// Rooms in all.
    pub rooms: usize,
    /// How long the place of somebody away is kept, from when their socket was last heard.
    pub grace: Duration,
    /// Relays kept for somebody away. overflow: the oldest goes.
    pub kept: usize,
}

impl Default for Limits {
    /// Whoever is killed is gone within 30 s: the grace, and a second until somebody looks.
    fn default() -> Self {
        Self { participants: 12, rooms: 1000, grace: Duration::from_secs(28), kept: 64 }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The first message of a socket.
    Hello {
        /// Whose.
        socket: SocketId,
        /// What it says.
        hello: Hello,
        /// What the welcome shall offer.
        ice_servers: Vec<IceServer>,
    },
    /// Any other message.
    Message {
        /// Whose.
        socket: SocketId,
        /// What it says.
        message: ClientMessage,
    },
    /// The socket is over, or is given up; nothing is to be sent to it any more.
    Lost {
        /// Which.
        socket: SocketId,
        /// When it was last heard: a connection may have been dead for a while before that shows.
        heard: Instant,
        /// What it was sent that did not get out, in order.
        unsent: Vec<ServerMessage>,
    },
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Send a message.
    Send {
        /// To whom.
        socket: SocketId,
        /// What.
        message: ServerMessage,
    },
    /// Close a socket when all sent to it is out.
    Close {
        /// Which.
        socket: SocketId,
        /// Whether it ends as it should (1000), else because of a fault (1008).
        normal: bool,
    },
}

struct Place {
    info: ParticipantInfo,
    resume: String,
    /// The secret before: good until the present one was used, for a welcome may be lost on its way.
    previous: Option<String>,
    socket: Option<SocketId>,
    kept: VecDeque<ServerMessage>,
    gone_at: Option<Instant>,
}

impl Place {
    /// Takes a new secret; gives the one that is no longer good. The one just used stays good.
    fn renew(&mut self, fresh: String, used: Option<&str>) -> Option<String> {
        let current = std::mem::replace(&mut self.resume, fresh);
        if self.previous.as_deref().is_some_and(|previous| Some(previous) == used) {
            return Some(current);
        }
        self.previous.replace(current)
    }
}

struct Room {
    name: RoomName,
    places: Vec<Place>,
}

/// Where somebody sits: the room's key and the id.
#[derive(Clone)]
struct Seat {
    room: String,
    id: ParticipantId,
}

/// All rooms of a server.
pub struct Rooms {
    limits: Limits,
    rooms: HashMap<String, Room>,
    sockets: HashMap<SocketId, Seat>,
    resumes: HashMap<String, Seat>,
    random: StdRng,
    named: u64,
    outputs: Vec<Output>,
}

impl Rooms {
    /// No rooms yet. Ids and resume secrets come from `random`, which must be seeded from the system.
    pub fn new(limits: Limits, random: [u8; 32]) -> Self {
        Self {
            limits,
            rooms: HashMap::new(),
            sockets: HashMap::new(),
            resumes: HashMap::new(),
            random: StdRng::from_seed(random),
            named: 0,
            outputs: Vec::new(),
        }
    }

    /// Takes what happened; gives what to do, in order.
    pub fn on(&mut self, input: Input, now: Instant) -> Vec<Output> {
        match input {
            Input::Hello { socket, hello, ice_servers } => self.hello(socket, hello, ice_servers),
            Input::Message { socket, message } => self.message(socket, message),
            Input::Lost { socket, heard, unsent } => self.lost(socket, heard, unsent),
            Input::Tick => self.tick(now),
        }
        std::mem::take(&mut self.outputs)
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    fn hello(&mut self, socket: SocketId, hello: Hello, ice_servers: Vec<IceServer>) {
        if self.sockets.contains_key(&socket) {
            return self.error(socket, ErrorCode::BadMessage, "hello was said before");
        }
        if hello.v != VERSION {
            return self.refuse(socket, ErrorCode::BadVersion, "only version 1 is spoken here");
        }
        let room = match RoomName::parse(&hello.room) {
            Ok(room) => room,
            Err(error) => return self.refuse(socket, ErrorCode::BadRoom, &error.to_string()),
        };
        if let Some(seat) = hello.resume.as_ref().and_then(|r| self.resumes.get(r)).cloned() {
            if seat.room == room.key() {
                return self.resume(socket, &seat, &hello, ice_servers);
            }
            self.leave(&seat, LeftReason::Replaced);
        }
        let name = match Name::parse(&hello.name) {
            Ok(name) => name,
            Err(error) => return self.refuse(socket, ErrorCode::BadName, &error.to_string()),
        };
        match self.rooms.get(room.key()) {
            Some(room) if room.places.len() >= self.limits.participants => {
                let text = format!(
                    "the room is full ({} people): wait until somebody leaves, or use another room",
                    room.places.len()
                );
                return self.refuse(socket, ErrorCode::RoomFull, &text);
            }
            None if self.rooms.len() >= self.limits.rooms => {
                return self.refuse(socket, ErrorCode::ServerFull, "the server has no room left: try later");
            }
            Some(_) | None => {}
        }
        self.enter(socket, room, name, &hello, ice_servers);
    }

    fn enter(
        &mut self,
        socket: SocketId,
        room: RoomName,
        name: Name,
        hello: &Hello,
        ice_servers: Vec<IceServer>,
    ) {
        let id = self.new_id();
        let resume = self.new_secret();
        let info = ParticipantInfo {
            id: id.clone(),
            name: name.as_str().into(),
            audio: hello.audio,
            video: hello.video,
            away: false,
        };
        let seat = Seat { room: room.key().into(), id: id.clone() };
        let room =
            self.rooms.entry(seat.room.clone()).or_insert_with(|| Room { name: room, places: Vec::new() });
        let welcome = Welcome {
            v: VERSION,
            room: room.name.as_str().into(),
            id,
            resume: resume.clone(),
            ice_servers,
            participants: room.places.iter().map(|p| p.info.clone()).collect(),
            resumed: false,
        };
        let participant = info.clone();
        room.places.push(Place {
            info,
            resume: resume.clone(),
            previous: None,
            socket: Some(socket),
            kept: VecDeque::new(),
            gone_at: None,
        });
        self.sockets.insert(socket, seat.clone());
        self.resumes.insert(resume, seat.clone());
        self.outputs.push(Output::Send { socket, message: ServerMessage::Welcome(welcome) });
        self.tell_others(&seat, &ServerMessage::Joined { participant });
    }

    fn resume(&mut self, socket: SocketId, seat: &Seat, hello: &Hello, ice_servers: Vec<IceServer>) {
        let resume = self.new_secret();
        let Some(room) = self.rooms.get_mut(&seat.room) else { return };
        let others = room.places.iter().filter(|p| p.info.id != seat.id);
        let welcome = Welcome {
            v: VERSION,
            room: room.name.as_str().into(),
            id: seat.id.clone(),
            resume: resume.clone(),
            ice_servers,
            participants: others.map(|p| p.info.clone()).collect(),
            resumed: true,
        };
        let Some(place) = room.places.iter_mut().find(|p| p.info.id == seat.id) else { return };
        let old_socket = place.socket.replace(socket);
        let unused = place.renew(resume.clone(), hello.resume.as_deref());
        let kept = std::mem::take(&mut place.kept);
        let was_away = std::mem::replace(&mut place.info.away, false);
        place.gone_at = None;
        let changed = (place.info.audio, place.info.video) != (hello.audio, hello.video);
        (place.info.audio, place.info.video) = (hello.audio, hello.video);
        if let Some(unused) = unused {
            self.resumes.remove(&unused);
        }
        self.resumes.insert(resume, seat.clone());
        if let Some(old) = old_socket {
            self.sockets.remove(&old);
            self.refuse(old, ErrorCode::NotWelcome, "your place was taken over by another connection");
        }
        self.sockets.insert(socket, seat.clone());
        self.outputs.push(Output::Send { socket, message: ServerMessage::Welcome(welcome) });
        self.outputs.extend(kept.into_iter().map(|message| Output::Send { socket, message }));
        if was_away {
            self.tell_others(seat, &ServerMessage::Back { id: seat.id.clone() });
        }
        if changed {
            let (audio, video) = (hello.audio, hello.video);
            self.tell_others(seat, &ServerMessage::State { from: seat.id.clone(), audio, video });
        }
    }

    fn message(&mut self, socket: SocketId, message: ClientMessage) {
        let Some(seat) = self.sockets.get(&socket).cloned() else {
            return self.refuse(socket, ErrorCode::NotWelcome, "the first message must be hello");
        };
        let from = seat.id.clone();
        match message {
            ClientMessage::Hello(_) => self.error(socket, ErrorCode::BadMessage, "hello was said before"),
            ClientMessage::Description { to, description } => {
                self.relay(socket, &seat, &to, ServerMessage::Description { from, description });
            }
            ClientMessage::Candidate { to, candidate } => {
                self.relay(socket, &seat, &to, ServerMessage::Candidate { from, candidate });
            }
            ClientMessage::State { audio, video } => {
                if let Some(place) = self.place(&seat, &seat.id) {
                    (place.info.audio, place.info.video) = (audio, video);
                }
                self.tell_others(&seat, &ServerMessage::State { from, audio, video });
            }
            ClientMessage::Chat { text } if text.chars().count() > MAX_CHAT => {
                let what = format!("at most {MAX_CHAT} characters can be said at once");
                self.error(socket, ErrorCode::TooLarge, &what);
            }
            ClientMessage::Chat { text } if text.trim().is_empty() => {
                self.error(socket, ErrorCode::BadMessage, "there is nothing in this chat message");
            }
            ClientMessage::Chat { text } => self.tell_others(&seat, &ServerMessage::Chat { from, text }),
            // The hub knows the servers.
            ClientMessage::Ice => {
                let message = ServerMessage::Ice { ice_servers: Vec::new(), ttl: 0 };
                self.outputs.push(Output::Send { socket, message });
            }
            ClientMessage::Bye => {
                self.leave(&seat, LeftReason::Bye);
                self.outputs.push(Output::Close { socket, normal: true });
            }
        }
    }

    fn relay(&mut self, socket: SocketId, seat: &Seat, to: &ParticipantId, message: ServerMessage) {
        let most = self.limits.kept;
        if *to == seat.id {
            return self.error(socket, ErrorCode::NoSuchParticipant, "this message is for yourself");
        }
        match self.place(seat, to) {
            Some(Place { socket: Some(socket), .. }) => {
                let socket = *socket;
                self.outputs.push(Output::Send { socket, message });
            }
            Some(place) => keep(place, message, most),
            None => self.error(socket, ErrorCode::NoSuchParticipant, "they are not in this room (any more)"),
        }
    }

    fn lost(&mut self, socket: SocketId, heard: Instant, unsent: Vec<ServerMessage>) {
        let Some(seat) = self.sockets.remove(&socket) else { return };
        let (grace, most) = (self.limits.grace, self.limits.kept);
        let Some(place) = self.place(&seat, &seat.id) else { return };
        place.socket = None;
        place.info.away = true;
        place.gone_at = Some(heard + grace);
        for message in unsent {
            // All else shows from the next welcome.
            if matches!(
                message,
                ServerMessage::Description { .. }
                    | ServerMessage::Candidate { .. }
                    | ServerMessage::Chat { .. }
            ) {
                keep(place, message, most);
            }
        }
        self.tell_others(&seat, &ServerMessage::Away { id: seat.id.clone() });
    }

    fn tick(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for (key, room) in &self.rooms {
            for place in &room.places {
                if place.gone_at.is_some_and(|at| now >= at) {
                    gone.push(Seat { room: key.clone(), id: place.info.id.clone() });
                }
            }
        }
        for seat in gone {
            self.leave(&seat, LeftReason::Timeout);
        }
    }

    /// Frees a place. A socket that still sits there must be closed by the caller, or is another's already.
    fn leave(&mut self, seat: &Seat, reason: LeftReason) {
        self.tell_others(seat, &ServerMessage::Left { id: seat.id.clone(), reason });
        let Some(room) = self.rooms.get_mut(&seat.room) else { return };
        let Some(at) = room.places.iter().position(|p| p.info.id == seat.id) else { return };
        let place = room.places.remove(at);
        if room.places.is_empty() {
            self.rooms.remove(&seat.room);
        }
        self.resumes.remove(&place.resume);
        if let Some(previous) = &place.previous {
            self.resumes.remove(previous);
        }
        if let Some(socket) = place.socket {
            self.sockets.remove(&socket);
            if reason == LeftReason::Replaced {
                self.refuse(socket, ErrorCode::NotWelcome, "your place was given up for another room");
            }
        }
    }

    fn place(&mut self, seat: &Seat, id: &ParticipantId) -> Option<&mut Place> {
        self.rooms.get_mut(&seat.room)?.places.iter_mut().find(|p| p.info.id == *id)
    }

    fn tell_others(&mut self, seat: &Seat, message: &ServerMessage) {
        let Some(room) = self.rooms.get(&seat.room) else { return };
        for place in room.places.iter().filter(|p| p.info.id != seat.id) {
            if let Some(socket) = place.socket {
                self.outputs.push(Output::Send { socket, message: message.clone() });
            }
        }
    }

    fn error(&mut self, socket: SocketId, code: ErrorCode, message: &str) {
        let message = ServerMessage::Error { code, message: message.into(), fatal: false };
        self.outputs.push(Output::Send { socket, message });
    }

    fn refuse(&mut self, socket: SocketId, code: ErrorCode, message: &str) {
        let message = ServerMessage::Error { code, message: message.into(), fatal: true };
        self.outputs.push(Output::Send { socket, message });
        self.outputs.push(Output::Close { socket, normal: false });
    }

    /// Random first, so that who is polite is chance; counted after, so that none comes twice.
    fn new_id(&mut self) -> ParticipantId {
        self.named += 1;
        let random: u32 = self.random.random();
        ParticipantId(format!("{random:08x}{:x}", self.named))
    }

    fn new_secret(&mut self) -> String {
        let random: u128 = self.random.random();
        format!("{random:032x}")
    }
}

fn keep(place: &mut Place, message: ServerMessage, most: usize) {
    while place.kept.len() >= most.max(1) {
        place.kept.pop_front();
    }
    place.kept.push_back(message);
}
