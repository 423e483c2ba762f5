//! The client of `signaling` against the real server.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod common;

use common::{Bare, server};
use serde_json::json;
use signaling::{
    Client, ClientEvent, ClientMessage, Description, JoinRequest, Name, Password, RoomName, SdpType,
    ServerMessage, Welcome,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

fn join(server: &str, room: &str, name: &str) -> (Client, mpsc::Receiver<ClientEvent>) {
    // overflow: the client waits.
    let (events, heard) = mpsc::channel(64);
    let request = JoinRequest {
        server: signaling::Server::parse(server).unwrap(),
        room: RoomName::parse(room).unwrap(),
        name: Name::parse(name).unwrap(),
        audio: true,
        video: true,
        password: Password::default(),
    };
    (Client::connect(request, events), heard)
}

async fn next(heard: &mut mpsc::Receiver<ClientEvent>) -> ClientEvent {
    timeout(Duration::from_secs(10), heard.recv()).await.expect("silence").expect("the client is over")
}

async fn welcome(heard: &mut mpsc::Receiver<ClientEvent>) -> Welcome {
    loop {
        match next(heard).await {
            ClientEvent::Welcome(welcome) => return welcome,
            ClientEvent::Disconnected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A TCP proxy whose connections can be broken: each change of the watch breaks all there are.
async fn proxy(to: std::net::SocketAddr) -> (String, watch::Sender<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (breaker, broken) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut broken = broken.clone();
            broken.mark_unchanged();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = broken.changed() => {}
                }
            });
        }
    });
    (url, breaker)
}

#[tokio::test]
async fn a_broken_socket_is_resumed_and_nothing_is_missed() {
    let server = server().await;
    let (url, breaker) = proxy(server.local_addr()).await;
    let (ann, mut heard) = join(&url, "tea", "Ann");
    let first = welcome(&mut heard).await;
    let (mut bo, _) = Bare::join(&server, "tea", "Bo").await;
    let ClientEvent::Message(ServerMessage::Joined { participant }) = next(&mut heard).await else {
        panic!()
    };

    breaker.send_replace(1);
    assert!(matches!(next(&mut heard).await, ClientEvent::Disconnected { .. }));
    assert_eq!(bo.hear().await, json!({"type": "away", "id": first.id.0}));
    bo.say(&json!({"type": "description", "to": first.id.0, "description": {"type": "offer", "sdp": "s"}}))
        .await;
    let description = Description { kind: SdpType::Answer, sdp: "t".into() };
    ann.send(ClientMessage::Description { to: participant.id, description }).unwrap();
    ann.set_state(false, true);

    let again = welcome(&mut heard).await;
    assert!(again.resumed && again.id == first.id);
    let offer = next(&mut heard).await;
    assert!(matches!(offer, ClientEvent::Message(ServerMessage::Description { .. })), "{offer:?}");
    assert_eq!(bo.hear().await["type"], "back");
    assert_eq!(bo.hear().await["audio"], false);
    assert_eq!(bo.hear().await["description"]["sdp"], "t");
    ann.bye().await;
    assert_eq!(bo.hear().await, json!({"type": "left", "id": first.id.0, "reason": "bye"}));
}

#[tokio::test]
async fn what_cannot_work_says_what_to_do() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    tokio::spawn(async move {
        // A web server that knows no WebSocket, and talks no TLS.
        while let Ok((mut stream, _)) = silent.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (url, expected) in [
        (format!("http://{address}"), "is not a Snug server (HTTP 404"),
        (format!("https://{address}"), "no secure connection"),
        (format!("http://{free}"), "nothing answers at"),
        ("http://no-such-host.invalid".into(), "no server is called no-such-host.invalid"),
    ] {
        let (_client, mut heard) = join(&url, "tea", "Ann");
        let message = loop {
            match next(&mut heard).await {
                ClientEvent::Failed { message } => break message,
                ClientEvent::Disconnected { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(message.contains(expected), "{message}");
    }
}
