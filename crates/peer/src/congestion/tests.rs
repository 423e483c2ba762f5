//! The estimator with pacing over a simulated link, on a virtual clock: the same seed, the same result.

use super::feedback::Outcome;
use super::world::{GOOD, Link, MS, Piece, run, run_world};
use super::{Departure, Estimator, Word};
use std::time::{Duration, Instant};

/// Mean of a figure between two times.
fn mean(pieces: &[Piece], from: f64, to: f64, of: fn(&Piece) -> f64) -> f64 {
    let some: Vec<f64> = pieces.iter().filter(|p| (from..to).contains(&p.at)).map(of).collect();
    some.iter().sum::<f64>() / some.len() as f64
}

fn p95(pieces: &[Piece], from: f64, to: f64, of: fn(&Piece) -> f64) -> f64 {
    let mut some: Vec<f64> = pieces.iter().filter(|p| (from..to).contains(&p.at)).map(of).collect();
    some.sort_by(f64::total_cmp);
    some[some.len() * 95 / 100]
}

fn show(pieces: &[Piece]) -> String {
    let line = |p: &Piece| {
        format!(
            "{:5.1} target {:5.0} sent {:5.0} queue {:4.0} missed {}\n",
            p.at,
            p.target / 1e3,
            p.sent / 1e3,
            p.queue,
            p.missed
        )
    };
    pieces.iter().step_by(5).map(line).collect()
}

/// The second run of a seed is the first one again.
fn twice(seed: u64, seconds: u64, most: f64, schedule: &[(f64, Link)]) -> Vec<Piece> {
    let first = run(seed, seconds, most, schedule);
    assert_eq!(first, run(seed, seconds, most, schedule));
    first
}

#[test]
fn a_clean_link_is_filled_within_two_seconds() {
    for seed in 0..4 {
        let pieces = twice(seed, 20, 1.7e6, &[]);
        let reached = pieces.iter().find(|p| p.target > 1.8e6).map(|p| p.at);
        assert!(reached.is_some_and(|at| at < 2.0), "{reached:?}\n{}", show(&pieces));
        assert!(pieces.iter().all(|p| p.queue < 10.0), "{}", show(&pieces));
        assert!(mean(&pieces, 3.0, 20.0, |p| p.target) > 1.8e6, "{}", show(&pieces));
    }
}

#[test]
fn random_loss_does_not_bring_the_rate_down() {
    for (seed, loss) in [(1, 0.05), (2, 0.1), (3, 0.2), (4, 0.2)] {
        let pieces = twice(seed, 30, 1.7e6, &[(0.0, Link { loss, ..GOOD })]);
        let rate = mean(&pieces, 5.0, 30.0, |p| p.target);
        assert!(rate > 1.6e6, "{loss}: {rate}\n{}", show(&pieces));
    }
}

#[test]
fn jitter_does_not_bring_the_rate_down() {
    for (seed, jitter) in [(1, 10), (2, 50), (3, 50), (4, 200)] {
        let link = Link { jitter: MS * jitter, delay: 75 * MS, loss: 0.05, ..GOOD };
        let pieces = twice(seed, 30, 1.7e6, &[(0.0, link)]);
        let rate = mean(&pieces, 10.0, 30.0, |p| p.target);
        assert!(rate > 1.2e6, "{jitter} ms: {rate}\n{}", show(&pieces));
    }
}

#[test]
fn a_thin_link_is_used_well_and_its_queue_kept_short() {
    for rate in [2e6, 500e3, 250e3, 125e3] {
        for seed in 0..3 {
            let pieces = twice(seed, 40, 2.5e6, &[(0.0, Link { rate, ..GOOD })]);
            let used = mean(&pieces, 10.0, 40.0, |p| p.sent) / rate;
            let queue = p95(&pieces, 10.0, 40.0, |p| p.queue);
            assert!((0.7..1.05).contains(&used), "{rate}: {used}\n{}", show(&pieces));
            assert!(queue < 200.0, "{rate}: {queue} ms\n{}", show(&pieces));
        }
    }
}

