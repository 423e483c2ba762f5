//! One voice: jitter buffer, decoder and time-stretching together. No clock, no queue: tested on virtual time.

use std::time::{Duration, Instant};

use super::comfort::Comfort;
use super::jitter::{Counts, GUESS, Jitter, Packet, Play, REST, REST_FADES, Stretch};
use super::measure::rms;
use super::piece::Piece;
use super::{BLOCK, stretch};
use crate::codec::opus::{self, MAX_PACKET, OpusDecoder, OpusError, RATE};

/// Guessed sound is at full loudness for 40 ms and gone after [`GUESS`].
const FADE_FROM: u32 = 1920;
/// The noise of a pause that nobody tells of any more is gone after this: half a second.
const REST_FADE: f32 = 24_000.0;
/// Sound begins, and changes from one kind to another, within 2.5 ms.
const JOIN: usize = 120;
/// A guess no louder than this (-60 dB of full scale) was silence.
const SILENT: f32 = 0.001;
/// A piece this much (20 dB) below the voice is a pause in it.
const QUIET: f32 = 0.1;
/// The voice is as loud as its loudest piece, less a half after 14 s.
const LOUD_FADES: f32 = 0.999;

/// See the module.
pub(crate) struct Voice {
    jitter: Jitter,
    decoder: OpusDecoder,
    comfort: Comfort,
    /// The other side pauses, and what is played is noise.
    resting: bool,
    /// Nothing came any more, and the noise of their last pause has stood in its place for so many samples.
    lost: Option<u32>,
    /// Decoded and not yet played, oldest first.
    ready: Piece,
    frame: Piece,
    /// As it comes from the decoder: left and right in turn.
    raw: Vec<f32>,
    /// The last packet was of stereo. Of one of mono libopus makes two sides that are not the same to the last bit.
    wide: bool,
    /// The last 10 ms made.
    block: Piece,
    /// The sender's clock at the end of `ready`, microseconds; unknown while sound is guessed.
    until_us: Option<i64>,
    broken: u64,
    samples: u64,
    silent_guesses: u64,
    /// Smoothed wait of what was played, seconds.
    delay: f32,
    stretched: (u64, u64),
    /// How loud the voice is, root mean square.
    loud: f32,
}

impl Voice {
    pub(crate) fn new() -> Result<Self, OpusError> {
        Ok(Self {
            jitter: Jitter::new(),
            decoder: OpusDecoder::stereo()?,
            comfort: Comfort::new(),
            resting: false,
            lost: None,
            ready: Piece::default(),
            frame: Piece::default(),
            raw: Vec::with_capacity(2 * MAX_PACKET),
            wide: false,
            block: Piece { mid: vec![0.0; BLOCK], side: vec![0.0; BLOCK] },
            until_us: None,
            broken: 0,
            samples: 0,
            silent_guesses: 0,
            delay: 0.0,
            stretched: (0, 0),
            loud: 0.0,
        })
    }

    /// Takes a packet in; whether it is the newest.
    pub(crate) fn push(&mut self, packet: Packet) -> bool {
        self.jitter.push(packet, self.ready.len())
    }

    pub(crate) fn counts(&self) -> Counts {
        self.jitter.counts()
    }

    /// Packets that never came.
    pub(crate) fn lost(&self) -> u64 {
        self.jitter.lost()
    }

    /// Packets that were not decodable.
    pub(crate) fn broken(&self) -> u64 {
        self.broken
    }

    /// Samples made so far, the noise of pauses too, silence not.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Samples added to play slower, and left out to play faster.
    pub(crate) fn stretched(&self) -> (u64, u64) {
        self.stretched
    }

    /// Samples guessed where the voice was silent.
    pub(crate) fn silent_guesses(&self) -> u64 {
        self.silent_guesses
    }

    /// Milliseconds that sound played of late waited, decoded or not.
    pub(crate) fn delay_ms(&self) -> f32 {
        self.delay * 1000.0
    }

    /// Sound is to wait so much longer than it must; it does so by and by.
    pub(crate) fn set_extra(&mut self, extra: Duration) {
        self.jitter.set_extra((extra.as_secs_f32() * RATE as f32) as u32);
    }

    /// The last 10 ms made: [`BLOCK`] samples.
    pub(crate) fn block(&self) -> &Piece {
        &self.block
    }

