//! The last minute of a call with somebody, one sample a second: what quality is judged by and what the
//! window plots.

use crate::stats::{InboundAudio, InboundVideo, Path, Stats};
use std::collections::VecDeque;
use std::time::Duration;

/// Fewer packets than this in a second tell nothing of the path: with discontinuous transmission a silent
/// microphone gives two or three.
const TELLING: u64 = 10;

/// One second. Rates are bits a second, times seconds, shares 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Picture and sound to them.
    pub sent: f32,
    /// What the encoders aim at, both together.
    pub target: f32,
    /// Picture and sound from them.
    pub received: f32,
    /// Round trip; none before the first.
    pub round_trip: Option<f32>,
    /// Share of their packets that did not come, of picture or sound, whichever is worse.
    pub lost_in: f32,
    /// Share of our packets that they say did not come, whichever is worse.
    pub lost_out: f32,
    /// RFC 3550's, of picture or sound, whichever is worse.
    pub jitter: f32,
    /// How long sound waits before it is played.
    pub sound_delay: f32,
    /// How long a picture waits before it is shown.
    pub picture_delay: f32,
    /// Share of the sound that was made up.
    pub concealed: f32,
    /// Share of the second that the picture stood still; more than 1 when a longer freeze ended.
    pub frozen: f32,
    /// Pictures a second from them.
    pub frames: f32,
    /// Pixels down of their last picture; 0 before the first.
    pub height: f32,
    /// Pixels down of the last picture that we sent them; 0 before the first, and while pictures are paused.
    pub own_height: f32,
    /// How far lips and voice are apart, whichever is late; none where that is not known.
    pub lips: Option<f32>,
    /// Whether packets took a relay; none before a path was chosen.
    pub relayed: Option<bool>,
}

impl Sample {
    /// What happened between two readings of the same connection, `passed` apart.
    pub fn between(before: &Stats, now: &Stats, passed: Duration) -> Self {
        let (video, audio) = (&now.inbound_video, &now.inbound_audio);
        let (sent_video, sent_audio) = (&now.outbound_video, &now.outbound_audio);
        let seconds = passed.as_secs_f64().max(0.001);
        let frozen = video.total_freezes_duration - before.inbound_video.total_freezes_duration;
        Self {
            sent: (sent_video.bitrate + sent_audio.bitrate) as f32,
            target: (sent_video.target_bitrate + sent_audio.target_bitrate) as f32,
            received: (video.bitrate + audio.bitrate) as f32,
            round_trip: now.current_round_trip_time.map(|trip| trip as f32),
            lost_in: video_lost(&before.inbound_video, video).max(audio_lost(&before.inbound_audio, audio)),
            lost_out: sent_video.fraction_lost.max(sent_audio.fraction_lost) as f32,
            jitter: video.jitter.max(audio.jitter) as f32,
            sound_delay: audio.jitter_buffer_delay as f32,
            picture_delay: video.jitter_buffer_delay as f32,
            concealed: concealed(&before.inbound_audio, audio),
            frozen: (frozen / seconds).max(0.0) as f32,
            frames: video.frames_per_second as f32,
            height: video.frame_height as f32,
            own_height: if sent_video.suspended { 0.0 } else { sent_video.frame_height as f32 },
            lips: now.lip_skew.map(|skew| skew.abs() as f32),
            relayed: now.path.map(|path| path == Path::Relayed),
        }
    }
}

fn video_lost(before: &InboundVideo, now: &InboundVideo) -> f32 {
    share(
        now.packets_lost.saturating_sub(before.packets_lost),
        now.packets_received.saturating_sub(before.packets_received),
    )
}

fn audio_lost(before: &InboundAudio, now: &InboundAudio) -> f32 {
    share(
        now.packets_lost.saturating_sub(before.packets_lost),
        now.packets_received.saturating_sub(before.packets_received),
    )
}

/// A retransmission that comes makes a loss good, so the count of the lost may fall: that is none.
fn share(lost: u64, received: u64) -> f32 {
    if lost + received < TELLING { 0.0 } else { lost as f32 / (lost + received) as f32 }
}

fn concealed(before: &InboundAudio, now: &InboundAudio) -> f32 {
    let made_up = now.concealed_samples.saturating_sub(before.concealed_samples);
    let played = now.total_samples_received.saturating_sub(before.total_samples_received);
    if played == 0 { 0.0 } else { (made_up as f32 / played as f32).min(1.0) }
}

/// The samples of a minute, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History(VecDeque<Sample>);

impl History {
    /// overflow: the oldest sample goes.
    pub const SAMPLES: usize = 60;

    /// Adds the newest.
    pub fn push(&mut self, sample: Sample) {
        if self.0.len() == Self::SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// All there are, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Sample> + ExactSizeIterator {
        self.0.iter()
    }

    /// The newest.
    pub fn last(&self) -> Option<&Sample> {
        self.0.back()
    }

    /// The mean of a value over the newest `count` samples; 0 when there are none.
    pub fn recent(&self, count: usize, value: impl Fn(&Sample) -> f32) -> f32 {
        let taken = self.0.len().min(count);
        let sum: f32 = self.0.iter().rev().take(taken).map(value).sum();
        if taken == 0 { 0.0 } else { sum / taken as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_kept() {
        let mut history = History::default();
        assert_eq!((history.recent(3, |s| s.sent), history.last()), (0.0, None));
        for second in 0..100_u8 {
            history.push(Sample { sent: f32::from(second), ..Sample::default() });
        }
        let sent: Vec<f32> = history.iter().map(|sample| sample.sent).collect();
        assert_eq!((sent.len(), sent[0], sent[59]), (60, 40.0, 99.0));
        assert_eq!(history.recent(3, |s| s.sent), 98.0);
    }

    #[test]
    fn shares_are_of_what_happened_between_two_readings() {
        let before = Stats {
            inbound_audio: InboundAudio {
                packets_received: 1000,
                packets_lost: 100,
                concealed_samples: 4800,
                total_samples_received: 960_000,
                ..InboundAudio::default()
            },
            ..Stats::default()
        };
        let mut now = before.clone();
        now.inbound_audio.packets_received += 45;
        now.inbound_audio.packets_lost += 5;
        now.inbound_audio.concealed_samples += 480;
        now.inbound_audio.total_samples_received += 48_000;
        now.inbound_video.total_freezes_duration = 0.25;
        now.outbound_video.frame_height = 360;
        (now.lip_skew, now.path) = (Some(-0.02), Some(Path::Relayed));
        let sample = Sample::between(&before, &now, Duration::from_secs(1));
        assert_eq!((sample.lost_in, sample.concealed, sample.frozen), (0.1, 0.01, 0.25));
        assert_eq!((sample.own_height, sample.lips, sample.relayed), (360.0, Some(0.02), Some(true)));
        now.outbound_video.suspended = true;
        let unchanged = Sample::between(&now, &now, Duration::from_secs(1));
        assert_eq!((unchanged.lost_in, unchanged.concealed, unchanged.frozen), (0.0, 0.0, 0.0));
        assert_eq!(unchanged.own_height, 0.0, "the last one's size is no picture");
        let mut later = now.clone();
        later.inbound_audio.packets_lost -= 3;
        later.inbound_audio.packets_received += 3;
        assert_eq!(Sample::between(&now, &later, Duration::from_secs(1)).lost_in, 0.0, "made good");
    }
}
