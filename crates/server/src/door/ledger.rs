//! How many connections there are, in all and of each household. Pure, but for the lock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts. As long as there are connections, there are entries; no more.
#[derive(Debug)]
pub(crate) struct Ledger {
    most: usize,
    most_each: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// Why somebody does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// There are too many in all.
    All,
    /// There are too many of this household.
    Household,
}

/// A place; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Seat {
    ledger: Arc<Ledger>,
    household: Option<IpAddr>,
}

impl Ledger {
    pub(crate) fn new(most: usize, most_each: usize) -> Self {
        Self { most, most_each, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing here can panic half-way, so a poisoned state is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for somebody of this household; none is a proxy, behind which are many.
    pub(crate) fn seat(self: &Arc<Self>, household: Option<IpAddr>) -> Result<Seat, Crowded> {
        let mut inner = self.lock();
        if inner.all >= self.most {
            return Err(Crowded::All);
        }
        if let Some(ip) = household {
            let of_it = inner.each.get(&ip).copied().unwrap_or_default();
            if of_it >= self.most_each {
                return Err(Crowded::Household);
            }
            inner.each.insert(ip, of_it + 1);
        }
        inner.all += 1;
        Ok(Seat { ledger: self.clone(), household })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().all
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.ledger.lock();
        inner.all -= 1;
        let Some(ip) = self.household else { return };
        let left = inner.each.get(&ip).copied().unwrap_or_default();
        if left > 1 {
            inner.each.insert(ip, left - 1);
        } else {
            inner.each.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_come_back() {
        let ledger = Arc::new(Ledger::new(3, 2));
        let ip = |n: u8| Some(IpAddr::from([10, 0, 0, n]));
        let first = ledger.seat(ip(1)).unwrap();
        let _second = ledger.seat(ip(1)).unwrap();
        assert_eq!(ledger.seat(ip(1)).unwrap_err(), Crowded::Household);
        let third = ledger.seat(ip(2)).unwrap();
        assert_eq!(ledger.seat(ip(3)).unwrap_err(), Crowded::All);
        drop(third);
        assert_eq!(ledger.count(), 2);
        drop(first);
        let proxies = [ledger.seat(None).unwrap(), ledger.seat(None).unwrap()];
        assert_eq!(ledger.count(), 3);
        drop(proxies);
        let _again = ledger.seat(ip(1)).unwrap();
        assert_eq!(ledger.lock().each.len(), 1);
    }

    #[test]
    fn nothing_is_left_of_those_who_went() {
        let ledger = Arc::new(Ledger::new(10, 1));
        for n in 0..=255 {
            drop(ledger.seat(Some(IpAddr::from([10, 0, 0, n]))).unwrap());
        }
        assert_eq!((ledger.count(), ledger.lock().each.len()), (0, 0));
    }
}
