//! An end of a call in a world, whichever program it is: `snug`, or Chromium at the guest's page.

use super::guest::Guest;
use super::person::Person;
use super::servers::Servers;
use super::world::{SERVER, SERVER_V6};
use super::{Kind, Programs};
use crate::ends::snug::picture_of_other;
use crate::y4m::Reader;
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

/// Nobody waits longer for a call to come up.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// What runs at an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// The app, without its window.
    Snug,
    /// Headless Chromium at the guest's page.
    Guest,
}

/// Where an end is, and what it has.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The namespace.
    pub(super) host: &'a str,
    pub(super) kind: Kind,
    pub(super) programs: &'a Programs,
    pub(super) servers: &'a Servers,
    /// Its own, for what it writes.
    pub(super) folder: &'a Path,
    /// What its camera shows; without, a Snug has none, and pictures are not kept.
    pub(super) clip: Option<&'a Path>,
}

impl Place<'_> {
    /// The room server as somebody with this access reaches it.
    pub(super) fn url(&self) -> String {
        match self.kind {
            Kind::V6 => format!("https://[{SERVER_V6}]"),
            _ => format!("https://{SERVER}"),
        }
    }
}

/// One end's view of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathSeen {
    pub(super) local: String,
    pub(super) remote: String,
    pub(super) relayed: bool,
}

/// It ends when dropped.
pub(super) enum End {
    Snug(Box<Person>),
    Guest(Box<Guest>),
}

impl End {
    /// In the room; `more` are further arguments of a `snug`.
    pub(super) async fn join(program: Program, place: &Place<'_>, more: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(place.folder)?;
        Ok(match program {
            Program::Snug => Self::Snug(Box::new(Person::join(place, more).await?)),
            Program::Guest => Self::Guest(Box::new(Guest::join(place).await?)),
        })
    }

    /// Media may flow.
    pub(super) async fn connected(&mut self) -> Result<()> {
        match self {
            Self::Snug(person) => person.connected().await,
            Self::Guest(guest) => guest.connected().await,
        }
    }

    /// Milliseconds from its wish to join to the other's first sound.
    pub(super) async fn first_sound(&mut self) -> Result<f64> {
        match self {
            Self::Snug(person) => person.first_sound().await,
            Self::Guest(guest) => guest.first_sound().await,
        }
    }

    /// The other's picture is there.
    pub(super) async fn first_picture(&mut self) -> Result<()> {
        match self {
            Self::Snug(person) => person.first_picture().await,
            Self::Guest(guest) => guest.first_picture().await,
        }
    }

    /// Lets it run; returns only with what ends it.
    pub(super) async fn listen(&mut self) -> Result<()> {
        match self {
            Self::Snug(person) => person.listen().await,
            Self::Guest(_) => std::future::pending().await,
        }
    }

    /// The path in use.
    pub(super) async fn path(&self) -> Result<PathSeen> {
        match self {
            Self::Snug(person) => person.path(),
            Self::Guest(guest) => guest.path().await,
        }
    }

    /// Leaves. When the other's pictures were shown, Unix time in microseconds; none where there is no clip.
    pub(super) async fn leave(self, place: &Place<'_>) -> Result<Vec<u64>> {
        match self {
            Self::Snug(person) => {
                person.leave().await?;
                if place.clip.is_some() { shown_in(place.folder) } else { Ok(Vec::new()) }
            }
            Self::Guest(guest) => guest.leave().await,
        }
    }
}

/// When the pictures were shown that a `snug` wrote to a folder.
fn shown_in(folder: &Path) -> Result<Vec<u64>> {
    let mut reader = Reader::new(BufReader::new(File::open(picture_of_other(folder)?)?))?;
    let mut all = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        all.push(frame.at_us.context("a frame does not say when it was shown")?);
    }
    Ok(all)
}
