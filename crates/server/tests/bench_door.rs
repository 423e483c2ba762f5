//! Thousands at the door at once, in all the ways of doing harm there; what a bystander and the memory
//! notice. The figures are printed: `cargo nextest run -p server --test bench_door --no-capture`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod secure;

use secure::{Authority, Client, until};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const NAME: &str = "call.test";
/// Loopback addresses that the crowd comes from, and connections of each.
const ADDRESSES: u8 = 12;
const EACH: usize = 300;
/// What is let in of each.
const MOST_EACH: usize = 256;

struct Process(Child, SocketAddr);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_snug-server"))
            .args(["--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, address) = line.trim().split_once("://").unwrap();
        let at = address.parse().unwrap();
        Self(child, at)
    }

    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    fn open(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap().count()
    }
}

/// What one of the crowd says to a TLS port, by its number, before it says no more.
fn mischief(n: usize) -> &'static [u8] {
    match n % 5 {
        0 => b"",
        1 => b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        2 => &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc],
        3 => &[0x80, 0xff, 0, 0, 0, 0],
        _ => &[0, 1, 0, 0, 0x21, 0x12],
    }
}

/// To a plain port: headers that never end, which costs more.
fn slow_headers(_: usize) -> &'static [u8] {
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "
}

async fn one(from: u8, said: &'static [u8], to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 1, from], 0))).unwrap();
    let mut stream = socket.connect(to).await.ok()?;
    stream.write_all(said).await.ok()?;
    Some(stream)
}

trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Io for T {}

/// A new connection, by TLS where that is spoken, and one request.
async fn bystander(client: Option<&Client>, to: SocketAddr) -> Duration {
    let begun = Instant::now();
    let mut stream: Box<dyn Io> = match client {
        Some(client) => Box::new(client.connect(to, NAME).await.unwrap()),
        None => Box::new(TcpStream::connect(to).await.unwrap()),
    };
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    begun.elapsed()
}

/// Comes from all sides, and stays.
async fn crowd(said: fn(usize) -> &'static [u8], to: SocketAddr) -> Vec<TcpStream> {
    let (mut coming, mut there) = (JoinSet::new(), Vec::new());
    for n in 0..EACH {
        for from in 1..=ADDRESSES {
            coming.spawn(one(from, said(n), to));
        }
        // No more than these at once, or the kernel's backlog is what is measured.
        while coming.len() > 200 {
            there.extend(coming.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(came) = coming.join_next().await {
        there.extend(came.unwrap());
    }
    there
}

async fn measure(what: &str, server: Process, client: Option<&Client>, said: fn(usize) -> &'static [u8]) {
    let at = server.1;
    for _ in 0..20 {
        bystander(client, at).await;
    }
    let (memory, open) = (server.memory(), server.open());
    let crowd = tokio::spawn(crowd(said, at));
    let mut took = Vec::new();
    let (mut most_memory, mut most_open) = (memory, open);
    let begun = Instant::now();
    while took.len() < 300 || begun.elapsed() < Duration::from_secs(6) {
        took.push(bystander(client, at).await);
        most_memory = most_memory.max(server.memory());
        most_open = most_open.max(server.open());
    }
    let crowd = crowd.await.unwrap();
    took.sort();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    let (grown, there) = (most_memory.saturating_sub(memory), most_open - open);
    println!(
        "{what}: {} came, {there} let in at once: a bystander's connection and request p50 {p50:?}, \
         p99 {p99:?} of {}; memory {memory} kB, {grown} kB more at most",
        crowd.len(),
        took.len(),
    );
    assert!(there <= usize::from(ADDRESSES) * MOST_EACH + 50, "{there}");
    assert!(there > 1000, "only {there} were there at once");
    assert!(grown < 20_000, "{grown} kB");
    // Five times what is wanted, for a machine that has other things to do.
    assert!(p99 < Duration::from_millis(250), "{p99:?}");
    // All are let go by themselves, though none of them closes.
    until("the door is empty again", async || (server.open() <= open + 2).then_some(())).await;
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crowd_at_a_tls_port_is_hardly_noticed() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (cert, key) = authority.write(folder.path(), NAME);
    let server = Process::start(&["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
    measure("TLS", server, Some(&Client::new(authority.root())), mischief).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn slow_headers_are_hardly_noticed() {
    measure("slow headers", Process::start(&[]), None, slow_headers).await;
}
