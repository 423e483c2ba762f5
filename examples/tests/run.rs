//! Every example runs, says what it promises and ends as it should.
#![allow(clippy::unwrap_used, reason = "tests")]

use call::{Call, Command as Wish, Config, Display, Event, Snapshot};
use lab::mark::{Clip, Colour, read_mark, write_clip};
use media::{CameraUse, MicUse, SpeakerUse};
use server::Server;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Generous, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn run(program: &str, args: &[&str]) -> (String, Output) {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    (String::from_utf8(output.stdout.clone()).unwrap(), output)
}

/// A program that does not outlive the test, and what it prints.
struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        // overflow: the program waits for its reader.
        let (sender, lines) = sync_channel(64);
        let read = move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        std::thread::Builder::new().name("output".into()).spawn(read).unwrap();
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line that begins so.
    fn line(&mut self, begin: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.seen.iter().any(|line| line.starts_with(begin)) {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now()));
            self.seen.push(line.unwrap_or_else(|_| panic!("no line `{begin}`, only {:#?}", self.seen)));
        }
    }

    /// Waits for its end.
    fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                // Its output ends with it.
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {:#?}", self.seen),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn clip(path: &Path, colour: Colour) -> String {
    write_clip(path, &Clip { width: 320, height: 180, fps: 30, frames: 60, colour }).unwrap();
    format!("file:{}", path.display())
}

#[test]
fn devices_lists_all_three_kinds() {
    let (text, output) = run(env!("CARGO_BIN_EXE_devices"), &[]);
    assert!(output.status.success(), "{output:?}");
    let titles: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(titles, ["Cameras", "Microphones", "Speakers"], "{text}");
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_entry = |line: &str| line.starts_with("  none found") || line.ends_with(')');
        match line.starts_with(' ') {
            true => assert!(is_entry(line), "{line}"),
            false => assert!(lines.peek().is_some_and(|next| is_entry(next)), "nothing under {line}"),
        }
    }
}

/// The number before a word of a line.
fn figure(line: &str, before: &str) -> f64 {
    let text = line.split(before).next().unwrap().split_whitespace().next_back().unwrap();
    text.parse().unwrap_or_else(|_| panic!("no number before `{before}`: {line}"))
}

#[test]
fn loopback_gives_good_pictures_of_the_pattern_and_of_a_clip() {
    let dir = tempfile::tempdir().unwrap();
    let clip = clip(&dir.path().join("clip.y4m"), Colour::Green);
    for (args, size) in [(&[][..], "640x360"), (&["--camera", clip.as_str()][..], "320x180")] {
        let args = [&["--seconds", "2"], args].concat();
        let (text, output) = run(env!("CARGO_BIN_EXE_loopback"), &args);
        assert!(output.status.success(), "{output:?}");
        let total = text.lines().find(|line| line.contains(" in all, ")).unwrap_or_else(|| panic!("{text}"));
        assert!(total.starts_with(size), "{total}");
        assert!(text.lines().filter(|line| line.contains(" fps, ")).count() >= 1, "each second: {text}");
        assert!(figure(total, " dB") > 28.0, "{total}");
        assert!((20.0..3000.0).contains(&figure(total, " kb/s")), "{total}");
        assert!(figure(total, " fps") > 5.0, "{total}");
    }
}

#[test]
fn loopback_says_what_to_do_about_a_camera_that_is_not_there() {
    let (_, output) = run(env!("CARGO_BIN_EXE_loopback"), &["--camera", "file:missing.y4m"]);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("missing.y4m was not found"), "{error}");
}

#[test]
fn two_peers_show_every_step() {
    let (text, output) = run(env!("CARGO_BIN_EXE_two_peers"), &[]);
    assert!(output.status.success(), "{output:?}");
    let at = |step: &str| text.find(step).unwrap_or_else(|| panic!("no `{step}` in {text}"));
    let steps = [
        "Ann makes an offer",
        "Ann -> Ben: offer with 2 media sections",
        "Ben -> Ann: answer with 2 media sections",
        "Ann is connected",
        "Ann receives video",
        "both closed",
    ];
    for pair in steps.windows(2) {
        assert!(at(pair[0]) < at(pair[1]), "{pair:?}: {text}");
    }
    for step in ["Ann -> Ben: candidate candidate:", "Ben -> Ann: candidate candidate:", "Ben receives audio"]
    {
        at(step);
    }
    assert!(text.matches("packets of pictures and received").count() == 2, "{text}");
}

