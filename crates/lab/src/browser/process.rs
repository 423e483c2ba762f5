//! The browser's processes, profile folder and standard error.

use super::Options;
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// How many lines of standard error are kept.
const KEPT_LINES: usize = 40;

/// Chromium wants its protocol on descriptors 3 and 4; the shell moves its standard input and output there.
const MOVE_PIPES: &str = r#"exec "$@" 3<&0 4>&1 0</dev/null 1>&2"#;

const FLAGS: &[&str] = &[
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    // A page behind another must not be slowed down: calls have two ends.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--autoplay-policy=no-user-gesture-required",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
];

/// A process group, the thread that reads its standard error, and its profile.
pub(super) struct Process {
    child: Child,
    stderr: Option<JoinHandle<()>>,
    lines: Arc<Mutex<VecDeque<String>>>,
    pub(super) allow: bool,
    _profile: TempDir,
}

impl Process {
    /// Starts the browser; its protocol is spoken over the returned ends.
    pub(super) fn spawn(options: &Options) -> Result<(Self, ChildStdin, ChildStdout)> {
        let profile = tempfile::Builder::new().prefix("snug-browser-").tempdir()?;
        let mut command = Command::new("sh");
        command.args(["-c", MOVE_PIPES, "sh"]);
        if let Some(namespace) = &options.namespace {
            command.args(["ip", "netns", "exec", namespace]);
        }
        command.arg(std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into()));
        command.args(FLAGS).args(media_flags(options)).args(&options.flags);
        match &options.display {
            Some(display) => command.arg("--ozone-platform=x11").env("DISPLAY", display),
            None => command.arg("--headless=new"),
        };
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        // What it leaves behind there goes with the profile.
        let temporary = profile.path().join("tmp");
        std::fs::create_dir(&temporary)?;
        command.env("TMPDIR", temporary);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("cannot start sh")?;
        let ends = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
        let ((stdin, stdout), stderr) = ends.context("the browser's pipes are missing")?;
        let lines = Arc::<Mutex<VecDeque<String>>>::default();
        let kept = Arc::clone(&lines);
        let stderr = std::thread::Builder::new()
            .name("browser stderr".into())
            .spawn(move || keep_last_lines(stderr, &kept))?;
        let process = Self { child, stderr: Some(stderr), lines, allow: options.allow, _profile: profile };
        Ok((process, stdin, stdout))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the browser complained about last; Chromium also grumbles when all is well.
    pub(super) fn last_words(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        lines.iter().cloned().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group, not the child alone: renderers would live on for a while and write to the profile.
        let group = format!("-{}", self.child.id());
        let kill = Command::new("sh").args(["-c", r#"kill -s KILL -- "$0""#, &group]).status();
        if !kill.is_ok_and(|status| status.success()) {
            eprintln!("could not kill the browser's process group {group}");
        }
        drop(self.child.wait());
        // Standard error ends when the last of them is gone; then the profile can be removed.
        if let Some(thread) = self.stderr.take() {
            drop(thread.join());
        }
    }
}

fn media_flags(options: &Options) -> Vec<String> {
    let mut flags = Vec::new();
    if options.devices > 0 {
        flags.push(format!("--use-fake-device-for-media-stream=device-count={}", options.devices));
    }
    if options.allow {
        flags.push("--use-fake-ui-for-media-stream".into());
    }
    flags.extend(
        options.video.iter().map(|path| format!("--use-file-for-fake-video-capture={}", path.display())),
    );
    flags.extend(
        options.audio.iter().map(|path| format!("--use-file-for-fake-audio-capture={}", path.display())),
    );
    flags
}

fn keep_last_lines(stderr: ChildStderr, kept: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let mut kept = kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // overflow: the oldest line goes.
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(String::from_utf8_lossy(&line).into_owned());
    }
}
