//! Whether a queue that stands is somebody else's, and how to get on beside it. Pure.
//!
//! A queue of ours goes when we send less than the link carries, and how soon can be told. One that stands though
//! most of it should be gone is somebody else's: a download fills whatever there is. Who gave way to it for ever would
//! starve, so from then on loss alone says what is too much, until the queue is gone or was none: others' queues come
//! and go, and what stays as it is is a path that has become longer.

use super::acked::Acked;
use super::feedback::Outcome;
use std::time::{Duration, Instant};

/// A queue that becomes shorter than this part of what it was goes, and one that becomes so much longer is another: then
/// one counts anew.
const GOES: f64 = 0.85;
const GROWS_TO: f64 = 1.25;
/// What should have gone since, of what it was then, and so much more (ms) before it is not ours.
const OWED: f64 = 0.7;
const AND: f64 = 80.0;
/// What it was of late, over so many ms.
const LATELY: f64 = 400.0;
/// On a thinner line there is nothing to contend for, bits a second.
const WORTH: f64 = 200_000.0;
/// One that becomes so many times as long as when we began was none: the path has become longer, and what is more
/// is ours. A download (CUBIC) gives way by three tenths.
const MORE: f64 = 1.5;
/// It may become longer for so long, for we have just given way to it.
const GROWS_FOR: Duration = Duration::from_millis(1500);
/// So many times the jitter may be a packet's luck.
const LUCK: f64 = 2.0;
/// What jitter adds to that, and to what is steady.
const JITTERS: f64 = 3.0;
/// With more jitter than this, ms, a path that became longer by any amount is known by its being steady.
const JITTERY: f64 = 22.0;
/// We begin with this share of what came through, and take no more than that one.
const FAIR: f64 = 0.5;
const MOST: f64 = 0.75;
/// And grow by this share a second, or shrink by that when more is lost than this beyond the link's own share; not
/// again before so long.
const GROWS: f64 = 0.1;
const SHRINKS: f64 = 0.85;
const LOST: f64 = 0.05;
const SHRINKS_MUCH: f64 = 0.65;
const MUCH_LOST: f64 = 0.15;
const TOO_OFTEN: u32 = 2;
const AGAIN: Duration = Duration::from_millis(1500);
/// Who is left with less than this of the most it may take has lost, or contended with itself on a line that became
/// thin.
const LOSES: f64 = 0.25;
/// Loss is judged over so long.
const PIECE: Duration = Duration::from_millis(400);
/// A queue this short, ms, for so long is gone.
const GONE: f64 = 40.0;
const FOR: Duration = Duration::from_millis(400);
/// What still stands then is the path's own way.
const AT_MOST: Duration = Duration::from_secs(40);
/// So is, sooner, what stays below this many times its shortest and so much more (ms) for so long.
const STEADY: f64 = 1.25;
const STEADY_MS: f64 = 15.0;
const STEADY_FOR: Duration = Duration::from_secs(4);
/// A longer one may stand because the link has no room for more of it, ms.
pub(super) const NOT_FULL: f64 = 160.0;

/// What a contest says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Says {
    /// By what the rate changes, and the most that it may become.
    Change { factor: f64, most: f64 },
    /// The queue is gone, or nobody's.
    Gone,
    /// No queue it was: the path has become longer by so many ms.
    Longer(f64),
}

/// What a queue that made us give way turns out to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Foreign {
    /// Somebody else's, to be contended with from this rate on.
    Begin(f64),
    /// Nobody's: the path has become longer by so many ms.
    Longer(f64),
}

/// A queue that is watched since it made us give way.
#[derive(Clone, Copy, Debug)]
struct Watched {
    /// How long it was when it last became shorter, and is of late, ms.
    mark: f64,
    lately: f64,
    /// The most that came through, bits a second.
    most: f64,
    /// By how much it should have become shorter, ms.
    owed: f64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    since: Instant,
    /// How long it was when it had just begun, ms.
    first: f64,
    /// No more than this is for us, bits a second.
    most: f64,
    /// What the link loses by itself.
    own: f64,
    low: Option<Instant>,
    /// Since when the queue is steady, and the shortest and the longest that it was since, ms.
    steady: (Instant, f64, f64),
    shrunk: Instant,
    lost: u32,
    total: u32,
    judged: Instant,
    /// Pieces in a row in which much was lost.
    much: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Contest {
    /// What left, as if it had arrived.
    left: Acked,
    epoch: Option<Instant>,
    watched: Option<Watched>,
    held: Option<Held>,
    /// The most that came through when a queue last turned out to be somebody else's, which is not over.
    known: Option<f64>,
}

impl Contest {
    /// Whether it is on.
    pub(super) fn is_on(&self) -> bool {
        self.held.is_some()
    }

