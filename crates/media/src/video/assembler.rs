//! Received packets become whole pictures again, in order; pure, time is an argument.
//!
//! Packets wait in a window that begins with the first packet of the next picture. A picture leaves the
//! moment it is whole. Where a packet is missing, its retransmission is waited for as long as it can still
//! help (`patience.rs`); then a keyframe is asked for, and whichever comes first, the missing packet or a whole keyframe, goes on. What
//! cannot be decoded without errors is never given out. Pictures are ordered by sequence number: within one
//! stream that is the order in which they were encoded, and the order of their picture ids.

use super::patience::Patience;
use super::payload;
use crate::codec::vp8::header::is_key;
use crate::rtp::RtpPacket;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A packet in the window.
#[derive(Debug)]
struct Part {
    timestamp: u32,
    marker: bool,
    /// Begins a picture.
    begins: bool,
    /// Begins a keyframe.
    begins_key: bool,
    picture_id: Option<u16>,
    /// Without the descriptor. Empty: padding, part of no picture.
    data: Bytes,
    arrived: Instant,
    sender_us: Option<i64>,
}

/// A whole picture that can be decoded now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// Whether it is a keyframe.
    pub key: bool,
    /// RTP time, 90 kHz.
    pub timestamp: u32,
    /// When its last packet came.
    pub arrived: Instant,
    /// The sender's clock when it was captured, microseconds.
    pub sender_us: Option<i64>,
}

/// What happened to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came before, or too late.
    pub duplicates: u64,
    /// Packets whose descriptor is cut short.
    pub malformed: u64,
    /// Times that a keyframe was asked for.
    pub keyframes_wanted: u64,
    /// Pictures given up, at least: each jump over missing packets counts once.
    pub frames_dropped: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Assembler {
    /// Packets from sequence number `front` on.
    /// overflow: what is there is given up, and a keyframe needed.
    window: VecDeque<Option<Part>>,
    front: i64,
    /// Packets up to this number are over: given out, or given up.
    over: Option<i64>,
    bytes: usize,
    /// The id of the last picture given out.
    last: Option<u16>,
    /// Nothing before the next keyframe can be decoded.
    key_needed: bool,
    /// Since when the picture in front could have been whole, but is not.
    stuck: Option<Instant>,
    /// When a keyframe was last asked for, since the last picture.
    asked: Option<Instant>,
    /// Packets came since then: there is a sender to ask.
    heard: bool,
    /// Packets in a row from a number long gone: the sender has started anew.
    strange: u32,
    /// While something is missing: when the one in the window last came on without a gap.
    key_growing: Option<Instant>,
    patience: Patience,
    counts: Counts,
}

impl Assembler {
    /// Packets in the window at most.
    pub const WINDOW: usize = 1024;
    /// Bytes in the window at most: twice the largest keyframe there should ever be.
    pub const BYTES: usize = 4 << 20;
    /// How long one waits for a stream's first keyframe, whose packets may come out of order.
    const START_PATIENCE: Duration = Duration::from_millis(100);
    /// So many packets missing in a row were an outage, and cost more to send again than a keyframe.
    const HOLE: usize = 40;
    /// So many missing, and a third of all, were pushed out of a full link that cannot carry them again.
    const HOLES: usize = 32;
    /// With so many waiting behind a gap the window would soon be full.
    const CROWDED: usize = Self::WINDOW * 3 / 4;
    /// How long even a hole may be nothing but reordering.
    const OVERTAKEN: Duration = Duration::from_millis(20);

    /// An assembler that has heard nothing.
    pub fn new() -> Self {
        Self {
            window: VecDeque::new(),
            front: 0,
            over: None,
            bytes: 0,
            last: None,
            key_needed: true,
            stuck: None,
            asked: None,
            heard: false,
            strange: 0,
            key_growing: None,
            patience: Patience::new(),
            counts: Counts::default(),
        }
    }

    /// A missing packet is waited for four times this and a little, 200 ms at least and 1.5 s at most.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.patience.set_round_trip(round_trip);
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a packet.
    pub fn on(&mut self, packet: RtpPacket, now: Instant) {
        let Some(index) = self.place(packet.seq) else {
            self.counts.duplicates += 1;
            return;
        };
        let part = match part(packet) {
            Ok(part) => part,
            Err(payload::CutShort(_)) => {
                self.counts.malformed += 1;
                return;
            }
        };
        while self.window.len() <= index {
            self.window.push_back(None);
        }
        match &mut self.window[index] {
            Some(_) => self.counts.duplicates += 1,
            place => {
                self.bytes += part.data.len();
                *place = Some(part);
                self.heard = true;
            }
        }
        if self.bytes > Self::BYTES {
            self.give_up(self.window.len());
        }
        self.shorten();
        self.notice(now);
        self.watch_key(now);
    }

