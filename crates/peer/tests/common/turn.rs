//! A TURN server (coturn) of our own on the loopback.
#![allow(unreachable_pub, missing_docs, reason = "test files of two crates use it")]

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const USER: &str = "snug";
pub const PASSWORD: &str = "secret";

/// Killed when dropped.
pub struct Turn {
    child: Child,
    pid_file: std::path::PathBuf,
    pub url: String,
}

impl Turn {
    /// Starts it and waits until it answers; `None`, and a loud line, where coturn is not installed.
    pub fn start() -> Option<Self> {
        let port =
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let pid_file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("turn-{port}.pid"));
        let child = Command::new("turnserver")
            .args(["-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--allow-loopback-peers"])
            .args(["--listening-port", &port.to_string(), "--realm", "snug", "--lt-cred-mech"])
            .args(["--user", &format!("{USER}:{PASSWORD}"), "--no-tls", "--no-dtls", "--no-cli"])
            .args(["--log-file", "stdout", "--pidfile"])
            .arg(&pid_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("SKIPPED: turnserver is not installed (apt-get install coturn)");
                return None;
            }
            child => child.expect("turnserver starts"),
        };
        let turn = Self { child, pid_file, url: format!("turn:127.0.0.1:{port}?transport=udp") };
        turn.wait(port);
        Some(turn)
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
