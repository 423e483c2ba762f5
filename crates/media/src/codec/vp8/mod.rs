//! VP8 by libvpx with libwebrtc's real-time settings.

mod ffi;
pub mod header;

use super::{CodecError, EncodedPicture, VideoDecoder, VideoEncoder};
use crate::frame::I420;
use crate::pool::Pool;
use ffi::{RawDecoder, RawEncoder};
use std::sync::Arc;

/// Widest picture that is decoded.
pub const MAX_WIDTH: u32 = 1920;
/// Highest picture that is decoded (1080 lines come as 1088 from some encoders).
pub const MAX_HEIGHT: u32 = 1088;

/// How an encoder is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp8Settings {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Bits per second.
    pub bitrate: u32,
    /// Pictures per second to be expected; only the size of keyframes follows from it.
    pub fps: u32,
    /// libvpx threads; never changed in a live encoder (CVE-2023-5217).
    pub threads: u32,
    /// The adaptive denoiser: a quieter picture from a noisy camera for 35-40 % more CPU time.
    pub denoise: bool,
}

impl Vp8Settings {
    /// The settings for a picture size on a machine of so many cores, at the default bitrate.
    pub fn new(width: u32, height: u32, cores: u32) -> Self {
        let threads = threads(width, height, cores);
        Self { width, height, bitrate: default_bitrate(width, height), fps: 30, threads, denoise: false }
    }

    /// libvpx's speed: faster for all but small pictures, where time is no worry.
    fn cpu_used(&self) -> i32 {
        if self.width * self.height < 352 * 288 { -4 } else { -6 }
    }

    /// Bound on a keyframe, in percent of a mean frame: half of what the rate control aims to have saved.
    fn max_intra_percent(&self) -> u32 {
        (ffi::OPTIMAL * self.fps / 20).max(300)
    }
}

/// Bits per second beyond which a picture of this size at 30 a second hardly gets better.
pub fn most_bitrate(width: u32, height: u32) -> u32 {
    const SMALL: u32 = 320 * 180;
    const MIDDLE: u32 = 640 * 360;
    const LARGE: u32 = 1280 * 720;
    let area = width.saturating_mul(height);
    let most = |small: u32, large: u32, low: u32, high: u32| {
        low + (u64::from(area - small) * u64::from(high - low) / u64::from(large - small)) as u32
    };
    match area {
        ..SMALL => 600_000,
        SMALL..MIDDLE => most(SMALL, MIDDLE, 600_000, 1_700_000),
        MIDDLE..LARGE => most(MIDDLE, LARGE, 1_700_000, 2_600_000),
        LARGE.. => 2_600_000,
    }
}

/// One thread up to VGA and on small machines, where a second only adds switching.
fn threads(width: u32, height: u32, cores: u32) -> u32 {
    match width * height {
        area if area > 1280 * 960 && cores >= 6 => 3,
        area if area > 640 * 480 && cores >= 3 => 2,
        _ => 1,
    }
}

/// Bits per second at which a picture of this size at 30 a second looks good.
pub fn default_bitrate(width: u32, height: u32) -> u32 {
    const POINTS: [(u32, u32); 5] = [
        (0, 100_000),
        (320 * 180, 300_000),
        (640 * 360, 1_000_000),
        (640 * 480, 1_200_000),
        (1280 * 720, 2_000_000),
    ];
    let area = width.saturating_mul(height);
    for pair in POINTS.windows(2) {
        let ((small, low), (large, high)) = (pair[0], pair[1]);
        if area <= large {
            let part = u64::from(area - small) * u64::from(high - low) / u64::from(large - small);
            return low + part as u32;
        }
    }
    2_000_000
}

/// A bitrate below this share of the highest since it last fell so far means that the network is full, and what was saved
/// at the old one is too much for it.
const FALL: f64 = 0.85;

/// A VP8 encoder.
pub struct Vp8Encoder {
    raw: RawEncoder,
    settings: Vp8Settings,
    ready: Option<EncodedPicture>,
    last_ticks: i64,
    /// The highest bitrate since the last real fall of it.
    highest: u32,
}

