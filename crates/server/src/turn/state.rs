//! All allocations, as pure state: what a request changes and where a packet goes. Time and sockets come from
//! outside, so that tests run it on a clock of their own.

use crate::net::household;
use crate::turn::allocation::{Allocation, Relay};
use crate::turn::bucket::{Bucket, burst};
use crate::turn::gate::Admitted;
use crate::turn::own::{Family, Own};
use crate::turn::peers::Peers;
use crate::turn::refusal::{Dropped, Refusal};
use crate::turn::settings::{Ports, Quotas};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use stun_types::message::TransactionId;

/// How an allocation outlives its credential: for what is still on its way, and for clocks that differ.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

/// What a client gets that asks for no lifetime (RFC 8656, section 3.2).
const LIFETIME: u32 = 600;

/// Ports that are tried for one relayed address: others' sockets may be on some.
const MAX_TRIES: usize = 64;

/// By what a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream within TLS.
    Tls,
}

/// The five-tuple of a client; streams are numbered, since one address may stand for many behind a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) over: Transport,
    pub(crate) stream: u64,
}

impl Hash for Client {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // Clients that differ in nothing else are few, and this is done for each packet.
        self.remote.hash(hasher);
        self.stream.hash(hasher);
    }
}

/// The time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    /// Seconds.
    pub(crate) unix: u64,
}

/// Opens the sockets of relayed addresses.
pub(crate) trait Binder<S> {
    /// One at `at`, for the allocation `id`.
    fn bind(&mut self, at: SocketAddr, id: u64) -> io::Result<S>;
}

/// What an Allocate request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) id: TransactionId,
    pub(crate) lifetime: Option<u32>,
    /// `None` is IPv4, or IPv6 where there is no IPv4.
    pub(crate) family: Option<Family>,
    /// IPv6 beside IPv4.
    pub(crate) additional: bool,
    pub(crate) even_port: bool,
}

/// What it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// As others call it; a second one only if it was asked for.
    pub(crate) relayed: Vec<SocketAddr>,
    /// Seconds.
    pub(crate) lifetime: u32,
    /// Why there is no additional address.
    pub(crate) no_additional: Option<Refusal>,
}

/// Where data of a client is to go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    Channel(u16),
    Peer(SocketAddr),
}

/// What holds for everybody.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) ports: Ports,
    pub(crate) quotas: Quotas,
    pub(crate) peers: Peers,
}

/// One credential in use.
#[derive(Debug)]
struct Account {
    allocations: usize,
    to_peers: Bucket,
    to_clients: Bucket,
}

/// How far an address is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Open,
    /// It is this machine: only other relayed addresses.
    Relays,
    Closed,
}

pub(crate) struct State<S> {
    rules: Rules,
    own: Own,
    allocations: HashMap<Client, Allocation<S>>,
    /// Relayed addresses, as others call them, and where they are.
    relays: HashMap<SocketAddr, SocketAddr>,
    accounts: HashMap<String, Account>,
    /// Allocations of each client address.
    addresses: HashMap<IpAddr, usize>,
    random: StdRng,
    ever: u64,
}

impl<S: Clone> State<S> {
    pub(crate) fn new(rules: Rules, own: Own, seed: u64) -> Self {
        Self {
            rules,
            own,
            allocations: HashMap::new(),
            relays: HashMap::new(),
            accounts: HashMap::new(),
            addresses: HashMap::new(),
            random: StdRng::seed_from_u64(seed),
            ever: 0,
        }
    }

    /// The machine's addresses have changed.
    pub(crate) fn set_own(&mut self, own: Own) {
        self.own = own;
    }

