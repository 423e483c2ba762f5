//! One call over one network: set up, schedule played, everything brought home.

use super::analyse::{Direction, Span};
use super::figures::{Cost, Figures, Series};
use super::happening::{self, Begun};
use super::record::{Record, SIZE, Source};
use super::scenario::Scenario;
use super::{Kind, Pair, Stage, guest};
use crate::ends::chromium::{self, Chromium};
use crate::ends::server::Server;
use crate::ends::snug::{self, Snug};
use crate::ends::{PATIENCE, unix_us};
use crate::link::{Conditions, Host, Link, Step, Way};
use crate::procs::{CpuTimes, pss_of_tree};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Under the first step's conditions before anything is measured.
const WARM_UP: Duration = Duration::from_secs(5);
const ROOM: &str = "bench";

/// Either program, in its call.
enum End {
    Snug { snug: Snug, folder: PathBuf },
    Chromium(Box<Chromium>),
}

/// What a call gave, for each direction: from the first host, and from the second.
pub(super) struct Outcome {
    pub(super) directions: [(Figures, Series); 2],
    /// What was heard of each while it was measured, at 48 kHz.
    pub(super) heard: [Vec<f32>; 2],
}

/// Makes a call.
pub(super) async fn run(stage: &Stage, pair: Pair, scenario: &Scenario, seed: u64) -> Result<Outcome> {
    let folder = tempfile::Builder::new().prefix("call-").tempdir_in(stage.folder.path())?;
    let easy = Way::delay(Duration::from_millis(10));
    let link = Link::up(Conditions { seed, ..Conditions::both(easy) })?;
    let server = match &stage.programs.server {
        Some(program) => Some(Server::start(&link, program).await?),
        None => None,
    };
    let url = server.as_ref().map(|server| &*server.url);
    let [one, two] = pair.kinds();
    let mut first = End::start(stage, &link, Host::First, one, url, folder.path()).await?;
    let inside = first.server();
    let url = url.or(inside.as_deref());
    let mut second = End::start(stage, &link, Host::Second, two, url, folder.path()).await?;
    second.sees_other().await?;
    first.sees_other().await?;
    first.record().await?;
    second.record().await?;
    link.play(&steps(scenario, seed));
    tokio::time::sleep(WARM_UP).await;
    let roots = [first.pid()?, second.pid()?];
    let cpu = || -> Result<_> { Ok([CpuTimes::of_tree(roots[0])?, CpuTimes::of_tree(roots[1])?]) };
    let (start, start_us, before) = (Instant::now(), unix_us(), cpu()?);
    let begun = happening::start(stage, &link, scenario).await?;
    let span = span(scenario, start, start_us, &begun);
    tokio::time::sleep_until((start + scenario.lasts()).into()).await;
    let after = cpu()?;
    let costs = [0, 1].map(|end| -> Result<Cost> {
        Ok(Cost {
            cpu: after[end].since(&before[end]) / span.seconds(),
            pss_megabytes: pss_of_tree(roots[end])? as f64 / 1e6,
        })
    });
    let traces = link.traces();
    // Goodbyes are said over a good link.
    link.set(Conditions { seed, ..Conditions::both(Way::delay(Duration::from_millis(10))) });
    let (one, two) = (first.bring_home().await?, second.bring_home().await?);
    let [cost_one, cost_two] = costs;
    let costs = [cost_one?, cost_two?];
    let download_kbps = begun.kbps().await?;
    let (clip, scenario) = (stage.clip.clone(), scenario.clone());
    let analyse = move || -> Result<Outcome> {
        let records = [one.read()?, two.read()?];
        let mut clip = Source::open(&clip)?;
        let mut direction = |from: usize| {
            let (to, trace, cost) = (&records[1 - from], &traces[from], costs[from]);
            Direction { scenario: &scenario, span: &span, from: &records[from], to, trace, cost }
                .figures(&mut clip)
        };
        let mut directions = [direction(0)?, direction(1)?];
        directions[0].0.net.download_kbps = download_kbps;
        let heard = [1, 0].map(|at: usize| records[at].heard_within(&span.us).to_vec());
        Ok(Outcome { directions, heard })
    };
    tokio::task::spawn_blocking(analyse).await?
}

