//! When reports of what came leave (transport-wide congestion control).
//!
//! Who sends can hear of a queue no sooner than the next report, and a line of 2 Mb/s that falls to a quarter has
//! filled a queue of 400 ms in two of the usual tenths of a second. So reports are frequent where much comes. They
//! take of the line too, and where little comes they are as seldom as is usual. What comes after a pause is told at once.

use crate::pacer::wire_bytes;
use rtc::interceptor::{
    Interceptor, Packet, StreamInfo, TaggedPacket, TwccReceiverBuilder, TwccReceiverInterceptor,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use std::time::{Duration, Instant};

/// A report, as bits on the line, and the share of what comes that reports may take on the way back.
const REPORT: f64 = 100.0 * 8.0;
const SHARE: f64 = 0.025;
/// As often as of use, and as seldom as others do.
const LEAST: Duration = Duration::from_millis(25);
const MOST: Duration = Duration::from_millis(100);

/// How long to wait from one report to the next. Pure.
#[derive(Debug, Default)]
pub(crate) struct Cadence {
    /// Bits since the last report, and when that left, or the first packet came.
    bits: f64,
    pub(crate) since: Option<Instant>,
    /// Bits a second, smoothed.
    rate: f64,
}

impl Cadence {
    /// So many bits came.
    pub(crate) fn came(&mut self, bits: f64, now: Instant) {
        self.since.get_or_insert(now);
        self.bits += bits;
    }

    /// From one report to the next.
    pub(crate) fn every(&self) -> Duration {
        Duration::try_from_secs_f64(REPORT / (SHARE * self.rate.max(1.0))).unwrap_or(MOST).clamp(LEAST, MOST)
    }

    /// While nothing comes there is nothing to tell. What comes after a pause is told at once: who sent it may
    /// have been waiting for a word that the path is back.
    fn due(&self) -> Option<Instant> {
        (self.bits > 0.0).then_some(self.since? + self.every())
    }

    /// A report leaves.
    pub(crate) fn left(&mut self, now: Instant) {
        let Some(since) = self.since.replace(now) else { return };
        let passed = now.saturating_duration_since(since).as_secs_f64().max(0.001);
        self.rate += (self.bits / passed - self.rate) * (passed / 0.3).min(1.0);
        self.bits = 0.0;
    }
}

/// The stack's reports, at a pace of ours.
pub(crate) struct Reports {
    stack: TwccReceiverInterceptor,
    cadence: Cadence,
}

impl Reports {
    pub(crate) fn new() -> Self {
        // Its own clock never holds a report up.
        let stack = TwccReceiverBuilder::new().with_interval(Duration::ZERO).build();
        Self { stack, cadence: Cadence::default() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Reports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &packet.message.packet {
            self.cadence.came(wire_bytes(rtp) as f64 * 8.0, packet.now);
        }
        self.stack.handle_read(packet)
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.stack.poll_read()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.stack.handle_write(packet)
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.stack.poll_write()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.cadence.due().is_some_and(|due| due <= now) {
            self.cadence.left(now);
            self.stack.handle_timeout(now)?;
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.cadence.due()
    }
}

impl Interceptor for Reports {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.stack.bind_local_stream(info);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.stack.unbind_local_stream(info);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.stack.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.stack.unbind_remote_stream(info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 125 bytes at this rate: how often reports leave in the last of five seconds.
    fn reports_at(bits_a_second: f64) -> usize {
        let (mut cadence, start) = (Cadence::default(), Instant::now());
        let (mut owed, mut last) = (0.0, 0);
        for ms in 0..5000_u32 {
            let now = start + Duration::from_millis(u64::from(ms));
            owed += bits_a_second / 1000.0;
            while owed >= 1000.0 {
                cadence.came(1000.0, now);
                owed -= 1000.0;
            }
            if cadence.due().is_some_and(|due| due <= now) {
                cadence.left(now);
                last += usize::from(ms >= 4000);
            }
        }
        last
    }

    #[test]
    fn reports_are_frequent_where_much_comes_and_take_a_small_share_where_little_does() {
        assert_eq!(reports_at(3e6), 40);
        assert!((28..=33).contains(&reports_at(1e6)), "{}", reports_at(1e6));
        for thin in [40e3, 100e3, 250e3] {
            assert_eq!(reports_at(thin), 10);
        }
        assert_eq!(Cadence::default().due(), None, "nothing came: there is nothing to tell");
    }

    #[test]
    fn the_first_packet_after_a_pause_is_told_at_once() {
        let (mut cadence, start) = (Cadence::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        cadence.came(10_000.0, start);
        cadence.left(cadence.due().unwrap());
        assert_eq!(cadence.due(), None, "nothing came since");
        cadence.came(800.0, at(650));
        assert!(cadence.due().unwrap() <= at(650));
        cadence.left(at(650));
        cadence.came(800.0, at(670));
        assert_eq!(cadence.due(), Some(at(650) + MOST), "then in its turn");
    }
}
