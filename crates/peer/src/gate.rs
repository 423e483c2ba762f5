//! The last door before the wire: no RTP packet of a slot that is off gets out.
//!
//! It stands wire-ward of everything that makes or holds packets (retransmissions, pacer), so what was
//! numbered before the slot went off is dropped here too; only numbering for congestion control is further
//! out, which must not number what never leaves.

use crate::tap::is_rtp_of;
use rtc::interceptor::{Interceptor, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Between the pacer (3000) and the numbering for congestion control (2000).
pub(crate) const GATE_SLOT: usize = 2_500;

/// One slot's door; shared by the slot, which opens and shuts it, and the interceptor.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) ssrc: u32,
    open: AtomicBool,
    dropped: AtomicU64,
}

impl Door {
    pub(crate) fn new(ssrc: u32) -> Arc<Self> {
        Arc::new(Self { ssrc, open: AtomicBool::new(true), dropped: AtomicU64::new(0) })
    }

    pub(crate) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

pub(crate) struct Gate {
    doors: Vec<Arc<Door>>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Gate {
    pub(crate) fn new(doors: Vec<Arc<Door>>) -> Self {
        Self { doors, reads: VecDeque::new(), writes: VecDeque::new() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Gate {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        let shut = self.doors.iter().find(|door| !door.is_open() && is_rtp_of(&packet, door.ssrc));
        match shut {
            Some(door) => {
                door.dropped.fetch_add(1, Ordering::Relaxed);
            }
            None => self.writes.push_back(packet),
        }
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for Gate {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::interceptor::{Attribute, AttributedPacket, Packet};
    use rtc::rtp;
    use rtc::shared::TransportContext;

    fn packet(ssrc: u32) -> TaggedPacket {
        let header = rtp::Header { version: 2, ssrc, ..Default::default() };
        let packet = Packet::Rtp(rtp::Packet { header, payload: bytes::Bytes::from_static(b"x") });
        let message = AttributedPacket::new(packet).with(Attribute::Retransmission);
        TaggedPacket { now: Instant::now(), transport: TransportContext::default(), message }
    }

    #[test]
    fn a_shut_door_drops_its_own_stream_and_no_other() {
        let (audio, video) = (Door::new(1), Door::new(2));
        let mut gate = Gate::new(vec![audio.clone(), video.clone()]);
        audio.set_open(false);
        gate.handle_write(packet(1)).unwrap();
        assert!(gate.poll_write().is_none());
        gate.handle_write(packet(2)).unwrap();
        assert!(gate.poll_write().is_some());
        audio.set_open(true);
        gate.handle_write(packet(1)).unwrap();
        assert!(gate.poll_write().is_some());
        assert_eq!((audio.dropped(), video.dropped()), (1, 0));
    }
}