    /// The sender's clock at the first sample of the next block, microseconds.
    pub(crate) fn next_us(&self) -> Option<i64> {
        Some(self.until_us? - self.ready.len() as i64 * 1000 / 48)
    }

    /// Makes the next 10 ms in `block`; false when it is plain silence.
    pub(crate) fn pull(&mut self, now: Instant) -> bool {
        let mut sounding = self.ready.len() > 0;
        while self.ready.len() < BLOCK {
            match self.jitter.pull(now) {
                Play::Silence => sounding |= self.be_silent(),
                play => {
                    sounding = true;
                    self.measure(&play, now);
                    self.play(play);
                }
            }
        }
        self.block.mid.copy_from_slice(&self.ready.mid[..BLOCK]);
        self.block.side.copy_from_slice(&self.ready.side[..BLOCK]);
        self.ready.skip(BLOCK);
        self.samples += if sounding { BLOCK as u64 } else { 0 };
        sounding
    }

    /// Makes 10 ms in which nothing is known to be sent; false when that is silence. What was lost without a word
    /// sounds like a pause for a while.
    fn be_silent(&mut self) -> bool {
        let lost = self.lost.filter(|samples| *samples < REST && self.comfort.is_known());
        self.lost = lost.map(|samples| samples + BLOCK as u32);
        match lost {
            Some(samples) => self.rest(BLOCK, samples, false),
            None => {
                self.resting = false;
                self.ready.resize(BLOCK);
            }
        }
        lost.is_some()
    }

    /// Follows how long packets wait, by a sixteenth.
    fn measure(&mut self, play: &Play, now: Instant) {
        if let Play::Decode { arrived, .. } = play {
            let decoded = self.ready.len() as f32 / RATE as f32;
            let waited = now.saturating_duration_since(*arrived).as_secs_f32() + decoded;
            self.delay += (waited - self.delay) / 16.0;
        }
    }

    fn play(&mut self, play: Play) {
        let made = match &play {
            Play::Rest { samples, already, first, until_us } => {
                self.lost = None;
                self.until_us = until_us.or_else(|| Some(self.until_us? + i64::from(*samples) * 1000 / 48));
                return self.rest(*samples as usize, *already, *first);
            }
            Play::Silence => return,
            Play::Decode { payload, .. } => {
                self.wide = opus::is_stereo(payload);
                self.decode(MAX_PACKET, |decoder, out| decoder.decode(payload, out))
            }
            Play::Recover { next, length, .. } => {
                self.wide = opus::is_stereo(next);
                self.decode(*length as usize, |decoder, out| decoder.recover(next, out))
            }
            Play::Conceal { samples, .. } => {
                self.decode(*samples as usize, |decoder, out| decoder.conceal(out))
            }
        };
        if let Err(error) = made {
            self.broken += 1;
            tracing::debug!(%error, "a packet of sound could not be decoded");
            self.frame.clear();
            self.frame.resize(BLOCK);
        }
        let rested = std::mem::replace(&mut self.resting, false);
        (self.until_us, self.lost) = (None, None);
        match play {
            Play::Decode { stretch, first, until_us, .. } => {
                self.until_us = until_us;
                self.comfort.hear(&self.frame.mid);
                if rested {
                    self.fade_in();
                } else if first {
                    self.frame.scale(JOIN, |n| n as f32 / JOIN as f32);
                }
                self.stretch(stretch);
            }
            Play::Recover { keep, until_us, .. } => {
                self.until_us = until_us;
                let cut = self.frame.len().saturating_sub(keep as usize);
                self.frame.skip(cut);
                if rested {
                    self.fade_in();
                } else if cut > 0 {
                    // The guess that stood for the beginning was left at another point of the wave.
                    self.join();
                }
            }
            Play::Conceal { already, .. } => {
                if rms(&self.frame.mid) < SILENT {
                    self.silent_guesses += self.frame.len() as u64;
                }
                // It ends; `already` samples of it were played before.
                let left = |n: usize| {
                    let at = (already + n as u32).saturating_sub(FADE_FROM) as f32;
                    (1.0 - at / (GUESS - FADE_FROM) as f32).max(0.0)
                };
                self.frame.scale(MAX_PACKET, left);
                if already >= FADE_FROM {
                    // In the noise of their last pause.
                    let over = already as usize + self.frame.len() >= GUESS as usize;
                    (self.resting, self.lost) = (over, over.then_some(0));
                    let mut noise = [0.0; BLOCK];
                    self.comfort.make(&mut noise, |n| 1.0 - left(n));
                    self.frame.mid.iter_mut().zip(noise).for_each(|(x, noise)| *x += noise);
                }
            }
            Play::Rest { .. } | Play::Silence => {}
        }
        self.ready.append(&mut self.frame);
    }

