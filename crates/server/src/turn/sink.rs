//! The way back to a client: datagrams by the socket it reached, or a stream with a bounded queue.

use crate::turn::refusal::Dropped;
use socket2::SockRef;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// Data that waits for a slow reader, in bytes: a quarter of a second of good video.
const MAX_DATA: usize = 64 * 1024;

/// What waits in all: answers still go where data does not.
const MAX_QUEUE: usize = MAX_DATA + 8 * 1024;

/// What a buffer may keep when it is empty.
const KEEP: usize = 16 * 1024;

/// Sends by the system at once; what it cannot take is lost, as datagrams are. (Tokio's `try_send_to` refuses
/// until its reactor has seen the socket, and so loses the first packets.)
pub(crate) fn send_now(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> Result<(), Dropped> {
    match SockRef::from(socket).send_to(bytes, &to.into()) {
        Ok(_) => Ok(()),
        // overflow: the socket's buffer is full, and the packet is dropped.
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(Dropped::Full),
        Err(error) => {
            tracing::debug!(%error, "a datagram cannot be sent");
            Err(Dropped::Unsent)
        }
    }
}

/// Where a client's answers and data go.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    Datagrams(Arc<UdpSocket>, SocketAddr),
    Stream(Arc<Outgoing>),
}

impl Sink {
    /// An answer.
    pub(crate) fn answer(&self, message: &[u8]) -> Result<(), Dropped> {
        match self {
            Self::Datagrams(socket, to) => send_now(socket, message, *to),
            Self::Stream(out) => out.push(message, MAX_QUEUE),
        }
    }

    /// A frame that carries data.
    pub(crate) fn data(&self, frame: &[u8]) -> Result<(), Dropped> {
        match self {
            Self::Datagrams(socket, to) => send_now(socket, frame, *to),
            Self::Stream(out) => out.push(frame, MAX_DATA),
        }
    }
}

/// What waits to be written to a stream.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Outgoing {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a frame, padded to four bytes as streams ask for.
    fn push(&self, frame: &[u8], most: usize) -> Result<(), Dropped> {
        let padded = frame.len().next_multiple_of(4);
        let mut queue = self.lock();
        // overflow: the newest is dropped; media that comes late is of no use anyway.
        if queue.is_closed || queue.bytes.len() + padded > most {
            return Err(Dropped::Full);
        }
        queue.bytes.extend_from_slice(frame);
        let padding = padded - frame.len();
        queue.bytes.extend_from_slice(&[0; 3][..padding]);
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    /// Nothing more comes: [`Outgoing::write`] ends when all is written.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Writes what comes, until it is closed and empty, or the stream fails.
    pub(crate) async fn write(&self, mut to: impl AsyncWrite + Unpin) -> std::io::Result<()> {
        let mut batch = Vec::new();
        loop {
            {
                let mut queue = self.lock();
                std::mem::swap(&mut queue.bytes, &mut batch);
                if batch.is_empty() && queue.is_closed {
                    break;
                }
            }
            if batch.is_empty() {
                self.changed.notified().await;
                continue;
            }
            to.write_all(&batch).await?;
            to.flush().await?;
            batch.clear();
            batch.shrink_to(KEEP);
        }
        to.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn a_reader_gets_all_frames_padded_and_in_order() {
        let (near, mut far) = tokio::io::duplex(16);
        let out = Arc::new(Outgoing::default());
        let sink = Sink::Stream(out.clone());
        sink.data(&[1, 2, 3, 4, 5]).unwrap();
        sink.answer(&[6, 7, 8, 9]).unwrap();
        out.close();
        let writing = tokio::spawn(async move { out.write(near).await });
        let mut read = vec![];
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [1, 2, 3, 4, 5, 0, 0, 0, 6, 7, 8, 9]);
        writing.await.unwrap().unwrap();
    }

    #[test]
    fn who_does_not_read_loses_data_but_still_gets_answers() {
        let out = Arc::new(Outgoing::default());
        let sink = Sink::Stream(out.clone());
        let taken = (0..10_000).filter(|_| sink.data(&[0; 1000]).is_ok()).count();
        assert_eq!(taken, MAX_DATA / 1000);
        sink.answer(&[0; 100]).unwrap();
        let answers = (0..1000).filter(|_| sink.answer(&[0; 100]).is_ok()).count();
        assert!((80..90).contains(&answers), "{answers}");
        assert!(out.lock().bytes.capacity() <= 2 * MAX_QUEUE);
    }
}
