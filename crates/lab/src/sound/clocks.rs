//! A long call of somebody whose sound card's clock is not the others': their microphone and speaker are pipes of a
//! private PulseAudio, which this program fills and empties at a pace of its own. A tone goes both ways all the time,
//! with a chirp now and then: what comes out is looked through for clicks, gaps, and delay that grows.

use super::chirp::{Recording, chirp};
use super::ends::{Snug, serve};
use super::pulse::{Daemon, Kind, device};
use crate::delay::median;
use crate::tone::RATE;
use anyhow::{Context, Result};
use media::audio::measure::{rms, tone_share};
use serde::Serialize;
use serde_json::{Value, json};
use std::f32::consts::TAU;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::watch;

const SETTLE: Duration = Duration::from_secs(8);
const TICK: Duration = Duration::from_millis(10);
const HERTZ: f32 = 400.0;
const LOUD: f32 = 0.25;
/// Seconds from chirp to chirp.
const CHIRPS: u64 = 10;
/// A chirp is heard within so many seconds.
const WITHIN: f64 = 1.5;
/// The tone's own steepest step is a fifth of this.
const STEEP: f32 = 0.06;
/// Bytes that a pipe holds, 43 ms: of itself it would hold 0.7 s, as long would sound take through each, and
/// PulseAudio keeps as much again before a speaker that slow.
const PIPE: usize = 4096;
/// A second in which less than this is the tone is not clean.
const CLEAN: f32 = 0.97;

/// What is run, and with what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For how long.
    pub length: Duration,
    /// By how much the first person's sound card is too fast.
    pub parts_per_million: f64,
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
    /// Seconds in which there was nothing but the tone, no click and no gap; and seconds in all.
    pub clean: usize,
    /// See `clean`.
    pub seconds: usize,
    /// The least share of a second that was the tone.
    pub purest: f32,
    /// Seconds that were silent for 10 ms and more.
    pub gaps: usize,
    /// The seconds that were not clean.
    pub flaws: Vec<Second>,
    /// Chirps heard, and played.
    pub chirps: (usize, usize),
    /// Milliseconds from mouth to ear: median of the first minute's chirps, of the last minute's, and the most.
    pub delay: [f64; 3],
    /// Milliseconds guessed, left out and added by the receiving Snug.
    pub guessed: [f64; 3],
}

/// A second without a chirp.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Second {
    /// When it began, in seconds since the pipes were opened.
    pub at: f64,
    /// The tone's share of it.
    pub tone: f32,
    /// Whether something clicked.
    pub click: bool,
    /// Whether 10 ms and more were silent.
    pub gap: bool,
}

impl Second {
    fn clean(&self) -> bool {
        self.tone >= CLEAN && !self.click && !self.gap
    }
}

/// What was heard in [`CHIRPS`] seconds.
struct Stretch {
    seconds: Vec<Second>,
    /// Seconds from mouth to ear, where the chirp was heard.
    delay: Option<f64>,
}

/// Runs it.
///
/// # Errors
/// When a program is missing or ends, with what to do.
pub async fn run(plan: &Plan) -> Result<Vec<Way>> {
    let folder = tempfile::Builder::new().prefix("snug-lab-pipes-").tempdir()?;
    let pipe = |kind, who| folder.path().join(device(kind, who));
    let modules = (1..=2).flat_map(|who| {
        let form = "format=s16le rate=48000 channels=1";
        let (mic, ear) = (device(Kind::Mic, who), device(Kind::Ear, who));
        let (mic_file, ear_file) = (pipe(Kind::Mic, who), pipe(Kind::Ear, who));
        [
            format!("module-pipe-source source_name={mic} file={} {form}", mic_file.display()),
            format!("module-pipe-sink sink_name={ear} file={} {form}", ear_file.display()),
        ]
    });
    let daemon = Daemon::start(&modules.collect::<Vec<_>>())?;
    let fast = f64::from(RATE) * (1.0 + plan.parts_per_million / 1e6);
    let (rates, start) = ([fast, f64::from(RATE)], Instant::now());
    let (over, ended) = watch::channel(false);
    let mut ears = Vec::new();
    for who in 1..=2 {
        tokio::spawn(speak(pipe(Kind::Mic, who), Pace { rate: rates[who - 1], start }));
        let pace = Pace { rate: rates[who - 1], start };
        ears.push(tokio::spawn(hear(pipe(Kind::Ear, who), pace, ended.clone())));
    }
    let server = serve(&plan.server).await?;
    let stats = [1, 2].map(|who| daemon.path().join(format!("stats{who}.jsonl")));
    let mut people = Vec::new();
    for who in 1..=2 {
        let mut snug = Snug::start(&daemon, &plan.snug, &server, who, &stats[who - 1]).await?;
        // A steady tone is noise to whoever takes noise away.
        let plain = json!({"echo": false, "noise": "off", "gain": false, "music": false});
        snug.tell(&json!({"cmd": "processing", "processing": plain})).await?;
        people.push(snug);
    }
    tokio::time::sleep(SETTLE).await;
    let first = start.elapsed().as_secs() / CHIRPS + 1;
    let ended = async {
        let [one, two] = people.as_mut_slice() else { return Ok(()) };
        tokio::select! {
            ended = one.drain() => ended,
            ended = two.drain() => ended,
        }
    };
    if let Ok(ended) = tokio::time::timeout(plan.length, ended).await {
        ended?;
        anyhow::bail!("a snug ended early");
    }
    over.send(true)?;
    let names = ["the fast one hears", "the fast one is heard"];
    let mut ways = Vec::new();
    for ((ear, stats), name) in ears.into_iter().zip(&stats).zip(names) {
        let heard = ear.await??;
        ways.push(judge(name, heard.get(first as usize..).unwrap_or_default(), stats)?);
    }
    drop(people);
    Ok(ways)
}

