//! What may pass a socket: packets of those who proved that they are the other side, and of our servers.
//!
//! The stack takes media from any address once it has a path, and makes state for it. Here nobody is heard
//! but who answers a connectivity check or has one answered, which takes the passwords that crossed in the
//! descriptions: a remote address is *proven* when we send a Binding success response to it. A check must
//! call us by our own `ufrag`. What a relay hands on is judged by the address behind the relay.
//!
//! The stack makes state for each stream before it knows whether the packet is the other side's, and takes
//! RTCP that says it is not encrypted for theirs without looking at its tag. So streams are counted here, and
//! such RTCP dropped.

use super::stun::{self, Message};
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// overflow: the address that was proven longest ago is forgotten; the path in use is proven over and over.
const MAX_PROVEN: usize = 64;
/// overflow: the oldest is forgotten. More than one is in use only while ICE restarts.
const MAX_UFRAGS: usize = 4;
/// overflow: the oldest is forgotten.
const MAX_CHANNELS: usize = 256;
/// overflow: the oldest is forgotten. More than a configuration has.
const MAX_SERVERS: usize = 64;

/// overflow: the oldest is forgotten; its checks are waited with a little, no more.
const MAX_TOLD: usize = 128;
/// How long a check from a relay is not heard before signaling has told of that relay. The stack ranks whom
/// nobody told of above what servers see of us, and would take the relay for a direct way. Checks are
/// repeated.
const EARLY: Duration = Duration::from_millis(500);
/// How long after the first check a path by a relay may not be nominated by the other side. Browsers nominate the first path that
/// works, and then any better one; the stack stays with the first. Nominations are repeated. It is the time
/// for which we as the nominating side wait for better ones ([`crate::engine`]).
const RELAYS_WAIT: Duration = Duration::from_millis(500);
/// Whoever nominates a relay so soon after the first check does not wait for better ones.
const HASTY: Duration = Duration::from_millis(300);
/// The same of those who do not wait, once a check came directly: such a path will work, but a
/// browser takes its checks in turn, tens of milliseconds apart, and nominates that one only when it comes around
/// again. Whoever waits, as we do, nominates once, and is answered.
const RELAYS_WAIT_MORE: Duration = Duration::from_secs(2);

/// overflow: packets of further streams (SSRCs) are dropped. A call has two, and another pair when the other
/// side begins anew.
const MAX_STREAMS: usize = 512;
/// What follows SRTCP's word that tells whether it is encrypted (RFC 3711, 3.4): a tag of HMAC-SHA1.
const HMAC_TAG: usize = 10;

/// A channel on a relay: our socket, the server, the number.
type Channel = (SocketAddr, SocketAddr, u16);

/// One connection's rules and what it learned, for all its sockets.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    relay_only: bool,
    servers: VecDeque<SocketAddr>,
    ufrags: VecDeque<String>,
    proven: VecDeque<SocketAddr>,
    channels: VecDeque<(Channel, SocketAddr)>,
    /// The other side's candidates, and whether each is a relay's.
    told: VecDeque<(SocketAddr, bool)>,
    /// Since when it is asked under its present name.
    began: Option<Instant>,
    streams: HashSet<u32>,
    /// SRTP goes with HMAC-SHA1, not with an AEAD cipher.
    hmac: bool,
    /// When its first check by that name came.
    checked: Option<Instant>,
    /// A check, or the answer to one, came without a relay since then.
    direct: bool,
    /// The other side nominated a relay without waiting for better ones.
    hasty: bool,
}

fn keep<T: PartialEq>(list: &mut VecDeque<T>, item: T, most: usize) {
    list.retain(|other| *other != item);
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(item);
}

impl Filter {
    pub(crate) fn new(relay_only: bool) -> Self {
        Self { relay_only, ..Self::default() }
    }

    /// A STUN or TURN server that we ask.
    pub(crate) fn add_server(&mut self, server: SocketAddr) {
        keep(&mut self.servers, server, MAX_SERVERS);
    }

    pub(crate) fn is_server(&self, address: SocketAddr) -> bool {
        self.servers.contains(&address)
    }

    /// By what name the other side calls us from now on.
    pub(crate) fn add_ufrag(&mut self, ufrag: &str, now: Instant) {
        if !self.ufrags.iter().any(|known| known == ufrag) {
            self.began = Some(now);
            (self.checked, self.direct, self.hasty) = (None, false, false);
        }
        keep(&mut self.ufrags, ufrag.to_owned(), MAX_UFRAGS);
    }

