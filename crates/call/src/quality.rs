//! How good the call with somebody is, in one word, and why when it is not.

use serde::Serialize;

/// How good the call with somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// As it should be.
    Good,
    /// It works, but one notices.
    Poor,
    /// Nothing comes from them.
    Lost,
}

/// What stands in the way of a better call with somebody. In the order in which they are told: the first
/// that holds is the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing comes from them at all.
    Silence,
    /// Our picture is stopped so that the sound does not suffer.
    Suspended,
    /// Their picture does not come though their camera is on, while their sound does.
    SoundOnly,
    /// Packets are lost, or come too late to be of use, in either direction.
    Loss,
    /// What is said takes long to be heard.
    Delay,
    /// This computer can't encode our picture as large or as fast as it could be.
    Cpu,
    /// The path to them does not carry our picture as large or as fast as it could be.
    Bandwidth,
    /// Their picture comes smaller or slower than it did, though the path is clean.
    TheirSide,
}

impl Reason {
    /// In plain words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Silence => "Nothing comes through",
            Self::Suspended => "Your picture is paused: the connection carries sound only",
            Self::SoundOnly => "Their picture is paused: their connection carries sound only",
            Self::Loss => "Packets are lost on the way",
            Self::Delay => "Long delay on the way",
            Self::Cpu => "Your picture is reduced: this computer is busy",
            Self::Bandwidth => "Your picture is reduced: the connection is slow",
            Self::TheirSide => "Their picture is reduced on their side",
        }
    }

    /// Whether it is about what we send rather than what comes.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Suspended | Self::Cpu | Self::Bandwidth)
    }
}
