//! STUN and TURN by a client of our own, that also says what no good client says.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

#[path = "common/turn.rs"]
mod common;
#[path = "common/mod.rs"]
mod rooms;

use common::{
    ALLOCATE, BINDING, Bot, LIFETIME, NONCE, REALM, REFRESH, REQUESTED_TRANSPORT, Reply, UDP,
    XOR_MAPPED_ADDRESS, XOR_RELAYED_ADDRESS, place, place_at, unix,
};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use server::turn::{Door, Dropped, Settings, Stats, Turn};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;
use stun_types::message::{Message, MessageClass, Method};
use tokio::net::UdpSocket;
use tokio::time::timeout;

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

fn dropped(stats: &Stats, why: Dropped) -> u64 {
    stats.dropped.iter().find(|(reason, _)| *reason == why).unwrap().1
}

/// Everything that came to the server and was counted.
fn counted(stats: &Stats) -> u64 {
    let sum = |counts: &mut dyn Iterator<Item = u64>| counts.sum::<u64>();
    sum(&mut stats.dropped.iter().map(|(_, count)| *count))
        + sum(&mut stats.refused.iter().map(|(_, count)| *count))
        + stats.bindings
}

async fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    (socket, at)
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 10_000];
    let read = timeout(Duration::from_secs(10), socket.recv_from(&mut buffer)).await;
    let (length, from) = read.expect("silence").unwrap();
    buffer.truncate(length);
    (buffer, from)
}

#[tokio::test]
async fn a_binding_request_needs_no_credential_by_any_transport() {
    let place = place(Settings::default()).await;
    for mut bot in [Bot::udp(&place).await, Bot::tcp(&place).await, Bot::tls(&place).await] {
        let reply = bot.request(BINDING, &[]).await;
        assert_eq!(reply.code(), None);
        assert_eq!(reply.address(XOR_MAPPED_ADDRESS).unwrap().ip(), place.udp.ip());
        assert_eq!(reply.0.len(), 32, "nothing that was not asked for");
        // CHANGE-REQUEST, which we do not know.
        let reply = bot.request(BINDING, &[(3, &[0, 0, 0, 6])]).await;
        assert_eq!((reply.code(), reply.value(0x0a)), (Some(420), Some(vec![0, 3])));
    }
    assert_eq!(place.turn.stats().bindings, 6);
}

#[tokio::test]
async fn data_goes_both_ways_by_indications_and_by_channels() {
    let place = place(Settings::default()).await;
    for mut bot in [Bot::udp(&place).await, Bot::tcp(&place).await, Bot::tls(&place).await] {
        let relayed = bot.allocate().await;
        let (socket, at) = peer().await;
        let early = dropped(&place.turn.stats(), Dropped::NoPermission);
        // Nobody was permitted yet: what comes first is dropped.
        socket.send_to(b"too early", relayed).await.unwrap();
        while dropped(&place.turn.stats(), Dropped::NoPermission) == early {
            tokio::task::yield_now().await;
        }
        assert_eq!(bot.permit(at).await.code(), None);
        bot.send(at, b"hello").await;
        assert_eq!(receive(&socket).await, (b"hello".to_vec(), relayed));
        socket.send_to(b"hi", relayed).await.unwrap();
        assert_eq!(bot.hear_data().await, (Ok(at), b"hi".to_vec()));
        assert_eq!(bot.bind(0x4001, at).await.code(), None);
        bot.send_on(0x4001, b"12345").await;
        assert_eq!(receive(&socket).await, (b"12345".to_vec(), relayed));
        socket.send_to(b"123", relayed).await.unwrap();
        assert_eq!(bot.hear_data().await, (Err(0x4001), b"123".to_vec()));
        let gone = bot.request(REFRESH, &[(LIFETIME, &[0; 4])]).await;
        assert_eq!((gone.code(), gone.lifetime()), (None, Some(0)));
        assert_eq!(bot.permit(at).await.code(), Some(437));
    }
    let stats = place.turn.stats();
    assert_eq!((stats.to_peers.packets, stats.to_peers.bytes), (6, 30));
    assert_eq!((stats.to_clients.packets, stats.to_clients.bytes), (6, 15));
    assert_eq!((stats.allocated, stats.allocations.map(|(_, count)| count)), (3, [0; 3]));
}

