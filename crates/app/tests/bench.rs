//! Two of the lab's networks, shortened, with the program as it is run: what the floors ask for, with
//! some room where a busy machine or a debug build counts. And a browser, measured with the same rod.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use lab::bench::figures::Figures;
use lab::bench::scenario::{Scenario, all};
use lab::bench::{Entry, Kind, Pair, Plan, Programs, run};
use lab::link::LinkError;

fn scenario(name: &str) -> Scenario {
    all().into_iter().find(|scenario| scenario.name == name).unwrap()
}

/// Both directions of a call; `None`, said aloud, where this machine lets us have no link.
async fn call(scenario: Scenario, pair: Pair) -> Option<Vec<Entry>> {
    let programs = Programs { snug: env!("CARGO_BIN_EXE_snug").into(), server: None, lab: None };
    let (scenarios, pairs) = (vec![scenario], vec![pair]);
    let plan = Plan { scenarios, pairs, runs: 1, programs, clip_seconds: 12, pesq: None };
    match run(&plan, |_| Ok(())).await {
        Ok(report) => {
            assert!(report.failures.is_empty(), "{:?}", report.failures);
            Some(report.entries)
        }
        Err(error) => match error.downcast_ref() {
            Some(LinkError::NotAllowed(_) | LinkError::Tun(_)) => {
                eprintln!("SKIPPED: {error:#}");
                None
            }
            _ => panic!("{error:#}"),
        },
    }
}

/// What holds on any network: pictures could be followed by their number, and look like their source.
fn pictures_are_whole(figures: &Figures) {
    let picture = &figures.picture;
    // Each fifth is compared: four of five at least were read. A busy page is not told of every picture.
    assert!(picture.compared > 20 && picture.unread < picture.compared, "{picture:?}");
    assert!(picture.ssim.unwrap() > 0.9, "{picture:?}");
}

#[tokio::test]
async fn five_of_a_hundred_packets_lost_do_no_harm() {
    let Some(entries) = call(scenario("N1").stretched(12.0), Pair::Snug).await else { return };
    assert_eq!(entries.len(), 2);
    for Entry { figures, .. } in &entries {
        pictures_are_whole(figures);
        assert!((2.0..9.0).contains(&figures.net.lost_percent), "the link: {figures:?}");
        // The floors are 1 % each: twice that for a machine that may stall.
        assert!(figures.frozen_percent() <= 2.0, "{figures:?}");
        assert!(figures.sound.concealed_percent.unwrap() <= 2.0, "{figures:?}");
        assert!(figures.picture.frames_per_second >= 25.0, "{figures:?}");
    }
}

#[tokio::test]
async fn the_rate_follows_the_line_down_and_up_again() {
    let mut dip = scenario("N9");
    for (step, seconds) in dip.steps.iter_mut().zip([6.0, 5.0, 17.0]) {
        step.0 = seconds;
    }
    let Some(entries) = call(dip, Pair::Snug).await else { return };
    assert_eq!(entries.len(), 2);
    for Entry { figures, .. } in &entries {
        pictures_are_whole(figures);
        // The floors are 2 s down and 15 back. A machine that stalls may take one and two more.
        assert!(figures.net.down_s.is_some_and(|after| after <= 3.0), "{figures:?}");
        assert!(figures.net.back_s.is_some(), "{figures:?}");
        assert!(figures.sound.concealed_percent.unwrap() <= 3.0, "{figures:?}");
    }
}

#[tokio::test]
async fn a_browser_is_measured_as_we_are() {
    let Some(entries) = call(scenario("N0").stretched(6.0), Pair::Mixed).await else { return };
    let ends: Vec<(Kind, Kind)> = entries.iter().map(|entry| (entry.from, entry.to)).collect();
    assert_eq!(ends, [(Kind::Snug, Kind::Chromium), (Kind::Chromium, Kind::Snug)]);
    for Entry { figures, series, .. } in &entries {
        pictures_are_whole(figures);
        let picture = &figures.picture;
        assert!((15.0..31.0).contains(&picture.frames_per_second), "{picture:?}");
        // The link takes 10 of them. A machine that stalls at the start leaves sound waiting, taken back in seconds.
        assert!((10.0..1000.0).contains(&picture.delay_p50_ms.unwrap()), "{picture:?}");
        assert!(figures.sound.concealed_percent.is_some_and(|part| part < 20.0), "{figures:?}");
        assert!(figures.net.pli_a_second.is_some() && !series.target_kbps.is_empty(), "{figures:?}");
        assert!(series.delay_ms.len() > 60 && series.sent_kbps.len() == 60, "{}", series.delay_ms.len());
    }
}

#[tokio::test]
async fn a_guest_whose_address_changes_is_soon_back() {
    let Some(entries) = call(scenario("N12").stretched(15.0), Pair::Mixed).await else { return };
    assert_eq!(entries.len(), 2);
    for Entry { figures, .. } in &entries {
        pictures_are_whole(figures);
        // The floor is 3 s. A browser left to itself takes 8 to 13.
        assert!(figures.picture.back_s.is_some_and(|after| after <= 4.0), "{figures:?}");
    }
}
