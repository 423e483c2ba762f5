//! A change of network in a call: when the picture is back at either end.

use super::end::{End, Place};
use super::servers::Servers;
use super::{Ends, Kind, Old, Program, Programs, Setup, Way, World};
use crate::ends::unix_us;
use crate::mark::{Clip, Colour, write_clip};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// A call is so old when the network changes.
const BEFORE: Duration = Duration::from_secs(5);
/// For so long it is looked at after that.
const AFTER: Duration = Duration::from_secs(20);
/// The longest time between pictures that is no outage, microseconds.
const OUTAGE: u64 = 500_000;
/// An outage that begins later is not of the change: on a busy machine there are some without it.
const OF_CHANGE: u64 = 5_000_000;
/// Pictures in the last second before the change, at either end: else there was no call to speak of.
const LEAST: usize = 8;

/// One change of network. Both are behind the same kind of router, and the new network has another of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HandOver {
    /// What everybody is behind, before and after.
    pub kind: Kind,
    /// Whose network changes: that of who came first (0) or second (1).
    pub mover: usize,
    /// What becomes of the old one.
    pub old: Old,
    /// The side that is Chromium at the guest's page.
    pub guest: Option<usize>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct HandedOver {
    /// Milliseconds from the change until the last outage of the other's picture was over that began within 5 s,
    /// as who moved and as who stayed sees it. An outage is half a second without one; 0 if there was none.
    pub back_ms: [f64; 2],
    /// The longest time without a picture in all 20 s, for the same two.
    pub longest_ms: [f64; 2],
    /// Before and after.
    pub ways: [Way; 2],
}

/// Calls, changes the network, and looks at the pictures of both.
///
/// # Errors
/// When the call does not come up, or has no pictures before the change.
pub async fn hand_over(plan: HandOver, programs: &Programs) -> Result<HandedOver> {
    let mut world = World::new(Setup::Apart(plan.kind, plan.kind))?;
    world.second_access(plan.mover, plan.kind)?;
    let folder = within_memory()?;
    let servers = Servers::start(&world, programs, folder.path()).await?;
    let clip = folder.path().join("clip.y4m");
    let small = Clip { width: 320, height: 180, ..Clip::new(Colour::Green, 10) };
    write_clip(&clip, &small)?;
    let folders = [0, 1].map(|side| folder.path().join(side.to_string()));
    let place = |side: usize| Place {
        host: world.host(side),
        kind: plan.kind,
        programs,
        servers: &servers,
        folder: &folders[side],
        clip: Some(&clip),
    };
    let mut at = Ends::SNUG.programs;
    if let Some(side) = plan.guest {
        at[side] = Program::Guest;
    }
    let mut first = End::join(at[0], &place(0), &[]).await?;
    let mut second = End::join(at[1], &place(1), &[]).await?;
    first.first_picture().await.context("who came first")?;
    second.first_picture().await.context("who came second")?;
    run(&mut first, &mut second, BEFORE).await?;
    let before = way(&first, &second).await?;
    let changed = unix_us();
    world.hand_over(plan.mover, plan.old)?;
    run(&mut first, &mut second, AFTER).await?;
    let over = unix_us();
    let after = way(&first, &second).await?;
    let first = first.leave(&place(0)).await?;
    let second = second.leave(&place(1)).await?;
    let (moved, stayed) = if plan.mover == 0 { (first, second) } else { (second, first) };
    let mut seen = [(0.0, 0.0); 2];
    for (seen, shown) in seen.iter_mut().zip([moved, stayed]) {
        let lately = shown.iter().filter(|at| (changed - 1_000_000..changed).contains(*at)).count();
        ensure!(lately >= LEAST, "{lately} pictures in the second before the change");
        *seen = back(&shown, changed, over);
    }
    let [moved, stayed] = seen;
    Ok(HandedOver { back_ms: [moved.0, stayed.0], longest_ms: [moved.1, stayed.1], ways: [before, after] })
}

/// Pictures are written to memory: a disk would cost the machine time in the call.
fn within_memory() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let within = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    Ok(tempfile::Builder::new().prefix("snug-nat-").tempdir_in(within)?)
}

