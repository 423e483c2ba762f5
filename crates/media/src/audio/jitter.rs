//! The jitter buffer of sound: pure, it decides what to play and knows no codec, clock or thread.
//!
//! Packets are pushed as they come; whoever plays pulls as its sound runs out and is told what to decode
//! next. The delay follows the `slack` of packets: how long before its turn each one came. While the
//! buffer is empty nobody can know whether the packet is lost or late, so sound is continued by guessing
//! and the timeline stands still: if the packet was late it is played and the delay has grown by just what
//! it was late; if the next one comes instead, it was lost, and the guess stood in its place. Delay that
//! is no longer needed is taken back by playing a little faster, a drifting clock likewise.
//!
//! A packet that is nothing but a pause (DTX) begins one: until the next packet's turn comes nothing is missing.
//! A pause is made longer or shorter where speech would be stretched.

use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::slack::Slack;
use crate::codec::opus;

const RATE: i64 = 48_000;
/// A pull that finds nothing plays this much: 10 ms.
const BLOCK: u32 = 480;
/// Sound that waits before the first packet is played: 20 ms.
const START: u32 = 960;
/// After guessing this long (120 ms) there is silence until the next packet.
pub(crate) const GUESS: u32 = 5760;
/// Waiting sound beyond this (1 s) is thrown away, the oldest first.
const MOST: i64 = RATE;
/// Nor does a packet come earlier or later than this (2 s) by the network's doing.
const SENDERS: i64 = 2 * RATE;
/// Packets held at most, whatever their length.
const CAPACITY: usize = 256;
/// A later packet this far ahead (1 s) is a gap of the sender's, not a loss to be filled in.
const GAP: i64 = RATE;
/// A pause of the sender's up to this (60 ms) keeps its length; a longer one that is not over by the time
/// its end is here was a jump of the sender's clock.
const PAUSE: i64 = 2880;
/// A sender that pauses is heard of every 400 ms. After 2 s without a word it is gone, or muted.
pub(crate) const REST: u32 = 96_000;
/// And the noise in its place fades away in the last half second of that.
pub(crate) const REST_FADES: u32 = 72_000;

/// A packet of sound, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload: Bytes,
    /// Samples at 48 kHz.
    pub(crate) duration: u32,
    pub(crate) arrived: Instant,
    /// The sender's clock at its first sample, microseconds.
    pub(crate) sender_us: Option<i64>,
}

/// Whether the decoded sound should be shortened or lengthened a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    None,
    /// Too much is waiting: play faster.
    Faster,
    /// As well, where nobody speaks.
    FasterWhereQuiet,
    /// Packets come at the last moment: play slower.
    Slower,
}

/// What to play next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Play {
    /// This packet. `first`: after silence. `until_us`: the sender's clock at its end.
    Decode { payload: Bytes, stretch: Stretch, first: bool, arrived: Instant, until_us: Option<i64> },
    /// The lost packet before `next`, `length` samples long, of which the last `keep` are to be played.
    Recover { next: Bytes, length: u32, keep: u32, until_us: Option<i64> },
    /// A guess of `samples`; `already` samples were guessed in a row before.
    Conceal { samples: u32, already: u32 },
    /// So much of a pause of the other side's, of which `already` samples were played since it was last heard.
    /// `first`: after silence. `until_us`: as of a packet.
    Rest { samples: u32, already: u32, first: bool, until_us: Option<i64> },
    /// 10 ms of silence: nothing is being sent.
    Silence,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Packets that came, duplicates and strays not counted.
    pub(crate) received: u64,
    /// Packets that came too late, were pushed out, or belonged to nothing.
    pub(crate) discarded: u64,
    /// Packets that came again.
    pub(crate) duplicates: u64,
    /// Packets played.
    pub(crate) played: u64,
    /// Packets recovered from the next one.
    pub(crate) recovered: u64,
    /// Samples guessed.
    pub(crate) concealed: u64,
    /// Guesses in a row count once.
    pub(crate) concealments: u64,
    /// Time that played packets waited here, in all.
    pub(crate) waited: Duration,
    /// Times the stream began anew.
    pub(crate) restarts: u64,
}

#[derive(Debug)]
struct Stored {
    seq: i64,
    timestamp: i64,
    packet: Packet,
}

