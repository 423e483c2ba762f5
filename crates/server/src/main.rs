//! `snug-server`: serves rooms until it is told to stop.

use anyhow::Context;
use clap::Parser;
use server::{Config, Server};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Rooms for Snug calls, and the page for guests without Snug.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to listen [default: 127.0.0.1:8080]; port 0 takes any free one.
    #[arg(long, value_name = "ADDR:PORT", env = "SNUG_LISTEN")]
    listen: Option<SocketAddr>,
    /// A TOML file with the settings; flags go before it.
    #[arg(long, value_name = "FILE.toml", env = "SNUG_CONFIG")]
    config: Option<PathBuf>,
}

/// `stun_types` warns of each odd message, and anybody can send those.
const USUAL_LOG: &str = "info,stun_types=off";

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("SNUG_LOG").unwrap_or_else(|_| EnvFilter::new(USUAL_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snug-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    config.listen = args.listen.unwrap_or(config.listen);
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be caught")?;
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be caught")?;
    let running = Server::bind(config).await?;
    println!("listening on {}", running.url());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    running.shutdown().await;
    Ok(())
}