    /// A candidate of the other side.
    pub(crate) fn add_told(&mut self, candidate: SocketAddr, relay: bool) {
        keep(&mut self.told, (candidate, relay), MAX_TOLD);
    }

    /// What was agreed upon for SRTP, as W3C's `srtpCipher` has it.
    pub(crate) fn set_srtp(&mut self, cipher: &str) {
        self.hmac = cipher.contains("HMAC");
    }

    /// Whether a packet of ours may leave; learns from it.
    pub(crate) fn lets_out(&mut self, packet: &[u8], local: SocketAddr, to: SocketAddr) -> bool {
        if !self.is_server(to) {
            if self.relay_only {
                return false;
            }
            self.learn(packet, to);
            return true;
        }
        if let Some((number, data)) = stun::channel_data(packet) {
            if let Some(peer) = self.behind((local, to, number)) {
                self.learn(data, peer);
            }
        } else if let Some(message) = Message::read(packet)
            && let Some(peer) = message.peer()
        {
            if message.kind == stun::SEND_INDICATION {
                self.learn(message.data().unwrap_or_default(), peer);
            } else if let (stun::CHANNEL_BIND_REQUEST, Some(number)) = (message.kind, message.channel()) {
                let channel = (local, to, number);
                self.channels.retain(|(known, _)| *known != channel);
                keep(&mut self.channels, (channel, peer), MAX_CHANNELS);
            }
        }
        true
    }

    fn learn(&mut self, packet: &[u8], to: SocketAddr) {
        if Message::read(packet).is_some_and(|message| message.kind == stun::BINDING_SUCCESS) {
            self.prove(to);
        }
    }

    /// Whoever is there is the other side.
    pub(crate) fn prove(&mut self, address: SocketAddr) {
        keep(&mut self.proven, address, MAX_PROVEN);
    }

    fn behind(&self, channel: Channel) -> Option<SocketAddr> {
        self.channels.iter().find(|(known, _)| *known == channel).map(|(_, peer)| *peer)
    }

    /// Whether a packet that came is for the stack.
    pub(crate) fn lets_in(
        &mut self,
        packet: &[u8],
        local: SocketAddr,
        from: SocketAddr,
        now: Instant,
    ) -> bool {
        let server = self.is_server(from);
        if !server {
            let comes = !self.relay_only && self.is_of_peer(packet, from, false, now);
            self.direct |= comes && packet.first().is_some_and(|first| *first <= 3) && !self.is_relay(from);
            return comes;
        }
        if let Some((number, data)) = stun::channel_data(packet) {
            return self
                .behind((local, from, number))
                .is_some_and(|peer| self.is_of_peer(data, peer, true, now));
        }
        let Some(message) = Message::read(packet) else { return false };
        match (message.kind, message.peer(), message.data()) {
            (stun::DATA_INDICATION, Some(peer), Some(data)) => self.is_of_peer(data, peer, true, now),
            _ => message.is_response(),
        }
    }

    /// `relayed`: to us, by a relay of ours.
    fn is_of_peer(&mut self, packet: &[u8], from: SocketAddr, relayed: bool, now: Instant) -> bool {
        match packet.first() {
            // RFC 7983: STUN.
            Some(0..=3) => Message::read(packet).is_some_and(|message| match message.kind {
                stun::BINDING_REQUEST => self.hears_check(&message, from, relayed, now),
                stun::BINDING_INDICATION => self.proven.contains(&from),
                _ => message.is_response(),
            }),
            // DTLS.
            Some(20..=63) => self.proven.contains(&from),
            Some(128..=191) => self.proven.contains(&from) && self.is_media(packet),
            _ => false,
        }
    }

    /// RTP or RTCP that the stack may look at.
    fn is_media(&mut self, packet: &[u8]) -> bool {
        let rtcp = is_rtcp(packet);
        if rtcp && self.hmac && !is_encrypted(packet) {
            return false;
        }
        let at = if rtcp { 4 } else { 8 };
        let Some(&ssrc) = packet.get(at..).and_then(<[u8]>::first_chunk::<4>) else { return false };
        let ssrc = u32::from_be_bytes(ssrc);
        self.streams.contains(&ssrc) || (self.streams.len() < MAX_STREAMS && self.streams.insert(ssrc))
    }

