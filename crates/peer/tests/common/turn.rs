//! A TURN server (coturn) of our own on the loopback.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "test files of two crates use parts of it")]

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const USER: &str = "snug";
pub const PASSWORD: &str = "secret";

/// Killed when dropped.
pub struct Turn {
    child: Child,
    pid_file: std::path::PathBuf,
    /// Over UDP.
    pub url: String,
    port: u16,
    tls_port: Option<u16>,
}

/// A server's certificate and key, as PEM files.
pub struct Identity {
    pub certificate: std::path::PathBuf,
    pub key: std::path::PathBuf,
}

impl Turn {
    /// Starts it and waits until it answers; `None`, and a loud line, where coturn is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// The same, over TLS too where it has an identity for that.
    pub fn start_with(identity: Option<&Identity>) -> Option<Self> {
        let port = free_port();
        let tls_port = identity.map(|_| free_port());
        let pid_file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("turn-{port}.pid"));
        let mut command = Command::new("turnserver");
        command
            .args(["-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--allow-loopback-peers"])
            .args(["--listening-port", &port.to_string(), "--realm", "snug", "--lt-cred-mech"])
            .args(["--user", &format!("{USER}:{PASSWORD}"), "--no-dtls", "--no-cli"])
            .args(["--log-file", "stdout", "--pidfile"])
            .arg(&pid_file);
        match (identity, tls_port) {
            (Some(identity), Some(tls_port)) => {
                command.args(["--tls-listening-port", &tls_port.to_string(), "--cert"]);
                command.arg(&identity.certificate).arg("--pkey").arg(&identity.key);
            }
            _ => drop(command.arg("--no-tls")),
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = match child {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("SKIPPED: turnserver is not installed (apt-get install coturn)");
                return None;
            }
            child => child.expect("turnserver starts"),
        };
        let url = format!("turn:127.0.0.1:{port}?transport=udp");
        let turn = Self { child, pid_file, url, port, tls_port };
        turn.wait(port);
        Some(turn)
    }

    /// Over TCP.
    pub fn tcp_url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=tcp", self.port)
    }

    /// Over TLS.
    pub fn tls_url(&self) -> String {
        format!("turns:127.0.0.1:{}", self.tls_port.expect("it was started with an identity"))
    }

    /// Until it answers a STUN binding request.
    fn wait(&self, port: u16) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(("127.0.0.1", port)).expect("the loopback");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
        let mut request = [0_u8; 20];
        request[1] = 1;
        request[4..8].copy_from_slice(&0x2112_a442_u32.to_be_bytes());
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            // Refused while nobody listens: then there is nothing to read either, and the time-out paces.
            let sent = socket.send(&request);
            if sent.is_ok() && socket.recv(&mut [0; 512]).is_ok() {
                return;
            }
            assert!(Instant::now() < until, "turnserver does not answer on port {port}");
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.pid_file);
    }
}

fn free_port() -> u16 {
    // One that neither UDP nor TCP uses.
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = udp.local_addr().expect("its address").port();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
