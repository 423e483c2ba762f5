//! From mouth to ear: chirps are played into one side's microphone and looked for in what the other side's speaker
//! plays, on null sinks of a private PulseAudio, with all of a real call between.

use super::chirp::{Recording, chirps};
use super::ends::{Player, Recorder, Screen, Snug, serve};
use super::pulse::{Daemon, Kind, device};
use super::wire::{self, Tap};
use crate::browser::{Browser, Options, Page};
use crate::delay::percentile;
use crate::ends::server::Server;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// Chirps are not a whole number of packets apart.
const SPACING: f32 = 1.013;
/// A chirp that is not heard within this was not heard.
const WITHIN: f64 = 0.9;
const AMPLITUDE: f32 = 0.4;
/// Milliseconds of a packet, and of what Opus looks ahead. A chirp begins anywhere in a packet.
const PACKET: f64 = 20.0;
const LOOKAHEAD: f64 = 6.5;
/// The call runs for so long before anything counts: delays settle.
const SETTLE: Duration = Duration::from_secs(8);

/// What is measured, and with what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Chirps in each direction.
    pub chirps: usize,
    /// The programs.
    pub snug: PathBuf,
    /// See `snug`.
    pub server: PathBuf,
}

/// One direction.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// From whom to whom.
    pub name: String,
    /// Chirps played, and found.
    pub played: usize,
    /// See `played`.
    pub found: usize,
    /// Milliseconds from mouth to ear: median, 95th percentile, least and most; none where nothing was heard.
    pub delay: Option<[f64; 4]>,
    /// Of these, milliseconds in the receiving Snug's jitter buffer; none where that is Chromium.
    pub jitter_buffer: Option<f64>,
    /// Milliseconds from the mouth to the first packet with sound on the wire, mean, without what the packet itself
    /// takes: the microphone's share, what cleaning holds back included, and up to what Opus looks ahead too much,
    /// since a chirp that begins that late in a packet shows in the next one. None where nothing passes a wire.
    pub to_wire: Option<f64>,
    /// What is left of the delay without that, the packet, Opus and the jitter buffer: the speaker's share. None where
    /// that is Chromium's, whose jitter buffer is not known.
    pub from_buffer: Option<f64>,
}

impl Way {
    /// With what sound usually waited in the receiving Snug's jitter buffer.
    fn buffered(mut self, milliseconds: f64) -> Self {
        let mine = self.delay.zip(self.to_wire);
        self.from_buffer =
            mine.map(|(delay, to_wire)| delay[0] - to_wire - PACKET - LOOKAHEAD - milliseconds);
        self.jitter_buffer = Some(milliseconds);
        self
    }
}

/// Measures all directions, how far apart two recordings of the same thing are, and what the sound server takes
/// without us.
///
/// # Errors
/// When a program is missing or ends, with what to do.
pub async fn run(plan: &Plan) -> Result<Vec<Way>> {
    let daemon = Daemon::for_two()?;
    // A null sink plays two seconds ahead while nobody asks for less, which no sound card does.
    let _awake = awake(&daemon)?;
    // Chromium's, from the beginning: a change of the default takes streams with it that were on the old one.
    daemon.control(&["set-default-source", &device(Kind::Mic, 2)])?;
    daemon.control(&["set-default-sink", &device(Kind::Ear, 2)])?;
    let mut ways = vec![itself(&daemon, plan).await?, server_alone(&daemon, plan).await?];
    let server = serve(&plan.server).await?;
    let stats = [1, 2].map(|who| daemon.path().join(format!("stats{who}.jsonl")));
    let one = Snug::start(&daemon, &plan.snug, &server, 1, &stats[0]).await?;
    let two = Snug::start(&daemon, &plan.snug, &server, 2, &stats[1]).await?;
    tokio::time::sleep(SETTLE).await;
    let way = listen(&daemon, plan, 1, 2, "Snug to Snug").await?;
    ways.push(way.buffered(jitter_buffer(&stats[1])?));
    drop((one, two));

    let server = serve(&plan.server).await?;
    let one = Snug::start(&daemon, &plan.snug, &server, 1, &stats[0]).await?;
    let screen = Screen::start().await?;
    let (browser, _) = chromium(&daemon, &server, &screen, "").await?;
    tokio::time::sleep(SETTLE).await;
    ways.push(listen(&daemon, plan, 1, 2, "Snug to Chromium").await?);
    let way = listen(&daemon, plan, 2, 1, "Chromium to Snug").await?;
    ways.push(way.buffered(jitter_buffer(&stats[0])?));
    drop((one, browser, screen));
    Ok(ways)
}

/// Listeners at both ears, who want to hear at once.
fn awake(daemon: &Daemon) -> Result<[Recorder; 2]> {
    let [one, two] = [1, 2].map(|who| Recorder::start(daemon, &device(Kind::Ear, who)));
    Ok([one?, two?])
}

/// A browser in the room, with the default devices, and its page, in which `script` ran before all else.
pub(super) async fn chromium(
    daemon: &Daemon,
    server: &Server,
    screen: &Screen,
    script: &str,
) -> Result<(Browser, Page)> {
    let environment = daemon.environment().into_iter().filter(|(name, _)| name != "HOME").collect();
    let display = Some(screen.name.clone());
    let options = Options { devices: 0, environment, display, ..Options::default() };
    let browser = Browser::launch(&options).await?;
    let page = browser.page().await?;
    page.before_load(script).await?;
    page.navigate(&format!("{}/tea", server.url)).await?;
    page.wait_for("snug.media.live('audio')", PATIENCE).await.context("Chromium has no microphone")?;
    page.fill("#name", "Gus").await?;
    page.click("#join").await?;
    page.wait_for("document.body.dataset.view === 'call'", PATIENCE).await?;
    Ok((browser, page))
}

