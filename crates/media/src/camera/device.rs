//! Camera devices, by the backend that suits the system.
//!
//! Linux has a backend of its own on v4l; `SNUG_CAMERA_BACKEND=nokhwa` takes the portable one there too.

use super::source::CameraSource;
use super::{buffer::Decoded, nokhwa};
use crate::ends::{DeviceError, DeviceInfo};
use crate::frame::Frame;
use std::time::Instant;

/// Whether the portable backend is to be used.
fn portable() -> bool {
    !cfg!(target_os = "linux") || std::env::var_os("SNUG_CAMERA_BACKEND").is_some_and(|name| name == "nokhwa")
}

/// The cameras that the system has; nodes for infrared and metadata are left out.
pub fn list() -> Vec<DeviceInfo> {
    #[cfg(target_os = "linux")]
    if !portable() {
        return super::v4l::list();
    }
    nokhwa::list()
}

/// Opens a device by id or name, the first one when there is no name.
pub(super) fn open(name: Option<&str>) -> Result<Box<dyn CameraSource>, DeviceError> {
    #[cfg(target_os = "linux")]
    if !portable() {
        return Ok(Box::new(super::v4l::V4lSource::open(name)?));
    }
    Ok(Box::new(nokhwa::NokhwaSource::open(name)?))
}

/// The device meant by an id or a name; the first one when there is no name.
pub(super) fn find<'a>(devices: &'a [DeviceInfo], name: Option<&str>) -> Option<&'a DeviceInfo> {
    match name {
        None => devices.first(),
        Some(name) => devices
            .iter()
            .find(|device| device.id == name)
            .or_else(|| devices.iter().find(|device| device.name == name)),
    }
}

/// Infrared cameras, for logging in by one's face, say so in their names.
pub(super) fn infrared(name: &str) -> bool {
    let name = name.to_lowercase();
    let mut words = name.split(|letter: char| !letter.is_alphanumeric());
    name.contains("infrared") || words.any(|word| word == "ir")
}

/// What the system's words about a device mean: some backends give nothing but words.
pub(super) fn error_by_words(what: &str, why: &str) -> DeviceError {
    let (what, why) = (what.to_owned(), why.to_owned());
    let words = why.to_lowercase();
    let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
    if says(&["busy", "in use", "being used", "0xc00d3704"]) {
        DeviceError::Busy { what }
    } else if says(&["denied", "permission", "not permitted", "not authorized", "unauthorized"]) {
        DeviceError::Denied { what, why }
    } else if says(&["no such", "not found", "no device"]) {
        DeviceError::NotFound { what }
    } else {
        DeviceError::Unusable { what, why }
    }
}

/// Watches for pictures that do not come, or are never whole.
pub(super) struct Watchdog {
    what: String,
    last_whole: Instant,
    last_why: Option<String>,
}

impl Watchdog {
    /// A camera without a whole picture for this long is given up.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

    pub(super) fn new(what: &str, now: Instant) -> Self {
        Self { what: what.to_owned(), last_whole: now, last_why: None }
    }

    /// Takes what a wait for a picture gave, and gives the frame, or nothing yet, or an error at last.
    pub(super) fn judge(&mut self, decoded: Decoded, now: Instant) -> Result<Option<Frame>, DeviceError> {
        match decoded {
            Decoded::Picture(image) => {
                self.last_whole = now;
                self.last_why = None;
                return Ok(Some(Frame { image, captured: now }));
            }
            Decoded::Skipped(why) => {
                tracing::debug!(camera = %self.what, %why, "a picture is left out");
                self.last_why = Some(why);
            }
            Decoded::Nothing => {}
        }
        if now.saturating_duration_since(self.last_whole) < Self::PATIENCE {
            return Ok(None);
        }
        let what = self.what.clone();
        Err(match self.last_why.take() {
            Some(why) => DeviceError::Unusable { what, why },
            None => DeviceError::Lost { what, why: "it gave no picture for 5 seconds".into() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn device(id: &str, name: &str) -> DeviceInfo {
        DeviceInfo { id: id.into(), name: name.into(), default: false }
    }

    #[test]
    fn devices_are_found_by_id_before_name() {
        let devices = [device("a", "b"), device("b", "c")];
        assert_eq!(find(&devices, None).unwrap().id, "a");
        assert_eq!(find(&devices, Some("b")).unwrap().id, "b");
        assert_eq!(find(&devices, Some("c")).unwrap().id, "b");
        assert!(find(&devices, Some("x")).is_none());
    }

    #[test]
    fn infrared_is_a_word_and_not_part_of_one() {
        assert!(infrared("Integrated IR Camera") && infrared("Infrared cam") && infrared("HP IR:Cam"));
        assert!(!infrared("AirCam") && !infrared("Firewire camera"));
    }

    #[test]
    fn words_become_something_to_act_on() {
        let busy = error_by_words("cam", "Device or resource busy (os error 16)");
        assert_eq!(busy, DeviceError::Busy { what: "cam".into() });
        assert!(matches!(error_by_words("cam", "Permission denied"), DeviceError::Denied { .. }));
        assert!(matches!(error_by_words("cam", "No such file or directory"), DeviceError::NotFound { .. }));
        assert!(matches!(error_by_words("cam", "odd"), DeviceError::Unusable { .. }));
    }

    #[test]
    fn silence_is_a_loss_and_rubbish_is_of_no_use() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watchdog = Watchdog::new("cam", start);
        assert!(watchdog.judge(Decoded::Nothing, at(4)).unwrap().is_none());
        let picture = std::sync::Arc::new(crate::frame::I420::black(4, 4));
        assert!(watchdog.judge(Decoded::Picture(picture), at(4)).unwrap().is_some());
        assert!(watchdog.judge(Decoded::Nothing, at(8)).unwrap().is_none());
        assert!(matches!(watchdog.judge(Decoded::Nothing, at(9)), Err(DeviceError::Lost { .. })));
        let rubbish = Decoded::Skipped("cut".into());
        assert!(matches!(watchdog.judge(rubbish, at(9)), Err(DeviceError::Unusable { .. })));
    }
}
