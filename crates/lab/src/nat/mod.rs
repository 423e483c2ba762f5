//! Calls through NATs of every kind: hosts in network namespaces, routers with nftables, a public network
//! with the servers; every pair of kinds, several joins each, and hosts that change from one network to another
//! in a call. Needs root, `ip` and `nft`, and coturn for its own TURN.

mod end;
mod guest;
mod hand_over;
mod kind;
mod person;
mod rules;
mod servers;
mod table;
mod world;

pub use end::Program;
pub use hand_over::{HandOver, HandedOver, hand_over, hand_overs_markdown};
pub use kind::{Kind, Way, expected};
pub use table::{Cell, markdown};
pub use world::{Old, Setup, World};

use anyhow::{Context, Result};
use clap::ValueEnum;
use end::{End, Place};
use serde::Serialize;
use servers::Servers;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// After the first sound, before the path is looked at: a better one may be found meanwhile.
const SETTLE: Duration = Duration::from_millis(2_500);

/// Whose TURN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Turn {
    /// The room server's own: UDP at 3478, TCP at 443.
    Inside,
    /// coturn beside the room server: UDP and TCP at 3478, TLS at 443.
    Coturn,
}

/// What is run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The `snug` program.
    pub snug: PathBuf,
    /// The `snug-server` program.
    pub server: PathBuf,
    /// Whose TURN.
    pub turn: Turn,
}

/// What a join came to.
#[derive(Clone, Debug, Serialize)]
pub struct Joined {
    /// From being in the room to being connected, for who came second.
    pub connected_ms: f64,
    /// From the wish to join to the first sound of the other.
    pub sound_ms: f64,
    /// The candidates of the path in use, its own and the other's, as who was there first sees them: `host`,
    /// `srflx`, `prflx`, `relay`. Its own is `host` behind a NAT, too: that is what the socket has.
    pub pair: [String; 2],
    /// The same as who came second sees them.
    pub seen: [String; 2],
    /// Direct, or by a relay at either end.
    pub way: Way,
}

/// What runs at the ends, and who comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// At either side.
    pub programs: [Program; 2],
    /// The side that is in the room first.
    pub first: usize,
}

impl Ends {
    /// Two apps.
    pub const SNUG: Self = Self { programs: [Program::Snug; 2], first: 0 };

    /// Of a join by its number: with a guest at one side, it comes first every other time.
    pub fn of_join(guest: Option<usize>, number: u32) -> Self {
        match guest {
            None => Self::SNUG,
            Some(side) => {
                let mut programs = [Program::Snug; 2];
                programs[side] = Program::Guest;
                Self { programs, first: number as usize % 2 }
            }
        }
    }
}

/// Joins so many times over the same routers, with new programs each time; `guest` is the side with Chromium.
///
/// # Errors
/// What keeps the world from being made; a join that fails is in the answer.
pub async fn join_all(
    setup: Setup,
    joins: u32,
    guest: Option<usize>,
    programs: &Programs,
) -> Result<Vec<Result<Joined, String>>> {
    let world = World::new(setup)?;
    let folder = tempfile::tempdir()?;
    let servers = Servers::start(&world, programs, folder.path()).await?;
    let mut all = Vec::new();
    for number in 0..joins {
        let folder = folder.path().join(number.to_string());
        let ends = Ends::of_join(guest, number);
        let result = join(&world, setup, ends, programs, &servers, &folder, &[]).await;
        all.push(result.map_err(|error| format!("{error:#}")));
    }
    Ok(all)
}

/// A join in which every packet is looked at that leaves the host of who was there first, who may go by relays
/// alone: what came of it, and how many of the packets went anywhere but to the servers.
///
/// # Errors
/// When the call does not come up, or the host cannot be watched.
pub async fn join_watched(setup: Setup, relay_only: bool, programs: &Programs) -> Result<(Joined, u64)> {
    let world = World::new(setup)?;
    world.watch(0)?;
    let folder = tempfile::tempdir()?;
    let servers = Servers::start(&world, programs, folder.path()).await?;
    let more: &[&str] = if relay_only { &["--relay-only"] } else { &[] };
    let folder = folder.path().join("call");
    let joined = join(&world, setup, Ends::SNUG, programs, &servers, &folder, more).await?;
    Ok((joined, world.strays(0)?))
}

async fn join(
    world: &World,
    setup: Setup,
    ends: Ends,
    programs: &Programs,
    servers: &Servers,
    folder: &Path,
    first_more: &[&str],
) -> Result<Joined> {
    let folders = [0, 1].map(|side| folder.join(side.to_string()));
    let place = |side: usize| Place {
        host: world.host(side),
        kind: setup.kinds()[side],
        programs,
        servers,
        folder: &folders[side],
        clip: None,
    };
    let sides = [ends.first, 1 - ends.first];
    let mut first = End::join(ends.programs[sides[0]], &place(sides[0]), first_more).await?;
    let mut second = End::join(ends.programs[sides[1]], &place(sides[1]), &[]).await?;
    let began = Instant::now();
    second.connected().await.context("who came second")?;
    let connected_ms = began.elapsed().as_secs_f64() * 1000.0;
    first.connected().await.context("who was there first")?;
    let sound_ms = second.first_sound().await?;
    tokio::time::sleep(SETTLE).await;
    let (seen, other) = (first.path().await?, second.path().await?);
    first.leave(&place(sides[0])).await?;
    second.leave(&place(sides[1])).await?;
    let way = if seen.relayed || other.relayed { Way::Relayed } else { Way::Direct };
    Ok(Joined {
        connected_ms,
        sound_ms,
        pair: [seen.local, seen.remote],
        seen: [other.local, other.remote],
        way,
    })
}

impl Setup {
    /// What either side is behind.
    pub fn kinds(self) -> [Kind; 2] {
        match self {
            Self::Apart(one, two) => [one, two],
            Self::SameNetwork | Self::SameNat { .. } => [Kind::Port; 2],
        }
    }

    /// The best way that there is.
    pub fn expected(self) -> Way {
        match self {
            Self::Apart(one, two) => expected(one, two),
            Self::SameNetwork | Self::SameNat { hairpin: true } => Way::Direct,
            Self::SameNat { hairpin: false } => Way::Relayed,
        }
    }

    /// As it is named in tables.
    pub fn name(self) -> String {
        match self {
            Self::Apart(one, two) => format!("{} - {}", one.name(), two.name()),
            Self::SameNetwork => "same network".into(),
            Self::SameNat { hairpin: true } => "same NAT, hairpin".into(),
            Self::SameNat { hairpin: false } => "same NAT, no hairpin".into(),
        }
    }

    /// Every pair of kinds, and those behind the same NAT.
    pub fn all() -> Vec<Self> {
        let pairs = Kind::ALL
            .iter()
            .enumerate()
            .flat_map(|(number, one)| Kind::ALL[number..].iter().map(|two| Self::Apart(*one, *two)));
        let same = [Self::SameNetwork, Self::SameNat { hairpin: true }, Self::SameNat { hairpin: false }];
        pairs.chain(same).collect()
    }
}
