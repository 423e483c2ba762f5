//! Watches which sound devices the system has and which it uses when nobody says, and tells the audio thread.
//!
//! One thread, "sound watcher", owned by [`Watch`]. A sound server that speaks PulseAudio's protocol tells of
//! changes by itself; without one the list is looked at now and then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use super::cpal;

/// Without a sound server that tells of changes, they are looked for this often.
const LOOK: Duration = Duration::from_secs(if cfg!(target_os = "linux") { 1 } else { 2 });

/// A device that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// As in [`crate::ends::DeviceInfo`].
    pub(crate) id: String,
    /// For people.
    pub(crate) name: String,
    /// Another one each time the device comes back.
    pub(crate) life: u32,
}

/// The microphones, or the speakers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    /// The id of the one that the system uses when nobody says.
    pub(crate) default: Option<String>,
    pub(crate) devices: Vec<Seen>,
}

impl Side {
    /// Which life of this device it is; none while it is away.
    pub(crate) fn life(&self, id: &str) -> Option<u32> {
        self.devices.iter().find(|device| device.id == id).map(|device| device.life)
    }

    /// The device that a user means: see [`find`].
    pub(crate) fn find(&self, wanted: &str) -> Option<&Seen> {
        let named = self.devices.iter().map(|device| (device.id.as_str(), device.name.as_str()));
        find(named, wanted).and_then(|at| self.devices.get(at))
    }
}

/// Both sides at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Landscape {
    pub(crate) mics: Side,
    pub(crate) speakers: Side,
}

/// Which of the devices, each an id and a name, is meant: by id, else by name, else by a part of its name.
pub(crate) fn find<'a>(
    devices: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    wanted: &str,
) -> Option<usize> {
    let raw = |id: &'a str| id.split_once(':').map_or(id, |(_, raw)| raw);
    let part = wanted.to_lowercase();
    let by = |test: &dyn Fn(&'a str, &'a str) -> bool| devices.clone().position(|(id, name)| test(id, name));
    by(&|id, _| id == wanted || raw(id) == wanted)
        .or_else(|| by(&|id, _| unprofiled(id).is_some_and(|same| Some(same) == unprofiled(wanted))))
        .or_else(|| by(&|_, name| name == wanted))
        .or_else(|| by(&|_, name| !part.is_empty() && name.to_lowercase().contains(&part)))
}

/// A Bluetooth device's name without its profile: `bluez_sink.AA_BB_CC_DD_EE_FF.a2dp_sink` is the same
/// headset as `….handsfree_head_unit`, which it becomes while its microphone is in use.
fn unprofiled(id: &str) -> Option<&str> {
    let raw = id.split_once(':').map_or(id, |(_, raw)| raw);
    let (kind, rest) = raw.split_once('.')?;
    let address = rest.split('.').next()?;
    let bluetooth = matches!(kind, "bluez_sink" | "bluez_source" | "bluez_output" | "bluez_input");
    bluetooth.then(|| &raw[..kind.len() + 1 + address.len()])
}

/// What the thread and its owner share.
#[derive(Default)]
struct Board {
    /// Not yet taken by the owner; the latest wins.
    news: Option<Landscape>,
    stop: bool,
    /// The connection that the thread waits on, for its owner to end.
    #[cfg(target_os = "linux")]
    connection: Option<std::os::unix::net::UnixStream>,
}

/// The thread's half.
pub(crate) struct Teller {
    board: Arc<Mutex<Board>>,
    wake: Thread,
    last: Option<Landscape>,
}

impl Teller {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what is there, if it is news.
    pub(crate) fn tell(&mut self, landscape: Landscape) {
        if self.last.as_ref() == Some(&landscape) {
            return;
        }
        tracing::debug!(?landscape, "sound devices");
        self.last = Some(landscape.clone());
        self.board().news = Some(landscape);
        self.wake.unpark();
    }

    /// Whether the owner has had enough.
    pub(crate) fn stopped(&self) -> bool {
        self.board().stop
    }

