//! Keeps one end (microphone or speaker) open as the user chose, through failures, losses and switches.
//!
//! Opening and closing a device can block for seconds, so each is done on a short-lived thread of its own;
//! the audio thread only looks whether it is done. The old end is used until the new one is open; when that
//! fails, the old one stays. An end that could not be opened at all, or was lost, is tried again.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::ends::{DeviceError, MicUse, SpeakerUse};

/// From losing a device to trying it again.
const RETRY: Duration = Duration::from_secs(2);
/// How long the owner waits at the end for a device that does not close.
const PATIENCE: Duration = Duration::from_secs(3);

/// The name of an end that a user can choose.
pub(crate) trait Choice: Clone + PartialEq + std::fmt::Debug + Send + 'static {
    /// Whether it stands for no end at all, and what that is called.
    fn nothing(&self) -> Option<&'static str>;
}

impl Choice for MicUse {
    fn nothing(&self) -> Option<&'static str> {
        (*self == Self::None).then_some("No microphone")
    }
}

impl Choice for SpeakerUse {
    fn nothing(&self) -> Option<&'static str> {
        (*self == Self::None).then_some("No speaker")
    }
}

/// Something that was opened and has a name for people.
pub(crate) trait Named {
    fn name(&self) -> String;
}

/// What became of an end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change<U> {
    Opened(U, String),
    Failed(U, DeviceError),
    Lost(U, DeviceError),
}

/// Opens an end; given the thread to be woken when there is something to do.
pub(crate) type Open<U, E> = fn(&U, &Thread) -> Result<Box<E>, DeviceError>;

struct Job<T> {
    thread: JoinHandle<()>,
    result: Receiver<T>,
}

impl<T: Send + 'static> Job<T> {
    fn start(name: &str, wake: Thread, work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<Self> {
        // overflow: never; one result is sent.
        let (sender, result) = sync_channel(1);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            // Nobody listens only when the audio thread is gone; the result is dropped then.
            let _ = sender.send(work());
            wake.unpark();
        })?;
        Ok(Self { thread, result })
    }

    /// The result and whether the thread is done with it; `Err` when it died.
    fn poll(&self) -> Option<Result<T, ()>> {
        match self.result.try_recv() {
            Ok(result) => Some(Ok(result)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(())),
        }
    }

    /// Waits for the thread, but not for ever: a hung sound server must not keep a call from ending.
    fn finish(self) {
        let waited = self.result.recv_timeout(PATIENCE);
        if matches!(waited, Err(RecvTimeoutError::Timeout)) {
            tracing::warn!("a sound device did not close in {PATIENCE:?}; left behind");
            return;
        }
        drop(waited);
        if self.thread.join().is_err() {
            tracing::error!("a sound device's thread panicked");
        }
    }
}

type Opening<E> = Job<Result<Box<E>, DeviceError>>;

/// See the module.
pub(crate) struct Opener<U, E: ?Sized> {
    label: &'static str,
    open: Open<U, E>,
    wake: Thread,
    chosen: U,
    current: Option<(U, Box<E>)>,
    opening: Option<(U, Opening<E>)>,
    closing: Vec<Job<()>>,
    /// Closed to make room for the chosen one, and opened again if that fails.
    fall_back: Option<U>,
    retry_at: Option<Instant>,
    /// The error last reported, so that a vain retry is not reported again.
    told: Option<DeviceError>,
}

