//! One UDP socket of the stack, watched: strangers are not heard, and TURN servers on streams are reached.

use super::Net;
use super::stream::{INBOUND, Inbound, OUTBOUND, Stream};
use super::stun::{ALLOCATE_SUCCESS, Message};
use bytes::Bytes;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::sync::mpsc;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// So many batches of strangers' packets are thrown away before other tasks have their turn.
const STRANGERS_AT_ONCE: usize = 32;

#[derive(Debug)]
pub(super) struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    local: SocketAddr,
    net: Net,
    /// A TURN server gave this socket an allocation over UDP.
    udp_relays: Arc<AtomicBool>,
    /// As many as there are servers on streams.
    streams: Mutex<Vec<(SocketAddr, mpsc::Sender<Bytes>)>>,
    inbound: Mutex<mpsc::Receiver<Inbound>>,
    into: mpsc::Sender<Inbound>,
}

impl Socket {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, net: Net) -> io::Result<Self> {
        let local = inner.local_addr()?;
        let (into, inbound) = mpsc::channel(INBOUND);
        Ok(Self {
            inner,
            local,
            net,
            udp_relays: Arc::default(),
            streams: Mutex::default(),
            inbound: Mutex::new(inbound),
            into,
        })
    }

    /// overflow: dropped, as in [`OUTBOUND`].
    fn put_on_stream(&self, made: SocketAddr, packet: &[u8]) -> bool {
        let mut streams = super::lock(&self.streams);
        if !streams.iter().any(|(to, _)| *to == made) {
            let Some(server) = self.net.stream_server(made) else { return false };
            let (sender, outbound) = mpsc::channel(OUTBOUND);
            let stream = Stream {
                server,
                made,
                local: self.local.ip(),
                tls: self.net.tls(),
                udp_too: self.net.has_udp_relay(),
                udp_relays: self.udp_relays.clone(),
                inbound: self.into.clone(),
                lost: self.net.lost(),
            };
            tokio::spawn(stream.run(outbound));
            streams.push((made, sender));
        }
        if let Some((_, sender)) = streams.iter().find(|(to, _)| *to == made)
            && sender.try_send(Bytes::copy_from_slice(packet)).is_err()
        {
            self.net.count_dropped(1);
        }
        true
    }

    /// Takes strangers' packets out of a batch of which each has `stride` bytes but the last, which may have
    /// fewer. How many bytes are left.
    fn sift(&self, batch: &mut [u8], stride: usize, from: SocketAddr) -> usize {
        let (mut kept, mut at, mut strange) = (0, 0, 0);
        let (mut filter, now) = (self.net.filter(), Instant::now());
        let server = filter.is_server(from);
        while at < batch.len() {
            let end = (at + stride.max(1)).min(batch.len());
            let packet = &batch[at..end];
            if filter.lets_in(packet, self.local, from, now) {
                if server && is_allocation(packet) {
                    self.udp_relays.store(true, Ordering::Relaxed);
                    self.net.relays();
                }
                batch.copy_within(at..end, kept);
                kept += end - at;
            } else {
                strange += 1;
            }
            at = end;
        }
        drop(filter);
        self.net.count_dropped(strange);
        kept
    }

    fn poll_streams(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<(usize, SocketAddr)> {
        loop {
            // Never closed: we hold a sender.
            let Some((from, packet)) = ready!(super::lock(&self.inbound).poll_recv(cx)) else {
                return Poll::Pending;
            };
            if packet.len() <= buf.len()
                && self.net.filter().lets_in(&packet, self.local, from, Instant::now())
            {
                if is_allocation(&packet) {
                    self.net.relays();
                }
                buf[..packet.len()].copy_from_slice(&packet);
                return Poll::Ready((packet.len(), from));
            }
            self.net.count_dropped(1);
        }
    }
}

fn is_allocation(packet: &[u8]) -> bool {
    Message::read(packet).is_some_and(|message| message.kind == ALLOCATE_SUCCESS)
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let (contents, to) = (transmit.contents, transmit.destination);
        let each = transmit.segment_size.unwrap_or(contents.len()).max(1);
        {
            let mut filter = self.net.filter();
            if !contents.chunks(each).all(|packet| filter.lets_out(packet, self.local, to)) {
                self.net.count_dropped(1);
                return Poll::Ready(Ok(contents.len()));
            }
        }
        if self.net.is_made(to) {
            for packet in contents.chunks(each) {
                if !self.put_on_stream(to, packet) {
                    break;
                }
            }
            return Poll::Ready(Ok(contents.len()));
        }
        self.inner.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let ([buf, ..], [meta, ..]) = (bufs, meta) else { return Poll::Ready(Ok(0)) };
        if let Poll::Ready((length, from)) = self.poll_streams(cx, buf) {
            *meta = RecvMeta::default();
            (meta.len, meta.stride, meta.addr) = (length, length.max(1), from);
            return Poll::Ready(Ok(1));
        }
        for _ in 0..STRANGERS_AT_ONCE {
            let (bufs, metas) = (std::slice::from_mut(buf), std::slice::from_mut(meta));
            let count = ready!(self.inner.poll_recv(cx, bufs, metas))?;
            if count == 0 {
                continue;
            }
            let length = meta.len.min(buf.len());
            let kept = self.sift(&mut buf[..length], meta.stride, meta.addr);
            if kept > 0 {
                meta.len = kept;
                return Poll::Ready(Ok(1));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}
