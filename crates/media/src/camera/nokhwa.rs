//! Cameras through nokhwa: the only file that names that crate.
//!
//! It has no time-out: while a camera stalls, its thread waits with it.

use super::buffer::{Converter, Decoded};
use super::device::{Watchdog, error_by_words, find, infrared};
use super::modes::{Mode, Pixels, choose};
use super::source::CameraSource;
use crate::ends::{DeviceError, DeviceInfo};
use crate::frame::Frame;
use ::nokhwa::utils::{
    ApiBackend, CameraFormat, CameraIndex, CameraInfo, FrameFormat, RequestedFormat, RequestedFormatType,
};
use std::time::Instant;

const FORMATS: [FrameFormat; 3] = [FrameFormat::MJPEG, FrameFormat::YUYV, FrameFormat::NV12];

fn cameras() -> Vec<CameraInfo> {
    match ::nokhwa::query(ApiBackend::Auto) {
        Ok(mut cameras) => {
            cameras.retain(|camera| !infrared(&camera.human_name()));
            // In no order on Linux.
            cameras.sort_by(|a, b| a.index().cmp(b.index()));
            cameras
        }
        Err(error) => {
            tracing::warn!(%error, "the cameras could not be listed");
            Vec::new()
        }
    }
}

fn infos(cameras: &[CameraInfo]) -> Vec<DeviceInfo> {
    let info = |(at, camera): (usize, &CameraInfo)| DeviceInfo {
        id: camera.index().as_string(),
        name: camera.human_name(),
        default: at == 0,
    };
    cameras.iter().enumerate().map(info).collect()
}

pub(super) fn list() -> Vec<DeviceInfo> {
    infos(&cameras())
}

fn pixels(format: FrameFormat) -> Option<Pixels> {
    match format {
        FrameFormat::MJPEG => Some(Pixels::Mjpeg),
        FrameFormat::YUYV => Some(Pixels::Yuyv),
        FrameFormat::NV12 => Some(Pixels::Nv12),
        _ => None,
    }
}

fn mode(format: &CameraFormat) -> Option<Mode> {
    let pixels = pixels(format.format())?;
    let (width, height) = (format.width(), format.height());
    Some(Mode { pixels, width, height, interval: (1, format.frame_rate()) })
}

pub(super) struct NokhwaSource {
    name: String,
    camera: ::nokhwa::Camera,
    converter: Converter,
    watchdog: Watchdog,
}

impl NokhwaSource {
    pub(super) fn open(name: Option<&str>) -> Result<Self, DeviceError> {
        let cameras = cameras();
        let infos = infos(&cameras);
        let missing = || DeviceError::NotFound { what: name.unwrap_or("a camera").into() };
        let info = find(&infos, name).ok_or_else(missing)?;
        let camera = cameras.iter().find(|camera| camera.index().as_string() == info.id);
        Self::start(camera.ok_or_else(missing)?.index().clone(), &info.name)
    }

    fn start(index: CameraIndex, what: &str) -> Result<Self, DeviceError> {
        let failed = |error: ::nokhwa::NokhwaError| error_by_words(what, &error.to_string());
        let unusable = |why: &str| DeviceError::Unusable { what: what.into(), why: why.into() };
        #[cfg(target_os = "linux")]
        if let CameraIndex::Index(number) = index {
            super::v4l::make_known(number, what)?;
        }
        // Its own choice of the closest format finds none on a camera that has not just the one asked for.
        let any = RequestedFormat::with_formats(RequestedFormatType::None, &FORMATS);
        let mut camera = ::nokhwa::Camera::new(index, any).map_err(failed)?;
        let listed = camera.compatible_camera_formats().map_err(failed)?;
        let modes: Vec<Mode> = listed.iter().filter_map(mode).collect();
        let mode = choose(&modes).ok_or_else(|| unusable("none of its formats is MJPEG, YUYV or NV12"))?;
        let wanted = listed.into_iter().find(|format| self::mode(format) == Some(mode));
        let wanted = wanted.ok_or_else(|| unusable("it does not keep to a format"))?;
        let exactly = RequestedFormat::with_formats(RequestedFormatType::Exact(wanted), &FORMATS);
        let format = camera.set_camera_requset(exactly).map_err(failed)?;
        let pixels = pixels(format.format()).ok_or_else(|| unusable("it does not keep to a format"))?;
        camera.open_stream().map_err(failed)?;
        Ok(Self {
            name: what.to_owned(),
            camera,
            converter: Converter::new(pixels, (format.width(), format.height()), 0),
            watchdog: Watchdog::new(what, Instant::now()),
        })
    }
}

impl CameraSource for NokhwaSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> (u32, u32) {
        self.converter.size()
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn next(&mut self, _deadline: Instant) -> Result<Option<Frame>, DeviceError> {
        let decoded = match self.camera.frame_raw() {
            Ok(bytes) => self.converter.convert(&bytes),
            Err(error) => return Err(DeviceError::Lost { what: self.name.clone(), why: error.to_string() }),
        };
        match decoded {
            Decoded::Nothing => Ok(None),
            decoded => self.watchdog.judge(decoded, Instant::now()),
        }
    }
}
