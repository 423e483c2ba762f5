//! Two or more engines in one process, over a real server on loopback, with marked clips for cameras and
//! tones for microphones; what each sees and hears is read behind its decoders.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use call::{Call, Command, Config, Display, Event, Participant, Password, Phase};
use lab::mark::{Clip, Colour, read_mark, write_clip};
use media::{CameraUse, Frame, MicUse, Slot, SpeakerUse};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// Until then what is waited for must have come; generous, for a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// For so long nothing may come where nothing should.
pub const QUIET: Duration = Duration::from_millis(500);

/// A server with a cuttable line before it, and the files that stand for devices.
pub struct World {
    _server: server::Running,
    pub line: Line,
    pub dir: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(server::config::IceConfig::default()).await
    }

    /// With STUN and TURN servers, instead of the one inside.
    pub async fn with(ice: server::config::IceConfig) -> Self {
        let mut config = server::Config { listen: ([127, 0, 0, 1], 0).into(), ice, ..Default::default() };
        config.turn.enabled = Some(config.ice.fixed.is_empty());
        let server = server::Server::bind(config).await.expect("a free port");
        let line = Line::to(server.local_addr()).await;
        Self { _server: server, line, dir: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A clip of two seconds in one colour.
    pub fn clip(&self, colour: Colour) -> CameraUse {
        let path = self.path(&format!("{colour:?}.y4m"));
        if !path.exists() {
            let clip = Clip { width: 320, height: 180, fps: 30, frames: 60, colour };
            write_clip(&path, &clip).expect("a clip");
        }
        CameraUse::File(path)
    }

    pub fn wav(&self, hertz: f32) -> MicUse {
        let path = self.path(&format!("{hertz}.wav"));
        lab::tone::write_wav(&path, hertz, 2.0).expect("a tone");
        MicUse::File(path)
    }

    pub fn person(&self, name: &str, colour: Colour) -> Person {
        Person::with(
            name,
            Config {
                camera: self.clip(colour),
                mic: MicUse::Tone,
                speaker: SpeakerUse::File(self.path(&format!("{name}.wav"))),
                display: Display::Window,
                stats_every: Duration::from_millis(100),
                ..Config::default()
            },
        )
    }
}

/// A TCP line to the server that can be cut and mended.
pub struct Line {
    pub url: String,
    up: watch::Sender<bool>,
}

impl Line {
    async fn to(server: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (up, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, state.clone()));
            }
        });
        Self { url, up }
    }

    /// Cuts every connection and refuses new ones.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    pub fn mend(&self) {
        self.up.send_replace(true);
    }
}

async fn carry(mut client: TcpStream, server: std::net::SocketAddr, mut up: watch::Receiver<bool>) {
    if !*up.borrow_and_update() {
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut upstream) => {}
        _ = up.wait_for(|up| !up) => {}
    }
}

/// An engine and whoever sits before it.
pub struct Person {
    pub call: Call,
    events: mpsc::Receiver<Event>,
    seen: Vec<Event>,
    pub name: String,
}

impl Person {
    pub fn with(name: &str, config: Config) -> Self {
        let (call, events) = Call::start(config).expect("an engine");
        Self { call, events, seen: Vec::new(), name: name.into() }
    }

    pub fn tell(&self, command: Command) {
        self.call.command(command).expect("a running engine");
    }

    pub async fn join(&mut self, server: &str, room: &str) {
        self.tell(Command::Join {
            server: server.into(),
            room: room.into(),
            name: self.name.clone(),
            password: Password::default(),
        });
        self.event("joined", |event| matches!(event, Event::Joined { .. })).await;
    }

    /// Waits for an event; those before it are gone.
    pub async fn event(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let until = tokio::time::Instant::now() + DEADLINE;
        loop {
            match tokio::time::timeout_at(until, self.events.recv()).await {
                Ok(Some(event)) if wanted(&event) => return event,
                Ok(Some(event)) => self.seen.push(event),
                Ok(None) => panic!("{}: the engine ended while waiting for {what}", self.name),
                Err(_) => panic!("{}: no {what}; seen: {:#?}", self.name, self.seen),
            }
        }
    }

    /// All events so far that nobody waited for.
    pub fn events_so_far(&mut self) -> &[Event] {
        while let Ok(event) = self.events.try_recv() {
            self.seen.push(event);
        }
        &self.seen
    }

