//! `snug-server`, run in a host of the link.

use crate::link::{Host, Link};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The host at which the room's server runs: that of whom is there first.
pub(crate) const HOST: Host = Host::First;

/// A server that listens; it ends when dropped.
pub(crate) struct Server {
    /// Its address, as a browser opens it.
    pub(crate) url: String,
    _child: Child,
}

impl Server {
    pub(crate) async fn start(link: &Link, program: &Path) -> Result<Self> {
        let mut command = Command::from(link.command(HOST, program));
        command.arg("--listen").arg(format!("{}:8080", HOST.address()));
        Self::of(command).await
    }

    /// By this command, once it says where it listens.
    pub(crate) async fn of(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start snug-server")?;
        let stdout = child.stdout.take().context("snug-server has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(url) = line.strip_prefix("listening on ") {
                    return Ok(url.trim_end_matches('/').to_owned());
                }
            }
            bail!("snug-server ended before it listened")
        };
        let url = tokio::time::timeout(Duration::from_secs(10), listening)
            .await
            .context("snug-server is silent")??;
        Ok(Self { url, _child: child })
    }
}
