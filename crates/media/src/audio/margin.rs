//! How much more than the least is held ready for a device, by when it ran dry. Pure.
//!
//! More after each time, and less again once all has been well for a while; but each try that is too little is a click,
//! so what was too little is not tried again soon: it may have been the machine, or it may be what the device needs.

use std::time::Duration;

/// All is well for so long before it is a step less.
const WELL: Duration = Duration::from_secs(30);
/// What was too little once is tried again after so long, and what was too little then as well after that.
const SOME: Duration = Duration::from_secs(120);
const LONG: Duration = Duration::from_secs(3600);
/// A level has come to be in force after this.
const IN_FORCE: Duration = Duration::from_millis(200);

/// See the module. All times are since the same beginning.
#[derive(Debug, Default)]
pub(crate) struct Margin {
    /// Steps that are held.
    level: u32,
    /// When that was last changed, or too little.
    since: Duration,
    /// Levels below these were too little, and too little when they were tried again.
    floor: u32,
    hard: u32,
}

impl Margin {
    /// Steps that are to be held.
    pub(crate) fn level(&self) -> u32 {
        self.level
    }

    /// It ran dry: so many steps more, `most` in all.
    pub(crate) fn ran_dry(&mut self, more: u32, most: u32, now: Duration) {
        // Of a level that has just been asked for it says nothing, nor of how a stream begins.
        if now.saturating_sub(self.since) > IN_FORCE {
            if self.level < self.floor {
                self.hard = self.hard.max(self.level + 1);
            }
            self.floor = self.floor.max(self.level + 1);
        }
        self.level = (self.level + more).min(most);
        self.since = now;
    }

    /// It has not run dry until now: whether it is a step less.
    pub(crate) fn lasted(&mut self, now: Duration) -> bool {
        let well = now.saturating_sub(self.since);
        if well >= WELL {
            self.floor = if self.level < self.floor { 0 } else { self.floor };
            self.hard = if self.level < self.hard { 0 } else { self.hard };
        }
        let Some(less) = self.level.checked_sub(1) else { return false };
        let patience = match less {
            less if less < self.hard => LONG,
            less if less < self.floor => SOME,
            _ => WELL,
        };
        if well < patience {
            return false;
        }
        (self.level, self.since) = (less, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs for so long on a device that runs dry with less than it needs, and says when.
    fn run(margin: &mut Margin, seconds: std::ops::Range<u64>, needs: impl Fn(u64) -> u32) -> Vec<u64> {
        let mut dry = Vec::new();
        for second in seconds {
            let (had, now) = (margin.level(), Duration::from_secs(second));
            margin.lasted(now);
            if had < needs(second) {
                margin.ran_dry(2, 20, now);
                dry.push(second);
            }
        }
        dry
    }

    #[test]
    fn a_device_that_needs_more_runs_dry_a_few_times_and_then_no_more() {
        for needs in [1, 2, 3, 9] {
            let mut margin = Margin::default();
            let dry = run(&mut margin, 0..1800, |_| needs);
            let late = dry.iter().filter(|second| **second > 300).count();
            assert_eq!(late, 0, "{needs}: {dry:?}");
            assert!(margin.level() <= needs + 1, "{needs}: {margin:?}");
        }
    }

    #[test]
    fn a_hiccup_does_not_make_it_forget_what_the_device_needs() {
        let mut margin = Margin::default();
        run(&mut margin, 0..600, |_| 1);
        // Once, in the middle.
        let dry = run(&mut margin, 600..2400, |second| if second == 700 { 5 } else { 1 });
        assert!(dry.len() <= 2, "{dry:?}");
    }

    #[test]
    fn what_a_busy_machine_needed_for_a_moment_is_given_back() {
        let mut margin = Margin::default();
        let dry = run(&mut margin, 0..900, |second| if second < 10 { 11 } else { 0 });
        assert!(dry.iter().all(|second| *second < 10), "{dry:?}");
        assert_eq!(margin.level(), 0);
        run(&mut margin, 900..960, |_| u32::MAX);
        assert_eq!(margin.level(), 20);
    }

    #[test]
    fn what_was_under_way_is_not_held_against_what_was_asked_for_since() {
        let mut margin = Margin::default();
        let at = |ms| Duration::from_millis(ms);
        margin.ran_dry(2, 20, at(5000));
        margin.ran_dry(2, 20, at(5050));
        assert_eq!((margin.level(), margin.floor), (4, 1));
    }
}
