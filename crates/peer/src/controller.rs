//! Nearest to the wire: remembers what left, reads what the other side says of it, and sets the pace.

use crate::congestion::{Departure, Estimator, SentHistory, Word};
use crate::keyframe::KeyframeWanted;
use crate::pacer::{PaceControl, wire_bytes};
use crate::red;
use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// No call needs more: 720p, what is sent again on a bad link, and sound.
const MOST: f64 = 4_500_000.0;
const TWCC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Over this long it is measured how much is sent again.
const AGAIN_WINDOW: Duration = Duration::from_secs(1);
/// Streams whose header extension is known; a call has two.
const MAX_STREAMS: usize = 8;
/// A packet that follows the one before by less than its own time and this belongs to the same train.
const TRAIN_SLACK: Duration = Duration::from_micros(2500);

/// So long after ICE has restarted another path is in use, or there is none.
const OTHER_PATH: Duration = Duration::from_millis(1200);
/// So many packets of one report, and most of it, are a disaster.
const DISASTER: usize = 20;

/// What the path is thought to carry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Bits a second that may be sent, with all headers down to IP.
    pub bitrate: f64,
    /// Of these, what is being sent again.
    pub retransmitted: f64,
    /// From a packet to the report of it; `None` before the first report.
    pub round_trip: Option<Duration>,
    /// Share of packets lost lately, 0 to 1.
    pub loss: f64,
    /// Of how many packets before it each packet of sound carries a copy (RFC 2198), if the other side takes
    /// them.
    pub copies: usize,
    /// Whether anything was reported yet: before that the bitrate is a guess.
    pub measured: bool,
    /// Bits a second that may leave at this moment: less than the bitrate while a queue of ours drains, and next
    /// to nothing while reports stay away.
    pub pace: f64,
    /// How long it takes until what waits has left.
    pub backlog: Duration,
}

