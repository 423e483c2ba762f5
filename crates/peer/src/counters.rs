//! What is counted for each kind of media, from RTP and RTCP as they pass. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What we send.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) header_bytes: u64,
    pub(crate) retransmitted_packets: u64,
    pub(crate) retransmitted_bytes: u64,
    pub(crate) frames: u64,
    pub(crate) plis: u64,
    pub(crate) firs: u64,
    pub(crate) nacks: u64,
}

/// What the other side says of what we send.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reported {
    pub(crate) round_trip: Option<Duration>,
    pub(crate) measurements: u64,
    pub(crate) total_round_trip: Duration,
    pub(crate) fraction_lost: f64,
    pub(crate) lost: i64,
    /// In timestamp units.
    pub(crate) jitter: u32,
}

/// Sender reports that left, to know a round trip when they are echoed (RFC 3550, 6.4.1).
#[derive(Debug, Default)]
pub(crate) struct SentReports(VecDeque<(u32, Instant)>);

impl SentReports {
    const KEPT: usize = 16;

    /// `ntp`: the report's time; its middle 32 bits come back.
    pub(crate) fn left(&mut self, ntp: u64, now: Instant) {
        // overflow: the oldest is forgotten; reports are echoed within a few of their own intervals.
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back(((ntp >> 16) as u32, now));
    }

    /// `last`: which report is echoed; `delay`: how long it lay there, in 1/65536 s.
    pub(crate) fn echoed(&self, last: u32, delay: u32, now: Instant) -> Option<Duration> {
        let (_, left) = self.0.iter().rev().find(|(middle, _)| last != 0 && *middle == last)?;
        let delay = Duration::from_secs_f64(f64::from(delay) / 65_536.0);
        now.checked_duration_since(*left)?.checked_sub(delay)
    }
}

/// What we receive: counts, and loss and jitter as RFC 3550, appendix A, has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) header_bytes: u64,
    pub(crate) plis: u64,
    pub(crate) nacks: u64,
    /// Loss of streams that ended.
    lost_before: i64,
    stream: Option<Stream>,
}

#[derive(Clone, Debug)]
struct Stream {
    ssrc: u32,
    first: u64,
    highest: u64,
    received: u64,
    last: (u32, Instant),
    /// In timestamp units, times 16.
    jitter: f64,
}

/// One RTP packet, as far as counting goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) ssrc: u32,
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    pub(crate) bytes: usize,
    pub(crate) header_bytes: usize,
}

impl Received {
    pub(crate) fn packet(&mut self, seen: Seen, clock_rate: u32, now: Instant) {
        self.packets += 1;
        self.bytes += seen.bytes as u64;
        self.header_bytes += seen.header_bytes as u64;
        match &mut self.stream {
            Some(stream) if stream.ssrc == seen.ssrc => stream.packet(seen, clock_rate, now),
            other => {
                self.lost_before += other.as_ref().map_or(0, Stream::lost);
                let first = u64::from(seen.seq) + (1 << 16);
                let (ssrc, last) = (seen.ssrc, (seen.timestamp, now));
                *other = Some(Stream { ssrc, first, highest: first, received: 1, last, jitter: 0.0 });
            }
        }
    }

    /// Packets that never came; negative when duplicates came.
    pub(crate) fn lost(&self) -> i64 {
        self.lost_before + self.stream.as_ref().map_or(0, Stream::lost)
    }

    /// In seconds.
    pub(crate) fn jitter(&self, clock_rate: u32) -> f64 {
        self.stream.as_ref().map_or(0.0, |stream| stream.jitter / 16.0 / f64::from(clock_rate))
    }
}

impl Stream {
    fn packet(&mut self, seen: Seen, clock_rate: u32, now: Instant) {
        self.received += 1;
        let ahead = i64::from(seen.seq.wrapping_sub(self.highest as u16) as i16);
        let seq = self.highest.saturating_add_signed(ahead);
        if ahead <= 0 {
            // Late or repeated: its way says nothing of the jitter of the path now.
            self.first = self.first.min(seq);
            return;
        }
        self.highest = seq;
        let media = f64::from(seen.timestamp.wrapping_sub(self.last.0) as i32);
        let passed = now.saturating_duration_since(self.last.1).as_secs_f64() * f64::from(clock_rate);
        // A pause in sending (mute) is no jitter of the path.
        let difference = (passed - media).abs().min(f64::from(clock_rate));
        self.jitter += difference - self.jitter / 16.0;
        self.last = (seen.timestamp, now);
    }

    fn lost(&self) -> i64 {
        (self.highest - self.first + 1) as i64 - self.received as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(seq: u16, timestamp: u32) -> Seen {
        Seen { ssrc: 1, seq, timestamp, bytes: 100, header_bytes: 12 }
    }

    #[test]
    fn loss_counts_gaps_across_the_wrap_and_late_packets_make_it_good() {
        let start = Instant::now();
        let mut received = Received::default();
        for seq in [65_534_u16, 65_535, 1, 2] {
            received.packet(seen(seq, 0), 90_000, start);
        }
        assert_eq!((received.packets, received.lost()), (4, 1));
        received.packet(seen(0, 0), 90_000, start);
        assert_eq!(received.lost(), 0);
        received.packet(Seen { ssrc: 2, ..seen(9_000, 0) }, 90_000, start);
        assert_eq!(received.lost(), 0);
    }

    #[test]
    fn an_even_stream_has_no_jitter_and_an_uneven_one_has() {
        let start = Instant::now();
        let (mut even, mut uneven) = (Received::default(), Received::default());
        for n in 0..100_u32 {
            let at = start + Duration::from_millis(u64::from(n) * 20);
            even.packet(seen(n as u16, n * 960), 48_000, at);
            let late = Duration::from_millis(u64::from(n % 2) * 10);
            uneven.packet(seen(n as u16, n * 960), 48_000, at + late);
        }
        assert!(even.jitter(48_000) < 1e-6, "{}", even.jitter(48_000));
        assert!((uneven.jitter(48_000) - 0.010).abs() < 0.001, "{}", uneven.jitter(48_000));
    }

    #[test]
    fn a_round_trip_is_known_when_our_report_is_echoed() {
        let start = Instant::now();
        let mut reports = SentReports::default();
        reports.left(0x1234_5678_9abc_def0, start);
        let at = start + Duration::from_millis(150);
        let trip = reports.echoed(0x5678_9abc, 65_536 / 10, at).unwrap();
        assert!((trip.as_secs_f64() - 0.050).abs() < 0.001, "{trip:?}");
        assert_eq!(reports.echoed(0x5678_9abd, 0, at), None);
        assert_eq!(reports.echoed(0, 0, at), None);
        assert_eq!(reports.echoed(0x5678_9abc, 65_536, at), None);
    }
}
