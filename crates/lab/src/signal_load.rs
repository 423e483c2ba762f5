//! What the server's rooms cost: memory for each idle socket, relayed messages a second, and how late they are.
//!
//! The server runs on one core (`taskset`), this program on the others. All connections come from many addresses
//! of loopback, so that the server's own limits stand as they are by default.

mod person;

use crate::procs::{CpuTimes, pss_of_tree};
use anyhow::{Context, Result, bail, ensure};
use person::{Ear, Heard, Mouth, open};
use serde::Serialize;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sockets that say hello and nothing more, ten to a room.
    pub idle: u32,
    /// Rooms of two who talk.
    pub rooms: u32,
    /// What each of them says a second, one figure after the other.
    pub rates: Vec<u32>,
    /// How long at each rate.
    pub seconds: u32,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Sockets that were idle.
    pub idle: u32,
    /// The server's memory before anybody came, in bytes (proportional set size).
    pub empty: u64,
    /// What each idle socket adds to it.
    pub each: u64,
    /// The share of the core that the idle sockets take: they are pinged.
    pub idle_core: f64,
    /// The talk.
    pub talks: Vec<Talk>,
}

/// The rooms in talk at one rate.
#[derive(Clone, Debug, Serialize)]
pub struct Talk {
    /// Messages that were said a second, in all.
    pub said: f64,
    /// Messages that came a second.
    pub relayed: f64,
    /// From saying to hearing, in milliseconds.
    pub p50: f64,
    /// The same of the slowest hundredth.
    pub p99: f64,
    /// The share of the core that the server took.
    pub core: f64,
    /// The server's memory at the end, in bytes.
    pub memory: u64,
}

/// Measures a `snug-server`.
///
/// # Errors
/// When it cannot be run on one core, or does not take all who come.
pub fn run(server: &Path, plan: &Plan) -> Result<Report> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(async {
        let (server, address) = start(server).await?;
        let pid = server.id().context("the server has ended")?;
        let empty = pss_of_tree(pid)?;
        let mut crowd = JoinSet::new();
        for n in 0..plan.idle {
            let (mut ear, mut mouth) = enter(n, address, &format!("idle {}", n / 10)).await?.0;
            crowd.spawn(async move {
                loop {
                    if let Heard::Ping(payload) = ear.hear().await? {
                        mouth.pong(&payload).await?;
                    }
                }
            });
        }
        let idle_core = core_of(pid, Duration::from_secs(10)).await?;
        let each = pss_of_tree(pid)?.saturating_sub(empty) / u64::from(plan.idle.max(1));
        let mut people = Vec::new();
        for n in 0..plan.rooms {
            people.extend(pair(plan.idle + 2 * n, address).await?);
        }
        let mut talks = Vec::new();
        for rate in &plan.rates {
            let talk;
            (talk, people) = talk_at(*rate, people, plan, pid).await?;
            talks.push(talk);
        }
        if let Some(ended) = crowd.try_join_next() {
            let ended: Result<()> = ended?;
            ended.context("one of the idle was dropped")?;
        }
        Ok(Report { idle: plan.idle, empty, each, idle_core, talks })
    })
}

async fn start(program: &Path) -> Result<(Child, SocketAddr)> {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).args(["--listen", "127.0.0.1:0"]).env("SNUG_LOG", "warn");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("cannot start taskset: install util-linux")?;
    let stdout = child.stdout.take().context("the server has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(address) = line.strip_prefix("listening on http://") {
            return Ok((child, address.trim_end_matches('/').parse()?));
        }
    }
    bail!("the server ended before it listened")
}

async fn core_of(pid: u32, time: Duration) -> Result<f64> {
    let (before, began) = (CpuTimes::of_tree(pid)?, Instant::now());
    tokio::time::sleep(time).await;
    Ok(CpuTimes::of_tree(pid)?.since(&before) / began.elapsed().as_secs_f64())
}

/// Somebody comes into a room; their welcome too. A hundred share an address.
async fn enter(n: u32, to: SocketAddr, room: &str) -> Result<((Ear, Mouth), Value)> {
    let from = Ipv4Addr::from_bits(0x7f01_0001 + n / 100);
    let (mut ear, mut mouth) = open(from, to).await?;
    let hello = json!({"type": "hello", "v": 1, "room": room, "name": "N", "audio": true, "video": true});
    mouth.say(&hello.to_string()).await?;
    let welcome = ear.message(&mut mouth, "welcome").await?;
    Ok(((ear, mouth), welcome))
}

/// Somebody who talks.
struct Talker {
    ear: Ear,
    mouth: Mouth,
    /// To whom.
    to: String,
}

/// Two in a room of their own.
async fn pair(n: u32, to: SocketAddr) -> Result<[Talker; 2]> {
    let room = format!("talk {n}");
    let id = |value: &Value| value.as_str().map(str::to_owned).context("somebody has no id");
    let ((ear, mouth), welcome) = enter(n, to, &room).await?;
    let mut first = Talker { ear, mouth, to: String::new() };
    let ((ear, mouth), second) = enter(n + 1, to, &room).await?;
    first.to = id(&second["id"])?;
    first.ear.message(&mut first.mouth, "joined").await?;
    Ok([first, Talker { ear, mouth, to: id(&welcome["id"])? }])
}

