//! How many connections ask over HTTP at the same time: until one becomes a WebSocket or ends it costs some
//! 16 kB, where one that only waits costs 3. Those beyond wait their turn, each household in a line of its
//! own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Lines = Mutex<HashMap<IpAddr, Arc<Semaphore>>>;

/// Lets so many through at a time.
pub(super) struct Turnstile {
    all: Arc<Semaphore>,
    most: usize,
    each: Arc<Lines>,
    most_each: usize,
}

/// Somebody who is through. Fields are dropped in this order: the line last, to see whether it is empty.
pub(super) struct Pass {
    _all: OwnedSemaphorePermit,
    _each: Option<OwnedSemaphorePermit>,
    _line: Option<Line>,
}

/// A household's line, for whoever waits in it or came through it.
struct Line {
    household: IpAddr,
    lines: Arc<Lines>,
}

fn lock(lines: &Lines) -> MutexGuard<'_, HashMap<IpAddr, Arc<Semaphore>>> {
    // Nothing here can panic half-way, so a poisoned state is still whole.
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turnstile {
    pub(super) fn new(most: usize, most_each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), most, each: Arc::default(), most_each }
    }

    /// Whether half of the places are taken: then nobody should keep one for what may come.
    pub(super) fn is_busy(&self) -> bool {
        self.all.available_permits() <= self.most / 2
    }

    /// Waits for its turn; a proxy (none) only for that of all. None never comes, for it is never closed.
    pub(super) async fn pass(&self, household: Option<IpAddr>) -> Option<Pass> {
        let (mut line, mut each) = (None, None);
        if let Some(household) = household {
            let semaphore = {
                let mut lines = lock(&self.each);
                lines.entry(household).or_insert_with(|| Arc::new(Semaphore::new(self.most_each))).clone()
            };
            line = Some(Line { household, lines: self.each.clone() });
            each = Some(semaphore.acquire_owned().await.ok()?);
        }
        Some(Pass { _all: self.all.clone().acquire_owned().await.ok()?, _each: each, _line: line })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut lines = lock(&self.lines);
        // Who waits or is through holds the semaphore too.
        if lines.get(&self.household).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.household);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn each_household_has_a_line_and_nothing_is_left_of_it() {
        let turnstile = Turnstile::new(4, 2);
        let ip = |n: u8| Some(IpAddr::from([10, 0, 0, n]));
        let first = turnstile.pass(ip(1)).await.unwrap();
        let _second = turnstile.pass(ip(1)).await.unwrap();
        let mut third = Box::pin(turnstile.pass(ip(1)));
        assert!(third.as_mut().now_or_never().is_none(), "two of a household");
        let other = turnstile.pass(ip(2)).await.unwrap();
        drop(first);
        let third = third.await.unwrap();
        let _proxy = turnstile.pass(None).await.unwrap();
        assert!(turnstile.pass(ip(3)).now_or_never().is_none(), "four in all");
        assert_eq!(lock(&turnstile.each).len(), 2, "whoever gave up left no line");
        drop((other, third));
        assert_eq!(lock(&turnstile.each).len(), 1);
        assert!(turnstile.pass(ip(3)).now_or_never().is_some());
    }
}