impl Stored {
    fn end(&self) -> i64 {
        self.timestamp + i64::from(self.packet.duration)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is being sent.
    Idle,
    /// The first packet after silence is here and waits.
    Filling { waited: u32 },
    /// Sound is played.
    Playing,
}

/// The newest packet seen, and which of the 64 before it were.
#[derive(Clone, Copy, Debug)]
struct Newest {
    seq: i64,
    timestamp: i64,
    seen: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Jitter {
    /// By sequence number, unwrapped.
    queue: VecDeque<Stored>,
    phase: Phase,
    newest: Option<Newest>,
    /// Media time of the next sample to decode, unwrapped.
    next: i64,
    /// Sequence number played last, unwrapped.
    last_seq: i64,
    /// Samples guessed, or rested, since the last packet played.
    guessed: u32,
    /// The other side pauses.
    resting: bool,
    /// The last packet played was the first after a pause: speech, or a word of the background that is alone.
    alone: bool,
    /// A packet that fits nothing; a second one after it begins a new stream.
    stray: Option<u16>,
    slack: Slack,
    counts: Counts,
    first_seq: i64,
}

impl Jitter {
    pub(crate) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            phase: Phase::Idle,
            newest: None,
            next: 0,
            last_seq: -1,
            guessed: 0,
            resting: false,
            alone: false,
            stray: None,
            slack: Slack::new(),
            counts: Counts::default(),
            first_seq: 0,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Packets that should have come and did not, so far (late ones come off again).
    pub(crate) fn lost(&self) -> u64 {
        let Some(newest) = self.newest else { return 0 };
        let expected = u64::try_from(newest.seq - self.first_seq + 1).unwrap_or(0);
        expected.saturating_sub(self.counts.received)
    }

    /// Sound waiting here, in samples.
    pub(crate) fn waiting(&self) -> u32 {
        self.queue.iter().map(|stored| stored.packet.duration).sum()
    }

    /// Takes a packet in. `buffered`: decoded samples not yet played. Whether it is the newest.
    pub(crate) fn push(&mut self, packet: Packet, buffered: usize) -> bool {
        let Some((seq, timestamp)) = self.place(&packet) else { return false };
        let newest = self.newest.is_some_and(|newest| newest.seq == seq);
        self.counts.received += 1;
        if self.phase == Phase::Playing {
            let slack = timestamp - self.next + buffered as i64 - i64::from(self.guessed);
            self.note((seq, timestamp), slack, &packet);
            if timestamp + i64::from(packet.duration) <= self.next {
                self.counts.discarded += 1;
                return newest;
            }
        }
        let at = self.queue.partition_point(|stored| stored.seq < seq);
        self.queue.insert(at, Stored { seq, timestamp, packet });
        if self.phase == Phase::Idle {
            self.phase = Phase::Filling { waited: 0 };
        }
        self.shed();
        newest
    }

    /// Remembers how long before its turn this packet came, and the copy in it of the one before.
    fn note(&mut self, (seq, timestamp): (i64, i64), slack: i64, packet: &Packet) {
        // Sound is played in blocks: what is left of one does not buy any time.
        let blocks = |slack: i64| slack.div_euclid(i64::from(BLOCK)) as i32 * BLOCK as i32;
        // More cannot wait: it is the sender's gap or jump, which says nothing of the network.
        if slack.abs() < SENDERS {
            self.slack.note(seq, timestamp, blocks(slack));
        }
        let before = slack - i64::from(packet.duration);
        let missing = self.newest.is_some_and(|newest| newest.seq == seq && newest.seen & 2 == 0);
        if missing && before.abs() < SENDERS && opus::has_copy(&packet.payload) {
            self.slack.note_copy(seq - 1, timestamp - i64::from(packet.duration), blocks(before));
        }
    }

    /// Unwraps a packet's numbers; `None` when it is not to be kept.
    fn place(&mut self, packet: &Packet) -> Option<(i64, i64)> {
        let Some(newest) = self.newest else {
            return Some(self.begin(packet));
        };
        let ahead = i64::from(packet.seq.wrapping_sub(newest.seq as u16) as i16);
        let later = i64::from(packet.timestamp.wrapping_sub(newest.timestamp as u32) as i32);
        // Far away, or forward in one count and back in the other: not this stream as we know it.
        let fits = (-1000..3000).contains(&ahead) && (ahead == 0 || (ahead > 0) == (later > 0));
        if !fits {
            let follows = self.stray.is_some_and(|stray| packet.seq == stray.wrapping_add(1));
            if follows {
                self.queue.clear();
                self.slack = Slack::new();
                self.be_idle();
                self.counts.restarts += 1;
                return Some(self.begin(packet));
            }
            self.stray = Some(packet.seq);
            self.counts.discarded += 1;
            return None;
        }
        self.stray = None;
        let (seq, timestamp) = (newest.seq + ahead, newest.timestamp + later);
        if ahead > 0 {
            let seen = if ahead < 64 { newest.seen << ahead | 1 } else { 1 };
            self.newest = Some(Newest { seq, timestamp, seen });
            return Some((seq, timestamp));
        }
        let bit = 1u64.checked_shl(u32::try_from(-ahead).unwrap_or(u32::MAX)).unwrap_or(0);
        if bit == 0 || newest.seen & bit != 0 || timestamp + i64::from(packet.duration) > newest.timestamp {
            // Known already, too old to tell, or overlapping what came after it.
            self.counts.duplicates += 1;
            return None;
        }
        self.newest = Some(Newest { seen: newest.seen | bit, ..newest });
        Some((seq, timestamp))
    }

