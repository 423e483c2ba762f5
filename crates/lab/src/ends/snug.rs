//! A `snug` process without a window, told what to do on its standard input. The pictures that it shows are
//! read after the call, so that reading costs it nothing.

use super::PATIENCE;
use crate::link::{Host, Link};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How a `snug` is started.
#[derive(Clone, Debug)]
pub(crate) struct Setting<'a> {
    /// The program.
    pub(crate) program: &'a Path,
    /// The server's address; `None`: the one inside `snug`.
    pub(crate) url: Option<&'a str>,
    /// Where it goes first.
    pub(crate) room: &'a str,
    /// The camera's y4m file.
    pub(crate) clip: &'a Path,
    /// The microphone's wav file.
    pub(crate) voice: &'a Path,
    /// Where all that it puts out goes: `self.y4m` and the others' pictures.
    pub(crate) folder: &'a Path,
    /// Pictures are scaled to this before they are written; `None`: to the first one's size.
    pub(crate) size: Option<(u32, u32)>,
    /// Whether it writes `heard.wav` and `stats.jsonl` into the folder.
    pub(crate) recorded: bool,
}

/// A running `snug`; it ends when dropped.
pub(crate) struct Snug {
    child: Child,
    stdin: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    /// The room's link, as others may open it.
    pub(crate) link: String,
}

impl Snug {
    /// A `snug` in a host, in its room, camera and microphone running.
    pub(crate) async fn start(link: &Link, host: Host, setting: &Setting<'_>) -> Result<Self> {
        let Setting { program, url, room, clip, voice, folder, size, recorded } = *setting;
        let mut command = Command::from(link.command(host, program));
        command.args(["join", room, "--name", &format!("{host:?}"), "--headless"]);
        command.args(url.iter().flat_map(|url| ["--server", url]));
        // A host that moves or is cut off makes the crate complain of each packet.
        if std::env::var_os("SNUG_LOG").is_none() {
            command.env("SNUG_LOG", "error,webrtc=off,rtc=off");
        }
        command.arg("--camera").arg(format!("file:{}", clip.display()));
        command.arg("--mic").arg(format!("file:{}", voice.display()));
        command.arg("--display").arg(format!("y4m:{}", folder.display()));
        if let Some((width, height)) = size {
            command.args(["--display-size", &format!("{width}x{height}")]);
        }
        if recorded {
            command.arg("--speaker").arg(format!("file:{}", folder.join("heard.wav").display()));
            command.arg("--stats").arg(folder.join("stats.jsonl"));
        } else {
            command.args(["--speaker", "none"]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start snug")?;
        let ends = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = ends.context("snug's pipes are missing")?;
        let mut end = Self { child, stdin, events: BufReader::new(stdout).lines(), link: String::new() };
        end.ready().await?;
        Ok(end)
    }

    /// Waits until it is in its room with its camera and microphone open, in whatever order.
    async fn ready(&mut self) -> Result<()> {
        let mut missing = vec!["joined", "camera_opened", "mic_opened"];
        while !missing.is_empty() {
            let event = self.next_event().await.with_context(|| format!("waited for {missing:?}"))?;
            missing.retain(|name| event["event"] != *name);
            if let Some(link) = event["link"].as_str() {
                link.clone_into(&mut self.link);
            }
        }
        Ok(())
    }

    /// Gives it a command.
    pub(crate) async fn tell(&mut self, command: &Value) -> Result<()> {
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

    /// Waits for an event of this name.
    pub(crate) async fn event(&mut self, name: &str) -> Result<Value> {
        loop {
            let event = self.next_event().await.with_context(|| format!("waited for {name}"))?;
            if event["event"] == name {
                return Ok(event);
            }
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("snug ended")
    }

    /// Leaves and quits.
    pub(crate) async fn leave(mut self) -> Result<()> {
        self.tell(&json!({"cmd": "leave"})).await?;
        drop(self.stdin);
        // Its output is read to the end: a full pipe would keep it from ending.
        let over = async {
            while self.events.next_line().await?.is_some() {}
            self.child.wait().await
        };
        let status = tokio::time::timeout(PATIENCE, over).await.context("snug does not leave")??;
        ensure!(status.success(), "snug ended with {status}");
        Ok(())
    }
}

/// The one picture file in a folder that is not one's own.
pub(crate) fn picture_of_other(folder: &Path) -> Result<PathBuf> {
    let mut found = pictures_of_others(folder)?;
    ensure!(found.len() == 1, "{} shows {} others instead of one", folder.display(), found.len());
    found.pop().context("nobody was shown")
}

/// All of them: who was away for long comes back as somebody new.
pub(crate) fn pictures_of_others(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "y4m")
            && path.file_stem().is_some_and(|stem| stem != "self")
        {
            found.push(path);
        }
    }
    ensure!(!found.is_empty(), "{}: nobody was shown", folder.display());
    Ok(found)
}
