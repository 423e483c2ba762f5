//! Whoever says nothing, too little or too slowly is let go; too many are not let in.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod common;
mod secure;

use common::server_with;
use secure::{Authority, Client, ask, until};
use server::door::PlainHttp;
use server::tls::{Settings, Source};
use server::{BindError, Config, Server};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SHORT: Duration = Duration::from_millis(500);
const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn hurried(config: &mut Config) {
    config.door.first_bytes = SHORT;
    config.door.headers = SHORT;
    config.door.idle = SHORT;
    config.door.stalled = SHORT;
}

/// How long until the other closes; what it says is skipped.
async fn closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Duration {
    let begun = Instant::now();
    let mut rest = Vec::new();
    // A reset closes too.
    drop(
        tokio::time::timeout(secure::WITHIN, stream.read_to_end(&mut rest)).await.expect("it is not closed"),
    );
    begun.elapsed()
}

fn in_time(took: Duration) {
    assert!(took >= SHORT / 2 && took < SHORT * 20, "{took:?}");
}

#[tokio::test]
async fn silence_and_slow_headers_end() {
    let server = server_with(hurried).await;
    let mut silent = TcpStream::connect(server.local_addr()).await.unwrap();
    in_time(closed(&mut silent).await);

    // A byte of header now and then does not help.
    let slow = TcpStream::connect(server.local_addr()).await.unwrap();
    let (mut from, mut to) = slow.into_split();
    let dribble = tokio::spawn(async move {
        to.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        let mut tick = tokio::time::interval(SHORT / 10);
        loop {
            tick.tick().await;
            if to.write_all(b"x").await.is_err() {
                return;
            }
        }
    });
    in_time(closed(&mut from).await);
    dribble.await.unwrap();

    // Nor does having asked once.
    let mut kept = TcpStream::connect(server.local_addr()).await.unwrap();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    in_time(closed(&mut kept).await);

    // Headers without end.
    let mut long = TcpStream::connect(server.local_addr()).await.unwrap();
    let line = format!("X-Long: {}\r\n", "x".repeat(8000));
    long.write_all(format!("GET / HTTP/1.1\r\n{}", line.repeat(3)).as_bytes()).await.unwrap();
    let mut answer = String::new();
    long.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("16384 bytes at most"), "{answer}");

    // Two requests in one packet, the second of which is no request.
    let mut odd = TcpStream::connect(server.local_addr()).await.unwrap();
    odd.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x01\x02 /\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    odd.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("ok\n") && answer.contains("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn half_open_tls_ends() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (cert, key) = authority.write(folder.path(), "call.test");
    let server = server_with(|config| {
        hurried(config);
        config.tls = Some(Settings { source: Source::Files { cert, key }, redirect: Vec::new() });
    })
    .await;
    // A record of 512 bytes that never comes, and one that comes in drops.
    let mut half = TcpStream::connect(server.local_addr()).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).await.unwrap();
    in_time(closed(&mut half).await);
    // A whole handshake, and then nothing.
    let client = Client::new(authority.root());
    let mut mute = client.connect(server.local_addr(), "call.test").await.unwrap();
    in_time(closed(&mut mute).await);
}

#[tokio::test]
async fn who_takes_nothing_is_given_up() {
    let server = server_with(hurried).await;
    let mut greedy = TcpStream::connect(server.local_addr()).await.unwrap();
    // Asks for far more than the buffers hold, and reads none of it, until nothing more is taken.
    let request = "GET /assets/guest.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    let asking = async { while greedy.write_all(request.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(secure::WITHIN, asking).await.expect("it is not closed");
}

#[tokio::test]
async fn too_many_are_not_let_in_and_places_come_back() {
    let server = server_with(|config| {
        config.door.connections = 5;
        config.door.connections_per_address = 3;
    })
    .await;
    let connect = async |n: u8| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, n], 0))).unwrap();
        let mut stream = socket.connect(server.local_addr()).await.unwrap();
        // Kept open, if it was let in at all.
        let asked = stream.write_all(REQUEST.replace("close", "keep-alive").as_bytes()).await;
        let mut buffer = [0; 15];
        let answered = asked.is_ok() && stream.read_exact(&mut buffer).await.is_ok();
        answered.then_some(stream)
    };
    let mut three = Vec::new();
    for _ in 0..3 {
        three.push(connect(2).await.expect("a place"));
    }
    assert!(connect(2).await.is_none(), "the fourth of one address");
    let _two = [connect(3).await.unwrap(), connect(4).await.unwrap()];
    assert!(connect(5).await.is_none(), "the sixth in all");
    three.clear();
    until("a place that came back", async || connect(5).await).await;
}

#[tokio::test]
async fn plain_http_is_not_for_the_internet() {
    let mut config =
        Config { listen: "93.184.216.34:0".parse::<SocketAddr>().unwrap().into(), ..Config::default() };
    let error = Server::bind(config.clone()).await.unwrap_err();
    assert!(matches!(error, BindError::Plain(_)), "{error}");
    for way in ["--tls-acme-host", "--tls-cert", "--trusted-proxies", "--insecure-http"] {
        assert!(error.to_string().contains(way), "{error}");
    }
    // Then it is only that this machine has no such address.
    config.door.plain_http = PlainHttp::Anybody;
    let error = Server::bind(config).await.unwrap_err();
    assert!(matches!(error, BindError::Other { .. }), "{error}");
}

#[tokio::test]
async fn without_file_descriptors_it_waits_and_goes_on() {
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 40; exec \"$0\" --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_snug-server")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let at: SocketAddr = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    // More than it can have; the kernel's backlog takes the rest.
    let mut crowd = Vec::new();
    for _ in 0..60 {
        let mut stream = std::net::TcpStream::connect(at).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        crowd.push(stream);
    }
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut warning = String::new();
    log.read_line(&mut warning).unwrap();
    assert!(warning.contains("no connection can be accepted"), "{warning}");
    let busy = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        // utime and stime, in ticks of 10 ms.
        stat.rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|t| t.parse::<u64>().unwrap())
            .sum::<u64>()
    };
    let (before, begun) = (busy(), Instant::now());
    let mut warnings = String::new();
    log.read_line(&mut warnings).unwrap();
    log.read_line(&mut warnings).unwrap();
    let spent = Duration::from_millis(10 * (busy() - before));
    assert!(
        spent < begun.elapsed() / 2 + Duration::from_millis(30),
        "it spins: {spent:?} in {:?}",
        begun.elapsed()
    );
    crowd.clear();
    until("it accepts again", async || {
        let stream = TcpStream::connect(at).await.ok()?;
        ask(stream, REQUEST).await.ends_with("ok\n").then_some(())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    drop(log.read_to_string(&mut warnings));
}
