//! Two Snugs for the quick bench.

use super::{Figures, Seen, Stage};
use crate::delay::{Sighting, delays, filled};
use crate::ends::server::Server;
use crate::ends::snug::{Setting, Snug, picture_of_other};
use crate::ends::unix_us;
use crate::link::Host;
use crate::mark::read_mark;
use crate::y4m::Reader;
use anyhow::{Context, Result};
use serde_json::json;
use std::fs::File;
use std::io::BufReader as FileReader;
use std::path::{Path, PathBuf};

/// Unix time in microseconds, from and to.
type Span = (u64, u64);

pub(super) async fn call(stage: &Stage) -> Result<Figures> {
    let server = Server::start(&stage.link, &stage.plan.server).await?;
    let (mut first, one) = start(stage, &server.url, Host::First, "quick").await?;
    let (mut second, two) = start(stage, &server.url, Host::Second, "elsewhere").await?;
    let clicked = unix_us();
    second.tell(&json!({"cmd": "join", "server": server.url, "room": "quick", "name": "Second"})).await?;
    second.event("first_frame").await?;
    first.event("first_frame").await?;
    tokio::time::sleep(stage.plan.settle).await;
    let from = unix_us();
    tokio::time::sleep(stage.plan.sample).await;
    let span = (from, unix_us());
    let cost = stage.cost([first.pid()?, second.pid()?]).await?;
    first.leave().await?;
    second.leave().await?;
    let seen = tokio::task::spawn_blocking(move || look([&one, &two], clicked, span)).await??;
    stage.figures(&seen, &cost)
}

/// A Snug, and the folder of what it shows.
async fn start(stage: &Stage, url: &str, host: Host, room: &str) -> Result<(Snug, PathBuf)> {
    let folder = stage.folder.path().join(format!("{host:?}"));
    std::fs::create_dir(&folder)?;
    let (program, clip, voice) = (&*stage.plan.snug, &*stage.clip, &*stage.voice);
    let url = Some(url);
    let setting = Setting { program, url, room, clip, voice, folder: &folder, size: None, recorded: false };
    Ok((Snug::start(&stage.link, host, &setting).await?, folder))
}

/// Reads what both showed.
fn look(folders: [&Path; 2], clicked: u64, span: Span) -> Result<Seen> {
    let mut delays_of_both = Vec::new();
    let (mut rate, mut size, mut looked_at) = (0.0, (0, 0), 0);
    for (from, to) in [(folders[0], folders[1]), (folders[1], folders[0])] {
        let mut source = sightings(&from.join("self.y4m"))?.0;
        source.retain(|sighting| sighting.number != u32::MAX);
        let (shown, shown_size) = sightings(&picture_of_other(to)?)?;
        let within: Vec<_> = shown.iter().filter(|s| (span.0..span.1).contains(&s.at_us)).copied().collect();
        delays_of_both.extend(delays(&filled(&source), &within));
        looked_at += within.len();
        rate += within.len() as f64 * 1e6 / (span.1 - span.0) as f64 / 2.0;
        size = shown_size;
    }
    let first = sightings(&picture_of_other(folders[1])?)?.0.first().context("the second saw nothing")?.at_us;
    let join_ms = first.saturating_sub(clicked) as f64 / 1000.0;
    Ok(Seen { join_ms, delays: delays_of_both, looked_at, frames_per_second: rate, size })
}

/// When each frame of a file was shown, and the size of its pictures. Frames whose mark cannot be read count
/// as frames of number `u32::MAX`: they were shown.
fn sightings(path: &Path) -> Result<(Vec<Sighting>, (u32, u32))> {
    let context = || format!("{} cannot be read", path.display());
    let mut reader =
        Reader::new(FileReader::new(File::open(path).with_context(context)?)).with_context(context)?;
    let (mut seen, mut size) = (Vec::new(), (0, 0));
    while let Some(frame) = reader.next_frame().with_context(context)? {
        let at_us = frame.at_us.context("a frame does not say when it was shown")?;
        let number = read_mark(&frame.picture).map_or(u32::MAX, |mark| mark.number);
        seen.push(Sighting { number, at_us });
        size = (frame.picture.width(), frame.picture.height());
    }
    Ok((seen, size))
}