    /// Waits until the snapshot is as wanted.
    pub async fn snapshot(&self, what: &str, wanted: impl Fn(&call::Snapshot) -> bool) {
        let mut snapshot = self.call.snapshot();
        let waited = tokio::time::timeout(DEADLINE, snapshot.wait_for(|s| wanted(s))).await;
        assert!(waited.is_ok(), "{}: no {what}: {:#?}", self.name, self.call.snapshot().borrow());
    }

    pub async fn in_room(&self) {
        self.snapshot("room", |s| matches!(s.phase, Phase::InRoom { .. })).await;
    }

    /// The only other person, who must be there.
    pub fn other(&self) -> Participant {
        let snapshot = self.call.snapshot().borrow().clone();
        assert_eq!(snapshot.participants.len(), 1, "{}: {:#?}", self.name, snapshot);
        snapshot.participants[0].clone()
    }

    pub async fn meets_somebody(&self) {
        self.snapshot("other person", |s| s.participants.len() == 1).await;
    }

    /// Waits until the other's clip of this colour is shown.
    pub async fn sees(&self, colour: Colour) {
        self.meets_somebody().await;
        let view = self.other().view;
        let name = self.name.clone();
        let seen =
            tokio::task::spawn_blocking(move || wait_for_colour(&view, colour)).await.expect("no panic");
        assert!(seen, "{name} does not see {colour:?}: {:#?}", self.call.snapshot().borrow());
    }

    /// Waits until no picture of the other is shown, and checks that none comes again.
    pub async fn sees_nothing(&self) {
        let view = self.other().view;
        let quiet = tokio::task::spawn_blocking(move || wait_for_quiet(&view)).await.expect("no panic");
        assert!(quiet, "{} still sees the other", self.name);
    }

    fn heard(&self) -> (u64, f64) {
        let stats = self.other().stats;
        stats.map_or((0, 0.0), |s| (s.inbound_audio.packets_received, s.inbound_audio.audio_level))
    }

    /// Waits until sound of the other comes out of the mixer.
    pub async fn hears(&self) {
        self.meets_somebody().await;
        let (packets, _) = self.heard();
        self.snapshot("sound", |s| {
            let stats = s.participants.first().and_then(|p| p.stats.clone());
            stats.is_some_and(|s| {
                s.inbound_audio.packets_received > packets + 5 && s.inbound_audio.audio_level > 0.02
            })
        })
        .await;
    }

    /// Waits until no packet comes for a while, and checks that it is silent then.
    pub async fn hears_nothing(&self) {
        let until = Instant::now() + DEADLINE;
        loop {
            let (before, _) = self.heard();
            let mut snapshot = self.call.snapshot();
            let more = |s: &call::Snapshot| {
                let stats = s.participants.first().and_then(|p| p.stats.clone());
                stats.is_some_and(|s| s.inbound_audio.packets_received > before)
            };
            let came = tokio::time::timeout(QUIET, snapshot.wait_for(more)).await.is_ok();
            if !came {
                let (_, level) = self.heard();
                assert!(level < 0.005, "{}: silence sounds like {level}", self.name);
                return;
            }
            assert!(Instant::now() < until, "{} still hears the other", self.name);
        }
    }
}

fn colour_of(frame: &Frame) -> Option<Colour> {
    read_mark(&frame.image).map(|mark| mark.colour)
}

fn wait_for_colour(view: &Slot<Frame>, colour: Colour) -> bool {
    let until = Instant::now() + DEADLINE;
    while let Some(frame) = view.wait(until) {
        if colour_of(&frame) == Some(colour) {
            return true;
        }
    }
    false
}

fn wait_for_quiet(view: &Slot<Frame>) -> bool {
    let until = Instant::now() + DEADLINE;
    let mut quiet_from = Instant::now();
    while Instant::now() < until {
        match view.wait(quiet_from + QUIET) {
            Some(frame) if colour_of(&frame).is_some() => quiet_from = Instant::now(),
            // Black, as shown for a camera that is off.
            Some(_) => {}
            None => return true,
        }
    }
    false
}

/// Cuts a file off so that what reads it fails.
pub fn break_file(path: &Path) {
    std::fs::write(path, b"").expect("a file of the test");
}
