//! The rate at which to send: up while the path takes it, down when a queue stands or packets are pushed out.

use super::acked::Acked;
use super::contest::{Contest, NOT_FULL, Says};
use super::delay::{Delay, Queue};
use super::feedback::Outcome;
use super::loss::{Loss, Verdict};
use super::word::Word;
use std::time::{Duration, Instant};

/// Before anything is known: a picture of 640x360 looks fair at that.
const START: f64 = 1_000_000.0;
/// Sound alone, at its least.
const LEAST: f64 = 24_000.0;
/// A report that comes so long after the one before says that the link was away.
const AWAY: Duration = Duration::from_millis(900);
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
/// A rate measured so lately is not doubted for what a loss says.
const LATELY: Duration = Duration::from_secs(3);
/// Of a full link's rate so much is used.
const KEEP: f64 = 0.88;
/// So long after a cut, beside a queue that is tolerated but does not go, the rate grows by this share a second:
/// somebody else's queue is no reason to starve.
const BESIDE_AFTER: Duration = Duration::from_secs(2);
const BESIDE: f64 = 0.06;
/// Reports come each tenth of a second, or as is learnt: Chromium's up to a quarter apart where little is sent.
const REPORTS: Duration = Duration::from_millis(100);
const RAREST: Duration = Duration::from_millis(300);
/// So many of these after it left nothing may tell of a packet: one report may be lost. Where next to none are, one
/// that is late is a first sign.
const SILENT: f64 = 2.4;
const LATE: f64 = 1.3;
const HARDLY_LOST: f64 = 0.02;
/// With so much tolerated, ms, a queue may be somebody else's.
const BEGUN: f64 = 15.0;
/// First signs are heeded for so long; then a path that is merely longer has shown itself, and for so long there are
/// none.
const HEEDED: Duration = Duration::from_millis(300);
const UNHEEDED: Duration = Duration::from_secs(2);
/// So many times what is tolerated for somebody else's queue.
const BESIDE_OTHERS: f64 = 6.0;
/// And in a contest so much is, ms.
const CONTEST: f64 = 200.0;
/// What a report says is of no longer time than this.
const MOST_SINCE: Duration = Duration::from_millis(300);
/// With less than this tolerated for others, ms, a queue is ours.
const ALONE: f64 = 30.0;
/// A train of fewer packets, or a shorter one, says nothing of the link's rate.
const TRAIN: usize = 8;
const TRAIN_SPAN: f64 = 0.015;
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
    /// Between two reports, usually.
    interval: Duration,
    /// Whether they come, and when one was last found late.
    word: Word,
    late: Option<Instant>,
    round_trip: Option<Duration>,
    /// The last one.
    latest: Duration,
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
            before: START,
            newest: None,
            draining: false,
            shortest: None,
            drains_now: false,
            reported: None,
            interval: REPORTS,
            word: Word::Comes,
            late: None,
            round_trip: None,
            latest: Duration::ZERO,
        }
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
            return self.target * self.word.share();
        }
        if self.drains_now {
            return self.target * (1.0 - self.queue.ms / DRAIN).clamp(LEAST_PACE, 1.0);
        }
        if self.contest.is_on() {
            return self.target * 1.3;
        }
        let full_lately = self.capacity.is_some();
        let factor = if full_lately || !self.queue.is_low() { 1.3 } else { 2.0 };
        self.target * factor
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

    /// What it says that nothing has told yet of a packet that left then; it can only get worse until a report comes.
    pub(crate) fn watch(&mut self, left: Instant, now: Instant) -> Word {
        if now >= self.silent_at(left) {
            self.word = Word::Silent;
        } else if self.word == Word::Comes && self.late_at(left).is_some_and(|due| now >= due) {
            self.word = Word::Late;
            let over = |late: &Instant| now.saturating_duration_since(*late) > UNHEEDED;
            self.late = self.late.filter(|late| !over(late)).or(Some(now));
        }
        self.word
    }

    /// When [`Self::watch`] may say something else of that packet.
    pub(crate) fn next_word(&self, left: Instant) -> Option<Instant> {
        match self.word {
            Word::Comes => Some(self.late_at(left).unwrap_or_else(|| self.silent_at(left))),
            Word::Late => Some(self.silent_at(left)),
            Word::Silent => None,
        }
    }

    /// So long after it left nothing may tell of a packet before that is a sign of a queue that has just grown,
    /// or of a path that is gone: more beside somebody else's.
    fn silent_at(&self, left: Instant) -> Instant {
        let others = self.delay.others().max(if self.contest.is_on() { CONTEST } else { 0.0 });
        let others = Duration::from_secs_f64(BESIDE_OTHERS * others / 1000.0);
        // Reports come through somebody else's queue on their way back, too.
        let beside = self.contest.is_on() || self.delay.others() > BEGUN;
        let latest = if beside { self.interval.mul_f64(SILENT) + self.latest } else { Duration::ZERO };
        left + self.reports(SILENT).max(latest) + others
    }

    /// As that, for the first sign. Where packets are lost, so are reports; beside somebody else's queue they are
    /// late each now and then; and on a path that has become longer each is, at first.
    fn late_at(&self, left: Instant) -> Option<Instant> {
        let due = left + self.reports(LATE);
        let heeded = self.late.is_none_or(|late| {
            let since = due.saturating_duration_since(late);
            since < HEEDED || since > UNHEEDED
        });
        (heeded && !self.contest.is_on() && self.loss.share() < HARDLY_LOST && self.delay.others() < ALONE)
            .then_some(due)
    }

    /// How long so many reports take to come.
    fn reports(&self, many: f64) -> Duration {
        self.interval.mul_f64(many) + self.round_trip.unwrap_or_default().mul_f64(1.5)
    }

    /// Takes what one report told, in order of leaving.
    pub(crate) fn on(&mut self, outcomes: &[Outcome], now: Instant) {
        let Some(newest) = outcomes.iter().rev().find(|outcome| outcome.arrived.is_some()) else {
            // Nothing arrived: nothing is known but that.
            return;
        };
        self.word = Word::Comes;
        let since = self.reported.replace(now).map(|last| now.saturating_duration_since(last));
        let away = since.is_some_and(|since| since > AWAY);
        if let Some(since) = since.filter(|_| !away) {
            self.interval = (self.interval * 15 + since.clamp(REPORTS, RAREST)) / 16;
        }
        self.time(newest, now);
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
        self.queue = self.delay.queue();
        self.step(outcomes, since.unwrap_or_default(), now);
        self.target = self.target.clamp(LEAST, self.most);
        self.drains_now = self.draining && self.queue.over && self.makes_way(now);
        tracing::trace!(
            target = self.target as u64,
            arriving = self.acked.rate().unwrap_or_default() as u64,
            queue = self.queue.ms as i64,
            tolerated = self.queue.tolerated as i64,
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
        self.round_trip = Some(match self.round_trip {
            // Down at once, up slowly: what is longer is the other side's waiting, or a queue.
            Some(known) if trip > known => known + (trip - known) / 32,
            _ => trip,
        });
    }

    fn step(&mut self, outcomes: &[Outcome], since: Duration, now: Instant) {
        let since = since.min(MOST_SINCE);
        let trip = self.round_trip.unwrap_or_default();
        let verdict = self.loss.judge(self.target, trip, now);
        if self.contest.is_on() {
            self.contend(since, now);
            return;
        }
        let arriving = self.acked.rate();
        match (verdict, arriving) {
            (Verdict::Restore(rate), _) if !self.queue.over => self.target = self.target.max(rate),
            (Verdict::Cut, Some(arriving)) => {
                let carried = arriving / (1.0 - self.loss.inherent());
                self.target = self.target.min(carried.max(LEAST));
                return;
            }
            // What came through a queue that stood is known better.
            (Verdict::Full, Some(arriving)) if !self.measured_since(now, LATELY) => self.full(arriving, now),
            _ => {}
        }
        let train = train(outcomes);
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
        let Some(capacity) = self.capacity.filter(|_| self.draining) else {
            self.contest.rest();
            return;
        };
        if let Some(begin) =
            self.contest.watch(self.queue.ms, capacity.rate, self.loss.inherent(), since, now)
        {
            self.delay.hold(true);
            self.target = self.target.max(begin);
            (self.draining, self.cut, self.capacity) = (false, None, None);
        }
    }

    /// Beside somebody else's queue loss alone says what is too much.
    fn contend(&mut self, since: Duration, now: Instant) {
        match self.contest.contend(self.queue.ms, since, now) {
            Says::Change(factor) => {
                let allowed =
                    self.acked.rate().map_or(self.target, |arriving| (1.5 * arriving).max(self.target));
                self.target = (self.target * factor).min(allowed);
            }
            Says::Gone => self.delay.hold(false),
            Says::Longer => {
                self.delay.hold(false);
                self.delay.rebase();
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
        let recent = self.acked.recent().unwrap_or(self.target * 0.5);
        // What came before the link became slow is not to be counted to it.
        let newest = self.acked.newest().unwrap_or(recent);
        let sudden = self.queue.ms > 2.0 * self.queue.tolerated + 20.0;
        let rate = if sudden { recent.min(newest.max(0.3 * recent)) } else { recent };
        // What the pace lets through says nothing of the link.
        let rate = if self.drains_now { rate.max(self.target * OF_PACE) } else { rate };
        // Somebody who sends less than the link takes may find it full of others' packets.
        if rate > 0.5 * self.target || sudden {
            self.full(rate, now);
        }
        self.starting = false;
        let cut = (rate * KEEP).max(self.target * 0.15);
        self.target = self.target.min(cut);
        self.cut = Some((now, self.queue.ms));
        self.cut_to = rate;
        self.draining = true;
    }

    /// What left before the cut comes through a full link, at the link's own rate.
    fn refine(&mut self, cut: Instant, now: Instant) {
        let Some(rate) = self.acked.recent().filter(|_| self.newest.is_some_and(|left| left < cut)) else {
            return;
        };
        // Much less than at the cut is what was held back meanwhile, not what the link takes.
        let rate = rate.max(REFINED * self.cut_to);
        if self.draining && self.capacity.is_some() && rate < self.before {
            self.capacity = Some(Capacity { rate, seen: now });
            self.target = rate * KEEP;
        }
    }

    fn rise(&mut self, arriving: Option<f64>, train: Option<Train>, seconds: f64, now: Instant) {
        if self.draining {
            self.draining = false;
            if let Some(capacity) = self.capacity {
                self.target = self.target.max(0.9 * capacity.rate);
            }
        }
        let Some(arriving) = arriving else { return };
        self.forget_capacity(arriving, now);
        let gain = match self.capacity {
            Some(known) if self.target > 0.8 * known.rate && self.target < 1.2 * known.rate => {
                known.rate * 0.04 * seconds
            }
            Some(_) => self.target * (1.4_f64.powf(seconds) - 1.0),
            None if self.starting => self.target * (3.0_f64.powf(seconds) - 1.0),
            None => self.target * (1.6_f64.powf(seconds) - 1.0),
        };
        // No further than what was seen to arrive allows: who has little to send learns little.
        let carried = arriving / (1.0 - self.loss.share().min(0.5));
        let allowed = (1.5 * carried + 50_000.0).max(self.target);
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

/// Packets that left one right after the other, and how they came.
#[derive(Clone, Copy, Debug)]
struct Train {
    /// How fast they left, bits a second.
    pace: f64,
    /// How fast they came.
    rate: f64,
    /// How long it took them.
    seconds: f64,
}

impl Train {
    fn kept_pace(&self) -> bool {
        self.rate > 0.85 * self.pace
    }
}

/// The longest train of a report.
fn train(outcomes: &[Outcome]) -> Option<Train> {
    let mut best: Option<&[Outcome]> = None;
    let mut start = 0;
    for end in 1..=outcomes.len() {
        if end < outcomes.len() && outcomes[end].left.in_train {
            continue;
        }
        let run = &outcomes[start..end];
        start = end;
        if best.is_none_or(|best| run.len() > best.len()) {
            best = Some(run);
        }
    }
    let arrived = |outcome: &Outcome| Some((outcome.arrived?, outcome.left));
    let come: Vec<_> = best?.iter().filter_map(arrived).collect();
    let (first, last) = (come.first()?, come.last()?);
    let seconds = last.0.checked_sub(first.0)?.as_secs_f64();
    if come.len() < TRAIN || seconds < TRAIN_SPAN {
        return None;
    }
    let bits = come.iter().skip(1).map(|(_, left)| left.bytes as f64 * 8.0).sum::<f64>();
    let left = last.1.at.saturating_duration_since(first.1.at).as_secs_f64().max(0.001);
    Some(Train { pace: (bits / left).min(last.1.pace), rate: bits / seconds, seconds })
}
