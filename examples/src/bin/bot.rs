//! Joins a room by its link as one more participant, shows a clip or a test picture, and greets whoever
//! comes. Leaves after some seconds, or on Ctrl-C.
//!
//! ```text
//! cargo run -p server -- --listen 127.0.0.1:8080
//! cargo run -p examples --bin bot -- http://127.0.0.1:8080/tea
//! cargo run -p examples --bin bot -- http://127.0.0.1:8080/tea --camera file:clip.y4m --seconds 60
//! ```
//!
//! Shows how a program drives `call`, the engine behind Snug's window: commands go down, events come up,
//! and nobody waits for anybody.

use anyhow::{Context, Result, bail};
use call::{Call, Command, Config, Display, Event};
use clap::Parser;
use media::{CameraUse, MicUse, SpeakerUse};
use std::time::Duration;
use tokio::sync::mpsc;

/// A participant without a person.
#[derive(Parser)]
struct Args {
    /// The room's link: `http://SERVER/ROOM`.
    link: String,
    /// How the others see it.
    #[arg(long, default_value = "Bot")]
    name: String,
    /// What it shows: `pattern`, `file:CLIP.y4m`, a camera's name or id, or `none`.
    #[arg(long, default_value = "pattern")]
    camera: CameraUse,
    /// What it lets hear: `tone`, `file:SPEECH.wav`, a microphone's name or id, or `none`.
    #[arg(long, default_value = "none")]
    mic: MicUse,
    /// Leave after so many seconds; else on Ctrl-C.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let link = signaling::Link::parse(&args.link)?;
    let room = link.room.context("the link names no room: it should look like http://SERVER/ROOM")?;
    let config = Config {
        camera: args.camera.clone(),
        mic: args.mic.clone(),
        // It listens to nobody; what is sent to it is decoded all the same, as for anybody else.
        speaker: SpeakerUse::None,
        display: Display::None,
        ..Config::default()
    };
    let (call, events) = Call::start(config).context("the call engine cannot start")?;
    call.command(Command::Join {
        server: link.server.base(),
        room: room.as_str().to_owned(),
        name: args.name.clone(),
        password: call::Password::default(),
    })?;
    let time = args.seconds.map(|seconds| Duration::from_secs(seconds.into()));
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(live(&call, events, time))
    // Dropping `call` here would leave the room too, and joins its threads.
}

/// Lives in the room until it is time to go.
async fn live(call: &Call, mut events: mpsc::Receiver<Event>, time: Option<Duration>) -> Result<()> {
    let time_is_up = async {
        match time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    // One future for the whole call: a signal between two turns of the loop is not missed.
    let time_to_go = async {
        tokio::select! {
            () = time_is_up => Ok(()),
            pressed = tokio::signal::ctrl_c() => pressed.context("cannot listen for Ctrl-C"),
        }
    };
    tokio::pin!(time_to_go);
    let mut leaving = false;
    loop {
        tokio::select! {
            event = events.recv() => {
                let event = event.context("the call engine stopped by itself")?;
                if on_event(call, event, leaving)? {
                    return Ok(());
                }
            }
            asked = &mut time_to_go, if !leaving => {
                asked?;
                leaving = true;
                call.command(Command::Leave)?;
            }
        }
    }
}

/// Answers what happens; `true` when the call is over as it should be.
fn on_event(call: &Call, event: Event, leaving: bool) -> Result<bool> {
    match event {
        Event::Joined { link, .. } => println!("joined {link}"),
        Event::Participant { name, .. } => {
            println!("met {name}");
            call.command(Command::Chat { text: format!("Hello {name}, I am only a bot.") })?;
        }
        Event::ParticipantLeft { id, reason } => println!("{id} left: {reason}"),
        Event::FirstFrame { id, width, height, .. } => println!("sees {id} at {width}x{height}"),
        Event::Chat { name, text, .. } => println!("{name} says: {text}"),
        Event::Error { message, fatal: true, .. } => bail!(message),
        Event::Error { message, fatal: false, .. } => eprintln!("bot: {message}"),
        Event::Left { reason } if leaving => {
            println!("left: {reason}");
            return Ok(true);
        }
        Event::Left { reason } => bail!("the call ended: {reason}"),
        // The rest is for a window: buttons, devices, paths.
        _ => {}
    }
    Ok(false)
}
