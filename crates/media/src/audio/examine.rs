//! Sound that comes from outside, taken in without a device, a thread or a clock: what fuzzers call, and the
//! tests that run what they found.

use super::ends::MicSource;
use super::remote::{AudioInStats, Remote, inlet};
use super::wav::WavMic;
use crate::codec::opus::OpusError;
use crate::ends::DeviceError;
use crate::rtp::RtpPacket;
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

/// Plays packets as the audio thread does: each when it came, and then so many times 10 ms.
///
/// # Errors
/// When there is no decoder to be had.
pub fn packets(packets: impl Iterator<Item = (RtpPacket, u32)>) -> Result<AudioInStats, OpusError> {
    let (inlet, outlet, shared) = inlet(0);
    let mut remote = Remote::new(outlet)?;
    for (packet, blocks) in packets {
        let arrived = packet.arrived;
        inlet.push(packet);
        remote.receive();
        for block in 0..blocks {
            let now = arrived + Duration::from_millis(10) * block;
            remote.pull(now, now);
        }
    }
    Ok(shared.stats())
}

/// Reads a wav file as a microphone for `blocks` times 10 ms: how many samples there were,
/// 48 kHz, mono and stereo by turns.
///
/// # Errors
/// What is wrong with it.
pub fn wav(file: &[u8], blocks: u32) -> Result<usize, DeviceError> {
    let start = Instant::now();
    let mut mic = WavMic::of(Path::new("examined.wav"), Cursor::new(file), file.len() as u64, start)?;
    let (mut samples, mut out) = (0, Vec::new());
    for block in 1..=blocks {
        mic.read(start + Duration::from_millis(10) * block, block % 2 == 0, &mut out)?;
        samples += out.len();
        out.clear();
    }
    Ok(samples)
}
