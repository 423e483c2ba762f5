//! Token buckets: of bytes for a credential, and of answers for addresses that showed no credential.

use crate::net::household;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// So many units a second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(rate: f64, burst: f64, now: Instant) -> Self {
        Self { rate, burst, tokens: burst, at: now }
    }

    /// Takes `units` if there are as many.
    pub(crate) fn take(&mut self, units: f64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.at = self.at.max(now);
        let enough = self.tokens >= units;
        if enough {
            self.tokens -= units;
        }
        enough
    }
}

/// Slots of [`Strangers`].
const SLOTS: usize = 8192;

/// How many answers strangers get: an address (of IPv6 a network of 64 bits) that sends requests without a
/// credential, or seems to, since a sender's address can be forged. It bounds what can be thrown at others by
/// way of us, and what forged requests cost. Addresses share slots by a hash that nobody else knows, so the
/// memory is always the same.
pub(crate) struct Strangers {
    slots: Vec<Bucket>,
    hash: RandomState,
}

/// Answers a second to one address, and at once.
const ANSWERS: (f64, f64) = (100.0, 500.0);

impl Strangers {
    pub(crate) fn new(now: Instant) -> Self {
        let slots = vec![Bucket::new(ANSWERS.0, ANSWERS.1, now); SLOTS];
        Self { slots, hash: RandomState::new() }
    }

    /// Whether `ip` gets one more answer.
    pub(crate) fn answer(&mut self, ip: IpAddr, now: Instant) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits of a hash are as good as any")]
        let slot = self.hash.hash_one(household(ip)) as usize % SLOTS;
        self.slots[slot].take(1.0, now)
    }
}

/// What passes at once over a rate: a quarter of a second, and never less than a picture.
pub(crate) fn burst(rate: f64) -> f64 {
    (rate * BURST.as_secs_f64()).max(64.0 * 1024.0)
}

const BURST: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn a_bucket_lets_the_rate_through_and_one_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000.0, 100.0, start);
        let mut taken = 0;
        for ms in 0..10_000 {
            taken += u32::from(bucket.take(2.0, start + Duration::from_millis(ms)));
        }
        assert!((5049..=5050).contains(&taken), "{taken}");
        assert!(!bucket.take(101.0, start + Duration::from_secs(100)), "more than the burst");
        assert!(bucket.take(100.0, start + Duration::from_secs(100)));
        assert!(!bucket.take(1.0, start), "a clock that goes back gives nothing");
    }

    #[test]
    fn one_stranger_does_not_use_up_the_answers_of_the_others() {
        let now = Instant::now();
        let mut strangers = Strangers::new(now);
        let attacker: IpAddr = "192.0.2.1".parse().unwrap();
        let answered = (0..100_000).filter(|_| strangers.answer(attacker, now)).count();
        assert_eq!(answered, 500);
        let others = (0..1000_u32).map(|n| IpAddr::V4((0x0a00_0000 + n).into()));
        let answered = others.filter(|ip| strangers.answer(*ip, now)).count();
        assert!(answered >= 990, "{answered}");
        // A home has 2^64 addresses of IPv6.
        let home = |n: u128| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + n));
        assert!((0..10_000).filter(|n| strangers.answer(home(*n), now)).count() <= 500);
    }
}
