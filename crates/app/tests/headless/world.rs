//! A server in this process, `snug` processes as users run them, and the files that stand for their devices.

use lab::mark::{Clip, Colour, Mark, read_mark, write_clip};
use lab::y4m::Reader;
use serde_json::{Value, json};
use server::{Running, Server};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Until then what is waited for must have come; generous, for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long the server keeps the place of somebody away.
pub(crate) const GRACE: Duration = Duration::from_millis(4500);

/// Where a test takes place.
pub(crate) struct World {
    pub(crate) url: String,
    dir: tempfile::TempDir,
    _server: Running,
    /// Dropped last: the server lives in it.
    _runtime: tokio::runtime::Runtime,
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut config = server::Config { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() };
        config.limits.grace = GRACE;
        let server = runtime.block_on(Server::bind(config)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        Self { url: server.url(), dir, _server: server, _runtime: runtime }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A clip of two seconds in one colour, as `--camera` takes it.
    pub(crate) fn clip(&self, colour: Colour) -> String {
        let path = self.path(&format!("{colour:?}.y4m"));
        if !path.exists() {
            write_clip(&path, &Clip { width: 320, height: 180, fps: 30, frames: 60, colour }).unwrap();
        }
        format!("file:{}", path.display())
    }

    /// `snug join ROOM …` without a window, in the test's folder and with no settings of anybody's.
    pub(crate) fn join(&self, room: &str, args: &[&str]) -> Snug {
        self.start("someone", |command| {
            command.args(["join", room, "--server", &self.url, "--headless"]).args(args);
        })
    }

    /// Somebody with a clip for a camera, a tone for a microphone, and files for all that comes in.
    pub(crate) fn person(&self, name: &str, colour: Colour, room: &str) -> Snug {
        std::fs::create_dir_all(self.path(name)).unwrap();
        self.start(name, |command| {
            command.args(["join", room, "--server", &self.url, "--headless", "--name", name]);
            command.args(["--camera", &self.clip(colour), "--mic", "tone"]);
            command.args([
                "--speaker",
                &format!("file:{name}/heard.wav"),
                "--display",
                &format!("y4m:{name}"),
            ]);
            command.args(["--stats", &format!("{name}/stats.jsonl")]);
        })
    }

    pub(crate) fn start(&self, name: &str, args: impl FnOnce(&mut Command)) -> Snug {
        let mut command = self.command();
        args(&mut command);
        Snug::start(command, self.path(name))
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snug"));
        command.current_dir(self.dir.path()).env("HOME", self.dir.path());
        command.env("XDG_CONFIG_HOME", self.path("config")).env_remove("SNUG_LOG");
        command
    }
}

/// A running `snug`, killed when dropped.
pub(crate) struct Snug {
    child: Child,
    stdin: Option<ChildStdin>,
    events: Receiver<Value>,
    pub(crate) seen: Vec<Value>,
    /// The events before this one were waited for.
    next: usize,
    errors: Option<JoinHandle<String>>,
    /// Where it writes.
    pub(crate) dir: PathBuf,
}

impl Snug {
    fn start(mut command: Command, dir: PathBuf) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let (out, mut err) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
        // overflow: the program waits for its reader.
        let (sender, events) = sync_channel(1024);
        let read = move || {
            for line in out.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "not JSON": line }));
                if sender.send(event).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("events".into()).spawn(read).unwrap();
        let read = move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        };
        let errors = std::thread::Builder::new().name("errors".into()).spawn(read).unwrap();
        let stdin = child.stdin.take();
        Self { child, stdin, events, seen: Vec::new(), next: 0, errors: Some(errors), dir }
    }

    /// Sends a line as it is.
    pub(crate) fn line(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(&[line, b"\n"].concat()).unwrap();
        stdin.flush().unwrap();
    }

    pub(crate) fn tell(&mut self, command: &Value) {
        self.line(command.to_string().as_bytes());
    }

    /// Waits for an event of this name after the one waited for last.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.event_with(name, |_| true)
    }

    pub(crate) fn event_with(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let at = self.find(self.next, name, wanted);
        self.next = at + 1;
        self.seen[at].clone()
    }

    /// Waits for an event of this name, wherever it stands among the others.
    pub(crate) fn any(&mut self, name: &str) -> Value {
        let at = self.find(0, name, |_| true);
        self.seen[at].clone()
    }

    fn find(&mut self, from: usize, name: &str, wanted: impl Fn(&Value) -> bool) -> usize {
        let until = Instant::now() + PATIENCE;
        let mut at = from;
        loop {
            match self.seen.get(at) {
                Some(event) if event["event"] == name && wanted(event) => return at,
                Some(_) => at += 1,
                None => match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(event) => self.seen.push(event),
                    Err(why) => {
                        let complaints = self.complaints();
                        panic!("no {name} ({why}), only {:#?}; {complaints}", self.seen);
                    }
                },
            }
        }
    }

    /// Waits until what can be seen from outside (files, mostly) is so.
    pub(crate) fn until<T>(&mut self, what: &str, mut condition: impl FnMut(&Path) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = condition(&self.dir) {
                return found;
            }
            match self.events.recv_timeout(Duration::from_millis(50)) {
                Ok(event) => self.seen.push(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("it ended before {what}: {:#?}", self.seen),
            }
            assert!(Instant::now() < until, "no {what}; seen: {:#?}", self.seen);
        }
    }

    /// Waits until the one other person's pictures of this colour are in the file.
    pub(crate) fn sees(&mut self, colour: Colour) {
        self.until(&format!("{colour:?} picture"), |dir| {
            marks(&other(dir)?).iter().any(|(mark, _)| mark.colour == colour).then_some(())
        });
    }

    /// Waits until it is in its room.
    pub(crate) fn joined(mut self) -> Self {
        self.event("joined");
        self
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn leave(&mut self) {
        self.tell(&json!({ "cmd": "leave" }));
        let (status, complaints) = self.ended();
        assert!(status.success(), "{status}: {complaints}");
        assert_eq!(self.seen.last().unwrap()["event"], "left");
    }

    /// Waits for its end: its status, and what it said on standard error.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) => self.seen.push(event),
                // Its output ends with it.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {:#?}", self.seen),
            }
        }
        let status = self.child.wait().unwrap();
        (status, self.complaints())
    }

    /// What it said on standard error; ends it if it still runs.
    fn complaints(&mut self) -> String {
        let _ = self.child.kill();
        self.errors.take().map(|thread| thread.join().unwrap()).unwrap_or_default()
    }
}

impl Drop for Snug {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one picture file in a folder that is somebody else's.
pub(crate) fn other(dir: &Path) -> Option<PathBuf> {
    let others: Vec<PathBuf> = (std::fs::read_dir(dir).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "y4m") && !path.ends_with("self.y4m"))
        .collect();
    assert!(others.len() <= 1, "{others:?}");
    others.into_iter().next()
}

/// The marked pictures of a y4m file so far, and when each was shown, in microseconds.
pub(crate) fn marks(path: &Path) -> Vec<(Mark, u64)> {
    // A file that has no whole header yet has no pictures.
    let Ok(mut reader) = File::open(path).and_then(|file| Reader::new(BufReader::new(file))) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    while let Some(shown) = reader.next_frame().unwrap() {
        let at = shown.at_us.expect("a frame says when it was shown");
        found.extend(read_mark(&shown.picture).map(|mark| (mark, at)));
    }
    found
}

/// The lines of a statistics file so far.
pub(crate) fn stats(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("stats.jsonl")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).expect("a line is a JSON object")).collect()
}