    fn hears_check(&mut self, check: &Message<'_>, from: SocketAddr, relayed: bool, now: Instant) -> bool {
        let Some(called) = check.called().filter(|called| self.is_known(called)) else { return false };
        if self.ufrags.back().is_some_and(|newest| newest.as_bytes() == called) {
            self.checked.get_or_insert(now);
        }
        let waits = check.nominates() && self.relays_wait(from, relayed, now);
        !waits && !self.is_early_relay(from, now)
    }

    /// A relay, by the address of the servers that we know, of which signaling has not told yet.
    fn is_early_relay(&self, from: SocketAddr, now: Instant) -> bool {
        self.servers.iter().any(|server| server.ip() == from.ip())
            && !self.told.iter().any(|(told, _)| *told == from)
            && self.began.is_some_and(|began| now.saturating_duration_since(began) < EARLY)
    }

    /// Whether a path has a relay at either end, and it is too early for that.
    fn relays_wait(&mut self, from: SocketAddr, relayed: bool, now: Instant) -> bool {
        if self.relay_only || !(relayed || self.is_relay(from)) {
            return false;
        }
        let passed = self.checked.map_or(Duration::ZERO, |first| now.saturating_duration_since(first));
        self.hasty |= passed < HASTY;
        passed < if self.hasty && self.direct { RELAYS_WAIT_MORE } else { RELAYS_WAIT }
    }

    fn is_relay(&self, from: SocketAddr) -> bool {
        self.told.contains(&(from, true))
    }

    fn is_known(&self, called: &[u8]) -> bool {
        self.ufrags.iter().any(|ufrag| ufrag.as_bytes() == called)
    }
}

/// RFC 5761, section 4.
fn is_rtcp(packet: &[u8]) -> bool {
    packet.get(1).is_some_and(|kind| (192..=223).contains(kind))
}

/// Whether SRTCP with a tag of HMAC-SHA1 says that it is encrypted.
fn is_encrypted(packet: &[u8]) -> bool {
    let word = packet.len().checked_sub(HMAC_TAG + 4);
    word.and_then(|at| packet.get(at)).is_some_and(|first| first & 0x80 != 0)
}

#[cfg(test)]
mod tests {
    use super::stun::tests::{bind, check, message, nomination, relayed};
    use super::*;
    use proptest::prelude::*;

