//! Cameras: the thread that owns the open one, and what can stand behind it.
//!
//! The thread "camera" opens, reads and closes sources; nobody else touches them. It is told what to use
//! by [`Camera::use_source`] and [`Camera::set_on`], the latest wish winning, and tells what became of it
//! by [`CameraEvent`]s.

mod buffer;
mod device;
mod file;
mod modes;
mod nokhwa;
mod pattern;
mod source;
mod thread;
#[cfg(target_os = "linux")]
mod v4l;

pub use device::list;
pub use source::CameraSource;
pub use thread::{Camera, CameraEvent};
