//! Packets of strangers, at the sockets of two who talk: they make no state, and disturb nobody.

#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

mod common;

use common::{Pair, stream};
use peer::{Kind, PeerEvent, source};
use std::net::{SocketAddr, UdpSocket};

/// The sockets that a side told of.
fn sockets(seen: &common::Seen) -> Vec<SocketAddr> {
    let events = seen.events.lock().unwrap();
    let address = |event: &PeerEvent| {
        let PeerEvent::Candidate(Some(candidate)) = event else { return None };
        let words: Vec<&str> = candidate.candidate.split(' ').collect();
        Some(SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap()))
    };
    events.iter().filter_map(address).collect()
}

/// Resident memory in bytes.
fn memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn rtp(n: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&(n as u16).to_be_bytes());
    packet.extend_from_slice(&n.to_be_bytes());
    // Another stream each time: the stack would keep something for each.
    packet.extend_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
    packet.resize(200, 0x55);
    packet
}

fn rtcp(n: u32) -> Vec<u8> {
    let mut packet = vec![0x81, 206, 0, 2];
    packet.extend_from_slice(&n.to_be_bytes());
    packet.extend_from_slice(&n.to_be_bytes());
    packet.resize(40, 1);
    packet
}

fn dtls(n: u32) -> Vec<u8> {
    let mut packet = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, n as u8, (n >> 8) as u8, 0, 60];
    packet.resize(73, n as u8);
    packet
}

/// A connectivity check that calls nobody by name.
fn check(n: u32) -> Vec<u8> {
    let mut packet = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
    packet.extend_from_slice(&[n as u8; 12]);
    packet.extend_from_slice(&[0, 6, 0, 7]);
    packet.extend_from_slice(b"abcd:xy\0");
    packet
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_thousand_forged_packets_leave_nothing_behind() {
    const PACKETS: u32 = 200_000;
    let pair = Pair::call().await;
    let (writer, track) = source(Kind::Audio);
    pair.b.peer.sender(Kind::Audio).replace_track(Some(track)).unwrap();
    let _stream = stream(writer, 80, 7);
    pair.a.seen.until("sound", |seen| seen.rtp_of(Kind::Audio).len() > 20).await;

    let target = sockets(&pair.a.seen)[0];
    let stranger = UdpSocket::bind((target.ip(), 0)).unwrap();
    let before = (memory(), pair.a.peer.stats().await.transport.packets_discarded);
    let events = pair.a.seen.events.lock().unwrap().len();
    for n in 0..PACKETS {
        let packet = [rtp, rtcp, dtls, check][n as usize % 4](n);
        stranger.send_to(&packet, target).unwrap();
        // As fast as they are thrown away: what the kernel drops would prove nothing.
        if n % 64 == 0 {
            let thrown = || async { pair.a.peer.stats().await.transport.packets_discarded - before.1 };
            while thrown().await + 256 < u64::from(n) {
                tokio::task::yield_now().await;
            }
        }
    }
    let heard = pair.a.seen.rtp_of(Kind::Audio).len();
    pair.a.seen.until("more sound", |seen| seen.rtp_of(Kind::Audio).len() > heard + 20).await;
    let after = (memory(), pair.a.peer.stats().await.transport.packets_discarded);
    let grown = after.0.saturating_sub(before.0);
    println!("{} packets thrown away, memory grew by {} kB", after.1 - before.1, grown / 1024);
    assert!(after.1 - before.1 > u64::from(PACKETS) * 9 / 10, "{} of {PACKETS}", after.1 - before.1);
    assert!(grown < 4 << 20, "memory grew by {grown} bytes");
    assert_eq!(pair.a.seen.events.lock().unwrap().len(), events, "nobody was told anything");
}