    /// What left of late, bits a second.
    pub(super) fn sent(&self) -> Option<f64> {
        self.left.rate()
    }

    /// Takes in what became of a packet.
    pub(super) fn on(&mut self, outcome: &Outcome) {
        let epoch = *self.epoch.get_or_insert(outcome.left.at);
        self.left.on(outcome.left.at.saturating_duration_since(epoch), outcome.left.bytes);
        if let Some(held) = &mut self.held {
            held.total += 1;
            held.lost += u32::from(outcome.arrived.is_none());
        }
    }

    /// The queue (and its jitter, ms) made us give way, for `since`. Says what it is when it is not ours.
    /// `carried`: what came through, bits a second; `own`: the share that the link loses by itself.
    pub(super) fn watch(
        &mut self,
        (queue, jitter): (f64, f64),
        carried: f64,
        own: f64,
        since: Duration,
        now: Instant,
    ) -> Option<Foreign> {
        let passed = since.as_secs_f64() * 1e3;
        let watched =
            self.watched.get_or_insert(Watched { mark: queue, lately: queue, most: carried, owed: 0.0 });
        watched.most = watched.most.max(carried);
        watched.lately += (queue - watched.lately) * (passed / LATELY).min(1.0);
        let level = watched.lately.min(queue + LUCK * jitter);
        if level < GOES * watched.mark || watched.lately > GROWS_TO * watched.mark {
            (watched.mark, watched.owed) = (level, 0.0);
        }
        let sent = self.left.rate()?;
        watched.owed += (1.0 - sent / f64::midpoint(carried, watched.most)).max(0.0) * passed;
        if watched.owed < OWED * watched.mark + AND || queue < GOES * watched.lately {
            return None;
        }
        let Watched { lately, most, .. } = *watched;
        let most = self.known.map_or(most, |known| known.max(most));
        self.watched = None;
        if most < WORTH {
            return Some(Foreign::Longer(lately));
        }
        let held = Held {
            since: now,
            first: lately,
            most: MOST * most,
            own,
            low: None,
            steady: (now, queue, queue),
            shrunk: now,
            lost: 0,
            total: 0,
            judged: now,
            much: 0,
        };
        (self.held, self.known) = (Some(held), Some(most));
        Some(Foreign::Begin(FAIR * most))
    }

    /// No queue makes us give way.
    pub(super) fn rest(&mut self) {
        (self.watched, self.known) = (None, None);
    }

    /// What to do after a report that came `since` after the one before. `queue`, `jitter`: ms; `rate`: ours, bits a
    /// second.
    pub(super) fn contend(
        &mut self,
        (queue, jitter): (f64, f64),
        rate: f64,
        since: Duration,
        now: Instant,
    ) -> Says {
        let Some(held) = self.held.as_mut() else { return Says::Gone };
        held.low = if queue < GONE { held.low.or(Some(now)) } else { None };
        let gone = held.low.is_some_and(|low| now.saturating_duration_since(low) > FOR);
        if gone || rate < LOSES * held.most || now.saturating_duration_since(held.since) > AT_MOST {
            self.held = None;
            return Says::Gone;
        }
        if let Some(longer) = held.was_none(queue, jitter, now) {
            (self.held, self.known) = (None, None);
            return Says::Longer(longer);
        }
        let mut factor = 1.0 + GROWS * since.as_secs_f64();
        if now.saturating_duration_since(held.judged) >= PIECE && held.total > 0 {
            let share = f64::from(held.lost) / f64::from(held.total);
            (held.lost, held.total, held.judged) = (0, 0, now);
            held.much = if share > held.own + MUCH_LOST { held.much + 1 } else { 0 };
            if held.much == TOO_OFTEN {
                // Nobody gives way to us: we contend with ourselves, on a line that became thin.
                (self.held, self.known) = (None, None);
                return Says::Gone;
            }
            if share > held.own + LOST && now.saturating_duration_since(held.shrunk) > AGAIN {
                held.shrunk = now;
                factor = if held.much > 0 { SHRINKS_MUCH } else { SHRINKS };
            }
        }
        Says::Change { factor, most: held.most }
    }
}

impl Held {
    /// Takes in how long the queue is, and says by how much the path has become longer if it is none, ms.
    fn was_none(&mut self, queue: f64, jitter: f64, now: Instant) -> Option<f64> {
        if now.saturating_duration_since(self.since) < GROWS_FOR {
            self.first = self.first.max(queue);
        } else if queue > MORE * self.first + JITTERS * jitter {
            return Some(self.first);
        }
        let (since, shortest, longest) = self.steady;
        let (shortest, longest) = (shortest.min(queue), longest.max(queue));
        let jittery = jitter > JITTERY;
        let allowed = STEADY_MS + if jittery { JITTERS * jitter } else { 0.0 };
        let steady = longest < STEADY * shortest + allowed;
        self.steady = if steady { (since, shortest, longest) } else { (now, queue, queue) };
        let short = longest < NOT_FULL || jittery;
        (steady && short && now.saturating_duration_since(since) > STEADY_FOR)
            .then_some(shortest.min(self.first))
    }
}

#[cfg(test)]
mod tests {
    use super::super::feedback::Departure;
    use super::*;

