//! What left, and what became of it (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Packets remembered: three seconds and more at 4 Mb/s.
const KEPT: usize = 2048;
/// What is not reported within this time never is.
const OLDEST: Duration = Duration::from_secs(5);

/// A packet that left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    pub(crate) at: Instant,
    /// The whole IP packet.
    pub(crate) bytes: usize,
    /// How fast the pacer was letting packets go, bits a second.
    pub(crate) pace: f64,
    /// It followed the one before as fast as the pacer allowed: part of a train.
    pub(crate) in_train: bool,
}

/// What the other side says of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) left: Departure,
    /// By the other side's clock, from some beginning; `None`: it did not come.
    pub(crate) arrived: Option<Duration>,
}

/// The longest time of which nothing came that left in it.
pub(super) fn longest_hole(outcomes: &[Outcome]) -> Duration {
    let Some(mut last) = outcomes.first().map(|outcome| outcome.left.at) else { return Duration::ZERO };
    let came = outcomes.iter().filter(|outcome| outcome.arrived.is_some()).map(|outcome| outcome.left.at);
    came.map(|at| at.saturating_duration_since(std::mem::replace(&mut last, at))).max().unwrap_or_default()
}

#[derive(Debug)]
struct Entry {
    departure: Departure,
    /// It was reported as received: a second report of it says nothing new.
    received: bool,
    /// It was reported as lost. It may still come.
    lost: bool,
}

/// Packets that left, by transport-wide number.
#[derive(Debug, Default)]
pub(crate) struct SentHistory {
    entries: VecDeque<Option<Entry>>,
    /// The number of the first entry, unwrapped.
    first: i64,
    /// The number after the newest that any report told of, unwrapped.
    told: Option<i64>,
    clock: RemoteClock,
}

impl SentHistory {
    /// A packet of this number left. Numbers grow by one; one that was skipped counts as never sent.
    pub(crate) fn left(&mut self, seq: u16, departure: Departure) {
        if self.entries.is_empty() {
            self.first = i64::from(seq);
            self.told = None;
        }
        let next = self.first + self.entries.len() as i64;
        let ahead = i64::from(seq.wrapping_sub(next as u16));
        if ahead >= KEPT as i64 {
            // Not a run of numbers any more: begin anew.
            self.entries.clear();
            self.first = i64::from(seq);
            self.told = None;
        } else {
            (0..ahead).for_each(|_| self.entries.push_back(None));
        }
        self.entries.push_back(Some(Entry { departure, received: false, lost: false }));
        // overflow: the oldest is forgotten, and a report of it ignored.
        while self.entries.len() > KEPT || self.front_older_than(departure.at) {
            self.entries.pop_front();
            self.first += 1;
        }
    }

    fn front_older_than(&self, now: Instant) -> bool {
        self.entries.front().is_some_and(|front| {
            front.as_ref().is_none_or(|entry| now.saturating_duration_since(entry.departure.at) > OLDEST)
        }) && self.entries.len() > 1
    }

    /// Reads a report; each packet of it that is remembered, in order of leaving, into `outcomes`. A packet is
    /// told as lost once at most, and as received once at most.
    pub(crate) fn reported(&mut self, report: &TransportLayerCc, outcomes: &mut Vec<Outcome>) {
        outcomes.clear();
        let mut at = self.clock.reference(report.reference_time);
        let mut deltas = report.recv_deltas.iter();
        let base = self.unwrap(report.base_sequence_number);
        let mut count = i64::from(report.packet_status_count);
        let mut seq = base;
        for chunk in &report.packet_chunks {
            let symbols: &mut dyn Iterator<Item = SymbolTypeTcc> = match chunk {
                PacketStatusChunk::RunLengthChunk(run) => {
                    &mut std::iter::repeat_n(run.packet_status_symbol, usize::from(run.run_length))
                }
                PacketStatusChunk::StatusVectorChunk(vector) => &mut vector.symbol_list.iter().copied(),
            };
            for symbol in symbols {
                // The last chunk may hold more symbols than there are packets.
                if count == 0 {
                    return;
                }
                count -= 1;
                let arrived = match symbol {
                    SymbolTypeTcc::PacketNotReceived => None,
                    SymbolTypeTcc::PacketReceivedWithoutDelta => {
                        seq += 1;
                        self.told = self.told.max(Some(seq));
                        continue;
                    }
                    SymbolTypeTcc::PacketReceivedSmallDelta | SymbolTypeTcc::PacketReceivedLargeDelta => {
                        // More packets than times: the report is broken from here on.
                        let Some(delta) = deltas.next() else { return };
                        at += delta.delta;
                        Some(at)
                    }
                };
                self.told = self.told.max(Some(seq + 1));
                if let Some(outcome) = self.outcome(seq, arrived) {
                    outcomes.push(outcome);
                }
                seq += 1;
            }
        }
    }

    /// When the first packet left that no report has told of yet; `None` when all were told of.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        let from = self.told.map_or(0, |told| usize::try_from(told - self.first).unwrap_or(0));
        self.entries.iter().skip(from).flatten().next().map(|entry| entry.departure.at)
    }

    /// The number closest to those that are remembered.
    fn unwrap(&self, seq: u16) -> i64 {
        let last = self.first + self.entries.len() as i64;
        last + i64::from(seq.wrapping_sub(last as u16) as i16)
    }

    fn outcome(&mut self, seq: i64, arrived_us: Option<i64>) -> Option<Outcome> {
        let index = usize::try_from(seq - self.first).ok()?;
        let entry = self.entries.get_mut(index)?.as_mut()?;
        let known = match arrived_us {
            Some(_) => std::mem::replace(&mut entry.received, true),
            None => entry.received || std::mem::replace(&mut entry.lost, true),
        };
        if known {
            return None;
        }
        let arrived = arrived_us.map(|us| Duration::from_micros(u64::try_from(us).unwrap_or(0)));
        Some(Outcome { left: entry.departure, arrived })
    }
}