pub(crate) struct Controller {
    control: Arc<PaceControl>,
    keyframe: Arc<KeyframeWanted>,
    told: watch::Sender<Estimate>,
    history: SentHistory,
    estimator: Estimator,
    outcomes: Vec<crate::congestion::Outcome>,
    /// SSRC and header extension that carries the transport-wide number.
    streams: VecDeque<(u32, u8)>,
    last: Option<(Instant, usize)>,
    /// When the first report came after ICE had restarted.
    restarted: Option<Instant>,
    /// When the first packet left that no report told of.
    unreported: Option<Instant>,
    /// What that was last taken for.
    word: Word,
    again: VecDeque<(Instant, usize)>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Controller {
    /// The estimate before anything is known.
    pub(crate) fn first() -> Estimate {
        let bitrate = Estimator::new(MOST).target();
        Estimate {
            bitrate,
            retransmitted: 0.0,
            round_trip: None,
            loss: 0.0,
            copies: 0,
            measured: false,
            pace: bitrate,
            backlog: Duration::ZERO,
        }
    }

    pub(crate) fn new(
        control: Arc<PaceControl>,
        keyframe: Arc<KeyframeWanted>,
        told: watch::Sender<Estimate>,
    ) -> Self {
        Self {
            control,
            keyframe,
            told,
            history: SentHistory::default(),
            estimator: Estimator::new(MOST),
            outcomes: Vec::new(),
            streams: VecDeque::new(),
            last: None,
            restarted: None,
            unreported: None,
            word: Word::Comes,
            again: VecDeque::new(),
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    fn rtp_leaves(&mut self, packet: &rtp::Packet, again: bool, now: Instant) {
        let bytes = wire_bytes(packet);
        if again {
            // overflow: bounded by what the pacer lets out in a second.
            self.again.push_back((now, bytes));
            self.forget_again(now);
        }
        let stream = self.streams.iter().find(|(ssrc, _)| *ssrc == packet.header.ssrc);
        let number = stream.and_then(|(_, id)| packet.header.get_extension(*id));
        // No report will tell of a packet without one.
        let Some(&[high, low]) = number.as_deref() else { return };
        self.unreported.get_or_insert(now);
        let pace = self.control.rate();
        let in_train = self.last.is_some_and(|(at, before)| {
            let time = Duration::from_secs_f64(before as f64 * 8.0 / pace);
            now.saturating_duration_since(at) < time + TRAIN_SLACK
        });
        self.last = Some((now, bytes));
        self.history.left(u16::from_be_bytes([high, low]), Departure { at: now, bytes, pace, in_train });
    }

    fn forget_again(&mut self, now: Instant) {
        let old = |(at, _): &(Instant, usize)| now.saturating_duration_since(*at) > AGAIN_WINDOW;
        while self.again.front().is_some_and(old) {
            self.again.pop_front();
        }
    }

    /// Most of what a report tells of is lost: the other side will need a keyframe, and need not say so first.
    fn is_disaster(outcomes: &[crate::congestion::Outcome]) -> bool {
        let lost = outcomes.iter().filter(|outcome| outcome.arrived.is_none()).count();
        lost >= DISASTER && lost * 2 > outcomes.len()
    }

    /// Reports stay away though packets are under way: the path, or its way back, is full or gone. Until the
    /// next report less leaves, or next to nothing, so that what there is of it carries the sound.
    fn watch(&mut self, now: Instant) {
        let Some(left) = self.unreported else { return };
        let before = std::mem::replace(&mut self.word, self.estimator.watch(left, now));
        if self.word == before {
            return;
        }
        if self.word == Word::Silent {
            self.control.set_silent(true);
            tracing::debug!("nothing told of what left {:?} ago", now.saturating_duration_since(left));
        }
        let pace = self.estimator.pace();
        self.control.set_rate(pace);
        self.told.send_modify(|estimate| estimate.pace = pace);
    }

    fn report_came(&mut self, report: &TransportLayerCc, now: Instant) {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.history.reported(report, &mut outcomes);
        if self.control.take_restart() {
            self.restarted = Some(now);
        }
        // Until then the path that is left may still have a word.
        if self.restarted.is_some_and(|at| now.saturating_duration_since(at) < OTHER_PATH) {
            self.estimator = self.estimator.anew();
        }
        self.estimator.on(&outcomes, now);
        if Self::is_disaster(&outcomes) {
            self.control.await_keyframe();
            self.keyframe.raise();
        }
        (self.unreported, self.word) = (self.history.waits_since(), Word::Comes);
        if self.control.set_silent(false) {
            self.keyframe.raise();
        }
        self.outcomes = outcomes;
        self.control.set_roomy(self.estimator.has_room());
        self.control.set_rate(self.estimator.pace());
        // It may tell of what is long past.
        self.watch(now);
        // Until a receiver report tells it exactly.
        if let Some(trip) = self.estimator.round_trip()
            && !self.control.round_trip_is_exact()
        {
            self.control.guess_round_trip(trip);
        }
        self.forget_again(now);
        let again: usize = self.again.iter().map(|(_, bytes)| bytes).sum();
        let copies = self.told.borrow().copies;
        let estimate = Estimate {
            bitrate: self.estimator.target(),
            retransmitted: again as f64 * 8.0 / AGAIN_WINDOW.as_secs_f64(),
            round_trip: self.control.round_trip(),
            loss: self.estimator.loss(),
            copies: red::copies(copies, self.estimator.loss(), self.estimator.target()),
            measured: true,
            pace: self.estimator.pace(),
            backlog: self.control.backlog(),
        };
        self.told.send_replace(estimate);
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Controller {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(all) = &packet.message.packet {
            for one in all {
                if let Some(report) = one.as_any().downcast_ref::<TransportLayerCc>() {
                    self.report_came(report, packet.now);
                }
            }
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &packet.message.packet {
            self.rtp_leaves(rtp, packet.message.has(&Attribute::Retransmission), packet.now);
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.watch(now);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.estimator.next_word(self.unreported?)
    }
}

impl Interceptor for Controller {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        let id = info.rtp_header_extensions.iter().find(|e| e.uri == TWCC).map(|e| e.id);
        let Some(id) = id.and_then(|id| u8::try_from(id).ok()) else { return };
        self.streams.retain(|(ssrc, _)| *ssrc != info.ssrc);
        // overflow: the oldest stream's packets are no longer watched.
        if self.streams.len() == MAX_STREAMS {
            self.streams.pop_front();
        }
        self.streams.push_back((info.ssrc, id));
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.streams.retain(|(ssrc, _)| *ssrc != info.ssrc);
    }

    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests;
