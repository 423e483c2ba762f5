//! The wire between two ends on this machine: when which packet of sound passed, and how large it was. What is in it
//! is encrypted, but whether it is silence or sound its size tells.

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketType, eth, recv, socket, sockopt};
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long it may take to notice that nobody wants more.
const NOTICE: Duration = Duration::from_millis(100);
/// Packets remembered at most: ten minutes of both directions; later ones are not.
const MOST: usize = 60_000;
/// Bytes of an IPv6 header, of UDP's, and of RTP's.
const IP6: usize = 40;
const UDP: usize = 8;
const RTP: usize = 12;
/// Silence takes Snug and Chromium 80 bytes and less, with the header's extensions; a chirp takes 110 and more.
const LOUD: usize = 95;
/// A chirp is in so many packets at most; whoever sends more has something else to say.
const CHIRP: usize = 12;

/// A packet of RTP that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) when: Instant,
    pub(crate) source: u32,
    pub(crate) seq: u16,
    /// Bytes after the fixed header.
    pub(crate) size: usize,
}

/// Looks at what passes until it is finished or dropped.
pub(crate) struct Tap {
    over: Arc<AtomicBool>,
    task: Option<JoinHandle<Result<Vec<Passed>>>>,
}

impl Tap {
    /// # Errors
    /// Without root's rights.
    pub(crate) fn start() -> Result<Self> {
        let socket = match socket(AddressFamily::PACKET, SocketType::DGRAM, Some(eth::ALL)) {
            Err(Errno::PERM) => bail!("only root may look at what passes on the wire: run this as root"),
            socket => socket.context("cannot look at what passes on the wire")?,
        };
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(NOTICE))?;
        let over = Arc::new(AtomicBool::new(false));
        let flag = over.clone();
        let task = Builder::new().name("wire".into()).spawn(move || look(&socket, &flag))?;
        Ok(Self { over, task: Some(task) })
    }

    /// What passed, in order.
    pub(crate) fn finish(mut self) -> Result<Vec<Passed>> {
        self.over.store(true, Ordering::Relaxed);
        let task = self.task.take().context("finished twice")?;
        task.join().map_err(|_| anyhow::anyhow!("looking at the wire ended badly"))?
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Nobody is left to be told how it ended.
        let _ = self.task.take().map(JoinHandle::join);
    }
}

fn look(socket: &OwnedFd, over: &AtomicBool) -> Result<Vec<Passed>> {
    let (mut all, mut known, mut bytes) = (Vec::new(), HashSet::new(), [0; 2048]);
    while !over.load(Ordering::Relaxed) {
        let length = match recv(socket, &mut bytes, RecvFlags::empty()) {
            Ok((_, length)) => length.min(bytes.len()),
            Err(Errno::AGAIN | Errno::INTR) => continue,
            Err(error) => return Err(error).context("the wire cannot be looked at any more"),
        };
        let when = Instant::now();
        let Some((source, seq, size)) = parse(&bytes[..length]) else { continue };
        // On loopback each is seen as it leaves and as it comes.
        if all.len() < MOST && known.insert((source, seq)) {
            all.push(Passed { when, source, seq, size });
        }
    }
    Ok(all)
}

/// The source, number and size of a packet of RTP in UDP in IP.
fn parse(packet: &[u8]) -> Option<(u32, u16, usize)> {
    let (header, next) = match *packet.first()? {
        first @ 0x45..=0x4f => (usize::from(first & 15) * 4, packet.get(9)?),
        0x60..=0x6f => (IP6, packet.get(6)?),
        _ => return None,
    };
    if *next != 17 {
        return None;
    }
    let rtp = packet.get(header + UDP..)?;
    let size = rtp.len().checked_sub(RTP)?;
    // Version 2, and not RTCP, whose types are 192 to 223 (RFC 5761).
    let other = rtp[0] >> 6 != 2 || (192..=223).contains(&rtp[1]);
    let word = |at: usize| u16::from_be_bytes([rtp[at], rtp[at + 1]]);
    (!other).then(|| (u32::from(word(8)) << 16 | u32::from(word(10)), word(2), size))
}

/// Seconds from each of these moments, at which chirps began, to the first packet after it that was not of silence,
/// within `within` seconds; of the source that has such packets after the most of them, and not all the time.
pub(crate) fn first_after(passed: &[Passed], moments: &[Instant], within: f64) -> Vec<f64> {
    let sources: HashSet<u32> = passed.iter().map(|packet| packet.source).collect();
    let found = sources.into_iter().filter_map(|source| {
        let loud = passed.iter().filter(|packet| packet.source == source && packet.size > LOUD);
        let loud: Vec<Instant> = loud.map(|packet| packet.when).collect();
        let first = |moment: &Instant| {
            let when = loud.get(loud.partition_point(|when| when < moment))?;
            let after = (*when - *moment).as_secs_f64();
            (after <= within).then_some(after)
        };
        let chirps = loud.len() <= moments.len() * CHIRP;
        chirps.then(|| moments.iter().filter_map(first).collect::<Vec<f64>>())
    });
    found.max_by_key(Vec::len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(six: bool, kind: u8, source: u32, seq: u16, size: usize) -> Vec<u8> {
        let (header, first, next) = if six { (IP6, 0x60, 6) } else { (20, 0x45, 9) };
        let mut out = vec![0; header + UDP + RTP + size];
        (out[0], out[next]) = (first, 17);
        let rtp = &mut out[header + UDP..];
        (rtp[0], rtp[1]) = (0x80, kind);
        rtp[2..4].copy_from_slice(&seq.to_be_bytes());
        rtp[8..12].copy_from_slice(&source.to_be_bytes());
        out
    }

    #[test]
    fn sound_is_told_from_all_else_and_nothing_short_is_read_past_its_end() {
        for six in [false, true] {
            let sound = packet(six, 111, 0x0102_0304, 770, 60);
            assert_eq!(parse(&sound), Some((0x0102_0304, 770, 60)));
            assert_eq!(parse(&packet(six, 200, 1, 2, 60)), None, "RTCP");
            for length in 0..sound.len() - 60 {
                assert_eq!(parse(&sound[..length]), None);
            }
        }
    }

    #[test]
    fn the_first_packet_of_a_chirp_is_found_beside_silence_and_somebody_who_talks() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let source = |source, loud: std::ops::Range<u16>| {
            (0..100u16).map(move |seq| {
                let size = if loud.contains(&seq) { 120 } else { 75 };
                Passed { when: at(u64::from(seq) * 20 + u64::from(source)), source, seq, size }
            })
        };
        let passed: Vec<Passed> = source(1, 50..55).chain(source(2, 0..100)).chain(source(3, 0..0)).collect();
        assert_eq!(first_after(&passed, &[at(989), at(1200)], 0.5), [0.012]);
    }
}
