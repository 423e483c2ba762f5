//! The rate at which to send: up while the path takes it, down when a queue stands or packets are pushed out.

mod silence;

use super::acked::Acked;
use super::contest::{Contest, Foreign, NOT_FULL, Says};
use super::delay::{Delay, Queue};
use super::feedback::{Outcome, longest_hole};
use super::lateness::Lateness;
use super::loss::{Loss, Verdict};
use super::train::{Train, longest_train};
use super::word::Word;
use std::time::{Duration, Instant};

/// Before anything is known: a picture of 640x360 looks fair at that.
const START: f64 = 1_000_000.0;
/// On another path one begins with that much as a call had before, within these.
const LEAST_ANEW: f64 = 300_000.0;
/// Sound alone, at its least.
const LEAST: f64 = 24_000.0;
/// A report that comes so long after the one before says that the link was away; so does a shorter time, if nothing came
/// of what left in it, and what came before and after did so as usual: a full line lets something through.
const AWAY: Duration = Duration::from_millis(900);
const GONE: Duration = Duration::from_millis(350);
/// After a cut nothing is cut again before reports tell of packets that left so long after it.
const EFFECT: Duration = Duration::from_millis(250);
/// A queue that has shrunk to this part since needs no deeper cut.
const SHRINKING: f64 = 0.85;
/// One that is about as long as before, though less is sent and nothing lost, is not ours.
const UNMOVED: f64 = 1.15;
const UNLOST: f64 = 0.12;
/// A queue of ours is to be gone in about so many ms; meanwhile so much of the target leaves at least.
const DRAIN: f64 = 400.0;
const LEAST_PACE: f64 = 0.3;
/// One that has not become shorter in this time is not ours alone: the pictures need not wait for it.
const MAKE_WAY: Duration = Duration::from_millis(900);
/// While the pace makes way, no less than this of the target is taken for what the link carries.
const OF_PACE: f64 = 0.85;
/// What is measured after a cut is no less than this of what was measured at it.
const REFINED: f64 = 0.5;
/// And no less than this of what was measured when the queue began, as long as nothing is cut again.
const OF_FULL: f64 = 0.3;
/// A rate measured so lately is not doubted for what a loss says.
const LATELY: Duration = Duration::from_secs(3);
/// While one queue is waited for, no less than this of what was first measured at it.
const OF_FIRST: f64 = 0.4;
/// Then no less than this of the target is left.
const UNASKED: f64 = 0.7;
/// A link through which less than this of what is sent comes is full.
const HELD_UP: f64 = 0.8;
/// Enough for a small picture beside the sound.
const STILL_A_PICTURE: f64 = 100_000.0;
/// Of what arrives so much is sent while it is tried whether the loss goes.
const TRIAL: f64 = 0.85;
/// Of a full link's rate so much is used.
const KEEP: f64 = 0.88;
/// So long after a cut, beside a queue that is tolerated but does not go, the rate grows by this share a second:
/// somebody else's queue is no reason to starve.
const BESIDE_AFTER: Duration = Duration::from_secs(2);
const BESIDE: f64 = 0.06;
/// Reports come each tenth of a second, or as is learnt: ours more often where much is sent, Chromium's up to a quarter
/// apart where little is.
const REPORTS: Duration = Duration::from_millis(100);
const OFTENEST: Duration = Duration::from_millis(25);
const RAREST: Duration = Duration::from_millis(300);
/// So often all is judged that came, unless a queue has leapt up.
const STEP: Duration = Duration::from_millis(90);
/// So many times what was last measured of the link.
const DOUBTED: f64 = 1.02;
/// What was measured of so thin a line, by the little that sound alone sends, is soon put to the test.
const THIN: f64 = 100_000.0;
/// Where so many times what is sent would fit, there is room.
const ROOMY: f64 = 1.25;
/// What a report says is of no longer time than this.
const MOST_SINCE: Duration = Duration::from_millis(300);
/// With less than this tolerated for others, ms, a queue is ours.
const ALONE: f64 = 30.0;
/// And from which they come in bunches.
const BUNCHES: f64 = 14.0;
/// With a longer round trip the rate grows as much slower.
const QUICK: f64 = 0.25;
/// With more jitter than this, ms, a queue shows late: the rate grows half as fast once there is a fair picture.
const UNSURE: f64 = 22.0;
/// Jitter (ms) up to which a train's packets keep their distances.
const STEADY: f64 = 4.0;

/// The link's rate when it was last full.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    rate: f64,
    seen: Instant,
}