/// A sound card's clock.
#[derive(Clone, Copy)]
struct Pace {
    /// Samples a second.
    rate: f64,
    start: Instant,
}

impl Pace {
    /// Samples that have passed by now.
    fn now(&self) -> u64 {
        (self.start.elapsed().as_secs_f64() * self.rate) as u64
    }

    /// The sample at which chirp `n` begins.
    fn chirp(&self, n: u64) -> u64 {
        (chirp_time(n) * self.rate) as u64
    }
}

/// When chirp `n` begins, in seconds: in the middle of its stretch.
fn chirp_time(n: u64) -> f64 {
    (n * CHIRPS) as f64 + CHIRPS as f64 / 2.0
}

/// A microphone: a tone at this pace, and chirps in its place.
async fn speak(file: PathBuf, pace: Pace) -> Result<()> {
    let mut pipe = pipe::OpenOptions::new().open_sender(file)?;
    rustix::pipe::fcntl_setpipe_size(&pipe, PIPE)?;
    let (one, mut at) = (chirp(LOUD), 0u64);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let until = pace.now();
        let sample = |n: u64| {
            let begins = pace.chirp((n as f64 / pace.rate) as u64 / CHIRPS);
            let within = n.checked_sub(begins).and_then(|n| one.get(n as usize));
            let tone = || ((n % u64::from(RATE)) as f32 * HERTZ * TAU / RATE as f32).sin() * LOUD;
            within.copied().unwrap_or_else(tone)
        };
        let bytes = (at..until).flat_map(|n| ((sample(n) * 32_767.0) as i16).to_le_bytes());
        pipe.write_all(&bytes.collect::<Vec<u8>>()).await?;
        at = until;
    }
}

/// A speaker: takes what it plays at this pace, until it is over.
async fn hear(file: PathBuf, pace: Pace, mut over: watch::Receiver<bool>) -> Result<Vec<Stretch>> {
    let mut pipe = pipe::OpenOptions::new().open_receiver(file)?;
    rustix::pipe::fcntl_setpipe_size(&pipe, PIPE)?;
    let (mut pcm, mut bytes, mut at, mut all) = (Vec::new(), Vec::new(), 0u64, Vec::new());
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = over.changed() => break,
            _ = ticks.tick() => {}
        }
        let until = pace.now();
        bytes.resize((until - at) as usize * 2, 0);
        tokio::select! {
            _ = over.changed() => break,
            read = pipe.read_exact(&mut bytes) => drop(read?),
        }
        pcm.extend(bytes.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0));
        at = until;
        let long = (CHIRPS as f64 * pace.rate) as usize;
        if pcm.len() >= long {
            let from = (at - pcm.len() as u64) as f64 / pace.rate;
            let (part, n) = (pcm.drain(..long).collect::<Vec<f32>>(), all.len() as u64);
            // Looking takes longer than the pipes hold.
            all.push(tokio::task::spawn_blocking(move || stretch(&part, from, pace.rate, n)));
        }
    }
    let mut looked = Vec::new();
    for stretch in all {
        looked.push(stretch.await?);
    }
    Ok(looked)
}

/// Looks through stretch `n`, which begins at `from` seconds.
fn stretch(pcm: &[f32], from: f64, rate: f64, n: u64) -> Stretch {
    let spoken = chirp_time(n) - from;
    let heard = Recording::new(pcm).find(spoken, spoken + WITHIN);
    // By our clock: a recording's seconds are of 48,000 samples.
    let delay = heard.map(|at| at * f64::from(RATE) / rate - spoken);
    let second = |n: usize| {
        let (begins, ends) = (n as f64, n as f64 + 1.0);
        let chirped = heard
            .map_or(begins < spoken + WITHIN && ends > spoken, |at| begins < at + 0.2 && ends > at - 0.1);
        let part = pcm.get(n * RATE as usize..(n + 1) * RATE as usize).filter(|_| !chirped)?;
        let steepest = part.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        let gap = part.chunks(480).any(|block| rms(block) < LOUD / 10.0);
        Some(Second { at: from + begins, tone: tone_share(part, HERTZ), click: steepest > STEEP, gap })
    };
    Stretch { seconds: (0..CHIRPS as usize).filter_map(second).collect(), delay }
}

