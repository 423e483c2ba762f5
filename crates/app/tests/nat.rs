//! Calls through NATs, as people have them: a few of `lab nat`'s pairs, and one who hides an address.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use lab::link::LinkError;
use lab::nat::{HandOver, Kind, Old, Programs, Setup, Turn, Way, World, hand_over, join_all, join_watched};
use std::path::Path;
use std::process::Command;

/// `None`, said aloud, where this machine has no namespaces for us, no nftables or no coturn.
fn programs() -> Option<Programs> {
    match World::new(Setup::SameNetwork) {
        Ok(_) => {}
        Err(error @ LinkError::NotAllowed(_)) => {
            eprintln!("SKIPPED: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    if Command::new("turnserver").arg("--help").output().is_err() {
        eprintln!("SKIPPED: turnserver is not installed (apt-get install coturn)");
        return None;
    }
    let snug = Path::new(env!("CARGO_BIN_EXE_snug")).to_owned();
    let server = snug.with_file_name("snug-server");
    assert!(server.exists(), "build the server first: cargo build -p server");
    Some(Programs { snug, server, turn: Turn::Coturn })
}

async fn comes_up(one: Kind, two: Kind, way: Way) {
    let Some(programs) = programs() else { return };
    for joined in join_all(Setup::Apart(one, two), 1, None, &programs).await.unwrap() {
        let joined = joined.unwrap();
        println!("{} - {}: {joined:?}", one.name(), two.name());
        assert_eq!(joined.way, way, "{joined:?}");
    }
}

/// The server's own TURN: by UDP, and by TCP 443 where nothing else gets out.
#[tokio::test]
async fn the_server_alone_is_enough_for_any_two_networks() {
    let Some(programs) = programs() else { return };
    let programs = Programs { turn: Turn::Inside, ..programs };
    for (one, two, way) in [
        (Kind::Port, Kind::Port, Way::Direct),
        (Kind::Symmetric, Kind::Symmetric, Way::Relayed),
        (Kind::Port, Kind::Tcp443, Way::Relayed),
    ] {
        for joined in join_all(Setup::Apart(one, two), 1, None, &programs).await.unwrap() {
            let joined = joined.unwrap();
            println!("{} - {}: {joined:?}", one.name(), two.name());
            assert_eq!(joined.way, way, "{joined:?}");
        }
    }
}

/// Who comes first is the guest, then the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_calls_from_where_nothing_but_https_gets_out() {
    let Some(programs) = programs() else { return };
    let programs = Programs { turn: Turn::Inside, ..programs };
    let setup = Setup::Apart(Kind::Port, Kind::Tcp443);
    for joined in join_all(setup, 2, Some(1), &programs).await.unwrap() {
        let joined = joined.unwrap();
        println!("{}: {joined:?}", setup.name());
        assert_eq!(joined.way, Way::Relayed, "{joined:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picture_is_back_soon_after_a_change_of_network() {
    let Some(programs) = programs() else { return };
    let programs = Programs { turn: Turn::Inside, ..programs };
    for (mover, old, kind) in [(0, Old::Gone, Kind::Port), (1, Old::Lossy, Kind::Symmetric)] {
        let plan = HandOver { kind, mover, old, guest: None };
        let over = hand_over(plan, &programs).await.unwrap();
        println!("{plan:?}: {over:?}");
        let slowest = over.back_ms[0].max(over.back_ms[1]);
        assert!(slowest < 3000.0, "{plan:?}: {over:?}");
    }
}

#[tokio::test]
async fn two_homes_meet_directly() {
    comes_up(Kind::Port, Kind::Port, Way::Direct).await;
}

#[tokio::test]
async fn a_symmetric_nat_takes_a_relay() {
    comes_up(Kind::Symmetric, Kind::Port, Way::Relayed).await;
}

#[tokio::test]
async fn where_nothing_but_tcp_443_gets_out_the_relay_is_reached_by_tls() {
    comes_up(Kind::Port, Kind::Tcp443, Way::Relayed).await;
}

#[tokio::test]
async fn who_goes_by_relays_alone_sends_nobody_else_a_packet() {
    let Some(programs) = programs() else { return };
    // Without NAT in between, every way would be open.
    let setup = Setup::Apart(Kind::Open, Kind::Open);
    let (joined, strays) = join_watched(setup, false, &programs).await.unwrap();
    assert_eq!(joined.way, Way::Direct, "{joined:?}");
    assert!(strays > 50, "{strays} packets to the other side: not all that leave are seen");
    let (joined, strays) = join_watched(setup, true, &programs).await.unwrap();
    assert_eq!((joined.way, strays), (Way::Relayed, 0), "{joined:?}");
    assert_eq!(joined.pair[0], "relay");
}
