//! An end of a measured call, Snug or Chromium: started, recorded, brought home.

use super::record::{Record, SIZE};
use super::{Kind, Stage, guest};
use crate::ends::chromium::{self, Chromium};
use crate::ends::snug::{self, Snug};
use crate::ends::{PATIENCE, unix_us};
use crate::link::{Host, Link};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const ROOM: &str = "bench";

/// Either program, in its call.
pub(super) enum End {
    Snug { snug: Box<Snug>, folder: PathBuf },
    Chromium(Box<Chromium>),
}

/// Where to read what an end recorded.
pub(super) enum Home {
    Snug { folder: PathBuf, ended_us: u64 },
    Chromium(Box<guest::Fetched>),
}

impl Home {
    pub(super) fn read(self) -> Result<Record> {
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
    pub(super) async fn start(
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
                let snug = Box::new(Snug::start(link, host, &setting).await?);
                Ok(Self::Snug { snug, folder })
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
    pub(super) fn server(&self) -> Option<String> {
        match self {
            Self::Snug { snug, .. } => Some(snug.link.strip_suffix(&format!("/{ROOM}"))?.to_owned()),
            Self::Chromium(_) => None,
        }
    }

    pub(super) async fn sees_other(&mut self) -> Result<()> {
        match self {
            Self::Snug { snug, .. } => snug.event("first_frame").await.map(drop).context("no picture came"),
            Self::Chromium(end) => guest::sees_other(end).await,
        }
    }

    pub(super) fn pid(&self) -> Result<u32> {
        match self {
            Self::Snug { snug, .. } => snug.pid(),
            Self::Chromium(end) => Ok(end.browser.pid()),
        }
    }

    /// From now on what is seen and heard is kept; a Snug keeps it always.
    pub(super) async fn record(&self) -> Result<()> {
        match self {
            Self::Snug { .. } => Ok(()),
            Self::Chromium(end) => end.page.evaluate("lab.start()").await.map(drop),
        }
    }

    pub(super) async fn bring_home(self) -> Result<Home> {
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
