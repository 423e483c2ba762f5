//! Everything that clients get wrong, over real sockets: a clear answer, and the rest of the room notices
//! nothing.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod common;

use common::{Bare, error_of, hello, server, server_with};
use futures_util::SinkExt;
use serde_json::json;
use server::{BindError, Config, Server};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn names_of_rooms_and_people() {
    let server = server().await;
    for (room, code) in [
        (String::new(), "bad-room"),
        ("x".repeat(10_000), "bad-room"),
        ("a\u{7}b".into(), "bad-room"),
        ("a/b".into(), "bad-room"),
        ("..".into(), "bad-room"),
    ] {
        let (mut bare, answer) = Bare::join(&server, &room, "Ann").await;
        assert_eq!(error_of(&answer), (code.into(), true));
        assert_eq!(bare.close_code().await, 1008);
    }
    for name in ["n".repeat(10_000), "a\nb".into()] {
        let (_bare, answer) = Bare::join(&server, "tea", &name).await;
        assert_eq!(error_of(&answer), ("bad-name".into(), true));
    }
    let (_ann, welcome) = Bare::join(&server, " 👩‍👩‍👧 tea ", "").await;
    assert_eq!(welcome["room"], "👩‍👩‍👧 tea");
    let (_bo, welcome) = Bare::join(&server, "👩‍👩‍👧 TEA", "Bo / Bob").await;
    assert_eq!(welcome["participants"][0]["name"], "Guest");
}

#[tokio::test]
async fn bad_messages_hurt_nobody_else() {
    let server = server().await;
    let (mut ann, _) = Bare::join(&server, "tea", "Ann").await;
    let (mut bo, welcome) = Bare::join(&server, "tea", "Bo").await;
    assert_eq!(ann.hear().await["type"], "joined");
    let me = welcome["id"].clone();
    for text in ["", "{", "[]", "{\"type\":\"wave\"}", "{\"type\":\"state\",\"audio\":1}"] {
        bo.0.send(Message::text(text)).await.unwrap();
        assert_eq!(error_of(&bo.hear().await), ("bad-message".into(), false), "{text}");
    }
    bo.0.send(Message::binary(vec![0, 1, 2])).await.unwrap();
    assert_eq!(error_of(&bo.hear().await), ("bad-message".into(), false));
    bo.say(&hello("tea", "Bo")).await;
    assert_eq!(error_of(&bo.hear().await), ("bad-message".into(), false));
    bo.say(&json!({"type": "chat", "text": "x".repeat(2001)})).await;
    assert_eq!(error_of(&bo.hear().await), ("too-large".into(), false));
    for to in [json!("nobody"), me] {
        bo.say(&json!({"type": "candidate", "to": to, "candidate": null})).await;
        assert_eq!(error_of(&bo.hear().await), ("no-such-participant".into(), false));
    }
    bo.say(&json!({"type": "chat", "text": "still here"})).await;
    assert_eq!(ann.hear().await["text"], "still here");
}

#[tokio::test]
async fn before_hello_there_is_nothing() {
    let server = server_with(|c| c.timing.hello_within = Duration::from_millis(50)).await;
    let mut bare = Bare::open(&server).await;
    bare.say(&json!({"type": "bye"})).await;
    assert_eq!(error_of(&bare.hear().await), ("not-welcome".into(), true));
    let mut silent = Bare::open(&server).await;
    assert_eq!(error_of(&silent.hear().await), ("not-welcome".into(), true));
    assert_eq!(silent.close_code().await, 1008);
    let mut newer = Bare::open(&server).await;
    newer.say(&json!({"type": "hello", "v": 2})).await;
    assert_eq!(error_of(&newer.hear().await), ("bad-version".into(), true));
}