/// Estimates what the path carries. Pure.
#[derive(Debug)]
pub(crate) struct Estimator {
    acked: Acked,
    delay: Delay,
    loss: Loss,
    contest: Contest,
    target: f64,
    most: f64,
    capacity: Option<Capacity>,
    /// Nothing has shown a limit yet.
    starting: bool,
    queue: Queue,
    /// When it was last cut, and how long the queue was.
    cut: Option<(Instant, f64)>,
    /// What was thought to come through when it was.
    cut_to: f64,
    /// No less than this is made of it by what is measured afterwards.
    least_refined: f64,
    /// The target before the first of the cuts that one queue brought.
    before: f64,
    /// When the newest packet that arrived had left.
    newest: Option<Instant>,
    /// The target is to come back to what the link carries once its queue is gone.
    draining: bool,
    /// How short the queue has become since the cut and when, and whether the pace makes way for it now.
    shortest: Option<(Instant, f64)>,
    drains_now: bool,
    reported: Option<Instant>,
    stepped: Option<Instant>,
    /// What was told since the last step. overflow: bounded by what [`super::SentHistory`] remembers.
    gathered: Vec<Outcome>,
    /// Between two reports, usually.
    interval: Duration,
    /// Whether they come, and when one was last found late.
    word: Word,
    late: Option<Instant>,
    round_trip: Option<Duration>,
    /// The last one, and by how much they are longer at their worst.
    latest: Duration,
    lateness: Lateness,
}

impl Estimator {
    /// `most`: never estimates more, bits a second.
    pub(crate) fn new(most: f64) -> Self {
        Self {
            acked: Acked::default(),
            delay: Delay::new(),
            loss: Loss::default(),
            contest: Contest::default(),
            target: START,
            most,
            capacity: None,
            starting: true,
            queue: Queue::default(),
            cut: None,
            cut_to: 0.0,
            least_refined: 0.0,
            before: START,
            newest: None,
            draining: false,
            shortest: None,
            drains_now: false,
            reported: None,
            stepped: None,
            gathered: Vec::new(),
            interval: REPORTS,
            word: Word::Comes,
            late: None,
            round_trip: None,
            latest: Duration::ZERO,
            lateness: Lateness::default(),
        }
    }

    /// For another path, of which nothing is known but that a call was possible on the one before.
    pub(crate) fn anew(&self) -> Self {
        let target = self.target.max(self.before).clamp(LEAST_ANEW, START);
        Self { target, before: target, ..Self::new(self.most) }
    }

    /// Bits a second, all headers included, that may be sent.
    pub(crate) fn target(&self) -> f64 {
        self.target
    }

    /// Bits a second at which packets that wait should leave: faster than the target as long as nothing
    /// queues for it, so that a picture is there sooner.
    ///
    /// A queue that is ours goes by sending slower than the link for a moment, not by asking less of the encoder
    /// than the link will carry. When reports do not come as they should, far less leaves than the target.
    pub(crate) fn pace(&self) -> f64 {
        if self.word > Word::Comes {
            let sent = self.contest.sent().unwrap_or(self.target);
            return self.target.min(sent) * self.word.share();
        }
        if self.drains_now {
            return self.target * (1.0 - self.queue.ms / DRAIN).clamp(LEAST_PACE, 1.0);
        }
        if self.loss.is_on_trial() {
            // What waits would otherwise leave faster, and what is tried would not be.
            return self.target;
        }
        if self.contest.is_on() {
            return self.target * 1.3;
        }
        let factor = match self.capacity {
            // No faster than the link, or what waited here would wait there, and make the pictures wait here again.
            Some(_) => 1.1,
            None if !self.queue.is_low() => 1.3,
            None => 2.0,
        };
        self.target * factor
    }

    /// Whether nothing of late shows that the link has a limit, or it is far from reached.
    pub(crate) fn has_room(&self) -> bool {
        let much = || self.contest.sent().is_some_and(|sent| self.target > ROOMY * sent);
        // While a queue drains little is sent for that reason.
        let spare = || !self.draining && self.queue.is_low() && much();
        (self.capacity.is_none() || spare()) && !self.queue.over && !self.contest.is_on()
    }

    /// Share of packets lost lately, 0 to 1.
    pub(crate) fn loss(&self) -> f64 {
        self.loss.share()
    }