    /// How many allocations there are, and were.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.allocations.len(), self.ever)
    }

    /// How many come by one transport.
    pub(crate) fn over(&self, transport: Transport) -> usize {
        self.allocations.keys().filter(|client| client.over == transport).count()
    }

    pub(crate) fn holds(&self, client: &Client) -> bool {
        self.allocations.contains_key(client)
    }

    pub(crate) fn allocate(
        &mut self,
        now: Now,
        client: Client,
        admitted: &Admitted,
        ask: Ask,
        binder: &mut impl Binder<S>,
    ) -> Result<Granted, Refusal> {
        self.forget_if_over(&client, now.at);
        if let Some(held) = self.allocations.get(&client) {
            let again = held.made_by == ask.id && held.user == admitted.user;
            return again.then(|| granted(held, now, None)).ok_or(Refusal::AllocationMismatch);
        }
        let address = household(client.remote.ip());
        self.room_for(address, &admitted.user)?;
        let id = self.ever + 1;
        let no_later =
            now.at + Duration::from_secs(admitted.expires.saturating_sub(now.unix).min(FAR)) + GRACE;
        let until = self.until(now, ask.lifetime, no_later);
        let mut allocation = Allocation::new(id, admitted.user.clone(), no_later, until, ask.id);
        let family = ask.family.unwrap_or_else(|| self.usual_family(client.local.ip()));
        let main = self.open(client.local.ip(), family, ask.even_port, id, binder)?;
        allocation.relays.push(main);
        let additional = ask.additional.then(|| self.open(client.local.ip(), Family::V6, false, id, binder));
        let no_additional = match additional.transpose() {
            Ok(relay) => {
                allocation.relays.extend(relay);
                None
            }
            Err(refusal) => Some(refusal),
        };
        let granted = granted(&allocation, now, no_additional);
        self.ever = id;
        self.relays.extend(allocation.relays.iter().map(|relay| (relay.external, relay.internal)));
        *self.addresses.entry(address).or_default() += 1;
        self.account(&admitted.user, now.at).allocations += 1;
        self.allocations.insert(client, allocation);
        Ok(granted)
    }

    /// Extends an allocation, or ends it (0 seconds), or only its relay of one family. The seconds it has.
    pub(crate) fn refresh(
        &mut self,
        now: Now,
        client: &Client,
        user: &str,
        lifetime: Option<u32>,
        family: Option<Family>,
    ) -> Result<u32, Refusal> {
        let held = self.held(client, user, now.at)?;
        if family.is_some_and(|family| held.relay(family).is_none()) {
            return Err(Refusal::PeerFamily);
        }
        if lifetime == Some(0) {
            let of_family = |relay: &Relay<S>| family.is_none_or(|f| Family::of(relay.internal.ip()) == f);
            let (gone, left): (Vec<_>, Vec<_>) = held.relays.drain(..).partition(of_family);
            held.relays = left;
            let is_over = held.relays.is_empty();
            for relay in &gone {
                self.relays.remove(&relay.external);
            }
            if is_over {
                self.remove(client);
            }
            return Ok(0);
        }
        let no_later = held.no_later;
        let until = self.until(now, lifetime, no_later);
        let held = self.held(client, user, now.at)?;
        held.until = until;
        Ok(seconds_to(until, now.at))
    }

    pub(crate) fn permit(
        &mut self,
        now: Now,
        client: &Client,
        user: &str,
        peers: &[SocketAddr],
    ) -> Result<(), Refusal> {
        self.held(client, user, now.at)?;
        if peers.is_empty() {
            return Err(Refusal::BadRequest);
        }
        if peers.iter().any(|peer| !self.may_permit(peer.ip())) {
            return Err(Refusal::Forbidden);
        }
        let held = self.held(client, user, now.at)?;
        if peers.iter().any(|peer| held.relay(Family::of(peer.ip())).is_none()) {
            return Err(Refusal::PeerFamily);
        }
        peers.iter().try_for_each(|peer| held.permit(peer.ip(), now.at))
    }

    pub(crate) fn bind(
        &mut self,
        now: Now,
        client: &Client,
        user: &str,
        number: u16,
        peer: SocketAddr,
    ) -> Result<(), Refusal> {
        self.held(client, user, now.at)?;
        let is_open = match self.reach(peer.ip()) {
            Reach::Open => true,
            Reach::Relays => self.relays.contains_key(&peer),
            Reach::Closed => false,
        };
        if !is_open {
            return Err(Refusal::Forbidden);
        }
        let held = self.held(client, user, now.at)?;
        if held.relay(Family::of(peer.ip())).is_none() {
            return Err(Refusal::PeerFamily);
        }
        held.bind(number, peer, now.at)
    }

    /// Where `bytes` of data of a client go: by which socket, to whom.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        client: &Client,
        to: To,
        bytes: usize,
    ) -> Result<(S, SocketAddr), Dropped> {
        let held = self.allocations.get(client).filter(|held| held.until > now);
        let held = held.ok_or(Dropped::NoAllocation)?;
        let peer = match to {
            To::Channel(number) => held.peer_of(number, now).ok_or(Dropped::NoPermission)?,
            To::Peer(peer) => peer,
        };
        let relay = held.relay(Family::of(peer.ip())).ok_or(Dropped::NoPermission)?;
        if !held.is_permitted(peer.ip(), now) {
            return Err(Dropped::NoPermission);
        }
        let to = if self.own.is_ours(peer.ip()) {
            let elsewhere = || self.rules.peers.is_listed(peer.ip()).then_some(peer);
            self.relays.get(&peer).copied().or_else(elsewhere).ok_or(Dropped::NoPermission)?
        } else {
            peer
        };
        let account = self.accounts.get_mut(&held.user).ok_or(Dropped::NoAllocation)?;
        if !account.to_peers.take(bytes as f64, now) {
            return Err(Dropped::Bandwidth);
        }
        Ok((relay.socket.clone(), to))
    }

    /// How `bytes` that came from `from` to the relay of allocation `id` go on to its client: from which
    /// peer, and on which channel, if there is one.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        client: &Client,
        id: u64,
        from: SocketAddr,
        bytes: usize,
    ) -> Result<(SocketAddr, Option<u16>), Dropped> {
        let held = self.allocations.get(client).filter(|held| held.id == id && held.until > now);
        let held = held.ok_or(Dropped::NoAllocation)?;
        let peer = if self.own.is_ours(from.ip()) { self.own.public_of(from) } else { from };
        if !held.is_permitted(peer.ip(), now) {
            return Err(Dropped::NoPermission);
        }
        let account = self.accounts.get_mut(&held.user).ok_or(Dropped::NoAllocation)?;
        if !account.to_clients.take(bytes as f64, now) {
            return Err(Dropped::Bandwidth);
        }
        Ok((peer, held.channel_to(peer, now)))
    }

    /// Ends what is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        let over = self.allocations.iter().filter(|(_, held)| held.until <= now);
        let over: Vec<Client> = over.map(|(client, _)| *client).collect();
        over.iter().for_each(|client| self.remove(client));
    }

    /// Ends what a client holds.
    pub(crate) fn remove(&mut self, client: &Client) {
        let Some(held) = self.allocations.remove(client) else { return };
        for relay in &held.relays {
            self.relays.remove(&relay.external);
        }
        let address = household(client.remote.ip());
        if let Some(count) = self.addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
        if let Some(account) = self.accounts.get_mut(&held.user) {
            account.allocations -= 1;
            if account.allocations == 0 {
                self.accounts.remove(&held.user);
            }
        }
    }

    /// Ends all.
    pub(crate) fn clear(&mut self) {
        self.allocations.clear();
        self.relays.clear();
        self.addresses.clear();
        self.accounts.clear();
    }

    fn held(&mut self, client: &Client, user: &str, now: Instant) -> Result<&mut Allocation<S>, Refusal> {
        self.forget_if_over(client, now);
        let held = self.allocations.get_mut(client).ok_or(Refusal::AllocationMismatch)?;
        if held.user == user { Ok(held) } else { Err(Refusal::WrongCredentials) }
    }

    fn forget_if_over(&mut self, client: &Client, now: Instant) {
        if self.allocations.get(client).is_some_and(|held| held.until <= now) {
            self.remove(client);
        }
    }

    fn room_for(&self, address: IpAddr, user: &str) -> Result<(), Refusal> {
        let quotas = &self.rules.quotas;
        let of_user = self.accounts.get(user).map_or(0, |account| account.allocations);
        let of_address = self.addresses.get(&address).copied().unwrap_or(0);
        // overflow: refused, in all three.
        if of_user >= quotas.per_credential || of_address >= quotas.per_address {
            return Err(Refusal::AllocationQuota);
        }
        if self.allocations.len() >= quotas.allocations {
            return Err(Refusal::InsufficientCapacity);
        }
        Ok(())
    }

    fn account(&mut self, user: &str, now: Instant) -> &mut Account {
        let rate = self.rules.quotas.bandwidth_kbps as f64 * 1000.0 / 8.0;
        let bucket = Bucket::new(rate, burst(rate), now);
        let new = || Account { allocations: 0, to_peers: bucket, to_clients: bucket };
        self.accounts.entry(user.to_owned()).or_insert_with(new)
    }

    fn until(&self, now: Now, asked: Option<u32>, no_later: Instant) -> Instant {
        let most = self.rules.quotas.lifetime;
        let seconds = asked.unwrap_or(LIFETIME).max(LIFETIME).min(most);
        no_later.min(now.at + Duration::from_secs(seconds.into()))
    }

    fn usual_family(&self, local: IpAddr) -> Family {
        if self.own.relay_ip(local, Family::V4).is_some() { Family::V4 } else { Family::V6 }
    }

    fn open(
        &mut self,
        local: IpAddr,
        family: Family,
        even: bool,
        id: u64,
        binder: &mut impl Binder<S>,
    ) -> Result<Relay<S>, Refusal> {
        let ip = self.own.relay_ip(local, family).ok_or(Refusal::AddressFamily)?;
        let Ports { first, last } = self.rules.ports;
        let start = self.random.random_range(first..=last);
        let free = (start..=last).chain(first..start).filter(|port| !even || port.is_multiple_of(2));
        let at = free.map(|port| SocketAddr::new(ip, port)).map(|at| (at, self.own.public_of(at)));
        for (internal, external) in at.filter(|(_, at)| !self.relays.contains_key(at)).take(MAX_TRIES) {
            match binder.bind(internal, id) {
                Ok(socket) => return Ok(Relay { socket, internal, external }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    tracing::warn!(%error, "a relayed address cannot be opened");
                    break;
                }
            }
        }
        Err(Refusal::InsufficientCapacity)
    }

    fn reach(&self, ip: IpAddr) -> Reach {
        match (self.own.is_ours(ip), self.rules.peers.is_listed(ip)) {
            (true, false) => Reach::Relays,
            (true, true) => Reach::Open,
            (false, _) if self.rules.peers.may_reach(ip) => Reach::Open,
            (false, _) => Reach::Closed,
        }
    }

    fn may_permit(&self, ip: IpAddr) -> bool {
        match self.reach(ip) {
            Reach::Open => true,
            Reach::Relays => self.relays.keys().any(|relay| relay.ip() == ip),
            Reach::Closed => false,
        }
    }
}

/// A credential's end that is further away is as good as this: ten years.
const FAR: u64 = 10 * 365 * 24 * 3600;

fn seconds_to(until: Instant, now: Instant) -> u32 {
    u32::try_from(until.saturating_duration_since(now).as_secs()).unwrap_or(u32::MAX)
}

fn granted<S>(held: &Allocation<S>, now: Now, no_additional: Option<Refusal>) -> Granted {
    let relayed = held.relays.iter().map(|relay| relay.external).collect();
    Granted { relayed, lifetime: seconds_to(held.until, now.at), no_additional }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
