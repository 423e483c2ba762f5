//! The rooms: who is in which, who hears what. Pure: sockets are numbers, time is an argument.

mod door;
mod leave;
mod opening;
mod place;
mod talk;

pub use crate::limits::Limits;
pub use door::NO_ENTRY;
pub use opening::{Create, Opening};

use crate::address::Source;
use crate::limits::a_minute;
use crate::tries::{Buckets, Tries};
use door::{Keeper, Lock};
use place::{Place, Room, Seat};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use signaling::limits::Bucket;
use signaling::message::VERSION;
use signaling::{
    ClientMessage, ErrorCode, Hello, LeftReason, Name, ParticipantId, ParticipantInfo, RoomName,
    ServerMessage,
};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Addresses whose hellos are remembered.
const SOURCES: usize = 32 * 1024;
/// How often what is remembered of addresses is looked through.
const SWEEP: Duration = Duration::from_secs(30);

/// A connection, numbered by the driver; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The first message of a socket.
    Hello {
        /// Whose.
        socket: SocketId,
        /// From where.
        from: Source,
        /// What it says.
        hello: Hello,
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
    /// Send a message. The lists of STUN and TURN servers in it are empty: the driver fills them in.
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

/// What is here of one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    people: usize,
    rooms: usize,
}

/// All rooms of a server.
pub struct Rooms {
    limits: Limits,
    opening: Opening,
    rooms: HashMap<String, Room>,
    sockets: HashMap<SocketId, Seat>,
    /// The rooms at which they wait.
    waiting: HashMap<SocketId, String>,
    resumes: HashMap<String, Seat>,
    /// Places that stand empty.
    away: usize,
    counted: HashMap<Source, Counted>,
    guard: Guard,
    tries: Tries,
    keeper: Keeper,
    random: StdRng,
    named: u64,
    outputs: Vec<Output>,
}

/// How fast hellos may come.
struct Guard {
    all: Bucket,
    each: Buckets<Source>,
    /// Makes the numbers of rooms.
    hash: RandomState,
    swept: Instant,
}

impl Rooms {
    /// No rooms yet. Ids and secrets come from `random`, which must be seeded from the system.
    pub fn new(limits: Limits, opening: Opening, random: [u8; 32], now: Instant) -> Self {
        let mut random = StdRng::from_seed(random);
        let guard = Guard {
            all: Bucket::new(a_minute(limits.hellos), now),
            each: Buckets::new(a_minute(limits.address.hellos), SOURCES),
            hash: RandomState::new(),
            swept: now,
        };
        Self {
            limits,
            opening,
            rooms: HashMap::new(),
            sockets: HashMap::new(),
            waiting: HashMap::new(),
            resumes: HashMap::new(),
            away: 0,
            counted: HashMap::new(),
            guard,
            tries: Tries::default(),
            keeper: Keeper::new(&mut random),
            random,
            named: 0,
            outputs: Vec::new(),
        }
    }

