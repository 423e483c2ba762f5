//! `snug demo`: a live call of two people in this terminal, for machines without a display. Both engines
//! and the server run in this process; pictures and sound are synthetic, all between them is real.

use super::{NO_ENGINE, signals};
use crate::host::Host;
use crate::picture;
use anyhow::{Context as _, Result, bail};
use call::{Call, Command, Config, Event, Password, Snapshot, Stats};
use media::{CameraUse, Frame, MicUse, SpeakerUse};
use std::io::{IsTerminal as _, Write as _, stdout};
use std::path::Path;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::interval;

const NAMES: [&str; 2] = ["Ann", "Ben"];

/// Runs the call for some seconds, and saves what both received when `path` says where.
///
/// Errors when either got no picture or no sound.
pub fn run(seconds: u32, path: Option<&Path>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // Engines are dropped outside of the runtime: they join their threads.
    let mut people = [Person::new(NAMES[0])?, Person::new(NAMES[1])?];
    runtime.block_on(talk(&mut people, seconds))?;
    let frames: Vec<&Frame> = people.iter().filter_map(|person| person.frame.as_ref()).collect();
    if let (Some(path), false) = (path, frames.is_empty()) {
        let pictures: Vec<_> = frames.iter().map(|frame| &*frame.image).collect();
        picture::save_png(path, &pictures)?;
        println!("what was received is in {}", path.display());
    }
    people.iter().try_for_each(Person::verdict)
}

fn config() -> Config {
    Config { camera: CameraUse::Pattern, mic: MicUse::Tone, speaker: SpeakerUse::None, ..Config::default() }
}

async fn talk(people: &mut [Person; 2], seconds: u32) -> Result<()> {
    let mut stop = signals::channel()?;
    let host = Host::start().await?;
    println!("a call of two people over {}, for {seconds} s", host.links().address);
    for person in &*people {
        person.join(&host.links().address)?;
    }
    let mut second = interval(Duration::from_secs(1));
    second.tick().await;
    for passed in 1..=seconds {
        tokio::select! {
            _ = second.tick() => {}
            Some(()) = stop.recv() => break,
        }
        for person in people.iter_mut() {
            person.look()?;
        }
        show(people, passed)?;
    }
    for person in people.iter_mut() {
        person.leave().await?;
    }
    Ok(())
}

/// One of the two.
struct Person {
    name: &'static str,
    call: Call,
    events: mpsc::Receiver<Event>,
    snapshot: watch::Receiver<Snapshot>,
    /// The last picture of the other one.
    frame: Option<Frame>,
    /// The last figures, and whether any sound came.
    stats: Stats,
    heard: bool,
}

impl Person {
    fn new(name: &'static str) -> Result<Self> {
        let (call, events) = Call::start(config()).context(NO_ENGINE)?;
        let snapshot = call.snapshot();
        Ok(Self { name, call, events, snapshot, frame: None, stats: Stats::default(), heard: false })
    }

    fn join(&self, server: &str) -> Result<()> {
        let join = Command::Join {
            server: server.into(),
            room: "demo".into(),
            name: self.name.into(),
            password: Password::default(),
        };
        self.call.command(join).with_context(|| format!("{} could not join", self.name))
    }

    /// Takes in what happened since the last time.
    fn look(&mut self) -> Result<()> {
        while let Ok(event) = self.events.try_recv() {
            if let Event::Error { message, fatal: true, .. } = event {
                bail!("{}: {message}", self.name);
            }
        }
        let snapshot = self.snapshot.borrow_and_update().clone();
        if let Some(other) = snapshot.participants.first() {
            if let Some(frame) = other.view.take() {
                self.frame = Some(frame);
            }
            if let Some(stats) = &other.stats {
                self.stats = (**stats).clone();
                self.heard |= stats.inbound_audio.audio_level > 0.01;
            }
        }
        Ok(())
    }

    async fn leave(&mut self) -> Result<()> {
        self.call.command(Command::Leave).with_context(|| format!("{} could not leave", self.name))?;
        let left = async {
            while let Some(event) = self.events.recv().await {
                if matches!(event, Event::Left { .. }) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(3), left)
            .await
            .with_context(|| format!("{} did not leave in time", self.name))
    }

    fn verdict(&self) -> Result<()> {
        match (&self.frame, self.heard) {
            (Some(_), true) => Ok(()),
            (None, _) => bail!("{} got no picture: run again with SNUG_LOG=info to see why", self.name),
            (Some(_), false) => bail!("{} got no sound: run again with SNUG_LOG=info to see why", self.name),
        }
    }
}

/// Prints the table; in a terminal over the one before.
fn show(people: &[Person], passed: u32) -> Result<()> {
    let mut out = stdout().lock();
    if passed > 1 && out.is_terminal() {
        write!(out, "\x1b[{}F\x1b[J", people.len() + 1)?;
    }
    writeln!(out, "{:>3} s  from        fps  picture        kb/s  RTT ms  loss %  sound", passed)?;
    for (person, other) in people.iter().zip(NAMES.iter().rev()) {
        writeln!(out, "{}", row(person.name, other, &person.stats))?;
    }
    out.flush()?;
    Ok(())
}

fn row(who: &str, from: &str, stats: &Stats) -> String {
    let (video, audio) = (&stats.inbound_video, &stats.inbound_audio);
    let lost = video.packets_lost + audio.packets_lost;
    let all = lost + video.packets_received + audio.packets_received;
    let loss = if all == 0 { 0.0 } else { 100.0 * lost as f64 / all as f64 };
    let trip = stats.current_round_trip_time.map_or("-".into(), |time| format!("{:.1}", time * 1e3));
    format!(
        "{who:>5}  {from:<8} {:>6.1}  {:<11} {:>7.0}  {trip:>6}  {loss:>6.1}  {} {:.2}",
        video.frames_per_second,
        format!("{}x{}", video.frame_width, video.frame_height),
        (video.bitrate + audio.bitrate) / 1e3,
        bar(audio.audio_level),
        audio.audio_level,
    )
}

/// Loudness as ten characters: decibels from -40 to 0.
fn bar(level: f64) -> String {
    let decibels = 20.0 * level.max(1e-6).log10();
    let full = ((decibels + 40.0) / 4.0).clamp(0.0, 10.0).round() as usize;
    format!("{}{}", "#".repeat(full), ".".repeat(10 - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_the_figures() {
        let mut stats = Stats { current_round_trip_time: Some(0.0204), ..Stats::default() };
        stats.inbound_video.frames_per_second = 29.97;
        (stats.inbound_video.frame_width, stats.inbound_video.frame_height) = (640, 360);
        stats.inbound_video.bitrate = 800_000.0;
        (stats.inbound_video.packets_received, stats.inbound_video.packets_lost) = (99, 1);
        stats.inbound_audio.audio_level = 0.5;
        let words: Vec<_> = row("Ann", "Ben", &stats).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["Ann", "Ben", "30.0", "640x360", "800", "20.4", "1.0", "########..", "0.50"]);
        assert!(row("Ann", "Ben", &Stats::default()).contains(" 0x0 "));
    }

    #[test]
    fn silence_and_full_scale_are_the_ends_of_the_bar() {
        assert_eq!((bar(0.0).as_str(), bar(1.0).as_str()), ("..........", "##########"));
    }
}
