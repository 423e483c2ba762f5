//! A named pipe written to without ever waiting for good.
#![expect(unsafe_code, reason = "poll and the pipe's size are system calls that std does not offer")]

use super::Ready;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a named pipe stands at this path.
pub(super) fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.file_type().is_fifo())
}

/// The writing end; open while there is a reader.
pub(super) struct Pipe {
    path: PathBuf,
    file: Option<File>,
}

/// How long a reader who is stuck is given before we look whether to stop, milliseconds.
const LOOK: i32 = 50;

impl Pipe {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None }
    }

    /// Opens the pipe when somebody reads it.
    pub(super) fn ready(&mut self) -> io::Result<Ready> {
        if self.file.is_some() {
            return Ok(Ready::Same);
        }
        match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&self.path) {
            Ok(file) => {
                widen(&file);
                self.file = Some(file);
                Ok(Ready::Fresh)
            }
            // No reader yet.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(Ready::No),
            Err(error) => Err(error),
        }
    }

    /// Writes all of it at the reader's pace; gives up when `stop` is set and the reader does not move.
    pub(super) fn write_all(&mut self, mut bytes: &[u8], stop: &AtomicBool) -> io::Result<()> {
        while !bytes.is_empty() {
            let Some(file) = &mut self.file else { return Err(ErrorKind::BrokenPipe.into()) };
            match file.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !wait_writable(file)? && stop.load(Ordering::Relaxed) {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => {
                    self.file = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Waits until the pipe takes bytes, or [`LOOK`] is over.
fn wait_writable(file: &File) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd is handed over, and the file stays open during the call.
    match unsafe { libc::poll(&mut poll, 1, LOOK) } {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
        count => Ok(count > 0),
    }
}

/// Makes room for a whole picture, so that it is handed over in one go. Not everywhere allowed, and no harm
/// where it is not.
fn widen(file: &File) {
    #[cfg(target_os = "linux")]
    // SAFETY: the descriptor is open, and this command takes one int.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETPIPE_SZ, 1 << 20) } < 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "the pipe keeps its size");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}