#[test]
fn a_step_down_is_followed_within_two_seconds_and_a_step_up_within_ten() {
    for seed in 0..5 {
        let link = |rate| Link { rate, ..GOOD };
        let schedule = [(0.0, link(2.5e6)), (10.0, link(0.5e6)), (20.0, link(2.5e6))];
        let pieces = twice(seed, 40, 2.5e6, &schedule);
        let before = mean(&pieces, 5.0, 10.0, |p| p.sent);
        assert!(before > 1.7e6, "{before}\n{}", show(&pieces));
        let down = p95(&pieces, 12.0, 20.0, |p| p.queue);
        assert!(down < 200.0, "{down} ms\n{}", show(&pieces));
        let during = mean(&pieces, 12.0, 20.0, |p| p.sent);
        assert!((0.35e6..0.525e6).contains(&during), "{during}\n{}", show(&pieces));
        let back = pieces.iter().find(|p| p.at > 20.0 && p.target > 2.0e6).map(|p| p.at - 20.0);
        assert!(back.is_some_and(|after| after < 10.0), "{back:?}\n{}", show(&pieces));
    }
}

#[test]
fn a_path_that_becomes_longer_and_loses_is_not_taken_for_a_full_one() {
    for seed in 0..40 {
        let worse = Link { delay: 110 * MS, jitter: 50 * MS, loss: 0.07, ..GOOD };
        let pieces = twice(seed, 40, 1.7e6, &[(0.0, GOOD), (8.0, worse)]);
        let rate = mean(&pieces, 16.0, 40.0, |p| p.target);
        assert!(rate > 1.2e6, "{seed}: {rate}\n{}", show(&pieces));
        // The first reports of such a path look like a queue. Not for long.
        let low = pieces.iter().filter(|p| p.at > 5.0 && p.target < 0.3e6).count();
        assert!(low < 20, "{seed}: {low} tenths of a second below 0.3 Mb/s\n{}", show(&pieces));
    }
}

/// At once, and not by steps.
#[test]
fn a_line_that_becomes_next_to_nothing_is_left_to_the_sound() {
    let (mut late, mut packets) = (0, 0);
    for seed in 0..10 {
        let thin = Link { rate: 50e3, ..GOOD };
        let pieces = twice(seed, 30, 1.7e6, &[(0.0, Link { rate: 2e6, ..GOOD }), (10.0, thin)]);
        let after = || pieces.iter().filter(|p| p.at > 13.0);
        late += after().map(|p| p.late).sum::<u32>();
        packets += after().map(|p| p.packets).sum::<u32>();
    }
    // It is tried now and then whether there is more.
    assert!(late * 6 < packets, "{late} of {packets} waited over 200 ms");
}

/// Of the few packets that leave meanwhile no rate is measured.
#[test]
fn who_is_quiet_after_a_thin_spell_has_a_picture_again() {
    for seed in 0..5 {
        let quiet = Link { quiet: true, ..GOOD };
        let schedule = [(0.0, GOOD), (5.0, Link { rate: 50e3, ..GOOD }), (12.0, quiet)];
        let pieces = twice(seed, 40, 1.7e6, &schedule);
        let thin = mean(&pieces, 9.0, 12.0, |p| p.target);
        assert!(thin < 62e3, "{thin}\n{}", show(&pieces));
        let back = pieces.iter().find(|p| p.at > 12.0 && p.sent > 1e6).map(|p| p.at - 12.0);
        assert!(back.is_some_and(|after| after < 20.0), "{back:?}\n{}", show(&pieces));
    }
}

/// Reports come back through lines as full.
#[test]
fn stairs_down_to_50_kbs_are_followed() {
    let rates = [2000e3, 500e3, 250e3, 125e3, 50e3];
    let schedule: Vec<(f64, Link)> = rates
        .iter()
        .enumerate()
        .map(|(step, rate)| (9.0 * step as f64, Link { rate: *rate, ..GOOD }))
        .collect();
    let (mut late, mut packets) = (0, 0);
    for seed in 0..10 {
        let pieces = twice(seed, 45, 2.5e6, &schedule);
        for (from, link) in &schedule {
            let used = mean(&pieces, from + 3.0, from + 9.0, |p| p.sent) / link.rate;
            assert!((0.65..1.05).contains(&used), "{}: {used}\n{}", link.rate, show(&pieces));
        }
        late += pieces.iter().map(|p| p.late).sum::<u32>();
        packets += pieces.iter().map(|p| p.packets).sum::<u32>();
    }
    // The 95th percentile is well below.
    assert!(late * 25 < packets, "{late} of {packets} waited over 200 ms");
}

