//! The programs of a measured call, each run in a host of the link: the server, `snug`, and Chromium.

pub(crate) mod chromium;
pub(crate) mod server;
pub(crate) mod snug;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A program that says nothing for so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Now, in microseconds since 1970.
pub(crate) fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}
