//! A server tested from where one sits: what a call needs of it, one finding each, with what to do.

mod relay;
mod web;

use peer::Mapping;
use serde::Serialize;
use signaling::{Client, ClientEvent, IceServer, JoinRequest, Name, Password, RoomName, Server, Welcome};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A server that does not answer a hello for so long is given up.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Calls work, but not with everybody, or not for long.
    Warning,
    /// Calls do not work.
    Failed,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub about: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(about: &str, text: impl Into<String>) -> Self {
        Self { about: about.into(), verdict: Verdict::Ok, text: text.into(), advice: None }
    }

    /// Not all is.
    pub fn warning(about: &str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            verdict: Verdict::Warning,
            text: text.into(),
            advice: Some(advice.into()),
        }
    }

    /// It does not work.
    pub fn failed(about: &str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, ..Self::warning(about, text, advice) }
    }
}

/// Tests a server: HTTP, TLS, clock, signaling, STUN, and TURN by each of its addresses. Takes some seconds;
/// what fails early leaves out what needs it. Needs tokio, with its clock and network.
pub async fn checkup(server: &str) -> Vec<Finding> {
    let server = match Server::parse(server) {
        Ok(server) => server,
        Err(error) => {
            return vec![Finding::failed("server", error.to_string(), "name another one with --server")];
        }
    };
    let mut findings = web::look(&server).await;
    if findings.iter().any(|finding| finding.verdict == Verdict::Failed) {
        return findings;
    }
    match hello(server).await {
        Ok((welcome, took)) => {
            let text = format!("a room was entered in {} ms", took.as_millis());
            findings.push(Finding::ok("signaling", text));
            findings.extend(paths(&welcome.ice_servers).await);
        }
        Err(why) => {
            let advice = "ask who runs the server; a proxy in front of it must pass WebSockets on at /ws";
            findings.push(Finding::failed("signaling", why, advice));
        }
    }
    findings
}

/// Enters a room that nobody else is in, and leaves it.
async fn hello(server: Server) -> Result<(Welcome, Duration), String> {
    let room = RoomName::parse(&format!("doctor {:016x}", rand::random::<u64>()));
    let room = room.map_err(|error| error.to_string())?;
    let name = Name::parse("doctor").map_err(|error| error.to_string())?;
    let request =
        JoinRequest { server, room, name, password: Password::default(), audio: false, video: false };
    // overflow: the client waits until there is room.
    let (events, mut reports) = mpsc::channel(8);
    let began = Instant::now();
    let client = Client::connect(request, events);
    let answer = async {
        while let Some(report) = reports.recv().await {
            match report {
                ClientEvent::Welcome(welcome) => return Ok(welcome),
                ClientEvent::Failed { message } | ClientEvent::NoEntry { message } => return Err(message),
                ClientEvent::Disconnected { why, .. } => return Err(why),
                ClientEvent::Message(_) => {}
            }
        }
        Err("the client ended".to_owned())
    };
    let answer = tokio::time::timeout(HELLO_WITHIN, answer).await;
    let took = began.elapsed();
    client.bye().await;
    answer.unwrap_or_else(|_| Err("no answer to a hello".into())).map(|welcome| (welcome, took))
}

/// STUN, and every TURN address.
async fn paths(servers: &[IceServer]) -> Vec<Finding> {
    if servers.is_empty() {
        let advice = "fine within one network; else switch TURN on in the server's configuration";
        return vec![Finding::warning("stun", "the server names no STUN and no TURN server", advice)];
    }
    let all: Vec<String> = servers.iter().flat_map(|server| server.urls.clone()).collect();
    let mut findings = vec![nat(&all).await];
    let mut works = 0;
    for server in servers {
        for url in server.urls.iter().filter(|url| url.starts_with("turn")) {
            let finding = relay::look(url, server).await;
            works += usize::from(finding.verdict == Verdict::Ok);
            findings.push(finding);
        }
    }
    if works == 0 {
        let text = "no relay works from here";
        let advice = "calls to other networks may not connect: let UDP 3478 or TCP 443 out to the server, and have \
                      its TURN looked at";
        findings.push(Finding::failed("relay", text, advice));
    }
    findings
}

async fn nat(urls: &[String]) -> Finding {
    match peer::mapping(urls).await {
        Err(error) => Finding::failed("stun", error.to_string(), "this computer has no network for programs"),
        Ok(Mapping::Open) => Finding::ok("stun", "no NAT: servers see this computer's own address"),
        Ok(Mapping::Independent) => {
            Finding::ok("stun", "a NAT that keeps its port (endpoint-independent mapping): direct calls work")
        }
        Ok(Mapping::Dependent) => Finding::warning(
            "stun",
            "a NAT that takes another port for each destination (symmetric): many calls need the relay",
            "nothing if a relay works; else another router, or IPv6",
        ),
        Ok(Mapping::Unknown) => {
            Finding::ok("stun", "behind a NAT; its kind cannot be told with one server's answer")
        }
        Ok(Mapping::Blocked) => Finding::warning(
            "stun",
            "no STUN server answers: UDP does not get out of this network, or not back",
            "calls go by the relay over TCP or TLS, if one works below; let UDP out for better ones",
        ),
    }
}
