//! What the path carries, shared out: sound first, then what is sent again, the rest is picture. Pure.

use peer::Estimate;
use std::time::{Duration, Instant};

/// RTP, SRTP, UDP and IP headers of a packet, bits.
const HEADERS: f64 = 60.0 * 8.0;
/// Packets of sound a second, short and long ones, and below and above what long ones begin and end.
const SHORT: f64 = 50.0;
const LONG: f64 = 25.0;
const LONG_BELOW: f64 = 90_000.0;
const SHORT_ABOVE: f64 = 140_000.0;
/// Below this the picture stops, before the sound suffers; above the other it comes back.
const SUSPEND: f64 = 62_000.0;
const RESUME: f64 = 80_000.0;
/// While so little of what the path carries may leave, sound makes itself small, where it is more than a small part.
const SMALL_PACE: f64 = 0.5;
const SMALL_BELOW: f64 = 400_000.0;
/// What music gets, where the path carries so much.
const MUSIC: f64 = 128_000.0;
const MUSIC_FROM: f64 = 500_000.0;
/// Sound that has the path to itself.
const ALONE: std::ops::RangeInclusive<f64> = 10_000.0..=24_000.0;
/// Beside a picture.
const LEAST_SPEECH: f64 = 16_000.0;
/// For so long, and twice as long after each picture that had to stop again soon, up to half a minute.
const PATIENCE: Duration = Duration::from_millis(700);
const MOST_PATIENCE: Duration = Duration::from_secs(32);
const SOON: Duration = Duration::from_secs(8);
/// When nothing has told of the path for so long, since nothing of ours left, what is known of it is of no use; a picture
/// that is tried then has so long to show that the path carries it.
const STALE: Duration = Duration::from_secs(3);
const TRIAL: Duration = Duration::from_secs(2);
/// With so much there is little doubt, and patience is a third.
const PLENTY: f64 = 250_000.0;
const MOST_AT_PLENTY: Duration = Duration::from_secs(4);
/// The most that a picture gives up for those that wait.
const MOST_CATCH_UP: f64 = 0.4;
/// The least that a picture is encoded at.
const LEAST_PICTURE: f64 = 20_000.0;

/// What is sent of each, in bits a second of the codecs' own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shares {
    pub(super) audio: u32,
    pub(super) video: u32,
    /// No picture at all.
    pub(super) suspended: bool,
    /// Packets of sound are long ones.
    pub(super) long: bool,
    /// Share of packets lost, 0 to 1.
    pub(super) loss: f64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Allocation {
    music: bool,
    suspended: bool,
    long: bool,
    /// Since when the path carries enough for a picture.
    enough: Option<Instant>,
    resumed: Option<Instant>,
    patience: Duration,
    /// When the path was last told of, and when a picture was tried because it was not.
    told: Option<Instant>,
    tried: Option<Instant>,
}

impl Allocation {
    /// `music`: as [`Self::set_music`].
    pub(super) fn new(music: bool) -> Self {
        Self {
            music,
            suspended: false,
            long: false,
            enough: None,
            resumed: None,
            patience: PATIENCE,
            told: None,
            tried: None,
        }
    }

    /// Whether sound is music, which is worth more than speech where there is room.
    pub(super) fn set_music(&mut self, music: bool) {
        self.music = music;
    }

    /// Whether a picture that has stopped is to be tried again though nobody says that there is room: who is muted,
    /// or has no microphone, sends nothing beside it, and of nothing nobody can tell how it came. To be asked each now
    /// and then, with when sound left last; if so, [`Self::share`] is next.
    pub(super) fn tries(&mut self, sound: Option<Instant>, now: Instant) -> bool {
        let since = |then: Instant| now.saturating_duration_since(then);
        // Of sound that leaves and is not told of the path is to blame: a picture would only wait there.
        let heard = sound.is_some_and(|left| since(left) < STALE);
        if !self.suspended || heard || self.told.is_none_or(|told| since(told) < STALE.max(self.patience)) {
            return false;
        }
        self.suspended = false;
        (self.resumed, self.tried) = (Some(now), Some(now));
        true
    }

