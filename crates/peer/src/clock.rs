//! Media times and clocks: what our sender reports say, and what theirs said (RFC 3550, 6.4.1).

use crate::Kind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Of one kind: a media time of ours and when it was, and one of theirs.
#[derive(Clone, Copy, Debug, Default)]
struct Anchors {
    local: Option<(u32, Instant)>,
    remote: Option<Remote>,
}

/// A sender report.
#[derive(Clone, Copy, Debug)]
struct Remote {
    ssrc: u32,
    /// Their clock, microseconds.
    us: i64,
    timestamp: u32,
}

/// Shared by senders, receivers and the tap; held locked for a copy only.
#[derive(Debug, Default)]
pub(crate) struct Clocks(Mutex<[Anchors; 2]>);

impl Clocks {
    fn lock(&self) -> MutexGuard<'_, [Anchors; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What leaves with this media time was captured then.
    pub(crate) fn local(&self, kind: Kind, timestamp: u32, captured: Instant) {
        self.lock()[kind as usize].local = Some((timestamp, captured));
    }

    /// Our media time at `now`.
    pub(crate) fn local_time(&self, kind: Kind, now: Instant) -> Option<u32> {
        let (timestamp, captured) = self.lock()[kind as usize].local?;
        let passed = now.saturating_duration_since(captured).as_secs_f64();
        Some(timestamp.wrapping_add((passed * f64::from(kind.clock_rate())) as u64 as u32))
    }

    /// A sender report came: at `ntp` (RFC 3550's 64 bits) their media time was `timestamp`.
    pub(crate) fn remote(&self, kind: Kind, ssrc: u32, ntp: u64, timestamp: u32) {
        let (seconds, fraction) = (ntp >> 32, ntp & 0xffff_ffff);
        let us = (seconds * 1_000_000 + ((fraction * 1_000_000) >> 32)) as i64;
        self.lock()[kind as usize].remote = Some(Remote { ssrc, us, timestamp });
    }

    /// When, by their clock, this media time of theirs was; microseconds.
    pub(crate) fn remote_time(&self, kind: Kind, ssrc: u32, timestamp: u32) -> Option<i64> {
        let anchor = self.lock()[kind as usize].remote.filter(|anchor| anchor.ssrc == ssrc)?;
        let ticks = i64::from(timestamp.wrapping_sub(anchor.timestamp) as i32);
        Some(anchor.us + ticks * 1_000_000 / i64::from(kind.clock_rate()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn media_time_goes_on_from_when_it_was_captured() {
        let (start, clocks) = (Instant::now(), Clocks::default());
        assert_eq!(clocks.local_time(Kind::Video, start), None);
        clocks.local(Kind::Video, u32::MAX - 10, start);
        let later = clocks.local_time(Kind::Video, start + Duration::from_millis(100));
        assert_eq!(later, Some((u32::MAX - 10).wrapping_add(9000)));
    }

    #[test]
    fn their_media_time_is_a_time_of_their_clock() {
        let clocks = Clocks::default();
        assert_eq!(clocks.remote_time(Kind::Audio, 7, 0), None);
        clocks.remote(Kind::Audio, 7, (5 << 32) | (1 << 31), 1000);
        assert_eq!(clocks.remote_time(Kind::Audio, 7, 1000 + 480), Some(5_510_000));
        assert_eq!(clocks.remote_time(Kind::Audio, 7, 1000_u32.wrapping_sub(48_000)), Some(4_500_000));
        assert_eq!(clocks.remote_time(Kind::Audio, 8, 1000), None, "another stream");
        assert_eq!(clocks.remote_time(Kind::Video, 7, 1000), None);
        // Nonsense is a time, and no more.
        clocks.remote(Kind::Audio, 7, u64::MAX, u32::MAX);
        assert!(clocks.remote_time(Kind::Audio, 7, 0).is_some());
    }
}