    /// The place of a sequence number in the window; none when its packet is over.
    fn place(&mut self, seq: u16) -> Option<usize> {
        if self.over.is_none() && self.window.is_empty() {
            self.front = i64::from(seq);
        }
        // The number closest to the window's front.
        let ahead = i64::from(seq.wrapping_sub(self.front as u16) as i16);
        let number = self.front + ahead;
        let window = Self::WINDOW as i64;
        if ahead < -window {
            self.strange += 1;
            return (self.strange >= 32).then(|| self.restart(seq));
        }
        self.strange = 0;
        if ahead >= window {
            // Whatever is missing in between has been missing for seconds.
            return Some(self.restart(seq));
        }
        if ahead >= 0 {
            return Some(ahead as usize);
        }
        // Before the first packet that came: its own fellows, overtaken.
        let fits = ahead >= -64 && self.window.len() as i64 - ahead <= window;
        if fits && self.over.is_none_or(|over| number > over) {
            (ahead..0).for_each(|_| self.window.push_front(None));
            self.front = number;
            return Some(0);
        }
        None
    }

    fn restart(&mut self, seq: u16) -> usize {
        self.give_up(self.window.len());
        self.front = i64::from(seq);
        self.over = None;
        self.strange = 0;
        0
    }

    /// Drops the first `count` packets of the window undecoded.
    fn give_up(&mut self, count: usize) {
        if self.window.iter().take(count).flatten().any(|part| !part.data.is_empty()) {
            self.counts.frames_dropped += 1;
        }
        self.remove(count);
        self.key_needed = true;
    }

    fn remove(&mut self, count: usize) {
        let gone: usize = self.window.drain(..count).flatten().map(|part| part.data.len()).sum();
        self.bytes -= gone;
        self.front += count as i64;
        if count > 0 {
            self.over = Some(self.front - 1);
        }
    }

    /// Before a keyframe has begun nothing in the window can be of use, but for a few that overtook it.
    fn shorten(&mut self) {
        const OVERTAKERS: usize = 128;
        if !self.key_needed || self.window.len() <= OVERTAKERS {
            return;
        }
        match self.window.iter().position(|part| begins_key(part.as_ref())) {
            Some(first) => self.remove(first),
            None => self.remove(self.window.len() - OVERTAKERS),
        }
    }

    /// Starts the clock when something stands in the way of the next picture.
    fn notice(&mut self, now: Instant) {
        let blocked = if self.key_needed {
            !self.window.is_empty()
        } else {
            // All before the last packet of the window should be there.
            self.window.iter().any(Option::is_none)
        };
        match (blocked, self.stuck) {
            (true, None) => self.stuck = Some(now),
            (false, _) => self.stuck = None,
            (true, Some(_)) => {}
        }
    }

    /// Sees to it that no other keyframe is asked for while one comes in packet after packet.
    fn watch_key(&mut self, now: Instant) {
        let key = self.window.iter().rposition(|part| begins_key(part.as_ref()));
        let grows = |at: usize| self.window.range(at..).all(Option::is_some);
        if (self.key_needed || self.stuck.is_some()) && key.is_some_and(grows) {
            self.key_growing = Some(now);
        }
    }

    /// Whether what is missing is too much for retransmissions.
    fn hopeless(&self) -> bool {
        let gap = self.window.iter().skip_while(|part| part.is_some()).take_while(|part| part.is_none());
        let missing = self.window.iter().filter(|part| part.is_none()).count();
        let riddled = missing >= Self::HOLES && missing * 3 >= self.window.len();
        self.window.len() >= Self::CROWDED || gap.count() >= Self::HOLE || riddled
    }

    /// The next picture if it is whole: its data replaces what is in `into`. To be called after
    /// [`Self::on`] until nothing comes.
    pub fn next(&mut self, now: Instant, into: &mut Vec<u8>) -> Option<Assembled> {
        if self.key_needed {
            return self.jump(now, into);
        }
        self.skip_padding(now);
        if self.window.front().is_some_and(|part| part.as_ref().is_some_and(|part| !part.begins)) {
            // The tail of a picture whose head was never sent: it cannot become whole.
            self.broken(now);
            return self.jump(now, into);
        }
        match self.whole(0) {
            Some(length) => Some(self.take(length, now, into)),
            None if self.stuck.is_some() => self.jump(now, into),
            None => None,
        }
    }

    /// Padding is part of no picture, whether it came or was lost: a sender that probes the path without RTX (as
    /// Chromium does) puts it between two pictures, and never sends it again. Where the next picture's id follows the
    /// last one's, nothing else is missing between them.
    fn skip_padding(&mut self, now: Instant) {
        let carries = |part: &Option<Part>| part.as_ref().is_some_and(|part| !part.data.is_empty());
        let next = self.window.iter().position(carries).unwrap_or(self.window.len());
        let lost = self.window.iter().take(next).position(Option::is_none);
        let follows = self.window.get(next).and_then(Option::as_ref).is_some_and(|part| {
            part.begins && self.last.zip(part.picture_id).is_some_and(|(last, id)| follows(last, id))
        });
        let count = if follows { next } else { lost.unwrap_or(next) };
        if count > 0 {
            self.remove(count);
            self.notice(now);
        }
    }

