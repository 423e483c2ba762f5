//! At most one in a while, and none lost: the first request passes at once, those that follow too soon
//! come out together when the time is over.

use std::time::{Duration, Instant};

/// See the module's words. Pure: time is an argument.
#[derive(Debug)]
pub(crate) struct Throttle {
    every: Duration,
    last: Option<Instant>,
    waiting: bool,
}

impl Throttle {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, last: None, waiting: false }
    }

    /// Whether the request passes now. If not, [`Self::poll`] passes it at [`Self::deadline`].
    pub(crate) fn request(&mut self, now: Instant) -> bool {
        self.waiting = true;
        self.poll(now)
    }

    /// When the waiting request passes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.waiting {
            return None;
        }
        self.last.map(|last| last + self.every)
    }

    /// Whether a waiting request passes now.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        let free = self.last.is_none_or(|last| now >= last + self.every);
        let passes = self.waiting && free;
        if passes {
            self.waiting = false;
            self.last = Some(now);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_passes_and_the_rest_come_out_as_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut throttle = Throttle::new(Duration::from_millis(200));
        assert!(throttle.request(at(0)));
        assert_eq!(throttle.deadline(), None);
        assert!(!throttle.request(at(10)));
        assert!(!throttle.request(at(20)));
        assert_eq!(throttle.deadline(), Some(at(200)));
        assert!(!throttle.poll(at(199)));
        assert!(throttle.poll(at(200)));
        assert!(!throttle.poll(at(900)));
        assert!(throttle.request(at(900)));
    }
}
