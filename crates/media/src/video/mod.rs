//! Pictures on their way out and in: the threads around the codecs, and the assembler of received packets.

mod adapt;
pub mod assembler;
mod inbox;
pub mod input;
pub mod out;
mod patience;
pub mod payload;
mod playout;
mod rate;
mod receive;
#[cfg(test)]
mod scenarios;
mod time;

pub use adapt::Limitation;
pub use inbox::RtpInlet;
pub use input::{VideoIn, VideoInStats};
pub use out::{EncodedFrame, VideoOut, VideoOutStats, VideoSettings};
