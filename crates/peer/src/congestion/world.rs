//! A sender over a simulated link, on a virtual clock: for the tests.

use super::feedback::Outcome;
use super::{Departure, Estimator, Word};
use crate::pacing::{Pacing, Taken};
use crate::reports::Cadence;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub(super) const MS: Duration = Duration::from_millis(1);

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
pub(super) struct Link {
    /// Bits a second.
    pub(super) rate: f64,
    pub(super) delay: Duration,
    /// Evenly spread on top of that; packets keep their order.
    pub(super) jitter: Duration,
    /// Lost at random.
    pub(super) loss: f64,
    /// Somebody else's packets in its queue, ms.
    pub(super) others: f64,
    /// Between two reports, ms; 0: as ours are.
    pub(super) reports: u64,
    /// Somebody downloads over TCP.
    pub(super) download: bool,
    /// Nobody speaks: of the sound a mark leaves now and then.
    pub(super) quiet: bool,
}

pub(super) const GOOD: Link = Link {
    rate: 100e6,
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
    loss: 0.0,
    others: 0.0,
    reports: 0,
    download: false,
    quiet: false,
};
/// A packet that would wait longer is dropped.
const QUEUE: Duration = Duration::from_millis(400);

/// What was seen of one piece of 100 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Piece {
    /// At the end of it, s.
    pub(super) at: f64,
    pub(super) target: f64,
    /// Sent, bits a second.
    pub(super) sent: f64,
    /// The longest wait in the link's queue, ms.
    pub(super) queue: f64,
    /// Packets, and those of them that waited longer than 200 ms.
    pub(super) packets: u32,
    pub(super) late: u32,
    /// Ms for which reports were missed.
    pub(super) missed: u32,
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

/// A packet of a picture, or of sound.
#[derive(Clone, Copy)]
struct Part {
    bits: f64,
    /// The number of the picture of which it is the last.
    ends: Option<usize>,
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
    pacing: Pacing<Part>,
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
    /// As [`Estimator`]'s users do: no picture below 62 kb/s, until 80 kb/s were there for a while, twice as long after
    /// each that had to stop again soon (less where there is plenty, which is left out here).
    suspended: bool,
    enough: Option<Instant>,
    resumed: Option<Instant>,
    patience: Duration,
    sound_due: Instant,
    download: Download,
    piece: Piece,
    cadence: Cadence,
    /// When each picture was there, if it was sent whole.
    shown: Vec<Instant>,
    pictures: usize,
    /// All that waited was dropped: a keyframe is due.
    flushed: bool,
}

/// Sends pictures (30 a second, whose sizes vary) and sound over links that change at the times given.
pub(super) fn run(seed: u64, seconds: u64, most: f64, schedule: &[(f64, Link)]) -> Vec<Piece> {
    run_world(seed, seconds, most, schedule).0
}

/// As that, and the gaps between pictures that are freezes: when they ended, and how long they were, s.
pub(super) fn run_world(
    seed: u64,
    seconds: u64,
    most: f64,
    schedule: &[(f64, Link)],
) -> (Vec<Piece>, Vec<(f64, f64)>) {
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
        resumed: None,
        patience: 700 * MS,
        sound_due: start,
        download: Download::new(start),
        piece: Piece::default(),
        cadence: Cadence::default(),
        shown: Vec::new(),
        pictures: 0,
        flushed: false,
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
        world.flushed |= world.pacing.drop_hopeless(word == Word::Silent, now).is_some();
        while let Some(part) = world.pacing.pop(now) {
            world.leaves(part, &link, now);
        }
        let every = match link.reports {
            0 => world.cadence.every(),
            some => MS * some as u32,
        };
        if now - world.cadence.since.unwrap_or(start) >= every {
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
    let mut shown = world.shown;
    shown.push(start + Duration::from_secs(seconds));
    let gaps =
        shown.windows(2).map(|pair| ((pair[1] - start).as_secs_f64(), (pair[1] - pair[0]).as_secs_f64()));
    let freezes = gaps.filter(|(_, gap)| *gap > 0.183).collect();
    (pieces, freezes)
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
        if target < 62e3 {
            if !self.suspended {
                let soon = self.resumed.is_some_and(|at| now - at < 8000 * MS);
                self.patience = if soon { (self.patience * 2).min(32_000 * MS) } else { 700 * MS };
            }
            (self.suspended, self.enough) = (true, None);
        } else if target < 80e3 {
            self.enough = None;
        } else if self.suspended && now - *self.enough.get_or_insert(now) >= self.patience {
            (self.suspended, self.resumed) = (false, Some(now));
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
        let (ms, bits) = if link.quiet { (400.0, 600.0) } else { (ms, (rate + headers) * ms / 1000.0) };
        self.pacing.passes(bits, now);
        self.leaves(Part { bits, ends: None }, link, now);
        self.sound_due = now + MS * ms as u32;
    }

    fn picture(&mut self, most: f64, key: bool) {
        if self.pacing.backlog() > 120 * MS || self.suspended {
            return;
        }
        let budget = (self.estimator.target() * 0.93 - 60_000.0).clamp(20e3, most) / 30.0;
        let key = std::mem::take(&mut self.flushed) || key;
        if key {
            self.pacing.keyframe(0);
        }
        let mut bits = budget * (0.6 + 0.8 * self.chance.next()) * if key { 8.0 } else { 1.0 };
        self.pictures += 1;
        while bits > 0.0 {
            let size = bits.min(1270.0 * 8.0) + 60.0 * 8.0;
            bits -= 1270.0 * 8.0;
            let ends = (bits <= 0.0).then_some(self.pictures);
            if let Taken::Flushed(_) = self.pacing.push(Part { bits: size, ends }, size, 0) {
                self.flushed = true;
            }
        }
    }

    fn leaves(&mut self, Part { bits, ends }: Part, link: &Link, now: Instant) {
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
            if ends.is_some() {
                // It is sent again.
                let there = now + waits + 3 * (link.delay + link.jitter / 2);
                self.shown.push(self.shown.last().map_or(there, |last| there.max(*last)));
            }
            return;
        }
        self.line_free = begin + Duration::from_secs_f64(bits / link.rate);
        self.last_due = self.last_due.max(self.line_free + link.delay + link.jitter.mul_f64(late));
        self.flying.push_back((Some(self.last_due), departure));
        if ends.is_some() {
            let there = self.last_due;
            self.shown.push(self.shown.last().map_or(there, |last| there.max(*last)));
        }
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
        let came = outcomes.iter().filter(|outcome| outcome.arrived.is_some());
        self.cadence.came(came.map(|outcome| outcome.left.bytes as f64 * 8.0).sum(), now);
        self.cadence.left(now);
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
