//! Keeps one end (microphone or speaker) open as the user chose, through failures, losses and switches.
//!
//! Opening and closing a device can block for seconds, so each is done on a short-lived thread of its own;
//! the audio thread only looks whether it is done. The old end is used until the new one is open; when that
//! fails, the old one stays. A device that was chosen and is away has the system's default in its place until
//! it is back. An end that could not be opened at all, or was lost, is tried again: when the devices change,
//! and every 2 s. One that can be opened, but gives nothing, is as good as away until it is plugged in again or chosen;
//! where there is nothing else, it is tried less and less often.

use std::thread::Thread;
use std::time::{Duration, Instant};

use super::job::Job;
use super::watch::Side;
use crate::ends::{DeviceError, MicUse, SpeakerUse};

/// From a device that could not be opened to trying it again.
const RETRY: Duration = Duration::from_secs(2);
/// One that gave nothing so often in a row will not.
const OFTEN: u32 = 2;
/// One that gives nothing is tried no more seldom than this many times [`RETRY`] apart.
const SELDOM: u32 = 15;
/// A device that does not open within this is given up; it may hang for ever.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long the owner waits at the end for a device that does not close.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// While so many openings hang nothing more is opened.
const HUNG: usize = 3;

/// The name of an end that a user can choose.
pub(crate) trait Choice: Clone + PartialEq + std::fmt::Debug + Send + 'static {
    /// Whether it stands for no end at all, and what that is called.
    fn nothing(&self) -> Option<&'static str>;
    /// The device picked by hand, if it is one.
    fn device(&self) -> Option<&str>;
    /// The system's default.
    fn default() -> Self;
}

macro_rules! choice {
    ($type:ident, $nothing:literal) => {
        impl Choice for $type {
            fn nothing(&self) -> Option<&'static str> {
                (*self == Self::None).then_some($nothing)
            }

            fn device(&self) -> Option<&str> {
                match self {
                    Self::Device(name) => Some(name),
                    _ => None,
                }
            }

            fn default() -> Self {
                Self::Default
            }
        }
    };
}
choice!(MicUse, "No microphone");
choice!(SpeakerUse, "No speaker");

/// Something that was opened.
pub(crate) trait Named {
    /// For people.
    fn name(&self) -> String;
    /// The device's id, if it is one.
    fn device(&self) -> Option<&str> {
        None
    }
    /// Whether any sound came of it, or went into it, since it was opened.
    fn gave(&self) -> bool {
        true
    }
}

/// What became of an end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change<U> {
    Opened(U, String),
    Failed(U, DeviceError),
    Lost(U, DeviceError),
    /// The default, of this name, is in the place of the one that was chosen, and why.
    FellBack(U, String, DeviceError),
}

/// Opens an end; given the thread to be woken when there is something to do.
pub(crate) type Open<U, E> = fn(&U, &Thread) -> Result<Box<E>, DeviceError>;

/// An end in use.
struct Current<U, E: ?Sized> {
    /// What was asked for: what the user chose or chose before, or the default in its place.
    used: U,
    end: Box<E>,
    /// Which life of the device it is; none while nobody has told.
    life: Option<u32>,
    /// To be opened anew although it is what is wanted.
    stale: bool,
}

/// Why the chosen end is not in use.
struct Trouble {
    error: DeviceError,
    /// Whether it was told; the same again is not.
    said: bool,
}

/// An end being opened.
struct Opening<U, E: ?Sized> {
    used: U,
    since: Instant,
    job: Job<Result<Box<E>, DeviceError>>,
}

/// What the user chose.
struct Wish<U> {
    what: U,
    /// Why it is not in use.
    trouble: Option<Trouble>,
    /// How often in a row it was opened and gave nothing.
    barren: u32,
}

/// See the module.
pub(crate) struct Opener<U, E: ?Sized> {
    label: &'static str,
    open: Open<U, E>,
    wake: Thread,
    wish: Wish<U>,
    /// The wish before, while nothing has come of the present one.
    prior: Option<Wish<U>>,
    current: Option<Current<U, E>>,
    opening: Option<Opening<U, E>>,
    /// Closing devices, and openings that were given up.
    closing: Vec<Job<()>>,
    hung: Vec<Job<Result<Box<E>, DeviceError>>>,
    /// Closed to make room for the chosen one, and opened again if that fails.
    fall_back: Option<U>,
    retry_at: Option<Instant>,
    /// The devices there are, once the watcher has told.
    side: Option<Side>,
}