    const RTP: [u8; 20] = [0x80; 20];
    const DTLS: [u8; 20] = [22; 20];

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Any moment: the same one for a whole test.
    fn start() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now)
    }

    fn local() -> SocketAddr {
        at("192.0.2.1:4000")
    }

    fn success() -> Vec<u8> {
        message(stun::BINDING_SUCCESS, &[])
    }

    #[test]
    fn media_passes_only_from_who_was_answered() {
        let mut filter = Filter::new(false);
        let (peer, stranger) = (at("192.0.2.2:5000"), at("192.0.2.2:5001"));
        filter.add_ufrag("mine", start());
        assert!(filter.lets_in(&check("mine:theirs"), local(), peer, start()));
        assert!(!filter.lets_in(&check("other:theirs"), local(), peer, start()));
        assert!(!filter.lets_in(&check("minetheirs"), local(), peer, start()));
        for media in [RTP, DTLS] {
            assert!(!filter.lets_in(&media, local(), peer, start()), "not proven yet");
        }
        // Asking somebody proves nothing: a candidate may name anybody.
        assert!(filter.lets_out(&check("theirs:mine"), local(), stranger));
        assert!(filter.lets_out(&success(), local(), peer));
        for media in [RTP, DTLS] {
            assert!(filter.lets_in(&media, local(), peer, start()));
            assert!(!filter.lets_in(&media, local(), stranger, start()));
        }
        for odd in [&[][..], &[100; 20], &[250; 20], &[0; 19]] {
            assert!(!filter.lets_in(odd, local(), peer, start()));
        }
    }

    #[test]
    fn behind_a_relay_the_address_there_counts() {
        let mut filter = Filter::new(true);
        let (server, peer, stranger) = (at("198.51.100.1:3478"), at("192.0.2.2:5000"), at("192.0.2.3:5000"));
        filter.add_server(server);
        filter.add_ufrag("mine", start());
        let comes = |filter: &mut Filter, peer, data: &[u8]| {
            filter.lets_in(&relayed(stun::DATA_INDICATION, peer, data), local(), server, start())
        };
        assert!(comes(&mut filter, stranger, &check("mine:x")));
        assert!(!comes(&mut filter, peer, &RTP));
        assert!(filter.lets_out(&relayed(stun::SEND_INDICATION, peer, &success()), local(), server));
        assert!(comes(&mut filter, peer, &RTP) && !comes(&mut filter, stranger, &RTP));
        let on_channel = [&[0x40, 7, 0, 20][..], &RTP].concat();
        assert!(!filter.lets_in(&on_channel, local(), server, start()), "the channel is not bound");
        assert!(filter.lets_out(&bind(0x4007, peer), local(), server));
        assert!(filter.lets_in(&on_channel, local(), server, start()));
        assert!(
            !filter.lets_in(&on_channel, at("192.0.2.1:4001"), server, start()),
            "another socket's channels"
        );
        assert!(filter.lets_out(&bind(0x4007, stranger), local(), server));
        assert!(!filter.lets_in(&on_channel, local(), server, start()), "it leads elsewhere now");
        let answer = success();
        let channel_answer = [&[0x40, 7][..], &(answer.len() as u16).to_be_bytes(), &answer].concat();
        assert!(filter.lets_out(&channel_answer, local(), server));
        assert!(filter.lets_in(&on_channel, local(), server, start()), "proven by way of the channel");
        assert!(!filter.lets_in(&RTP, local(), server, start()));
    }

    #[test]
    fn a_relay_that_nobody_told_of_yet_has_to_wait() {
        let mut filter = Filter::new(false);
        filter.add_server(at("198.51.100.1:3478"));
        filter.add_ufrag("mine", start());
        let (relay, direct) = (at("198.51.100.1:50000"), at("192.0.2.9:50000"));
        let comes = |filter: &mut Filter, from, after| {
            filter.lets_in(&check("mine:x"), local(), from, start() + Duration::from_millis(after))
        };
        assert!(
            !comes(&mut filter, relay, 499)
                && comes(&mut filter, relay, 500)
                && comes(&mut filter, direct, 0)
        );
        // A description that says the same name again begins nothing anew.
        filter.add_ufrag("mine", start() + EARLY);
        assert!(comes(&mut filter, relay, 501));
        filter.add_ufrag("restarted", start() + EARLY);
        assert!(!comes(&mut filter, relay, 501));
        filter.add_told(relay, true);
        assert!(comes(&mut filter, relay, 501));
    }

    #[test]
    fn a_relay_is_not_nominated_before_a_direct_path_had_its_time() {
        let (server, peer, relay) = (at("198.51.100.1:3478"), at("192.0.2.2:5000"), at("198.51.100.9:50000"));
        let (plain, nominates) = (check("mine:x"), nomination("mine:x"));
        let by_ours = |packet: &[u8]| relayed(stun::DATA_INDICATION, peer, packet);
        let new = |relay_only| {
            let mut filter = Filter::new(relay_only);
            filter.add_server(server);
            filter.add_ufrag("mine", start());
            filter.add_told(relay, true);
            filter.add_told(peer, false);
            filter
        };
        let comes = |filter: &mut Filter, packet: &[u8], from, after| {
            filter.lets_in(packet, local(), from, start() + Duration::from_millis(after))
        };
        let mut filter = new(true);
        assert!(comes(&mut filter, &by_ours(&nominates), server, 0), "there is no other way");
        let mut filter = new(false);
        assert!(comes(&mut filter, &by_ours(&plain), server, 0) && comes(&mut filter, &plain, relay, 0));
        for (packet, from) in [(&by_ours(&nominates), server), (&nominates, relay)] {
            assert!(
                !comes(&mut filter, packet, from, 299)
                    && !comes(&mut filter, packet, from, 499)
                    && comes(&mut filter, packet, from, 500)
            );
        }
        assert!(comes(&mut filter, &nominates, peer, 400), "a direct one at any time");
        for (packet, from) in [(&by_ours(&nominates), server), (&nominates, relay)] {
            assert!(!comes(&mut filter, packet, from, 1999) && comes(&mut filter, packet, from, 2000));
        }
        // Who was not too early is not kept waiting.
        let mut patient = new(false);
        assert!(comes(&mut patient, &plain, peer, 100) && !comes(&mut patient, &nominates, relay, 450));
        assert!(comes(&mut patient, &nominates, relay, 600), "500 ms after the first check");
        // Another search for a path begins anew.
        filter.add_ufrag("restarted", start() + Duration::from_secs(60));
        let again = nomination("restarted:x");
        assert!(!comes(&mut filter, &again, relay, 61_000) && comes(&mut filter, &again, relay, 61_500));
    }

    #[test]
    fn relay_only_speaks_to_servers_alone() {
        let mut filter = Filter::new(true);
        let (server, peer) = (at("198.51.100.1:3478"), at("192.0.2.2:5000"));
        filter.add_server(server);
        filter.add_ufrag("mine", start());
        for packet in [check("theirs:mine"), success(), RTP.to_vec()] {
            assert!(!filter.lets_out(&packet, local(), peer));
            assert!(filter.lets_out(&packet, local(), server));
        }
        for packet in [check("mine:theirs"), success(), RTP.to_vec()] {
            assert!(!filter.lets_in(&packet, local(), peer, start()), "its answer would tell our address");
        }
    }

    #[test]
    fn rtcp_that_says_it_is_not_encrypted_is_dropped() {
        let mut filter = Filter::new(false);
        let peer = at("192.0.2.2:5000");
        assert!(filter.lets_out(&success(), local(), peer));
        // A goodbye, SRTCP's word and a tag that nobody computed: the stack would believe it.
        let srtcp = |word: u8| [&[0x81, 203, 0, 1, 1, 2, 3, 4, word, 0, 0, 1][..], &[9; 10]].concat();
        assert!(
            filter.lets_in(&srtcp(0), local(), peer, start()),
            "the tag of another cipher may be anything"
        );
        filter.set_srtp("SRTP_AES128_CM_HMAC_SHA1_80");
        assert!(!filter.lets_in(&srtcp(0), local(), peer, start()));
        assert!(!filter.lets_in(&srtcp(0)[..13], local(), peer, start()), "no room for a tag");
        assert!(filter.lets_in(&srtcp(0x80), local(), peer, start()));
        assert!(filter.lets_in(&RTP, local(), peer, start()));
        filter.set_srtp("SRTP_AEAD_AES_128_GCM");
        assert!(filter.lets_in(&srtcp(0), local(), peer, start()));
    }

    #[test]
    fn a_flood_of_streams_makes_no_state_and_those_that_are_there_go_on() {
        let mut filter = Filter::new(false);
        let peer = at("192.0.2.2:5000");
        assert!(filter.lets_out(&success(), local(), peer));
        let mut of = |ssrc: u32| {
            let rtp = [&[0x80, 96, 0, 1, 0, 0, 0, 0][..], &ssrc.to_be_bytes(), &[0; 20]].concat();
            filter.lets_in(&rtp, local(), peer, start())
        };
        let taken = (0..100_000).filter(|ssrc| of(*ssrc)).count();
        assert_eq!(taken, MAX_STREAMS);
        assert!(of(7) && !of(100_001));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_forgotten(packets in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..60), any::<u16>()), 0..400)
        ) {
            let mut filter = Filter::new(false);
            filter.add_ufrag("mine", start());
            let server = at("198.51.100.1:3478");
            filter.add_server(server);
            for (packet, port) in packets {
                let from = SocketAddr::new([192, 0, 2, 9].into(), port);
                if packet.first().is_none_or(|first| *first > 3) {
                    prop_assert!(!filter.lets_in(&packet, local(), from, start()));
                }
                let _ = filter.lets_in(&packet, local(), server, start());
                filter.lets_out(&success(), local(), from);
                filter.lets_out(&bind(port, from), local(), server);
                filter.add_ufrag(&port.to_string(), start());
                filter.add_told(from, false);
                filter.add_server(from);
            }
            prop_assert!(filter.proven.len() <= MAX_PROVEN && filter.channels.len() <= MAX_CHANNELS);
            prop_assert!(filter.ufrags.len() <= MAX_UFRAGS && filter.told.len() <= MAX_TOLD);
            prop_assert!( filter.servers.len() <= MAX_SERVERS);
        }
    }
}
