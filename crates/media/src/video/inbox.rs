//! The queue between whoever receives packets and the decoder's thread.

use crate::rtp::RtpPacket;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Default)]
struct State {
    packets: VecDeque<RtpPacket>,
    overflowed: u64,
    cleared: bool,
    closed: bool,
}

/// What the decoder's thread is to do.
pub(super) enum Wake {
    /// There are packets, or it is time.
    Work,
    /// Forget the picture; packets taken along came after that.
    Clear,
    /// Stop.
    Close,
}

/// Puts received packets in; clones share one decoder.
///
/// overflow: with 512 packets waiting a further one is dropped and counted; the assembler sees a loss.
#[derive(Clone, Default)]
pub struct RtpInlet(Arc<(Mutex<State>, Condvar)>);

impl RtpInlet {
    /// Packets that wait at most: a second and more of video.
    pub const CAPACITY: usize = 512;

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a packet over; never waits.
    pub fn push(&self, packet: RtpPacket) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if state.packets.len() >= Self::CAPACITY {
            state.overflowed += 1;
            return;
        }
        state.packets.push_back(packet);
        let first = state.packets.len() == 1;
        drop(state);
        if first {
            self.0.1.notify_one();
        }
    }

    /// Packets dropped because the decoder was too slow.
    pub fn overflowed(&self) -> u64 {
        self.lock().overflowed
    }

    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.packets.clear();
        state.cleared = true;
        drop(state);
        self.0.1.notify_one();
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.packets.clear();
        drop(state);
        self.0.1.notify_one();
    }

    /// Waits for something to do, until `deadline` if there is one; swaps the packets into `batch`, which
    /// is empty.
    pub(super) fn wait(&self, deadline: Option<Instant>, batch: &mut VecDeque<RtpPacket>) -> Wake {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Wake::Close;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let due = left.is_some_and(|left| left.is_zero());
            if state.cleared || !state.packets.is_empty() || due {
                std::mem::swap(&mut state.packets, batch);
                return if std::mem::take(&mut state.cleared) { Wake::Clear } else { Wake::Work };
            }
            state = match left {
                Some(left) => match self.0.1.wait_timeout(state, left) {
                    Ok((state, _)) => state,
                    Err(poisoned) => poisoned.into_inner().0,
                },
                None => self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn packet(seq: u16) -> RtpPacket {
        let arrived = Instant::now();
        RtpPacket { seq, timestamp: 0, marker: false, payload: Bytes::new(), arrived, sender_us: None }
    }

    #[test]
    fn what_overflows_is_dropped_and_counted() {
        let inlet = RtpInlet::default();
        (0..600).for_each(|seq| inlet.push(packet(seq)));
        assert_eq!(inlet.overflowed(), 600 - RtpInlet::CAPACITY as u64);
        let mut batch = VecDeque::new();
        assert!(matches!(inlet.wait(None, &mut batch), Wake::Work));
        assert_eq!((batch.len(), batch[0].seq), (RtpInlet::CAPACITY, 0));
    }

    #[test]
    fn clearing_drops_what_waits_and_closing_is_final() {
        let inlet = RtpInlet::default();
        inlet.push(packet(1));
        inlet.clear();
        inlet.push(packet(2));
        let mut batch = VecDeque::new();
        assert!(matches!(inlet.wait(None, &mut batch), Wake::Clear));
        assert_eq!((batch.len(), batch[0].seq), (1, 2));
        inlet.close();
        inlet.push(packet(3));
        batch.clear();
        assert!(matches!(inlet.wait(None, &mut batch), Wake::Close));
        assert!(batch.is_empty());
    }
}
