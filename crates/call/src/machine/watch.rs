//! Judging the call with one participant by its statistics: pure, one reading after the other.
//!
//! Each reason is a sign that must hold for a while before it shows and be gone for a while before it goes,
//! so that nothing flickers. Losing somebody shows at once.

use crate::history::{History, Sample};
use crate::quality::{Quality, Reason};
use crate::snapshot::Connection;
use crate::stats::{InboundVideo, Limitation, OutboundVideo, Stats};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whoever should send something and was not heard for so long is lost.
const SILENCE: Duration = Duration::from_secs(2);
/// A path that is said to be down is, when nothing was heard for so long.
const HEARD_LATELY: Duration = Duration::from_secs(1);
/// Between two samples: less is a caller that asks more often.
const SAMPLE: Duration = Duration::from_millis(900);
/// Signs are read from the mean of so many samples.
const WINDOW: usize = 3;
/// A call settles for so many samples: buffers fill, the first keyframe comes.
const SETTLED: usize = 5;
/// The same after an outage, whose losses say nothing of the path as it is now.
const RECOVERED: usize = WINDOW + 1;
/// A picture that is smaller for so long is what they send now.
const ACCUSTOMED: Duration = Duration::from_secs(60);
/// Below this share of its best their picture is reduced.
const REDUCED: f32 = 0.6;
/// A shorter side, in pixels, and a rate, in pictures a second, below which anybody notices.
const SMALL: (u32, f64) = (200, 12.0);

/// What is known besides the statistics.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) connection: Connection,
    /// Their microphone is off.
    pub(super) muted: bool,
    /// Their camera is off.
    pub(super) camera_off: bool,
    /// Our camera is on.
    pub(super) showing: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) quality: Quality,
    pub(super) reason: Option<Reason>,
    /// What limits our picture to them.
    pub(super) limit: Option<Reason>,
    /// Whole seconds since the last that came.
    pub(super) lost_for: Option<u64>,
}

/// One reason, or one degree of it.
#[derive(Clone, Copy, Debug)]
enum Sign {
    Suspended,
    SoundOnly,
    Loss,
    Delay,
    Cpu,
    Bandwidth,
    TheirSide,
    /// Our picture is limited so much that anybody would notice.
    SmallOut,
    /// The same for theirs.
    SmallIn,
}

impl Sign {
    const ALL: [Self; 9] = [
        Self::Suspended,
        Self::SoundOnly,
        Self::Loss,
        Self::Delay,
        Self::Cpu,
        Self::Bandwidth,
        Self::TheirSide,
        Self::SmallOut,
        Self::SmallIn,
    ];

    fn reason(self) -> Option<Reason> {
        match self {
            Self::Suspended => Some(Reason::Suspended),
            Self::SoundOnly => Some(Reason::SoundOnly),
            Self::Loss => Some(Reason::Loss),
            Self::Delay => Some(Reason::Delay),
            Self::Cpu => Some(Reason::Cpu),
            Self::Bandwidth => Some(Reason::Bandwidth),
            Self::TheirSide => Some(Reason::TheirSide),
            Self::SmallOut | Self::SmallIn => None,
        }
    }

    /// Whether the call is poor by it; else it is only worth a word.
    fn is_poor(self) -> bool {
        match self {
            Self::Suspended | Self::SoundOnly | Self::Loss | Self::Delay | Self::SmallOut | Self::SmallIn => {
                true
            }
            Self::Cpu | Self::Bandwidth | Self::TheirSide => false,
        }
    }

    /// How long it must hold to show, and be gone to go. A call begins at a modest rate: that is no sign
    /// of a slow connection yet.
    fn holds(self) -> (Duration, Duration) {
        let (shows, goes) = match self {
            Self::Suspended => (0, 2),
            Self::Loss | Self::Delay | Self::SoundOnly => (2, 4),
            Self::Cpu | Self::TheirSide | Self::SmallOut | Self::SmallIn => (3, 4),
            Self::Bandwidth => (5, 4),
        };
        (Duration::from_secs(shows), Duration::from_secs(goes))
    }
}

