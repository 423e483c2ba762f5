//! A y4m clip in place of a camera, looped in real time.

use super::source::{CameraSource, Pace};
use crate::ends::DeviceError;
use crate::frame::Frame;
use crate::pool::Pool;
use crate::y4m::{Reader, Y4mError};
use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Reads one picture after the other from the file when it is due; nothing is read ahead.
pub(super) struct FileSource {
    path: PathBuf,
    reader: Reader<BufReader<File>>,
    pace: Pace,
    pool: Pool,
    /// Whether a picture was read since the clip's beginning.
    any: bool,
}

impl FileSource {
    /// Opens a clip and makes sure that it has a picture. The first is due at once.
    pub(super) fn open(path: &Path, now: Instant) -> Result<Self, DeviceError> {
        let opened = File::open(path).map_err(Y4mError::Io);
        let reader = opened.and_then(|file| Reader::new(BufReader::with_capacity(4096, file)));
        let reader = reader.map_err(|error| device_error(path, error))?;
        let pace = Pace::new(now, reader.header().interval());
        let mut source = Self { path: path.to_owned(), reader, pace, pool: Pool::new(), any: false };
        source.check()?;
        Ok(source)
    }

    /// A clip without a single whole picture would only fail later.
    fn check(&mut self) -> Result<(), DeviceError> {
        self.picture()?;
        self.reader.rewind().map_err(|error| device_error(&self.path, error))
    }

    /// The next picture, from the beginning again after the last whole one.
    fn picture(&mut self) -> Result<std::sync::Arc<crate::frame::I420>, DeviceError> {
        let header = self.reader.header();
        loop {
            let reader = &mut self.reader;
            match self.pool.picture(header.width, header.height, |picture| reader.read(picture)) {
                Ok(picture) => {
                    self.any = true;
                    return Ok(picture);
                }
                Err(Y4mError::End) if std::mem::take(&mut self.any) => {
                    self.reader.rewind().map_err(|error| device_error(&self.path, error))?;
                }
                Err(error) => return Err(device_error(&self.path, error)),
            }
        }
    }

    fn skip(&mut self) -> Result<(), DeviceError> {
        match self.reader.skip() {
            // The end is found again, and dealt with, by the next read.
            Ok(()) | Err(Y4mError::End) => Ok(()),
            Err(error) => Err(device_error(&self.path, error)),
        }
    }
}

impl CameraSource for FileSource {
    fn name(&self) -> String {
        format!("file:{}", self.path.display())
    }

    fn size(&self) -> (u32, u32) {
        (self.reader.header().width, self.reader.header().height)
    }

    fn due(&self) -> Option<Instant> {
        Some(self.pace.due())
    }

    fn next(&mut self, _deadline: Instant) -> Result<Option<Frame>, DeviceError> {
        let now = Instant::now();
        if now < self.pace.due() {
            return Ok(None);
        }
        let (captured, missed) = self.pace.step(now);
        (0..missed).try_for_each(|_| self.skip())?;
        let image = self.picture()?;
        Ok(Some(Frame { image, captured }))
    }
}

/// What a clip's error means to the user.
fn device_error(path: &Path, error: Y4mError) -> DeviceError {
    let what = path.display().to_string();
    match error {
        Y4mError::Io(error) => match error.kind() {
            ErrorKind::NotFound => DeviceError::NotFound { what },
            ErrorKind::PermissionDenied => DeviceError::Denied { what, why: error.to_string() },
            _ => DeviceError::Unusable { what, why: error.to_string() },
        },
        Y4mError::End => DeviceError::Unusable { what, why: "it holds no whole picture".into() },
        Y4mError::Format(why) => DeviceError::Unusable { what, why },
    }
}
