//! What may pass a socket: packets of those who proved that they are the other side, and of our servers.
//!
//! The stack takes media from any address once it has a path, and makes state for it. Here nobody is heard
//! but who answers a connectivity check or has one answered, which takes the passwords that crossed in the
//! descriptions: a remote address is *proven* when we send a Binding success response to it. A check must
//! call us by our own `ufrag`. What a relay hands on is judged by the address behind the relay.

use super::stun::{self, Message};
use std::collections::VecDeque;
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

/// A channel on a relay: our socket, the server, the number.
type Channel = (SocketAddr, SocketAddr, u16);

/// One connection's rules and what it learned, for all its sockets.
#[derive(Debug, Default)]
pub(super) struct Filter {
    relay_only: bool,
    servers: VecDeque<SocketAddr>,
    ufrags: VecDeque<String>,
    proven: VecDeque<SocketAddr>,
    channels: VecDeque<(Channel, SocketAddr)>,
    /// The other side's candidates.
    told: VecDeque<SocketAddr>,
    /// Since when it is asked under its present name.
    began: Option<Instant>,
}

fn keep<T: PartialEq>(list: &mut VecDeque<T>, item: T, most: usize) {
    list.retain(|other| *other != item);
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(item);
}

impl Filter {
    pub(super) fn new(relay_only: bool) -> Self {
        Self { relay_only, ..Self::default() }
    }

    /// A STUN or TURN server that we ask.
    pub(super) fn add_server(&mut self, server: SocketAddr) {
        keep(&mut self.servers, server, MAX_SERVERS);
    }

    pub(super) fn is_server(&self, address: SocketAddr) -> bool {
        self.servers.contains(&address)
    }

    /// By what name the other side calls us from now on.
    pub(super) fn add_ufrag(&mut self, ufrag: &str, now: Instant) {
        if !self.ufrags.iter().any(|known| known == ufrag) {
            self.began = Some(now);
        }
        keep(&mut self.ufrags, ufrag.to_owned(), MAX_UFRAGS);
    }

    /// A candidate of the other side.
    pub(super) fn add_told(&mut self, candidate: SocketAddr) {
        keep(&mut self.told, candidate, MAX_TOLD);
    }

    /// Whether a packet of ours may leave; learns from it.
    pub(super) fn lets_out(&mut self, packet: &[u8], local: SocketAddr, to: SocketAddr) -> bool {
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
            keep(&mut self.proven, to, MAX_PROVEN);
        }
    }

    fn behind(&self, channel: Channel) -> Option<SocketAddr> {
        self.channels.iter().find(|(known, _)| *known == channel).map(|(_, peer)| *peer)
    }

    /// Whether a packet that came is for the stack.
    pub(super) fn lets_in(&self, packet: &[u8], local: SocketAddr, from: SocketAddr, now: Instant) -> bool {
        let server = self.is_server(from);
        if !server {
            return !self.relay_only && self.is_of_peer(packet, from, now);
        }
        if let Some((number, data)) = stun::channel_data(packet) {
            return self.behind((local, from, number)).is_some_and(|peer| self.is_of_peer(data, peer, now));
        }
        let Some(message) = Message::read(packet) else { return false };
        match (message.kind, message.peer(), message.data()) {
            (stun::DATA_INDICATION, Some(peer), Some(data)) => self.is_of_peer(data, peer, now),
            _ => message.is_response(),
        }
    }

    fn is_of_peer(&self, packet: &[u8], from: SocketAddr, now: Instant) -> bool {
        match packet.first() {
            // RFC 7983: STUN.
            Some(0..=3) => Message::read(packet).is_some_and(|message| match message.kind {
                stun::BINDING_REQUEST => self.is_called(&message) && !self.is_early_relay(from, now),
                stun::BINDING_INDICATION => self.proven.contains(&from),
                _ => message.is_response(),
            }),
            // DTLS, RTP and RTCP.
            Some(20..=63 | 128..=191) => self.proven.contains(&from),
            _ => false,
        }
    }

    /// A relay, by the address of the servers that we know, of which signaling has not told yet.
    fn is_early_relay(&self, from: SocketAddr, now: Instant) -> bool {
        self.servers.iter().any(|server| server.ip() == from.ip())
            && !self.told.contains(&from)
            && self.began.is_some_and(|began| now.saturating_duration_since(began) < EARLY)
    }

    fn is_called(&self, check: &Message<'_>) -> bool {
        check.called().is_some_and(|called| self.ufrags.iter().any(|ufrag| ufrag.as_bytes() == called))
    }
}

#[cfg(test)]
mod tests {
    use super::stun::tests::{bind, check, message, relayed};
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
        let comes = |filter: &Filter, peer, data: &[u8]| {
            filter.lets_in(&relayed(stun::DATA_INDICATION, peer, data), local(), server, start())
        };
        assert!(comes(&filter, stranger, &check("mine:x")));
        assert!(!comes(&filter, peer, &RTP));
        assert!(filter.lets_out(&relayed(stun::SEND_INDICATION, peer, &success()), local(), server));
        assert!(comes(&filter, peer, &RTP) && !comes(&filter, stranger, &RTP));
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
        let comes = |filter: &Filter, from, after| {
            filter.lets_in(&check("mine:x"), local(), from, start() + Duration::from_millis(after))
        };
        assert!(!comes(&filter, relay, 499) && comes(&filter, relay, 500) && comes(&filter, direct, 0));
        // A description that says the same name again begins nothing anew.
        filter.add_ufrag("mine", start() + EARLY);
        assert!(comes(&filter, relay, 501));
        filter.add_ufrag("restarted", start() + EARLY);
        assert!(!comes(&filter, relay, 501));
        filter.add_told(relay);
        assert!(comes(&filter, relay, 501));
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
                filter.add_told(from);
                filter.add_server(from);
            }
            prop_assert!(filter.proven.len() <= MAX_PROVEN && filter.channels.len() <= MAX_CHANNELS);
            prop_assert!(filter.ufrags.len() <= MAX_UFRAGS && filter.told.len() <= MAX_TOLD);
            prop_assert!( filter.servers.len() <= MAX_SERVERS);
        }
    }
}