#[test]
fn a_late_report_is_a_first_sign_for_a_moment_and_silence_is_one_until_it_ends() {
    let start = Instant::now();
    let at = |ms: u32| start + MS * ms;
    let mut estimator = Estimator::new(4.5e6);
    assert_eq!(estimator.watch(at(0), at(100)), Word::Comes);
    assert_eq!(estimator.next_word(at(0)), Some(at(140)));
    let free = estimator.pace();
    assert_eq!(estimator.watch(at(0), at(140)), Word::Late);
    let late = estimator.pace();
    assert!(late < 0.5 * free, "{free} {late}");
    assert_eq!(estimator.next_word(at(0)), Some(at(240)));
    assert_eq!(estimator.watch(at(0), at(240)), Word::Silent);
    assert!(estimator.pace() < 0.3 * late);
    assert_eq!(estimator.next_word(at(0)), None);
    assert_eq!(estimator.watch(at(200), at(250)), Word::Silent, "it gets no better by itself");
    let left = Departure { at: at(230), bytes: 1000, pace: 1e6, in_train: false };
    estimator.on(&[Outcome { left, arrived: Some(Duration::from_secs(77)) }], at(250));
    assert_eq!(estimator.watch(at(240), at(250)), Word::Comes);
    // A path that has become longer: each report is late now.
    assert_eq!(estimator.next_word(at(500)).map(|due| due > at(730)), Some(true), "not heeded any more");
}

/// Of a packet of 1250 bytes that left after so many ms, and took `trip` ms if it came.
fn outcome(start: Instant, ms: u32, trip: Option<u32>) -> Outcome {
    let left = Departure { at: start + MS * ms, bytes: 1250, pace: 1e6, in_train: false };
    Outcome { left, arrived: trip.map(|trip| MS * (ms + trip)) }
}

/// Tells of so many packets of 1250 bytes each tenth of a second, which take `trip` ms.
fn tell(estimator: &mut Estimator, start: Instant, tenths: std::ops::Range<u32>, packets: u32, trip: u32) {
    for tenth in tenths {
        let left = (0..packets).map(|n| tenth * 100 + n * 100 / packets);
        let outcomes: Vec<Outcome> = left.map(|ms| outcome(start, ms, Some(trip))).collect();
        estimator.on(&outcomes, start + MS * (tenth * 100 + 120 + trip));
    }
}

#[test]
fn a_path_that_has_become_longer_in_an_outage_is_no_queue() {
    let start = Instant::now();
    let mut estimator = Estimator::new(4.5e6);
    tell(&mut estimator, start, 0..30, 10, 20);
    let before = estimator.target();
    tell(&mut estimator, start, 60..90, 10, 220);
    assert!(estimator.target() >= before, "{before} {}", estimator.target());
    // From one report to the next it is one, for all one knows.
    let mut other = Estimator::new(4.5e6);
    tell(&mut other, start, 0..30, 10, 20);
    tell(&mut other, start, 30..34, 10, 220);
    assert!(other.target() < before, "{before} {}", other.target());
}

#[test]
fn a_line_that_is_far_from_full_has_room_though_a_limit_was_seen() {
    let start = Instant::now();
    let mut estimator = Estimator::new(4.5e6);
    tell(&mut estimator, start, 0..30, 10, 20);
    assert!(estimator.has_room());
    tell(&mut estimator, start, 30..34, 10, 120);
    assert!(!estimator.has_room(), "a queue");
    (34..39).for_each(|tenth| tell(&mut estimator, start, tenth..tenth + 1, 5, 120 - 20 * (tenth - 34)));
    tell(&mut estimator, start, 39..44, 10, 20);
    assert!(!estimator.has_room(), "what is sent is what it was seen to carry");
    tell(&mut estimator, start, 44..54, 2, 20);
    assert!(estimator.has_room());
}