    /// A stream begins with this packet.
    fn begin(&mut self, packet: &Packet) -> (i64, i64) {
        // Far from zero, so that nothing before the first packet goes below it; the low bits are kept.
        let lost_before = self.lost();
        let (seq, timestamp) = (i64::from(packet.seq) + (1 << 16), i64::from(packet.timestamp) + (1 << 32));
        self.newest = Some(Newest { seq, timestamp, seen: 1 });
        self.stray = None;
        self.last_seq = seq - 1;
        self.first_seq = seq - i64::try_from(self.counts.received + lost_before).unwrap_or(0);
        (seq, timestamp)
    }

    /// Throws the oldest away when more waits than ever should.
    fn shed(&mut self) {
        while let (Some(first), Some(last)) = (self.queue.front(), self.queue.back()) {
            let long = last.end() - first.timestamp > MOST && self.queue.len() > 1;
            // A gap of the sender's is long without being much: what counts then is the sound in it.
            let much = long && i64::from(self.waiting()) > MOST / 2;
            if self.queue.len() <= CAPACITY && !much {
                return;
            }
            self.queue.pop_front();
            self.counts.discarded += 1;
            // What was thrown away is not to be guessed: that would take as long, and nothing be won.
            if let (Phase::Playing, Some(first)) = (self.phase, self.queue.front()) {
                self.next = self.next.max(first.timestamp);
                self.last_seq = self.last_seq.max(first.seq - 1);
                self.guessed = 0;
            }
        }
    }

    /// What to play next; to be asked when less than 10 ms of decoded sound is left.
    pub(crate) fn pull(&mut self, now: Instant) -> Play {
        match self.phase {
            Phase::Idle => return Play::Silence,
            Phase::Filling { waited }
                if waited < self.start() && self.waiting() < self.start() + 2 * START =>
            {
                self.phase = Phase::Filling { waited: waited + BLOCK };
                return Play::Silence;
            }
            Phase::Filling { .. } => {
                self.phase = Phase::Playing;
                let Some(first) = self.queue.front() else { return self.run_dry() };
                self.next = first.timestamp;
                self.last_seq = first.seq - 1;
                self.guessed = 0;
                self.slack.restart();
                return self.decode(now, true);
            }
            Phase::Playing => {}
        }
        while self.queue.front().is_some_and(|first| first.end() <= self.next) {
            self.queue.pop_front();
            self.counts.discarded += 1;
        }
        let Some(first) = self.queue.front() else { return self.run_dry() };
        let gap = first.timestamp - self.next;
        let missing = gap - i64::from(self.guessed);
        if (self.resting && missing > 0) || (self.alone && missing > PAUSE) {
            return self.rest_until(missing, now);
        }
        // The sender skipped time without losing a packet (it was muted, or changed its source), or the
        // gap is longer than anything worth filling in.
        let skipped = first.seq == self.last_seq + 1;
        if missing <= 0 || gap > GAP || (skipped && missing > PAUSE) {
            return self.decode(now, false);
        }
        let length = first.packet.duration;
        if !opus::has_copy(&first.packet.payload) {
            return self.guess(u32::try_from(missing).unwrap_or(BLOCK));
        }
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        if skipped {
            return self.guess(missing);
        }
        if missing > length {
            return self.guess(missing - length);
        }
        self.recover(missing)
    }

    /// The last `keep` samples of the packet before the next one, from the copy in that.
    fn recover(&mut self, keep: u32) -> Play {
        let Some(Packet { payload, duration, sender_us, .. }) = self.queue.front().map(|first| &first.packet)
        else {
            return self.run_dry();
        };
        let (next, length, until_us) = (payload.clone(), *duration, *sender_us);
        self.counts.recovered += 1;
        self.guessed += keep;
        Play::Recover { next, length, keep, until_us }
    }

