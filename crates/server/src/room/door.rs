//! The door: who comes in by themselves, who knocks, whom the host lets in.
//!
//! Whoever stays outside gets one answer, the same to the byte, whatever the reason: [`Rooms::stay_out`]. The
//! password is weighed before anything else is looked at, against nothing if need be, so that the answer takes
//! the same time too.

use super::place::{Knocker, Place, Seat};
use super::{Output, Rooms, SocketId};
use crate::address::Source;
use hmac::{Hmac, Mac};
use rand::Rng;
use sha1::Sha1;
use signaling::{ErrorCode, Hello, ParticipantId, ParticipantInfo, Password, RoomName, ServerMessage};
use std::time::Instant;

/// The words for everybody who stays outside.
pub const NO_ENTRY: &str = "you cannot enter this room so: it may want a password or that somebody lets you in, \
    be full, or not be open. Ask whoever is in it, look at name and password, and wait a minute after some tries";

/// A password as the server keeps it: an HMAC under the keeper's key, of a salt and the password. Collisions are
/// what SHA-1 is weak against, and they do not help against an HMAC.
pub(super) struct Lock {
    salt: [u8; 16],
    tag: [u8; 20],
}

/// What weighs passwords: a key made at the start, which is nowhere else.
pub(super) struct Keeper {
    key: [u8; 32],
    /// Weighed where there is no password, so that it takes the same time.
    nothing: Lock,
}

impl Keeper {
    pub(super) fn new(random: &mut impl Rng) -> Self {
        let mut keeper = Self { key: random.random(), nothing: Lock { salt: [0; 16], tag: [0; 20] } };
        // A tag of 160 random bits, that no password has.
        keeper.nothing = Lock { salt: random.random(), tag: random.random() };
        keeper
    }

    fn mac(&self, salt: [u8; 16], password: &Password) -> Option<Hmac<Sha1>> {
        // HMAC takes a key of any length: there is always one.
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.key).ok()?;
        mac.update(&salt);
        mac.update(password.reveal().as_bytes());
        Some(mac)
    }

    fn lock(&self, password: &Password, random: &mut impl Rng) -> Option<Lock> {
        let salt = random.random();
        let tag = self.mac(salt, password)?.finalize().into_bytes().into();
        Some(Lock { salt, tag })
    }

    /// Whether it is the password; in the same time whether there is one or not.
    fn weigh(&self, lock: Option<&Lock>, password: &Password) -> bool {
        let against = lock.unwrap_or(&self.nothing);
        let fits = self.mac(against.salt, password).is_some_and(|mac| mac.verify_slice(&against.tag).is_ok());
        fits & lock.is_some()
    }
}

/// What a hello comes to at the door.
enum Verdict {
    Open,
    Enter,
    Wait,
    StayOut,
}

impl Rooms {
    /// Somebody new stands at the door.
    pub(super) fn arrive(
        &mut self,
        socket: SocketId,
        from: Source,
        room: RoomName,
        info: ParticipantInfo,
        hello: &Hello,
        now: Instant,
    ) {
        match self.verdict(&room, from, hello, now) {
            Verdict::Open => {
                let password = hello.password.as_ref().filter(|password| !password.is_empty());
                let lock = password.and_then(|password| self.keeper.lock(password, &mut self.random));
                self.open(socket, from, room, info, lock);
            }
            Verdict::Enter => self.enter(socket, from, room.key(), info),
            Verdict::Wait => self.wait(socket, from, room.key(), info, now),
            Verdict::StayOut => self.stay_out(socket),
        }
    }

    fn verdict(&mut self, room: &RoomName, from: Source, hello: &Hello, now: Instant) -> Verdict {
        let password = hello.password.clone().unwrap_or_default();
        let number = self.number_of(room.key());
        let found = self.rooms.get(room.key());
        let knows = self.keeper.weigh(found.and_then(|room| room.password.as_ref()), &password);
        let (may_try, may_open) = (self.tries.may(number, from, now), self.may_open(room, from));
        let fit = password.is_fit();
        let Some(found) = found else {
            return if may_open && fit { Verdict::Open } else { Verdict::StayOut };
        };
        let free = found.places.len() < self.limits.participants();
        let wrong = found.password.is_some() && !password.is_empty() && !knows;
        let takes_knock =
            found.knock && hello.knock == Some(true) && found.knockers.len() < self.limits.knocks;
        let by_themselves = if found.password.is_some() { knows && may_try } else { !found.knock };
        if wrong && may_try {
            self.tries.count(number, from, now);
        }
        match () {
            () if free && by_themselves => Verdict::Enter,
            // A wrong password was counted already.
            () if takes_knock && may_try => {
                if !wrong {
                    self.tries.count(number, from, now);
                }
                Verdict::Wait
            }
            () => Verdict::StayOut,
        }
    }

    fn may_open(&self, room: &RoomName, from: Source) -> bool {
        let opened = self.counted.get(&from).map_or(0, |counted| counted.rooms);
        self.opening.allows(room)
            && self.rooms.len() < self.limits.rooms
            && opened < self.limits.address.rooms
    }

    /// The one answer to everybody who stays outside.
    pub(super) fn stay_out(&mut self, socket: SocketId) {
        self.refuse(socket, ErrorCode::NoEntry, NO_ENTRY);
    }

    fn wait(&mut self, socket: SocketId, from: Source, key: &str, info: ParticipantInfo, now: Instant) {
        let patience = self.limits.patience;
        let Some(room) = self.rooms.get_mut(key) else { return };
        let knocker = Knocker { socket, info, from, until: now + patience };
        let told = knocker.told();
        room.knockers.push(knocker);
        let host = room.host_socket();
        self.waiting.insert(socket, key.to_owned());
        self.count(from, |counted| counted.people += 1);
        self.send(socket, ServerMessage::Waiting { seconds: patience.as_secs() });
        if let Some(host) = host {
            self.send(host, ServerMessage::Knock(told));
        }
    }