#[test]
fn another_path_is_begun_with_what_a_call_can_do_with_and_without_the_old_ones_limits() {
    let start = Instant::now();
    let mut estimator = Estimator::new(4.5e6);
    tell(&mut estimator, start, 0..30, 10, 20);
    tell(&mut estimator, start, 30..40, 1, 400);
    assert!(!estimator.has_room());
    let anew = estimator.anew();
    assert!((3e5..=1e6).contains(&anew.target()), "{}", anew.target());
    assert!(anew.has_room() && anew.loss() == 0.0 && anew.round_trip().is_none());
}

/// As Chromium's do where little is sent.
#[test]
fn reports_that_come_seldom_are_no_sign_of_a_queue() {
    for rate in [500e3, 250e3, 125e3] {
        for seed in 0..5 {
            let pieces = twice(seed, 40, 2.5e6, &[(0.0, Link { rate, reports: 250, ..GOOD })]);
            let used = mean(&pieces, 10.0, 40.0, |p| p.sent) / rate;
            let queue = p95(&pieces, 10.0, 40.0, |p| p.queue);
            let missed = mean(&pieces, 10.0, 40.0, |p| f64::from(p.missed));
            assert!(missed < 3.0, "missed for {missed} % of the time");
            assert!((0.65..1.05).contains(&used), "{rate}: {used}\n{}", show(&pieces));
            assert!(queue < 200.0, "{rate}: {queue} ms\n{}", show(&pieces));
        }
    }
}

#[test]
fn an_outage_is_forgotten_at_once() {
    for seed in 0..3 {
        let away = Link { loss: 1.0, ..GOOD };
        let pieces = twice(seed, 30, 1.7e6, &[(10.0, away), (13.0, GOOD)]);
        let after = mean(&pieces, 14.0, 20.0, |p| p.target);
        assert!(after > 1.6e6, "{after}\n{}", show(&pieces));
    }
}

/// All that left in half a second is lost, which the first report afterwards tells. That is no full line.
#[test]
fn nor_does_a_short_one_leave_anything() {
    let start = Instant::now();
    let mut estimator = Estimator::new(4.5e6);
    tell(&mut estimator, start, 0..30, 10, 20);
    let before = estimator.target();
    let outcomes = (0..60).map(|n| outcome(start, 3000 + n * 10, (n >= 50).then_some(20)));
    estimator.on(&outcomes.collect::<Vec<_>>(), start + MS * 3640);
    assert!(estimator.target() >= before, "{before} {}", estimator.target());
    tell(&mut estimator, start, 36..46, 10, 20);
    assert!(estimator.target() >= before && estimator.has_room(), "{before} {}", estimator.target());
}

#[test]
fn somebody_elses_queue_does_not_starve_us() {
    for seed in 0..3 {
        let full = Link { rate: 2e6, others: 150.0, ..GOOD };
        let pieces = twice(seed, 40, 1.7e6, &[(0.0, GOOD), (8.0, full)]);
        for of in [|p: &Piece| p.target, |p: &Piece| p.sent] {
            let rate = mean(&pieces, 20.0, 40.0, of);
            assert!(rate > 0.5e6, "{rate}\n{}", show(&pieces));
        }
    }
}

#[test]
fn a_download_leaves_us_our_share() {
    for seed in 0..10 {
        let line = Link { rate: 2e6, ..GOOD };
        let beside = Link { download: true, ..line };
        let pieces = twice(seed, 50, 1.7e6, &[(0.0, line), (10.0, beside), (40.0, line)]);
        let starved = pieces.iter().filter(|p| (10.0..40.0).contains(&p.at) && p.sent < 100e3).count();
        assert!(starved < 50, "{seed}: {starved} tenths of a second without a picture\n{}", show(&pieces));
        let share = mean(&pieces, 20.0, 40.0, |p| p.sent);
        assert!((0.5e6..1.5e6).contains(&share), "{seed}: {share}\n{}", show(&pieces));
        // Alone again, the line is used and its queue short.
        let after = mean(&pieces, 45.0, 50.0, |p| p.sent);
        let queue = p95(&pieces, 45.0, 50.0, |p| p.queue);
        assert!(after > 1.3e6 && queue < 200.0, "{seed}: {after} {queue} ms\n{}", show(&pieces));
    }
}