/// Unwraps reference times: 24 bits of 64 ms, twelve days.
#[derive(Debug, Default)]
struct RemoteClock {
    last: Option<i64>,
}

impl RemoteClock {
    /// In microseconds, never negative for a clock that runs forward.
    fn reference(&mut self, time: u32) -> i64 {
        const RANGE: i64 = 1 << 24;
        let time = i64::from(time) % RANGE;
        let unwrapped = match self.last {
            // One range up, so that an early report that comes late is not before the beginning.
            None => time + RANGE,
            Some(last) => {
                let ahead = (time - last).rem_euclid(RANGE);
                last + if ahead >= RANGE / 2 { ahead - RANGE } else { ahead }
            }
        };
        self.last = Some(unwrapped);
        unwrapped * 64_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
        RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    };

    fn departure(at: Instant) -> Departure {
        Departure { at, bytes: 1000, pace: 1e6, in_train: false }
    }

    fn run(symbol: SymbolTypeTcc, run_length: u16) -> PacketStatusChunk {
        let type_tcc = StatusChunkTypeTcc::RunLengthChunk;
        PacketStatusChunk::RunLengthChunk(RunLengthChunk {
            type_tcc,
            packet_status_symbol: symbol,
            run_length,
        })
    }

    fn report(base: u16, count: u16, chunks: Vec<PacketStatusChunk>, deltas: &[i64]) -> TransportLayerCc {
        TransportLayerCc {
            base_sequence_number: base,
            packet_status_count: count,
            reference_time: 10,
            packet_chunks: chunks,
            recv_deltas: deltas
                .iter()
                .map(|&delta| RecvDelta { type_tcc_packet: SymbolTypeTcc::PacketReceivedSmallDelta, delta })
                .collect(),
            ..Default::default()
        }
    }

    fn told(history: &mut SentHistory, report: &TransportLayerCc) -> Vec<Option<u64>> {
        let mut outcomes = Vec::new();
        history.reported(report, &mut outcomes);
        let base = ((1_u64 << 24) + 10) * 64_000;
        outcomes.iter().map(|o| o.arrived.map(|at| at.as_micros() as u64 - base)).collect()
    }

    #[test]
    fn packets_are_told_received_or_lost_across_the_wrap_and_once() {
        let start = Instant::now();
        let mut history = SentHistory::default();
        (0..6_u16).for_each(|n| history.left(65_533_u16.wrapping_add(n), departure(start)));
        let received = SymbolTypeTcc::PacketReceivedSmallDelta;
        let vector = PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
            type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
            symbol_size: SymbolSizeTypeTcc::TwoBit,
            symbol_list: vec![received, SymbolTypeTcc::PacketNotReceived, received, received],
        });
        let first = report(65_533, 3, vec![vector], &[250, 500, 1000]);
        assert_eq!(told(&mut history, &first), [Some(250), None, Some(750)]);
        assert_eq!(told(&mut history, &first), []);
        // The lost one came after all.
        let late = report(65_534, 1, vec![run(received, 1)], &[9000]);
        assert_eq!(told(&mut history, &late), [Some(9000)]);
        let rest = report(0, 3, vec![run(received, 3)], &[0, 0, 0]);
        assert_eq!(told(&mut history, &rest).len(), 3);
    }

    #[test]
    fn nonsense_is_cut_short() {
        let start = Instant::now();
        let mut history = SentHistory::default();
        (0..10).for_each(|n| history.left(n, departure(start)));
        let received = SymbolTypeTcc::PacketReceivedSmallDelta;
        let huge: Vec<_> = (0..600).map(|_| run(SymbolTypeTcc::PacketNotReceived, 8191)).collect();
        assert!(told(&mut history, &report(0, 65_535, huge, &[])).len() <= 10);
        let short = report(0, 10, vec![run(received, 10)], &[1, 1]);
        assert_eq!(told(&mut history, &short).len(), 2);
        assert_eq!(told(&mut history, &report(40_000, 3, vec![run(received, 3)], &[1, 1, 1])), []);
        assert_eq!(told(&mut SentHistory::default(), &short), []);
        let back = report(5, 1, vec![run(received, 1)], &[i64::MIN / 4]);
        assert!(told_is_bounded(&mut history, &back));
    }

    fn told_is_bounded(history: &mut SentHistory, report: &TransportLayerCc) -> bool {
        let mut outcomes = Vec::new();
        history.reported(report, &mut outcomes);
        outcomes.iter().all(|outcome| outcome.arrived == Some(Duration::ZERO))
    }

    #[test]
    fn memory_is_bounded_and_a_jump_begins_anew() {
        let start = Instant::now();
        let mut history = SentHistory::default();
        (0..60_000_u32).for_each(|n| history.left(n as u16, departure(start)));
        assert_eq!(history.entries.len(), KEPT);
        history.left(20_000, departure(start));
        assert!(history.entries.len() <= KEPT);
        let later = start + Duration::from_secs(20);
        history.left(20_001, departure(later));
        assert_eq!(history.entries.len(), 1);
    }
}
