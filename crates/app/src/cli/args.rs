//! What the command line takes.

use call::Display;
use clap::{Args, Parser, Subcommand};
use media::{CameraUse, MicUse, SpeakerUse};
use std::path::PathBuf;
use std::time::Duration;

/// A private video call: a small room that you join by name.
///
/// Without a command it opens its window.
#[derive(Debug, Parser)]
#[command(name = "snug", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Task>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Join a room at once, with the window or without.
    Join(Box<JoinArgs>),
    /// List the cameras, microphones and speakers.
    Devices {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Look at what a call needs on this computer, and say what is missing.
    Doctor {
        /// The server to try; else the one remembered, else one inside this program.
        #[arg(long, value_name = "URL", value_parser = crate::place::server)]
        server: Option<String>,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// A live call of two people in this terminal, with synthetic pictures and sound.
    Demo {
        /// How long it runs.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=86_400))]
        seconds: u32,
        /// Save what both received as a picture.
        #[arg(long, value_name = "OUT.png")]
        picture: Option<PathBuf>,
    },
}

/// How to join.
#[derive(Args, Debug)]
pub struct JoinArgs {
    /// The room's name, or its link.
    #[arg(value_name = "ROOM|LINK")]
    pub room: String,
    /// The server as a browser would open it; else the one remembered, else one inside this program.
    #[arg(long, value_name = "URL", value_parser = crate::place::server)]
    pub server: Option<String>,
    /// How the others see you.
    #[arg(long)]
    pub name: Option<String>,
    /// The room's password, when it has one; a room that you open gets it. Other users of this computer can read
    /// the command line: SNUG_PASSWORD in the environment they cannot.
    #[arg(long, value_name = "PASSWORD", env = "SNUG_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// No window: events as JSON lines on standard output, commands as JSON lines on standard input.
    #[arg(long)]
    pub headless: bool,
    /// Where pictures and sound come from and go to.
    #[command(flatten)]
    pub ends: EndArgs,
    /// Start with the microphone off.
    #[arg(long)]
    pub muted: bool,
    /// Start with the camera off.
    #[arg(long)]
    pub camera_off: bool,
    /// Go by relays (TURN) alone: the others do not learn your address.
    #[arg(long)]
    pub relay_only: bool,
    /// Write statistics there, once a second.
    #[arg(long, value_name = "FILE.jsonl")]
    pub stats: Option<PathBuf>,
    /// Leave after so long.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub time: Option<Duration>,
}

/// The ends of the call.
#[derive(Args, Debug)]
pub struct EndArgs {
    /// A camera's name or id, `pattern`, `file:CLIP.y4m` or `none`.
    #[arg(long, value_name = "CAMERA")]
    pub camera: Option<CameraUse>,
    /// A microphone's name or id, `tone`, `file:SPEECH.wav` or `none`.
    #[arg(long, value_name = "MIC")]
    pub mic: Option<MicUse>,
    /// A speaker's name or id, `file:OUT.wav` or `none`.
    #[arg(long, value_name = "SPEAKER")]
    pub speaker: Option<SpeakerUse>,
    /// `window`, `y4m:DIR` or `none` (the last two only with --headless).
    #[arg(long, value_parser = display)]
    pub display: Option<DisplayArg>,
    /// Scale every picture of `y4m:DIR` to this.
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub display_size: Option<(u32, u32)>,
}

/// `--display`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisplayArg {
    /// In the window.
    Window,
    /// As files in a folder.
    Y4m(PathBuf),
    /// Nowhere.
    None,
}