/// The same recorded twice: what the figures cannot tell apart.
async fn itself(daemon: &Daemon, plan: &Plan) -> Result<Way> {
    let mouth = device(Kind::Mouth, 1);
    between(daemon, plan, 1, [&mouth, &mouth], "a recording of itself").await
}

/// What the sound server takes of it: the same microphone copied to the same speaker by the server itself, which is to
/// hold as much as Snug's streams ask for, 5 ms at the microphone and 20 at the speaker.
async fn server_alone(daemon: &Daemon, plan: &Plan) -> Result<Way> {
    let ends = [format!("source={}", device(Kind::Mic, 1)), format!("sink={}", device(Kind::Ear, 2))];
    daemon.control(&["load-module", "module-loopback", &ends[0], &ends[1], "latency_msec=25"])?;
    tokio::time::sleep(SETTLE).await;
    let way = listen(daemon, plan, 1, 2, "PulseAudio alone").await;
    daemon.control(&["unload-module", "module-loopback"])?;
    way
}

async fn listen(daemon: &Daemon, plan: &Plan, from: usize, to: usize, name: &str) -> Result<Way> {
    let (mouth, ear) = (device(Kind::Mouth, from), device(Kind::Ear, to));
    between(daemon, plan, from, [&mouth, &ear], name).await
}

async fn between(daemon: &Daemon, plan: &Plan, who: usize, sinks: [&str; 2], name: &str) -> Result<Way> {
    eprintln!("lab: {name} …");
    let tap = Tap::start().inspect_err(|error| eprintln!("lab: {error}"));
    let [mouth, ear] = sinks.map(|sink| Recorder::start(daemon, sink));
    let (mouth, ear) = (mouth?, ear?);
    Player::start(daemon, who, &chirps(plan.chirps, SPACING, AMPLITUDE))?.finish().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ((spoken, began), (heard, heard_began)) = (mouth.finish().await?, ear.finish().await?);
    let passed = tap.map_or_else(|_| Ok(Vec::new()), Tap::finish)?;
    let apart = if heard_began >= began {
        (heard_began - began).as_secs_f64()
    } else {
        -(began - heard_began).as_secs_f64()
    };
    let (spoken, heard) = (Recording::new(&spoken), Recording::new(&heard));
    let spoken = spoken.all(f64::from(SPACING));
    let delay = |at: &f64| Some(heard.find(at - apart, at - apart + WITHIN)? + apart - at);
    let found: Vec<f64> = spoken.iter().filter_map(delay).map(|delay| delay * 1000.0).collect();
    ensure!(
        spoken.len().abs_diff(plan.chirps) <= 1,
        "{} of {} chirps were spoken",
        spoken.len(),
        plan.chirps
    );
    let moments: Vec<_> = spoken.iter().map(|at| began + Duration::from_secs_f64(*at)).collect();
    let waited = wire::first_after(&passed, &moments, WITHIN);
    let to_wire = waited.iter().sum::<f64>() * 1000.0 / waited.len() as f64 - PACKET / 2.0;
    let at = |share: f64| percentile(&found, share);
    let delay = at(0.5).zip(at(0.95)).zip(at(0.0).zip(at(1.0)));
    Ok(Way {
        name: name.into(),
        played: spoken.len(),
        found: found.len(),
        delay: delay.map(|((median, p95), (least, most))| [median, p95, least, most]),
        jitter_buffer: None,
        to_wire: (waited.len() * 2 > spoken.len()).then_some(to_wire),
        from_buffer: None,
    })
}

/// What sound usually waited in the jitter buffer, milliseconds, by a Snug's own figures.
fn jitter_buffer(stats: &Path) -> Result<f64> {
    let text = std::fs::read_to_string(stats)?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let delay = |line: serde_json::Value| {
        let sound = &line["participants"][0]["inboundAudio"];
        sound["jitterBufferDelay"].as_f64().map(|seconds| seconds * 1000.0)
    };
    let delays: Vec<f64> = lines.filter_map(delay).filter(|delay| *delay > 0.0).collect();
    percentile(&delays, 0.5).with_context(|| format!("{} tells nothing of sound", stats.display()))
}

/// The table.
pub fn markdown(ways: &[Way]) -> String {
    let mut out = String::from(
        "| | chirps heard | median, ms | p95 | least–most | microphone to wire, without the packet | jitter buffer \
         | and from there to the speaker |\n",
    );
    out.push_str("|---|---|---|---|---|---|---|---|\n");
    for Way { name, played, found, delay, jitter_buffer, to_wire, from_buffer } in ways {
        let delay = delay.map_or("- | - | -".into(), |[median, p95, least, most]| {
            format!("{median:.1} | {p95:.1} | {least:.1}–{most:.1}")
        });
        let [to_wire, buffer, from_buffer] = [to_wire, jitter_buffer, from_buffer]
            .map(|part| part.map_or("-".into(), |ms| format!("{ms:.0}")));
        // Writing to a text does not fail.
        let _ =
            writeln!(out, "| {name} | {found}/{played} | {delay} | {to_wire} | {buffer} | {from_buffer} |");
    }
    out
}
