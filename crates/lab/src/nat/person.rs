//! A `snug` in a host, without pictures: what it says, and which way its packets go.

use super::servers::{Servers, inside};
use super::world::{SERVER, SERVER_V6};
use super::{Kind, Programs};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// Nobody waits longer for a call to come up.
const PATIENCE: Duration = Duration::from_secs(40);

/// It ends when dropped.
pub(super) struct Person {
    child: Child,
    stdin: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    stats: PathBuf,
}

/// One end's view of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathSeen {
    pub(super) local: String,
    pub(super) remote: String,
    pub(super) relayed: bool,
}

/// The room server as somebody with this access reaches it.
pub(super) fn url(kind: Kind) -> String {
    match kind {
        Kind::V6 => format!("http://[{SERVER_V6}]:443"),
        _ => format!("http://{SERVER}:443"),
    }
}

impl Person {
    pub(super) async fn join(
        host: &str,
        kind: Kind,
        programs: &Programs,
        servers: &Servers,
        stats: &Path,
        more: &[&str],
    ) -> Result<Self> {
        let mut command = inside(host, &programs.snug);
        command.args(["join", "tea", "--headless", "--server", &url(kind)]).args(more);
        command.args(["--camera", "none", "--mic", "tone", "--speaker", "none", "--display", "none"]);
        command.arg("--stats").arg(stats).env("SSL_CERT_FILE", &servers.certificate);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        match std::env::var_os("SNUG_LOG") {
            Some(_) => drop(command.stderr(Stdio::inherit())),
            None => drop(command.env("SNUG_LOG", "off")),
        }
        let mut child = command.spawn().context("cannot start snug")?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).context("snug's pipes")?;
        let events = BufReader::new(stdout).lines();
        let mut person = Self { child, stdin, events, stats: stats.to_owned() };
        person.until("joined", |event| event["event"] == "joined").await?;
        Ok(person)
    }

    /// Waits for an event.
    pub(super) async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = tokio::time::timeout(left, self.events.next_line()).await;
            let line = line.with_context(|| format!("not {what} within {PATIENCE:?}"))??;
            let line = line.context("snug ended")?;
            let event: Value = serde_json::from_str(&line).with_context(|| format!("snug said `{line}`"))?;
            if event["event"] == "error" && event["fatal"] == true {
                bail!("snug says {event}");
            }
            if wanted(&event) {
                return Ok(event);
            }
        }
    }

    /// Media may flow; when that was known.
    pub(super) async fn connected(&mut self) -> Result<Instant> {
        let connected = |event: &Value| event["event"] == "connection" && event["state"] == "connected";
        self.until("connected", connected).await?;
        Ok(Instant::now())
    }

    /// Milliseconds from its wish to join to the other's first sound.
    pub(super) async fn first_sound(&mut self) -> Result<u64> {
        let event = self.until("hearing the other", |event| event["event"] == "first_sound").await?;
        event["after_join_ms"].as_u64().context("first_sound has no time")
    }

    /// The path as its last line of statistics tells.
    pub(super) fn path(&self) -> Result<PathSeen> {
        let text = std::fs::read_to_string(&self.stats)?;
        let told = text.lines().rev().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let them = &line["participants"][0];
            Some(PathSeen {
                local: them["localCandidateType"].as_str()?.to_owned(),
                remote: them["remoteCandidateType"].as_str()?.to_owned(),
                relayed: them["path"].as_str()? == "relayed",
            })
        });
        told.context("the statistics tell no path")
    }

    pub(super) async fn leave(mut self) -> Result<()> {
        self.stdin.write_all(b"{\"cmd\":\"leave\"}\n").await?;
        drop(self.stdin);
        let over = async {
            while self.events.next_line().await?.is_some() {}
            self.child.wait().await
        };
        let status = tokio::time::timeout(PATIENCE, over).await.context("snug does not leave")??;
        anyhow::ensure!(status.success(), "snug ended with {status}");
        Ok(())
    }
}
