//! A `snug` in a host: what it says, and which way its packets go.

use super::end::{PATIENCE, PathSeen, Place};
use super::servers::inside;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// It ends when dropped.
pub(super) struct Person {
    child: Child,
    stdin: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
}

impl Person {
    pub(super) async fn join(place: &Place<'_>, more: &[&str]) -> Result<Self> {
        let mut command = inside(place.host, &place.programs.snug);
        command.args(["join", "tea", "--headless", "--server", &place.url()]).args(more);
        command.args(["--mic", "tone", "--speaker", "none"]);
        match place.clip {
            Some(clip) => {
                command.arg("--camera").arg(format!("file:{}", clip.display()));
                command.arg("--display").arg(format!("y4m:{}", place.folder.display()));
                command.args(["--display-size", "160x90"])
            }
            None => command.args(["--camera", "none", "--display", "none"]),
        };
        command.arg("--stats").arg(place.folder.join("stats.jsonl"));
        command.env("SSL_CERT_FILE", &place.servers.authority);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        match std::env::var_os("SNUG_LOG") {
            Some(_) => drop(command.stderr(Stdio::inherit())),
            None => drop(command.env("SNUG_LOG", "off")),
        }
        let mut child = command.spawn().context("cannot start snug")?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).context("snug's pipes")?;
        let events = BufReader::new(stdout).lines();
        let mut person = Self { child, stdin, events, folder: place.folder.to_owned() };
        person.until("joined", |event| event["event"] == "joined").await?;
        Ok(person)
    }

    /// Waits for an event.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
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

    /// Media may flow.
    pub(super) async fn connected(&mut self) -> Result<()> {
        let connected = |event: &Value| event["event"] == "connection" && event["state"] == "connected";
        self.until("connected", connected).await.map(drop)
    }

    /// Milliseconds from its wish to join to the other's first sound.
    pub(super) async fn first_sound(&mut self) -> Result<f64> {
        let event = self.until("hearing the other", |event| event["event"] == "first_sound").await?;
        event["after_join_ms"].as_f64().context("first_sound has no time")
    }

    /// The other's picture is there.
    pub(super) async fn first_picture(&mut self) -> Result<()> {
        self.until("seeing the other", |event| event["event"] == "first_frame").await.map(drop)
    }

    /// Reads what it says without looking, so that it need not wait for us.
    pub(super) async fn listen(&mut self) -> Result<()> {
        while self.events.next_line().await?.is_some() {}
        bail!("snug ended")
    }

    /// The path as its last line of statistics tells.
    pub(super) fn path(&self) -> Result<PathSeen> {
        let text = std::fs::read_to_string(self.folder.join("stats.jsonl"))?;
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