impl<U: Choice, E: ?Sized + Named + Send + 'static> Opener<U, E> {
    /// Nothing is open until [`Opener::choose`].
    pub(crate) fn new(label: &'static str, nothing: U, open: Open<U, E>, wake: Thread) -> Self {
        Self {
            label,
            open,
            wake,
            chosen: nothing,
            current: None,
            opening: None,
            closing: Vec::new(),
            fall_back: None,
            retry_at: None,
            told: None,
        }
    }

    pub(crate) fn current(&mut self) -> Option<&mut E> {
        self.current.as_mut().map(|(_, end)| &mut **end)
    }

    /// From now on this one, please.
    pub(crate) fn choose(&mut self, choice: U, now: Instant) {
        self.chosen = choice;
        self.told = None;
        self.fall_back = None;
        self.retry_at = Some(now);
        if self.chosen.nothing().is_some() {
            self.close_current();
        }
    }

    /// The current one failed in use.
    pub(crate) fn lost(&mut self, error: DeviceError, now: Instant) -> Option<Change<U>> {
        let (used, end) = self.current.take()?;
        self.close(end);
        self.retry_at = Some(now + RETRY);
        self.told = Some(error.clone());
        Some(Change::Lost(used, error))
    }

    /// Gets on with it: what has changed since the last call.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Change<U>> {
        self.closing.retain(|job| job.poll().is_none());
        if let Some((used, job)) = &self.opening {
            let result = job.poll()?;
            let used = used.clone();
            self.opening = None;
            let result = result.unwrap_or_else(|()| Err(self.broke(&used)));
            return self.opened(used, result, now);
        }
        if self.retry_at.is_none_or(|at| at > now) {
            return None;
        }
        self.retry_at = None;
        if let Some(name) = self.chosen.nothing() {
            return Some(Change::Opened(self.chosen.clone(), name.into()));
        }
        self.start(None)
    }

    fn broke(&self, used: &U) -> DeviceError {
        DeviceError::Unusable {
            what: format!("{used:?}"),
            why: format!("opening the {} broke down", self.label),
        }
    }

    /// Opens the chosen one, after closing `old`.
    fn start(&mut self, old: Option<Box<E>>) -> Option<Change<U>> {
        let (open, used, wake) = (self.open, self.chosen.clone(), self.wake.clone());
        let name = format!("{} opener", self.label);
        let job = Job::start(&name, wake.clone(), move || {
            drop(old);
            open(&used, &wake)
        });
        match job {
            Ok(job) => {
                self.opening = Some((self.chosen.clone(), job));
                None
            }
            Err(error) => {
                let error = DeviceError::Unusable { what: self.label.into(), why: error.to_string() };
                Some(Change::Failed(self.chosen.clone(), error))
            }
        }
    }

    fn opened(&mut self, used: U, result: Result<Box<E>, DeviceError>, now: Instant) -> Option<Change<U>> {
        if used != self.chosen {
            // Something else was chosen meanwhile: `retry_at` is set and opens that.
            if let Ok(end) = result {
                self.close(end);
            }
            return None;
        }
        let error = match result {
            Ok(end) => {
                self.close_current();
                let name = end.name();
                self.current = Some((used.clone(), end));
                (self.told, self.fall_back, self.retry_at) = (None, None, None);
                return Some(Change::Opened(used, name));
            }
            Err(error) => error,
        };
        let busy = matches!(error, DeviceError::Busy { .. });
        if let Some((old, end)) = self.current.take_if(|_| busy) {
            // Perhaps it is we who hold it: close the old one first.
            self.fall_back = Some(old);
            return self.start(Some(end));
        }
        self.failed(used, error, now)
    }

    fn failed(&mut self, used: U, error: DeviceError, now: Instant) -> Option<Change<U>> {
        if let Some(old) = self.fall_back.take() {
            self.chosen = old;
            self.retry_at = Some(now);
        } else if let Some((old, _)) = &self.current {
            self.chosen = old.clone();
        } else {
            self.retry_at = Some(now + RETRY);
        }
        let again = self.told.as_ref() == Some(&error);
        self.told = Some(error.clone());
        (!again).then_some(Change::Failed(used, error))
    }

    fn close_current(&mut self) {
        if let Some((_, end)) = self.current.take() {
            self.close(end);
        }
    }

    fn close(&mut self, end: Box<E>) {
        let job = Job::start(&format!("{} closer", self.label), self.wake.clone(), move || drop(end));
        match job {
            Ok(job) => self.closing.push(job),
            // The end went down with the closure, on this thread.
            Err(error) => tracing::warn!(%error, "no thread to close the {}", self.label),
        }
    }
}

impl<U: Choice, E: ?Sized + Named + Send + 'static> Opener<U, E> {
    /// Closes everything and waits for it.
    pub(crate) fn finish(mut self) {
        self.close_current();
        if let Some((_, job)) = self.opening.take() {
            job.finish();
        }
        for job in self.closing.drain(..) {
            job.finish();
        }
    }
}