    /// Goes on with the first whole keyframe, if there is one.
    fn jump(&mut self, now: Instant, into: &mut Vec<u8>) -> Option<Assembled> {
        let keys = (0..self.window.len()).filter(|at| begins_key(self.window[*at].as_ref()));
        let (start, length) = keys.filter_map(|at| Some((at, self.whole(at)?))).next()?;
        if start > 0 {
            self.give_up(start);
        }
        self.key_needed = false;
        Some(self.take(length, now, into))
    }

    /// How many packets make up the picture that begins at this place, if all of them are there.
    fn whole(&self, start: usize) -> Option<usize> {
        let first = self.window.get(start)?.as_ref().filter(|part| part.begins)?;
        for (count, part) in self.window.range(start..).enumerate() {
            let part = part.as_ref()?;
            if part.timestamp != first.timestamp || (count > 0 && part.begins) {
                // The next picture has begun: this one has all its packets, and no marker.
                return Some(count);
            }
            if part.marker {
                return Some(count + 1);
            }
        }
        None
    }

    fn take(&mut self, length: usize, now: Instant, into: &mut Vec<u8>) -> Assembled {
        into.clear();
        let parts = || self.window.iter().take(length).flatten();
        parts().for_each(|part| into.extend_from_slice(&part.data));
        let assembled = Assembled {
            key: is_key(into),
            timestamp: parts().map(|part| part.timestamp).next().unwrap_or_default(),
            arrived: parts().map(|part| part.arrived).max().unwrap_or(now),
            // Those whose packets came before the first sender report know it from the later ones.
            sender_us: parts().filter_map(|part| part.sender_us).next(),
        };
        self.last = parts().find_map(|part| part.picture_id);
        self.remove(length);
        (self.stuck, self.asked, self.key_growing) = (None, None, None);
        self.notice(now);
        assembled
    }

    /// The decoder could make nothing of the last picture: only a keyframe helps.
    pub fn broken(&mut self, now: Instant) {
        self.key_needed = true;
        self.stuck = Some(now.checked_sub(self.patience.packet()).unwrap_or(now));
        self.heard = true;
        self.shorten();
    }

    /// Forgets what came: the picture is over. Packets of before are still known as such.
    pub fn clear(&mut self) {
        self.remove(self.window.len());
        self.key_needed = true;
        (self.stuck, self.asked, self.key_growing, self.heard) = (None, None, None, false);
    }

    /// Whether a keyframe is to be asked for now. True once each time; asked again while none comes and
    /// the sender is heard.
    pub fn keyframe_wanted(&mut self, now: Instant) -> bool {
        let due = self.deadline().is_some_and(|deadline| deadline <= now);
        if due {
            (self.asked, self.heard) = (Some(now), false);
            self.counts.keyframes_wanted += 1;
        }
        due
    }

    /// When to call [`Self::keyframe_wanted`] though no packet comes.
    pub fn deadline(&self) -> Option<Instant> {
        let stuck = self.stuck?;
        let due = match self.asked {
            // Nobody hears a request while the link is down; the first packet after it is answered by one.
            Some(_) if !self.heard => return None,
            Some(asked) => asked + self.patience.keyframe(),
            None if self.over.is_none() => stuck + Self::START_PATIENCE,
            None if self.hopeless() => stuck + Self::OVERTAKEN,
            None => stuck + self.patience.packet(),
        };
        let growing = self.key_growing.map(|at| at + self.patience.packet());
        Some(growing.map_or(due, |growing| growing.max(due)))
    }
}

impl Default for Assembler {
    fn default() -> Self {
        Self::new()
    }
}

fn begins_key(part: Option<&Part>) -> bool {
    part.is_some_and(|part| part.begins_key)
}

/// Whether a picture's id is the one after, in 15 bits or in 7.
fn follows(last: u16, id: u16) -> bool {
    id == (last + 1) & 0x7fff || (last == 0x7f && id == 0)
}

fn part(packet: RtpPacket) -> Result<Part, payload::CutShort> {
    let RtpPacket { timestamp, marker, mut payload, arrived, sender_us, .. } = packet;
    if payload.is_empty() {
        return Ok(Part {
            timestamp,
            marker: false,
            begins: false,
            begins_key: false,
            picture_id: None,
            data: payload,
            arrived,
            sender_us,
        });
    }
    let descriptor = payload::read(&payload)?;
    let data = payload.split_off(descriptor.length);
    let begins = descriptor.begins_picture() && !data.is_empty();
    let (begins_key, picture_id) = (begins && is_key(&data), descriptor.picture_id);
    Ok(Part { timestamp, marker, begins, begins_key, picture_id, data, arrived, sender_us })
}