impl JoinArgs {
    /// The display to use. Errors when it does not go with the rest, saying what to change.
    pub fn display(&self) -> Result<Display, String> {
        let size = self.ends.display_size;
        match (&self.ends.display, self.headless) {
            (Some(DisplayArg::Y4m(dir)), true) => Ok(Display::Y4m { dir: dir.clone(), size }),
            _ if size.is_some() => Err("--display-size needs --headless and --display y4m:DIR".into()),
            (Some(DisplayArg::Window) | None, false) => Ok(Display::Window),
            (Some(DisplayArg::None) | None, true) => Ok(Display::None),
            (Some(DisplayArg::Window), true) => {
                Err("--headless opens no window: leave out --display window, or leave out --headless".into())
            }
            (Some(DisplayArg::Y4m(_) | DisplayArg::None), false) => {
                Err("--display y4m:DIR and --display none go without a window: add --headless".into())
            }
        }
    }
}

fn display(text: &str) -> Result<DisplayArg, String> {
    match (text, text.strip_prefix("y4m:")) {
        ("window", _) => Ok(DisplayArg::Window),
        ("none", _) => Ok(DisplayArg::None),
        (_, Some(dir)) if !dir.is_empty() => Ok(DisplayArg::Y4m(dir.into())),
        _ => Err("choose window, y4m:DIR or none".into()),
    }
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (2..=media::I420::MAX_SIDE).contains(side));
    text.split_once('x')
        .and_then(|(width, height)| Some((side(width)?, side(height)?)))
        .ok_or_else(|| format!("write it like 640x360, sides from 2 to {}", media::I420::MAX_SIDE))
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "write a number of seconds over 0".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(line: &str) -> Result<JoinArgs, clap::Error> {
        let words = ["snug", "join"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Some(Task::Join(args)) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn every_end_has_its_words() {
        let args = join("tea --relay-only --camera file:a.y4m --mic tone --speaker file:o.wav --display y4m:out --display-size 64x36 --headless --muted --camera-off --stats s.jsonl --for 2.5 --server localhost:80/ --name Ann").unwrap();
        assert_eq!(args.ends.camera, Some(CameraUse::File("a.y4m".into())));
        assert_eq!(args.ends.mic, Some(MicUse::Tone));
        assert_eq!(args.ends.speaker, Some(SpeakerUse::File("o.wav".into())));
        assert_eq!(args.display(), Ok(Display::Y4m { dir: "out".into(), size: Some((64, 36)) }));
        assert!(args.headless && args.muted && args.camera_off && args.relay_only);
        assert_eq!(args.time, Some(Duration::from_millis(2500)));
        assert_eq!(args.server.as_deref(), Some("http://localhost:80"));
    }

    #[test]
    fn display_follows_the_window() {
        assert_eq!(join("tea").unwrap().display(), Ok(Display::Window));
        assert_eq!(join("tea --headless").unwrap().display(), Ok(Display::None));
        for (line, advice) in [
            ("tea --headless --display window", "leave out"),
            ("tea --display none", "add --headless"),
            ("tea --display-size 64x36", "--display y4m"),
        ] {
            let error = join(line).unwrap().display().unwrap_err();
            assert!(error.contains(advice), "{error}");
        }
    }

    #[test]
    fn wrong_words_are_refused_with_the_right_ones() {
        for (line, advice) in [
            ("", "ROOM"),
            ("tea --display tv", "y4m:DIR"),
            ("tea --display y4m:", "y4m:DIR"),
            ("tea --display-size 64", "640x360"),
            ("tea --display-size 1x9999", "640x360"),
            ("tea --for -1", "seconds"),
            ("tea --for nan", "seconds"),
            ("tea --for 1e300", "seconds"),
            ("tea --server ftp://x", "https://"),
            ("tea --loud", "--loud"),
        ] {
            let error = join(line).unwrap_err().to_string();
            assert!(error.contains(advice), "{line}: {error}");
        }
    }

    #[test]
    fn no_command_means_the_window() {
        assert!(Cli::try_parse_from(["snug"]).unwrap().command.is_none());
        assert!(matches!(
            Cli::try_parse_from(["snug", "devices", "--json"]).unwrap().command,
            Some(Task::Devices { json: true })
        ));
        assert!(Cli::try_parse_from(["snug", "demo", "--seconds", "0"]).is_err());
    }
}
