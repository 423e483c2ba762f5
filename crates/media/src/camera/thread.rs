//! The camera's thread.

use super::source::{CameraSource, open};
use crate::ends::{CameraUse, DeviceError};
use crate::frame::Frame;
use crate::slot::Slot;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What became of a wish, or happened to the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraEvent {
    /// The source gives pictures.
    Opened {
        /// The source in use now.
        source: CameraUse,
        /// Its name for people.
        name: String,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// The source could not be opened.
    Failed {
        /// The source asked for.
        source: CameraUse,
        /// Why.
        error: DeviceError,
        /// The one before goes on; an `Opened` tells when it had to be opened again.
        fell_back: bool,
    },
    /// The source stopped. A device is tried again when it comes back.
    Lost {
        /// The source that was in use.
        source: CameraUse,
        /// Why.
        error: DeviceError,
    },
    /// No source is open any more, by wish.
    Closed,
}

/// What the owner wants.
#[derive(Default)]
struct Wish {
    source: CameraUse,
    on: bool,
    stop: bool,
    /// Counts the wishes.
    version: u64,
}

#[derive(Default)]
struct Shared {
    wish: Mutex<Wish>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wish> {
        // Nothing panics while holding the lock.
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Wish)) {
        let mut wish = self.lock();
        change(&mut wish);
        wish.version += 1;
        drop(wish);
        self.changed.notify_all();
    }
}

/// The thread "camera"; dropping it closes the camera and joins the thread.
pub struct Camera {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    /// Starts the thread, on, with no source: nothing is opened before [`Camera::use_source`]. Each picture
    /// goes to all `outputs`. `events` is called on the camera's thread and must not block.
    pub fn spawn(outputs: Vec<Slot<Frame>>, events: Box<dyn Fn(CameraEvent) + Send>) -> Camera {
        let wish = Wish { source: CameraUse::None, on: true, ..Wish::default() };
        let shared = Arc::new(Shared { wish: Mutex::new(wish), changed: Condvar::new() });
        let owned = shared.clone();
        let run = move || {
            Worker {
                shared: owned,
                outputs,
                events,
                seen: 0,
                chosen: CameraUse::None,
                open: None,
                retry: None,
            }
            .run();
        };
        let thread = std::thread::Builder::new()
            .name("camera".into())
            .spawn(run)
            .inspect_err(|error| tracing::error!(%error, "no thread for the camera: there is no own picture"))
            .ok();
        Camera { shared, thread }
    }

    /// Switches to another source. Never waits; of several wishes the latest wins.
    pub fn use_source(&self, source: CameraUse) {
        self.shared.change(|wish| wish.source = source);
    }

    /// Off closes the source, so that a device's light goes out, and keeps the choice; on opens it again.
    pub fn set_on(&self, on: bool) {
        self.shared.change(|wish| wish.on = on);
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.shared.change(|wish| wish.stop = true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the camera's thread panicked");
        }
    }
}

/// How long a device is waited for before wishes are looked at again.
const DEVICE_WAIT: Duration = Duration::from_millis(100);
/// How often a lost device is looked for.
const RETRY: Duration = Duration::from_secs(1);

struct Worker {
    shared: Arc<Shared>,
    outputs: Vec<Slot<Frame>>,
    events: Box<dyn Fn(CameraEvent) + Send>,
    /// The wishes carried out.
    seen: u64,
    /// The source in use, or to be used when on.
    chosen: CameraUse,
    open: Option<Box<dyn CameraSource>>,
    /// When to look for the lost device again.
    retry: Option<Instant>,
}

impl Worker {
    fn run(mut self) {
        while let Some(until) = self.wait() {
            match self.open.is_some() {
                true => self.picture(until),
                false => self.look_again(),
            }
        }
    }

