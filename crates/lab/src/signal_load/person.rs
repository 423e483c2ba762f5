//! Somebody at the other end of a WebSocket, as cheap as can be: thousands of them live in this process.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpSocket;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The longest message that is read.
const LONGEST: u64 = 128 * 1024;

/// What is read of a WebSocket.
pub(super) struct Ear(BufReader<OwnedReadHalf>);

/// What is written into it.
pub(super) struct Mouth(OwnedWriteHalf);

/// A frame from the server.
pub(super) enum Heard {
    /// A message.
    Text(Vec<u8>),
    /// To be answered with the same.
    Ping(Vec<u8>),
}

/// Connects from one of this machine's many addresses, and upgrades.
pub(super) async fn open(from: Ipv4Addr, to: SocketAddr) -> Result<(Ear, Mouth)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    let stream = socket.connect(to).await.context("the server does not take the connection")?;
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    write.write_all(request.as_bytes()).await?;
    let mut ear = BufReader::with_capacity(512, read);
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(ear.read_u8().await?);
        ensure!(answer.len() < 4096, "the server's answer to the upgrade has no end");
    }
    ensure!(answer.starts_with(b"HTTP/1.1 101"), "no upgrade: {}", String::from_utf8_lossy(&answer));
    Ok((Ear(ear), Mouth(write)))
}

impl Ear {
    /// The next frame that is something to us.
    pub(super) async fn hear(&mut self) -> Result<Heard> {
        loop {
            let first = self.0.read_u8().await?;
            let length = match self.0.read_u8().await? {
                126 => u64::from(self.0.read_u16().await?),
                127 => self.0.read_u64().await?,
                short => u64::from(short),
            };
            ensure!(length <= LONGEST, "a frame of {length} bytes");
            let mut payload = vec![0; usize::try_from(length)?];
            self.0.read_exact(&mut payload).await?;
            match first & 0x0f {
                1 => return Ok(Heard::Text(payload)),
                9 => return Ok(Heard::Ping(payload)),
                8 => bail!("the server closes: {payload:?}"),
                _ => {}
            }
        }
    }

    /// The next message of a type.
    pub(super) async fn message(&mut self, mouth: &mut Mouth, kind: &str) -> Result<Value> {
        loop {
            match self.hear().await? {
                Heard::Ping(payload) => mouth.pong(&payload).await?,
                Heard::Text(text) => {
                    let message: Value = serde_json::from_slice(&text)?;
                    ensure!(message["type"] != "error", "{message}");
                    if message["type"] == kind {
                        return Ok(message);
                    }
                }
            }
        }
    }
}

impl Mouth {
    pub(super) async fn say(&mut self, message: &str) -> Result<()> {
        self.frame(0x81, message.as_bytes()).await
    }

    pub(super) async fn pong(&mut self, payload: &[u8]) -> Result<()> {
        self.frame(0x8a, payload).await
    }

    /// With a mask of zeros: the rule is kept, and nothing is to be done for it.
    async fn frame(&mut self, first: u8, payload: &[u8]) -> Result<()> {
        let mut bytes = vec![first];
        match u16::try_from(payload.len())? {
            short @ 0..=125 => bytes.push(0x80 | u8::try_from(short)?),
            length => {
                bytes.push(0x80 | 126);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(payload);
        Ok(self.0.write_all(&bytes).await?)
    }
}
