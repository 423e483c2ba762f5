//! A server looked at from outside: one that has all, and ones that are broken in one way each.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[path = "../../peer/tests/common/turn.rs"]
mod turn;

use call::checkup::{Finding, Verdict, checkup};
use server::{Config, Running, Server};
use signaling::IceServer;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use turn::{PASSWORD, Turn, USER};

async fn rooms(urls: &[String], password: &str) -> Running {
    let mut config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)).into(), ..Config::default() };
    config.turn.enabled = Some(false);
    if !urls.is_empty() {
        let (username, credential) = (Some(USER.to_owned()), Some(password.to_owned()));
        config.ice.fixed = vec![IceServer { urls: urls.to_vec(), username, credential }];
    }
    Server::bind(config).await.unwrap()
}

fn of<'a>(findings: &'a [Finding], about: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|finding| finding.about == about).collect()
}

fn verdict(findings: &[Finding], about: &str) -> Verdict {
    let [finding] = of(findings, about)[..] else { panic!("{about}: {findings:?}") };
    finding.verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_turn_is_well_and_says_of_which_address() {
    let Some(turn) = Turn::start() else { return };
    let nobody = "turn:127.0.0.1:9?transport=tcp".to_owned();
    let server = rooms(&[turn.url.clone(), turn.tcp_url(), nobody.clone()], PASSWORD).await;
    let findings = checkup(&server.url()).await;
    println!("{findings:#?}");
    for about in ["http", "clock", "signaling", "stun"] {
        assert_eq!(verdict(&findings, about), Verdict::Ok, "{findings:?}");
    }
    let turns: Vec<(Verdict, bool)> = of(&findings, "turn")
        .iter()
        .map(|finding| (finding.verdict, finding.text.contains(&nobody)))
        .collect();
    assert_eq!(turns, [(Verdict::Ok, false), (Verdict::Ok, false), (Verdict::Warning, true)]);
    assert!(of(&findings, "relay").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_has_all_that_is_needed_inside() {
    let config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)).into(), ..Config::default() };
    let server = Server::bind(config).await.unwrap();
    let findings = checkup(&server.url()).await;
    assert_eq!(verdict(&findings, "stun"), Verdict::Ok, "{findings:?}");
    let turns: Vec<Verdict> = of(&findings, "turn").iter().map(|finding| finding.verdict).collect();
    assert_eq!(turns, [Verdict::Ok, Verdict::Ok], "UDP and TCP: {findings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_turn_refuses_are_a_failure_with_advice() {
    let Some(turn) = Turn::start() else { return };
    let server = rooms(std::slice::from_ref(&turn.url), "wrong").await;
    let findings = checkup(&server.url()).await;
    let [finding] = of(&findings, "turn")[..] else { panic!("{findings:?}") };
    assert!(finding.advice.as_ref().unwrap().contains("credentials"), "{finding:?}");
    assert_eq!(verdict(&findings, "relay"), Verdict::Failed);
}

#[tokio::test]
async fn a_server_without_turn_is_warned_of() {
    let server = rooms(&[], "").await;
    let findings = checkup(&server.url()).await;
    assert_eq!(verdict(&findings, "signaling"), Verdict::Ok);
    assert_eq!(verdict(&findings, "stun"), Verdict::Warning);
}

/// Says the same to whoever asks.
async fn saying(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn what_is_no_snug_server_is_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let old = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\nok";
    for (url, about, word) in [
        (nobody, "http", "cannot be reached"),
        (saying("SSH-2.0-OpenSSH\r\n").await, "http", "not as a web server"),
        (saying("HTTP/1.1 404 Not Found\r\n\r\n").await, "http", "404"),
        (saying(old).await, "signaling", ""),
        (saying(old).await.replace("http://", "https://"), "tls", "no secure connection"),
        ("ftp://x".into(), "server", "https://"),
    ] {
        let findings = checkup(&url).await;
        assert_eq!(verdict(&findings, about), Verdict::Failed, "{url}: {findings:?}");
        let finding = of(&findings, about)[0];
        assert!(finding.text.contains(word) && finding.advice.is_some(), "{finding:?}");
        if about == "signaling" {
            assert_eq!(verdict(&findings, "clock"), Verdict::Warning, "its clock is decades behind");
        }
    }
}
