//! How much the server takes, in all and from one address.

use signaling::limits::Rate;
use std::time::Duration;

/// How much the server takes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Participants a room, 12 at most.
    pub participants: usize,
    /// Rooms in all.
    pub rooms: usize,
    /// People in all, those who knock included.
    pub people: usize,
    /// WebSockets in all.
    pub sockets: usize,
    /// People who knock at one room.
    pub knocks: usize,
    /// Hellos a minute in all; as many at once.
    pub hellos: u32,
    /// The same from one address (IPv6: from one /64).
    pub address: PerAddress,
    /// How long the place of somebody away is kept, from when their socket was last heard.
    pub grace: Duration,
    /// How long somebody may wait to be let in.
    pub patience: Duration,
    /// What is kept for somebody away.
    pub kept: Kept,
}

/// What one address may have.
#[derive(Clone, Debug)]
pub struct PerAddress {
    /// WebSockets.
    pub sockets: usize,
    /// Rooms that it opened and that are still there.
    pub rooms: usize,
    /// People, those who knock included.
    pub people: usize,
    /// Hellos a minute; as many at once.
    pub hellos: u32,
}

/// What is kept for somebody away.
/// overflow: the oldest goes.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Messages.
    pub messages: usize,
    /// Bytes of them, about.
    pub bytes: usize,
}

impl Default for Limits {
    /// Whoever is killed is gone within 30 s: the grace, and a second until somebody looks.
    fn default() -> Self {
        Self {
            participants: 12,
            rooms: 1000,
            people: 6000,
            sockets: 4000,
            knocks: 16,
            hellos: 6000,
            address: PerAddress::default(),
            grace: Duration::from_secs(28),
            patience: Duration::from_secs(300),
            kept: Kept { messages: 64, bytes: 256 * 1024 },
        }
    }
}

impl Default for PerAddress {
    /// An office or a school behind one address has its calls.
    fn default() -> Self {
        Self { sockets: 200, rooms: 50, people: 150, hellos: 300 }
    }
}

impl Limits {
    /// How many take part in a room: the protocol knows no more than twelve.
    pub fn participants(&self) -> usize {
        self.participants.clamp(1, 12)
    }

    /// The most that is taken from one address, however it is set: as in all.
    pub fn unlimited_by_address(mut self) -> Self {
        let all = usize::MAX;
        self.address = PerAddress { sockets: all, rooms: all, people: all, hellos: u32::MAX };
        self
    }
}

/// So many a minute, as many at once.
pub(crate) fn a_minute(count: u32) -> Rate {
    Rate { burst: f64::from(count), refill: f64::from(count) / 60.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_holds_twelve_at_most_and_one_at_least() {
        let holds = |participants| Limits { participants, ..Limits::default() }.participants();
        assert_eq!([0, 1, 5, 99].map(holds), [1, 1, 5, 12]);
    }
}
