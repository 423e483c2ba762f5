//! Echo, noise and loudness of one's own voice, in this order.
//!
//! The echo is taken away by `audio::echo` and `audio::residue`, which keep a near voice that speaks at the same
//! time (docs/measurements.md has them beside AEC3); noise suppression, gain and the high-pass filter are the WebRTC
//! audio processing module's, by `sonora`. One object for both directions, owned by the audio thread: it is shown
//! what the speaker is about to play before the microphone can hear it, from the first block on, so it never meets
//! a sound that it does not know. Pure: no clock, no device.

use sonora::config::{
    AdaptiveDigital, GainController2, HighPassFilter, MaxProcessingRate, NoiseSuppression,
    NoiseSuppressionLevel, Pipeline,
};
use sonora::{AudioProcessing, Config, StreamConfig};

use super::BLOCK;
use super::echo::EchoFilter;
use super::processing::{Noise, Processing};
use super::residue::Residue;
use crate::codec::opus::RATE;

/// How much later the voice comes out than it went in, in samples: what the high-pass filter holds back, and the
/// windows of noise suppression and of what is done to the echo's residue.
const DELAY_MODULE: usize = 46;
const DELAY_NOISE: usize = 288;
const DELAY_ECHO: usize = BLOCK;

/// Cleans what a microphone hears, in blocks of 10 ms (48 kHz mono).
pub struct Cleaner {
    module: AudioProcessing,
    filter: EchoFilter,
    residue: Residue,
    processing: Processing,
    /// Not yet a whole block.
    rest: Vec<f32>,
    block: [f32; BLOCK],
    out: [f32; BLOCK],
    /// The module's first refusal was told.
    told: bool,
}

impl std::fmt::Debug for Cleaner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cleaner").field("processing", &self.processing).finish_non_exhaustive()
    }
}

impl Cleaner {
    /// Ready for the first block.
    pub fn new(processing: Processing) -> Self {
        Self {
            module: module(processing),
            filter: EchoFilter::new(),
            residue: Residue::new(),
            processing,
            rest: Vec::with_capacity(BLOCK),
            block: [0.0; BLOCK],
            out: [0.0; BLOCK],
            told: false,
        }
    }

    /// From the next block on.
    pub fn set(&mut self, processing: Processing) {
        if processing != self.processing {
            if processing.echo && !self.processing.echo {
                (self.filter, self.residue) = (EchoFilter::new(), Residue::new());
            }
            let music = processing.music != self.processing.music;
            self.processing = processing;
            self.module.apply_config(config(processing));
            if music {
                // Nothing has passed here meanwhile.
                self.begin_anew();
            }
        }
    }

    /// What comes next is from another microphone, or from the same one after a while: nothing of what was heard
    /// before is to come out with it, for it may have been heard while muted. What was learnt of the room stays.
    pub fn begin_anew(&mut self) {
        self.rest.clear();
        self.residue.begin_anew();
        self.filter.reopen();
        self.module = module(self.processing);
    }

    /// Whether anything is done at all.
    pub fn is_on(&self) -> bool {
        let Processing { echo, noise, gain, music } = self.processing;
        !music && (echo || gain || noise != Noise::Off)
    }

    /// How much later sound comes out than it went in, in samples, what waits for a whole block included.
    pub fn delay(&self) -> usize {
        if !self.is_on() {
            return self.rest.len();
        }
        let noise = if self.processing.noise == Noise::Off { 0 } else { DELAY_NOISE };
        let echo = if self.processing.echo { DELAY_ECHO } else { 0 };
        DELAY_MODULE + noise + echo + self.rest.len()
    }

    /// How many samples must come until so many more come out.
    pub fn takes(&self, samples: usize) -> usize {
        if self.is_on() { samples.next_multiple_of(BLOCK).saturating_sub(self.rest.len()) } else { samples }
    }

    /// The speaker is about to play this.
    pub fn playing(&mut self, block: &[f32; BLOCK]) {
        if !self.is_on() || !self.processing.echo {
            return;
        }
        self.block = block.map(sane);
        self.filter.playing(&self.block);
    }

    /// The microphone heard this; what is ready of it, cleaned, is appended to `clean`.
    pub fn heard(&mut self, pcm: &[f32], clean: &mut Vec<f32>) {
        if !self.is_on() {
            clean.append(&mut self.rest);
            clean.extend_from_slice(pcm);
            return;
        }
        let mut pcm = pcm;
        while self.rest.len() + pcm.len() >= BLOCK {
            let (now, later) = pcm.split_at(BLOCK - self.rest.len());
            self.rest.extend(now.iter().copied().map(sane));
            pcm = later;
            if self.processing.echo {
                self.take_echo_away();
            }
            let outcome = self.module.process_capture_f32(&[&self.rest], &mut [&mut self.out]);
            let refused = outcome.is_err();
            self.tell(outcome);
            clean.extend_from_slice(if refused { &self.rest } else { &self.out });
            self.rest.clear();
        }
        self.rest.extend(pcm.iter().copied().map(sane));
    }