impl<U: Choice, E: ?Sized + Named + Send + 'static> Opener<U, E> {
    /// Nothing is open until [`Opener::choose`].
    pub(crate) fn new(label: &'static str, nothing: U, open: Open<U, E>, wake: Thread) -> Self {
        Self {
            label,
            open,
            wake,
            wish: Wish { what: nothing, trouble: None, barren: 0 },
            prior: None,
            current: None,
            opening: None,
            closing: Vec::new(),
            hung: Vec::new(),
            fall_back: None,
            retry_at: None,
            side: None,
        }
    }

    pub(crate) fn current(&mut self) -> Option<&mut E> {
        self.current.as_mut().map(|current| &mut *current.end)
    }

    /// Whether the system's devices matter: the choice is one of them.
    pub(crate) fn needs_watch(&self) -> bool {
        self.wish.what.device().is_some() || self.wish.what == U::default()
    }

    /// From now on this one, please.
    pub(crate) fn choose(&mut self, choice: U, now: Instant) {
        let before = std::mem::replace(&mut self.wish, Wish { what: choice, trouble: None, barren: 0 });
        self.prior.get_or_insert(before);
        self.fall_back = None;
        self.retry_at = Some(now);
        if self.wish.what.nothing().is_some() {
            self.close_current();
        } else if let Some(current) = &mut self.current {
            current.stale = true;
        }
    }

    /// These are the devices now.
    pub(crate) fn news(&mut self, side: Side, now: Instant) -> Option<Change<U>> {
        if self.side.as_ref().is_none_or(|before| self.meant(before) != self.meant(&side)) {
            self.wish.barren = 0;
        }
        self.side = Some(side);
        if self.opening.is_some() || (self.current.is_none() && self.needs_watch()) {
            // Held against them once it is open.
            self.retry_at = Some(now);
        }
        self.compare(now)
    }

    /// The device that is wished for, and its life.
    fn meant<'a>(&self, side: &'a Side) -> Option<(&'a str, u32)> {
        let wanted = self.wish.what.device().or(side.default.as_deref())?;
        side.find(wanted).map(|seen| (seen.id.as_str(), seen.life))
    }

    /// Holds what is in use against what there is.
    fn compare(&mut self, now: Instant) -> Option<Change<U>> {
        let (side, current) = (self.side.as_ref()?, self.current.as_mut()?);
        let id = current.end.device()?;
        let life = side.life(id);
        let before = current.life;
        current.life = life.or(before);
        let gone = before.is_some() && life.is_none();
        let default = side.default.as_deref().filter(|default| side.life(default).is_some());
        let moved = current.used == U::default() && default.is_some_and(|default| default != id);
        if gone && !moved {
            let what = current.end.name();
            return self.lost(DeviceError::Lost { what, why: "it was unplugged".into() }, now);
        }
        let reborn = before.is_some() && life.is_some() && before != life;
        current.stale |= reborn || moved;
        let back = current.used != self.wish.what
            && self.wish.what.device().is_some_and(|wanted| side.find(wanted).is_some());
        if reborn || moved || back {
            self.retry_at = Some(now);
        }
        None
    }

    /// The current one failed in use.
    pub(crate) fn lost(&mut self, error: DeviceError, now: Instant) -> Option<Change<U>> {
        let Current { used, end, .. } = self.current.take()?;
        let (device, gave) = (end.device().is_some(), end.gave());
        self.close(end);
        match gave {
            true if used == self.wish.what => self.wish.barren = 0,
            true => {}
            false => self.wish.barren += 1,
        }
        // A device at once, or the default in its place; a file only later, and so where nothing gives anything.
        let wait = match (device, gave) {
            (true, true) => 0,
            (true, false) => self.wish.barren.saturating_sub(OFTEN).min(SELDOM),
            (false, _) => 1,
        };
        self.retry_at = Some(now + RETRY * wait);
        self.wish.trouble = Some(Trouble { error: error.clone(), said: true });
        Some(Change::Lost(used, error))
    }

    /// Gets on with it: what has changed since the last call.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Change<U>> {
        self.closing.retain(|job| job.poll().is_none());
        self.hung.retain(|job| !job.is_over());
        if let Some(opening) = self.opening.take() {
            return self.opening_goes_on(opening, now);
        }
        if self.retry_at.is_none_or(|at| at > now) {
            return None;
        }
        if let Some(name) = self.wish.what.nothing() {
            self.retry_at = None;
            return Some(Change::Opened(self.wish.what.clone(), name.into()));
        }
        let lost = self.compare(now);
        if lost.is_some() {
            return lost;
        }
        self.retry_at = None;
        let target = self.target();
        let fresh = self.current.as_ref().is_some_and(|current| current.used == target && !current.stale);
        if fresh { None } else { self.start(target, None, now) }
    }

    fn opening_goes_on(&mut self, opening: Opening<U, E>, now: Instant) -> Option<Change<U>> {
        let result = match opening.job.poll() {
            Some(Ok(result)) => result,
            Some(Err(())) => Err(self.broke(&opening.used, "opening it broke down")),
            None if now.saturating_duration_since(opening.since) < PATIENCE => {
                self.opening = Some(opening);
                return None;
            }
            None => {
                self.hung.push(opening.job);
                Err(self.broke(&opening.used, "it does not answer"))
            }
        };
        self.opened(opening.used, result, now)
    }

    /// What to open now: the chosen one, or the default where that is known to be away, or to give nothing.
    fn target(&self) -> U {
        let away = |side: &Side, wanted: &str| side.find(wanted).is_none();
        let barren = |side: &Side, wanted: &str| {
            let default = side.default.as_deref().and_then(|default| side.find(default));
            let other = default.is_some_and(|default| Some(default) != side.find(wanted));
            other && self.wish.barren >= OFTEN
        };
        let no_use = |side: &Side| {
            self.wish.what.device().is_some_and(|wanted| away(side, wanted) || barren(side, wanted))
        };
        if self.wish.trouble.is_some() && self.side.as_ref().is_some_and(no_use) {
            U::default()
        } else {
            self.wish.what.clone()
        }
    }

    fn broke(&self, used: &U, why: &str) -> DeviceError {
        let what = used.device().unwrap_or(self.label);
        DeviceError::Unusable { what: what.into(), why: why.into() }
    }

    /// Opens `used`, after closing `old`.
    fn start(&mut self, used: U, old: Option<Box<E>>, now: Instant) -> Option<Change<U>> {
        if self.hung.len() >= HUNG {
            self.retry_at = Some(now + RETRY);
            return None;
        }
        let (open, asked, wake) = (self.open, used.clone(), self.wake.clone());
        let name = format!("{} opener", self.label);
        let job = Job::start(&name, wake.clone(), move || {
            drop(old);
            open(&asked, &wake)
        });
        match job {
            Ok(job) => {
                self.opening = Some(Opening { used, since: now, job });
                None
            }
            Err(error) => {
                self.retry_at = Some(now + RETRY);
                let error = DeviceError::Unusable { what: self.label.into(), why: error.to_string() };
                Some(Change::Failed(used, error))
            }
        }
    }

    fn opened(&mut self, used: U, result: Result<Box<E>, DeviceError>, now: Instant) -> Option<Change<U>> {
        let in_trouble = self.wish.what.device().is_some() && self.wish.trouble.is_some();
        let stands_in = used == U::default() && in_trouble;
        if used != self.wish.what && !stands_in {
            // Something else was chosen meanwhile: `retry_at` is set and opens that.
            if let Ok(end) = result {
                self.close(end);
            }
            return None;
        }
        let error = match result {
            Ok(end) => return Some(self.begin(used, end)),
            Err(error) => error,
        };
        let busy = matches!(error, DeviceError::Busy { .. });
        if let Some(Current { used: old, end, .. }) = self.current.take_if(|_| busy && !stands_in) {
            // Perhaps it is we who hold it: close the old one first.
            self.fall_back = Some(old);
            return self.start(used, Some(end), now);
        }
        if stands_in { self.default_failed(now) } else { self.chosen_failed(error, now) }
    }

    /// Uses `end` from now on.
    fn begin(&mut self, used: U, end: Box<E>) -> Change<U> {
        self.close_current();
        (self.fall_back, self.prior) = (None, None);
        let name = end.name();
        let life = self.side.as_ref().zip(end.device()).and_then(|(side, id)| side.life(id));
        self.current = Some(Current { used: used.clone(), end, life, stale: false });
        match &mut self.wish.trouble {
            Some(trouble) if used != self.wish.what => {
                trouble.said = true;
                Change::FellBack(self.wish.what.clone(), name, trouble.error.clone())
            }
            _ => {
                self.wish.trouble = None;
                Change::Opened(used, name)
            }
        }
    }

    fn chosen_failed(&mut self, error: DeviceError, now: Instant) -> Option<Change<U>> {
        let failed = self.wish.what.clone();
        let (closed, prior) = (self.fall_back.take(), self.prior.take());
        let in_use = closed.clone().or_else(|| self.current.as_ref().map(|current| current.used.clone()));
        self.retry_at = Some(now + RETRY);
        match (in_use, prior) {
            (Some(_), Some(prior)) => {
                self.wish = prior;
                self.retry_at = closed.map(|_| now);
                return Some(Change::Failed(failed, error));
            }
            // What stands in for it goes on doing so.
            (Some(used), None) if used != failed => {
                return if closed.is_some() { self.start(used, None, now) } else { None };
            }
            (None, _) if failed.device().is_some() => {
                // Told when the default is open, or cannot be opened either.
                self.wish.trouble.get_or_insert(Trouble { error, said: false });
                return self.start(U::default(), None, now);
            }
            _ => {}
        }
        let again = self.wish.trouble.as_ref().is_some_and(|trouble| trouble.said && trouble.error == error);
        self.wish.trouble = Some(Trouble { error: error.clone(), said: true });
        (!again).then_some(Change::Failed(failed, error))
    }

    /// Neither the chosen device nor the default can be had.
    fn default_failed(&mut self, now: Instant) -> Option<Change<U>> {
        self.retry_at = Some(now + RETRY);
        let trouble = self.wish.trouble.as_mut().filter(|trouble| !trouble.said)?;
        trouble.said = true;
        Some(Change::Failed(self.wish.what.clone(), trouble.error.clone()))
    }

    fn close_current(&mut self) {
        if let Some(current) = self.current.take() {
            self.close(current.end);
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

    /// Closes everything and waits for it.
    pub(crate) fn finish(mut self) {
        self.close_current();
        if let Some(opening) = self.opening.take() {
            opening.job.finish(END_PATIENCE);
        }
        for job in self.closing.drain(..) {
            job.finish(END_PATIENCE);
        }
        for job in self.hung.drain(..) {
            job.finish(Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests;