async fn run(first: &mut End, second: &mut End, time: Duration) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        ended = first.listen() => ended.context("who came first"),
        ended = second.listen() => ended.context("who came second"),
    }
}

async fn way(first: &End, second: &End) -> Result<Way> {
    let relayed = first.path().await?.relayed || second.path().await?.relayed;
    Ok(if relayed { Way::Relayed } else { Way::Direct })
}

/// Milliseconds from the change to the end of its last outage, and of the longest time without a picture.
/// Times in microseconds, those of the pictures rising.
fn back(shown: &[u64], changed: u64, over: u64) -> (f64, f64) {
    let within = shown.iter().copied().filter(|at| (changed..over).contains(at));
    let times: Vec<u64> = [changed].into_iter().chain(within).chain([over]).collect();
    let gaps = || times.windows(2).map(|pair| (pair[1], pair[1] - pair[0]));
    let of_change = |(end, gap): &(u64, u64)| *gap >= OUTAGE && end - gap < changed + OF_CHANGE;
    let last = gaps().rfind(of_change).map_or(changed, |(end, _)| end);
    let longest = gaps().map(|(_, gap)| gap).max().unwrap_or(0);
    ((last - changed) as f64 / 1000.0, longest as f64 / 1000.0)
}

/// One row for each plan; milliseconds, median and longest of its calls.
pub fn hand_overs_markdown(all: &[(HandOver, Result<HandedOver, String>)]) -> String {
    let mut text = String::from(
        "| NAT | who moves | old network | way | calls | picture back for who moved | for who stayed | within 3 s |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut plans: Vec<HandOver> = Vec::new();
    for (plan, _) in all {
        if !plans.contains(plan) {
            plans.push(*plan);
        }
    }
    for plan in plans {
        let of_plan = || all.iter().filter(|(other, _)| *other == plan);
        let good: Vec<&HandedOver> = of_plan().filter_map(|(_, result)| result.as_ref().ok()).collect();
        let times = |which: usize| {
            let times: Vec<f64> = good.iter().map(|over| over.back_ms[which]).collect();
            let at =
                |share| crate::delay::percentile(&times, share).map_or("-".into(), |ms| format!("{ms:.0}"));
            format!("{}, {}", at(0.5), at(1.0))
        };
        let soon = good.iter().filter(|over| over.back_ms.iter().all(|ms| *ms <= 3000.0)).count();
        let mut ways: Vec<&str> = good.iter().flat_map(|over| over.ways).map(Way::name).collect();
        ways.sort_unstable();
        ways.dedup();
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:?} | {} | {}/{} | {} | {} | {soon} |",
            plan.kind.name(),
            plan.who(),
            plan.old,
            ways.join(", "),
            good.len(),
            of_plan().count(),
            times(0),
            times(1),
        );
    }
    text
}

impl HandOver {
    fn who(self) -> String {
        let order = ["first", "second"][self.mover.min(1)];
        match self.guest {
            None => format!("who came {order}"),
            Some(guest) if guest == self.mover => format!("the guest, who came {order}"),
            Some(_) => format!("Snug, who came {order}; the guest stays"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_back_when_the_last_outage_is_over() {
        let every_30 = |from: u64, to: u64| (from..to).step_by(30).map(|ms| ms * 1000);
        let shown: Vec<u64> =
            every_30(0, 5000).chain(every_30(6000, 7000)).chain(every_30(7900, 20_000)).collect();
        assert_eq!(back(&shown, 5_000_000, 20_000_000), (2900.0, 1000.0));
        // Half of it is missed when the change is in the middle of an outage.
        assert_eq!(back(&shown, 7_400_000, 20_000_000), (500.0, 500.0));
        assert_eq!(back(&shown, 8_000_000, 20_000_000).0, 0.0);
        assert_eq!(back(&shown, 8_000_000, 30_000_000).0, 0.0, "an outage that began 12 s later");
        assert_eq!(back(&shown, 18_000_000, 30_000_000).0, 12_000.0, "it never came back");
        assert_eq!(back(&[], 1_000_000, 3_000_000), (2000.0, 2000.0));
    }
}