    /// The shortest time from a packet to the report of it, of the last reports; the other side holds reports
    /// back a little.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Takes what one report told, in order of leaving.
    pub(crate) fn on(&mut self, outcomes: &[Outcome], now: Instant) {
        let Some(newest) = outcomes.iter().rev().find(|outcome| outcome.arrived.is_some()) else {
            // Nothing arrived: nothing is known but that.
            return;
        };
        self.word = Word::Comes;
        let since = self.reported.replace(now).map(|last| now.saturating_duration_since(last));
        let away = since.is_some_and(|since| since > AWAY || (since > GONE && longest_hole(outcomes) > GONE));
        if let Some(since) = since.filter(|_| !away) {
            let since = since.clamp(OFTENEST, RAREST);
            // That they have become rarer is learnt sooner than the opposite: patience costs less.
            self.interval = if since > self.interval {
                (self.interval * 3 + since) / 4
            } else {
                (self.interval * 15 + since) / 16
            };
        }
        self.time(newest, now);
        if away {
            // What waited meanwhile, or went by a path that is no more, says nothing of this one.
            (self.delay, self.acked) = (Delay::new(), Acked::default());
            (self.draining, self.cut, self.capacity) = (false, None, None);
            self.contest = Contest::default();
        }
        for outcome in outcomes {
            self.delay.on(outcome);
            self.contest.on(outcome);
            if !away {
                self.loss.on(outcome);
            }
            if let Some(arrived) = outcome.arrived {
                self.acked.on(arrived, outcome.left.bytes);
            }
        }
        if away {
            self.loss.forget();
        }
        self.gathered.extend_from_slice(outcomes);
        let leaps = !self.draining && !self.contest.is_on() && self.delay.leaps();
        let since = self.stepped.map(|last| now.saturating_duration_since(last));
        if !leaps && since.is_some_and(|since| since < STEP) {
            return;
        }
        self.stepped = Some(now);
        self.queue = self.delay.queue(leaps);
        let gathered = std::mem::take(&mut self.gathered);
        self.step(&gathered, since.unwrap_or_default(), now);
        self.gathered = gathered;
        self.gathered.clear();
        self.target = self.target.clamp(LEAST, self.most);
        self.drains_now = self.draining && self.queue.over && self.makes_way(now);
        tracing::trace!(
            target = self.target as u64,
            arriving = self.acked.rate().unwrap_or_default() as u64,
            queue = self.queue.ms as i64,
            tolerated = self.queue.tolerated as i64,
            jitter = self.queue.jitter as i64,
            over = self.queue.over,
            draining = self.draining,
            contest = self.contest.is_on(),
            pace = self.pace() as u64,
            loss = self.loss.share(),
            own = self.loss.inherent(),
            "the path"
        );
    }

    /// Whether the queue has become shorter of late, or is ours alone, or nothing tells yet of what left after the
    /// cut.
    fn makes_way(&mut self, now: Instant) -> bool {
        let untold = self.cut.is_some_and(|(cut, _)| self.newest.is_some_and(|left| left < cut));
        if untold || self.delay.others() < ALONE {
            return true;
        }
        let (since, shortest) = *self.shortest.get_or_insert((now, f64::INFINITY));
        if self.queue.ms < SHRINKING * shortest {
            self.shortest = Some((now, self.queue.ms));
        }
        now.saturating_duration_since(since) < MAKE_WAY
    }

    fn time(&mut self, newest: &Outcome, now: Instant) {
        self.newest = Some(newest.left.at);
        let trip = now.saturating_duration_since(newest.left.at);
        self.latest = trip;
        let over = self.round_trip.map_or(Duration::ZERO, |known| trip.saturating_sub(known));
        self.lateness.note(over, now);
        self.round_trip = Some(match self.round_trip {
            // Down at once, up slowly: what is longer is the other side's waiting, or a queue.
            Some(known) if trip > known => known + (trip - known) / 32,
            _ => trip,
        });
    }

    fn step(&mut self, outcomes: &[Outcome], since: Duration, now: Instant) {
        let since = since.min(MOST_SINCE);
        let trip = self.round_trip.unwrap_or_default();
        if self.contest.is_on() {
            self.loss.observe(now);
            self.contend(since, now);
            return;
        }
        let verdict = self.loss.judge(self.target, trip, !self.queue.is_low(), now);
        let arriving = self.acked.rate();
        match (verdict, arriving) {
            (Verdict::Restore(rate), _) if !self.queue.over => self.target = self.target.max(rate),
            (Verdict::Cut, Some(arriving)) => {
                // A little less, so that a queue which was full is not full any more.
                let carried = TRIAL * arriving / (1.0 - self.loss.inherent());
                self.target = self.target.min(carried.max(LEAST));
                return;
            }
            // What came through a queue that stood is known better.
            (Verdict::Full, Some(arriving)) if !self.measured_since(now, LATELY) => self.full(arriving, now),
            _ => {}
        }
        let train = longest_train(outcomes);
        if self.queue.over {
            self.back_off(now);
            self.watch_queue(since, now);
        } else if self.queue.is_low() {
            self.contest.rest();
            self.rise(arriving, train, since.as_secs_f64(), now);
        } else if self.cut.is_none_or(|(cut, _)| now.saturating_duration_since(cut) > BESIDE_AFTER) {
            let allowed = arriving.map_or(self.target, |arriving| (1.3 * arriving).max(self.target));
            self.target = (self.target * (1.0 + BESIDE * since.as_secs_f64())).min(allowed);
        }
        self.obey_train(train);
    }

