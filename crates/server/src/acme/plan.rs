//! When to ask for a certificate. Pure.

use std::time::{Duration, SystemTime};

/// The first wait after a failure, and the longest. Let's Encrypt lets a name fail five times an hour.
const FIRST: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// When two thirds of a certificate's life are over.
pub(super) fn due(not_before: SystemTime, not_after: SystemTime) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    not_before + life / 3 * 2
}

/// How long to wait after so many failures in a row: each time three times as long, a quarter more or less by
/// `chance`, so that servers that failed together do not come back together.
pub(super) fn again_in(failures: u32, chance: u8) -> Duration {
    let wait = FIRST.saturating_mul(3_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST);
    wait.mul_f64(0.75 + f64::from(chance) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_certificate_of_ninety_days_is_renewed_after_sixty() {
        let day = Duration::from_secs(86_400);
        let start = UNIX_EPOCH + day * 20_000;
        assert_eq!(due(start, start + day * 90), start + day * 60);
        // One that ended before it began is due at once.
        assert_eq!(due(start, start - day), start);
    }

    #[test]
    fn failures_wait_ever_longer_but_for_no_more_than_hours() {
        let seconds = |failures| again_in(failures, 128).as_secs();
        assert_eq!((seconds(1), seconds(2), seconds(3)), (15, 45, 135));
        assert!((1..100).all(|n| again_in(n, 0) >= FIRST.mul_f64(0.75)));
        assert!((1..100).all(|n| again_in(n, 255) <= LONGEST.mul_f64(1.25)));
        // No more than five in the first hour.
        let hour: u64 = (1..=5).map(|n| again_in(n, 0).as_secs()).sum();
        assert!(hour > 1300, "{hour}");
    }
}
