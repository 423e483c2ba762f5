//! Linux cameras through v4l: the only file that names that crate.

use super::buffer::{Converter, Decoded};
use super::device::{Watchdog, find, infrared};
use super::modes::{Mode, Pixels, SIZES, choose};
use super::source::CameraSource;
use crate::ends::{DeviceError, DeviceInfo};
use crate::frame::Frame;
use ::v4l::buffer::{Flags as BufferFlags, Type};
use ::v4l::capability::Flags;
use ::v4l::frameinterval::FrameIntervalEnum;
use ::v4l::framesize::FrameSizeEnum;
use ::v4l::io::traits::{CaptureStream, Stream};
use ::v4l::prelude::{Device, MmapStream};
use ::v4l::video::Capture;
use ::v4l::video::capture::Parameters;
use ::v4l::{Format, FourCC, Fraction};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a camera may take for its first picture.
const FIRST: Duration = Duration::from_secs(4);
/// Buffers shared with the driver: one that we hold, one being filled, two to spare.
const BUFFERS: u32 = 4;

/// A node that can be captured from.
struct Node {
    path: PathBuf,
    info: DeviceInfo,
}

pub(super) fn list() -> Vec<DeviceInfo> {
    nodes().into_iter().map(|node| node.info).collect()
}

fn nodes() -> Vec<Node> {
    let Ok(folder) = std::fs::read_dir("/dev") else { return Vec::new() };
    let numbers = folder.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("video")?.parse::<u32>().ok()
    });
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    let mut nodes: Vec<Node> = numbers.into_iter().filter_map(node).collect();
    if let Some(first) = nodes.first_mut() {
        first.info.default = true;
    }
    nodes
}

/// A capturing node of a colour camera.
fn node(number: u32) -> Option<Node> {
    let path = PathBuf::from(format!("/dev/video{number}"));
    let name = std::fs::read_to_string(format!("/sys/class/video4linux/video{number}/name"));
    let name = name.map_or_else(|_| format!("Camera {number}"), |name| name.trim().to_owned());
    let info = DeviceInfo { id: stable_id(&path), name, default: false };
    let device = match Device::with_path(&path) {
        Ok(device) => device,
        // Not ours to look into, but the user should hear why when choosing it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Some(Node { path, info }),
        Err(_) => return None,
    };
    // The crate unwraps the driver's texts, which need not be UTF-8.
    let capabilities = catch_unwind(AssertUnwindSafe(|| device.query_caps())).ok()?.ok()?.capabilities;
    let captures = capabilities.contains(Flags::VIDEO_CAPTURE | Flags::STREAMING);
    let usable = captures && !infrared(&info.name) && !formats(&device).is_empty();
    usable.then_some(Node { path, info })
}

/// The name that udev gives by serial number where there is one, else the node's path.
fn stable_id(path: &Path) -> String {
    let links = std::fs::read_dir("/dev/v4l/by-id").into_iter().flatten().flatten();
    let mut same = links
        .map(|link| link.path())
        .filter(|link| std::fs::canonicalize(link).is_ok_and(|target| target == path));
    same.next().unwrap_or_else(|| path.to_owned()).display().to_string()
}

/// The formats of a device that we can use.
fn formats(device: &Device) -> Vec<Pixels> {
    let listed = device.enum_formats().unwrap_or_default();
    let has = |pixels: &Pixels| listed.iter().any(|format| &format.fourcc.repr == pixels.fourcc());
    Pixels::ALL.into_iter().filter(has).collect()
}

fn modes(device: &Device) -> Vec<Mode> {
    let mut modes = Vec::new();
    for pixels in formats(device) {
        let fourcc = FourCC::new(pixels.fourcc());
        let sizes = device.enum_framesizes(fourcc).unwrap_or_default();
        for (width, height) in sizes.into_iter().flat_map(|size| discrete_sizes(size.size)) {
            let listed = device.enum_frameintervals(fourcc, width, height).unwrap_or_default();
            let mut intervals: Vec<_> = listed.into_iter().map(|one| best_interval(one.interval)).collect();
            if intervals.is_empty() {
                // A driver that does not tell mostly does 30.
                intervals.push((1, 30));
            }
            modes.extend(intervals.into_iter().map(|interval| Mode { pixels, width, height, interval }));
        }
    }
    modes
}