    /// Shares out what the worst of the paths carries, of which something was just told.
    pub(super) fn share(&mut self, estimate: &Estimate, now: Instant) -> Shares {
        self.told = Some(now);
        self.judge(estimate.bitrate, now);
        let small = estimate.pace < SMALL_PACE * estimate.bitrate && estimate.bitrate < SMALL_BELOW;
        self.long = small || estimate.bitrate < if self.long { SHORT_ABOVE } else { LONG_BELOW };
        let headers = HEADERS * if self.long { LONG } else { SHORT };
        let audio = if self.suspended {
            (estimate.bitrate.min(estimate.pace) - headers).clamp(*ALONE.start(), *ALONE.end())
        } else if small {
            LEAST_SPEECH
        } else if self.music && estimate.bitrate > MUSIC_FROM {
            MUSIC
        } else {
            audio(estimate.bitrate, estimate.loss)
        };
        // A third of it at most: what was sent again in a bad moment is not what the next one needs.
        let again = estimate.retransmitted.min(estimate.bitrate * 0.3);
        let copies = audio * estimate.copies as f64;
        // What waits is to be gone in a second or so: it is sent faster than the path is meant to be used.
        let catch_up = 1.0 - estimate.backlog.as_secs_f64().min(MOST_CATCH_UP);
        let left = (estimate.bitrate - audio - copies - headers - again) * catch_up;
        // Headers take a twentieth, and more where packets are not full.
        let video = (left * 0.93 - 4000.0).max(LEAST_PICTURE);
        let (audio, video) = (audio as u32, video as u32);
        Shares { audio, video, suspended: self.suspended, long: self.long, loss: estimate.loss }
    }

    fn judge(&mut self, bitrate: f64, now: Instant) {
        if !self.suspended {
            let on_trial = self.tried.is_some_and(|at| now.saturating_duration_since(at) < TRIAL);
            if bitrate < SUSPEND && !on_trial {
                let soon = self.resumed.is_some_and(|at| now.saturating_duration_since(at) < SOON);
                self.patience = if soon { (self.patience * 2).min(MOST_PATIENCE) } else { PATIENCE };
                (self.suspended, self.enough) = (true, None);
            }
            return;
        }
        if bitrate < RESUME {
            self.enough = None;
            return;
        }
        let since = *self.enough.get_or_insert(now);
        let patience = if bitrate > PLENTY { (self.patience / 3).min(MOST_AT_PLENTY) } else { self.patience };
        if now.saturating_duration_since(since) >= patience {
            (self.suspended, self.resumed) = (false, Some(now));
        }
    }
}

