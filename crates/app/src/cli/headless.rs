//! A call without a window: events out, commands in, one JSON object a line each.

use super::lines::{self, Line};
use super::session::{End, Session, Wish};
use super::{NO_ENGINE, Start, signals};
use crate::host::Host;
use crate::stats::StatsFile;
use anyhow::{Context as _, Result, bail};
use call::{About, Call, Command, Event, Refused, Snapshot};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// A room that was not entered after so long is given up.
const JOIN_PATIENCE: Duration = Duration::from_secs(30);
/// The engine has so long to say goodbye.
const LEAVE_PATIENCE: Duration = Duration::from_secs(3);

/// What takes commands: the engine, or a test in its place.
pub trait Engine {
    /// Hands a command over; never waits.
    fn command(&self, command: Command) -> Result<(), Refused>;
}

impl Engine for Call {
    fn command(&self, command: Command) -> Result<(), Refused> {
        Call::command(self, command)
    }
}

/// Everything that goes in and out beside the engine's commands.
pub struct Wires<W> {
    /// From the engine.
    pub events: mpsc::Receiver<Event>,
    /// From standard input.
    pub lines: mpsc::Receiver<Line>,
    /// SIGINT and SIGTERM.
    pub signals: mpsc::Receiver<()>,
    /// Standard output.
    pub out: W,
    /// The server inside this program: its links are made fit for others.
    pub host: Option<Host>,
    /// `--stats`, and where the figures come from.
    pub stats: Option<(StatsFile, watch::Receiver<Snapshot>)>,
}

/// Runs the call that the command line asked for, to its end.
pub fn run(start: Start) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stats = start.stats.as_deref().map(StatsFile::create).transpose()?;
    // The engine is dropped outside of the runtime: it joins its threads.
    let (engine, events) = Call::start(start.config.clone()).context(NO_ENGINE)?;
    let stats = stats.map(|file| (file, engine.snapshot()));
    let end = runtime.block_on(async {
        let signals = signals::channel()?;
        let host = match start.server {
            Some(_) => None,
            None => Some(Host::start().await?),
        };
        let server = start.server.clone().or(host.as_ref().map(|host| host.links().address.clone()));
        let server = server.context("there is no server: name one with --server")?;
        let join = Command::Join {
            server,
            room: start.room.clone(),
            name: start.name.clone(),
            password: start.password.clone(),
        };
        let lines = lines::from_stdin()?;
        let wires = Wires { events, lines, signals, out: tokio::io::stdout(), host, stats };
        Driver::new(&engine, wires, &start.room, start.time).run(join).await
    });
    drop(engine);
    runtime.shutdown_timeout(Duration::from_secs(1));
    match end? {
        End::AsAsked => Ok(()),
        End::Failed(why) => bail!("{why}"),
    }
}

/// One call, driven.
pub struct Driver<'a, W> {
    engine: &'a dyn Engine,
    wires: Wires<W>,
    session: Session,
    time_up: Option<Instant>,
    join_by: Instant,
    leave_by: Option<Instant>,
    lines_open: bool,
}