fn discrete_sizes(size: FrameSizeEnum) -> Vec<(u32, u32)> {
    match size {
        FrameSizeEnum::Discrete(size) => vec![(size.width, size.height)],
        FrameSizeEnum::Stepwise(range) => {
            let fits = |side: u32, least: u32, most: u32, step: u32| {
                (least..=most).contains(&side) && (side - least).is_multiple_of(step.max(1))
            };
            let wanted = SIZES.into_iter().filter(|(width, height)| {
                fits(*width, range.min_width, range.max_width, range.step_width)
                    && fits(*height, range.min_height, range.max_height, range.step_height)
            });
            wanted.collect()
        }
    }
}

/// The interval itself, or of a range the one closest to 1/30 s.
fn best_interval(interval: FrameIntervalEnum) -> (u32, u32) {
    let seconds = |part: &Fraction| f64::from(part.numerator) / f64::from(part.denominator.max(1));
    let pair = |part: Fraction| (part.numerator, part.denominator);
    match interval {
        FrameIntervalEnum::Discrete(interval) => pair(interval),
        FrameIntervalEnum::Stepwise(range) if seconds(&range.min) > 1.0 / 30.0 => pair(range.min),
        FrameIntervalEnum::Stepwise(range) if seconds(&range.max) < 1.0 / 30.0 => pair(range.max),
        FrameIntervalEnum::Stepwise(_) => (1, 30),
    }
}

/// Leaves a device as nokhwa can open it: whoever had it before may have left a format that it does not know,
/// or a rate of no whole pictures a second. An error when it is in use, and so stays as it is.
pub(super) fn make_known(number: u32, what: &str) -> Result<(), DeviceError> {
    let set = || {
        let device = Device::new(number as usize)?;
        let (now, known) = (device.format()?, [Pixels::Yuyv, Pixels::Mjpeg, Pixels::Nv12]);
        if known.iter().all(|pixels| pixels.fourcc() != &now.fourcc.repr)
            && let Some(pixels) = formats(&device).iter().find(|pixels| known.contains(pixels))
        {
            device.set_format(&Format::new(now.width, now.height, FourCC::new(pixels.fourcc())))?;
        }
        device.set_params(&Parameters::with_fps(30))
    };
    match set() {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Err(opening_error(what, &error)),
        Err(error) => {
            // Some drivers have one rate only. What else is wrong, opening it tells.
            tracing::debug!(camera = %what, %error, "the camera stays as it was left");
            Ok(())
        }
    }
}

/// What the system's error means before there was any picture.
fn opening_error(what: &str, error: &io::Error) -> DeviceError {
    let (what, why) = (what.to_owned(), error.to_string());
    match error.raw_os_error() {
        Some(libc::EBUSY) => DeviceError::Busy { what },
        Some(libc::EACCES | libc::EPERM) => DeviceError::Denied { what, why },
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => DeviceError::NotFound { what },
        _ if error.kind() == io::ErrorKind::TimedOut => {
            DeviceError::Unusable { what, why: "it gave no picture in 4 seconds".into() }
        }
        _ => DeviceError::Unusable { what, why },
    }
}

/// An open camera.
pub(super) struct V4lSource {
    name: String,
    stream: Guarded,
    converter: Converter,
    watchdog: Watchdog,
    /// The picture that opening waited for.
    first: Option<Frame>,
}

impl V4lSource {
    pub(super) fn open(name: Option<&str>) -> Result<Self, DeviceError> {
        let nodes = nodes();
        let infos: Vec<DeviceInfo> = nodes.iter().map(|node| node.info.clone()).collect();
        let found = find(&infos, name).map(|info| info.id.clone());
        let by_path = |node: &&Node| Some(node.path.as_os_str()) == name.map(std::ffi::OsStr::new);
        let node = nodes.iter().find(|node| Some(&node.info.id) == found.as_ref());
        let node = node.or_else(|| nodes.iter().find(by_path));
        let missing = || DeviceError::NotFound { what: name.unwrap_or("a camera").into() };
        let node = node.ok_or_else(missing)?;
        Self::start(node)
    }