/// Everybody says so much a second to the other of the room.
async fn talk_at(rate: u32, people: Vec<Talker>, plan: &Plan, pid: u32) -> Result<(Talk, Vec<Talker>)> {
    let (count, time) = (people.len(), Duration::from_secs(plan.seconds.into()));
    let (cpu, began) = (CpuTimes::of_tree(pid)?, Instant::now());
    // All use one clock: microseconds since now.
    let mut talking = JoinSet::new();
    // overflow: whoever tells how late a message was waits.
    let (late, mut lates) = mpsc::channel(4096);
    for (n, talker) in people.into_iter().enumerate() {
        let every = Duration::from_secs(1) / rate;
        // Not all at the same moment.
        let first = every.mul_f64(n as f64 / count as f64);
        talking.spawn(talk(talker, every, first, began, time, late.clone()));
    }
    drop(late);
    let mut all: Vec<u64> = Vec::new();
    while let Some(micros) = lates.recv().await {
        all.push(micros);
    }
    let (core, took) = (CpuTimes::of_tree(pid)?.since(&cpu), began.elapsed().as_secs_f64());
    let (mut said, mut people) = (0, Vec::new());
    while let Some(done) = talking.join_next().await {
        let (talker, count) = done??;
        said += count;
        people.push(talker);
    }
    ensure!(!all.is_empty(), "nothing was relayed");
    all.sort_unstable();
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    let (said, relayed) = (said as f64 / took, all.len() as f64 / took);
    let memory = pss_of_tree(pid)?;
    Ok((Talk { said, relayed, p50: at(0.5), p99: at(0.99), core: core / took, memory }, people))
}

async fn talk(
    mut talker: Talker,
    every: Duration,
    first: Duration,
    clock: Instant,
    time: Duration,
    late: mpsc::Sender<u64>,
) -> Result<(Talker, u64)> {
    let now = || u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut say = tokio::time::interval_at((clock + first).into(), every);
    // What is still on its way has a second to come.
    let (end, over) = (tokio::time::Instant::from_std(clock + time), Duration::from_secs(1));
    let mut said = 0;
    loop {
        let heard = {
            let Talker { ear, mouth, to } = &mut talker;
            // A frame that is half read must not be lost: hearing is never cut off but at the very end.
            let hearing = ear.hear();
            tokio::pin!(hearing);
            loop {
                tokio::select! {
                    heard = &mut hearing => break Some(heard?),
                    _ = say.tick(), if tokio::time::Instant::now() < end => {
                        mouth.say(&candidate(to, now())).await?;
                        said += 1;
                    }
                    () = tokio::time::sleep_until(end + over) => break None,
                }
            }
        };
        match heard {
            None => return Ok((talker, said)),
            Some(Heard::Ping(payload)) => talker.mouth.pong(&payload).await?,
            Some(Heard::Text(text)) => {
                if let Some(sent) = sent_at(&text)? {
                    late.send(now().saturating_sub(sent)).await?;
                }
            }
        }
    }
}

/// As long as a real one; its foundation tells when it was said.
fn candidate(to: &str, micros: u64) -> String {
    let line = format!(
        "candidate:{micros} 1 udp 1694498815 203.0.113.77 54321 typ srflx raddr 192.168.1.20 rport 54321"
    );
    json!({"type": "candidate", "to": to, "candidate": {
        "candidate": line, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "a1b2"}})
    .to_string()
}

fn sent_at(text: &[u8]) -> Result<Option<u64>> {
    let message: Value = serde_json::from_slice(text)?;
    ensure!(message["type"] != "error", "{message}");
    let line = message["candidate"]["candidate"].as_str().and_then(|line| line.strip_prefix("candidate:"));
    Ok(line.and_then(|line| line.split(' ').next()?.parse().ok()))
}

/// The report as tables, in Markdown.
pub fn markdown(report: &Report) -> String {
    let mut text = format!(
        "| idle sockets | server empty, MB | each socket, kB | share of the core |\n|---|---|---|---|\n\
         | {} | {:.1} | {:.1} | {:.2} |\n\n\
         | said a second | relayed a second | p50, ms | p99, ms | share of the core | server, MB |\n\
         |---|---|---|---|---|---|\n",
        report.idle,
        report.empty as f64 / 1e6,
        report.each as f64 / 1e3,
        report.idle_core
    );
    for talk in &report.talks {
        let Talk { said, relayed, p50, p99, core, memory } = talk;
        let memory = *memory as f64 / 1e6;
        text += &format!("| {said:.0} | {relayed:.0} | {p50:.2} | {p99:.2} | {core:.2} | {memory:.1} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_tells_when() {
        let text = candidate("b", 123_456);
        assert_eq!(sent_at(text.as_bytes()).unwrap(), Some(123_456));
        assert!((200..300).contains(&text.len()), "{}", text.len());
        assert_eq!(sent_at(br#"{"type":"joined"}"#).unwrap(), None);
        assert!(sent_at(br#"{"type":"error","code":"too-fast"}"#).is_err());
    }
}
