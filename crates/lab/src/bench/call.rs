//! One call over one network: set up, schedule played, everything brought home.

use super::analyse::{Direction, Span};
use super::end::{End, Home};
use super::figures::{Cost, Figures, Series};
use super::happening::{self, Begun};
use super::record::Source;
use super::scenario::Scenario;
use super::{Pair, Stage};
use crate::ends::server::Server;
use crate::ends::unix_us;
use crate::link::{Conditions, Host, Link, Step, Trace, Way};
use crate::procs::{CpuTimes, pss_of_tree};
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};

/// Under the first step's conditions before anything is measured.
const WARM_UP: Duration = Duration::from_secs(5);

/// What a call gave, for each direction: from the first host, and from the second.
pub(super) struct Outcome {
    pub(super) directions: [(Figures, Series); 2],
    /// What was heard of each while it was measured, at 48 kHz.
    pub(super) heard: [Vec<f32>; 2],
}

/// What there is of a call when it is over, by host.
struct Haul {
    span: Span,
    homes: [Home; 2],
    traces: [Trace; 2],
    costs: [Cost; 2],
    download_kbps: [Option<f64>; 2],
}

/// Makes a call.
pub(super) async fn run(stage: &Stage, pair: Pair, scenario: &Scenario, seed: u64) -> Result<Outcome> {
    let folder = tempfile::Builder::new().prefix("call-").tempdir_in(stage.folder.path())?;
    let link = Link::up(easy(seed))?;
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
    let haul = measure(stage, &link, [first, second], scenario, seed).await?;
    let (clip, scenario) = (stage.clip.clone(), scenario.clone());
    tokio::task::spawn_blocking(move || haul.analyse(&clip, &scenario)).await?
}

/// What holds before and after.
fn easy(seed: u64) -> Conditions {
    Conditions { seed, ..Conditions::both(Way::delay(Duration::from_millis(10))) }
}

async fn measure(stage: &Stage, link: &Link, ends: [End; 2], scenario: &Scenario, seed: u64) -> Result<Haul> {
    for end in &ends {
        end.record().await?;
    }
    link.play(&steps(scenario, seed));
    tokio::time::sleep(WARM_UP).await;
    let roots = [ends[0].pid()?, ends[1].pid()?];
    let cpu = || -> Result<_> { Ok([CpuTimes::of_tree(roots[0])?, CpuTimes::of_tree(roots[1])?]) };
    let (start, start_us, before) = (Instant::now(), unix_us(), cpu()?);
    let begun = happening::start(stage, link, scenario).await?;
    tokio::time::sleep_until((start + scenario.lasts()).into()).await;
    let (after, traces) = (cpu()?, link.traces());
    let mut costs = [Cost::default(); 2];
    for (side, cost) in costs.iter_mut().enumerate() {
        cost.cpu = after[side].since(&before[side]) / scenario.lasts().as_secs_f64();
        cost.pss_megabytes = pss_of_tree(roots[side])? as f64 / 1e6;
    }
    // Goodbyes are said over a good link.
    link.set(easy(seed));
    let [first, second] = ends;
    let homes = [first.bring_home().await?, second.bring_home().await?];
    let span = span(scenario, start, start_us, &begun);
    Ok(Haul { span, homes, traces, costs, download_kbps: begun.kbps().await? })
}

impl Haul {
    /// Reads all that was recorded, and makes figures of it.
    fn analyse(self, clip: &Path, scenario: &Scenario) -> Result<Outcome> {
        let Self { span, homes, traces, costs, download_kbps } = self;
        let [one, two] = homes;
        let records = [one.read()?, two.read()?];
        let mut clip = Source::open(clip)?;
        let mut direction = |from: usize| {
            let (to, trace, cost) = (&records[1 - from], &traces[from], costs[from]);
            Direction { scenario, span: &span, from: &records[from], to, trace, cost }.figures(&mut clip)
        };
        let mut directions = [direction(0)?, direction(1)?];
        for ((figures, _), got) in directions.iter_mut().zip(download_kbps) {
            figures.net.download_kbps = got;
        }
        let heard = [1, 0].map(|at: usize| records[at].heard_within(&span.us).to_vec());
        Ok(Outcome { directions, heard })
    }
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
        Begun::Nothing | Begun::Downloads(_) => None,
    };
    let end_us = start_us + scenario.lasts().as_micros() as u64;
    Span { start, us: start_us..end_us, mended_us: moved.or(outage_over), fresh: moved.is_some() }
}
