//! What happens in a call beside the link's schedule.

use super::Stage;
use super::scenario::{Happening, Scenario};
use crate::ends::unix_us;
use crate::link::{Host, Link};
use anyhow::{Context, Result, bail, ensure};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Where the second host moves to.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 77, 9, 2);
const PORT: u16 = 9000;

/// A download under way; it ends when dropped.
pub(super) struct Download {
    _pour: Child,
    taker: Child,
    seconds: f64,
}

/// What was begun.
pub(super) enum Begun {
    /// Nothing.
    Nothing,
    /// The second host has another address since this moment, Unix time in microseconds.
    Moved(u64),
    /// The second host downloads.
    Download(Box<Download>),
}

/// Waits for the third of the time after which something is to happen, and begins it.
pub(super) async fn start(stage: &Stage, link: &Link, scenario: &Scenario) -> Result<Begun> {
    let third = scenario.lasts() / 3;
    match scenario.happening {
        Happening::None => Ok(Begun::Nothing),
        Happening::Move => {
            tokio::time::sleep(third).await;
            link.move_to(Host::Second, ELSEWHERE)?;
            Ok(Begun::Moved(unix_us()))
        }
        Happening::Download => {
            let lab = stage.programs.lab.as_deref().context("the download needs lab itself")?;
            let pour = pour(lab, link).await?;
            tokio::time::sleep(third).await;
            let seconds = (scenario.lasts() - third).as_secs_f64();
            let mut command = Command::from(link.command(Host::Second, lab));
            command.arg("download").arg(format!("{}:{PORT}", Host::First.address()));
            command.args(["--seconds", &seconds.to_string()]).stdout(Stdio::piped()).kill_on_drop(true);
            Ok(Begun::Download(Box::new(Download { _pour: pour, taker: command.spawn()?, seconds })))
        }
    }
}

/// Where the download comes from: the first host, ready.
async fn pour(lab: &Path, link: &Link) -> Result<Child> {
    let mut command = Command::from(link.command(Host::First, lab));
    command.args(["pour", &format!("0.0.0.0:{PORT}")]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("cannot start lab pour")?;
    let stdout = child.stdout.take().context("lab pour has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    match tokio::time::timeout(Duration::from_secs(10), lines.next_line())
        .await
        .context("lab pour is silent")??
    {
        Some(line) if line == "ready" => Ok(child),
        _ => bail!("lab pour does not listen"),
    }
}

impl Begun {
    /// What a download got, once it is over.
    pub(super) async fn kbps(self) -> Result<Option<f64>> {
        match self {
            Self::Download(download) => Ok(Some(download.kbps().await?)),
            Self::Nothing | Self::Moved(_) => Ok(None),
        }
    }
}

impl Download {
    async fn kbps(self) -> Result<f64> {
        let waited = tokio::time::timeout(Duration::from_secs(10), self.taker.wait_with_output());
        let output = waited.await.context("the download does not end")??;
        ensure!(output.status.success(), "the download failed");
        let bytes: f64 =
            String::from_utf8(output.stdout)?.trim().parse().context("lab download told no number")?;
        Ok(bytes * 8.0 / 1000.0 / self.seconds)
    }
}