    /// From now on the owner ends this connection when it wants the thread to end; false when it does already.
    #[cfg(target_os = "linux")]
    pub(crate) fn waits_on(&self, connection: std::os::unix::net::UnixStream) -> bool {
        let mut board = self.board();
        board.connection = Some(connection);
        !board.stop
    }
}

/// The owner's half. Dropping it ends the thread and waits for it.
pub(crate) struct Watch {
    board: Arc<Mutex<Board>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches from now on, and wakes `wake` when there is news.
    pub(crate) fn start(wake: Thread) -> Self {
        let board = Arc::new(Mutex::new(Board::default()));
        let teller = Teller { board: board.clone(), wake, last: None };
        let thread = std::thread::Builder::new().name("sound watcher".into()).spawn(move || run(teller));
        let thread =
            thread.inspect_err(|error| tracing::warn!(%error, "no thread to watch for sound devices")).ok();
        Self { board, thread }
    }

    /// What has changed since the last call.
    pub(crate) fn news(&self) -> Option<Landscape> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).news.take()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.stop = true;
        #[cfg(target_os = "linux")]
        if let Some(connection) = board.connection.take()
            && let Err(error) = connection.shutdown(std::net::Shutdown::Both)
        {
            // The server ended it first: the thread has noticed.
            tracing::debug!(%error, "the sound server's connection was over");
        }
        drop(board);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("watching for sound devices panicked");
            }
        }
    }
}

/// The thread "sound watcher".
fn run(mut teller: Teller) {
    // Listing ALSA's devices is slow: only after the cards have changed.
    let mut cards = None;
    while !teller.stopped() {
        #[cfg(target_os = "linux")]
        if super::pulse::listen(&mut teller) {
            // Lost: it may be restarting, so it is looked for once more before the cards are.
            cards = None;
            std::thread::park_timeout(LOOK);
            continue;
        }
        let now = cpal::cards();
        if now.is_none() || now != cards {
            teller.tell(cpal::landscape());
            cards = now;
        }
        std::thread::park_timeout(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(devices: &[(&str, &str)]) -> Side {
        let seen = |(id, name): &(&str, &str)| Seen { id: (*id).into(), name: (*name).into(), life: 1 };
        Side { default: None, devices: devices.iter().map(seen).collect() }
    }

    #[test]
    fn a_device_is_meant_by_id_before_name_before_a_part_of_it() {
        let side = side(&[("pulseaudio:a", "b"), ("pulseaudio:b", "Big Microphone"), ("alsa:hw:1,0", "x")]);
        let found = |wanted| side.find(wanted).map(|device| device.id.as_str());
        assert_eq!(found("pulseaudio:b"), Some("pulseaudio:b"));
        assert_eq!(found("b"), Some("pulseaudio:b"), "the raw id");
        assert_eq!(found("hw:1,0"), Some("alsa:hw:1,0"));
        assert_eq!(found("Big Microphone"), Some("pulseaudio:b"));
        assert_eq!(found("micro"), Some("pulseaudio:b"));
        assert_eq!(found(""), None);
        assert_eq!(found("speaker"), None);
    }

    #[test]
    fn a_headset_is_the_same_in_another_profile() {
        let hands_free = "pulseaudio:bluez_sink.AA_BB_CC_DD_EE_FF.handsfree_head_unit";
        let side = side(&[("pulseaudio:bluez_sink.11_22_33_44_55_66.a2dp_sink", "Other"), (hands_free, "H")]);
        let found = |wanted| side.find(wanted).map(|device| device.id.as_str());
        assert_eq!(found("pulseaudio:bluez_sink.AA_BB_CC_DD_EE_FF.a2dp_sink"), Some(hands_free));
        assert_eq!(found("pulseaudio:bluez_sink.AA_BB_CC_DD_EE_00.a2dp_sink"), None);
        assert_eq!(unprofiled("pulseaudio:alsa_output.pci-0000_00_1f.3.analog-stereo"), None);
    }

    #[test]
    fn the_watcher_ends_at_once_when_it_is_dropped() {
        let watch = Watch::start(std::thread::current());
        let dropped = std::time::Instant::now();
        drop(watch);
        assert!(dropped.elapsed() < LOOK * 20, "{:?}", dropped.elapsed());
    }
}