/// A person who meets the bot; leaves the room when dropped.
struct Person {
    call: Call,
    events: tokio::sync::mpsc::Receiver<Event>,
}

impl Person {
    async fn join(server: &str, room: &str, name: &str) -> Self {
        let config = Config {
            camera: CameraUse::None,
            mic: MicUse::None,
            speaker: SpeakerUse::None,
            display: Display::Window,
            ..Config::default()
        };
        let (call, events) = Call::start(config).unwrap();
        let mut person = Self { call, events };
        let join = Wish::Join {
            server: server.into(),
            room: room.into(),
            name: name.into(),
            password: call::Password::default(),
        };
        person.call.command(join).unwrap();
        person.event("joined", |event| matches!(event, Event::Joined { .. })).await;
        person
    }

    async fn event(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let found = async {
            while let Some(event) = self.events.recv().await {
                if wanted(&event) {
                    return event;
                }
            }
            panic!("the engine ended while waiting for {what}");
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    fn snapshot(&self) -> Snapshot {
        self.call.snapshot().borrow().clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bot_shows_its_clip_greets_and_leaves_when_time_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let clip = clip(&dir.path().join("clip.y4m"), Colour::Magenta);
    let config = server::Config { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() };
    let server = Server::bind(config).await.unwrap();
    let link = format!("{}/tea%20time", server.url());
    let mut person = Person::join(&server.url(), "tea time", "Ann").await;

    let mut command = Command::new(env!("CARGO_BIN_EXE_bot"));
    command.args([link.as_str(), "--name", "Robbie", "--camera", clip.as_str(), "--seconds", "8"]);
    let mut bot = Running::start(&mut command);
    let chat = person.event("greeting", |event| matches!(event, Event::Chat { .. })).await;
    let Event::Chat { name, text, .. } = chat else { panic!("{chat:?}") };
    assert_eq!((name.as_str(), text.contains("Hello Ann")), ("Robbie", true), "{text}");
    person.event("first picture", |event| matches!(event, Event::FirstFrame { .. })).await;

    let view = person.snapshot().participants[0].view.clone();
    let seen = tokio::task::spawn_blocking(move || {
        let until = Instant::now() + PATIENCE;
        std::iter::from_fn(|| view.wait(until)).find_map(|frame| read_mark(&frame.image))
    });
    assert_eq!(seen.await.unwrap().map(|mark| mark.colour), Some(Colour::Magenta));

    let left = person.event("leaving", |event| matches!(event, Event::ParticipantLeft { .. })).await;
    assert!(matches!(&left, Event::ParticipantLeft { reason, .. } if reason == "bye"), "{left:?}");
    let (status, bot) = tokio::task::spawn_blocking(move || (bot.ended(), bot)).await.unwrap();
    assert!(status.success(), "{status}: {:#?}", bot.seen);
    assert!(bot.seen.iter().any(|line| *line == format!("joined {link}")), "{:#?}", bot.seen);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bot_leaves_on_ctrl_c() {
    let config = server::Config { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() };
    let server = Server::bind(config).await.unwrap();
    let link = format!("{}/tea", server.url());
    let ended = tokio::task::spawn_blocking(move || {
        let mut bot =
            Running::start(Command::new(env!("CARGO_BIN_EXE_bot")).args([&link, "--camera", "none"]));
        bot.line("joined ");
        let told = Command::new("kill").args(["-s", "INT", &bot.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        bot.ended()
    });
    assert!(ended.await.unwrap().success());
}

#[test]
fn bot_says_what_is_wrong_with_a_link() {
    let (_, output) = run(env!("CARGO_BIN_EXE_bot"), &["http://127.0.0.1:1"]);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("names no room"), "{error}");
}
