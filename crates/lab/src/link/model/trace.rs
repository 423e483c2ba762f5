//! What went through one direction, over time: for plots, and for how long packets queued.

use super::Counts;
use std::time::{Duration, Instant};

/// Bins are so long.
pub const BIN: Duration = Duration::from_millis(100);
/// overflow: two hours' bins are kept, what comes later is counted no more.
const MOST_BINS: usize = 72_000;
/// overflow: later waits are not kept.
const MOST_WAITS: usize = 1 << 20;

/// What happened in a tenth of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bin {
    /// Bytes that the sender gave to the link.
    pub sent: u64,
    /// Bytes that came out at the other end.
    pub delivered: u64,
    /// Packets that the sender gave to the link.
    pub packets: u32,
    /// Packets lost by chance or dropped by the full queue.
    pub lost: u32,
}

/// One direction's history.
#[derive(Clone, Debug)]
pub struct Trace {
    start: Instant,
    bins: Vec<Bin>,
    waits: Vec<(Duration, Duration)>,
}

impl Trace {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, bins: Vec::new(), waits: Vec::new() }
    }

    fn bin(&mut self, now: Instant) -> Option<&mut Bin> {
        let index = (now.saturating_duration_since(self.start).as_nanos() / BIN.as_nanos()) as usize;
        if index >= MOST_BINS {
            return None;
        }
        if index >= self.bins.len() {
            self.bins.resize(index + 1, Bin::default());
        }
        self.bins.get_mut(index)
    }

    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        if let Some(bin) = self.bin(now) {
            bin.sent += bytes as u64;
            bin.packets += 1;
        }
    }

    pub(super) fn delivered(&mut self, bytes: usize, now: Instant) {
        if let Some(bin) = self.bin(now) {
            bin.delivered += bytes as u64;
        }
    }

    pub(super) fn lost(&mut self, now: Instant) {
        if let Some(bin) = self.bin(now) {
            bin.lost += 1;
        }
    }

    /// A packet waited so long before it got on the line, at `now`.
    pub(super) fn waited(&mut self, wait: Duration, now: Instant) {
        if self.waits.len() < MOST_WAITS {
            self.waits.push((now.saturating_duration_since(self.start), wait));
        }
    }

    /// When the first bin begins.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Each bin of a span of time, those without packets too.
    pub fn bins(&self, from: Instant, to: Instant) -> Vec<Bin> {
        let index =
            |at: Instant| (at.saturating_duration_since(self.start).as_nanos() / BIN.as_nanos()) as usize;
        (index(from)..index(to).min(MOST_BINS))
            .map(|index| self.bins.get(index).copied().unwrap_or_default())
            .collect()
    }

    /// How long each packet waited to get on the line, its own time on the line not counted: when, since the
    /// trace's start, and how long. Only of a line with a rate.
    pub fn waits(&self, from: Instant, to: Instant) -> impl Iterator<Item = (Duration, Duration)> + '_ {
        let span = from.saturating_duration_since(self.start)..to.saturating_duration_since(self.start);
        self.waits.iter().copied().filter(move |(at, _)| span.contains(at))
    }
}

/// What happened to the packets so far, and its history.
#[derive(Clone, Debug)]
pub(super) struct Books {
    pub(super) counts: Counts,
    pub(super) trace: Trace,
}

impl Books {
    pub(super) fn lost(&mut self, now: Instant) {
        self.counts.lost += 1;
        self.trace.lost(now);
    }

    pub(super) fn dropped(&mut self, now: Instant) {
        self.counts.dropped += 1;
        self.trace.lost(now);
    }
}
