//! The bench's command line.

#[cfg(target_os = "linux")]
#[path = "main/bench.rs"]
mod bench;
#[cfg(target_os = "linux")]
#[path = "main/nat.rs"]
mod nat;
#[cfg(target_os = "linux")]
#[path = "main/quick.rs"]
mod quick;
#[cfg(target_os = "linux")]
#[path = "main/signal_load.rs"]
mod signal_load;
#[cfg(target_os = "linux")]
#[path = "main/sound.rs"]
mod sound;
#[cfg(target_os = "linux")]
#[path = "main/turn_load.rs"]
mod turn_load;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use lab::mark::{Clip, Colour, write_clip};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

/// Measures calls.
#[derive(Parser)]
#[command(name = "lab")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Write a marked clip (y4m).
    Clip {
        /// Where to.
        out: PathBuf,
        /// How long it is before it starts again.
        #[arg(long, default_value_t = 10)]
        seconds: u32,
        /// Pixels across.
        #[arg(long, default_value_t = 640)]
        width: u32,
        /// Pixels down.
        #[arg(long, default_value_t = 360)]
        height: u32,
        /// Pictures a second.
        #[arg(long, default_value_t = 30)]
        fps: u32,
        /// red, green, blue, yellow, magenta or cyan: what tells it from other clips.
        #[arg(long, default_value = "green")]
        colour: Colour,
    },
    /// Write a tone (wav).
    Tone {
        /// Where to.
        out: PathBuf,
        /// Its frequency.
        #[arg(long, default_value_t = 440.0)]
        hertz: f32,
        /// How long it is.
        #[arg(long, default_value_t = 10.0)]
        seconds: f32,
    },
    /// Snug to Snug against Chromium to Chromium over the same link: one table, in Markdown. Needs root.
    #[cfg(target_os = "linux")]
    Quick(quick::Args),
    /// The call-quality bench: Snug and Chromium over bad networks: tables, JSON and plots. Needs root.
    #[cfg(target_os = "linux")]
    Bench(bench::Args),
    /// Calls through NATs of every kind, each pair several times: one table, in Markdown. Needs root.
    #[cfg(target_os = "linux")]
    Nat(nat::Args),
    /// What is left of echo and noise, and of the voice, in a made room: tables, in Markdown.
    #[cfg(target_os = "linux")]
    Sound(sound::Args),
    /// What the server's rooms cost: memory for each idle socket, relayed messages a second: tables, in Markdown.
    #[cfg(target_os = "linux")]
    SignalLoad(signal_load::Args),
    /// What relaying costs: packets a second and memory, this server beside coturn: a table, in Markdown.
    #[cfg(target_os = "linux")]
    TurnLoad(turn_load::Args),
    /// Write the speech of the bench (wav); needs espeak-ng.
    Speech {
        /// Where to.
        out: PathBuf,
    },
    /// Send datagrams back to where they come from.
    Echo {
        /// Where to listen.
        at: SocketAddr,
    },
    /// Give whoever connects as many bytes as they take.
    Pour {
        /// Where to listen.
        at: SocketAddr,
    },
    /// Download from a `pour`, and say how many bytes came.
    Download {
        /// Where the `pour` listens.
        from: SocketAddr,
        /// For so long.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
    },
    /// Say how many milliseconds datagrams take to an `echo` and back.
    Ping {
        /// Where the `echo` listens.
        to: SocketAddr,
        /// How many.
        #[arg(long, default_value_t = 10)]
        count: u64,
        /// How long to wait for each.
        #[arg(long, default_value_t = 1000)]
        patience_ms: u64,
    },
}

fn main() -> Result<()> {
    match Args::parse().what {
        What::Clip { out, seconds, width, height, fps, colour } => {
            let clip = Clip { width, height, fps, frames: fps * seconds, colour };
            write_clip(&out, &clip).with_context(|| format!("{} cannot be written", out.display()))
        }
        What::Tone { out, hertz, seconds } => lab::tone::write_wav(&out, hertz, seconds)
            .with_context(|| format!("{} cannot be written", out.display())),
        #[cfg(target_os = "linux")]
        What::Quick(args) => quick::main(&args),
        #[cfg(target_os = "linux")]
        What::Bench(args) => bench::main(&args),
        #[cfg(target_os = "linux")]
        What::Nat(args) => nat::main(&args),
        #[cfg(target_os = "linux")]
        What::Sound(args) => sound::main(&args),
        #[cfg(target_os = "linux")]
        What::SignalLoad(args) => signal_load::main(args),
        What::TurnLoad(args) => turn_load::main(&args),
        What::Speech { out } => lab::speech::write_speech(&out),
        What::Echo { at } => {
            let socket = UdpSocket::bind(at).with_context(|| format!("cannot listen at {at}"))?;
            println!("ready");
            Ok(lab::probe::echo(&socket)?)
        }
        What::Pour { at } => {
            let listener = TcpListener::bind(at).with_context(|| format!("cannot listen at {at}"))?;
            println!("ready");
            Ok(lab::probe::pour(&listener)?)
        }
        What::Download { from, seconds } => {
            println!("{}", lab::probe::download(from, Duration::try_from_secs_f64(seconds)?)?);
            Ok(())
        }
        What::Ping { to, count, patience_ms } => {
            for trip in lab::probe::round_trips(to, count, Duration::from_millis(patience_ms))? {
                match trip {
                    Some(took) => println!("{:.3}", took.as_secs_f64() * 1000.0),
                    None => println!("lost"),
                }
            }
            Ok(())
        }
    }
}
