//! A bad network to call over: two hosts, each a network namespace, joined by an emulated link.
//!
//! Each host has one interface, `eth0`, behind which is not the kernel but [`Link`]'s thread: what a host
//! sends comes out of a TUN device, waits in the pure [`model::Pipe`] of its direction, and goes into the
//! other host's device. Programs are started in a host with [`Link::command`]; they see an ordinary network.
//! Needs root and `ip` of iproute2. Namespaces and interfaces go when the link is dropped; those of a process
//! that was killed go with the next link that comes up.

mod driver;
pub mod model;
pub(crate) mod netns;
mod sys;

use driver::Driver;
pub use model::{BIN, Bin, Counts, Loss, Trace, Way};
use netns::Namespace;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Namespaces and TUN devices are root's.
    #[error("a network namespace takes root: run as root, or with sudo ({0})")]
    NotAllowed(String),
    /// A tool failed.
    #[error("`{command}` failed ({said}): iproute2 and a kernel with network namespaces are needed")]
    Tool {
        /// What was run.
        command: String,
        /// What it answered.
        said: String,
    },
    /// The TUN device or the thread.
    #[error("no TUN device ({0}): /dev/net/tun must be there and open to us")]
    Tun(std::io::Error),
}

/// What the link does to packets, in each direction; the same seed gives the same losses.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// From the first host to the second.
    pub there: Way,
    /// From the second host to the first.
    pub back: Way,
    /// Seed of all that is random.
    pub seed: u64,
}

impl Conditions {
    /// The same in both directions.
    pub fn both(way: Way) -> Self {
        Self { there: way.clone(), back: way, seed: 1 }
    }
}

/// A part of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// For how long.
    pub lasts: Duration,
    /// What holds; the seed is that of the link.
    pub conditions: Conditions,
}

/// One of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// 10.77.0.1
    First,
    /// 10.77.0.2
    Second,
}

impl Host {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// Its address, in 10.77.0.0/24.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Self::First => Ipv4Addr::new(10, 77, 0, 1),
            Self::Second => Ipv4Addr::new(10, 77, 0, 2),
        }
    }
}

/// Two hosts and the link between them.
#[derive(Debug)]
pub struct Link {
    // Dropped in this order: the thread first, then what it reads and writes.
    driver: Driver,
    hosts: [Namespace; 2],
}

static LINKS: AtomicU32 = AtomicU32::new(0);

impl Link {
    /// Makes the hosts and joins them. Several links may be up at once.
    ///
    /// # Errors
    /// Without root, without `ip`, or without `/dev/net/tun`.
    pub fn up(conditions: Conditions) -> Result<Self, LinkError> {
        netns::sweep()?;
        let number = LINKS.fetch_add(1, Ordering::Relaxed);
        let host = |host: Host, letter: char| -> Result<_, LinkError> {
            let device = format!("sg{}{letter}{number}", std::process::id());
            let namespace = Namespace::new(&format!("snug-{}-{number}{letter}", std::process::id()))?;
            let tun = sys::open_tun(&device).map_err(LinkError::Tun)?;
            namespace.give(&device, host.address())?;
            Ok((namespace, tun))
        };
        let (first, first_tun) = host(Host::First, 'a')?;
        let (second, second_tun) = host(Host::Second, 'b')?;
        let driver = Driver::spawn([first_tun, second_tun], conditions).map_err(LinkError::Tun)?;
        Ok(Self { driver, hosts: [first, second] })
    }

    /// Changes what the link does, from now on, and ends a schedule. Packets under way keep their time, those
    /// queued stay queued.
    pub fn set(&self, conditions: Conditions) {
        self.driver.set(conditions);
    }

    /// Plays a schedule from now on; the conditions of its last step stay.
    pub fn play(&self, steps: &[Step]) {
        self.driver.play(steps);
    }

    /// What was sent and arrived when, there and back.
    pub fn traces(&self) -> [Trace; 2] {
        self.driver.traces()
    }

    /// Gives a host another address in place of the one it has, as when it moves to another network.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn move_to(&self, host: Host, address: Ipv4Addr) -> Result<(), LinkError> {
        let namespace = &self.hosts[host as usize];
        namespace.replace_address(address)
    }

    /// What was sent and lost so far, there and back.
    pub fn counts(&self) -> [Counts; 2] {
        self.driver.counts()
    }

    /// The name of a host's namespace, as `ip netns` takes it.
    pub fn namespace(&self, host: Host) -> &str {
        self.hosts[host as usize].name()
    }

    /// A command that will run in a host; the process id of what is started is the program's own.
    pub fn command(&self, host: Host, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace(host)]).arg(program);
        command
    }
}