    const TENTH: Duration = Duration::from_millis(100);
    const JITTER: f64 = 2.0;
    const CARRIED: f64 = 1e6;

    /// A contest, and its time.
    struct Game {
        contest: Contest,
        now: Instant,
    }

    impl Game {
        fn new() -> Self {
            Self { contest: Contest::default(), now: Instant::now() }
        }

        /// A tenth of a second in which so many packets of 1250 bytes leave, and every `lost`th does not come.
        fn pass(&mut self, packets: u32, lost: u32) {
            for n in 0..packets {
                let at = self.now + TENTH * n / packets;
                let left = Departure { at, bytes: 1250, pace: 1e6, in_train: false };
                let came = lost == 0 || n % lost != 0;
                self.contest.on(&Outcome { left, arrived: came.then_some(TENTH) });
            }
            self.now += TENTH;
        }

        /// 2/5 of what came through is sent. What a queue of this length is after so many tenths of a second.
        fn watch(&mut self, tenths: u32, queue: impl Fn(u32) -> f64) -> Option<Foreign> {
            (0..tenths).find_map(|n| {
                self.pass(4, 0);
                self.contest.watch((queue(n), JITTER), CARRIED, 0.0, TENTH, self.now)
            })
        }

        fn begun() -> Self {
            let mut game = Self::new();
            assert_eq!(game.watch(30, |_| 300.0), Some(Foreign::Begin(FAIR * CARRIED)));
            game
        }

        /// The first that is no change, while so many packets leave each tenth and every `lost`th does not come.
        fn contend(&mut self, tenths: u32, lost: u32, queue: impl Fn(u32) -> f64) -> Option<(u32, Says)> {
            (0..tenths).find_map(|n| {
                self.pass(10, lost);
                match self.contest.contend((queue(n), JITTER), FAIR * CARRIED, TENTH, self.now) {
                    Says::Change { most, .. } => {
                        assert_eq!(most, MOST * CARRIED);
                        None
                    }
                    other => Some((n, other)),
                }
            })
        }
    }

    /// A download's queue comes and goes by three tenths.
    fn saw(n: u32) -> f64 {
        400.0 - f64::from(n % 20) * 6.0
    }

    #[test]
    fn a_queue_that_stands_is_somebody_elses_and_one_that_goes_is_ours() {
        Game::begun();
        // What is not sent takes 60 ms off it each tenth of a second.
        let ours = Game::new().watch(30, |n| (300.0 - 60.0 * f64::from(n)).max(0.0));
        assert_eq!(ours, None);
    }

    #[test]
    fn a_contest_lasts_as_long_as_the_others_queue() {
        let mut game = Game::begun();
        assert_eq!(game.contend(150, 0, saw), None);
        let (after, says) = game.contend(50, 0, |_| 10.0).unwrap();
        assert_eq!(says, Says::Gone);
        assert!((4..=6).contains(&after), "{after} tenths of a second");
        assert!(!game.contest.is_on());
    }

    #[test]
    fn what_grows_on_or_stays_as_it_is_was_no_queue() {
        let grows = Game::begun().contend(60, 0, |n| 300.0 + 20.0 * f64::from(n.saturating_sub(20)));
        let Some((_, Says::Longer(ms))) = grows else { panic!("{grows:?}") };
        assert!((290.0..310.0).contains(&ms), "{ms}");
        let mut short = Game::new();
        assert!(short.watch(30, |_| 120.0).is_some());
        let (after, says) = short.contend(100, 0, |_| 120.0).unwrap();
        assert_eq!(says, Says::Longer(120.0));
        assert!((40..=43).contains(&after), "{after} tenths of a second");
    }

    #[test]
    fn who_loses_much_contends_with_themselves() {
        let mut game = Game::begun();
        let (after, says) = game.contend(50, 2, saw).unwrap();
        assert_eq!(says, Says::Gone);
        assert!(after < 12, "{after} tenths of a second");
        // A tenth lost is what a download costs.
        assert_eq!(Game::begun().contend(50, 10, saw), None);
    }
}
