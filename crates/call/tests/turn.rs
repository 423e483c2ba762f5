//! Two peers that may use nothing but a relay, the one inside the server, with what a welcome gave them.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

#[path = "../../peer/tests/common/mod.rs"]
mod common;

use common::{LONG, Pair, stream};
use peer::{IceServer, Kind, PeerConfig, source};
use signaling::{Client, ClientEvent, JoinRequest, Name, RoomName};
use std::time::Instant;
use tokio::sync::mpsc;

/// What somebody who joins is told to use.
async fn welcomed(server: &server::Running) -> Vec<IceServer> {
    // overflow: the client waits.
    let (events, mut heard) = mpsc::channel(64);
    let request = JoinRequest {
        server: signaling::Server::parse(&server.url()).unwrap(),
        room: RoomName::parse("tea").unwrap(),
        name: Name::parse("Ann").unwrap(),
        password: signaling::Password::default(),
        audio: true,
        video: true,
    };
    let _client = Client::connect(request, events);
    let welcome = tokio::time::timeout(LONG, async {
        loop {
            if let ClientEvent::Welcome(welcome) = heard.recv().await.expect("the client is over") {
                return welcome;
            }
        }
    });
    let servers = welcome.await.expect("no welcome").ice_servers.into_iter();
    let own = |server: signaling::IceServer| IceServer {
        urls: server.urls,
        username: server.username.unwrap_or_default(),
        credential: server.credential.unwrap_or_default(),
    };
    servers.map(own).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_through_the_relay_inside_the_server() {
    let config = server::Config { listen: ([127, 0, 0, 1], 0).into(), ..server::Config::default() };
    let server = server::Server::bind(config).await.unwrap();
    let ice_servers = welcomed(&server).await;
    let urls: Vec<&str> = ice_servers.iter().flat_map(|server| &server.urls).map(String::as_str).collect();
    assert!(urls.iter().any(|url| url.starts_with("stun:127.0.0.1:")), "{urls:?}");
    assert!(urls.iter().any(|url| url.starts_with("turn:127.0.0.1:")), "{urls:?}");
    let config = PeerConfig { ice_servers, relay_only: true, ..PeerConfig::default() };
    let started = Instant::now();
    let pair = Pair::with(&config);
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
}
