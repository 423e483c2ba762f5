//! What whoever runs the server sees of it: metrics, log, signals, systemd.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod common;

use common::{Bare, hello};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server in a process of its own.
struct Process {
    child: Child,
    url: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, as it should.
        drop(self.child.kill());
        self.child.wait().unwrap();
    }
}

impl Process {
    fn start(args: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snug-server"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SNUG_") {
                command.env_remove(name);
            }
        }
        command.args(["--listen", "127.0.0.1:0"]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("listening on URL").to_owned();
        Self { child, url }
    }

    fn at(&self) -> SocketAddr {
        self.url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Stops it, and gives all that it logged.
    fn log(mut self) -> String {
        self.signal("-TERM");
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success(), "{log}");
        log
    }
}

async fn get(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn join(at: SocketAddr, name: &str) -> (Bare<TcpStream>, Value) {
    let stream = TcpStream::connect(at).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(format!("ws://{at}/ws"), stream).await.unwrap();
    let mut bare = Bare(socket);
    bare.say(&hello("a-room-of-theirs", name)).await;
    let welcome = bare.hear().await;
    (bare, welcome)
}

/// A session with all that must not be in a log; gives the secrets in it.
async fn session(at: SocketAddr) -> Vec<String> {
    let (mut ann, first) = join(at, "Ann-in-person").await;
    let (mut bo, second) = join(at, "Bo-in-person").await;
    let description = json!({"type": "offer", "sdp": "v=0\r\nc=IN IP4 198.51.100.7\r\na=ice-pwd:northsouth"});
    bo.say(&json!({"type": "description", "to": first["id"], "description": description})).await;
    let candidate = json!({"candidate": "candidate:1 1 udp 1 198.51.100.8 5000 typ host", "sdpMid": "0"});
    bo.say(&json!({"type": "candidate", "to": first["id"], "candidate": candidate})).await;
    bo.say(&json!({"type": "chat", "text": "between us alone"})).await;
    assert_eq!(ann.hear().await["type"], "joined");
    for kind in ["description", "candidate", "chat"] {
        assert_eq!(ann.hear().await["type"], kind);
    }
    bo.say(&json!({"type": "nonsense", "secret": "between us alone"})).await;
    assert_eq!(bo.hear().await["type"], "error");
    assert!(get(at, "/a-room-of-theirs").await.starts_with("HTTP/1.1 200"));
    let mut secrets: Vec<String> =
        ["198.51.100", "northsouth", "between us", "in-person", "a-room-of-theirs", "ice-pwd"]
            .map(Into::into)
            .to_vec();
    secrets.extend([&first, &second].map(|welcome| welcome["resume"].as_str().unwrap().to_owned()));
    secrets
}

#[tokio::test]
async fn the_log_holds_no_address_no_description_no_secret() {
    for level in ["info", "debug", "trace"] {
        let process = Process::start(&[], |command| {
            command.env("SNUG_LOG", level);
        });
        let at = process.at();
        let secrets = session(at).await;
        // Refused, too.
        let mut garbage = TcpStream::connect(at).await.unwrap();
        garbage.write_all(b"\xff\xff").await.unwrap();
        assert!(matches!(garbage.read(&mut [0; 8]).await, Ok(0) | Err(_)));
        let (log, own) = (process.log(), "127.0.0.1".to_owned());
        assert!(level == "info" || log.contains("unknown-protocol"), "{log}");
        let found = secrets.iter().chain([&own]).find(|secret| log.contains(secret.as_str()));
        assert_eq!(found, None, "at {level}: {log}");
    }
}

#[tokio::test]
async fn addresses_are_logged_when_asked_for() {
    let process = Process::start(&["--log-addresses"], |command| {
        command.env("SNUG_LOG", "debug");
    });
    let mut garbage = TcpStream::connect(process.at()).await.unwrap();
    garbage.write_all(b"\xff\xff").await.unwrap();
    assert!(matches!(garbage.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    let log = process.log();
    assert!(log.contains("peer=127.0.0.1:") && log.contains("why=\"unknown-protocol\""), "{log}");
}

fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[tokio::test]
async fn metrics_are_on_a_port_of_their_own() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let process = Process::start(&["--metrics", &free.to_string(), "--limits-participants", "2"], |_| {});
    let at = process.at();
    let (_ann, first) = join(at, "Ann").await;
    let (mut bo, _) = join(at, "Bo").await;
    bo.say(&json!({"type": "chat", "text": "hello"})).await;
    bo.say(&json!({"type": "candidate", "to": first["id"], "candidate": null})).await;
    bo.say(&json!({"type": "nonsense"})).await;
    assert_eq!(bo.hear().await["code"], "bad-message");
    let (_third, answer) = join(at, "Cy").await;
    assert_eq!(answer["type"], "error");
    let text = get(free, "/metrics").await;
    assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
    for (name, expected) in [
        ("snug_rooms", 1),
        ("snug_participants", 2),
        ("snug_messages_relayed_total", 2),
        ("snug_refused_total{reason=\"bad-message\"}", 1),
        ("snug_connections_total", 3),
        ("snug_tls_handshakes_total", 0),
    ] {
        assert_eq!(figure(&text, name), expected, "{name}: {text}");
    }
    assert!(figure(&text, "snug_sockets") >= 2 && figure(&text, "snug_connections") >= 2, "{text}");
    assert!(figure(&text, "process_resident_memory_bytes") > 1 << 20, "{text}");
    // On the public port it is a room's name, and no metrics.
    assert!(!get(at, "/metrics").await.contains("snug_rooms "));
}

#[tokio::test]
async fn systemd_is_told_and_a_hang_up_does_not_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let process = Process::start(&[], |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let told = || {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert_eq!(told(), "READY=1");
    process.signal("-HUP");
    assert!(get(process.at(), "/healthz").await.ends_with("ok\n"));
    assert!(get(process.at(), "/healthz/ready").await.ends_with("ready\n"));
    process.signal("-INT");
    assert_eq!(told(), "STOPPING=1");
}
