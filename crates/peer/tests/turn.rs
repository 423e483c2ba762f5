//! Two peers that may use nothing but a relay.

#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

mod common;
#[path = "common/turn.rs"]
mod turn;

use common::{Pair, Seen, stream};
use peer::{IceServer, Kind, PeerConfig, PeerEvent, source};
use turn::{Identity, PASSWORD, Turn, USER};

fn config(urls: &[String]) -> PeerConfig {
    let server = IceServer { urls: urls.to_vec(), username: USER.into(), credential: PASSWORD.into() };
    PeerConfig { ice_servers: vec![server], relay_only: true, ..PeerConfig::default() }
}

/// Connects two who have the same servers, and lets media flow both ways.
async fn call(config: &PeerConfig) -> Pair {
    let started = std::time::Instant::now();
    let pair = Pair::with(config);
    pair.a.peer.negotiate().unwrap();
    pair.connected().await;
    println!("from nothing to connected through the relay: {:?}", started.elapsed());
    let mut streams = vec![];
    for side in [&pair.a, &pair.b] {
        for (kind, bytes) in [(Kind::Audio, 80), (Kind::Video, 3_000)] {
            let (writer, track) = source(kind);
            side.peer.sender(kind).replace_track(Some(track)).unwrap();
            streams.push(stream(writer, bytes, 77));
        }
    }
    for side in [&pair.a, &pair.b] {
        side.seen
            .until("media", |seen| seen.rtp_of(Kind::Audio).len() > 50 && seen.rtp_of(Kind::Video).len() > 60)
            .await;
        let transport = side.peer.stats().await.transport;
        assert_eq!(transport.path.as_deref(), Some("relayed"), "{transport:?}");
        assert_eq!(transport.local_candidate_type.as_deref(), Some("relay"));
    }
    pair
}

/// What leaves names no address of this machine: neither its own nor, as raddr, the one behind the relay.
fn tells_no_address(seen: &Seen) {
    let ours: Vec<String> = peer::local_addresses().iter().map(ToString::to_string).collect();
    let mut relays = 0;
    for event in seen.events.lock().unwrap().iter() {
        let text = match event {
            PeerEvent::Description(description) => description.sdp.clone(),
            PeerEvent::Candidate(Some(candidate)) => {
                assert!(candidate.candidate.contains(" typ relay raddr 0.0.0.0 rport 0"), "{candidate:?}");
                relays += 1;
                candidate.candidate.clone()
            }
            _ => continue,
        };
        // The relay itself may be on this machine, as 127.0.0.1.
        let told = ours.iter().find(|ours| *ours != "127.0.0.1" && text.contains(*ours));
        assert_eq!(told, None, "{text}");
    }
    assert!(relays > 0, "no relay candidate was told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_goes_both_ways_through_a_relay() {
    let Some(turn) = Turn::start() else { return };
    let pair = call(&config(std::slice::from_ref(&turn.url))).await;
    tells_no_address(&pair.a.seen);
    tells_no_address(&pair.b.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_goes_both_ways_through_a_relay_over_tcp() {
    let Some(turn) = Turn::start() else { return };
    let pair = call(&config(&[turn.tcp_url()])).await;
    tells_no_address(&pair.a.seen);
    tells_no_address(&pair.b.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_goes_both_ways_through_a_relay_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let identity =
        Identity { certificate: folder.path().join("turn.pem"), key: folder.path().join("turn.key") };
    std::fs::write(&identity.certificate, made.cert.pem()).unwrap();
    std::fs::write(&identity.key, made.signing_key.serialize_pem()).unwrap();
    let Some(turn) = Turn::start_with(Some(&identity)) else { return };
    let trusting = PeerConfig { certificates: vec![made.cert.der().to_vec()], ..config(&[turn.tls_url()]) };
    drop(call(&trusting).await);

    // Who does not know the certificate sends it no credentials, and so has no relay.
    let pair = Pair::with(&config(&[turn.tls_url(), "turn:127.0.0.1:9?transport=tcp".into()]));
    pair.a.peer.negotiate().unwrap();
    pair.a
        .seen
        .until("the end of candidates", |seen| seen.count(|e| *e == PeerEvent::Candidate(None)) > 0)
        .await;
    assert_eq!(pair.a.seen.count(|event| matches!(event, PeerEvent::Candidate(Some(_)))), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_udp_relays_no_stream_is_used() {
    let Some(turn) = Turn::start() else { return };
    let pair = call(&config(&[turn.url.clone(), turn.tcp_url()])).await;
    let candidates = pair.a.seen.count(|event| matches!(event, PeerEvent::Candidate(Some(_))));
    // The loopback is a way to the relay of its own where the machine has no other address.
    let sockets = peer::local_addresses().iter().filter(|address| address.is_ipv4()).count();
    assert_eq!(candidates, sockets, "one allocation for each socket, not two");
}
