//! What the tests over real sockets share: a server on loopback, and a client that is nothing but a WebSocket.
#![allow(dead_code, reason = "each test program uses a part of it")]

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use server::{Config, Running, Server};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

/// A server on a free port of loopback.
pub(crate) async fn server() -> Running {
    server_with(|_| {}).await
}

/// The same, set up otherwise.
pub(crate) async fn server_with(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    change(&mut config);
    Server::bind(config).await.unwrap()
}

/// A bare WebSocket.
pub(crate) struct Bare<S = MaybeTlsStream<TcpStream>>(pub(crate) WebSocketStream<S>);

impl Bare {
    pub(crate) async fn open(server: &Running) -> Self {
        let url = format!("{}/ws", server.url().replacen("http", "ws", 1));
        Self(connect_async(url).await.unwrap().0)
    }

    /// One whose system takes next to nothing that it does not read.
    pub(crate) async fn open_narrow(server: &Running) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = MaybeTlsStream::Plain(socket.connect(server.local_addr()).await.unwrap());
        Self(client_async(format!("ws://{}/ws", server.local_addr()), stream).await.unwrap().0)
    }

    /// Opens and says hello; gives the answer too.
    pub(crate) async fn join(server: &Running, room: &str, name: &str) -> (Self, Value) {
        let mut bare = Self::open(server).await;
        bare.say(&hello(room, name)).await;
        let answer = bare.hear().await;
        (bare, answer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bare<S> {
    pub(crate) async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next text frame, within 5 s.
    pub(crate) async fn hear(&mut self) -> Value {
        self.hear_within(Duration::from_secs(5)).await
    }

    /// The next text frame. Pings are answered meanwhile, and put off the end of the wait.
    pub(crate) async fn hear_within(&mut self, wait: Duration) -> Value {
        loop {
            let frame = timeout(wait, self.0.next()).await.expect("silence");
            match frame.expect("the connection ended").expect("the connection broke") {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The close code, within 5 s; text frames before it are skipped.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            let frame = timeout(Duration::from_secs(5), self.0.next()).await.expect("silence");
            if let Message::Close(frame) = frame.expect("the connection ended").expect("broken") {
                return frame.map_or(1005, |f| f.code.into());
            }
        }
    }
}

pub(crate) fn hello(room: &str, name: &str) -> Value {
    json!({"type": "hello", "v": 1, "room": room, "name": name, "audio": true, "video": true})
}

/// An error's code, and whether it is fatal.
pub(crate) fn error_of(message: &Value) -> (String, bool) {
    assert_eq!(message["type"], "error", "{message}");
    (message["code"].as_str().unwrap().into(), message["fatal"].as_bool().unwrap())
}
