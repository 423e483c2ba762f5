//! Two `snug` processes without a window, told what to do on their standard input. The pictures that they
//! show are read after the call, so that reading costs it nothing.

use super::server::Server;
use super::{Figures, Seen, Stage, unix_us};
use crate::delay::{Sighting, delays, filled};
use crate::link::Host;
use crate::mark::read_mark;
use crate::y4m::Reader;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs::File;
use std::io::BufReader as FileReader;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running `snug`; it ends when dropped.
struct End {
    child: Child,
    stdin: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    shows: PathBuf,
}

/// Unix time in microseconds, from and to.
type Span = (u64, u64);

pub(super) async fn call(stage: &Stage) -> Result<Figures> {
    let server = Server::start(stage).await?;
    let mut first = End::start(stage, &server.url, Host::First, "quick").await?;
    let mut second = End::start(stage, &server.url, Host::Second, "elsewhere").await?;
    let clicked = unix_us();
    second.tell(&json!({"cmd": "join", "server": server.url, "room": "quick", "name": "Second"})).await?;
    second.event("first_frame").await?;
    first.event("first_frame").await?;
    tokio::time::sleep(stage.plan.settle).await;
    let from = unix_us();
    tokio::time::sleep(stage.plan.sample).await;
    let span = (from, unix_us());
    let cost = stage.cost([first.pid()?, second.pid()?]).await?;
    let (one, two) = (first.leave().await?, second.leave().await?);
    let seen = tokio::task::spawn_blocking(move || look([&one, &two], clicked, span)).await??;
    stage.figures(&seen, &cost)
}

impl End {
    /// A `snug` in a host, alone in a room, camera and microphone running: ready for the command to join.
    async fn start(stage: &Stage, url: &str, host: Host, room: &str) -> Result<Self> {
        let shows = stage.folder.path().join(format!("{host:?}"));
        std::fs::create_dir(&shows)?;
        let mut command = Command::from(stage.link.command(host, &stage.plan.snug));
        command.args(["join", room, "--server", url, "--name", &format!("{host:?}"), "--headless"]);
        command.arg("--camera").arg(format!("file:{}", stage.clip.display()));
        command.arg("--mic").arg(format!("file:{}", stage.voice.display()));
        command.args(["--speaker", "none", "--display"]).arg(format!("y4m:{}", shows.display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start snug")?;
        let ends = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = ends.context("snug's pipes are missing")?;
        let events = BufReader::new(stdout).lines();
        let mut end = Self { child, stdin, events, shows };
        end.ready().await?;
        Ok(end)
    }

    /// Waits until it is in its room with its camera and microphone open, in whatever order.
    async fn ready(&mut self) -> Result<()> {
        let mut missing = vec!["joined", "camera_opened", "mic_opened"];
        while !missing.is_empty() {
            let event = self.next_event().await.with_context(|| format!("waited for {missing:?}"))?;
            missing.retain(|name| event["event"] != *name);
        }
        Ok(())
    }

    async fn tell(&mut self, command: &Value) -> Result<()> {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await?;
        Ok(self.stdin.flush().await?)
    }

    async fn next_event(&mut self) -> Result<Value> {
        let line =
            tokio::time::timeout(PATIENCE, self.events.next_line()).await.context("snug is silent")??;
        let line = line.context("snug ended")?;
        let event: Value = serde_json::from_str(&line).with_context(|| format!("snug printed `{line}`"))?;
        if event["event"] == "error" {
            bail!("snug says {event}");
        }
        Ok(event)
    }

    async fn event(&mut self, name: &str) -> Result<Value> {
        loop {
            let event = self.next_event().await.with_context(|| format!("waited for {name}"))?;
            if event["event"] == name {
                return Ok(event);
            }
        }
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("snug ended")
    }

    /// Leaves and quits; gives the folder of what it showed.
    async fn leave(mut self) -> Result<PathBuf> {
        self.tell(&json!({"cmd": "leave"})).await?;
        drop(self.stdin);
        // Its output is read to the end: a full pipe would keep it from ending.
        let over = async {
            while self.events.next_line().await?.is_some() {}
            self.child.wait().await
        };
        let status = tokio::time::timeout(PATIENCE, over).await.context("snug does not leave")??;
        ensure!(status.success(), "snug ended with {status}");
        Ok(self.shows)
    }
}

/// Reads what both showed.
fn look(folders: [&Path; 2], clicked: u64, span: Span) -> Result<Seen> {
    let mut delays_of_both = Vec::new();
    let (mut rate, mut size, mut looked_at) = (0.0, (0, 0), 0);
    for (from, to) in [(folders[0], folders[1]), (folders[1], folders[0])] {
        let mut source = sightings(&from.join("self.y4m"))?.0;
        source.retain(|sighting| sighting.number != u32::MAX);
        let (shown, shown_size) = sightings(&other(to)?)?;
        let within: Vec<_> = shown.iter().filter(|s| (span.0..span.1).contains(&s.at_us)).copied().collect();
        delays_of_both.extend(delays(&filled(&source), &within));
        looked_at += within.len();
        rate += within.len() as f64 * 1e6 / (span.1 - span.0) as f64 / 2.0;
        size = shown_size;
    }
    let first = sightings(&other(folders[1])?)?.0.first().context("the second saw nothing")?.at_us;
    let join_ms = first.saturating_sub(clicked) as f64 / 1000.0;
    Ok(Seen { join_ms, delays: delays_of_both, looked_at, frames_per_second: rate, size })
}

/// The one picture in a folder that is not one's own.
fn other(folder: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "y4m")
            && path.file_stem().is_some_and(|stem| stem != "self")
        {
            found.push(path);
        }
    }
    ensure!(found.len() == 1, "{} shows {} others instead of one", folder.display(), found.len());
    found.pop().context("nobody was shown")
}

/// When each frame of a file was shown, and the size of its pictures. Frames whose mark cannot be read count
/// as frames of number `u32::MAX`: they were shown.
fn sightings(path: &Path) -> Result<(Vec<Sighting>, (u32, u32))> {
    let context = || format!("{} cannot be read", path.display());
    let mut reader =
        Reader::new(FileReader::new(File::open(path).with_context(context)?)).with_context(context)?;
    let (mut seen, mut size) = (Vec::new(), (0, 0));
    while let Some(frame) = reader.next_frame().with_context(context)? {
        let at_us = frame.at_us.context("a frame does not say when it was shown")?;
        let number = read_mark(&frame.picture).map_or(u32::MAX, |mark| mark.number);
        seen.push(Sighting { number, at_us });
        size = (frame.picture.width(), frame.picture.height());
    }
    Ok((seen, size))
}
