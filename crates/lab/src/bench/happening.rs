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
    /// The second host downloads from the first, and the first from the second.
    Downloads(Vec<Download>),
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
            let pours = [pour(lab, link, Host::First).await?, pour(lab, link, Host::Second).await?];
            tokio::time::sleep(third).await;
            let seconds = (scenario.lasts() - third).as_secs_f64();
            let hosts = [(Host::First, Host::Second), (Host::Second, Host::First)];
            let begin = |(pour, (from, to)): (Child, (Host, Host))| -> Result<Download> {
                let mut command = Command::from(link.command(to, lab));
                command.arg("download").arg(format!("{}:{PORT}", from.address()));
                command.args(["--seconds", &seconds.to_string()]).stdout(Stdio::piped()).kill_on_drop(true);
                Ok(Download { _pour: pour, taker: command.spawn()?, seconds })
            };
            Ok(Begun::Downloads(pours.into_iter().zip(hosts).map(begin).collect::<Result<_>>()?))
        }
    }
}

/// Where a download comes from, ready.
async fn pour(lab: &Path, link: &Link, host: Host) -> Result<Child> {
    let mut command = Command::from(link.command(host, lab));
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
    /// What the downloads got, once they are over: the one from the first host, and from the second.
    pub(super) async fn kbps(self) -> Result<[Option<f64>; 2]> {
        let mut got = [None; 2];
        if let Self::Downloads(downloads) = self {
            for (got, download) in got.iter_mut().zip(downloads) {
                *got = Some(download.kbps().await?);
            }
        }
        Ok(got)
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
