//! The real window, on a display without a screen: it joins a call, is driven by keyboard and mouse, and is
//! photographed. Needs Xvfb, xdotool and ImageMagick, which `./dev test` installs.
//!
//! The picture is saved as `window.png` in cargo's folder for tests' files, and as what `SNUG_SCREENSHOT`
//! names when it is set.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use app::host::Host;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// Colours of the window's theme.
const ACCENT: [u8; 3] = [0x5e, 0xea, 0xd4];
const WARNING: [u8; 3] = [0xfb, 0xbf, 0x24];
const DANGER: [u8; 3] = [0xf8, 0x71, 0x71];
/// Where the mark of the only other person is, in columns and rows.
const MARK: (Range<usize>, Range<usize>) = (1178..1198, 58..78);

/// The left edge of their picture, which is bright while they speak: no bar of the test picture is near that colour.
const FRAME: (Range<usize>, Range<usize>) = (66..76, 300..400);

/// A program that does not outlive the test.
struct Program(Child);

impl Program {
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Its exit status, which must come in time.
    fn ended(&mut self, lines: &Receiver<String>) -> bool {
        let until = Instant::now() + PATIENCE;
        // Its output ends with it.
        while lines.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
        assert!(Instant::now() < until, "it did not end");
        self.0.wait().unwrap().success()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program; its standard output comes line by line.
fn start(command: &mut Command) -> (Program, Receiver<String>) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    // overflow: the program waits.
    let (sender, lines) = sync_channel(1024);
    let read = move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
    std::thread::Builder::new().name("output".into()).spawn(read).unwrap();
    (Program(child), lines)
}

/// A display of its own for the test.
struct Display {
    _xvfb: Program,
    name: String,
}

impl Display {
    fn start() -> Self {
        let screen = ["-displayfd", "1", "-r", "-screen", "0", "1280x760x24", "-nolisten", "tcp"];
        let (xvfb, lines) = start(Command::new("Xvfb").args(screen).stderr(Stdio::null()));
        let number = lines.recv_timeout(PATIENCE).unwrap();
        Self { _xvfb: xvfb, name: format!(":{}", number.trim()) }
    }

    fn xdotool(&self, words: &[&str]) -> String {
        let output = Command::new("timeout")
            .arg("60")
            .arg("xdotool")
            .args(words)
            .env("DISPLAY", &self.name)
            .output()
            .unwrap();
        assert!(output.status.success(), "xdotool {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn photograph(&self, path: &Path) {
        let status = Command::new("import")
            .args(["-window", "root"])
            .arg(path)
            .env("DISPLAY", &self.name)
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Photographs until `fine` says so.
    fn photograph_until(&self, path: &Path, fine: impl Fn(&Photo) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.photograph(path);
            if fine(&Photo::read(path)) {
                return;
            }
            assert!(Instant::now() < until, "the window never looked as it should: see {}", path.display());
        }
    }
}

struct Photo {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

impl Photo {
    fn read(path: &Path) -> Self {
        let mut decoder = png::Decoder::new(BufReader::new(std::fs::File::open(path).unwrap()));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let channels = info.color_type.samples();
        Self { width: info.width as usize, height: info.height as usize, channels, pixels }
    }

    fn at(&self, x: usize, y: usize) -> &[u8] {
        let from = (y * self.width + x) * self.channels;
        &self.pixels[from..from + self.channels.min(3)]
    }

    /// Whether something in a part of it has about that colour.
    fn has(&self, colour: [u8; 3], columns: &Range<usize>, rows: &Range<usize>) -> bool {
        let near = |pixel: &[u8]| pixel.iter().zip(colour).all(|(is, want)| is.abs_diff(want) < 40);
        rows.clone().any(|y| columns.clone().any(|x| near(self.at(x, y))))
    }

