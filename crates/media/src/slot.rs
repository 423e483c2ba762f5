//! A slot for one value, where the latest wins: how raw pictures cross threads without a queue.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Called after each [`Slot::put`], outside the lock, on the putting thread; must not block.
pub type Waker = Box<dyn Fn() + Send + Sync>;

struct State<T> {
    value: Option<T>,
    overwritten: u64,
    closed: bool,
    nudged: bool,
    waker: Option<Arc<Waker>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

/// A handle to a slot; clones share it.
///
/// overflow: a value not yet taken is replaced and counted ([`Slot::overwritten`]).
pub struct Slot<T>(Arc<Shared<T>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        let state = State { value: None, overwritten: 0, closed: false, nudged: false, waker: None };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }
}

impl<T> std::fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, State<T>> {
        // Nothing below panics while holding the lock, so what a poisoned one guards is sound.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a value in, replacing one that nobody took. Ignored once closed.
    pub fn put(&self, value: T) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let old = state.value.replace(value);
        state.overwritten += u64::from(old.is_some());
        let waker = state.waker.clone();
        drop(state);
        drop(old);
        self.0.changed.notify_all();
        if let Some(wake) = waker {
            wake();
        }
    }

    /// Takes the value, if there is one.
    pub fn take(&self) -> Option<T> {
        self.lock().value.take()
    }

    /// Waits for a value until `deadline`; `None` when none came, or the slot was closed or nudged.
    pub fn wait(&self, deadline: Instant) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(value) = state.value.take() {
                return Some(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() || std::mem::take(&mut state.nudged) {
                return None;
            }
            state = match self.0.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Ends one [`Slot::wait`] without a value, the next one if none is under way: something else wants
    /// the waiter's attention. A value that is there is still taken first.
    pub fn nudge(&self) {
        self.lock().nudged = true;
        self.0.changed.notify_all();
    }

    /// Wakes whoever waits, for good; what was in the slot is dropped.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.value = None;
        // It may hold a clone of this slot.
        let waker = state.waker.take();
        drop(state);
        drop(waker);
        self.0.changed.notify_all();
    }

    /// Whether [`Slot::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Values replaced before anyone took them.
    pub fn overwritten(&self) -> u64 {
        self.lock().overwritten
    }

    /// Has `waker` called after each value put in; `None` takes it away.
    pub fn set_waker(&self, waker: Option<Waker>) {
        self.lock().waker = waker.map(Arc::new);
    }
}

impl<T: Clone> Slot<T> {
    /// A copy of the value, leaving it for others.
    pub fn peek(&self) -> Option<T> {
        self.lock().value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_latest_wins_and_losses_are_counted() {
        let slot = Slot::default();
        slot.put(1);
        slot.put(2);
        assert_eq!((slot.take(), slot.take(), slot.overwritten()), (Some(2), None, 1));
    }

    #[test]
    fn a_waiting_thread_gets_each_value_put_while_it_waits() {
        let slot = Slot::<u32>::default();
        let taker = slot.clone();
        let far = Instant::now() + Duration::from_secs(60);
        let thread = std::thread::Builder::new().spawn(move || taker.wait(far)).unwrap();
        slot.put(7);
        assert_eq!(thread.join().unwrap(), Some(7));
    }

    #[test]
    fn a_nudge_ends_one_wait_even_when_it_came_first() {
        let slot = Slot::<u32>::default();
        let far = Instant::now() + Duration::from_secs(60);
        slot.nudge();
        assert_eq!(slot.wait(far), None);
        slot.put(3);
        assert_eq!(slot.wait(far), Some(3));
    }

    #[test]
    fn closing_wakes_the_waiter() {
        let slot = Slot::<u32>::default();
        let taker = slot.clone();
        let far = Instant::now() + Duration::from_secs(60);
        let thread = std::thread::Builder::new().spawn(move || taker.wait(far)).unwrap();
        slot.close();
        assert_eq!(thread.join().unwrap(), None);
    }
}