#[test]
fn a_path_that_becomes_longer_is_not_taken_for_a_full_one() {
    for seed in 0..3 {
        let longer = Link { delay: 110 * MS, jitter: 50 * MS, ..GOOD };
        let pieces = twice(seed, 40, 1.7e6, &[(0.0, GOOD), (8.0, longer)]);
        let rate = mean(&pieces, 14.0, 40.0, |p| p.target);
        assert!(rate > 1.5e6, "{rate}\n{}", show(&pieces));
    }
}

/// Where packets take 150 to 350 ms, one that was lucky is no sign of a queue behind the others.
#[test]
fn much_jitter_does_not_keep_a_line_from_being_used() {
    let jittery = |rate| Link { rate, delay: 150 * MS, jitter: 200 * MS, ..GOOD };
    for seed in 0..10 {
        for rate in [300e3, 2e6] {
            let pieces = twice(seed, 60, 1.7e6, &[(0.0, jittery(rate))]);
            let used = mean(&pieces, 15.0, 60.0, |p| p.sent) / rate;
            assert!((0.6..1.05).contains(&used), "{seed}: {used}\n{}", show(&pieces));
        }
        // Nor from being used again after it was thin.
        let pieces = twice(seed, 50, 1.7e6, &[(0.0, jittery(50e3)), (10.0, jittery(300e3))]);
        let back = pieces.iter().any(|p| p.at > 10.0 && p.target > 0.7 * 300e3);
        assert!(back, "{seed}\n{}", show(&pieces));
    }
}

/// The lab's networks (`lab bench`), as far as a line and its jitter go: how much of the time stands still, percent, and
/// how much is sent, kb/s, the median of ten seeds.
#[test]
fn the_benchs_lines_hold_up() {
    let far = |rate, mean: u32, spread: u32| Link {
        rate,
        delay: (mean - spread) * MS,
        jitter: 2 * spread * MS,
        ..GOOD
    };
    let line = |rate| Link { rate, ..GOOD };
    let download = Link { download: true, ..line(2000e3) };
    let dip = vec![(0.0, line(2500e3)), (17.0, line(500e3)), (29.0, line(2500e3))];
    let cases = [
        ("N6", vec![(0.0, GOOD), (1.0, far(300e3, 250, 100))], 8.0, 240.0..290.0),
        ("N9", dip, 2.0, 1000.0..1700.0),
        ("tcp", vec![(0.0, line(2000e3)), (15.0, download)], 6.0, 800.0..1400.0),
        ("500 kb/s", vec![(0.0, GOOD), (1.0, line(500e3))], 0.5, 440.0..500.0),
        ("Wi-Fi", vec![(0.0, GOOD), (1.0, far(1000e3, 30, 20))], 0.5, 850.0..1000.0),
    ];
    for (name, schedule, most_frozen, sends) in cases {
        let calls = (0..10).map(|seed| run_world(seed, 42, 1.7e6, &schedule));
        let (mut frozen, mut sent) = (Vec::new(), Vec::new());
        for (pieces, freezes) in calls {
            let stood: f64 = freezes.iter().filter(|(at, _)| *at > 5.0).map(|(_, gap)| gap).sum();
            frozen.push(stood / 37.0 * 100.0);
            sent.push(mean(&pieces, 5.0, 42.0, |p| p.sent) / 1e3);
        }
        [&mut frozen, &mut sent].into_iter().for_each(|all| all.sort_by(f64::total_cmp));
        assert!(frozen[5] < most_frozen, "{name}: {frozen:.1?} %");
        assert!(sends.contains(&sent[5]), "{name}: {sent:.0?} kb/s");
    }
}