    /// Has the decoder make `frame`, of up to so many samples.
    fn decode(
        &mut self,
        samples: usize,
        make: impl FnOnce(&mut OpusDecoder, &mut [f32]) -> Result<usize, OpusError>,
    ) -> Result<(), OpusError> {
        self.raw.resize(2 * samples, 0.0);
        let made = make(&mut self.decoder, &mut self.raw)?;
        self.frame.set(&self.raw[..2 * made]);
        if !self.wide {
            self.frame.side.fill(0.0);
        }
        Ok(())
    }

    /// More of a pause, of which `already` samples were played since it was last told of.
    fn rest(&mut self, samples: usize, already: u32, first: bool) {
        self.frame.clear();
        self.frame.resize(samples);
        let begins = !std::mem::replace(&mut self.resting, true);
        if begins {
            self.comfort.begin();
        }
        self.comfort.make(&mut self.frame.mid, |n| {
            let at = (already + n as u32).saturating_sub(REST_FADES) as f32;
            (1.0 - at / REST_FADE).max(0.0)
        });
        if first {
            self.frame.scale(JOIN, |n| n as f32 / JOIN as f32);
        } else if begins {
            self.join();
        }
        self.ready.append(&mut self.frame);
    }

    /// Sound begins: no click, and the noise of a pause before it goes.
    fn fade_in(&mut self) {
        self.frame.scale(JOIN, |n| n as f32 / JOIN as f32);
        let mut noise = [0.0; JOIN];
        self.comfort.make(&mut noise, |n| 1.0 - n as f32 / JOIN as f32);
        self.frame.mid.iter_mut().zip(noise).for_each(|(x, noise)| *x += noise);
    }

    /// The frame begins where what was made before it left off, and finds its own way.
    fn join(&mut self) {
        let last = |ready: &[f32], block: &[f32]| *ready.last().or(block.last()).unwrap_or(&0.0);
        let (mid, side) = (last(&self.ready.mid, &self.block.mid), last(&self.ready.side, &self.block.side));
        join(&mut self.frame.mid, mid);
        join(&mut self.frame.side, side);
    }

    fn stretch(&mut self, how: Stretch) {
        let level = rms(&self.frame.mid);
        self.loud = level.max(self.loud * LOUD_FADES);
        let quiet = level < self.loud * QUIET;
        let change = match how {
            Stretch::None => return,
            Stretch::FasterWhereQuiet if !quiet => return,
            Stretch::Faster | Stretch::FasterWhereQuiet => {
                let out = stretch::shorten(&mut self.frame, quiet);
                self.stretched.1 += out as u64;
                -(out as i32)
            }
            Stretch::Slower => {
                let more = stretch::lengthen(&mut self.frame);
                self.stretched.0 += more as u64;
                more as i32
            }
        };
        self.jitter.stretched(change);
    }
}

/// Begins where `last` left off and finds its own way within 2.5 ms: no click.
fn join(pcm: &mut [f32], last: f32) {
    let step = pcm.first().map_or(0.0, |first| last - first);
    for (n, x) in pcm.iter_mut().take(JOIN).enumerate() {
        *x += step * (1.0 - n as f32 / JOIN as f32);
    }
}

