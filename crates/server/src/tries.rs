//! Who tried how often: guesses at a password and knocks, so that nobody can try for ever, and nobody shuts
//! others out by trying. Pure.

use crate::address::Source;
use signaling::limits::{Bucket, Rate};
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// At one room from one address.
const THERE: Rate = Rate { burst: 6.0, refill: 1.0 / 20.0 };
/// From one address, wherever.
const FROM: Rate = Rate { burst: 20.0, refill: 1.0 / 5.0 };
/// At one room, from wherever. More than one address may have, so that one cannot use it up.
const AT: Rate = Rate { burst: 60.0, refill: 1.0 };
/// Keys that a table remembers: some 6 MB for all three.
const MOST: usize = 32 * 1024;

/// Token buckets by key; one that is full again is as good as none.
/// overflow: a key that finds no room is not remembered, see [`Buckets::take`].
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    most: usize,
    buckets: HashMap<K, Bucket>,
    swept: Option<Instant>,
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    /// None taken yet; so many keys are remembered.
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, buckets: HashMap::new(), swept: None }
    }

    /// Whether the key is remembered.
    fn knows(&self, key: K) -> bool {
        self.buckets.contains_key(&key)
    }

    /// Whether there is a token.
    fn has(&mut self, key: K, now: Instant) -> bool {
        self.buckets.get_mut(&key).is_none_or(|bucket| bucket.has(now))
    }

    /// Takes a token. None: there is none, or no room to remember that it was taken.
    pub fn take(&mut self, key: K, now: Instant) -> bool {
        if self.buckets.len() >= self.most && !self.knows(key) {
            // Once a second at most: a sweep looks at every key.
            if self.swept.is_none_or(|at| (now.saturating_duration_since(at)).as_secs() >= 1) {
                self.sweep(now);
            }
            if self.buckets.len() >= self.most {
                return false;
            }
        }
        self.buckets.entry(key).or_insert_with(|| Bucket::new(self.rate, now)).take(now)
    }

    /// Forgets what is full again.
    pub fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
        if self.buckets.capacity() > 4 * self.buckets.len().max(64) {
            self.buckets.shrink_to(2 * self.buckets.len());
        }
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

/// A room, by a number that says nothing about its name.
pub type Place = u64;

/// The tries at all rooms.
#[derive(Debug)]
pub struct Tries {
    there: Buckets<(Place, Source)>,
    from: Buckets<Source>,
    at: Buckets<Place>,
}

impl Default for Tries {
    fn default() -> Self {
        Self { there: Buckets::new(THERE, MOST), from: Buckets::new(FROM, MOST), at: Buckets::new(AT, MOST) }
    }
}

impl Tries {
    /// Whether an address may try at a room. The room's own limit binds only those that tried there before:
    /// a newcomer has a first try however many others try, as long as all who tried are remembered.
    pub fn may(&mut self, place: Place, from: Source, now: Instant) -> bool {
        let first = !self.there.knows((place, from)) && self.there.len() < MOST;
        self.there.has((place, from), now) && self.from.has(from, now) && (first || self.at.has(place, now))
    }

    /// One more try, in vain.
    pub fn count(&mut self, place: Place, from: Source, now: Instant) {
        // What could not be taken is counted already.
        self.there.take((place, from), now);
        self.from.take(from, now);
        self.at.take(place, now);
    }

    /// Forgets who has not tried for long.
    pub fn sweep(&mut self, now: Instant) {
        self.there.sweep(now);
        self.from.sweep(now);
        self.at.sweep(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn from(n: u32) -> Source {
        IpAddr::from(n.to_be_bytes()).into()
    }

    /// How many of so many tries are taken, one each so often.
    fn taken(tries: &mut Tries, from: Source, now: &mut Instant, count: u32, every: Duration) -> u32 {
        (0..count).fold(0, |taken, _| {
            *now += every;
            let may = tries.may(1, from, *now);
            if may {
                tries.count(1, from, *now);
            }
            taken + u32::from(may)
        })
    }

    #[test]
    fn ten_thousand_guesses_of_one_address_are_a_handful() {
        let (mut tries, mut now) = (Tries::default(), Instant::now());
        let guessed = taken(&mut tries, from(1), &mut now, 10_000, Duration::from_millis(10));
        assert!((6..=12).contains(&guessed), "{guessed} in 100 s");
        assert!(tries.may(1, from(2), now), "nobody else is shut out");
        assert!(tries.may(2, from(1), now), "of another room neither");
        now += Duration::from_secs(20);
        assert!(tries.may(1, from(1), now), "and they have another try");
    }

    #[test]
    fn many_addresses_share_the_rooms_limit_and_a_newcomer_has_a_first_try() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        let mut guessed = 0;
        for n in 0..1000 {
            for _ in 0..6 {
                if tries.may(1, from(n), now) {
                    tries.count(1, from(n), now);
                    guessed += 1;
                }
            }
        }
        assert!(guessed <= 60 + 1000, "{guessed}");
        assert!(!tries.may(1, from(5), now));
        assert!(tries.may(1, from(5000), now));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        for n in 0..100_000 {
            tries.count(u64::from(n), from(n), now);
        }
        assert!(tries.there.len() <= MOST && tries.from.len() <= MOST && tries.at.len() <= MOST);
        assert!(!tries.there.take((0, from(200_000)), now), "no room to remember it");
        tries.sweep(now + Duration::from_secs(3600));
        assert!(tries.there.is_empty() && tries.from.is_empty() && tries.at.is_empty());
    }
}
