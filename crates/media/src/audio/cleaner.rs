//! Echo, noise and loudness of one's own voice: the WebRTC audio processing module, by `sonora`.
//!
//! One object for both directions, owned by the audio thread: it is shown what the speaker is about to play
//! before the microphone can hear it, from the first block on, so the canceller never meets a sound that it does
//! not know. Pure: no clock, no device.

use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate, NoiseSuppression,
    NoiseSuppressionLevel, Pipeline,
};
use sonora::{AudioProcessing, Config, StreamConfig};

use super::BLOCK;
use super::processing::{Noise, Processing};
use crate::codec::opus::RATE;

/// How much later the voice comes out than it went in, in samples, when anything is done to it: the filter banks'
/// part, and with noise suppression its window too.
const DELAY: usize = 427;
const DELAY_NOISE: usize = 715;

/// Cleans what a microphone hears, in blocks of 10 ms (48 kHz mono).
pub struct Cleaner {
    module: AudioProcessing,
    processing: Processing,
    /// Not yet a whole block.
    rest: Vec<f32>,
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
        let one = StreamConfig::new(RATE, 1);
        let module = AudioProcessing::builder()
            .config(config(processing))
            .capture_config(one)
            .render_config(one)
            .build();
        Self { module, processing, rest: Vec::with_capacity(BLOCK), out: [0.0; BLOCK], told: false }
    }

    /// From the next block on.
    pub fn set(&mut self, processing: Processing) {
        if processing != self.processing {
            self.processing = processing;
            self.module.apply_config(config(processing));
        }
    }

    /// Whether anything is done at all.
    pub fn is_on(&self) -> bool {
        let Processing { echo, noise, gain, music } = self.processing;
        !music && (echo || gain || noise != Noise::Off)
    }

    /// How much later sound comes out than it went in, in samples, what waits for a whole block included.
    pub fn delay(&self) -> usize {
        let Processing { noise, .. } = self.processing;
        let inside = if noise == Noise::Off { DELAY } else { DELAY_NOISE };
        if self.is_on() { inside + self.rest.len() } else { 0 }
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
        // What would be played is not changed: the copy is thrown away.
        let outcome = self.module.process_render_f32(&[block], &mut [&mut self.out]);
        self.tell(outcome);
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
            self.rest.extend_from_slice(now);
            pcm = later;
            let outcome = self.module.process_capture_f32(&[&self.rest], &mut [&mut self.out]);
            let refused = outcome.is_err();
            self.tell(outcome);
            clean.extend_from_slice(if refused { &self.rest } else { &self.out });
            self.rest.clear();
        }
        self.rest.extend_from_slice(pcm);
    }

    fn tell(&mut self, outcome: Result<(), sonora::Error>) {
        if let Err(error) = outcome
            && !std::mem::replace(&mut self.told, true)
        {
            tracing::warn!(?error, "one's own sound is sent as it is");
        }
    }
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
        echo_canceller: processing.echo.then(EchoCanceller::default),
        noise_suppression: level.map(|level| NoiseSuppression { level, ..NoiseSuppression::default() }),
        gain_controller2: processing.gain.then(|| GainController2 {
            adaptive_digital: Some(AdaptiveDigital::default()),
            ..GainController2::default()
        }),
        ..Config::default()
    }
}