impl Vp8Encoder {
    /// Makes an encoder; the first picture will be a keyframe.
    pub fn new(settings: Vp8Settings) -> Result<Self, CodecError> {
        let raw = RawEncoder::new(&settings)?;
        let highest = settings.bitrate;
        Ok(Self { raw, settings, ready: None, last_ticks: i64::MIN, highest })
    }
}

impl VideoEncoder for Vp8Encoder {
    fn push(&mut self, picture: &I420, ticks: i64, key: bool) -> Result<(), CodecError> {
        if (picture.width(), picture.height()) != self.size() {
            let (width, height) = (picture.width(), picture.height());
            return Err(CodecError::Refused(format!("{width}x{height} given to an encoder of another size")));
        }
        if ticks <= self.last_ticks {
            return Err(CodecError::Refused("time runs backwards".into()));
        }
        self.last_ticks = ticks;
        self.ready = self.raw.encode(picture, ticks, 90_000 / u64::from(self.settings.fps.max(1)), key)?;
        Ok(())
    }

    fn pop(&mut self) -> Option<EncodedPicture> {
        self.ready.take()
    }

    fn set_bitrate(&mut self, bps: u32) -> Result<(), CodecError> {
        self.settings.bitrate = bps;
        let falls = f64::from(bps) < FALL * f64::from(self.highest);
        self.highest = if falls { bps } else { self.highest.max(bps) };
        self.raw.set_bitrate(bps, falls)
    }

    fn set_speed(&mut self, faster: i32) -> Result<(), CodecError> {
        self.raw.set_speed(self.settings.cpu_used() - faster.clamp(0, 6))
    }

    fn size(&self) -> (u32, u32) {
        (self.settings.width, self.settings.height)
    }
}

/// A VP8 decoder.
pub struct Vp8Decoder {
    raw: RawDecoder,
    started: bool,
}

impl Vp8Decoder {
    /// Makes a decoder; it wants a keyframe first.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self { raw: RawDecoder::new()?, started: false })
    }
}

impl VideoDecoder for Vp8Decoder {
    fn push(&mut self, data: &[u8]) -> Result<(), CodecError> {
        let checked = header::read(data).and_then(|header| match header.size {
            Some((width, height)) if width > MAX_WIDTH || height > MAX_HEIGHT => {
                Err(CodecError::TooLarge { width, height })
            }
            None if !self.started => Err(CodecError::Broken("no keyframe came before it".into())),
            _ => Ok(()),
        });
        let decoded = checked.and_then(|()| self.raw.decode(data));
        self.started = decoded.is_ok();
        decoded
    }

    fn pop(&mut self, pool: &mut Pool) -> Option<Arc<I420>> {
        self.raw.picture(pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_bitrate_grows_with_the_picture() {
        assert_eq!(default_bitrate(320, 180), 300_000);
        assert_eq!(default_bitrate(640, 360), 1_000_000);
        assert_eq!(default_bitrate(640, 480), 1_200_000);
        assert_eq!(default_bitrate(1280, 720), 2_000_000);
        assert_eq!(default_bitrate(u32::MAX, u32::MAX), 2_000_000);
        assert!((300_000..1_000_000).contains(&default_bitrate(480, 270)));
    }

    #[test]
    fn threads_and_speed_follow_size_and_cores() {
        assert_eq!(Vp8Settings::new(640, 480, 8).threads, 1);
        assert_eq!(Vp8Settings::new(1280, 720, 2).threads, 1);
        assert_eq!(Vp8Settings::new(1280, 720, 4).threads, 2);
        assert_eq!(Vp8Settings::new(320, 180, 2).cpu_used(), -4);
        assert_eq!(Vp8Settings::new(640, 360, 2).cpu_used(), -6);
        assert_eq!(Vp8Settings::new(640, 360, 2).max_intra_percent(), 900);
    }
}