fn judge(name: &str, heard: &[Stretch], stats: &Path) -> Result<Way> {
    let seconds = || heard.iter().flat_map(|stretch| &stretch.seconds);
    let delays: Vec<f64> = heard.iter().filter_map(|stretch| Some(stretch.delay? * 1000.0)).collect();
    let minute = (60 / CHIRPS as usize).min(delays.len());
    let early = median(&delays[..minute]).with_context(|| format!("{name}: no chirp was heard"))?;
    let late = median(&delays[delays.len() - minute..]).unwrap_or(early);
    let text = std::fs::read_to_string(stats)?;
    let figures = |line: &str| {
        let all: Value = serde_json::from_str(line).ok()?;
        let sound = &all["participants"][0]["inboundAudio"];
        let names = ["concealedSamples", "removedSamplesForAcceleration", "insertedSamplesForDeceleration"];
        let [a, b, c] = names.map(|name| sound[name].as_f64().map(|samples| samples / 48.0));
        Some([a?, b?, c?])
    };
    let lines: Vec<[f64; 3]> = text.lines().filter_map(figures).collect();
    let settled = lines.get(SETTLE.as_secs() as usize).context("there are no figures")?;
    let last = lines.last().unwrap_or(settled);
    Ok(Way {
        name: name.into(),
        clean: seconds().filter(|second| second.clean()).count(),
        seconds: seconds().count(),
        purest: seconds().map(|second| second.tone).fold(1.0, f32::min),
        gaps: seconds().filter(|second| second.gap).count(),
        flaws: seconds().filter(|second| !second.clean()).copied().collect(),
        chirps: (delays.len(), heard.len()),
        delay: [early, late, delays.iter().copied().fold(0.0, f64::max)],
        guessed: std::array::from_fn(|n| last[n] - settled[n]),
    })
}

/// The table.
pub fn markdown(ways: &[Way]) -> String {
    let mut out = String::from(
        "| | clean seconds | least share of the tone | seconds with a gap | chirps heard \
         | delay in the first minute, in the last, at most, ms | guessed, left out, added, ms |\n",
    );
    out.push_str("|---|---|---|---|---|---|---|\n");
    for Way { name, clean, seconds, purest, gaps, chirps, delay, guessed, .. } in ways {
        let three = |all: &[f64; 3]| all.map(|ms| format!("{ms:.0}")).join(", ");
        let (heard, played) = chirps;
        // Writing to a text does not fail.
        let _ = writeln!(
            out,
            "| {name} | {clean}/{seconds} | {purest:.3} | {gaps} | {heard}/{played} | {} | {} |",
            three(delay),
            three(guessed),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stretch 3 as it is heard after `delay` seconds, at the clock of `rate`.
    fn heard(delay: f64, rate: f64, change: impl Fn(usize, f32) -> f32) -> Stretch {
        let (one, begins) = (chirp(LOUD), (delay + chirp_time(0)) * rate);
        let sample = |n: usize| {
            let tone = (n as f32 * HERTZ * TAU / RATE as f32).sin() * LOUD;
            change(n, n.checked_sub(begins as usize).and_then(|n| one.get(n).copied()).unwrap_or(tone))
        };
        let pcm: Vec<f32> = (0..(CHIRPS as f64 * rate) as usize).map(sample).collect();
        stretch(&pcm, 3.0 * CHIRPS as f64, rate, 3)
    }

    #[test]
    fn a_clean_stretch_is_clean_and_its_delay_is_found_by_either_clock() {
        for rate in [48_000.0, 48_009.6] {
            let stretch = heard(0.123, rate, |_, x| x);
            assert!((stretch.delay.unwrap() - 0.123).abs() < 0.001, "{:?}", stretch.delay);
            assert!(stretch.seconds.len() >= 8);
            assert!(stretch.seconds.iter().all(Second::clean), "{:?}", stretch.seconds);
        }
    }

    #[test]
    fn a_click_and_a_gap_are_seen() {
        let stretch = heard(0.1, 48_000.0, |n, x| match n {
            // A packet, and a bit: a block of 10 ms is silent wherever it begins.
            100_000..101_000 => 0.0,
            20_000 => x + 0.1,
            _ => x,
        });
        let seen: Vec<(bool, bool)> = stretch.seconds[..2].iter().map(|s| (s.click, s.gap)).collect();
        assert_eq!(seen, [(true, false), (false, false)]);
        assert!(stretch.seconds[2].gap);
    }
}
