//! Capture, codecs and playout. Knows no network and no window.
//!
//! Threads, each named, each owned and joined by the handle that started it: one for the camera, one for
//! the encoder, one decoder for each remote picture, one for all sound in both directions; cpal adds its
//! own callbacks, which neither lock nor allocate. Raw pictures cross threads in a [`slot::Slot`], where
//! the latest wins; everything else in bounded queues.

pub mod audio;
pub mod camera;
pub mod codec;
pub mod convert;
pub mod display;
pub mod ends;
pub mod frame;
pub mod pool;
pub mod rtp;
pub mod slot;
pub mod sync;
#[cfg(test)]
mod testnet;
pub mod video;
pub mod y4m;

pub use audio::{Audio, AudioEvent, AudioInStats, AudioInlet, AudioPacket, AudioUplink};
pub use camera::{Camera, CameraEvent};
pub use display::Y4mSink;
pub use ends::{CameraUse, DeviceError, DeviceInfo, MicUse, SpeakerUse};
pub use frame::{Frame, I420};
pub use rtp::RtpPacket;
pub use slot::Slot;
pub use sync::Lips;
pub use video::{
    EncodedFrame, Limitation, RtpInlet, VideoIn, VideoInStats, VideoOut, VideoOutStats, VideoSettings,
};
