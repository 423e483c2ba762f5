//! The command line: what it takes, what it starts, and the exit status.

pub mod args;
pub mod demo;
pub mod devices;
pub mod doctor;
pub mod headless;
pub mod lines;
pub mod session;
pub mod signals;

use crate::place::Place;
use crate::settings::{Settings, SettingsFile};
use crate::ui::shell;
use anyhow::{Result, anyhow};
use args::{Cli, JoinArgs, Task};
use call::{Config, Password};
use clap::Parser as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// When the system has not even a thread for us.
pub(crate) const NO_ENGINE: &str =
    "the call engine cannot start: close other programs, the system has no room left";

/// A call to be started at once, with or without a window.
#[derive(Clone, Debug)]
pub struct Start {
    /// The engine's ends and buttons.
    pub config: Config,
    /// The server; none means one inside this program.
    pub server: Option<String>,
    /// The room's name.
    pub room: String,
    /// How the others see us.
    pub name: String,
    /// The room's password, or empty.
    pub password: Password,
    /// `--stats`.
    pub stats: Option<PathBuf>,
    /// `--for`.
    pub time: Option<Duration>,
}

/// The whole program. The exit status is 0 when all went as asked; else one line on standard error says
/// what to do.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    log();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snug: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let file = SettingsFile::of_user();
    let settings = file.as_ref().map(SettingsFile::load).unwrap_or_default();
    match cli.command {
        None => shell::run(None, settings, file),
        Some(Task::Join(args)) if args.headless => headless::run(start(&args, &settings)?),
        Some(Task::Join(args)) => shell::run(Some(start(&args, &settings)?), settings, file),
        Some(Task::Devices { json }) => devices::run(json),
        Some(Task::Doctor { server, json }) => {
            doctor::run(server.or_else(|| remembered_server(&settings)), json)
        }
        Some(Task::Demo { seconds, picture }) => demo::run(seconds, picture.as_deref()),
    }
}

/// A relay refuses private peers, as it should, and the stack calls that an error each time; so does the connection by
/// which sound devices are listed when it ends.
const USUAL_LOG: &str =
    "error,webrtc::peer_connection::transport::turn_relayer=off,pulseaudio::client::reactor=off";

/// Errors go to standard error; `SNUG_LOG` (as `RUST_LOG` elsewhere) asks for more.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SNUG_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(USUAL_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// The server remembered from the window, if it still reads as one.
pub fn remembered_server(settings: &Settings) -> Option<String> {
    Some(&settings.server)
        .filter(|server| !server.is_empty())
        .and_then(|server| crate::place::server(server).ok())
}

/// What to start: what was said, else what is remembered. Without a window devices and sound are never
/// remembered ones, so that the same line does the same on every machine.
fn start(args: &JoinArgs, settings: &Settings) -> Result<Start> {
    let place = Place::parse(&args.room)?;
    let ends = &args.ends;
    let remembered = if args.headless { Settings::default() } else { settings.clone() };
    let config = Config {
        camera: ends.camera.clone().unwrap_or(remembered.camera),
        mic: ends.mic.clone().unwrap_or(remembered.mic),
        speaker: ends.speaker.clone().unwrap_or(remembered.speaker),
        muted: args.muted,
        camera_off: args.camera_off,
        push_to_talk: remembered.sound.push_to_talk,
        // What goes into a file for a speaker is to be what the others said.
        chimes: remembered.sound.chimes && !args.headless,
        volumes: remembered.sound.volumes,
        processing: remembered.sound.processing,
        // Who hides an address means it of every call.
        relay_only: args.relay_only || settings.relay_only,
        display: args.display().map_err(|advice| anyhow!(advice))?,
        ..Config::default()
    };
    Ok(Start {
        config,
        server: args.server.clone().or(place.server).or_else(|| remembered_server(settings)),
        room: place.room,
        name: args.name.clone().unwrap_or_else(|| own_name(settings)),
        password: Password::new(args.password.clone().unwrap_or_default()),
        stats: args.stats.clone(),
        time: args.time,
    })
}

/// The name remembered, else the one that the system knows us by.
pub fn own_name(settings: &Settings) -> String {
    let user = || ["USER", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    Some(settings.name.trim().to_owned()).filter(|name| !name.is_empty()).or_else(user).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::CameraUse;

    fn started(line: &str, settings: &Settings) -> Start {
        let words = ["snug", "join"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).unwrap().command {
            Some(Task::Join(args)) => start(&args, settings).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn remembered() -> Settings {
        Settings {
            name: "Ann".into(),
            server: "https://remembered".into(),
            camera: CameraUse::Device("cam7".into()),
            ..Settings::default()
        }
    }

    #[test]
    fn what_is_said_comes_before_what_is_remembered() {
        let start = started("tea --server https://said --name Ben --camera pattern", &remembered());
        assert_eq!((start.server.as_deref(), start.name.as_str()), (Some("https://said"), "Ben"));
        assert_eq!(start.config.camera, CameraUse::Pattern);
        let start = started("tea", &remembered());
        assert_eq!((start.server.as_deref(), start.name.as_str()), (Some("https://remembered"), "Ann"));
        assert_eq!(start.config.camera, CameraUse::Device("cam7".into()));
    }

    #[test]
    fn a_link_brings_its_server() {
        let start = started("https://linked/Tea%20time", &remembered());
        assert_eq!((start.server.as_deref(), start.room.as_str()), (Some("https://linked"), "Tea time"));
        assert_eq!(
            started("https://linked/tea --server http://said", &remembered()).server.unwrap(),
            "http://said"
        );
    }

    #[test]
    fn an_address_is_hidden_in_every_call_once_that_was_chosen() {
        let hidden = Settings { relay_only: true, ..Settings::default() };
        assert!(started("tea --headless", &hidden).config.relay_only);
        assert!(started("tea --relay-only", &remembered()).config.relay_only);
        assert!(!started("tea --headless", &remembered()).config.relay_only);
    }

    #[test]
    fn without_a_window_devices_are_never_remembered() {
        assert_eq!(started("tea --headless", &remembered()).config.camera, CameraUse::Default);
        assert_eq!(started("tea --headless", &Settings::default()).server, None);
    }
}