    /// Whether the queue that made us give way goes, or is somebody else's.
    fn watch_queue(&mut self, since: Duration, now: Instant) {
        if !self.draining || self.capacity.is_none() {
            self.contest.rest();
            return;
        }
        let own = self.loss.inherent();
        let queue = (self.queue.ms, self.queue.jitter);
        match self.contest.watch(queue, self.cut_to, own, since, now) {
            Some(Foreign::Begin(rate)) => {
                self.delay.hold(true);
                self.target = self.target.max(rate);
            }
            Some(Foreign::Longer(ms)) => {
                self.delay.longer(ms);
                self.target = self.target.max(self.cut_to);
            }
            None => return,
        }
        (self.draining, self.cut, self.capacity) = (false, None, None);
    }

    /// Beside somebody else's queue loss alone says what is too much.
    fn contend(&mut self, since: Duration, now: Instant) {
        let queue = (self.queue.ms, self.queue.jitter);
        match self.contest.contend(queue, self.target, since, now) {
            Says::Change { factor, most } => {
                let allowed =
                    self.acked.rate().map_or(self.target, |arriving| (1.5 * arriving).max(self.target));
                self.target = (self.target * factor).min(allowed).min(most);
            }
            Says::Gone => self.delay.hold(false),
            Says::Longer(ms) => {
                self.delay.hold(false);
                self.delay.longer(ms);
            }
        }
    }

    fn measured_since(&self, now: Instant, lately: Duration) -> bool {
        self.capacity.is_some_and(|known| now.saturating_duration_since(known.seen) < lately)
    }

    fn full(&mut self, rate: f64, now: Instant) {
        self.starting = false;
        let rate = match self.capacity {
            // Measured while full, but over half a second only.
            Some(known) if (known.rate - rate).abs() < 0.2 * known.rate => known.rate * 0.7 + rate * 0.3,
            _ => rate,
        };
        self.capacity = Some(Capacity { rate, seen: now });
    }

    fn back_off(&mut self, now: Instant) {
        if let Some((cut, queue)) = self.cut {
            if self.newest.is_some_and(|left| left < cut + EFFECT) {
                self.refine(cut, now);
                return;
            }
            if self.draining && self.queue.ms < SHRINKING * queue {
                // It obeys: it was ours, and what was sent before was too much.
                self.before = self.target;
                self.cut = Some((now, self.queue.ms));
                return;
            }
            let lost = self.loss.share() - self.loss.inherent();
            let less = self.target < 0.7 * self.before;
            let short = self.queue.ms < NOT_FULL;
            if self.draining && less && short && self.queue.ms < UNMOVED * queue && lost < UNLOST {
                // Or somebody else fills the link: the rate finds out by and by.
                self.delay.rebase();
                (self.cut, self.draining, self.capacity) = (None, false, None);
                return;
            }
        }
        if !self.draining {
            self.before = self.target;
            self.shortest = None;
        }
        // Nothing measured yet: half is a safe guess.
        let recent = self.carried().unwrap_or(self.target * 0.5);
        // What came before the link became slow is not to be counted to it.
        let newest = self.acked.newest().unwrap_or(recent);
        let sudden = self.queue.ms > 2.0 * self.queue.tolerated + 20.0;
        let rate = if sudden { recent.min(newest.max(0.3 * recent)) } else { recent };
        // What the pace lets through says nothing of the link.
        let rate = if self.drains_now { rate.max(self.target * OF_PACE) } else { rate };
        // Somebody who sends less than the link takes may find it full of others' packets.
        let held_up = self.contest.sent().is_some_and(|sent| rate < HELD_UP * sent);
        if rate > 0.5 * self.target || sudden || held_up {
            self.full(rate, now);
        }
        self.starting = false;
        // Nor does what comes, where all comes that was sent: the link was not asked for more.
        let least = if held_up || sudden { 0.15 } else { UNASKED };
        let cut = (rate * KEEP).max(self.target * least);
        // What comes while little is sent says nothing of the link, and a queue that does not go for that is not ours.
        let cut = if self.draining { cut.max(OF_FIRST * self.cut_to).max(self.least()) } else { cut };
        self.target = self.target.min(cut);
        self.cut = Some((now, self.queue.ms));
        if self.draining {
            // A queue that stands all the same takes that back by and by.
            self.least_refined *= OF_FIRST;
        } else {
            (self.cut_to, self.least_refined) = (rate, OF_FULL * rate);
        }
        self.draining = true;
    }