#[cfg(test)]
mod pauses;
#[cfg(test)]
mod scenarios;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::{Lcg, tone_share};
    use crate::codec::opus::{OpusEncoder, PACKET};
    use std::time::Duration;

    /// A tone through encoder, lossy network, jitter buffer and decoder on a virtual clock.
    fn chain(
        frequency: f32,
        seconds: usize,
        mut arrives: impl FnMut(u32) -> Option<u64>,
    ) -> (Vec<f32>, Voice) {
        let (start, mut voice) = (Instant::now(), Voice::new().unwrap());
        let mut encoder = OpusEncoder::new().unwrap();
        let mut flights: Vec<(u64, Packet)> = Vec::new();
        for n in 0..seconds as u32 * 50 {
            let pcm: Vec<f32> = (0..PACKET)
                .map(|i| {
                    let at = (n as usize * PACKET + i) as f32;
                    (at * frequency * std::f32::consts::TAU / 48_000.0).sin() * 0.4
                })
                .collect();
            let payload = encoder.encode(&pcm).unwrap();
            if let Some(delay) = arrives(n) {
                let at = u64::from(n) * 20 + delay;
                let arrived = start + Duration::from_millis(at);
                let (seq, timestamp, sender_us) = (n as u16, n * 960, None);
                let packet = Packet { seq, timestamp, payload, duration: 960, arrived, sender_us };
                flights.push((at, packet));
            }
        }
        flights.sort_by_key(|(at, _)| *at);
        let (mut flights, mut heard) = (flights.into_iter().peekable(), Vec::new());
        for now in (0..seconds as u64 * 1000).step_by(10) {
            while let Some((_, packet)) = flights.next_if(|(at, _)| *at <= now) {
                voice.push(packet);
            }
            voice.pull(start + Duration::from_millis(now));
            heard.extend_from_slice(&voice.block.mid);
        }
        (heard, voice)
    }

    #[test]
    fn a_tone_survives_a_clean_link_untouched() {
        let (heard, voice) = chain(1000.0, 10, |_| Some(3));
        assert!(tone_share(&heard[48_000..], 1000.0) > 0.99, "{}", tone_share(&heard[48_000..], 1000.0));
        assert_eq!((voice.jitter.counts().concealed, voice.stretched), (0, (0, 0)));
    }

    #[test]
    fn a_tone_survives_loss_jitter_and_the_stretching_that_they_cause() {
        for seed in 0..3 {
            let mut noise = Lcg::new(seed + 9);
            let lossy = |_| (noise.below(10) > 0).then_some(()).map(|()| u64::from(noise.below(40)));
            let (heard, voice) = chain(400.0, 20, lossy);
            let counts = voice.jitter.counts();
            // Opus makes no copies of a steady tone: what is lost is guessed.
            assert!(counts.concealed < 20 * 48_000 / 8, "{counts:?}");
            // Joins shift the phase, which Goertzel's pieces see as a little less of the tone.
            let share = tone_share(&heard[96_000..], 400.0);
            assert!(share > 0.8, "{share}, {counts:?}, stretched {:?}", voice.stretched);
            assert!(rms(&heard[96_000..]) > 0.2);
        }
    }

    #[test]
    fn a_join_begins_where_the_last_sample_was_and_ends_as_it_would_have() {
        let mut pcm = [0.5; 200];
        join(&mut pcm, -0.3);
        assert!((pcm[0] + 0.3).abs() < 1e-6 && pcm[120..] == [0.5; 80]);
        assert!(pcm.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.01));
        join(&mut [], 1.0);
    }

    #[test]
    fn clocks_that_are_apart_are_followed_without_a_click() {
        // The sender's packets come a twentieth of a millisecond earlier each second: 2 s in all.
        let (heard, voice) = chain(300.0, 100, |n| Some(2000 - u64::from(n) / 5 * 2));
        assert!(voice.stretched.1 > 48_000 * 3 / 2, "{:?}", voice.stretched);
        assert_eq!(voice.jitter.counts().concealed, 0);
        let click = heard[192_000..].windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        // A tone of 300 Hz at 0.4 moves by 0.0157 from sample to sample.
        assert!(click < 0.03, "{click}");
        assert!(tone_share(&heard[192_000..], 300.0) > 0.9, "{}", tone_share(&heard[192_000..], 300.0));
    }

    #[test]
    fn after_the_last_packet_the_voice_fades_into_silence() {
        let (heard, voice) = chain(1000.0, 3, |n| (n < 50).then_some(0));
        let end = heard.len();
        assert!(heard[end - 48_000..].iter().all(|x| *x == 0.0));
        assert!(voice.jitter.counts().concealed <= u64::from(GUESS));
        let click = heard[48_000..].windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(click < 0.15, "a jump of {click} at the end");
    }
}
