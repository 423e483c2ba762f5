//! The sockets of relayed addresses: one each, and one task that reads it.

use crate::turn::engine::{Engine, indication};
use crate::turn::refusal::Dropped;
use crate::turn::sink::Sink;
use crate::turn::state::{Binder, Client};
use crate::turn::wire::{CHANNEL_HEADER, MAX_FRAME, write_channel_header};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// Packets that are read before others have their turn.
const BATCH: usize = 32;

/// A socket that is read as long as this lives.
#[derive(Debug)]
pub(crate) struct RelaySocket {
    socket: Arc<UdpSocket>,
    reader: AbortHandle,
}

impl RelaySocket {
    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }
}

impl Drop for RelaySocket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Opens sockets for one client.
pub(crate) struct Opening<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) client: Client,
    pub(crate) sink: &'a Sink,
}

impl Binder<Arc<RelaySocket>> for Opening<'_> {
    fn bind(&mut self, at: SocketAddr, id: u64) -> io::Result<Arc<RelaySocket>> {
        let socket = std::net::UdpSocket::bind(at)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let reader = Reader {
            engine: self.engine.clone(),
            socket: socket.clone(),
            client: self.client,
            id,
            sink: self.sink.clone(),
        };
        let reader = tokio::spawn(reader.run()).abort_handle();
        Ok(Arc::new(RelaySocket { socket, reader }))
    }
}

/// The buffers of a thread, so that an allocation needs none: a packet with room for a header before it, and
/// an indication.
struct Scratch {
    packet: Box<[u8]>,
    message: Box<[u8]>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        // One byte more than is taken shows what is too large.
        packet: vec![0; MAX_FRAME + 1].into(),
        message: vec![0; MAX_FRAME].into(),
    });
}

struct Reader {
    engine: Arc<Engine>,
    socket: Arc<UdpSocket>,
    client: Client,
    id: u64,
    sink: Sink,
}

impl Reader {
    async fn run(self) {
        while self.socket.readable().await.is_ok() {
            SCRATCH.with_borrow_mut(|scratch| {
                for _ in 0..BATCH {
                    let read = self.socket.try_recv_from(&mut scratch.packet[CHANNEL_HEADER..]);
                    // An error is one of an earlier packet, such as a port that nobody listens on.
                    let (length, from) = match read {
                        Ok(read) => read,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(_) => continue,
                    };
                    match self.pass_on(scratch, length, from) {
                        Ok(()) => self.engine.counters.to_client(length),
                        Err(dropped) => self.engine.counters.dropped(dropped),
                    }
                }
            });
            tokio::task::consume_budget().await;
        }
    }

    fn pass_on(&self, scratch: &mut Scratch, length: usize, from: SocketAddr) -> Result<(), Dropped> {
        let Scratch { packet, message } = scratch;
        let data_length = u16::try_from(length).ok().filter(|_| CHANNEL_HEADER + length <= MAX_FRAME);
        let data_length = data_length.ok_or(Dropped::Malformed)?;
        let now = Instant::now();
        let (peer, channel) = self.engine.state().receive(now, &self.client, self.id, from, length)?;
        let (header, rest) = packet.split_first_chunk_mut::<CHANNEL_HEADER>().ok_or(Dropped::Malformed)?;
        if let Some(number) = channel {
            write_channel_header(header, number, data_length);
            return self.sink.data(&packet[..CHANNEL_HEADER + length]);
        }
        let length = indication(message, peer, &rest[..length]).ok_or(Dropped::Malformed)?;
        self.sink.data(&message[..length])
    }
}
