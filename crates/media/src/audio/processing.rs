//! What is done to one's own voice before it is sent: the settings, as people choose them.

use serde::{Deserialize, Serialize};

/// What is done to one's own voice before it is sent. As JSON: `{"echo":true,"noise":"medium","gain":true,
/// "music":false}`; what is left out is as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "snake_case")]
pub struct Processing {
    /// Take out what the speaker plays and the microphone hears again.
    pub echo: bool,
    /// Take out noise. Only then are pauses left out too (DTX).
    pub noise: Noise,
    /// Make quiet voices louder and loud ones quieter.
    pub gain: bool,
    /// For those who play: stereo, at 128 kb/s where the path has room, and nothing of the above, whatever it says.
    pub music: bool,
}

impl Default for Processing {
    /// For talking with open speakers in a room.
    fn default() -> Self {
        Self { echo: true, noise: Noise::default(), gain: true, music: false }
    }
}

/// How much is done against noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// Nothing.
    Off,
    /// A little; a voice sounds nearly as it is.
    Low,
    /// What most rooms need.
    #[default]
    Medium,
    /// Much; a voice may suffer with it.
    High,
}
