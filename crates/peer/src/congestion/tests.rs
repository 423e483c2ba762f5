//! The estimator with pacing over a simulated link, on a virtual clock: the same seed, the same result.

use super::feedback::Outcome;
use super::{Departure, Estimator, Word};
use crate::pacing::Pacing;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// Splitmix64.
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What the link does from a time on.
#[derive(Clone, Copy)]
struct Link {
    /// Bits a second.
    rate: f64,
    delay: Duration,
    /// Evenly spread on top of that; packets keep their order.
    jitter: Duration,
    /// Lost at random.
    loss: f64,
    /// Somebody else's packets in its queue, ms.
    others: f64,
    /// Between two reports, ms.
    reports: u64,
    /// Somebody downloads over TCP.
    download: bool,
}

const GOOD: Link = Link {
    rate: 100e6,
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
    loss: 0.0,
    others: 0.0,
    reports: 100,
    download: false,
};
/// A packet that would wait longer is dropped.
const QUEUE: Duration = Duration::from_millis(400);

/// What was seen of one piece of 100 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Piece {
    /// At the end of it, s.
    at: f64,
    target: f64,
    /// Sent, bits a second.
    sent: f64,
    /// The longest wait in the link's queue, ms.
    queue: f64,
    /// Packets, and those of them that waited longer than 200 ms.
    packets: u32,
    late: u32,
    /// Ms for which reports were missed.
    missed: u32,
}

/// A download over TCP, as CUBIC (RFC 9438) has it; its packets are lost where the queue is full.
struct Download {
    window: f64,
    threshold: f64,
    largest: f64,
    since: Instant,
    /// When each packet's fate is known, whether it was lost, and when it left.
    flying: VecDeque<(Instant, bool, Instant)>,
}

/// A full packet on the line, bits.
const FULL: f64 = 12_400.0;

impl Download {
    fn new(now: Instant) -> Self {
        Self { window: 10.0, threshold: 1e9, largest: 0.0, since: now, flying: VecDeque::new() }
    }

    fn hears(&mut self, now: Instant) {
        while let Some((_, lost, left)) = self.flying.pop_front_if(|(known, ..)| *known <= now) {
            if lost && left >= self.since {
                self.largest = self.window;
                self.window = (self.window * 0.7).max(2.0);
                (self.threshold, self.since) = (self.window, now);
            } else if !lost && self.window < self.threshold {
                self.window += 1.0;
            } else if !lost {
                let t = (now - self.since).as_secs_f64() - (self.largest * 0.3 / 0.4).cbrt();
                let target = 0.4 * t.powi(3) + self.largest;
                self.window += ((target - self.window) / self.window).clamp(0.01, 0.5);
            }
        }
    }
}

struct World {
    epoch: Instant,
    estimator: Estimator,
    pacing: Pacing<f64>,
    pace: f64,
    chance: Chance,
    line_free: Instant,
    last_due: Instant,
    /// Sent and not reported yet: when each arrives and what it is.
    flying: VecDeque<(Option<Instant>, Departure)>,
    last_left: Option<(Instant, f64)>,
    /// Reports on their way, through a queue as long as the one on the way there.
    reports: VecDeque<(Instant, Vec<Outcome>)>,
    /// What left and was not told of.
    untold: VecDeque<Instant>,
    /// As [`Estimator`]'s users do: no picture below 65 kb/s, until 80 kb/s were there for two seconds.
    suspended: bool,
    enough: Option<Instant>,
    sound_due: Instant,
    download: Download,
    piece: Piece,
}