    /// Carries out wishes until there is something else to do; the moment until which a device may be
    /// waited for. `None` at the end.
    fn wait(&mut self) -> Option<Instant> {
        let shared = self.shared.clone();
        let mut wish = shared.lock();
        loop {
            if wish.stop {
                return None;
            }
            if wish.version != self.seen {
                let (source, on) = (wish.source.clone(), wish.on);
                self.seen = wish.version;
                drop(wish);
                self.carry_out(&source, on);
                wish = shared.lock();
                // Wishes that came meanwhile are seen next; a source refused is no longer wished for.
                if wish.version == self.seen {
                    wish.source = self.chosen.clone();
                }
                continue;
            }
            let now = Instant::now();
            let due = match &self.open {
                Some(source) => match source.due() {
                    Some(due) => Some(due),
                    None => return Some(now + DEVICE_WAIT),
                },
                None => self.retry,
            };
            let left = due.map(|due| due.saturating_duration_since(now));
            if left.is_some_and(|left| left.is_zero()) {
                return Some(now);
            }
            wish = match left {
                Some(left) => match shared.changed.wait_timeout(wish, left) {
                    Ok((wish, _)) => wish,
                    Err(poisoned) => poisoned.into_inner().0,
                },
                None => shared.changed.wait(wish).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn carry_out(&mut self, source: &CameraUse, on: bool) {
        let running = self.open.is_some();
        if !on {
            self.chosen = source.clone();
            self.close();
            return;
        }
        if running && *source == self.chosen {
            return;
        }
        self.retry = None;
        // A device may be the same one under another name, and a camera opens only once; all else is
        // opened before the old source is closed, and costs no picture when it fails.
        let close_first = is_device(source) && is_device(&self.chosen);
        if close_first {
            self.open = None;
        }
        match open(source) {
            Ok(opened) => {
                self.chosen = source.clone();
                self.open = opened;
                match self.open.is_some() {
                    true => self.tell_opened(),
                    false => (self.events)(CameraEvent::Closed),
                }
            }
            Err(error) => self.fall_back(source, error, running && close_first),
        }
    }

    /// Keeps or reopens the source before one that failed.
    fn fall_back(&mut self, source: &CameraUse, error: DeviceError, reopen: bool) {
        if reopen && let Ok(opened) = open(&self.chosen) {
            self.open = opened;
        }
        let fell_back = self.open.is_some();
        if !fell_back {
            self.chosen = source.clone();
            self.retry = is_device(source).then(|| Instant::now() + RETRY);
        }
        (self.events)(CameraEvent::Failed { source: source.clone(), error, fell_back });
        if fell_back && reopen {
            self.tell_opened();
        }
    }

    fn close(&mut self) {
        self.retry = None;
        if self.open.take().is_some() {
            (self.events)(CameraEvent::Closed);
        }
    }

    fn tell_opened(&self) {
        if let Some(open) = &self.open {
            let (width, height) = open.size();
            let (source, name) = (self.chosen.clone(), open.name());
            (self.events)(CameraEvent::Opened { source, name, width, height });
        }
    }

    fn picture(&mut self, until: Instant) {
        let Some(source) = &mut self.open else { return };
        match source.next(until) {
            Ok(Some(frame)) => self.outputs.iter().for_each(|output| output.put(frame.clone())),
            Ok(None) => {}
            Err(error) => {
                self.open = None;
                self.retry = is_device(&self.chosen).then(|| Instant::now() + RETRY);
                (self.events)(CameraEvent::Lost { source: self.chosen.clone(), error });
            }
        }
    }

    /// Tries the device that is missing; says nothing before it is there.
    fn look_again(&mut self) {
        match open(&self.chosen) {
            Ok(opened) => {
                self.retry = None;
                self.open = opened;
                self.tell_opened();
            }
            Err(error) => {
                tracing::debug!(%error, "the camera is still not there");
                self.retry = Some(Instant::now() + RETRY);
            }
        }
    }
}

fn is_device(source: &CameraUse) -> bool {
    match source {
        CameraUse::Default | CameraUse::Device(_) => true,
        CameraUse::None | CameraUse::Pattern | CameraUse::File(_) => false,
    }
}
