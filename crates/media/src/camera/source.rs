//! What every camera is, device or not.

use super::{device, file::FileSource, pattern::PatternSource};
use crate::ends::{CameraUse, DeviceError};
use crate::frame::Frame;
use std::time::Instant;

/// An open source of pictures; dropping it closes it.
pub trait CameraSource {
    /// For people.
    fn name(&self) -> String;
    /// Pixels across and down.
    fn size(&self) -> (u32, u32);
    /// When the next picture is due; `None` where only waiting in [`CameraSource::next`] tells.
    fn due(&self) -> Option<Instant>;
    /// Waits for the next picture, but not beyond `deadline`: then there is none. After an error the source
    /// is of no more use.
    fn next(&mut self, deadline: Instant) -> Result<Option<Frame>, DeviceError>;
}

/// Opens a source; `None` for [`CameraUse::None`].
pub(super) fn open(source: &CameraUse) -> Result<Option<Box<dyn CameraSource>>, DeviceError> {
    Ok(Some(match source {
        CameraUse::None => return Ok(None),
        CameraUse::Pattern => Box::new(PatternSource::new(Instant::now())),
        CameraUse::File(path) => Box::new(FileSource::open(path, Instant::now())?),
        CameraUse::Default => device::open(None)?,
        CameraUse::Device(name) => device::open(Some(name))?,
    }))
}

/// Moments at equal distances, kept to in real time.
#[derive(Debug)]
pub(super) struct Pace {
    due: Instant,
    interval: std::time::Duration,
}

impl Pace {
    /// The first moment is `now`.
    pub(super) fn new(now: Instant, interval: std::time::Duration) -> Self {
        Self { due: now, interval }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Uses up the moment that is due: it, and how many whole intervals were missed after it and are to be
    /// left out. A second behind, the clock is set anew instead.
    pub(super) fn step(&mut self, now: Instant) -> (Instant, u32) {
        let late = now.saturating_duration_since(self.due);
        if late >= std::time::Duration::from_secs(1) {
            self.due = now;
        }
        let late = now.saturating_duration_since(self.due);
        let missed = (late.as_nanos() / self.interval.as_nanos().max(1)) as u32;
        let at = self.due + self.interval * missed;
        self.due = at + self.interval;
        (at, missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_pace_keeps_real_time_by_leaving_out_what_was_missed() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start, Duration::from_millis(40));
        assert_eq!(pace.step(at(3)), (at(0), 0));
        assert_eq!(pace.step(at(41)), (at(40), 0));
        assert_eq!(pace.step(at(190)), (at(160), 2));
        assert_eq!(pace.due(), at(200));
        assert_eq!(pace.step(at(9000)), (at(9000), 0));
        assert_eq!(pace.due(), at(9040));
    }
}