#[tokio::test]
async fn streams_carry_each_packet_whole_and_in_order() {
    let place = place(Settings::default()).await;
    for mut bot in [Bot::tcp(&place).await, Bot::tls(&place).await] {
        let relayed = bot.allocate().await;
        let (socket, at) = peer().await;
        assert_eq!(bot.bind(0x4000, at).await.code(), None);
        let packet = |n: u16| [&n.to_be_bytes()[..], &vec![7; usize::from(n) % 1300]].concat();
        for round in 0..50 {
            let numbers = round * 20..(round + 1) * 20;
            for n in numbers.clone() {
                socket.send_to(&packet(n), relayed).await.unwrap();
            }
            for n in numbers.clone() {
                assert_eq!(bot.hear_data().await, (Err(0x4000), packet(n)));
                bot.send_on(0x4000, &packet(n)).await;
            }
            for n in numbers {
                assert_eq!(receive(&socket).await, (packet(n), relayed));
            }
        }
    }
}

#[tokio::test]
async fn two_relays_of_one_server_reach_each_other() {
    let place = place(settings(|s| s.allow_peers.clear())).await;
    let (mut a, mut b) = (Bot::udp(&place).await, Bot::tcp(&place).await);
    let (at_a, at_b) = (a.allocate().await, b.allocate().await);
    assert_eq!((a.bind(0x4000, at_b).await.code(), b.permit(at_a).await.code()), (None, None));
    a.send_on(0x4000, b"ping").await;
    assert_eq!(b.hear_data().await, (Ok(at_a), b"ping".to_vec()));
    b.send(at_b, b"to myself").await;
    b.send(at_a, b"pong").await;
    assert_eq!(a.hear_data().await, (Err(0x4000), b"pong".to_vec()));
}