/// The schedule, its first step begun early for the warming up.
fn steps(scenario: &Scenario, seed: u64) -> Vec<Step> {
    let step = |(index, (seconds, way)): (usize, &(f64, Way))| {
        let early = if index == 0 { WARM_UP } else { Duration::ZERO };
        let conditions = Conditions { seed, ..Conditions::both(way.clone()) };
        Step { lasts: early + Duration::from_secs_f64(*seconds), conditions }
    };
    scenario.steps.iter().enumerate().map(step).collect()
}

fn span(scenario: &Scenario, start: Instant, start_us: u64, begun: &Begun) -> Span {
    let outage = scenario.steps.iter().rposition(|(_, way)| way.outage);
    let outage_over = outage.map(|index| {
        let seconds: f64 = scenario.steps[..=index].iter().map(|(seconds, _)| seconds).sum();
        start_us + (seconds * 1e6) as u64
    });
    let moved = match begun {
        Begun::Moved(at_us) => Some(*at_us),
        Begun::Nothing | Begun::Download(_) => None,
    };
    let end_us = start_us + scenario.lasts().as_micros() as u64;
    Span { start, us: start_us..end_us, mended_us: moved.or(outage_over), fresh: moved.is_some() }
}

/// Where to read what an end recorded.
enum Home {
    Snug { folder: PathBuf, ended_us: u64 },
    Chromium(Box<guest::Fetched>),
}

impl Home {
    fn read(self) -> Result<Record> {
        match self {
            Self::Snug { folder, ended_us } => {
                let record = Record::of_snug(&folder, ended_us)?;
                std::fs::remove_dir_all(folder)?;
                Ok(record)
            }
            Self::Chromium(fetched) => fetched.record(),
        }
    }
}

impl End {
    async fn start(
        stage: &Stage,
        link: &Link,
        host: Host,
        kind: Kind,
        url: Option<&str>,
        folder: &Path,
    ) -> Result<Self> {
        match kind {
            Kind::Snug => {
                let folder = folder.join(format!("{host:?}"));
                std::fs::create_dir(&folder)?;
                let setting = snug::Setting {
                    program: &stage.programs.snug,
                    url,
                    room: ROOM,
                    clip: &stage.clip,
                    voice: &stage.voice,
                    folder: &folder,
                    size: Some(SIZE),
                    recorded: true,
                };
                Ok(Self::Snug { snug: Snug::start(link, host, &setting).await?, folder })
            }
            Kind::Chromium => {
                let (clip, voice) = (&*stage.clip, &*stage.voice);
                let url = url.context("a browser has no server inside: name one")?;
                let setting = chromium::Setting { url, room: ROOM, clip, voice, script: guest::RECORD_JS };
                let end = Chromium::open(link, host, &setting).await?;
                end.page.click("#join").await?;
                end.page.wait_for("!!snug.room", PATIENCE).await?;
                Ok(Self::Chromium(Box::new(end)))
            }
        }
    }

    /// The address of the server inside, if this one has it.
    fn server(&self) -> Option<String> {
        match self {
            Self::Snug { snug, .. } => Some(snug.link.strip_suffix(&format!("/{ROOM}"))?.to_owned()),
            Self::Chromium(_) => None,
        }
    }

    async fn sees_other(&mut self) -> Result<()> {
        match self {
            Self::Snug { snug, .. } => snug.event("first_frame").await.map(drop).context("no picture came"),
            Self::Chromium(end) => guest::sees_other(end).await,
        }
    }

    fn pid(&self) -> Result<u32> {
        match self {
            Self::Snug { snug, .. } => snug.pid(),
            Self::Chromium(end) => Ok(end.browser.pid()),
        }
    }

    /// From now on what is seen and heard is kept; a Snug keeps it always.
    async fn record(&self) -> Result<()> {
        match self {
            Self::Snug { .. } => Ok(()),
            Self::Chromium(end) => end.page.evaluate("lab.start()").await.map(drop),
        }
    }

    async fn bring_home(self) -> Result<Home> {
        match self {
            Self::Snug { snug, folder } => {
                let ended_us = unix_us();
                snug.leave().await?;
                Ok(Home::Snug { folder, ended_us })
            }
            Self::Chromium(end) => Ok(Home::Chromium(Box::new(guest::fetch(&end).await?))),
        }
    }
}
