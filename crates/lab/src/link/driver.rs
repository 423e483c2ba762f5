//! The thread "link": carries packets between the two TUN devices by the clock.

use super::model::{Counts, Pipe, Trace};
use super::{Conditions, Step, sys};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Larger than any packet of the hosts, whose MTU is 1500.
const LARGEST_PACKET: usize = 2048;

/// What the thread and the owner share.
#[derive(Debug)]
struct Desk {
    /// There and back.
    pipes: [Pipe; 2],
    /// What comes when; as long as the schedule that was given.
    steps: VecDeque<(Instant, Conditions)>,
    over: bool,
}

impl Desk {
    fn set(&mut self, conditions: Conditions, now: Instant) {
        self.pipes[0].set(conditions.there, now);
        self.pipes[1].set(conditions.back, now);
    }

    /// Takes the steps whose time has come.
    fn follow_schedule(&mut self, now: Instant) {
        while let Some((_, conditions)) = self.steps.pop_front_if(|(at, _)| *at <= now) {
            self.set(conditions, now);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let step = self.steps.front().map(|(at, _)| *at);
        self.pipes.iter().map(Pipe::next_due).chain([step]).flatten().min()
    }
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
        let now = Instant::now();
        let Conditions { there, back, seed } = conditions;
        let pipes = [Pipe::new(there, seed, now), Pipe::new(back, seed ^ 0x5555, now)];
        let desk = Arc::new(Mutex::new(Desk { pipes, steps: VecDeque::new(), over: false }));
        let carrier = Carrier { tuns, desk: Arc::clone(&desk), bell: heard };
        let thread = std::thread::Builder::new().name("link".into()).spawn(move || {
            if let Err(error) = carrier.run() {
                eprintln!("lab: the link stopped: {error}");
            }
        })?;
        Ok(Self { desk, bell, thread: Some(thread) })
    }

    pub(super) fn set(&self, conditions: Conditions) {
        let mut desk = lock(&self.desk);
        desk.steps.clear();
        desk.set(conditions, Instant::now());
        drop(desk);
        self.ring();
    }

    /// Plays the steps one after another, from now on; the last one's conditions stay.
    pub(super) fn play(&self, steps: &[Step]) {
        let mut at = Instant::now();
        let mut desk = lock(&self.desk);
        desk.steps.clear();
        for step in steps {
            desk.steps.push_back((at, step.conditions.clone()));
            at += step.lasts;
        }
        drop(desk);
        self.ring();
    }

    pub(super) fn counts(&self) -> [Counts; 2] {
        lock(&self.desk).pipes.each_ref().map(Pipe::counts)
    }

    pub(super) fn traces(&self) -> [Trace; 2] {
        lock(&self.desk).pipes.each_ref().map(|pipe| pipe.trace().clone())
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
    /// The first host's and the second's.
    tuns: [File; 2],
    desk: Arc<Mutex<Desk>>,
    bell: UnixStream,
}

impl Carrier {
    fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; LARGEST_PACKET];
        loop {
            let due = lock(&self.desk).next_due();
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
            let [first, second] = &self.tuns;
            sys::wait([first.as_fd(), second.as_fd(), self.bell.as_fd()], timeout)?;
            while matches!(self.bell.read(&mut buffer), Ok(n) if n > 0) {}
            let desk = Arc::clone(&self.desk);
            let mut desk = lock(&desk);
            if desk.over {
                return Ok(());
            }
            self.carry(&mut desk, &mut buffer)?;
        }
    }

    fn carry(&mut self, desk: &mut Desk, buffer: &mut [u8]) -> io::Result<()> {
        let now = Instant::now();
        desk.follow_schedule(now);
        for side in 0..2 {
            loop {
                match self.tuns[side].read(buffer) {
                    Ok(bytes) => desk.pipes[side].push(buffer[..bytes].to_vec(), now),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        for side in 0..2 {
            while let Some(packet) = desk.pipes[side].pop(now) {
                // A host that cannot take a packet loses it, as on any network; a host that is gone
                // shows when we read.
                drop(self.tuns[1 - side].write(&packet));
            }
        }
        Ok(())
    }
}
