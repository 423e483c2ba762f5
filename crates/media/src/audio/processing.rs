//! What is done to one's own sound before it leaves: settings alone, as the user chooses them.

use serde::{Deserialize, Serialize};

/// How much of the noise around one's voice is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// Nothing.
    Off,
    /// About 12 dB.
    Low,
    /// About 18 dB.
    #[default]
    Medium,
    /// As much as can be, at some cost to the voice.
    High,
}

/// What is done to the sound of a microphone. Files and test tones are sent as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Processing {
    /// The others' voices, as the microphone hears them from the speaker, are taken away.
    pub echo: bool,
    /// Noise suppression.
    pub noise: Noise,
    /// Quiet voices are made louder and loud ones quieter.
    pub gain: bool,
    /// For those who play: none of the above, stereo, 128 kb/s.
    pub music: bool,
}

impl Default for Processing {
    fn default() -> Self {
        Self { echo: true, noise: Noise::Medium, gain: true, music: false }
    }
}
