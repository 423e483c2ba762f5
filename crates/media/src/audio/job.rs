//! Work that may block for seconds, on a short-lived thread of its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

/// One piece of work and the thread that does it.
pub(crate) struct Job<T> {
    thread: JoinHandle<()>,
    result: Receiver<T>,
}

impl<T: Send + 'static> Job<T> {
    /// Does `work` on a thread of that name, which wakes `wake` when it is done. A result that nobody waits
    /// for any more is dropped on that thread.
    pub(crate) fn start(
        name: &str,
        wake: Thread,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<Self> {
        // overflow: never; one result is sent.
        let (sender, result) = sync_channel(1);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            // Nobody listens when the job was given up or the audio thread is gone; the result goes then.
            let _ = sender.send(work());
            wake.unpark();
        })?;
        Ok(Self { thread, result })
    }

    /// The result, once it is there; `Err` when the thread died.
    pub(crate) fn poll(&self) -> Option<Result<T, ()>> {
        match self.result.try_recv() {
            Ok(result) => Some(Ok(result)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(())),
        }
    }

    /// Whether the thread has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread, but not for ever: a hung sound server must not keep a call from ending.
    pub(crate) fn finish(self, patience: Duration) {
        let waited = self.result.recv_timeout(patience);
        if matches!(waited, Err(RecvTimeoutError::Timeout)) {
            tracing::warn!("a sound device did not answer in {patience:?}; left behind");
            return;
        }
        drop(waited);
        if self.thread.join().is_err() {
            tracing::error!("a sound device's thread panicked");
        }
    }
}
