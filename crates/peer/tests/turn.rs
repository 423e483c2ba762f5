//! Two peers that may use nothing but a relay.

mod common;
#[path = "common/turn.rs"]
mod turn;

use common::{Pair, stream};
use peer::{IceServer, Kind, PeerConfig, source};
use turn::{PASSWORD, Turn, USER};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_goes_both_ways_through_a_relay() {
    let Some(turn) = Turn::start() else { return };
    let server =
        IceServer { urls: vec![turn.url.clone()], username: USER.into(), credential: PASSWORD.into() };
    let config = PeerConfig { ice_servers: vec![server], relay_only: true, ..PeerConfig::default() };
    let started = std::time::Instant::now();
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
