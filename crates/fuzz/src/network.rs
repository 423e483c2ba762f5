//! What crosses from peer to peer: descriptions, STUN, DTLS, SRTP, RTP, RTCP, Opus.

use crate::feed::{Feed, text};
use crate::now;
use media::RtpPacket;
use media::audio::examine;
use peer::examine::{Media, Signals, datagram, sealed, stream};
use peer::{Candidate, Description, Kind};
use std::net::SocketAddr;
use std::time::Duration;

/// Packets in a run.
const MOST_PACKETS: usize = 400;

/// RTP and RTCP, with SRTP taken off, between packets of our own.
pub fn rtp_rtcp(data: &[u8]) {
    let (mut feed, Ok(mut media)) = (Feed::new(data), Media::new(now())) else { return };
    for _ in 0..MOST_PACKETS {
        if feed.is_over() {
            return;
        }
        let heard = media.heard;
        // A packet that is refused is dropped, and the connection goes on.
        let _refused = match feed.byte() {
            0 => media.send(Kind::Audio, &vec![1; usize::from(feed.byte())]),
            1 => media.send(Kind::Video, &vec![1; usize::from(feed.word()) % 8192]),
            2 => media.pass(Duration::from_millis(u64::from(feed.byte()) * 4)),
            _ => media.came(feed.piece()),
        };
        assert!(media.heard - heard <= 9, "one packet became {}", media.heard - heard);
    }
}

/// SRTP and SRTCP of somebody who has no keys.
pub fn srtp(data: &[u8]) {
    let mut feed = Feed::new(data);
    let gcm = feed.byte() & 1 == 1;
    let pieces = std::iter::from_fn(|| (!feed.is_over()).then(|| feed.piece())).take(MOST_PACKETS);
    assert_eq!(sealed(pieces, gcm), Ok(0), "a forgery is taken");
}

/// Descriptions and candidates of the other side. `!offer` and `!answer` begin a description, `!pass` lets
/// time pass, and `!candidate:…` is one.
pub fn sdp(data: &[u8]) {
    let Ok(mut signals) = Signals::new(now()) else { return };
    for section in text(data).split('!').filter(|section| !section.is_empty()).take(16) {
        let (first, rest) = section.split_once('\n').unwrap_or((section, ""));
        // What is refused is told, and the connection goes on.
        let _refused = match first.trim_end() {
            "offer" => signals.description(Description::offer(rest)),
            "answer" => signals.description(Description::answer(rest)),
            "pass" => signals.pass(Duration::from_millis(100)),
            line => signals.candidate(&Candidate { candidate: line.into(), ..Candidate::default() }),
        };
    }
    for _ in 0..4 {
        let _nothing_due = signals.pass(Duration::from_millis(60));
    }
}

/// Datagrams of the other side, after its offer and before there are keys.
pub fn transport(data: &[u8]) {
    let (mut feed, Ok(mut signals)) = (Feed::new(data), Signals::new(now())) else { return };
    let offer = include_str!("../../../fuzz/corpus/sdp/offer-snug").trim_start_matches("!offer\n");
    if let Err(why) = signals.description(Description::offer(offer)) {
        panic!("the offer is good: {why}");
    }
    for _ in 0..MOST_PACKETS {
        if feed.is_over() {
            return;
        }
        // A datagram that is refused is dropped, and the connection goes on.
        let _refused = match feed.byte() {
            0 => signals.pass(Duration::from_millis(u64::from(feed.byte()))),
            _ => signals.datagram(feed.piece()),
        };
    }
}

/// A datagram as our socket takes it, of a stranger and of a server; and a stream of a TURN server.
pub fn stun(data: &[u8]) {
    let server = SocketAddr::from(([198, 51, 100, 1], 3478));
    let stranger = SocketAddr::from(([192, 0, 2, 9], 50_000));
    let from_stranger = datagram(data, stranger, "mine", server, now());
    datagram(data, server, "mine", server, now());
    assert!(!from_stranger || data.first().is_some_and(|first| *first <= 3), "a stranger's media is let in");
    let pieces = || data.chunks(usize::from(data.len() as u8).max(1));
    assert_eq!(stream(pieces()), stream(std::iter::once(data)), "the pieces make a difference");
}

/// A voice: packets as they come, in whatever order, and what is played of them.
pub fn opus(data: &[u8]) {
    let (mut feed, mut at) = (Feed::new(data), now());
    let (mut seq, mut timestamp) = (u16::MAX - 5, u32::MAX - 5000);
    let packets = std::iter::from_fn(|| {
        let how = (!feed.is_over()).then(|| feed.byte())?;
        seq = seq.wrapping_add(if how & 1 == 0 { 1 } else { feed.word() });
        timestamp = timestamp.wrapping_add(if how & 2 == 0 { 960 } else { u32::from(feed.word()) << 4 });
        at += Duration::from_millis(if how & 4 == 0 { 20 } else { u64::from(feed.byte()) });
        let sender_us = (how & 8 != 0).then(|| i64::from(feed.word()) << 37);
        let payload = feed.piece().to_vec().into();
        let packet = RtpPacket { seq, timestamp, marker: how & 16 != 0, payload, arrived: at, sender_us };
        Some((packet, u32::from(how >> 5)))
    });
    if let Ok(stats) = examine::packets(packets.take(MOST_PACKETS)) {
        assert!(stats.level <= 1.5 && stats.delay_ms <= 2000.0, "{stats:?}");
    }
}
