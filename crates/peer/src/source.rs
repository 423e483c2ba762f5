//! The bounded queue between an encoder and a sender slot.

use crate::keyframe::KeyframeWanted;
use crate::{Encoded, Kind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Pictures that wait at most: half a second at 30 a second.
const VIDEO_QUEUE: usize = 16;
/// Opus packets that wait at most: half a second.
const AUDIO_QUEUE: usize = 25;

/// The frame was not taken: the queue is full (or nobody reads it any more). Pictures are then skipped up
/// to the next keyframe, which the slot asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sender does not keep up: frame dropped")]
pub struct Full;

#[derive(Debug, Default)]
struct Shared {
    /// The queue overflowed: pictures up to the next keyframe are of no use.
    skipping: AtomicBool,
    /// Whom to ask for a keyframe: the slot that reads.
    reader: Mutex<Option<Arc<KeyframeWanted>>>,
}

impl Shared {
    fn set_reader(&self, reader: Option<Arc<KeyframeWanted>>) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = reader;
    }

    fn ask(&self) {
        if let Some(reader) = &*self.reader.lock().unwrap_or_else(PoisonError::into_inner) {
            reader.raise();
        }
    }
}

/// The encoder's end of a source.
#[derive(Clone, Debug)]
pub struct SourceWriter {
    kind: Kind,
    queue: mpsc::Sender<Encoded>,
    shared: Arc<Shared>,
}

/// The end that goes into a [`SenderSlot`](crate::SenderSlot): W3C's track.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    queue: mpsc::Receiver<Encoded>,
    shared: Arc<Shared>,
}

/// A source of one kind, in no slot yet.
///
/// overflow: sound that finds the queue full is dropped; a picture too, with all that follow up to the next
/// keyframe. Other peers' queues are not touched.
pub fn source(kind: Kind) -> (SourceWriter, Source) {
    let room = match kind {
        Kind::Audio => AUDIO_QUEUE,
        Kind::Video => VIDEO_QUEUE,
    };
    let (sender, receiver) = mpsc::channel(room);
    let shared = Arc::<Shared>::default();
    (SourceWriter { kind, queue: sender, shared: shared.clone() }, Source { kind, queue: receiver, shared })
}

impl SourceWriter {
    /// Gives a frame to the slot. Never blocks; may be called from any thread.
    ///
    /// # Errors
    /// [`Full`], and the frame is dropped.
    pub fn write(&self, frame: Encoded) -> Result<(), Full> {
        let key = frame.key;
        let video = self.kind == Kind::Video;
        if video && !key && self.shared.skipping.load(Ordering::Relaxed) {
            self.shared.ask();
            return Err(Full);
        }
        match self.queue.try_send(frame) {
            Ok(()) => {
                self.shared.skipping.store(false, Ordering::Relaxed);
                Ok(())
            }
            Err(_) => {
                if video {
                    self.shared.skipping.store(true, Ordering::Relaxed);
                    self.shared.ask();
                }
                Err(Full)
            }
        }
    }

    /// Whether the other end is gone: its slot has another source, or the peer was dropped.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// What it carries.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Source {
    /// What it carries.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Into a slot. Sound that waited is old and forgotten; pictures are kept, as they may start with the
    /// only keyframe for a while.
    pub(crate) fn attach(&mut self, reader: Arc<KeyframeWanted>) {
        if self.kind == Kind::Audio {
            while self.queue.try_recv().is_ok() {}
        }
        self.shared.set_reader(Some(reader));
    }

    /// Whether the writer is gone and nothing waits.
    pub(crate) fn is_over(&self) -> bool {
        self.queue.is_closed() && self.queue.is_empty()
    }

    /// The next frame; `None` when the writer is gone. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Encoded> {
        self.queue.recv().await
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.shared.set_reader(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Instant;

    fn frame(key: bool) -> Encoded {
        Encoded { data: Bytes::from_static(b"x"), timestamp: 0, key, marker: false, captured: Instant::now() }
    }

    #[tokio::test]
    async fn a_full_picture_queue_skips_to_the_next_keyframe_and_asks_for_it() {
        let (writer, mut source) = source(Kind::Video);
        let wanted = Arc::<KeyframeWanted>::default();
        source.attach(wanted.clone());
        for n in 0..VIDEO_QUEUE {
            writer.write(frame(n == 0)).unwrap();
        }
        assert_eq!(writer.write(frame(false)), Err(Full));
        wanted.taken().await;
        source.next().await.unwrap();
        assert_eq!(writer.write(frame(false)), Err(Full), "a picture without the one before it");
        writer.write(frame(true)).unwrap();
        source.next().await.unwrap();
        writer.write(frame(false)).unwrap();
    }

    #[tokio::test]
    async fn a_full_sound_queue_drops_the_newcomer_only() {
        let (writer, mut source) = source(Kind::Audio);
        for _ in 0..AUDIO_QUEUE {
            writer.write(frame(false)).unwrap();
        }
        assert_eq!(writer.write(frame(false)), Err(Full));
        source.next().await.unwrap();
        writer.write(frame(false)).unwrap();
        drop(source);
        assert!(writer.is_closed());
        assert_eq!(writer.write(frame(false)), Err(Full));
    }
}
