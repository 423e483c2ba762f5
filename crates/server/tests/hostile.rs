//! Strangers who mean harm, against the real program: its memory grows by less than 20 MB, and two people who talk
//! meanwhile hear each other within 50 ms (p99).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod common;
#[path = "common/storm.rs"]
mod storm;

use common::{error_of, hello};
use futures_util::future::join_all;
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use storm::{Target, Visitor, dial, frame, from, raw, storm, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Reads to the end; whether it came in time.
async fn ends(stream: &mut TcpStream, within: Duration) -> bool {
    let mut buffer = [0; 4096];
    let reading = async { while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {} };
    tokio::time::timeout(within, reading).await.is_ok()
}

/// Writes the same until the server has had enough, or the time is over. Whether it had.
async fn pours(mut stream: TcpStream, bytes: Vec<u8>, time: Duration) -> bool {
    let (mut read, mut write) = stream.split();
    let writing = async { while write.write_all(&bytes).await.is_ok() {} };
    let mut buffer = vec![0; 64 * 1024];
    let reading = async { while read.read(&mut buffer).await.is_ok_and(|count| count > 0) {} };
    let both = async {
        tokio::select! { () = writing => {} () = reading => {} }
    };
    tokio::time::timeout(time, both).await.is_ok()
}

#[tokio::test]
async fn hellos_that_come_byte_by_byte() {
    let target = Target::start("");
    storm("slowloris", &target, async || {
        let slow = async |n: u32| {
            let mut stream = raw(from(n / 100), target.address).await;
            let opened = Instant::now();
            let bytes = frame(0x81, 60_000, &[b' '; 60_000]);
            for byte in bytes {
                if stream.write_all(&[byte]).await.is_err() || opened.elapsed() > Duration::from_secs(20) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            assert!(ends(&mut stream, Duration::from_secs(5)).await);
            assert!(opened.elapsed() < Duration::from_secs(18), "hello must come within ten seconds");
        };
        join_all((0..500).map(slow)).await;
    })
    .await;
}

#[tokio::test]
async fn a_gigabyte_that_is_announced() {
    let target = Target::start("");
    storm("1 GB frames", &target, async || {
        for says in [1 << 30, u64::MAX >> 1, 200_000].repeat(20) {
            let announce = async |n: u32| {
                let stream = raw(from(n / 100), target.address).await;
                assert!(
                    pours(stream, frame(0x81, says, &[b' '; 16_000]), Duration::from_secs(10)).await,
                    "{says}"
                );
            };
            join_all((0..100).map(announce)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn fragments_without_end() {
    let target = Target::start("");
    storm("fragments", &target, async || {
        for payload in [&[][..], &[b' '; 100]] {
            let endless = async |n: u32| {
                let mut stream = raw(from(n), target.address).await;
                stream.write_all(&text(&hello("attic", "Fay"))).await.unwrap();
                stream.write_all(&frame(0x01, 1, b" ")).await.unwrap();
                let part = frame(0x00, payload.len() as u64, payload);
                let closed = pours(stream, part.repeat(500), Duration::from_secs(25)).await;
                assert!(closed, "a message has an end");
            };
            join_all((0..4).map(endless)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn pings_without_end() {
    let target = Target::start("");
    storm("ping flood", &target, async || {
        let flood = async |n: u32| {
            let mut stream = raw(from(n), target.address).await;
            stream.write_all(&text(&hello("attic", "Pia"))).await.unwrap();
            let pings = frame(0x89, 125, &[0; 125]).repeat(100);
            // One of them reads the pongs, the others do not.
            let closed = match n {
                0 => pours(stream, pings, Duration::from_secs(20)).await,
                _ => {
                    let writing = async { while stream.write_all(&pings).await.is_ok() {} };
                    tokio::time::timeout(Duration::from_secs(20), writing).await.is_ok()
                }
            };
            assert!(closed, "a flood is closed");
        };
        join_all((0..10).map(flood)).await;
    })
    .await;
}

#[tokio::test]
async fn people_who_never_read() {
    let target = Target::start("");
    storm("never reading", &target, async || {
        // Eleven in the room, of whom six never read, and whom five send what they can.
        let mut deaf = Vec::new();
        let mut ids = Vec::new();
        for n in 0..6 {
            let (visitor, welcome) = Visitor::hello(from(n), target.address, &hello("deaf", "Deaf")).await;
            ids.push(welcome["id"].clone());
            deaf.push(visitor);
        }
        let speaks = async |n: u32| {
            let mut stream = raw(from(100 + n), target.address).await;
            stream.write_all(&text(&hello("deaf", "Loud"))).await.unwrap();
            let ids = ids.clone();
            let offers: Vec<u8> = ids
                .iter()
                .flat_map(|to| {
                    let description = json!({"type": "offer", "sdp": "x".repeat(60_000)});
                    text(&json!({"type": "description", "to": to, "description": description}))
                })
                .collect();
            pours(stream, offers, Duration::from_secs(8)).await;
        };
        join_all((0..5).map(speaks)).await;
        drop(deaf);
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_guesses_at_a_password() {
    // One address may try as fast as it can here: what holds is the room's own limit.
    let target = Target::start("[limits]\nhellos = 1000000\n[limits.address]\nhellos = 1000000\n");
    let mut opened = hello("vault", "Ann");
    opened["password"] = json!("guess 5500");
    let (mut ann, welcome) = Visitor::hello(from(0), target.address, &opened).await;
    assert_eq!(welcome["door"]["password"], true);
    storm("10,000 guesses", &target, async || {
        let guesses = async |thread: u32| {
            for n in 0..1000 {
                let mut guess = hello("vault", "Eve");
                guess["password"] = json!(format!("guess {}", thread * 1000 + n));
                guess["knock"] = json!(true);
                let (_, answer) = Visitor::hello(from(1), target.address, &guess).await;
                assert!(Visitor::is_shut(&answer), "{answer}");
            }
        };
        join_all((0..10).map(guesses)).await;
    })
    .await;
    // Somebody else who knows it comes in at once; the host was never bothered.
    opened["name"] = json!("Bo");
    let (_bo, answer) = Visitor::hello(from(2), target.address, &opened).await;
    assert_eq!(answer["type"], "welcome", "{answer}");
    assert_eq!(ann.hear().await["type"], "joined");
}

#[tokio::test]
async fn wrong_origins_and_wrong_tokens() {
    let target = Target::start("");
    let (mut ann, welcome) = Visitor::hello(from(0), target.address, &hello("tea", "Ann")).await;
    ann.say(&json!({"type": "door", "password": "earl grey"})).await;
    assert_eq!(ann.hear().await["type"], "door");
    storm("origins and tokens", &target, async || {
        for n in 0..3000_u32 {
            let mut stream = dial(from(1 + n / 200), target.address).await.unwrap();
            let request = format!(
                "GET /ws HTTP/1.1\r\nHost: {}\r\nOrigin: https://evil.example\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                target.address
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 403");
            let mut thief = hello("tea", "Ann");
            let secret = welcome["resume"].as_str().unwrap();
            // All but right, in turn: another letter, another case, half of it, nothing.
            thief["resume"] = match n % 4 {
                0 => json!(format!("{}{}", &secret[..31], if secret.ends_with('0') { '1' } else { '0' })),
                1 => json!(secret.to_uppercase() + " "),
                2 => json!(secret[..16].to_owned()),
                _ => json!(""),
            };
            let (_, answer) = Visitor::hello(from(1 + n / 200), target.address, &thief).await;
            assert!(Visitor::is_shut(&answer), "{answer}");
        }
    })
    .await;
    ann.say(&json!({"type": "ice"})).await;
    assert_eq!(ann.hear().await["type"], "ice", "Ann has her place");
}

#[tokio::test]
async fn deep_json_and_other_nonsense() {
    let target = Target::start("");
    storm("deep JSON", &target, async || {
        let texts = [
            "[".repeat(65_000),
            format!("{{\"type\":\"chat\",\"text\":{}", "{\"a\":".repeat(10_000)),
            format!("{{\"type\":\"hello\",\"v\":{}{}", "[".repeat(120), "0,".repeat(30_000)),
            format!("{{\"type\":\"hello\",\"v\":[{}0]}}", "0,".repeat(30_000)),
            format!("{{{}\"type\":\"bye\"}}", "\"a\":0,".repeat(9_000)),
            "\u{0}".repeat(60_000),
        ];
        let nonsense = async |n: u32| {
            for round in 0..20_usize {
                let mut stream = raw(from(n), target.address).await;
                let body = texts[(n as usize + round) % texts.len()].as_bytes();
                if round % 2 == 0 {
                    stream.write_all(&text(&hello("attic", "Jo"))).await.unwrap();
                }
                pours(stream, frame(0x81, body.len() as u64, body), Duration::from_millis(300)).await;
            }
        };
        join_all((0..12).map(nonsense)).await;
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_joins_and_leaves() {
    let target = Target::start("[limits]\nhellos = 1000000\n[limits.address]\nhellos = 100000\n");
    storm("10,000 joins and leaves", &target, async || {
        let comes_and_goes = async |n: u32| {
            for round in 0..500 {
                let room = format!("room {}", (n + round) % 30);
                let (mut visitor, answer) =
                    Visitor::hello(from(n), target.address, &hello(&room, "Kim")).await;
                assert!(matches!(answer["type"].as_str(), Some("welcome")) || Visitor::is_shut(&answer));
                // Half of them without a word.
                if round % 2 == 0 && answer["type"] == "welcome" {
                    visitor.say(&json!({"type": "bye"})).await;
                }
            }
        };
        join_all((0..20).map(comes_and_goes)).await;
    })
    .await;
}

#[tokio::test]
async fn many_who_knock() {
    let target = Target::start("");
    let (mut ann, _) =
        Visitor::hello(Ipv4Addr::new(127, 9, 9, 9), target.address, &hello("tea", "Ann")).await;
    ann.say(&json!({"type": "door", "knock": true})).await;
    assert_eq!(ann.hear().await["type"], "door");
    storm("knockers", &target, async || {
        let knocks = async |n: u32| {
            let mut waiting = Vec::new();
            for _ in 0..10 {
                let mut knock = hello("tea", &"K".repeat(64));
                knock["knock"] = json!(true);
                let (visitor, answer) = Visitor::hello(from(n), target.address, &knock).await;
                if answer["type"] == "waiting" {
                    waiting.push(visitor);
                } else {
                    assert!(Visitor::is_shut(&answer), "{answer}");
                }
            }
            waiting
        };
        let waiting: usize = join_all((0..200).map(knocks)).await.iter().map(Vec::len).sum();
        assert!((1..=16 * 200).contains(&waiting), "{waiting}");
    })
    .await;
    // The host can still be asked, and was not drowned.
    let mut heard = 0;
    loop {
        ann.say(&json!({"type": "ice"})).await;
        let answer = loop {
            let message = ann.hear().await;
            if matches!(message["type"].as_str(), Some("ice" | "error")) {
                break message;
            }
            heard += 1;
        };
        if answer["type"] == "ice" {
            break;
        }
        assert_eq!(error_of(&answer).0, "too-fast");
    }
    assert!(heard > 0, "somebody knocked");
}
