//! `lab signal-load`.

use anyhow::{Context, Result};
use lab::signal_load::{Plan, markdown, run};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Sockets that say hello and nothing more.
    #[arg(long, default_value_t = 5000)]
    idle: u32,
    /// Rooms of two who talk.
    #[arg(long, default_value_t = 200)]
    rooms: u32,
    /// What each of them says a second, one figure after the other; the server lets nobody say more than 60.
    #[arg(long, value_delimiter = ',', default_value = "5,20,50", value_parser = clap::value_parser!(u32).range(1..))]
    rates: Vec<u32>,
    /// How long at each rate.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// The `snug-server` to use; else the one beside this program.
    #[arg(long)]
    snug_server: Option<PathBuf>,
}

pub(crate) fn main(args: Args) -> Result<()> {
    let here = std::env::current_exe()?;
    let beside = here.parent().context("this program stands nowhere")?.join("snug-server");
    let plan = Plan { idle: args.idle, rooms: args.rooms, rates: args.rates, seconds: args.seconds };
    print!("{}", markdown(&run(&args.snug_server.unwrap_or(beside), &plan)?));
    Ok(())
}
