//! Two real peers in one process, over this machine's own network.

mod common;

use common::{Pair, Stream, deliver, frame, side, stream};
use peer::{Candidate, Description, Kind, PeerError, PeerEvent, RtpIn, source};
use std::time::Duration;

/// Every packet's number is the one before plus one, and time never goes back or leaps.
fn assert_continuous(packets: &[RtpIn], largest_leap: u32) {
    for pair in packets.windows(2) {
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "a gap in the numbers");
        let ticks = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!(ticks <= largest_leap, "{ticks} ticks at once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_goes_both_ways() {
    let pair = Pair::call().await;
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
        let video = side.seen.rtp_of(Kind::Video);
        assert_continuous(&side.seen.rtp_of(Kind::Audio), 48_000 / 2);
        assert_continuous(&video, 90_000 / 2);
        // Three packets a picture: the first begins it, the last is marked.
        for picture in video.chunks_exact(3) {
            let begins: Vec<bool> = picture.iter().map(|packet| packet.payload[0] & 0x10 != 0).collect();
            let marked: Vec<bool> = picture.iter().map(|packet| packet.marker).collect();
            assert_eq!((begins, marked), (vec![true, false, false], vec![false, false, true]));
        }
        assert!(side.seen.rtp_of(Kind::Audio)[0].marker, "the first sound after silence is marked");
        assert!(side.seen.keyframe_requests() > 0, "a new path starts with a keyframe");
    }
    assert_eq!((pair.a.seen.descriptions(), pair.b.seen.descriptions()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_waits_for_no_timer() {
    let started = std::time::Instant::now();
    let _pair = Pair::call().await;
    let took = started.elapsed();
    println!("from nothing to connected on both sides: {took:?}");
    // The stack's own waits for better candidates would make it 1.6 s.
    assert!(took < Duration::from_millis(1_000), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_cross_converge() {
    let pair = Pair::new();
    pair.a.peer.negotiate().unwrap();
    pair.b.peer.negotiate().unwrap();
    pair.connected().await;
    let (writer, track) = source(Kind::Video);
    pair.b.peer.sender(Kind::Video).replace_track(Some(track)).unwrap();
    let _stream = stream(writer, 500, 0);
    let (writer, track) = source(Kind::Audio);
    pair.a.peer.sender(Kind::Audio).replace_track(Some(track)).unwrap();
    let _sound = stream(writer, 80, 0);
    pair.a.seen.until("video", |seen| seen.rtp_of(Kind::Video).len() > 10).await;
    pair.b.seen.until("audio", |seen| seen.rtp_of(Kind::Audio).len() > 10).await;
    assert_eq!(pair.a.seen.descriptions(), 1, "the impolite side's offer stands");
    assert_eq!(pair.b.seen.descriptions(), 2, "the polite side offered, then answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_may_come_before_the_offer() {
    let (mut a, mut b) = (side(false), side(true));
    let _back = deliver(b.events.take().unwrap(), b.seen.clone(), a.peer.clone());
    let mut events = a.events.take().unwrap();
    a.peer.negotiate().unwrap();
    let mut offer = None;
    while let Some(event) = events.recv().await {
        match event {
            PeerEvent::Description(description) => offer = Some(description),
            PeerEvent::Candidate(Some(candidate)) => {
                let json = serde_json::to_string(&candidate).unwrap();
                let bare: Candidate = serde_json::from_str(&json).unwrap();
                b.peer.remote_candidate(Some(Candidate { sdp_m_line_index: None, ..bare })).unwrap();
            }
            PeerEvent::Candidate(None) => break,
            _ => {}
        }
    }
    // Only trickled candidates lead to `a`.
    let mut offer = offer.unwrap();
    offer.sdp =
        offer.sdp.lines().filter(|l| !l.starts_with("a=candidate")).map(|l| format!("{l}\r\n")).collect();
    b.peer.remote_description(offer).unwrap();
    let _there = deliver(events, a.seen.clone(), b.peer.clone());
    let connected = PeerEvent::State(peer::ConnectionState::Connected);
    a.seen.until("connection", |seen| seen.count(|event| *event == connected) > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replace_track_keeps_one_stream_and_negotiates_nothing() {
    let pair = Pair::call().await;
    let _clock = clock(&pair);
    let slot = pair.a.peer.sender(Kind::Video);
    let (_, sound) = source(Kind::Audio);
    let mismatch = PeerError::KindMismatch { slot: Kind::Video, given: Kind::Audio };
    assert_eq!(slot.replace_track(Some(sound)), Err(mismatch));

    let (first, track) = source(Kind::Video);
    slot.replace_track(Some(track)).unwrap();
    let first_stream = stream(first.clone(), 2_000, 1_000);
    pair.b.seen.until("first source", |seen| seen.rtp_of(Kind::Video).len() > 20).await;

    let (second, track) = source(Kind::Video);
    slot.replace_track(Some(track)).unwrap();
    let second_stream = stream(second, 700, 4_000_000_000);
    let at_swap = pair.b.seen.rtp_of(Kind::Video).len();
    pair.b.seen.until("second source", |seen| seen.rtp_of(Kind::Video).len() > at_swap + 20).await;
    assert!(first.is_closed(), "the replaced source's writer can see it");
    let packets = pair.b.seen.rtp_of(Kind::Video);
    assert_continuous(&packets, 90_000 / 2);
    assert_eq!(packets[0].ssrc, slot.ssrc());
    drop((first_stream, second_stream));

    slot.replace_track(None).unwrap();
    quiet(&pair, Kind::Video).await;
    let (third, track) = source(Kind::Video);
    slot.replace_track(Some(track)).unwrap();
    let before = pair.b.seen.rtp_of(Kind::Video).len();
    third.write(frame(300, 0, false)).unwrap();
    third.write(frame(300, 3_000, true)).unwrap();
    pair.b.seen.until("third source", |seen| seen.rtp_of(Kind::Video).len() > before).await;
    let after = pair.b.seen.rtp_of(Kind::Video);
    assert_eq!(after.len(), before + 1, "the picture that needs an earlier one is not sent");
    assert_eq!(after[before].seq, after[before - 1].seq.wrapping_add(1));

    assert_eq!((pair.a.seen.descriptions(), pair.b.seen.descriptions()), (1, 1), "nothing was negotiated");
    pair.a.peer.close().await;
    assert_eq!(pair.a.peer.sender(Kind::Video).replace_track(None), Err(PeerError::Closed));
    assert_eq!(pair.a.peer.negotiate(), Err(PeerError::Closed));
}

/// Lets `a` receive so many packets of sound, which come 20 ms apart: the clock for what must not happen
/// meanwhile. It stops, and the test fails, if the connection itself is dead.
async fn beats(pair: &Pair, count: usize) {
    let now = pair.a.seen.rtp_of(Kind::Audio).len();
    pair.a.seen.until("beat", |seen| seen.rtp_of(Kind::Audio).len() >= now + count).await;
}

/// `b` sends the sound that [`beats`] counts.
fn clock(pair: &Pair) -> Stream {
    let (writer, track) = source(Kind::Audio);
    pair.b.peer.sender(Kind::Audio).replace_track(Some(track)).expect("a slot that is open");
    stream(writer, 80, 0)
}

/// Waits until what is on its way has come: the count has not moved for fifteen beats.
async fn quiet(pair: &Pair, kind: Kind) -> usize {
    let mut last = usize::MAX;
    loop {
        let now = pair.b.peer.stats().await;
        let stats = if kind == Kind::Audio { now.audio } else { now.video };
        let received = stats.inbound_rtp.packets_received as usize;
        if received == last {
            return received;
        }
        last = received;
        // Longer than any pacing and any retransmission takes on one machine.
        beats(pair, 15).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_off_lets_nothing_out() {
    let pair = Pair::call().await;
    let _clock = clock(&pair);
    let mut streams = vec![];
    for (kind, bytes) in [(Kind::Audio, 80), (Kind::Video, 2_000)] {
        let (writer, track) = source(kind);
        pair.a.peer.sender(kind).replace_track(Some(track)).unwrap();
        streams.push(stream(writer, bytes, 0));
    }
    for kind in [Kind::Audio, Kind::Video] {
        pair.b.seen.until("media", |seen| seen.rtp_of(kind).len() > 10).await;
        pair.a.peer.sender(kind).set_enabled(false);
    }
    let sent = pair.a.peer.stats().await;
    let (audio, video) = (quiet(&pair, Kind::Audio).await, quiet(&pair, Kind::Video).await);
    // A new source and a keyframe request change nothing about it.
    let (writer, track) = source(Kind::Video);
    pair.a.peer.sender(Kind::Video).replace_track(Some(track)).unwrap();
    streams.push(stream(writer, 2_000, 0));
    pair.b.peer.request_keyframe().unwrap();
    beats(&pair, 30).await;
    assert_eq!((quiet(&pair, Kind::Audio).await, quiet(&pair, Kind::Video).await), (audio, video));
    let now = pair.a.peer.stats().await;
    assert_eq!(now.audio.outbound_rtp.packets_sent, sent.audio.outbound_rtp.packets_sent);
    assert_eq!(now.video.outbound_rtp.packets_sent, sent.video.outbound_rtp.packets_sent);
    assert!(!now.video.outbound_rtp.active);

    let asked = pair.a.seen.keyframe_requests();
    let packets = pair.b.seen.rtp_of(Kind::Video).len();
    pair.a.peer.sender(Kind::Video).set_enabled(true);
    pair.b.seen.until("video again", |seen| seen.rtp_of(Kind::Video).len() > packets + 5).await;
    pair.a.seen.until("keyframe request", |seen| seen.keyframe_requests() > asked).await;
    let again = pair.b.seen.rtp_of(Kind::Video);
    let first = again.iter().skip(packets).find(|packet| packet.payload[0] & 0x10 != 0).unwrap();
    // After the payload descriptor (3 or 4 bytes with the picture's number) comes our own key mark.
    let descriptor = if first.payload[2] & 0x80 != 0 { 4 } else { 3 };
    assert_eq!(first.payload[descriptor], 0, "pictures start with a keyframe");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyframe_requests_arrive_throttled_and_are_counted() {
    let pair = Pair::call().await;
    let _clock = clock(&pair);
    let (writer, track) = source(Kind::Video);
    pair.a.peer.sender(Kind::Video).replace_track(Some(track)).unwrap();
    let _stream = stream(writer, 500, 0);
    pair.b.seen.until("video", |seen| seen.rtp_of(Kind::Video).len() > 20).await;
    let before = pair.a.seen.keyframe_requests();
    let started = std::time::Instant::now();
    for _ in 0..50 {
        pair.b.peer.request_keyframe().unwrap();
    }
    pair.a.seen.until("two requests", |seen| seen.keyframe_requests() >= before + 2).await;
    assert!(started.elapsed() >= Duration::from_millis(150), "the second one waits");
    beats(&pair, 25).await;
    assert_eq!(pair.a.seen.keyframe_requests(), before + 2, "fifty in a moment make two");
    let stats = pair.a.peer.stats().await;
    assert_eq!(stats.video.outbound_rtp.pli_count, 2);
    assert_eq!(pair.b.peer.stats().await.video.inbound_rtp.pli_count, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_goes_on_after_an_ice_restart() {
    let pair = Pair::call().await;
    let (writer, track) = source(Kind::Audio);
    pair.a.peer.sender(Kind::Audio).replace_track(Some(track)).unwrap();
    let _stream = stream(writer, 80, 0);
    pair.b.seen.until("audio", |seen| seen.rtp_of(Kind::Audio).len() > 20).await;
    pair.b.peer.restart_ice().unwrap();
    pair.a.seen.until("answer", |seen| seen.descriptions() == 2).await;
    let before = pair.b.seen.rtp_of(Kind::Audio).len();
    pair.b.seen.until("audio after the restart", |seen| seen.rtp_of(Kind::Audio).len() > before + 100).await;
    assert_eq!((pair.a.seen.descriptions(), pair.b.seen.descriptions()), (2, 2));
    let ufrags = |seen: &common::Seen| {
        let events = seen.events.lock().unwrap();
        let all = events.iter().filter_map(|event| match event {
            PeerEvent::Description(description) => description.ufrag().map(str::to_owned),
            _ => None,
        });
        all.collect::<Vec<_>>()
    };
    for side in [&pair.a, &pair.b] {
        let both = ufrags(&side.seen);
        assert_ne!(both[0], both[1], "a restart has new credentials");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_refused_and_the_connection_still_connects() {
    let pair = Pair::new();
    let rejected = |seen: &common::Seen| seen.count(|event| matches!(event, PeerEvent::Rejected(_)));
    let session = format!(
        "a=ice-ufrag:user\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\n",
        "p".repeat(22),
        ["00"; 32].join(":"),
    );
    let start = format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{session}");
    let section = "a=rtpmap:111 opus/48000/2\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n";
    let bad = [
        String::new(),
        "garbage".into(),
        format!("{start}m=\r\n{section}"),
        format!("{start}m=audio x y z\r\n{section}"),
        format!("{start}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"),
        // These pass for readable at first sight.
        format!("v=0\r\n{session}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{section}"),
        format!("{start}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{section}zzz\r\n"),
        format!("{start}m=audio 9 UDP/TLS/RTP/SAVPF 9\r\na=mid:0\r\na=rtpmap:9 G722/8000\r\n"),
    ];
    let count = bad.len();
    for sdp in bad {
        pair.b.peer.remote_description(Description::offer(sdp)).unwrap();
    }
    pair.b.peer.remote_description(Description::answer("garbage")).unwrap();
    let candidate = Candidate { candidate: "candidate:1 1 udp what".into(), ..Default::default() };
    pair.b.peer.remote_candidate(Some(candidate)).unwrap();
    pair.b.seen.until("refusals", |seen| rejected(seen) > count).await;
    pair.a.peer.negotiate().unwrap();
    pair.connected().await;
    let refused = rejected(&pair.b.seen);
    pair.b.peer.remote_description(Description::offer("garbage")).unwrap();
    pair.b.seen.until("one more refusal", |seen| rejected(seen) > refused).await;
    assert_eq!(pair.b.peer.state(), peer::ConnectionState::Connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_have_the_path_round_trips_and_counts() {
    let pair = Pair::call().await;
    let _clock = clock(&pair);
    let (writer, track) = source(Kind::Audio);
    pair.a.peer.sender(Kind::Audio).replace_track(Some(track)).unwrap();
    let _stream = stream(writer, 80, 0);
    // Reports go out once a second, and are echoed by the next.
    let full = async {
        loop {
            let stats = pair.a.peer.stats().await;
            let reported = stats.audio.remote_inbound_rtp.as_ref().and_then(|report| report.round_trip_time);
            if reported.is_some() && stats.transport.current_round_trip_time.is_some() {
                return stats;
            }
            beats(&pair, 1).await;
        }
    };
    let stats = tokio::time::timeout(common::LONG, full).await.expect("no round trip was measured");
    assert!(stats.transport.current_round_trip_time.unwrap() < 0.5);
    assert_eq!(stats.transport.path.as_deref(), Some("direct"));
    assert!(stats.transport.local_candidate_type.is_some());
    let report = stats.audio.remote_inbound_rtp.clone().unwrap();
    assert!(report.round_trip_time.unwrap() < 0.5 && report.packets_lost == 0);
    let received = pair.b.peer.stats().await.audio.inbound_rtp;
    assert!(stats.audio.outbound_rtp.packets_sent > 50);
    assert!(received.packets_received >= stats.audio.outbound_rtp.packets_sent - 5);
    assert!(received.jitter < 0.05 && received.packets_lost == 0, "{received:?}");
    let json = serde_json::to_value(&stats).unwrap();
    assert!(json["audio"]["outboundRtp"]["packetsSent"].is_u64(), "{json}");
    assert!(json["transport"]["currentRoundTripTime"].is_f64(), "{json}");
}
