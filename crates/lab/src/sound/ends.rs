//! Programs that play, record and call on a private PulseAudio daemon.

use super::pulse::{Daemon, Kind, device};
use crate::ends::server::Server;
use crate::tone::RATE;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);

fn start(command: &mut Command) -> Result<Child> {
    command.kill_on_drop(true);
    let program = command.as_std().get_program().to_owned();
    command.spawn().with_context(|| format!("cannot start {}", program.display()))
}

/// A server that listens on loopback; it ends when dropped.
pub(crate) async fn serve(program: &Path) -> Result<Server> {
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0"]);
    Server::of(command).await
}

/// An X server that shows nothing to anybody; it ends when dropped.
pub(crate) struct Screen {
    _child: Child,
    /// What programs call it.
    pub(crate) name: String,
}

impl Screen {
    /// Starts one under a number of its own choice.
    pub(crate) async fn start() -> Result<Self> {
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"]);
        let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::null()))
            .context("a browser is heard with a window only: install the package xvfb")?;
        let stdout = child.stdout.take().context("Xvfb has no standard output")?;
        let number = tokio::time::timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await;
        let number = number.context("Xvfb does not start")??.context("Xvfb ended")?;
        Ok(Self { _child: child, name: format!(":{}", number.trim()) })
    }
}

/// A `snug` without a window on person `who`'s devices; it ends when dropped.
pub(crate) struct Snug {
    _child: Child,
    stdin: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
}

impl Snug {
    /// In the room, with microphone and speaker open. `stats`: where its figures go.
    pub(crate) async fn start(
        daemon: &Daemon,
        program: &Path,
        server: &Server,
        who: usize,
        stats: &Path,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["join", "tea", "--headless", "--camera", "none", "--display", "none"]);
        command.args(["--server", &server.url, "--name", &format!("person {who}")]);
        command.args(["--mic", &device(Kind::Mic, who), "--speaker", &device(Kind::Ear, who)]);
        command.arg("--stats").arg(stats).envs(daemon.environment());
        if std::env::var_os("SNUG_LOG").is_none() {
            command.env("SNUG_LOG", "error,webrtc=off,rtc=off");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = start(&mut command)?;
        let ends = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = ends.context("snug's pipes are missing")?;
        let mut this = Self { _child: child, stdin, events: BufReader::new(stdout).lines() };
        this.wait(&["joined", "mic_opened", "speaker_opened"]).await?;
        Ok(this)
    }

    /// Waits until each of these events came, in whatever order.
    pub(crate) async fn wait(&mut self, names: &[&str]) -> Result<()> {
        let mut missing = names.to_vec();
        while !missing.is_empty() {
            let line = tokio::time::timeout(PATIENCE, self.events.next_line()).await;
            let line = line.with_context(|| format!("snug is silent; {missing:?} did not come"))??;
            let line = line.context("snug ended")?;
            let event: Value = serde_json::from_str(&line).with_context(|| format!("snug said `{line}`"))?;
            // A device that stands still on a busy machine is opened anew.
            if event["event"] == "error" && event["fatal"] == true {
                bail!("snug says {event}");
            }
            missing.retain(|name| event["event"] != *name);
        }
        Ok(())
    }

    /// Reads what it says, lest it wait for that, until it ends.
    pub(crate) async fn drain(&mut self) -> Result<()> {
        while self.events.next_line().await?.is_some() {}
        Ok(())
    }

    /// Gives it a command.
    pub(crate) async fn tell(&mut self, command: &Value) -> Result<()> {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await?;
        Ok(self.stdin.flush().await?)
    }
}

/// Plays sound into somebody's mouth, once; it ends when dropped.
pub(crate) struct Player(Child);

impl Player {
    pub(crate) fn start(daemon: &Daemon, who: usize, pcm: &[f32]) -> Result<Self> {
        let path = daemon.path().join(format!("play{who}.raw"));
        let bytes = pcm.iter().flat_map(|x| ((x.clamp(-1.0, 1.0) * 32_767.0) as i16).to_le_bytes());
        std::fs::write(&path, bytes.collect::<Vec<u8>>())?;
        let mut command = Command::new("pacat");
        command.args(["--playback", "--raw", "--format=s16le", "--rate=48000", "--channels=1"]);
        command.args(["--latency-msec=200", "-d", &device(Kind::Mouth, who)]).arg(&path);
        Ok(Self(start(command.envs(daemon.environment()))?))
    }

    /// Waits until all has been played.
    pub(crate) async fn finish(mut self) -> Result<()> {
        let status = self.0.wait().await?;
        anyhow::ensure!(status.success(), "pacat ended with {status}");
        Ok(())
    }
}

/// What a sink plays, as it plays it: mono, 16 bits, [`RATE`]. It ends when the child is dropped.
pub(crate) fn listen(daemon: &Daemon, sink: &str) -> Result<(ChildStdout, Child)> {
    let mut command = Command::new("parec");
    command.args(["--raw", "--format=s16le", "--rate=48000", "--channels=1", "--latency-msec=10"]);
    command.args(["-d", &format!("{sink}.monitor")]).stdout(Stdio::piped());
    let mut child = start(command.envs(daemon.environment()))?;
    let stdout = child.stdout.take().context("parec has no standard output")?;
    Ok((stdout, child))
}

/// Records what a sink plays.
pub(crate) struct Recorder {
    child: Child,
    /// What was recorded, and when its first sample was taken.
    task: JoinHandle<Result<(Vec<f32>, Instant)>>,
}

impl Recorder {
    pub(crate) fn start(daemon: &Daemon, sink: &str) -> Result<Self> {
        let (mut stdout, child) = listen(daemon, sink)?;
        let task = tokio::spawn(async move {
            let (mut bytes, mut chunk, mut began) = (Vec::new(), [0; 4096], None::<Instant>);
            loop {
                let count = stdout.read(&mut chunk).await?;
                if count == 0 {
                    break;
                }
                let now = Instant::now();
                bytes.extend_from_slice(&chunk[..count]);
                // What came with the least delay says when the first sample was taken.
                let long = Duration::from_secs_f64(bytes.len() as f64 / 2.0 / f64::from(RATE));
                let first = now.checked_sub(long).unwrap_or(now);
                began = Some(began.map_or(first, |began| began.min(first)));
            }
            let pcm = bytes.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0);
            Ok((pcm.collect(), began.context("nothing was recorded")?))
        });
        Ok(Self { child, task })
    }

    /// What was recorded, and when its first sample was taken.
    pub(crate) async fn finish(mut self) -> Result<(Vec<f32>, Instant)> {
        self.child.start_kill()?;
        self.task.await?
    }
}
