//! Pictures as they would be shown, written to a y4m file or a named pipe.

#[cfg(unix)]
mod pipe;

use crate::convert::scale;
use crate::ends::DeviceError;
use crate::frame::{Frame, I420};
use crate::pool::Pool;
use crate::slot::Slot;
use crate::y4m::{frame_line, write_header};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The thread "y4m sink"; dropping it ends the file and joins the thread.
///
/// Each `FRAME` line carries ` Xt=` and the Unix microseconds at which the picture was shown, that is,
/// taken from the slot. A slow reader of a pipe makes the slot drop pictures, and nothing else.
pub struct Y4mSink {
    input: Slot<Frame>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Y4mSink {
    /// Starts writing what comes into `input`. A file is made anew; into a named pipe that stands there
    /// already pictures go as soon as somebody reads it. All are scaled to `size`, by default the first
    /// one's.
    pub fn spawn(path: &Path, input: Slot<Frame>, size: Option<(u32, u32)>) -> Result<Self, DeviceError> {
        let target = Target::open(path).map_err(|error| device_error(path, &error))?;
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            path: path.to_owned(),
            input: input.clone(),
            stop: stop.clone(),
            target,
            size,
            begun: false,
            scaled: Pool::new(),
        };
        let thread = std::thread::Builder::new()
            .name("y4m sink".into())
            .spawn(move || worker.run())
            .map_err(|error| device_error(path, &error))?;
        Ok(Self { input, stop, thread: Some(thread) })
    }
}

impl Drop for Y4mSink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.input.nudge();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a y4m sink's thread panicked");
        }
    }
}

fn device_error(path: &Path, error: &io::Error) -> DeviceError {
    let (what, why) = (path.display().to_string(), error.to_string());
    match error.kind() {
        io::ErrorKind::NotFound => DeviceError::NotFound { what },
        io::ErrorKind::PermissionDenied => DeviceError::Denied { what, why },
        _ => DeviceError::Unusable { what, why },
    }
}

/// Where the bytes go.
enum Target {
    File(File),
    #[cfg(unix)]
    Pipe(pipe::Pipe),
}

impl Target {
    fn open(path: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        if pipe::is_pipe(path) {
            return Ok(Self::Pipe(pipe::Pipe::new(path)));
        }
        File::create(path).map(Self::File)
    }

    /// Whether bytes can be written; `Fresh` when a reader has come, who has to be told everything.
    fn ready(&mut self) -> io::Result<Ready> {
        match self {
            Self::File(_) => Ok(Ready::Same),
            #[cfg(unix)]
            Self::Pipe(pipe) => pipe.ready(),
        }
    }

    /// Writes everything, or fails when `stop` is set and nobody reads.
    fn write(&mut self, parts: [&[u8]; 2], stop: &AtomicBool) -> io::Result<()> {
        match self {
            Self::File(file) => parts.iter().try_for_each(|part| file.write_all(part)),
            #[cfg(unix)]
            Self::Pipe(pipe) => parts.iter().try_for_each(|part| pipe.write_all(part, stop)),
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    /// Nobody.
    No,
    /// Somebody new.
    Fresh,
    /// The same as before.
    Same,
}

struct Worker {
    path: PathBuf,
    input: Slot<Frame>,
    stop: Arc<AtomicBool>,
    target: Target,
    size: Option<(u32, u32)>,
    /// The first line is written.
    begun: bool,
    scaled: Pool,
}

impl Worker {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) && !self.input.is_closed() {
            let Some(frame) = self.input.wait(Instant::now() + Duration::from_secs(3600)) else { continue };
            let shown = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            if let Err(error) = self.show(&frame.image, shown.as_micros()) {
                if !self.stop.load(Ordering::Relaxed) {
                    tracing::error!(path = %self.path.display(), %error, "pictures are no longer written");
                }
                return;
            }
        }
    }

    fn show(&mut self, picture: &Arc<I420>, shown_us: u128) -> io::Result<()> {
        match self.target.ready()? {
            Ready::No => return Ok(()),
            Ready::Fresh => self.begun = false,
            Ready::Same => {}
        }
        let (width, height) = *self.size.get_or_insert((picture.width(), picture.height()));
        let picture = match (picture.width(), picture.height()) == (width, height) {
            true => picture.clone(),
            false => self.scaled(picture, width, height),
        };
        let mut line = Vec::new();
        if !self.begun {
            write_header(&mut line, width, height)?;
        }
        line.extend_from_slice(frame_line(shown_us).as_bytes());
        match self.target.write([&line, picture.packed()], &self.stop) {
            Ok(()) => self.begun = true,
            // The reader went; the next one gets a clip of its own.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.begun = false,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn scaled(&mut self, picture: &I420, width: u32, height: u32) -> Arc<I420> {
        let scaled = self.scaled.picture(width, height, |target| {
            scale(picture, target);
            Ok::<(), Infallible>(())
        });
        match scaled {
            Ok(picture) => picture,
            Err(never) => match never {},
        }
    }
}