/// A sign, kept from flickering.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    on: bool,
    /// Since when it is otherwise than shown.
    otherwise: Option<Instant>,
}

impl Held {
    fn update(&mut self, holds: bool, (shows, goes): (Duration, Duration), now: Instant) {
        if holds == self.on {
            self.otherwise = None;
            return;
        }
        let since = *self.otherwise.get_or_insert(now);
        if now.saturating_duration_since(since) >= if holds { shows } else { goes } {
            *self = Self { on: holds, otherwise: None };
        }
    }
}

/// The best picture of theirs lately.
#[derive(Clone, Copy, Debug)]
struct Best {
    pixels: f32,
    frames: f32,
    /// When it was last about as good.
    at: Instant,
}

/// Watches over one participant.
#[derive(Debug)]
pub(super) struct Watch {
    history: Arc<History>,
    /// The reading that the last sample ends with.
    before: Option<(Instant, Arc<Stats>)>,
    bytes: u64,
    /// When something came last.
    heard: Instant,
    /// Since when they should be sending something.
    expected: Option<Instant>,
    /// Samples to come until signs are read from them.
    unsettled: usize,
    signs: [Held; Sign::ALL.len()],
    best: Option<Best>,
}

impl Watch {
    /// Over somebody met now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            history: Arc::default(),
            before: None,
            bytes: 0,
            heard: now,
            expected: None,
            unsettled: SETTLED,
            signs: Default::default(),
            best: None,
        }
    }

    /// The last minute.
    pub(super) fn history(&self) -> Arc<History> {
        self.history.clone()
    }

    /// Whether anything came just now.
    pub(super) fn hears(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) < SILENCE
    }

    /// Whether anything came after a moment.
    pub(super) fn heard_after(&self, moment: Instant) -> bool {
        self.heard > moment
    }

    /// Takes a reading.
    pub(super) fn read(&mut self, stats: &Arc<Stats>, facts: Facts, now: Instant) {
        if stats.bytes_received != self.bytes {
            self.bytes = stats.bytes_received;
            self.heard = now;
        }
        let Some((at, before)) = &self.before else {
            self.before = Some((now, stats.clone()));
            return;
        };
        let passed = now.saturating_duration_since(*at);
        if passed < SAMPLE {
            return;
        }
        let before = before.clone();
        Arc::make_mut(&mut self.history).push(Sample::between(&before, stats, passed));
        self.before = Some((now, stats.clone()));
        self.unsettled = self.unsettled.saturating_sub(1);
        if self.unsettled == 0 {
            self.look(&before, stats, facts, now);
        }
    }

    fn look(&mut self, before: &Stats, stats: &Stats, facts: Facts, now: Instant) {
        let reduced = self.reduced(&stats.inbound_video, facts, now);
        let (video, sent) = (&stats.inbound_video, &stats.outbound_video);
        let limit = if facts.showing { sent.quality_limitation_reason } else { Limitation::None };
        for sign in Sign::ALL {
            let shown = self.signs[sign as usize].on;
            let holds = match sign {
                Sign::Suspended => facts.showing && sent.suspended,
                Sign::SoundOnly => !facts.camera_off && sound_only(before, stats),
                Sign::Loss => above(self.loss(), 1.0, 0.5, shown),
                Sign::Delay => above(self.delay(), 0.4, 0.3, shown),
                Sign::Cpu => limit == Limitation::Cpu,
                Sign::Bandwidth => limit == Limitation::Bandwidth,
                Sign::TheirSide => reduced && self.history.recent(WINDOW, |s| s.lost_in) < 0.02,
                Sign::SmallOut => limit != Limitation::None && !sent.suspended && small_out(sent),
                Sign::SmallIn => reduced && small_in(video),
            };
            self.signs[sign as usize].update(holds, sign.holds(), now);
        }
    }

    /// 1 where losses begin to be noticed. No single second counts for more than it takes to be nearly there:
    /// a short outage is over before it is told.
    fn loss(&self) -> f32 {
        let mean = |value: fn(&Sample) -> f32| self.history.recent(WINDOW, value);
        let lost = mean(|s| s.lost_in.min(0.2)).max(mean(|s| s.lost_out.min(0.2)));
        // A picture may stand still for other reasons too.
        let frozen = if lost < 0.005 { 0.0 } else { mean(|s| s.frozen.min(0.4)) };
        (lost / 0.08).max(mean(|s| s.concealed.min(0.08)) / 0.03).max(frozen / 0.15)
    }

    /// From mouth to ear without the devices, seconds: ITU-T G.114 calls 0.4 the limit.
    fn delay(&self) -> f32 {
        self.history.recent(WINDOW, |s| s.round_trip.unwrap_or(0.0) / 2.0 + s.sound_delay)
    }

    /// Whether their picture is smaller or slower than it was lately.
    fn reduced(&mut self, video: &InboundVideo, facts: Facts, now: Instant) -> bool {
        if facts.camera_off {
            self.best = None;
        }
        let (pixels, frames) = (video.frame_width as f32 * video.frame_height as f32, self.frames());
        if facts.camera_off || pixels == 0.0 || frames == 0.0 {
            return false;
        }
        let best = self.best.get_or_insert(Best { pixels, frames, at: now });
        let reduced = pixels < best.pixels * REDUCED || frames < best.frames * REDUCED;
        if !reduced {
            *best = Best { pixels: pixels.max(best.pixels), frames: frames.max(best.frames), at: now };
        } else if now.saturating_duration_since(best.at) >= ACCUSTOMED {
            *best = Best { pixels, frames, at: now };
        }
        reduced
    }

    fn frames(&self) -> f32 {
        self.history.recent(WINDOW, |s| s.frames)
    }

    /// How it is; none before media could flow.
    pub(super) fn judge(&mut self, facts: Facts, now: Instant) -> Option<Verdict> {
        let expecting = !(facts.muted && facts.camera_off) && facts.connection != Connection::Connecting;
        self.expected = if expecting { self.expected.or(Some(now)) } else { None };
        let unheard = now.saturating_duration_since(self.heard);
        let lost = match facts.connection {
            Connection::Connecting => return None,
            Connection::Connected => {
                let awaited =
                    self.expected.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
                unheard.min(awaited) >= SILENCE
            }
            Connection::Disconnected | Connection::Restarting | Connection::Failed => unheard >= HEARD_LATELY,
        };
        let on = || Sign::ALL.into_iter().filter(|sign| self.signs[*sign as usize].on);
        let limit = on().filter_map(Sign::reason).find(|reason| reason.is_ours());
        if lost {
            self.unsettled = self.unsettled.max(RECOVERED);
            let (quality, reason) = (Quality::Lost, Some(Reason::Silence));
            return Some(Verdict { quality, reason, limit, lost_for: Some(unheard.as_secs()) });
        }
        let quality = if on().any(Sign::is_poor) { Quality::Poor } else { Quality::Good };
        Some(Verdict { quality, reason: on().find_map(Sign::reason), limit, lost_for: None })
    }
}

/// A threshold with a lower one to come back by.
fn above(value: f32, shows: f32, goes: f32, shown: bool) -> bool {
    value >= if shown { goes } else { shows }
}

/// Sound came between the two readings, and no picture at all.
fn sound_only(before: &Stats, now: &Stats) -> bool {
    now.inbound_video.packets_received == before.inbound_video.packets_received
        && now.inbound_audio.packets_received > before.inbound_audio.packets_received + 1
}

fn small_out(sent: &OutboundVideo) -> bool {
    sent.frame_width.min(sent.frame_height) < SMALL.0 || sent.frames_per_second < SMALL.1
}

fn small_in(video: &InboundVideo) -> bool {
    video.frame_width.min(video.frame_height) < SMALL.0 || video.frames_per_second < SMALL.1
}

#[cfg(test)]
mod tests;
