//! `snug-server`: serves rooms until it is told to stop.

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser};
use server::settings::{ConfigError, Layers, Settings, show};
use server::{Config, Server, notify};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Rooms for Snug calls, and the page for guests without Snug.
///
/// Every setting is a flag, an environment variable and a key of the file, in this order: --tls-acme-host
/// goes before SNUG_TLS_ACME_HOST, that before `host` in the file's [tls.acme]. Lists are separated by
/// commas. SNUG_LOG says how much is logged (warn, info, debug).
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// A TOML file with the settings.
    #[arg(long, value_name = "FILE.toml", env = "SNUG_CONFIG")]
    config: Option<PathBuf>,
    /// Check the settings and the certificate's files, print what is in force without secrets, and end.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Of `sysexits.h`: the settings are wrong. To start again as it is would be of no use: systemd does not.
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let error = match start() {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    eprintln!("snug-server: {error:#}");
    if error.is::<ConfigError>() { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
}

fn start() -> anyhow::Result<()> {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches)?;
    let mut layers = Layers::of_flags(cli.settings, &matches);
    if let Some(path) = &cli.config {
        layers = layers.read(path)?;
    }
    let config = layers.config()?;
    if cli.check {
        Server::check(&config)?;
        print!("{}", show(&config));
        return Ok(());
    }
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("no threads can be started")?.block_on(run(config))
}

/// What libraries say of single frames and records is nobody's business, whatever is asked for: `SNUG_LOG`
/// may still name them one by one.
fn log() {
    let asked = std::env::var("SNUG_LOG").unwrap_or_else(|_| "info".into());
    let quiet = "tungstenite=info,tokio_tungstenite=info,hyper=info,hyper_util=info,rustls=info,axum=info,stun_types=off";
    let filter = EnvFilter::try_new(format!("{quiet},{asked}"));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    log.with_writer(std::io::stderr).init();
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals cannot be caught")?;
    let running = Server::bind(config).await?;
    println!("listening on {}", running.url());
    tell("READY=1");
    while signals.next().await == Asked::Reload {
        running.reload();
    }
    tell("STOPPING=1");
    tracing::info!("stopping; once more stops at once");
    tokio::select! {
        () = running.shutdown() => {}
        () = signals.stop() => {}
    }
    Ok(())
}

fn tell(state: &str) {
    if let Err(error) = notify::notify(state) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

#[derive(PartialEq, Eq)]
enum Asked {
    Reload,
    Stop,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}
