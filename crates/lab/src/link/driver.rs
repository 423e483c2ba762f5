//! The thread "link": carries packets between the two TUN devices by the clock.

use super::model::{Counts, Pipe};
use super::{Conditions, sys};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Larger than any packet of the hosts, whose MTU is 1500.
const LARGEST_PACKET: usize = 2048;

#[derive(Debug, Default)]
struct Desk {
    /// To be taken up by the thread.
    wanted: Option<Conditions>,
    counts: [Counts; 2],
    over: bool,
}

/// Owns the thread; dropping stops and joins it.
#[derive(Debug)]
pub(super) struct Driver {
    desk: Arc<Mutex<Desk>>,
    bell: UnixStream,
    thread: Option<JoinHandle<()>>,
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver {
    pub(super) fn spawn(tuns: [File; 2], conditions: Conditions) -> io::Result<Self> {
        let (bell, heard) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        let desk = Arc::<Mutex<Desk>>::default();
        let carrier = Carrier {
            pipes: [
                Pipe::new(conditions.there, conditions.seed),
                Pipe::new(conditions.back, conditions.seed ^ 0x5555),
            ],
            tuns,
            desk: Arc::clone(&desk),
            bell: heard,
        };
        let thread = std::thread::Builder::new().name("link".into()).spawn(move || {
            if let Err(error) = carrier.run() {
                eprintln!("lab: the link stopped: {error}");
            }
        })?;
        Ok(Self { desk, bell, thread: Some(thread) })
    }

    pub(super) fn set(&self, conditions: Conditions) {
        lock(&self.desk).wanted = Some(conditions);
        self.ring();
    }

    pub(super) fn counts(&self) -> [Counts; 2] {
        lock(&self.desk).counts
    }

    fn ring(&self) {
        // overflow: a full socket has rung already.
        drop((&self.bell).write(&[1]));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        lock(&self.desk).over = true;
        self.ring();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Carrier {
    /// There and back.
    pipes: [Pipe; 2],
    /// The first host's and the second's.
    tuns: [File; 2],
    desk: Arc<Mutex<Desk>>,
    bell: UnixStream,
}

impl Carrier {
    fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; LARGEST_PACKET];
        loop {
            let now = Instant::now();
            let due = self.pipes.iter().filter_map(Pipe::next_due).min();
            let timeout = due.map(|due| due.saturating_duration_since(now));
            let [first, second] = &self.tuns;
            sys::wait([first.as_fd(), second.as_fd(), self.bell.as_fd()], timeout)?;
            if self.take_orders(&mut buffer) {
                return Ok(());
            }
            self.carry(&mut buffer)?;
        }
    }

    /// Whether to stop.
    fn take_orders(&mut self, buffer: &mut [u8]) -> bool {
        while matches!(self.bell.read(buffer), Ok(n) if n > 0) {}
        let mut desk = lock(&self.desk);
        desk.counts = [self.pipes[0].counts(), self.pipes[1].counts()];
        if let Some(Conditions { there, back, seed: _ }) = desk.wanted.take() {
            self.pipes[0].set(there);
            self.pipes[1].set(back);
        }
        desk.over
    }

    fn carry(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let now = Instant::now();
        for side in 0..2 {
            loop {
                match self.tuns[side].read(buffer) {
                    Ok(bytes) => self.pipes[side].push(buffer[..bytes].to_vec(), now),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        for side in 0..2 {
            while let Some(packet) = self.pipes[side].pop(now) {
                // A host that cannot take a packet loses it, as on any network; a host that is gone
                // shows when we read.
                drop(self.tuns[1 - side].write(&packet));
            }
        }
        Ok(())
    }
}
