//! Many channels become one: the loudest of late. A mean would leave a quarter of a voice that is on one of
//! four channels, hollow out one that reaches two microphones at different times, and cancel one that a wrong
//! plug gives upside down.

/// More channels than this are not listened to.
const MOST: usize = 32;
/// How fast a channel's power rises (5 ms) and falls (500 ms: a pause between words changes nothing).
const RISE: f32 = 0.005;
const FALL: f32 = 0.5;
/// Another channel must have this many times the power, 3 dB, of the one in use.
const BETTER: f32 = 2.0;
/// The change from one channel to another takes this long.
const FADE: f32 = 0.01;
/// Power below this (-80 dB) is no sound: one silent channel is as good as another.
const FLOOR: f32 = 1e-8;

/// Makes a stream of frames one of samples. Neither locks nor allocates after it was made.
pub(crate) struct Loudest {
    power: [f32; MOST],
    rise: f32,
    fall: f32,
    in_use: usize,
    /// The one before, and how much of it is still in: 0 to 1.
    before: usize,
    left: f32,
    step: f32,
    channels: usize,
}

impl Loudest {
    /// For frames of so many channels, so many a second.
    pub(crate) fn new(channels: u16, rate: u32) -> Self {
        let rate = rate.max(1) as f32;
        Self {
            power: [0.0; MOST],
            rise: 1.0 - (-1.0 / (RISE * rate)).exp(),
            fall: 1.0 - (-1.0 / (FALL * rate)).exp(),
            in_use: 0,
            before: 0,
            left: 0.0,
            step: 1.0 / (FADE * rate),
            channels: usize::from(channels).clamp(1, MOST),
        }
    }

    /// The sample for one frame, within full scale; what is not a number counts as silence.
    pub(crate) fn mono(&mut self, frame: impl Iterator<Item = f32>) -> f32 {
        let (mut now, mut before) = (0.0, 0.0);
        let mut best = self.in_use;
        for (channel, sample) in frame.take(self.channels).enumerate() {
            let x = if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
            if channel == self.in_use {
                now = x;
            }
            if channel == self.before {
                before = x;
            }
            let power = &mut self.power[channel];
            let change = x * x - *power;
            *power += change * if change > 0.0 { self.rise } else { self.fall };
            if self.power[channel] > self.power[best] {
                best = channel;
            }
        }
        let sample = now + (before - now) * self.left;
        self.left = (self.left - self.step).max(0.0);
        if self.left == 0.0 && self.power[best] > BETTER * self.power[self.in_use].max(FLOOR) {
            (self.before, self.in_use, self.left) = (self.in_use, best, 1.0);
        }
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::{rms, tone_share};

    const RATE: u32 = 48_000;

    fn sine(n: usize) -> f32 {
        (n as f32 * 1000.0 * std::f32::consts::TAU / RATE as f32).sin() * 0.5
    }

    fn run(channels: u16, frames: usize, frame: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let mut loudest = Loudest::new(channels, RATE);
        let channels = usize::from(channels);
        (0..frames).map(|n| loudest.mono((0..channels).map(|channel| frame(n, channel)))).collect()
    }

    #[test]
    fn a_voice_on_any_one_channel_is_heard_in_full() {
        for voice in 0..4 {
            let noise = |n: usize, channel: usize| 0.001 * ((n * 7 + channel * 13) % 5) as f32;
            let out = run(4, 48_000, |n, channel| if channel == voice { sine(n) } else { noise(n, channel) });
            assert!((rms(&out[2400..]) - 0.3536).abs() < 0.002, "{voice}: {}", rms(&out[2400..]));
            assert!(rms(&out[..2400]) > 0.25, "and from its first syllable on");
        }
    }

    #[test]
    fn a_voice_on_all_channels_even_upside_down_keeps_its_loudness() {
        for sign in [1.0, -1.0] {
            let out = run(2, 48_000, |n, channel| sine(n) * if channel == 1 { sign * 0.9 } else { 1.0 });
            assert!((rms(&out) - 0.3536).abs() < 0.001);
            assert!(tone_share(&out, 1000.0) > 0.999, "nothing is switched");
        }
    }

    #[test]
    fn the_change_from_one_channel_to_another_does_not_click() {
        let out = run(2, 96_000, |n, channel| if (n < 48_000) == (channel == 0) { sine(n) } else { 0.0 });
        assert!(rms(&out[..48_000]) > 0.35 && rms(&out[72_000..]) > 0.35);
        // The new voice begins under the old one's memory; while the channel changes nothing jumps more than
        // the tone itself does.
        let steepest = out.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.5 * 1000.0 * std::f32::consts::TAU / RATE as f32 * 1.1, "{steepest}");
    }

    #[test]
    fn a_pause_between_words_is_not_filled_with_another_channels_noise() {
        let out = run(2, 120_000, |n, channel| match (channel, n) {
            (0, 48_000..72_000) => 0.0,
            (0, _) => sine(n),
            (_, _) => 0.01 * sine(n * 3),
        });
        assert!(rms(&out[48_500..72_000]) < 1e-6);
        assert!((rms(&out[72_000..96_000]) - 0.3536).abs() < 0.001, "the next word is whole");
    }

    #[test]
    fn rubbish_is_silence() {
        let out = run(3, 1000, |n, channel| [f32::NAN, f32::INFINITY, 5.0 * sine(n)][channel]);
        assert!(out.iter().all(|x| x.is_finite() && x.abs() <= 1.0));
        assert!(rms(&out) > 0.5);
        assert_eq!(Loudest::new(0, 0).mono(std::iter::empty()), 0.0);
        assert_eq!(Loudest::new(100, RATE).mono(std::iter::repeat_n(0.5, 100)), 0.5);
    }
}