impl<'a, W: AsyncWrite + Unpin> Driver<'a, W> {
    /// `time` is `--for`, counted from now.
    pub fn new(engine: &'a dyn Engine, wires: Wires<W>, room: &str, time: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            engine,
            wires,
            session: Session::new(room),
            time_up: time.and_then(|time| now.checked_add(time)),
            join_by: now + JOIN_PATIENCE,
            leave_by: None,
            lines_open: true,
        }
    }

    /// Joins, and goes on until the call is over. Errors are those of our own streams.
    pub async fn run(mut self, join: Command) -> Result<End> {
        if self.engine.command(join).is_err() {
            return Ok(self.session.on_engine_gone());
        }
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        second.tick().await;
        loop {
            let end = tokio::select! {
                event = self.wires.events.recv() => match event {
                    Some(event) => self.on_event(event).await?,
                    None => Some(self.session.on_engine_gone()),
                },
                line = self.wires.lines.recv(), if self.lines_open => match line {
                    Some(line) => self.on_line(line).await?,
                    None => { self.lines_open = false; None }
                },
                Some(()) = self.wires.signals.recv() => self.on_wish(Wish::Signal),
                () = at(self.time_up) => { self.time_up = None; self.on_wish(Wish::TimeIsUp) }
                () = sleep_until(self.join_by), if self.session.is_joining() => self.on_wish(Wish::TimeIsUp),
                () = at(self.leave_by) => Some(self.session.on_patience_over()),
                _ = second.tick(), if self.wires.stats.is_some() => { self.on_second()?; None }
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    async fn on_event(&mut self, mut event: Event) -> Result<Option<End>> {
        if let (Event::Joined { link, .. }, Some(host)) = (&mut event, &self.wires.host) {
            *link = host.links().shared(link);
        }
        if let Event::Waiting { seconds } = event {
            // The server says when it is over.
            self.join_by = Instant::now() + Duration::from_secs(seconds) + JOIN_PATIENCE;
        }
        self.print(&event).await?;
        Ok(self.session.on_event(&event))
    }

    async fn on_line(&mut self, line: Line) -> Result<Option<End>> {
        let command = match line {
            Ok(command) => command,
            Err(why) => {
                self.complain(why).await?;
                return Ok(None);
            }
        };
        if self.session.on_command(&command) {
            return Ok(self.on_wish(Wish::Command));
        }
        if matches!(command, Command::Join { .. }) {
            self.join_by = Instant::now() + JOIN_PATIENCE;
        }
        if let Err(refused) = self.engine.command(command) {
            self.complain(format!("{refused}: send it again")).await?;
        }
        Ok(None)
    }

    fn on_wish(&mut self, wish: Wish) -> Option<End> {
        let end = self.session.on_wish(wish);
        if end.is_none() {
            self.leave_by = Some(Instant::now() + LEAVE_PATIENCE);
            if self.engine.command(Command::Leave).is_err() {
                return Some(self.session.on_patience_over());
            }
        }
        end
    }

    fn on_second(&mut self) -> Result<()> {
        if let Some((file, snapshot)) = &mut self.wires.stats {
            let snapshot = snapshot.borrow().clone();
            file.add(&snapshot, SystemTime::now())?;
        }
        Ok(())
    }

    async fn complain(&mut self, message: String) -> Result<()> {
        self.print(&Event::Error { about: About::Command, message, fatal: false }).await
    }

    async fn print(&mut self, event: &Event) -> Result<()> {
        let mut text = serde_json::to_vec(event)?;
        text.push(b'\n');
        let out = &mut self.wires.out;
        let wrote = async {
            out.write_all(&text).await?;
            out.flush().await
        };
        wrote.await.context("nobody reads the events on standard output any more")
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call::Password;

    /// In the engine's place: hands its commands to the test.
    struct Fake(mpsc::Sender<Command>);

    impl Engine for Fake {
        fn command(&self, command: Command) -> Result<(), Refused> {
            self.0.try_send(command).map_err(|_| Refused)
        }
    }

    struct Bench {
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        lines: Option<mpsc::Sender<Line>>,
        signals: mpsc::Sender<()>,
    }

    /// Runs a call against `script`, which plays engine and user; returns how it ended and what it printed.
    async fn play(time: Option<u64>, script: impl AsyncFnOnce(&mut Bench)) -> (End, Vec<serde_json::Value>) {
        let (command_sender, commands) = mpsc::channel(8);
        let (events, event_receiver) = mpsc::channel(8);
        let (lines, line_receiver) = mpsc::channel(8);
        let (signals, signal_receiver) = mpsc::channel(8);
        let mut bench = Bench { commands, events, lines: Some(lines), signals };
        let mut out = Vec::new();
        let wires = Wires {
            events: event_receiver,
            lines: line_receiver,
            signals: signal_receiver,
            out: &mut out,
            host: None,
            stats: None,
        };
        let engine = Fake(command_sender);
        let driver = Driver::new(&engine, wires, "tea", time.map(Duration::from_secs));
        let end = async { driver.run(join()).await.unwrap() };
        let script = async {
            assert_eq!(bench.commands.recv().await, Some(join()));
            script(&mut bench).await;
            bench
        };
        let (end, bench) = tokio::join!(end, script);
        drop(bench);
        let printed = String::from_utf8(out).unwrap();
        (end, printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn join() -> Command {
        let password = Password::default();
        Command::Join { server: "http://h".into(), room: "tea".into(), name: "Ann".into(), password }
    }

    async fn enter(bench: &mut Bench) {
        let joined =
            Event::Joined { room: "tea".into(), link: "http://h/tea".into(), id: Default::default() };
        bench.events.send(joined).await.unwrap();
        // Until it is taken: what the test does next must not overtake it.
        bench.events.reserve_many(bench.events.max_capacity()).await.map(drop).unwrap();
    }

    async fn part(bench: &mut Bench) {
        assert_eq!(bench.commands.recv().await, Some(Command::Leave));
        bench.events.send(Event::Left { reason: "bye".into() }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_of_some_seconds_ends_as_asked() {
        let began = Instant::now();
        let (end, printed) = play(Some(5), async |bench| {
            enter(bench).await;
            bench.lines = None;
            part(bench).await;
        })
        .await;
        assert_eq!(end, End::AsAsked);
        assert_eq!(began.elapsed().as_secs(), 5);
        assert_eq!((&printed[0]["event"], &printed[1]["event"]), (&"joined".into(), &"left".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_become_commands_and_bad_ones_end_nothing() {
        let (end, printed) = play(None, async |bench| {
            enter(bench).await;
            let lines = bench.lines.clone().unwrap();
            lines.send(Err("not a command".into())).await.unwrap();
            lines.send(Ok(Command::Mute { on: true })).await.unwrap();
            assert_eq!(bench.commands.recv().await, Some(Command::Mute { on: true }));
            lines.send(Ok(Command::Leave)).await.unwrap();
            part(bench).await;
        })
        .await;
        assert_eq!(end, End::AsAsked);
        assert_eq!(printed[1]["event"], "error");
        assert_eq!((&printed[1]["about"], &printed[1]["fatal"]), (&"command".into(), &false.into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_leaves_cleanly_and_a_silent_engine_is_not_waited_for() {
        let began = Instant::now();
        let (end, _) = play(None, async |bench| {
            enter(bench).await;
            bench.signals.send(()).await.unwrap();
            assert_eq!(bench.commands.recv().await, Some(Command::Leave));
        })
        .await;
        assert_eq!((end, began.elapsed()), (End::AsAsked, LEAVE_PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_room_that_never_opens_is_given_up() {
        let began = Instant::now();
        let (end, _) = play(None, part).await;
        assert!(matches!(&end, End::Failed(text) if text.contains("tea")), "{end:?}");
        assert_eq!(began.elapsed(), JOIN_PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_to_be_let_in_is_not_given_up() {
        let began = Instant::now();
        let (end, _) = play(None, async |bench| {
            bench.events.send(Event::Waiting { seconds: 300 }).await.unwrap();
            tokio::time::sleep(Duration::from_secs(299)).await;
            enter(bench).await;
            bench.lines.as_ref().unwrap().send(Ok(Command::Leave)).await.unwrap();
            part(bench).await;
        })
        .await;
        assert_eq!((end, began.elapsed().as_secs()), (End::AsAsked, 299));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fatal_error_ends_the_call_with_its_words() {
        let (end, printed) = play(Some(60), async |bench| {
            let error = Event::Error {
                about: About::Server,
                message: "the room is full: try another".into(),
                fatal: true,
            };
            bench.events.send(error).await.unwrap();
        })
        .await;
        assert_eq!(end, End::Failed("the room is full: try another".into()));
        assert_eq!(printed[0]["fatal"], true);
    }
}