#[tokio::test]
async fn an_oversized_message_ends_its_connection_only() {
    let server = server().await;
    let (mut ann, _) = Bare::join(&server, "tea", "Ann").await;
    let (mut bo, _) = Bare::join(&server, "tea", "Bo").await;
    assert_eq!(ann.hear().await["type"], "joined");
    bo.0.send(Message::text("x".repeat(65_537))).await.unwrap();
    assert_eq!(error_of(&bo.hear().await), ("too-large".into(), true));
    assert_eq!(bo.close_code().await, 1009);
    assert_eq!(ann.hear().await["type"], "away");
    // Beyond twice the limit the server does not even read it: the connection may break meanwhile.
    let (mut cy, _) = Bare::join(&server, "tea", "Cy").await;
    assert_eq!(ann.hear().await["type"], "joined");
    let _ = cy.0.send(Message::text("x".repeat(10_000_000))).await;
    assert_eq!(ann.hear().await["type"], "away");
}

#[tokio::test]
async fn a_flood_is_dropped_then_closed() {
    let server = server().await;
    let (mut bare, _) = Bare::join(&server, "tea", "Ann").await;
    for _ in 0..1000 {
        let sent = bare.0.feed(Message::text("{\"type\":\"state\",\"audio\":true,\"video\":true}")).await;
        if sent.is_err() {
            break;
        }
    }
    bare.0.flush().await.unwrap();
    assert_eq!(error_of(&bare.hear().await), ("too-fast".into(), false));
    assert_eq!(error_of(&bare.hear().await), ("too-fast".into(), true));
}

#[tokio::test]
async fn whoever_does_not_read_is_dropped_and_may_resume() {
    let server = server().await;
    let mut ann = Bare::open_narrow(&server).await;
    ann.say(&hello("tea", "Ann")).await;
    let welcome = ann.hear().await;
    let (mut bo, _) = Bare::join(&server, "tea", "Bo").await;
    // Ann reads no more. Big offers of many fill the network's buffers, then her 1 MiB.
    let offer = json!({"type": "description", "to": welcome["id"],
        "description": {"type": "offer", "sdp": "x".repeat(60_000)}});
    let speak = async || {
        let (mut speaker, _) = Bare::join(&server, "tea", "Loud").await;
        for _ in 0..30 {
            speaker.say(&offer).await;
        }
        speaker
    };
    let speaking = async { tokio::join!(speak(), speak(), speak(), speak(), speak(), speak()) };
    let hearing = async {
        loop {
            let heard = bo.hear().await;
            if heard["type"] == "away" {
                return heard;
            }
        }
    };
    let (_speakers, away) = tokio::join!(speaking, hearing);
    assert_eq!(away["id"], welcome["id"]);
    let mut again = Bare::open(&server).await;
    let mut hello = hello("tea", "Ann");
    hello["resume"] = welcome["resume"].clone();
    again.say(&hello).await;
    let resumed = again.hear().await;
    assert_eq!((&resumed["resumed"], &resumed["id"]), (&json!(true), &welcome["id"]));
    // 256 KiB of them were kept.
    for _ in 0..4 {
        assert_eq!(again.hear().await["type"], "description");
    }
    assert_eq!(bo.hear().await["type"], "back");
}

#[tokio::test]
async fn limits_of_rooms_and_sockets() {
    let server = server_with(|c| {
        c.limits.rooms = 1;
        c.limits.sockets = 13;
    })
    .await;
    let mut people = Vec::new();
    for n in 0..12 {
        let (bare, welcome) = Bare::join(&server, "tea", &n.to_string()).await;
        assert_eq!(welcome["participants"].as_array().unwrap().len(), n);
        people.push(bare);
    }
    let (mut late, answer) = Bare::join(&server, "tea", "late").await;
    assert_eq!(error_of(&answer), ("no-entry".into(), true));
    assert_eq!(late.close_code().await, 1008);
    drop(late);
    let (other, other_answer) = Bare::join(&server, "coffee", "other").await;
    assert_eq!(other_answer, answer, "a room that cannot be opened answers as a full one");
    let mut much = Bare::open(&server).await;
    assert_eq!(error_of(&much.hear().await), ("server-full".into(), true));
    drop(other);
}