    fn start(node: &Node) -> Result<Self, DeviceError> {
        let what = &node.info.name;
        let failed = |error: io::Error| opening_error(what, &error);
        let device = Device::with_path(&node.path).map_err(failed)?;
        let mode = choose(&modes(&device)).ok_or_else(|| DeviceError::Unusable {
            what: what.clone(),
            why: "none of its formats is MJPEG, YUYV, NV12 or I420".into(),
        })?;
        Self::stream(what, &device, mode)
    }

    /// Streams in this mode; waits for the first picture.
    fn stream(what: &str, device: &Device, mode: Mode) -> Result<Self, DeviceError> {
        let failed = |error: io::Error| opening_error(what, &error);
        let fourcc = FourCC::new(mode.pixels.fourcc());
        let format = device.set_format(&Format::new(mode.width, mode.height, fourcc)).map_err(failed)?;
        if format.fourcc != fourcc {
            return Err(DeviceError::Unusable {
                what: what.to_owned(),
                why: "it does not keep to a format".into(),
            });
        }
        let interval = Fraction::new(mode.interval.0, mode.interval.1);
        // Some drivers have one rate only, and say so by an error.
        if let Err(error) = device.set_params(&Parameters::new(interval)) {
            tracing::debug!(camera = %what, %error, "the rate could not be set");
        }
        let mut stream = MmapStream::with_buffers(device, Type::VideoCapture, BUFFERS).map_err(failed)?;
        stream.set_timeout(FIRST);
        let stride = if mode.pixels == Pixels::Mjpeg { 0 } else { format.stride as usize };
        let mut source = Self {
            name: what.to_owned(),
            stream: Guarded(Some(stream)),
            converter: Converter::new(mode.pixels, (format.width, format.height), stride),
            watchdog: Watchdog::new(what, Instant::now()),
            first: None,
        };
        let decoded = source.take().map_err(failed)?;
        source.first = source.watchdog.judge(decoded, Instant::now())?;
        Ok(source)
    }

    /// Takes the next buffer, which must be there, or be the first.
    fn take(&mut self) -> io::Result<Decoded> {
        let Some(stream) = &mut self.stream.0 else { return Ok(Decoded::Nothing) };
        let (bytes, meta) = CaptureStream::next(stream)?;
        if meta.flags.contains(BufferFlags::ERROR) {
            return Ok(Decoded::Skipped("the driver says it is damaged".into()));
        }
        let used = bytes.get(..meta.bytesused as usize).unwrap_or(bytes);
        Ok(self.converter.convert(used))
    }

