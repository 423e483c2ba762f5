//! Counting received packets as RFC 3550 does.

use crate::rtp::RtpPacket;
use std::time::Instant;

/// Packets received, lost, and their jitter; pure.
#[derive(Debug, Default)]
pub(super) struct Reception {
    first: Option<i64>,
    highest: i64,
    pub(super) packets: u64,
    transit: Option<(Instant, u32)>,
    /// In 1/90000 s.
    jitter: f64,
}

impl Reception {
    pub(super) fn on(&mut self, packet: &RtpPacket) {
        self.packets += 1;
        match self.first {
            None => {
                self.first = Some(i64::from(packet.seq));
                self.highest = i64::from(packet.seq);
            }
            Some(_) => {
                let ahead = packet.seq.wrapping_sub(self.highest as u16) as i16;
                self.highest = self.highest.max(self.highest + i64::from(ahead));
            }
        }
        if let Some((arrived, timestamp)) = self.transit {
            let ticks = match packet.arrived.checked_duration_since(arrived) {
                Some(later) => later.as_secs_f64() * 90_000.0,
                None => -(arrived.saturating_duration_since(packet.arrived).as_secs_f64() * 90_000.0),
            };
            let media = f64::from(packet.timestamp.wrapping_sub(timestamp) as i32);
            // Half a second of difference is a new source, not jitter.
            let difference = (ticks - media).abs();
            if difference < 45_000.0 {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
        self.transit = Some((packet.arrived, packet.timestamp));
    }

    /// Packets expected less those received; retransmissions that came make up for losses.
    pub(super) fn lost(&self) -> u64 {
        let Some(first) = self.first else { return 0 };
        u64::try_from(self.highest - first + 1).unwrap_or(0).saturating_sub(self.packets)
    }

    pub(super) fn jitter_ms(&self) -> f64 {
        self.jitter / 90.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;

    #[test]
    fn losses_are_counted_over_the_wrap_and_made_up_for() {
        let start = Instant::now();
        let mut reception = Reception::default();
        let mut send = |n: u16, late: u64| {
            let at = u64::from(n) * 33 + late;
            reception.on(&RtpPacket {
                seq: 65_530_u16.wrapping_add(n),
                timestamp: u32::from(n) * 2970,
                marker: true,
                payload: Bytes::new(),
                arrived: start + Duration::from_millis(at),
                sender_us: None,
            });
            (reception.lost(), reception.jitter_ms())
        };
        for n in (0..20).filter(|n| *n != 7) {
            send(n, 0);
        }
        assert_eq!(send(20, 0), (1, 0.0));
        let (lost, jitter) = send(7, 500);
        assert_eq!(lost, 0);
        assert!((0.0..=4.0).contains(&jitter), "{jitter}");
    }
}