    /// Takes what happened; gives what to do, in order.
    pub fn on(&mut self, input: Input, now: Instant) -> Vec<Output> {
        match input {
            Input::Hello { socket, from, hello } => self.hello(socket, from, &hello, now),
            Input::Message { socket, message } => self.message(socket, message, now),
            Input::Lost { socket, heard, unsent } => self.lost(socket, heard, unsent),
            Input::Tick => self.tick(now),
        }
        std::mem::take(&mut self.outputs)
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// How many people are in them, those away too.
    pub fn participants(&self) -> usize {
        self.sockets.len() + self.away
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// How many sockets wait, secrets are good, and addresses are counted: nothing, when nobody is here.
    pub fn remembered(&self) -> (usize, usize, usize) {
        (self.waiting.len(), self.resumes.len(), self.counted.len())
    }

    fn hello(&mut self, socket: SocketId, from: Source, hello: &Hello, now: Instant) {
        if self.sockets.contains_key(&socket) || self.waiting.contains_key(&socket) {
            return self.error(socket, ErrorCode::BadMessage, "hello was said before");
        }
        if hello.v != VERSION {
            return self.refuse(socket, ErrorCode::BadVersion, "only version 1 is spoken here");
        }
        if !(self.guard.each.take(from, now) && self.guard.all.take(now)) {
            let text = "too many people come from your network at once: try again in a minute";
            return self.refuse(socket, ErrorCode::TooFast, text);
        }
        let room = match RoomName::parse(&hello.room) {
            Ok(room) => room,
            Err(error) => return self.refuse(socket, ErrorCode::BadRoom, &error.to_string()),
        };
        if let Some(seat) = hello.resume.as_ref().and_then(|r| self.resumes.get(r)).cloned() {
            if seat.room == room.key() {
                return self.resume(socket, from, &seat, hello);
            }
            self.leave(&seat, LeftReason::Replaced);
        }
        let name = match Name::parse(&hello.name) {
            Ok(name) => name,
            Err(error) => return self.refuse(socket, ErrorCode::BadName, &error.to_string()),
        };
        let theirs = self.counted.get(&from).map_or(0, |counted| counted.people);
        let all = self.participants() + self.waiting.len();
        if theirs >= self.limits.address.people || all >= self.limits.people {
            let text = "the server takes no more people, or no more from your network: try later";
            return self.refuse(socket, ErrorCode::ServerFull, text);
        }
        let info = ParticipantInfo {
            id: self.new_id(),
            name: name.as_str().into(),
            audio: hello.audio,
            video: hello.video,
            away: false,
        };
        self.arrive(socket, from, room, info, hello, now);
    }

    /// Somebody opens a room, and is its host.
    fn open(
        &mut self,
        socket: SocketId,
        from: Source,
        name: RoomName,
        info: ParticipantInfo,
        password: Option<Lock>,
    ) {
        let key = name.key().to_owned();
        let room = Room {
            name,
            opened_from: from,
            places: Vec::new(),
            host: info.id.clone(),
            password,
            knock: false,
            knockers: Vec::new(),
        };
        self.rooms.insert(key.clone(), room);
        self.count(from, |counted| counted.rooms += 1);
        self.enter(socket, from, &key, info);
    }

    fn resume(&mut self, socket: SocketId, from: Source, seat: &Seat, hello: &Hello) {
        let resume = self.new_secret();
        let Some(room) = self.rooms.get_mut(&seat.room) else { return };
        let welcome = room.welcome(&seat.id, resume.clone(), true);
        let Some(place) = room.places.iter_mut().find(|p| p.info.id == seat.id) else { return };
        let old_socket = place.socket.replace(socket);
        let unused = place.renew(resume.clone(), hello.resume.as_deref());
        let kept = place.take_kept();
        let was_away = std::mem::replace(&mut place.info.away, false);
        place.gone_at = None;
        let changed = (place.info.audio, place.info.video) != (hello.audio, hello.video);
        (place.info.audio, place.info.video) = (hello.audio, hello.video);
        let before = std::mem::replace(&mut place.from, from);
        self.away -= usize::from(was_away);
        self.count(before, |counted| counted.people -= 1);
        self.count(from, |counted| counted.people += 1);
        if let Some(unused) = unused {
            self.resumes.remove(&unused);
        }
        self.resumes.insert(resume, seat.clone());
        if let Some(old) = old_socket {
            self.sockets.remove(&old);
            self.refuse(old, ErrorCode::NotWelcome, "your place was taken over by another connection");
        }
        self.sockets.insert(socket, seat.clone());
        self.send(socket, ServerMessage::Welcome(welcome));
        self.outputs.extend(kept.into_iter().map(|message| Output::Send { socket, message }));
        if was_away {
            self.tell_others(seat, &ServerMessage::Back { id: seat.id.clone() });
        }
        if changed {
            let (audio, video) = (hello.audio, hello.video);
            self.tell_others(seat, &ServerMessage::State { from: seat.id.clone(), audio, video });
        }
    }

    fn place(&mut self, seat: &Seat, id: &ParticipantId) -> Option<&mut Place> {
        self.rooms.get_mut(&seat.room)?.places.iter_mut().find(|p| p.info.id == *id)
    }

    fn count(&mut self, from: Source, change: impl FnOnce(&mut Counted)) {
        let counted = self.counted.entry(from).or_default();
        change(counted);
        if *counted == Counted::default() {
            self.counted.remove(&from);
        }
    }

    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.guard.swept) >= SWEEP {
            self.guard.swept = now;
            self.guard.each.sweep(now);
            self.tries.sweep(now);
        }
    }

    fn number_of(&self, key: &str) -> u64 {
        self.guard.hash.hash_one(key)
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
