//! `lab turn-load`: prints what relaying costs.

use anyhow::Result;
use lab::turn_load::{Course, markdown, measure};
use std::path::PathBuf;
use std::time::Duration;

/// How much of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The server's program; by default `snug-server` beside this one.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Clients that relay at the same time.
    #[arg(long, default_value_t = 40)]
    clients: usize,
    /// Packets of each that are under way at once.
    #[arg(long, default_value_t = 4)]
    window: usize,
    /// Bytes of each packet.
    #[arg(long, default_value_t = 1000)]
    bytes: usize,
    /// How long each server relays.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Idle allocations for the measure of memory.
    #[arg(long, default_value_t = 500)]
    idle: usize,
    /// How often, each server in turn.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

pub(crate) fn main(args: &Args) -> Result<()> {
    let beside = std::env::current_exe()?.with_file_name("snug-server");
    let course = Course {
        server: args.server.clone().unwrap_or(beside),
        clients: args.clients,
        window: args.window,
        bytes: args.bytes,
        relaying: Duration::try_from_secs_f64(args.seconds)?,
        idle: args.idle,
        runs: args.runs,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = runtime.block_on(measure(&course))?;
    print!("{}", markdown(&figures));
    Ok(())
}