    /// How many colours, coarsely, cover at least a fiftieth of the photograph's middle: the bars of the test
    /// picture do, the words and buttons of the window do not.
    fn large_colours(&self) -> usize {
        let (columns, rows) = (self.width / 4..self.width * 3 / 4, self.height / 4..self.height * 3 / 4);
        let mut shares = std::collections::HashMap::<Vec<u8>, usize>::new();
        for y in rows.step_by(4) {
            for x in columns.clone().step_by(4) {
                let colour = self.at(x, y).iter().map(|value| value / 32).collect();
                *shares.entry(colour).or_default() += 1;
            }
        }
        let all: usize = shares.values().sum();
        shares.values().filter(|share| **share * 50 >= all).count()
    }
}

fn snug(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snug"));
    command.env("XDG_CONFIG_HOME", config).env("LIBGL_ALWAYS_SOFTWARE", "1").env_remove("WAYLAND_DISPLAY");
    command
}

/// Reads the partner's events up to one that fits.
fn event(events: &Receiver<String>, fits: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let line = events
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .expect("the event never came");
        let event: Value = serde_json::from_str(&line).unwrap();
        if fits(&event) {
            return event;
        }
    }
}

#[test]
fn a_person_drives_the_window_through_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let host = runtime.block_on(Host::start()).unwrap();
    let server = host.links().address.clone();
    let ends = ["--server", &server, "--camera", "pattern", "--mic", "tone", "--speaker", "none"];
    let (mut ben, events) =
        start(snug(folder.path()).args(["join", "tea", "--headless", "--name", "Ben"]).args(ends));
    event(&events, |event| event["event"] == "joined");

    let display = Display::start();
    let mut window = snug(folder.path());
    window.args(["join", "tea", "--name", "Ann"]).args(ends).env("DISPLAY", &display.name);
    let (mut window, output) = start(&mut window);
    event(&events, |event| event["event"] == "participant" && event["name"] == "Ann");
    event(&events, |event| event["event"] == "first_frame");
    let id = display.xdotool(&["search", "--sync", "--onlyvisible", "--name", "^Snug$"]);
    let id = id.lines().next().unwrap().to_owned();
    display.xdotool(&["windowmove", &id, "0", "0", "windowsize", "--sync", &id, "1280", "760"]);
    display.xdotool(&["windowfocus", "--sync", &id, "mousemove", "640", "20"]);

    let photo = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("window.png");
    let grown = |photo: &Photo| photo.at(1270, 750) == [0x0f, 0x14, 0x17];
    display.photograph_until(&photo, |photo| {
        grown(photo) && photo.large_colours() >= 6 && photo.has(ACCENT, &FRAME.0, &FRAME.1)
    });
    if let Some(copy) = std::env::var_os("SNUG_SCREENSHOT") {
        std::fs::copy(&photo, copy).unwrap();
    }

    display.xdotool(&["key", "s"]);
    // A plot is drawn once there are two samples: its line is the only thing in the accent colour there.
    let statistics = photo.with_file_name("window-statistics.png");
    display.photograph_until(&statistics, |photo| photo.has(ACCENT, &(285..400), &(126..150)));
    display.xdotool(&["key", "s"]);

    // Whoever stops without a word is marked as lost, and is back as soon as they go on.
    let lost = photo.with_file_name("window-lost.png");
    ben.signal("STOP");
    display.photograph_until(&lost, |photo| photo.has(DANGER, &MARK.0, &MARK.1));
    ben.signal("CONT");
    display.photograph_until(&photo.with_file_name("window-back.png"), |photo| {
        photo.has(WARNING, &MARK.0, &MARK.1) || photo.has(ACCENT, &MARK.0, &MARK.1)
    });

    display.xdotool(&["key", "m"]);
    event(&events, |event| event["event"] == "state" && event["muted"] == true);
    display.xdotool(&["key", "v"]);
    event(&events, |event| event["event"] == "state" && event["camera_off"] == true);
    display.xdotool(&["key", "c"]);
    // Typed before the panel is there, letters would be keys.
    let panel = photo.with_file_name("window-chat.png");
    display.photograph_until(&panel, |photo| photo.at(1100, 300) == [0x18, 0x20, 0x25]);
    display.xdotool(&["type", "hello"]);
    display.xdotool(&["key", "Return"]);
    event(&events, |event| event["event"] == "chat" && event["text"] == "hello");
    display.photograph(&panel);
    display.xdotool(&["key", "ctrl+w"]);
    event(&events, |event| event["event"] == "participant_left" && event["reason"] == "bye");
    display.photograph_until(&photo.with_file_name("window-lobby.png"), |photo| photo.large_colours() < 6);

    window.signal("TERM");
    assert!(window.ended(&output), "the window closed cleanly");
    ben.signal("INT");
    assert!(ben.ended(&events), "the partner left cleanly");
    drop(host);
}
