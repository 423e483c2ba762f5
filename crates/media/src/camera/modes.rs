//! Which of a camera's formats, sizes and rates to take; pure.

/// Pixel formats that we can make pictures of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pixels {
    /// One JPEG a picture.
    Mjpeg,
    /// Packed 4:2:2.
    Yuyv,
    /// Luma, then U and V by turns.
    Nv12,
    /// Three planes.
    I420,
}

impl Pixels {
    pub(super) const ALL: [Self; 4] = [Self::Mjpeg, Self::Yuyv, Self::Nv12, Self::I420];

    /// The system's four letters.
    pub(super) fn fourcc(self) -> &'static [u8; 4] {
        match self {
            Self::Mjpeg => b"MJPG",
            Self::Yuyv => b"YUYV",
            Self::Nv12 => b"NV12",
            Self::I420 => b"YU12",
        }
    }

    /// Better first: the less there is to convert.
    fn ease(self) -> u32 {
        match self {
            Self::I420 | Self::Nv12 => 3,
            Self::Yuyv => 2,
            Self::Mjpeg => 1,
        }
    }
}

/// Something a camera can be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) pixels: Pixels,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Seconds from picture to picture, as a fraction.
    pub(super) interval: (u32, u32),
}

impl Mode {
    fn fps(&self) -> f64 {
        f64::from(self.interval.1) / f64::from(self.interval.0.max(1))
    }
}

/// The sizes tried on cameras that take any, best first.
pub(super) const SIZES: [(u32, u32); 5] = [(1280, 720), (960, 540), (640, 480), (640, 360), (320, 240)];

/// The best mode: fluent first, then as large as 1280x720, then cheap to convert.
pub(super) fn choose(modes: &[Mode]) -> Option<Mode> {
    let usable = modes.iter().filter(|mode| {
        let sides = 2..=crate::frame::I420::MAX_SIDE;
        sides.contains(&mode.width) && sides.contains(&mode.height) && mode.fps() > 0.0
    });
    usable
        .copied()
        .max_by_key(|mode| (fluency(mode.fps()), likeness(mode.width, mode.height), mode.pixels.ease()))
}

/// 30 a second is best, more is wasted, less is worse.
fn fluency(fps: f64) -> u32 {
    match fps {
        fps if fps > 61.0 => 3,
        fps if fps > 31.0 => 4,
        fps if fps >= 29.0 => 5,
        fps if fps >= 24.0 => 4,
        fps if fps >= 14.0 => 2,
        fps if fps >= 9.0 => 1,
        _ => 0,
    }
}

/// Larger is better up to 1280x720; from there smaller is.
fn likeness(width: u32, height: u32) -> i64 {
    let most = 1280 * 720;
    let area = i64::from(width) * i64::from(height);
    if width <= 1280 && height <= 720 { area } else { most - area }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(pixels: Pixels, width: u32, height: u32, interval: (u32, u32)) -> Mode {
        Mode { pixels, width, height, interval }
    }

    #[test]
    fn a_usual_webcam_gives_720p_as_jpeg() {
        // YUYV does not fit through USB 2 at that size.
        let modes = [
            mode(Pixels::Yuyv, 640, 480, (1, 30)),
            mode(Pixels::Yuyv, 1280, 720, (1, 10)),
            mode(Pixels::Mjpeg, 640, 480, (1, 30)),
            mode(Pixels::Mjpeg, 1280, 720, (1, 30)),
            mode(Pixels::Mjpeg, 1920, 1080, (1, 30)),
        ];
        assert_eq!(choose(&modes), Some(modes[3]));
        assert_eq!(choose(&modes[..3]), Some(modes[0]));
    }

    #[test]
    fn vivid_gives_360p_at_30() {
        let modes = [
            mode(Pixels::Yuyv, 1280, 720, (2, 25)),
            mode(Pixels::Yuyv, 640, 480, (1, 25)),
            mode(Pixels::Yuyv, 640, 360, (1, 30)),
        ];
        assert_eq!(choose(&modes), Some(modes[2]));
    }

    #[test]
    fn only_large_ones_give_the_smallest_of_them() {
        let modes = [mode(Pixels::Nv12, 3840, 2160, (1, 30)), mode(Pixels::Nv12, 1920, 1080, (1, 30))];
        assert_eq!(choose(&modes), Some(modes[1]));
    }

    #[test]
    fn nonsense_is_not_chosen() {
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[mode(Pixels::Nv12, 0, 0, (1, 30)), mode(Pixels::Nv12, 640, 480, (1, 0))]), None);
    }
}