    fn take_echo_away(&mut self) {
        self.block.copy_from_slice(&self.rest);
        self.filter.heard(&mut self.block);
        if self.filter.is_anew() {
            self.residue.forget();
        }
        let (found, doubt, wrong) = (self.filter.found(), self.filter.doubt(), self.filter.is_wrong());
        self.residue.clean(&mut self.block, found, doubt, wrong);
        self.rest.copy_from_slice(&self.block);
    }

    fn tell(&mut self, outcome: Result<(), sonora::Error>) {
        if let Err(error) = outcome
            && !std::mem::replace(&mut self.told, true)
        {
            tracing::warn!(?error, "one's own sound is sent as it is");
        }
    }
}

/// What is no number, or louder than full scale, would stay in the filters.
fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
}

fn module(processing: Processing) -> AudioProcessing {
    let one = StreamConfig::new(RATE, 1);
    AudioProcessing::builder().config(config(processing)).capture_config(one).render_config(one).build()
}

fn config(processing: Processing) -> Config {
    let level = match processing.noise {
        Noise::Off => None,
        Noise::Low => Some(NoiseSuppressionLevel::Moderate),
        Noise::Medium => Some(NoiseSuppressionLevel::High),
        Noise::High => Some(NoiseSuppressionLevel::VeryHigh),
    };
    Config {
        pipeline: Pipeline {
            maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
            multi_channel_render: false,
            multi_channel_capture: false,
            ..Pipeline::default()
        },
        high_pass_filter: Some(HighPassFilter::default()),
        noise_suppression: level.map(|level| NoiseSuppression { level, ..NoiseSuppression::default() }),
        gain_controller2: processing.gain.then(|| GainController2 {
            adaptive_digital: Some(AdaptiveDigital::default()),
            ..GainController2::default()
        }),
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::{Lcg, rms};

    fn off() -> Processing {
        Processing { echo: false, noise: Noise::Off, gain: false, music: false }
    }

    /// By how many samples `out` is behind `pcm`.
    fn behind(pcm: &[f32], out: &[f32]) -> usize {
        let part = &pcm[48_000..60_000];
        let alike = |late: &usize| {
            let moved = &out[48_000 + late..];
            (part.iter().zip(moved).map(|(a, b)| f64::from(a * b)).sum::<f64>() * 1e9) as i64
        };
        (0..2400).max_by_key(alike).unwrap()
    }

    #[test]
    fn sound_comes_out_as_late_as_is_said() {
        let mut noise = Lcg::new(4);
        // Loud and short in turn: a voice to noise suppression.
        let pcm: Vec<f32> =
            (0..96_000).map(|n| 0.3 * noise.next_f32() * f32::from(u8::from(n % 9600 < 4800))).collect();
        for (echo, noise, gain) in [
            (true, Noise::Medium, false),
            (true, Noise::Off, false),
            (false, Noise::Low, false),
            (false, Noise::Off, true),
        ] {
            let mut cleaner = Cleaner::new(Processing { echo, noise, gain, music: false });
            let mut out = Vec::new();
            pcm.chunks(441).for_each(|piece| cleaner.heard(piece, &mut out));
            let (said, late) = (cleaner.delay() - cleaner.rest.len(), behind(&pcm, &out));
            assert!(said.abs_diff(late) <= 24, "{echo} {noise:?} {gain}: {late} samples late, {said} said");
            assert_eq!(out.len() + cleaner.rest.len(), pcm.len());
        }
    }

    #[test]
    fn off_and_music_pass_every_sample_at_once() {
        let pcm: Vec<f32> = (0..1000).map(|n| n as f32 / 1000.0).collect();
        for processing in [off(), Processing { music: true, ..Processing::default() }] {
            let (mut cleaner, mut out) = (Cleaner::new(processing), Vec::new());
            pcm.chunks(77).for_each(|piece| cleaner.heard(piece, &mut out));
            assert_eq!((out, cleaner.delay(), cleaner.takes(960)), (pcm.clone(), 0, 960));
        }
    }

    #[test]
    fn nothing_of_one_microphone_comes_out_with_the_next() {
        let every = [(true, Noise::High), (true, Noise::Off), (false, Noise::Medium)];
        for (echo, noise) in every {
            let (mut cleaner, mut out) =
                (Cleaner::new(Processing { echo, noise, gain: false, music: false }), Vec::new());
            let mut voice = Lcg::new(6);
            let loud: Vec<f32> = (0..48_200).map(|_| 0.5 * voice.next_f32()).collect();
            cleaner.heard(&loud, &mut out);
            cleaner.begin_anew();
            out.clear();
            cleaner.heard(&[0.0; 9600], &mut out);
            assert_eq!(rms(&out), 0.0, "{echo} {noise:?}");
        }
    }

    #[test]
    fn what_waits_for_a_whole_block_is_told_when_it_is_switched_off() {
        let (mut cleaner, mut out) = (Cleaner::new(Processing::default()), Vec::new());
        cleaner.heard(&[0.1; 700], &mut out);
        cleaner.set(off());
        assert_eq!(cleaner.delay(), 220);
    }

    #[test]
    fn nothing_is_lost_when_it_is_switched_off_and_on() {
        let (mut cleaner, mut out) = (Cleaner::new(Processing::default()), Vec::new());
        cleaner.heard(&[0.1; 700], &mut out);
        assert_eq!(out.len(), BLOCK);
        assert_eq!(cleaner.takes(1), BLOCK - 220);
        cleaner.set(off());
        cleaner.heard(&[0.1; 10], &mut out);
        assert_eq!(out.len(), 710);
        cleaner.set(Processing::default());
        cleaner.heard(&[0.1; 480], &mut out);
        assert_eq!(out.len(), 1190);
    }

    fn decibels(pcm: &[f32]) -> f32 {
        20.0 * rms(pcm).max(1e-9).log10()
    }

    /// What comes out of so many seconds, the last of them, where the speaker plays `far` and the microphone hears it
    /// 30 ms later and 10 dB down, with `near` on top.
    fn last_second(
        processing: Processing,
        seconds: usize,
        far: f32,
        near: impl Fn(usize) -> f32,
    ) -> Vec<f32> {
        let (mut cleaner, mut out, mut chance) = (Cleaner::new(processing), Vec::new(), Lcg::new(3));
        let mut played = vec![0.0; 3 * BLOCK];
        for n in 0..seconds * 100 {
            let block: [f32; BLOCK] = std::array::from_fn(|_| far * chance.next_f32());
            cleaner.playing(&block);
            played.extend_from_slice(&block);
            let echo = played.iter().skip(n * BLOCK).take(BLOCK).map(|x| x * 0.316);
            let heard: Vec<f32> = echo.enumerate().map(|(at, echo)| echo + near(n * BLOCK + at)).collect();
            cleaner.heard(&heard, &mut out);
        }
        out.split_off(out.len() - RATE as usize)
    }

    #[test]
    fn each_step_takes_more_of_a_steady_noise_away() {
        let hiss = {
            let mut chance = Lcg::new(9);
            let all: Vec<f32> = (0..6 * RATE).map(|_| 0.01 * chance.next_f32()).collect();
            move |at: usize| all[at]
        };
        let left = |noise| decibels(&last_second(Processing { noise, ..off() }, 6, 0.0, &hiss));
        let steps = [Noise::Off, Noise::Low, Noise::Medium, Noise::High].map(left);
        assert!(steps[0] - steps[1] > 9.0, "{steps:?}");
        assert!(steps.windows(2).all(|pair| pair[0] - pair[1] > 1.0), "{steps:?}");
        assert!(steps[0] - steps[2] > 15.0, "{steps:?}");
    }

    #[test]
    fn the_echo_goes_when_it_is_to_and_stays_when_it_is_not() {
        let left = |echo| decibels(&last_second(Processing { echo, ..off() }, 4, 0.2, |_| 0.0));
        let (with, without) = (left(true), left(false));
        assert!(without - with > 25.0, "{with} and {without} dB");
        // Nothing else is on.
        let heard = 0.2 * 0.316 * 3f32.sqrt().recip();
        assert!((without - 20.0 * heard.log10()).abs() < 3.0, "{without} dB");
    }

    #[test]
    fn a_quiet_voice_becomes_louder_where_that_is_wanted() {
        // Words of a third of a second, three tones each.
        let tone = |at: usize, hz: f32| (at as f32 / RATE as f32 * hz * std::f32::consts::TAU).sin();
        let words = |at: usize| if at % 24_000 < 16_000 { 1.0 } else { 0.0 };
        let voice = |at: usize| 0.004 * words(at) * (tone(at, 180.0) + tone(at, 360.0) + tone(at, 900.0));
        let heard = |gain| decibels(&last_second(Processing { gain, ..off() }, 12, 0.0, voice));
        let (with, without) = (heard(true), heard(false));
        assert!(with - without > 6.0, "{with} and {without} dB");
    }

    #[test]
    fn a_sound_that_is_no_number_harms_nothing() {
        let (mut cleaner, mut out, mut noise) =
            (Cleaner::new(Processing::default()), Vec::new(), Lcg::new(1));
        cleaner.playing(&[f32::NAN; BLOCK]);
        cleaner.heard(&[f32::INFINITY; 2 * BLOCK], &mut out);
        out.clear();
        for n in 0..600 {
            let loud = 0.004 * (n as f32 / 10.0).sin().max(0.0);
            let block: Vec<f32> = (0..BLOCK).map(|_| loud * noise.next_f32()).collect();
            cleaner.playing(&[0.0; BLOCK]);
            cleaner.heard(&block, &mut out);
        }
        assert!(out.iter().all(|x| x.is_finite()), "what was no number is still there");
        assert!(rms(&out[400 * BLOCK..]) > 0.0);
    }
}
