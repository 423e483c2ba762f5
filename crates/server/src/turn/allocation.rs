//! One allocation: its relayed addresses, and which peers it may talk to (RFC 8656, sections 3, 9 and 12).

use crate::turn::own::Family;
use crate::turn::refusal::Refusal;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use stun_types::message::TransactionId;

/// How long a permission holds.
pub(crate) const PERMISSION: Duration = Duration::from_secs(300);

/// How long a channel stays bound.
pub(crate) const CHANNEL: Duration = Duration::from_secs(600);

/// Peers and channels of one allocation: a call has as many as the other side has candidates.
pub(crate) const MAX_PEERS: usize = 64;

/// The numbers that a channel may have. RFC 8656 ends them at 0x4fff; older clients go on to 0x7ffe.
const NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x7ffe;

/// A relayed address and its socket.
#[derive(Clone, Debug)]
pub(crate) struct Relay<S> {
    pub(crate) socket: S,
    /// Where the socket is.
    pub(crate) internal: SocketAddr,
    /// How others call it.
    pub(crate) external: SocketAddr,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    until: Instant,
}

/// What a client holds.
#[derive(Debug)]
pub(crate) struct Allocation<S> {
    /// Never used twice.
    pub(crate) id: u64,
    /// The credential it was made with.
    pub(crate) user: String,
    /// No refresh goes beyond: the credential's end, and the grace.
    pub(crate) no_later: Instant,
    pub(crate) until: Instant,
    /// Of the request that made it: the same again is a retransmission.
    pub(crate) made_by: TransactionId,
    /// One of each family at most.
    pub(crate) relays: Vec<Relay<S>>,
    permissions: Vec<(IpAddr, Instant)>,
    channels: Vec<Channel>,
}

impl<S> Allocation<S> {
    pub(crate) fn new(id: u64, user: String, no_later: Instant, until: Instant, by: TransactionId) -> Self {
        let (relays, permissions, channels) = (vec![], vec![], vec![]);
        Self { id, user, no_later, until, made_by: by, relays, permissions, channels }
    }

    /// The relay of a family.
    pub(crate) fn relay(&self, family: Family) -> Option<&Relay<S>> {
        self.relays.iter().find(|relay| Family::of(relay.internal.ip()) == family)
    }

    /// Permits a peer for the next five minutes.
    pub(crate) fn permit(&mut self, ip: IpAddr, now: Instant) -> Result<(), Refusal> {
        if let Some((_, until)) = self.permissions.iter_mut().find(|(permitted, _)| *permitted == ip) {
            *until = now + PERMISSION;
            return Ok(());
        }
        if self.permissions.len() >= MAX_PEERS {
            self.permissions.retain(|(_, until)| *until > now);
        }
        // overflow: refused; the client may ask again when others have expired.
        if self.permissions.len() >= MAX_PEERS {
            return Err(Refusal::InsufficientCapacity);
        }
        self.permissions.push((ip, now + PERMISSION));
        Ok(())
    }

    pub(crate) fn is_permitted(&self, ip: IpAddr, now: Instant) -> bool {
        self.permissions.iter().any(|(permitted, until)| *permitted == ip && *until > now)
    }

    /// Binds a channel to a peer, or binds it for longer, and permits the peer.
    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> Result<(), Refusal> {
        self.channels.retain(|channel| channel.until > now);
        let is_full = self.channels.len() >= MAX_PEERS;
        let bound = self.channels.iter_mut().find(|channel| channel.number == number || channel.peer == peer);
        match bound {
            Some(channel) if channel.number == number && channel.peer == peer => {
                channel.until = now + CHANNEL;
                self.permit(peer.ip(), now)
            }
            Some(_) => Err(Refusal::BadRequest),
            None if !NUMBERS.contains(&number) => Err(Refusal::BadRequest),
            // overflow: refused, as with permissions.
            None if is_full => Err(Refusal::InsufficientCapacity),
            None => {
                self.permit(peer.ip(), now)?;
                self.channels.push(Channel { number, peer, until: now + CHANNEL });
                Ok(())
            }
        }
    }

    /// Who is at the other end of a channel.
    pub(crate) fn peer_of(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let channel = self.channels.iter().find(|channel| channel.number == number)?;
        (channel.until > now).then_some(channel.peer)
    }

    /// The channel to a peer, if there is one.
    pub(crate) fn channel_to(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let channel = self.channels.iter().find(|channel| channel.peer == peer)?;
        (channel.until > now).then_some(channel.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocation(now: Instant) -> Allocation<()> {
        Allocation::new(1, "u".into(), now, now, TransactionId::from(1))
    }

    fn peer(n: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, (n >> 8) as u8, n as u8], 1000 + n))
    }

    #[test]
    fn permissions_end_after_five_minutes_and_are_by_address() {
        let now = Instant::now();
        let mut held = allocation(now);
        assert!(!held.is_permitted(peer(1).ip(), now));
        held.permit(peer(1).ip(), now).unwrap();
        let almost = now + PERMISSION - Duration::from_millis(1);
        assert!(held.is_permitted(peer(1).ip(), almost) && !held.is_permitted(peer(2).ip(), now));
        held.permit(peer(1).ip(), almost).unwrap();
        assert!(held.is_permitted(peer(1).ip(), now + PERMISSION));
        assert!(!held.is_permitted(peer(1).ip(), almost + PERMISSION));
    }

    #[test]
    fn channels_and_peers_go_in_pairs() {
        let now = Instant::now();
        let mut held = allocation(now);
        held.bind(0x4000, peer(1), now).unwrap();
        assert_eq!(held.bind(0x4000, peer(2), now), Err(Refusal::BadRequest));
        assert_eq!(held.bind(0x4001, peer(1), now), Err(Refusal::BadRequest));
        for number in [0, 0x3fff, 0x7fff, 0x8000] {
            assert_eq!(held.bind(number, peer(3), now), Err(Refusal::BadRequest), "{number:x}");
        }
        assert_eq!((held.peer_of(0x4000, now), held.channel_to(peer(1), now)), (Some(peer(1)), Some(0x4000)));
        assert!(held.is_permitted(peer(1).ip(), now) && !held.is_permitted(peer(3).ip(), now));
        let later = now + CHANNEL;
        assert_eq!((held.peer_of(0x4000, later), held.channel_to(peer(1), later)), (None, None));
        held.bind(0x4000, peer(2), later).unwrap();
        assert_eq!(held.channel_to(peer(2), later), Some(0x4000));
    }

    #[test]
    fn a_client_cannot_fill_the_memory() {
        let now = Instant::now();
        let mut held = allocation(now);
        for n in 0..MAX_PEERS as u16 {
            held.bind(0x4000 + n, peer(n), now).unwrap();
        }
        for n in 1000..2000 {
            assert_eq!(held.permit(peer(n).ip(), now), Err(Refusal::InsufficientCapacity));
            assert_eq!(held.bind(0x5000 + n, peer(n), now), Err(Refusal::InsufficientCapacity));
        }
        held.permit(peer(7).ip(), now).unwrap();
        held.bind(0x5000, peer(1000), now + CHANNEL).unwrap();
        assert_eq!((held.channels.len(), held.permissions.len()), (1, 1));
    }
}
