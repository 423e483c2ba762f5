//! Pictures on their way out and in: the threads around the codecs, and the assembler of received packets.

pub mod assembler;
mod inbox;
pub mod input;
pub mod out;
mod patience;
pub mod payload;
mod rate;
mod receive;

pub use inbox::RtpInlet;
pub use input::{VideoIn, VideoInStats};
pub use out::{EncodedFrame, VideoOut, VideoOutStats, VideoSettings};