    /// The sound was made longer (positive) or shorter by so many samples.
    pub(crate) fn stretched(&mut self, samples: i32) {
        self.slack.shift(samples);
    }

    /// Sound is to wait so many samples longer than it must; it does so by and by.
    pub(crate) fn set_extra(&mut self, samples: u32) {
        self.slack.set_extra(samples);
    }

    /// Sound that should wait before the first packet is played.
    fn start(&self) -> u32 {
        START + self.slack.spread().min(MOST as u32 / 4) + self.slack.extra()
    }

    fn run_dry(&mut self) -> Play {
        let rests = self.resting || self.alone;
        if self.guessed >= if rests { REST } else { GUESS } {
            self.be_idle();
            return Play::Silence;
        }
        if rests { self.rest(BLOCK) } else { self.guess(BLOCK) }
    }

    /// Nothing is being sent.
    fn be_idle(&mut self) {
        self.phase = Phase::Idle;
        self.guessed = 0;
        (self.resting, self.alone) = (false, false);
    }

    /// The next packet's turn comes in so many samples, and until then there is a pause.
    fn rest_until(&mut self, missing: i64, now: Instant) -> Play {
        let Some(first) = self.queue.front() else { return self.run_dry() };
        let length = i64::from(first.packet.duration);
        // A jump of the sender's clock is not waited for.
        if missing > GAP {
            return self.decode(now, false);
        }
        if matches!(self.slack.advice(), Stretch::Faster | Stretch::FasterWhereQuiet)
            && missing > i64::from(BLOCK)
        {
            // Too much waits: a pause is the best place to leave some out.
            self.guessed += BLOCK;
            self.slack.shift(-(BLOCK as i32));
            return self.rest(BLOCK.min(u32::try_from(missing).unwrap_or(BLOCK) - BLOCK));
        }
        let copied = first.seq == self.last_seq + 2 && opus::has_copy(&first.packet.payload);
        if copied && missing <= length {
            return self.recover(missing as u32);
        }
        let until = if copied { missing - length } else { missing };
        self.rest(u32::try_from(until).unwrap_or(BLOCK))
    }

    /// A block of a pause, or `most` if that is less.
    fn rest(&mut self, most: u32) -> Play {
        let (samples, already) = (most.min(BLOCK), self.guessed);
        self.guessed += samples;
        self.resting = true;
        Play::Rest { samples, already, first: false, until_us: None }
    }

    /// A block of guessed sound, or `most` if that is less (in the steps of 2.5 ms that Opus can).
    fn guess(&mut self, most: u32) -> Play {
        let samples = most.min(BLOCK).next_multiple_of(120);
        let already = self.guessed;
        self.counts.concealments += u64::from(already == 0);
        self.counts.concealed += u64::from(samples);
        self.guessed += samples;
        Play::Conceal { samples, already }
    }

    fn decode(&mut self, now: Instant, first: bool) -> Play {
        let Some(stored) = self.queue.pop_front() else { return self.run_dry() };
        let gap = stored.timestamp - self.next;
        // Guessing more than was lost has made the delay longer by the rest.
        let grown = i64::from(self.guessed) - gap.max(0);
        if grown > 0 {
            self.slack.shift(grown as i32);
        } else if gap > i64::from(self.guessed) {
            self.slack.restart();
        }
        self.next = stored.end();
        self.last_seq = stored.seq;
        self.guessed = 0;
        self.counts.played += 1;
        self.counts.waited += now.saturating_duration_since(stored.packet.arrived);
        let stretch = if first { Stretch::None } else { self.slack.advice() };
        let Packet { payload, arrived, duration, sender_us, .. } = stored.packet;
        let long = i64::from(duration) * 1_000_000 / RATE;
        let until_us = sender_us.map(|start| start.saturating_add(long));
        self.alone = std::mem::replace(&mut self.resting, opus::is_pause(&payload));
        if self.resting {
            // Nobody hears whether a pause is longer by half a packet.
            let samples = match stretch {
                Stretch::None => duration,
                Stretch::Faster | Stretch::FasterWhereQuiet => duration - duration / 2,
                Stretch::Slower => duration + duration / 2,
            };
            self.slack.shift(samples as i32 - duration as i32);
            return Play::Rest { samples, already: 0, first, until_us };
        }
        Play::Decode { payload, stretch, first, arrived, until_us }
    }
}

#[cfg(test)]
mod tests;
