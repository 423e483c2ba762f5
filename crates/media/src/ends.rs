//! The ends of a call by name: what `--camera`, `--mic`, `--speaker` and `--display` take.

use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

macro_rules! named {
    ($type:ident { $($word:literal => $variant:ident),* }) => {
        impl FromStr for $type {
            type Err = Infallible;
            fn from_str(text: &str) -> Result<Self, Infallible> {
                Ok(match text {
                    $($word => Self::$variant,)*
                    _ => match text.strip_prefix("file:") {
                        Some(path) => Self::File(path.into()),
                        None => Self::Device(text.to_owned()),
                    },
                })
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($word),)*
                    Self::File(path) => write!(f, "file:{}", path.display()),
                    Self::Device(name) => f.write_str(name),
                }
            }
        }
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(|never: Infallible| match never {})
            }
        }
    };
}

/// Where pictures come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum CameraUse {
    /// The first camera that the system lists.
    #[default]
    Default,
    /// No camera.
    None,
    /// A moving test picture.
    Pattern,
    /// A y4m clip, looped in real time.
    File(PathBuf),
    /// A device, by its id or name.
    Device(String),
}
named!(CameraUse { "default" => Default, "none" => None, "pattern" => Pattern });

/// Where sound comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum MicUse {
    /// The system's default microphone.
    #[default]
    Default,
    /// No microphone.
    None,
    /// A test tone, 440 Hz.
    Tone,
    /// A wav file, looped in real time.
    File(PathBuf),
    /// A device, by its id or name.
    Device(String),
}
named!(MicUse { "default" => Default, "none" => None, "tone" => Tone });

/// Where the others' sound goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum SpeakerUse {
    /// The system's default speaker.
    #[default]
    Default,
    /// Nowhere; it is decoded all the same.
    None,
    /// A wav file.
    File(PathBuf),
    /// A device, by its id or name.
    Device(String),
}
named!(SpeakerUse { "default" => Default, "none" => None });

/// A camera, microphone or speaker that the system has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Stable between runs where the system allows it; what `Device(…)` takes.
    pub id: String,
    /// For people.
    pub name: String,
    /// Whether the system uses it when nobody says.
    pub default: bool,
}

/// What can go wrong with a device or the file in its place, each with what the user can do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DeviceError {
    /// Nothing by that name, or nothing at all.
    #[error("{what} was not found: plug it in, or choose another one")]
    NotFound {
        /// The device or file.
        what: String,
    },
    /// Another program has it.
    #[error("{what} is in use by another program: close that program, or choose another one")]
    Busy {
        /// The device.
        what: String,
    },
    /// The system does not let us.
    #[error("{what} may not be opened: allow Snug to use it in the system's settings ({why})")]
    Denied {
        /// The device or file.
        what: String,
        /// The system's words.
        why: String,
    },
    /// It stopped giving data, or was unplugged.
    #[error("{what} stopped: plug it in again, or choose another one ({why})")]
    Lost {
        /// The device or file.
        what: String,
        /// The system's words.
        why: String,
    },
    /// It gives nothing that can be used.
    #[error("{what} gives nothing that Snug can use ({why}): choose another one")]
    Unusable {
        /// The device or file.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_reads_back_what_it_writes() {
        for text in ["default", "none", "pattern", "file:/a/b c.y4m", "Integrated Camera"] {
            assert_eq!(text.parse::<CameraUse>().unwrap().to_string(), text);
        }
        assert_eq!("tone".parse::<MicUse>().unwrap(), MicUse::Tone);
        assert_eq!("tone".parse::<SpeakerUse>().unwrap(), SpeakerUse::Device("tone".into()));
    }
}