/// Opus speaks clearly at 32 kb/s and hardly better than at 48; a copy of each packet in the next, where packets
/// are lost, wants more than 32, and a thin path gets less.
fn audio(bitrate: f64, loss: f64) -> f64 {
    match bitrate {
        ..110_000.0 => LEAST_SPEECH,
        110_000.0..150_000.0 => 20_000.0,
        150_000.0..250_000.0 => 24_000.0,
        600_000.0.. => 48_000.0,
        400_000.0.. if loss > 0.03 => 44_000.0,
        _ => 32_000.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(bitrate: f64) -> Estimate {
        Estimate {
            bitrate,
            retransmitted: 0.0,
            round_trip: None,
            loss: 0.0,
            copies: 0,
            measured: true,
            pace: bitrate,
            backlog: Duration::ZERO,
        }
    }

    #[test]
    fn all_shares_and_their_headers_fit_into_what_the_path_carries() {
        let start = Instant::now();
        for bitrate in (70..4000).map(|kilo| f64::from(kilo) * 1000.0) {
            let shares = Allocation::new(false).share(&estimate(bitrate), start);
            let packets = if shares.long { LONG } else { SHORT };
            let sent = f64::from(shares.audio) + packets * HEADERS + f64::from(shares.video) * 1.05;
            assert!(!shares.suspended && sent < bitrate * 1.02 + LEAST_PICTURE, "{bitrate}: {shares:?}");
        }
        for kilo in [35.0, 50.0, 60.0] {
            let shares = Allocation::new(false).share(&estimate(kilo * 1000.0), start);
            assert!(shares.suspended && shares.long);
            assert!(f64::from(shares.audio) + LONG * HEADERS <= kilo * 1000.0);
        }
    }

    #[test]
    fn music_gets_more_where_there_is_room() {
        let (mut allocation, now) = (Allocation::new(true), Instant::now());
        assert_eq!(allocation.share(&estimate(1e6), now).audio, 128_000);
        assert_eq!(allocation.share(&estimate(3e5), now).audio, 32_000);
        allocation.set_music(false);
        assert_eq!(allocation.share(&estimate(1e6), now).audio, 48_000);
    }

    #[test]
    fn sound_is_small_while_a_thin_path_drains_or_says_nothing() {
        let (mut allocation, now) = (Allocation::new(false), Instant::now());
        let silent = |bitrate| Estimate { pace: 0.04 * bitrate, ..estimate(bitrate) };
        let shares = allocation.share(&silent(200_000.0), now);
        assert!(shares.long && shares.audio == 16_000);
        let shares = allocation.share(&estimate(200_000.0), now);
        assert!(!shares.long && shares.audio == 24_000);
        let shares = allocation.share(&silent(1_000_000.0), now);
        assert!(!shares.long && shares.audio == 48_000);
        let drains = Estimate { pace: 15_000.0, ..estimate(50_000.0) };
        assert_eq!(allocation.share(&drains, now).audio, 10_000);
        assert_eq!(allocation.share(&estimate(50_000.0), now).audio, 24_000);
    }

    #[test]
    fn what_is_sent_again_comes_off_the_picture() {
        let mut allocation = Allocation::new(false);
        let clean = allocation.share(&estimate(5e5), Instant::now());
        let lossy = Estimate { retransmitted: 200_000.0, loss: 0.2, ..estimate(5e5) };
        let lossy = allocation.share(&lossy, Instant::now());
        assert!(lossy.video + 130_000 < clean.video && lossy.audio > clean.audio);
    }

    #[test]
    fn a_picture_that_nothing_tells_of_any_more_is_tried_again_and_has_time_to_show_itself() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut allocation = Allocation::new(false);
        let share =
            |allocation: &mut Allocation, ms, bitrate| allocation.share(&estimate(bitrate), at(ms)).suspended;
        assert!(share(&mut allocation, 0, 50_000.0));
        assert!(share(&mut allocation, 1000, 50_000.0), "sound is told of");
        assert!(!allocation.tries(None, at(3900)), "not yet long ago");
        assert!(!allocation.tries(Some(at(2000)), at(4000)), "the path says nothing of the sound either");
        assert!(allocation.tries(Some(at(1000)), at(4000)) && !allocation.tries(None, at(4000)), "once");
        assert!(!share(&mut allocation, 4000, 50_000.0) && !share(&mut allocation, 5900, 55_000.0));
        assert!(share(&mut allocation, 6000, 55_000.0), "it has had its time");
        // Each trial that shows nothing makes the next one rarer, down to one in half a minute.
        let (mut ms, mut tried) = (6000, Vec::new());
        while ms < 150_000 {
            ms += 100;
            if allocation.tries(None, at(ms)) {
                tried.push(ms);
                assert!(!share(&mut allocation, ms, 50_000.0));
                ms += 2000;
                assert!(share(&mut allocation, ms, 50_000.0));
            }
        }
        let gaps: Vec<u64> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.is_sorted() && gaps[0] == 5000 && gaps.last() == Some(&34_000), "{gaps:?}");
        // And where the path carries more by then, the picture stays.
        let last = ms + 40_000;
        assert!(allocation.tries(None, at(last)) && !share(&mut allocation, last + 1900, 70_000.0));
        assert!(!share(&mut allocation, last + 9000, 70_000.0));
    }

    #[test]
    fn the_picture_stops_at_once_and_comes_back_with_growing_patience() {
        let start = Instant::now();
        let mut allocation = Allocation::new(false);
        let mut at = |ms: u64, bitrate: f64| {
            allocation.share(&estimate(bitrate), start + Duration::from_millis(ms)).suspended
        };
        assert!(!at(0, 100_000.0));
        assert!(at(100, 60_000.0));
        assert!(at(200, 70_000.0), "not enough to come back");
        assert!(at(300, 100_000.0) && at(900, 100_000.0));
        assert!(!at(1100, 100_000.0));
        assert!(at(3000, 50_000.0), "it was too early");
        assert!(at(3100, 100_000.0) && at(4400, 100_000.0), "twice the patience");
        assert!(!at(4600, 100_000.0));
        assert!(at(7300, 50_000.0) && at(7400, 300_000.0) && at(8200, 300_000.0));
        assert!(!at(8400, 300_000.0), "so much leaves little doubt");
    }
}
