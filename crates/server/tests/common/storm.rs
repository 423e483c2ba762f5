//! A real `snug-server` under attack: its memory, and two bystanders who talk all the while.
//!
//! The bystanders have a thread of their own: what the attackers do in this process must not delay them. What the
//! machine does to them shows at the same time from two others, at a second server that nobody attacks.

use super::error_of;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Between two questions of the bystanders: below the rate limit of relays.
const EVERY: Duration = Duration::from_millis(20);
/// What the server may grow by, and how long a bystander's round trip may take.
const GROWTH: u64 = 20 * 1024 * 1024;
const LATE: Duration = Duration::from_millis(50);

/// The server's process.
pub(crate) struct Target {
    child: Child,
    pub(crate) address: SocketAddr,
    _config: tempfile::NamedTempFile,
}

impl Target {
    /// With settings of its own on a free port.
    pub(crate) fn start(config: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(config.as_bytes()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_snug-server"))
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(file.path())
            .env_remove("SNUG_LISTEN")
            .env("SNUG_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
        Self { child, address, _config: file }
    }

    /// Its memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Target {
    /// The processor time that it has used, in seconds.
    fn busy(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // Hundredths of a second on every Linux: user's and system's.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have ended by itself; a test that needs it has failed by then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of the many addresses of this machine.
pub(crate) fn from(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x7f01_0000 + n + 1)
}

/// A connection from an address.
pub(crate) async fn dial(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    socket.connect(to).await
}

/// A connection that is upgraded and then in nobody's care.
pub(crate) async fn raw(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let mut stream = dial(from, to).await.unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

/// A frame with a mask of zeros; its payload may be shorter than it says.
pub(crate) fn frame(first: u8, says: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match says {
        0..=125 => bytes.push(0x80 | says as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((says as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(says.to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// A text frame.
pub(crate) fn text(message: &Value) -> Vec<u8> {
    let payload = message.to_string();
    frame(0x81, payload.len() as u64, payload.as_bytes())
}

/// A WebSocket from an address.
pub(crate) struct Visitor(WebSocketStream<TcpStream>);

impl Visitor {
    pub(crate) async fn open(from: Ipv4Addr, to: SocketAddr) -> Self {
        let stream = dial(from, to).await.unwrap();
        Self(tokio_tungstenite::client_async(format!("ws://{to}/ws"), stream).await.unwrap().0)
    }

    /// Opens, says hello, and gives the answer.
    pub(crate) async fn hello(from: Ipv4Addr, to: SocketAddr, hello: &Value) -> (Self, Value) {
        let mut visitor = Self::open(from, to).await;
        visitor.say(hello).await;
        let answer = visitor.hear().await;
        (visitor, answer)
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            let frame = timeout(Duration::from_secs(20), self.0.next()).await.expect("silence");
            match frame.expect("the connection ended").expect("the connection broke") {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Whether it stays outside, with the one answer.
    pub(crate) fn is_shut(answer: &Value) -> bool {
        error_of(answer) == ("no-entry".into(), true)
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Of those at the server that nobody attacks.
    pub(crate) elsewhere_most: Duration,
    pub(crate) p99: Duration,
    pub(crate) trips: usize,
    pub(crate) growth: u64,
}

/// Lets an attack loose on a server; the bystanders and the server's memory must bear it.
pub(crate) async fn storm<F: Future<Output = ()>>(what: &str, target: &Target, attack: impl FnOnce() -> F) {
    let over = Arc::<AtomicBool>::default();
    let elsewhere = Target::start("");
    let near = bystanders(target.address, over.clone());
    let far = bystanders(elsewhere.address, over.clone());
    for (ready, _) in [&near, &far] {
        ready.recv_timeout(Duration::from_secs(20)).expect("the bystanders are not there");
    }
    let (before, busy, began) = (target.memory(), target.busy(), Instant::now());
    let most = AtomicU64::new(before);
    let watch = async {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        loop {
            look.tick().await;
            most.fetch_max(target.memory(), Ordering::Relaxed);
        }
    };
    tokio::select! {
        () = attack() => {}
        () = watch => {}
    }
    most.fetch_max(target.memory(), Ordering::Relaxed);
    over.store(true, Ordering::Release);
    let [mut trips, mut others] = [near, far].map(|(_, thread)| thread.join().unwrap());
    let growth = most.into_inner() - before;
    let figures = Figures {
        elsewhere_most: others.iter().max().copied().unwrap_or_default(),
        p99: p99(&mut trips),
        trips: trips.len(),
        growth,
    };
    let share = (target.busy() - busy) / began.elapsed().as_secs_f64();
    println!(
        "{what}: {figures:?}, elsewhere p99 {:?}, {share:.2} of a core, {:.1} MB more than {:.1} MB",
        p99(&mut others),
        growth as f64 / 1e6,
        before as f64 / 1e6
    );
    assert!(figures.growth < GROWTH, "{what}: {figures:?}");
    // What the machine does at the same time to a server left in peace is not the attack's doing. It strikes this
    // one and that in turn, so the slowest trip there is the measure.
    assert!(figures.p99 < LATE + figures.elsewhere_most, "{what}: {figures:?}");
    // Of few trips the p99 is the slowest: that is no less strict.
    assert!(figures.trips > 5, "{what}: {figures:?}");
}

fn p99(trips: &mut [Duration]) -> Duration {
    trips.sort_unstable();
    trips.get(trips.len().saturating_sub(1 + trips.len() / 100)).copied().unwrap_or(Duration::MAX)
}

/// Two people on a thread of their own: what tells that they are there, and what gives their round trips.
fn bystanders(server: SocketAddr, over: Arc<AtomicBool>) -> (Receiver<()>, JoinHandle<Vec<Duration>>) {
    // overflow: there is one word to say.
    let (ready, is_ready) = sync_channel(1);
    let talking = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(talk(server, &ready, &over))
    };
    (is_ready, std::thread::Builder::new().name("bystanders".into()).spawn(talking).unwrap())
}

/// Two people who ask each other in turn, until it is over; how long each round trip took.
async fn talk(server: SocketAddr, ready: &SyncSender<()>, over: &AtomicBool) -> Vec<Duration> {
    let hello = |name: &str| super::hello("bystanders", name);
    let (mut ann, _) = Visitor::hello(Ipv4Addr::LOCALHOST, server, &hello("Ann")).await;
    let (mut bo, welcome) = Visitor::hello(Ipv4Addr::LOCALHOST, server, &hello("Bo")).await;
    let bo_id = welcome["id"].clone();
    let ann_id = welcome["participants"][0]["id"].clone();
    assert_eq!(ann.hear().await["type"], "joined");
    ready.send(()).unwrap();
    let candidate = |to: &Value| json!({"type": "candidate", "to": to, "candidate": null});
    let mut trips = Vec::new();
    let mut ask = tokio::time::interval(EVERY);
    ask.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !over.load(Ordering::Acquire) {
        ask.tick().await;
        let asked = Instant::now();
        ann.say(&candidate(&bo_id)).await;
        assert_eq!(bo.hear().await["type"], "candidate");
        bo.say(&candidate(&ann_id)).await;
        assert_eq!(ann.hear().await["type"], "candidate");
        trips.push(asked.elapsed());
    }
    trips
}