#[tokio::test]
async fn a_wrong_secret_takes_no_place() {
    let server = server().await;
    let (mut ann, welcome) = Bare::join(&server, "tea", "Ann").await;
    let mut thief = Bare::open(&server).await;
    let mut wrong = hello("tea", "Ann");
    wrong["resume"] = json!("0".repeat(32));
    thief.say(&wrong).await;
    let answer = thief.hear().await;
    assert_eq!(answer["resumed"], false);
    assert_ne!(answer["id"], welcome["id"]);
    assert_eq!(ann.hear().await["type"], "joined");
    ann.say(&json!({"type": "chat", "text": "hi"})).await;
    assert_eq!(thief.hear().await["text"], "hi");
}

#[tokio::test]
async fn whoever_stays_away_is_gone() {
    let server = server_with(|c| c.limits.grace = Duration::from_millis(100)).await;
    let (mut ann, _) = Bare::join(&server, "tea", "Ann").await;
    let (bo, welcome) = Bare::join(&server, "tea", "Bo").await;
    drop(bo);
    assert_eq!(ann.hear().await["type"], "joined");
    assert_eq!(ann.hear().await["type"], "away");
    assert_eq!(ann.hear().await, json!({"type": "left", "id": welcome["id"], "reason": "timeout"}));
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_away() {
    let server = server_with(|c| {
        c.timing.ping_every = Duration::from_millis(20);
        c.timing.silence_most = Duration::from_millis(200);
    })
    .await;
    let (_mute, _) = Bare::join(&server, "tea", "Mute").await;
    // Ann answers pings by reading; the other is never polled again.
    let (mut ann, _) = Bare::join(&server, "tea", "Ann").await;
    assert_eq!(ann.hear().await["type"], "away");
}

#[tokio::test]
async fn a_half_open_connection_holds_its_place_no_longer_than_a_closed_one() {
    let most = Duration::from_millis(1500);
    let server = server_with(|c| {
        c.timing.ping_every = Duration::from_millis(100);
        (c.timing.silence_most, c.limits.grace) = (most, most);
    })
    .await;
    // Never polled again: it neither closes nor answers, as if its cable had been pulled.
    let (_mute, welcome) = Bare::join(&server, "tea", "Mute").await;
    let (mut ann, _) = Bare::join(&server, "tea", "Ann").await;
    assert_eq!(ann.hear().await["type"], "away");
    let noticed = Instant::now();
    assert_eq!(ann.hear().await, json!({"type": "left", "id": welcome["id"], "reason": "timeout"}));
    assert!(noticed.elapsed() < most, "the place is kept from when it was heard, not from when that showed");
    let (_again, answer) = Bare::join(&server, "tea", "Mute").await;
    assert_eq!(answer["participants"].as_array().unwrap().len(), 1, "the name is free again: {answer}");
}

#[tokio::test]
async fn a_taken_port_is_told_clearly() {
    let server = server().await;
    let taken = Config { listen: server.local_addr().into(), ..Config::default() };
    let error = Server::bind(taken).await.unwrap_err();
    assert!(matches!(error, BindError::Taken(_)));
    let text = error.to_string();
    assert!(text.contains(&server.local_addr().port().to_string()) && text.contains("--listen"), "{text}");
}

#[tokio::test]
async fn pages_over_http() {
    let server = server().await;
    for (path, status, text) in [
        ("/", 200, "default-src 'self'"),
        ("/Tea%20Time", 200, "text/html"),
        ("/assets/guest.js", 200, "text/javascript"),
        ("/assets/none.js", 404, "no such file"),
        ("/assets/..%2f..%2fCargo.toml", 404, "no such file"),
        ("/a%2Fb", 404, "no such room"),
        ("/a/b", 404, ""),
        ("/healthz", 200, "ok"),
        ("/ws", 400, ""),
    ] {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains(text), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let server = server().await;
    let (mut ann, _) = Bare::join(&server, "tea", "Ann").await;
    let (code, ()) = tokio::join!(ann.close_code(), server.shutdown());
    assert_eq!(code, 1001);
}
