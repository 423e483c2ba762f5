//! One direction of the link. Pure: time comes in as an argument, chance from a seed.
//!
//! A packet waits in the queue, is on the line for as long as the rate says, and is then under way for the
//! delay. When the rate changes, what is queued stays queued and leaves at the new rate.

mod trace;
mod way;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use trace::Books;
pub use trace::{BIN, Bin, Trace};
use way::{Chance, Luck};
pub use way::{Loss, Way};

/// No more packets than this are queued or under way in one direction, whatever the delay.
const MOST_UNDER_WAY: usize = 8192;

/// What happened to the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given to the link.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lost by chance or in an outage.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
    /// Arrived once more.
    pub duplicated: u64,
}

/// Waits to get on the line.
#[derive(Debug)]
struct Queued {
    packet: Vec<u8>,
    luck: Luck,
    since: Instant,
}

/// Packets on their way in one direction.
///
/// overflow: past the queue's limit, or past 8192 packets queued and under way, the newest is dropped and
/// counted.
#[derive(Debug)]
pub struct Pipe {
    way: Way,
    chance: Chance,
    burst: bool,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    /// Bits of the queue's first that are not on the line yet, once it has begun.
    begun: Option<f64>,
    /// Until when the line has been followed.
    line_at: Instant,
    last_due: Option<Instant>,
    /// By time due, then by order of coming.
    under_way: BTreeMap<(Instant, u64), Vec<u8>>,
    number: u64,
    books: Books,
}

impl Pipe {
    /// An empty pipe.
    pub fn new(way: Way, seed: u64, now: Instant) -> Self {
        Self {
            way,
            chance: Chance(seed),
            burst: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            begun: None,
            line_at: now,
            last_due: None,
            under_way: BTreeMap::new(),
            number: 0,
            books: Books { counts: Counts::default(), trace: Trace::new(now) },
        }
    }

    /// From now on packets fare so; those under way keep their time, those queued stay queued.
    pub fn set(&mut self, way: Way, now: Instant) {
        self.follow_line(now);
        self.way = way;
        self.follow_line(now);
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.books.counts
    }

    /// What happened when.
    pub fn trace(&self) -> &Trace {
        &self.books.trace
    }

    /// Takes a packet.
    pub fn push(&mut self, packet: Vec<u8>, now: Instant) {
        self.follow_line(now);
        self.books.counts.packets += 1;
        self.books.counts.bytes += packet.len() as u64;
        self.books.trace.sent(packet.len(), now);
        let luck = Luck::draw(&mut self.chance);
        if self.way.outage {
            self.books.lost(now);
        } else if self.queue.len() + self.under_way.len() >= MOST_UNDER_WAY || self.wait() > self.way.queue {
            self.books.dropped(now);
        } else {
            self.queued_bytes += packet.len();
            self.queue.push_back(Queued { packet, luck, since: now });
            self.follow_line(now);
        }
    }

    /// How long a packet that came now would wait to get on the line.
    fn wait(&self) -> Duration {
        let Some(rate) = self.way.rate else { return Duration::ZERO };
        let gone = match (self.begun, self.queue.front()) {
            (Some(left), Some(first)) => first.packet.len() as f64 * 8.0 - left,
            _ => 0.0,
        };
        seconds((self.queued_bytes as f64 * 8.0 - gone) / rate.max(1) as f64)
    }

    /// Lets the line send what it can until `now`.
    fn follow_line(&mut self, now: Instant) {
        while let Some(done) = self.line_done() {
            if done > now {
                break;
            }
            let Some(Queued { packet, luck, since }) = self.queue.pop_front() else { break };
            if let Some(rate) = self.way.rate {
                let on_line = seconds(packet.len() as f64 * 8.0 / rate.max(1) as f64);
                let began = done.checked_sub(on_line).unwrap_or(since).max(since);
                self.books.trace.waited(began - since, done);
            }
            self.queued_bytes -= packet.len();
            self.begun = None;
            self.line_at = done;
            self.send_off(packet, luck, done);
        }
        self.account(now);
    }

    /// Writes down how much of the first packet is on the line by `now`, for the rate may change.
    fn account(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.line_at).as_secs_f64();
        if let (Some(rate), Some(first)) = (self.way.rate, self.queue.front()) {
            let left = self.begun.unwrap_or(first.packet.len() as f64 * 8.0);
            self.begun = Some((left - passed * rate as f64).max(0.0));
        }
        self.line_at = self.line_at.max(now);
    }

    /// When the queue's first will have been sent.
    fn line_done(&self) -> Option<Instant> {
        let first = self.queue.front()?;
        let start = self.line_at.max(first.since);
        let Some(rate) = self.way.rate else { return Some(start) };
        let left = self.begun.unwrap_or(first.packet.len() as f64 * 8.0);
        Some(start + seconds(left / rate.max(1) as f64))
    }

    /// A packet has left the line.
    fn send_off(&mut self, packet: Vec<u8>, luck: Luck, sent: Instant) {
        // It is lost only here: a lost packet was on the line all the same.
        if self.way.loss.takes(luck.loss, &mut self.burst) {
            self.books.lost(sent);
            return;
        }
        let mut due = sent + self.way.delay + self.way.jitter.mul_f64(luck.jitter);
        if !self.way.overtaking {
            due = self.last_due.map_or(due, |last| due.max(last));
        }
        if luck.reorder < self.way.reorder {
            due += self.way.held.mul_f64(luck.held);
        } else {
            self.last_due = Some(self.last_due.map_or(due, |last| due.max(last)));
        }
        if luck.duplicate < self.way.duplicate && self.under_way.len() < MOST_UNDER_WAY {
            self.books.counts.duplicated += 1;
            self.schedule(packet.clone(), due);
        }
        self.schedule(packet, due);
    }

    fn schedule(&mut self, packet: Vec<u8>, due: Instant) {
        self.number += 1;
        self.under_way.insert((due, self.number), packet);
    }

    /// When there is something to do next: a packet arrives, or leaves the line.
    pub fn next_due(&self) -> Option<Instant> {
        let arrives = self.under_way.first_key_value().map(|((due, _), _)| *due);
        [arrives, self.line_done()].into_iter().flatten().min()
    }

    /// A packet that has arrived by `now`.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.follow_line(now);
        let first = self.under_way.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let packet = first.remove();
        self.books.trace.delivered(packet.len(), now);
        Some(packet)
    }
}

fn seconds(seconds: f64) -> Duration {
    // A rate of next to nothing would give more than a Duration holds.
    Duration::try_from_secs_f64(seconds.clamp(0.0, 1e6)).unwrap_or_default()
}

#[cfg(test)]
#[path = "model/tests.rs"]
mod tests;