    /// While a queue is waited for that may be somebody else's, pictures go on, unless there was hardly room for them.
    fn least(&self) -> f64 {
        if self.before > 4.0 * STILL_A_PICTURE { STILL_A_PICTURE } else { LEAST }
    }

    /// What arrives of late, bits a second: over longer where jitter makes packets come in bunches.
    fn carried(&self) -> Option<f64> {
        let recent = self.acked.recent()?;
        let bunches = self.queue.jitter > BUNCHES;
        Some(if bunches { self.acked.rate().map_or(recent, |rate| rate.min(recent)) } else { recent })
    }

    /// What left before the cut comes through a full link, at the link's own rate.
    fn refine(&mut self, cut: Instant, now: Instant) {
        let Some(rate) = self.carried().filter(|_| self.newest.is_some_and(|left| left < cut)) else {
            return;
        };
        // Much less than at the cut is what was held back meanwhile, not what the link takes.
        let rate = rate.max(REFINED * self.cut_to).max(self.least_refined);
        if self.draining && self.capacity.is_some() && rate < self.before {
            self.capacity = Some(Capacity { rate, seen: now });
            self.target = rate * KEEP;
            self.cut_to = rate;
        }
    }

    fn rise(&mut self, arriving: Option<f64>, train: Option<Train>, seconds: f64, now: Instant) {
        if self.draining {
            self.draining = false;
            if let Some(capacity) = self.capacity {
                self.target = self.target.max(0.9 * capacity.rate);
            }
        }
        let Some(arriving) = arriving.or(self.acked.is_seldom().then_some(0.0)) else { return };
        self.forget_capacity(arriving, now);
        // What it does to the queue is known a round trip later.
        let trip = self.round_trip.unwrap_or_default().as_secs_f64();
        let seconds = if self.target < THIN { seconds } else { seconds * (QUICK / trip.max(QUICK)) };
        let unsure = self.queue.jitter > UNSURE && self.target > STILL_A_PICTURE * 1.5;
        let seconds = if unsure { seconds * 0.5 } else { seconds };
        let gain = match self.capacity {
            // Beyond what was once measured without a queue, that is doubted more and more.
            Some(known) if self.target > 0.8 * known.rate && self.target < 1.2 * known.rate => {
                let doubted = known.rate > THIN && self.target > DOUBTED * known.rate;
                known.rate * seconds * if doubted { 0.12 } else { 0.04 }
            }
            Some(_) => self.target * (1.4_f64.powf(seconds) - 1.0),
            None if self.starting => self.target * (3.0_f64.powf(seconds) - 1.0),
            None => self.target * (1.6_f64.powf(seconds) - 1.0),
        };
        // No further than what was seen to arrive allows: who has little to send learns little. But who is quiet while
        // the picture has stopped is to have one again.
        let carried = arriving / (1.0 - self.loss.share().min(0.5));
        let allowed = (1.5 * carried + 50_000.0).max(STILL_A_PICTURE).max(self.target);
        self.target = (self.target + gain).min(allowed);
        if let Some(train) = train
            && self.queue.jitter < STEADY
            && train.kept_pace()
        {
            self.target = self.target.max((0.7 * train.pace).min(2.0 * self.target));
        }
    }

    fn forget_capacity(&mut self, arriving: f64, now: Instant) {
        let over = self.capacity.is_some_and(|known| {
            arriving > 1.15 * known.rate
                || now.saturating_duration_since(known.seen) > Duration::from_secs(12)
        });
        if over {
            self.capacity = None;
        }
    }

    /// At the start a train that came slower than it left shows the link's rate before any queue is judged.
    fn obey_train(&mut self, train: Option<Train>) {
        let Some(train) = train.filter(|_| self.starting && self.queue.jitter < 3.0 * STEADY) else { return };
        if train.rate < 0.6 * train.pace && train.rate < self.target && train.seconds > 0.05 {
            self.target = self.target.min(0.9 * train.rate);
        }
    }
}