    /// Whether a buffer, or an error, can be had without waiting beyond `deadline`.
    fn readable(&self, deadline: Instant) -> io::Result<bool> {
        // The stream's own time-out would leave it unable to go on: it queues a buffer twice.
        let Some(stream) = &self.stream.0 else { return Ok(false) };
        let left = deadline.saturating_duration_since(Instant::now());
        match stream.handle().poll(libc::POLLIN, left.as_millis().min(1000) as i32) {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl CameraSource for V4lSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> (u32, u32) {
        self.converter.size()
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn next(&mut self, deadline: Instant) -> Result<Option<Frame>, DeviceError> {
        if let Some(frame) = self.first.take() {
            return Ok(Some(frame));
        }
        let taken = match self.readable(deadline) {
            Ok(true) => self.take(),
            Ok(false) => Ok(Decoded::Nothing),
            Err(error) => Err(error),
        };
        let decoded = match taken {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Decoded::Nothing,
            Err(error) => return Err(DeviceError::Lost { what: self.name.clone(), why: error.to_string() }),
            Ok(decoded) => decoded,
        };
        self.watchdog.judge(decoded, Instant::now())
    }
}

/// A stream whose own `Drop` may not take the program with it: it panics on errors of the device, and may
/// do so twice, which ends the process.
struct Guarded(Option<MmapStream<'static>>);

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(mut stream) = self.0.take() else { return };
        match stream.stop() {
            Err(error) if error.raw_os_error() != Some(libc::ENODEV) => {
                tracing::warn!(%error, "a camera that cannot be stopped stays open until the program ends");
                std::mem::forget(stream);
            }
            _ => {
                if catch_unwind(AssertUnwindSafe(|| drop(stream))).is_err() {
                    tracing::warn!("a camera could not be closed properly");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v4l::framesize::Stepwise;

    #[test]
    fn system_errors_become_something_to_act_on() {
        let error = |code| opening_error("cam", &io::Error::from_raw_os_error(code));
        assert_eq!(error(libc::EBUSY), DeviceError::Busy { what: "cam".into() });
        assert!(matches!(error(libc::EACCES), DeviceError::Denied { .. }));
        assert!(matches!(error(libc::ENODEV), DeviceError::NotFound { .. }));
        assert!(matches!(error(libc::EIO), DeviceError::Unusable { .. }));
    }

    #[test]
    fn a_range_of_sizes_gives_those_we_like_that_fit_its_steps() {
        let range = Stepwise {
            min_width: 16,
            max_width: 1000,
            step_width: 16,
            min_height: 16,
            max_height: 1000,
            step_height: 8,
        };
        assert_eq!(discrete_sizes(FrameSizeEnum::Stepwise(range)), [(640, 480), (640, 360), (320, 240)]);
    }

    /// The mean of each bar of vivid's picture, below its text, and of its colours: eight bars of Y, U and V.
    fn bars(picture: &crate::frame::I420) -> Vec<i32> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let planes = picture.planes();
        let sizes = [(width, height), (width / 2, height / 2), (width / 2, height / 2)];
        let mean = |plane: &[u8], (width, height): (usize, usize), bar: usize| {
            let across = (width * bar / 8 + width / 32)..(width * (bar + 1) / 8 - width / 32);
            let rows = (height * 3 / 4)..(height * 7 / 8);
            let all = rows.flat_map(|row| plane[row * width..][across.clone()].iter().map(|x| i32::from(*x)));
            let all: Vec<i32> = all.collect();
            all.iter().sum::<i32>() / all.len() as i32
        };
        let bars =
            |(plane, size): (&[u8], (usize, usize))| (0..8).map(|bar| mean(plane, size, bar)).collect();
        planes.into_iter().zip(sizes).flat_map(|plane| -> Vec<i32> { bars(plane) }).collect()
    }

    #[test]
    #[ignore = "needs vivid's cameras: ./dev devices"]
    fn on_a_real_device_each_format_gives_the_same_picture() {
        let nodes = nodes();
        let node = nodes.first().expect("vivid's cameras are wanted: see ./dev devices");
        let device = Device::with_path(&node.path).unwrap();
        let formats = formats(&device);
        assert!(formats.len() >= 3, "vivid has YUYV, NV12 and I420; here are {formats:?}");
        let (modes, mut first) = (modes(&device), None);
        for pixels in formats {
            let modes: Vec<Mode> = modes.iter().copied().filter(|mode| mode.pixels == pixels).collect();
            let mode = choose(&modes).unwrap();
            let mut source = V4lSource::stream(&node.info.name, &device, mode).unwrap();
            let mut frames = Vec::new();
            while frames.len() < 3 {
                frames.extend(source.next(Instant::now() + Duration::from_secs(10)).unwrap());
            }
            assert_eq!((frames[2].image.width(), frames[2].image.height()), (mode.width, mode.height));
            let bars = bars(&frames[2].image);
            eprintln!("{mode:?}: {bars:?}");
            let first: &Vec<i32> = first.get_or_insert(bars.clone());
            let close = first.iter().zip(&bars).all(|(a, b)| (a - b).abs() <= 4);
            assert!(close && bars.iter().max() > bars.iter().min(), "{pixels:?}: {bars:?} and not {first:?}");
        }
    }

    #[test]
    fn a_camera_that_is_not_there_is_not_found() {
        let missing = V4lSource::open(Some("no such camera")).err();
        assert_eq!(missing, Some(DeviceError::NotFound { what: "no such camera".into() }));
    }
}