/// Sends pictures (30 a second, whose sizes vary) and sound over links that change at the times given.
fn run(seed: u64, seconds: u64, most: f64, schedule: &[(f64, Link)]) -> Vec<Piece> {
    let start = Instant::now();
    let mut world = World {
        epoch: start,
        estimator: Estimator::new(4.5e6),
        pacing: Pacing::new(4e6),
        pace: 4e6,
        chance: Chance(seed),
        line_free: start,
        last_due: start,
        flying: VecDeque::new(),
        last_left: None,
        reports: VecDeque::new(),
        untold: VecDeque::new(),
        suspended: false,
        enough: None,
        sound_due: start,
        download: Download::new(start),
        piece: Piece::default(),
    };
    let mut pieces = Vec::new();
    for ms in 0..seconds * 1000 {
        let (now, at) = (start + MS * ms as u32, ms as f64 / 1000.0);
        let link = schedule.iter().rev().find(|(from, _)| *from <= at).map_or(GOOD, |(_, link)| *link);
        world.judge(now);
        if link.download {
            world.downloads(&link, now);
        }
        if now >= world.sound_due {
            world.sound(&link, now);
        }
        if ms % 33 == 0 {
            world.picture(most, ms < 33);
        }
        let word = world.untold.front().map_or(Word::Comes, |left| world.estimator.watch(*left, now));
        world.piece.missed += u32::from(word > Word::Comes);
        world.pace = world.estimator.pace().max(5e3);
        world.pacing.set_rate(world.pace, now);
        while let Some(bits) = world.pacing.pop(now) {
            world.leaves(bits, &link, now);
        }
        if (ms + 1) % link.reports == 0 {
            world.report(&link, now);
        }
        if ms % 100 == 99 {
            pieces.push(world.close(at));
        }
        while world.reports.front().is_some_and(|(due, _)| *due <= now) {
            let (_, outcomes) = world.reports.pop_front().unwrap();
            world.estimator.on(&outcomes, now);
            let newest = outcomes.last().unwrap().left.at;
            world.untold.retain(|left| *left > newest);
        }
    }
    pieces
}

impl World {
    fn downloads(&mut self, link: &Link, now: Instant) {
        self.download.hears(now);
        while (self.download.flying.len() as f64) < self.download.window {
            let begin = self.line_free.max(now);
            let lost = begin - now > QUEUE;
            if !lost {
                self.line_free = begin + Duration::from_secs_f64(FULL / link.rate);
            }
            // The way back is as long, queue and all.
            let there = self.line_free + link.delay;
            self.download.flying.push_back((there + (there - now), lost, now));
            if lost {
                break;
            }
        }
    }

    fn judge(&mut self, now: Instant) {
        let target = self.estimator.target();
        if target < 65e3 {
            (self.suspended, self.enough) = (true, None);
        } else if target < 80e3 {
            self.enough = None;
        } else if now - *self.enough.get_or_insert(now) >= 2000 * MS {
            self.suspended = false;
        }
    }

    /// Long packets on a thin path; alone it takes what there is.
    fn sound(&mut self, link: &Link, now: Instant) {
        let target = self.estimator.target();
        let long = self.suspended || target < 90e3;
        let ms = if long { 40.0 } else { 20.0 };
        let headers = 480.0 * 1000.0 / ms;
        let rate = match target {
            _ if self.suspended => (target - headers).clamp(10e3, 24e3),
            ..110e3 => 16e3,
            ..250e3 => 24e3,
            _ => 32e3,
        };
        let bits = (rate + headers) * ms / 1000.0;
        self.pacing.passes(bits, now);
        self.leaves(bits, link, now);
        self.sound_due = now + MS * ms as u32;
    }

    fn picture(&mut self, most: f64, key: bool) {
        if self.pacing.backlog() > 120 * MS || self.suspended {
            return;
        }
        let budget = (self.estimator.target() * 0.93 - 60_000.0).clamp(20e3, most) / 30.0;
        let mut bits = budget * (0.6 + 0.8 * self.chance.next()) * if key { 8.0 } else { 1.0 };
        while bits > 0.0 {
            let size = bits.min(1270.0 * 8.0) + 60.0 * 8.0;
            self.pacing.push(size, size, 0);
            bits -= 1270.0 * 8.0;
        }
    }

    fn leaves(&mut self, bits: f64, link: &Link, now: Instant) {
        let pace = self.pace;
        let in_train =
            self.last_left.is_some_and(|(at, before)| (now - at).as_secs_f64() < before / pace + 0.0025);
        self.last_left = Some((now, bits));
        self.untold.push_back(now);
        let departure = Departure { at: now, bytes: (bits / 8.0) as usize, pace, in_train };
        self.piece.sent += bits * 10.0;
        let begin = self.line_free.max(now + Duration::from_secs_f64(link.others / 1e3));
        let waits = begin - now;
        self.piece.queue = self.piece.queue.max(waits.as_secs_f64() * 1e3);
        self.piece.packets += 1;
        self.piece.late += u32::from(waits > 200 * MS);
        let (lost, late) = (self.chance.next() < link.loss, self.chance.next());
        if waits > QUEUE || lost {
            self.flying.push_back((None, departure));
            return;
        }
        self.line_free = begin + Duration::from_secs_f64(bits / link.rate);
        self.last_due = self.last_due.max(self.line_free + link.delay + link.jitter.mul_f64(late));
        self.flying.push_back((Some(self.last_due), departure));
    }

