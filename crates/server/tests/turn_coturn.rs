//! coturn's clients against our server. Where coturn is not installed, a loud line instead.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

#[path = "common/turn.rs"]
mod common;

use common::{Place, SECRET, place, place_at};
use server::turn::{Settings, Transport};
use std::net::Ipv6Addr;
use std::process::Stdio;
use tokio::process::Command;

/// What a client printed; none if it is not installed.
async fn run(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(std::time::Duration::from_secs(60), command.output()).await {
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: {program} is not installed (apt-get install coturn)");
            return None;
        }
        output => output.expect("it takes too long").unwrap(),
    };
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    println!("{program} {args:?}: {}\n{}", output.status, text.concat());
    assert!(output.status.success());
    Some(text.concat())
}

/// Six clients relay to each other, 20 messages each, and none is lost.
async fn relay(place: &Place, port: u16, extra: &[&str], over: Transport) {
    let (port, host) = (port.to_string(), place.udp.ip().to_string());
    let shared = ["-y", "-c", "-m", "6", "-n", "20", "-l", "170", "-u", "ann", "-W", SECRET, "-p", &port];
    let args = [extra, &shared, &[&host]].concat();
    let before = place.turn.stats();
    let Some(printed) = run("turnutils_uclient", &args).await else { return };
    let after = place.turn.stats();
    println!("{over:?}: {after:?}");
    assert!(after.allocated >= before.allocated + 6, "{after:?}");
    assert_eq!(after.to_peers.packets, before.to_peers.packets + 120, "{after:?}");
    assert_eq!(after.to_clients.packets, before.to_clients.packets + 120, "{after:?}");
    // It waits for the socket while OpenSSL holds what it has not read yet: over TLS it misses the last
    // messages of a client, with coturn's own server too (4 of these 120). That all come is tested with a
    // client of our own.
    let lost = printed.split("Total lost packets ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let most = if over == Transport::Tls { 60 } else { 0 };
    assert!(lost.parse::<u32>().unwrap() <= most, "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_by_udp_with_channels_and_with_indications() {
    let place = place(Settings::default()).await;
    relay(&place, place.udp.port(), &[], Transport::Udp).await;
    relay(&place, place.udp.port(), &["-s"], Transport::Udp).await;
    relay(&place, place.udp.port(), &["-G"], Transport::Udp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_by_tcp_and_tls() {
    let place = place(Settings::default()).await;
    relay(&place, place.tcp.port(), &["-t"], Transport::Tcp).await;
    relay(&place, place.tcp.port(), &["-t", "-s"], Transport::Tcp).await;
    relay(&place, place.tls.port(), &["-t", "-S"], Transport::Tls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_by_ipv6() {
    let place = place_at(Ipv6Addr::LOCALHOST.into(), Settings::default()).await;
    relay(&place, place.udp.port(), &["-x"], Transport::Udp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_with_a_wrong_secret_gets_nothing() {
    let place = place(Settings::default()).await;
    let port = place.udp.port().to_string();
    let args = ["-y", "-c", "-n", "1", "-u", "ann", "-W", "another secret", "-p", &port, "127.0.0.1"];
    let mut command = Command::new("turnutils_uclient");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match command.status().await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: turnutils_uclient is not installed (apt-get install coturn)");
        }
        status => {
            assert!(!status.unwrap().success());
            assert_eq!(place.turn.stats().allocated, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stunclient_learns_its_address() {
    for place in
        [place(Settings::default()).await, place_at(Ipv6Addr::LOCALHOST.into(), Settings::default()).await]
    {
        let (port, host) = (place.udp.port().to_string(), place.udp.ip().to_string());
        let Some(printed) = run("turnutils_stunclient", &["-p", &port, &host]).await else { return };
        assert!(printed.contains("UDP reflexive addr: "), "{printed}");
        assert!(printed.contains(&host), "{printed}");
        assert!(place.turn.stats().bindings > 0);
    }
}