#[tokio::test]
async fn ipv6_is_served_like_ipv4() {
    let place = place_at(Ipv6Addr::LOCALHOST.into(), Settings::default()).await;
    let mut bot = Bot::udp(&place).await;
    // REQUESTED-ADDRESS-FAMILY: IPv4, which this server does not have.
    assert_eq!(bot.try_allocate(&[(0x17, &[1, 0, 0, 0])]).await.code(), Some(440));
    let reply = bot.try_allocate(&[(0x17, &[2, 0, 0, 0])]).await;
    let relayed = reply.address(XOR_RELAYED_ADDRESS).unwrap();
    assert!(relayed.is_ipv6());
    let socket = UdpSocket::bind("[::1]:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    assert_eq!(bot.permit("127.0.0.1:9".parse().unwrap()).await.code(), Some(443));
    assert_eq!(bot.permit(at).await.code(), None);
    bot.send(at, b"six").await;
    assert_eq!(receive(&socket).await, (b"six".to_vec(), relayed));
    socket.send_to(b"seven", relayed).await.unwrap();
    assert_eq!(bot.hear_data().await, (Ok(at), b"seven".to_vec()));
}

#[tokio::test]
async fn peers_that_are_nobodys_business_are_refused() {
    let place = place(Settings::default()).await;
    let mut bot = Bot::udp(&place).await;
    bot.allocate().await;
    for peer in ["10.0.0.1:80", "192.168.1.1:80", "169.254.169.254:80", "100.64.0.1:9", "224.0.0.1:9"] {
        let peer: SocketAddr = peer.parse().unwrap();
        assert_eq!(bot.permit(peer).await.code(), Some(403), "{peer}");
        assert_eq!(bot.bind(0x4000, peer).await.code(), Some(403), "{peer}");
        bot.send(peer, b"nobody may read this").await;
    }
    assert_eq!(bot.permit("8.8.8.8:1".parse().unwrap()).await.code(), None);
    assert_eq!(dropped(&place.turn.stats(), Dropped::NoPermission), 5);
    assert_eq!(place.turn.stats().to_peers.packets, 0);
}

#[tokio::test]
async fn expired_forged_and_foreign_credentials_get_nothing() {
    let place = place(Settings::default()).await;
    for username in [format!("{}:ann", unix() - 1), "ann".into(), format!("{}0:ann", "9".repeat(30))] {
        let mut bot = Bot::udp(&place).await.named(&username);
        assert_eq!(bot.try_allocate(&[]).await.code(), Some(401), "{username}");
    }
    let mut forged = Bot::udp(&place).await;
    forged.password = common::password("not the secret", &forged.username);
    assert_eq!(forged.try_allocate(&[]).await.code(), Some(401));
    let mut longer = Bot::udp(&place).await;
    longer.username = format!("{}:ann", unix() + 999_999);
    assert_eq!(longer.try_allocate(&[]).await.code(), Some(401), "with the password of another name");
    // A nonce of somebody else's server, then one that was changed.
    let mut bot = Bot::udp(&place).await;
    bot.knock().await;
    bot.nonce[23] ^= 1;
    let stale = bot.request(ALLOCATE, &[(REQUESTED_TRANSPORT, &UDP)]).await;
    assert_eq!(stale.code(), Some(438));
    bot.nonce = stale.value(NONCE).unwrap();
    assert_eq!(stale.value(REALM), Some(b"snug".to_vec()));
    assert_eq!(bot.request(ALLOCATE, &[(REQUESTED_TRANSPORT, &UDP)]).await.code(), None, "with the new one");
    assert_eq!(place.turn.stats().allocated, 1);
}

#[tokio::test]
async fn a_credential_is_good_for_so_many_allocations_and_never_outlived() {
    let place = place(settings(|s| s.quotas.per_credential = 2)).await;
    let username = format!("{}:ann", unix() + 100);
    let mut bots = vec![];
    for _ in 0..3 {
        bots.push(Bot::udp(&place).await.named(&username));
    }
    for bot in &mut bots[..2] {
        let lifetime = bot.try_allocate(&[(LIFETIME, &3600_u32.to_be_bytes())]).await.lifetime().unwrap();
        assert!((155..=160).contains(&lifetime), "{lifetime}");
    }
    assert_eq!(bots[2].try_allocate(&[]).await.code(), Some(486));
    let lifetime = bots[0].request(REFRESH, &[(LIFETIME, &3600_u32.to_be_bytes())]).await.lifetime();
    assert!(lifetime.unwrap() <= 160, "{lifetime:?}");
    // Another credential does not take it over.
    let held = std::mem::take(&mut bots[0].username);
    bots[0] = bots.remove(0).named(&format!("{}:eve", unix() + 999));
    assert_eq!(bots[0].request(REFRESH, &[]).await.code(), Some(441));
    bots[0].username = held;
    bots[0].password = common::password(common::SECRET, &bots[0].username);
    bots[0].request(REFRESH, &[(LIFETIME, &[0; 4])]).await;
    assert_eq!(bots[1].try_allocate(&[]).await.code(), None, "one was given back");
}

#[tokio::test]
async fn requests_that_make_no_sense_are_told_so() {
    let place = place(Settings::default()).await;
    let mut bot = Bot::tcp(&place).await;
    bot.knock().await;
    for (rest, code) in [
        (&[][..], 400),
        (&[(REQUESTED_TRANSPORT, &[6, 0, 0, 0][..])], 442),
        (&[(REQUESTED_TRANSPORT, &[17])], 400),
        (&[(REQUESTED_TRANSPORT, &UDP), (0x17, &[9, 0, 0, 0])], 440),
        (&[(REQUESTED_TRANSPORT, &UDP), (0x17, &[1, 0, 0, 0]), (0x8000, &[2, 0, 0, 0])], 400),
        (&[(REQUESTED_TRANSPORT, &UDP), (0x18, &[0x80])], 508),
        (&[(REQUESTED_TRANSPORT, &UDP), (0x22, &[0; 8])], 508),
        (&[(REQUESTED_TRANSPORT, &UDP), (0x1a, &[])], 420),
        (&[(REQUESTED_TRANSPORT, &UDP), (LIFETIME, &[1])], 400),
    ] {
        assert_eq!(bot.request(ALLOCATE, rest).await.code(), Some(code), "{rest:?}");
    }
    assert_eq!(bot.request(REFRESH, &[]).await.code(), Some(437));
    assert_eq!(bot.request(Method::new(9), &[]).await.code(), Some(400), "a channel to nobody");
    assert_eq!(place.turn.stats().allocated, 0);
}

/// What a stranger gets is never much more than it sent, and nothing for what is no request.
#[tokio::test]
async fn nobody_can_be_flooded_through_us() {
    let place = place(Settings::default()).await;
    let mut bot = Bot::udp(&place).await;
    let challenge = bot.knock().await;
    assert!(challenge.0.len() <= 100, "{}", challenge.0.len());
    let (socket, _) = peer().await;
    socket.connect(place.udp).await.unwrap();
    let mut random = StdRng::seed_from_u64(5);
    let mut sent = counted(&place.turn.stats());
    for length in 0..=200 {
        for fill in [0, 0x40, 0xff] {
            let mut bytes = vec![fill; length];
            if fill == 0xff {
                random.fill_bytes(&mut bytes);
            }
            // An empty frame of ChannelData for a start that looks like one.
            socket.send(&bytes).await.unwrap();
            sent += 1;
        }
        let answer = bot.message(MessageClass::Success, BINDING, &[]);
        let indication = bot.message(MessageClass::Indication, BINDING, &[]);
        for bytes in [answer, indication] {
            socket.send(&bytes).await.unwrap();
            sent += 1;
        }
        until_counted(&place.turn, sent).await;
    }
    assert_eq!(socket.try_recv(&mut [0; 100]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(bot.request(BINDING, &[]).await.code(), None, "it still answers");
}

async fn until_counted(turn: &Turn, count: u64) {
    let counting = async {
        while counted(&turn.stats()) < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), counting).await.expect("some packets never came");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_hundred_thousand_forged_packets_leave_no_trace_in_memory() {
    let place = place(Settings::default()).await;
    let mut good = Bot::udp(&place).await;
    good.allocate().await;
    let mut forger = Bot::udp(&place).await;
    forger.knock().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut random = StdRng::seed_from_u64(6);
    let mut sent = counted(&place.turn.stats());
    let mut before = 0;
    for round in 0..1600 {
        for n in 0..63_u32 {
            forger.username = format!("{}:{}", unix() + 1000, random.random::<u64>());
            random.fill_bytes(&mut forger.nonce[8..]);
            let mut bytes = match n % 3 {
                0 => forger.message(MessageClass::Request, ALLOCATE, &[(REQUESTED_TRANSPORT, &UDP)]),
                1 => forger.message(MessageClass::Request, BINDING, &[]),
                _ => forger.message(MessageClass::Request, REFRESH, &[(LIFETIME, &[0; 4])]),
            };
            if n % 7 == 0 {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 0xff;
            }
            socket.send_to(&bytes, place.udp).await.unwrap();
            sent += 1;
        }
        until_counted(&place.turn, sent).await;
        if round == 100 {
            before = resident_kib();
        }
    }
    let grown = resident_kib().saturating_sub(before);
    let stats = place.turn.stats();
    println!("{sent} packets, {grown} KiB more; {stats:?}");
    assert!(grown < 1024, "{grown} KiB");
    assert_eq!(stats.allocated, 1);
    assert!(dropped(&stats, Dropped::Stranger) > 50_000, "most strangers got no answer");
    // The loopback is one stranger, but who shows a credential is none.
    assert_eq!(good.request(REFRESH, &[]).await.code(), None);
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_data_and_blocks_nobody() {
    let place = place(settings(|s| s.quotas.bandwidth_kbps = 100_000_000)).await;
    let (mut slow, mut other) = (Bot::tcp(&place).await, Bot::udp(&place).await);
    let (to_slow, to_other) = (slow.allocate().await, other.allocate().await);
    let (socket, at) = peer().await;
    assert_eq!(slow.bind(0x4000, at).await.code(), None);
    assert_eq!(other.bind(0x4000, at).await.code(), None);
    // More than any socket buffer holds, at the pace at which the other one hears its share.
    let (mut rounds, before) = (0_u32, resident_kib());
    while dropped(&place.turn.stats(), Dropped::Full) < 2000 {
        for _ in 0..20 {
            socket.send_to(&[7; 1200], to_slow).await.unwrap();
        }
        socket.send_to(&rounds.to_be_bytes(), to_other).await.unwrap();
        assert_eq!(other.hear_data().await, (Err(0x4000), rounds.to_be_bytes().to_vec()));
        rounds += 1;
        assert!(rounds < 100_000, "nothing was dropped");
    }
    assert!(resident_kib() < before + 4096, "{} KiB more", resident_kib() - before);
    // It reads at last: whole frames, and then the answer that found room where data did not.
    let refresh = slow.message(MessageClass::Request, REFRESH, &[]);
    slow.say(&refresh).await;
    let mut data = 0;
    let answer = loop {
        let frame = slow.hear().await;
        if frame[0] < 0x40 {
            break Reply(frame);
        }
        assert_eq!((frame.len(), &frame[..4]), (1204, &[0x40, 0, 0x04, 0xb0][..]));
        data += 1;
    };
    assert_eq!(answer.code(), None);
    assert!(data > 20, "{data}");
}

#[tokio::test]
async fn a_connection_that_speaks_something_else_ends() {
    let place = place(Settings::default()).await;
    for start in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        &[0xff; 30],
        &[0x40, 0, 0xff, 0xff],
    ] {
        let mut bot = Bot::tcp(&place).await;
        bot.say(start).await;
        let end = timeout(Duration::from_secs(10), bot.next()).await.expect("it stays open");
        assert_eq!(end, None, "{start:?}");
    }
    // Cut anywhere, a request is still one.
    let mut bot = Bot::tcp(&place).await;
    let request = bot.message(MessageClass::Request, BINDING, &[]);
    for byte in request {
        bot.say(&[byte]).await;
    }
    let answer = bot.hear().await;
    assert!(Message::from_bytes(&answer).unwrap().has_class(MessageClass::Success));
}

#[tokio::test]
async fn what_a_connection_held_ends_with_it_and_all_ends_with_the_server() {
    let place = place(Settings::default()).await;
    let mut bot = Bot::tcp(&place).await;
    bot.allocate().await;
    assert_eq!(place.turn.stats().allocations[1].1, 1);
    drop(bot);
    let over = async {
        while place.turn.stats().connections > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), over).await.expect("the connection stays");
    assert_eq!(place.turn.stats().allocations[1].1, 0);
    let (mut stays, mut udp) = (Bot::tcp(&place).await, Bot::udp(&place).await);
    let relayed = udp.allocate().await;
    stays.allocate().await;
    place.turn.shutdown();
    assert_eq!(timeout(Duration::from_secs(10), stays.next()).await.expect("it stays open"), None);
    // Its port is free again.
    while UdpSocket::bind(relayed).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_tells_its_addresses_to_those_who_can_reach_them() {
    let place = place(Settings::default()).await;
    let [udp, tcp, tls] = [place.udp, place.tcp, place.tls].map(|at| at.port());
    for (host, written) in [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]")] {
        let expected = [
            format!("stun:{written}:{udp}"),
            format!("turn:{written}:{udp}?transport=udp"),
            format!("turn:{written}:{tcp}?transport=tcp"),
            format!("turns:{written}:{tls}?transport=tcp"),
        ];
        assert_eq!(place.turn.urls(host), expected);
    }
    // It listens on the loopback: whoever calls it so comes by a tunnel.
    assert_eq!(place.turn.urls("snug.example"), Vec::<String>::new());
    assert!(place.turn.ice_servers("ann", unix(), "snug.example").is_empty());
    let servers = place.turn.ice_servers("ann", 1000, "127.0.0.1");
    let [stun, turn] = &servers[..] else { panic!("{servers:?}") };
    assert_eq!((stun.urls.len(), &stun.username, turn.urls.len()), (1, &None, 3));
    assert_eq!(turn.username.as_deref(), Some("44200:ann"));
    assert_eq!(turn.credential.as_deref(), Some(&common::password(common::SECRET, "44200:ann")[..]));
}

#[tokio::test]
async fn who_joins_a_room_gets_a_credential_that_works() {
    let server = rooms::server().await;
    let (_ann, welcome) = rooms::Bare::join(&server, "tea", "Ann").await;
    let (stun, turn) = (&welcome["iceServers"][0], &welcome["iceServers"][1]);
    let at = stun["urls"][0].as_str().unwrap().strip_prefix("stun:").unwrap().parse().unwrap();
    assert_eq!(turn["urls"][0], format!("turn:{at}?transport=udp"));
    let mut bot = Bot::at(at).await;
    bot.username = turn["username"].as_str().unwrap().into();
    bot.password = turn["credential"].as_str().unwrap().into();
    bot.allocate().await;
    let (_bo, other) = rooms::Bare::join(&server, "tea", "Bo").await;
    assert_ne!(other["iceServers"][1]["username"], turn["username"], "each has an account of their own");
    server.shutdown().await;
}

#[tokio::test]
async fn a_port_that_is_taken_and_settings_that_cannot_be_are_told() {
    let place = place(Settings::default()).await;
    let door = |listen| Door { listen, tcp: None, tls: None };
    let taken = Turn::start(Settings::default(), common::SECRET.into(), door(place.udp)).unwrap_err();
    let port = place.udp.port();
    let start = format!("UDP port {port} of 127.0.0.1 is taken: ");
    assert!(taken.to_string().starts_with(&start), "{taken}");
    let foreign = "192.0.2.1:0".parse().unwrap();
    let error = Turn::start(Settings::default(), common::SECRET.into(), door(foreign)).unwrap_err();
    assert!(error.to_string().starts_with("cannot listen for STUN and TURN on UDP 192.0.2.1:0: "), "{error}");
    let bad = settings(|s| s.ttl = 1);
    let error = Turn::start(bad, common::SECRET.into(), door(place.udp)).unwrap_err();
    assert_eq!(error.to_string(), "[turn] ttl: credentials are good for 60 seconds at least");
}

#[tokio::test]
async fn connections_are_limited() {
    let place = place(settings(|s| s.quotas.connections = 2)).await;
    let mut bots = [Bot::tcp(&place).await, Bot::tcp(&place).await];
    for bot in &mut bots {
        assert_eq!(bot.request(BINDING, &[]).await.code(), None);
    }
    assert_eq!(timeout(Duration::from_secs(10), Bot::tcp(&place).await.next()).await.expect("served"), None);
    assert_eq!(bots[0].request(BINDING, &[]).await.code(), None);
}