    /// The other side tells of all up to the newest packet that it has.
    fn report(&mut self, link: &Link, now: Instant) {
        let newest = self.flying.iter().rposition(|(due, _)| due.is_some_and(|due| due <= now));
        let Some(newest) = newest else { return };
        let epoch = self.epoch;
        let outcome = |(due, left): (Option<Instant>, Departure)| {
            // Its clock runs from elsewhere.
            Outcome { left, arrived: due.map(|due| due - epoch + Duration::from_secs(77)) }
        };
        let outcomes: Vec<Outcome> = self.flying.drain(..=newest).map(outcome).collect();
        let back = self.line_free.saturating_duration_since(now);
        if self.chance.next() < link.loss {
            return;
        }
        let late = link.jitter.mul_f64(if link.jitter.is_zero() { 0.0 } else { self.chance.next() });
        self.reports.push_back((now + link.delay + late + back, outcomes));
    }

    fn close(&mut self, at: f64) -> Piece {
        let done = Piece { at, target: self.estimator.target(), ..self.piece };
        self.piece = Piece::default();
        done
    }
}

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
            "{:5.1} target {:5.0} sent {:5.0} queue {:4.0}\n",
            p.at,
            p.target / 1e3,
            p.sent / 1e3,
            p.queue
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

/// Reports come back through lines as full.
#[test]
fn stairs_down_to_50_kbs_are_followed() {
    let rates = [2000e3, 500e3, 250e3, 125e3, 50e3];
    let schedule: Vec<(f64, Link)> = rates
        .iter()
        .enumerate()
        .map(|(step, rate)| (9.0 * step as f64, Link { rate: *rate, ..GOOD }))
        .collect();
    for seed in 0..5 {
        let pieces = twice(seed, 45, 2.5e6, &schedule);
        for (from, link) in &schedule {
            let used = mean(&pieces, from + 3.0, from + 9.0, |p| p.sent) / link.rate;
            assert!((0.65..1.05).contains(&used), "{}: {used}\n{}", link.rate, show(&pieces));
        }
        let late: u32 = pieces.iter().map(|p| p.late).sum();
        let packets: u32 = pieces.iter().map(|p| p.packets).sum();
        assert!(late * 25 < packets, "{late} of {packets} waited over 200 ms\n{}", show(&pieces));
    }
}

#[test]
fn a_late_report_is_a_first_sign_for_a_moment_and_silence_is_one_until_it_ends() {
    let start = Instant::now();
    let at = |ms: u32| start + MS * ms;
    let mut estimator = Estimator::new(4.5e6);
    assert_eq!(estimator.watch(at(0), at(100)), Word::Comes);
    assert_eq!(estimator.next_word(at(0)), Some(at(130)));
    let free = estimator.pace();
    assert_eq!(estimator.watch(at(0), at(130)), Word::Late);
    let late = estimator.pace();
    assert!(late < 0.5 * free, "{free} {late}");
    assert_eq!(estimator.next_word(at(0)), Some(at(240)));
    assert_eq!(estimator.watch(at(0), at(240)), Word::Silent);
    assert!(estimator.pace() < 0.2 * late);
    assert_eq!(estimator.next_word(at(0)), None);
    assert_eq!(estimator.watch(at(200), at(250)), Word::Silent, "it gets no better by itself");
    let left = Departure { at: at(230), bytes: 1000, pace: 1e6, in_train: false };
    estimator.on(&[Outcome { left, arrived: Some(Duration::from_secs(77)) }], at(250));
    assert_eq!(estimator.watch(at(240), at(250)), Word::Comes);
    // A path that has become longer: each report is late now.
    assert_eq!(estimator.next_word(at(500)).map(|due| due > at(730)), Some(true), "not heeded any more");
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