    /// Somebody waits no more; the host is told.
    pub(super) fn take_knocker(&mut self, socket: SocketId) -> Option<(String, Knocker)> {
        let key = self.waiting.remove(&socket)?;
        let room = self.rooms.get_mut(&key)?;
        let at = room.knockers.iter().position(|k| k.socket == socket)?;
        let knocker = room.knockers.remove(at);
        let host = room.host_socket();
        self.count(knocker.from, |counted| counted.people -= 1);
        if let Some(host) = host {
            self.send(host, ServerMessage::KnockOver { id: knocker.info.id.clone() });
        }
        Some((key, knocker))
    }

    /// Whoever waits in a room, by their ids in order.
    fn knocker(&self, seat: &Seat, id: &ParticipantId) -> Option<SocketId> {
        let room = self.rooms.get(&seat.room)?;
        room.knockers.iter().find(|k| k.info.id == *id).map(|k| k.socket)
    }

    /// Refuses everybody who waits, or those for whom it has been too long.
    pub(super) fn send_away(&mut self, key: &str, late_only: Option<Instant>) {
        let Some(room) = self.rooms.get(key) else { return };
        let due = |k: &&Knocker| late_only.is_none_or(|now| now >= k.until);
        let sockets: Vec<SocketId> = room.knockers.iter().filter(due).map(|k| k.socket).collect();
        for socket in sockets {
            self.take_knocker(socket);
            self.stay_out(socket);
        }
    }

    fn is_host(&mut self, socket: SocketId, seat: &Seat) -> bool {
        let host = self.rooms.get(&seat.room).is_some_and(|room| room.host == seat.id);
        if !host {
            self.error(socket, ErrorCode::NotHost, "only the host of the room can do this");
        }
        host
    }

    /// The host changes the door.
    pub(super) fn set_door(
        &mut self,
        socket: SocketId,
        seat: &Seat,
        password: Option<Password>,
        knock: Option<bool>,
    ) {
        if !self.is_host(socket, seat) {
            return;
        }
        if password.as_ref().is_some_and(|password| !password.is_fit()) {
            return self.error(socket, ErrorCode::BadMessage, "a password has at most 128 characters");
        }
        let lock = password.map(|p| p.given().and_then(|p| self.keeper.lock(&p, &mut self.random)));
        let Some(room) = self.rooms.get_mut(&seat.room) else { return };
        if let Some(lock) = lock {
            room.password = lock;
        }
        room.knock = knock.unwrap_or(room.knock);
        let door = room.door();
        self.tell_others(seat, &ServerMessage::Door(door));
        self.send(socket, ServerMessage::Door(door));
        if !door.knock {
            if !door.password {
                self.admit_all(&seat.room);
            }
            self.send_away(&seat.room, None);
        }
    }

    /// The door is open: whoever waits comes in, as far as there are places.
    fn admit_all(&mut self, key: &str) {
        while let Some(room) = self.rooms.get(key)
            && room.places.len() < self.limits.participants()
            && let Some(socket) = room.knockers.first().map(|k| k.socket)
            && let Some((key, knocker)) = self.take_knocker(socket)
        {
            self.enter(knocker.socket, knocker.from, &key, knocker.info);
        }
    }

    /// The host lets somebody in.
    pub(super) fn admit(&mut self, socket: SocketId, seat: &Seat, id: &ParticipantId) {
        if !self.is_host(socket, seat) {
            return;
        }
        let Some(them) = self.knocker(seat, id) else { return self.nobody_knocks(socket) };
        if self.rooms.get(&seat.room).is_some_and(|r| r.places.len() >= self.limits.participants()) {
            return self.error(socket, ErrorCode::RoomFull, "the room is full: nobody can be let in now");
        }
        if let Some((key, knocker)) = self.take_knocker(them) {
            self.enter(knocker.socket, knocker.from, &key, knocker.info);
        }
    }

    /// The host sends somebody away.
    pub(super) fn send_off(&mut self, socket: SocketId, seat: &Seat, id: &ParticipantId, now: Instant) {
        if !self.is_host(socket, seat) {
            return;
        }
        let Some(them) = self.knocker(seat, id) else { return self.nobody_knocks(socket) };
        if let Some((key, knocker)) = self.take_knocker(them) {
            let number = self.number_of(&key);
            self.tries.count(number, knocker.from, now);
            self.stay_out(knocker.socket);
        }
    }

    fn nobody_knocks(&mut self, socket: SocketId) {
        self.error(socket, ErrorCode::NoSuchParticipant, "they do not knock (any more)");
    }

    /// Somebody is in: they are welcomed, and the others told.
    pub(super) fn enter(&mut self, socket: SocketId, from: Source, key: &str, info: ParticipantInfo) {
        let resume = self.new_secret();
        let seat = Seat { room: key.to_owned(), id: info.id.clone() };
        let Some(room) = self.rooms.get_mut(key) else { return };
        let participant = info.clone();
        room.places.push(Place::new(info, resume.clone(), socket, from));
        let welcome = room.welcome(&seat.id, resume.clone(), false);
        self.count(from, |counted| counted.people += 1);
        self.sockets.insert(socket, seat.clone());
        self.resumes.insert(resume, seat.clone());
        self.outputs.push(Output::Send { socket, message: ServerMessage::Welcome(welcome) });
        self.tell_others(&seat, &ServerMessage::Joined { participant });
    }
}
