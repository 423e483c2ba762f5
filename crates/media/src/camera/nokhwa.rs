//! Cameras through nokhwa: the only file that names that crate.
//!
//! It has no time-out: while a camera stalls, its thread waits with it.

use super::buffer::{Converter, Decoded};
use super::device::{Watchdog, error_by_words, find, infrared};
use super::modes::Pixels;
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
        Ok(cameras) => cameras.into_iter().filter(|camera| !infrared(&camera.human_name())).collect(),
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
        let wanted = CameraFormat::new_from(1280, 720, FrameFormat::MJPEG, 30);
        let request = RequestedFormat::with_formats(RequestedFormatType::Closest(wanted), &FORMATS);
        let mut camera = ::nokhwa::Camera::new(index, request).map_err(failed)?;
        let format = camera.camera_format();
        let pixels = match format.format() {
            FrameFormat::MJPEG => Pixels::Mjpeg,
            FrameFormat::YUYV => Pixels::Yuyv,
            FrameFormat::NV12 => Pixels::Nv12,
            other => {
                return Err(DeviceError::Unusable { what: what.into(), why: format!("it gives {other}") });
            }
        };
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
