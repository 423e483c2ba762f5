//! The lock-free rings between device callbacks and the audio thread. The callbacks' halves neither lock
//! nor allocate; waking the thread is one atomic and at most one system call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;

use rtrb::{Consumer, Producer, RingBuffer};

/// What callback and audio thread know of each other.
pub(crate) struct Gauge {
    /// Frames that went through the callback since the beginning.
    pub(crate) moved: AtomicU64,
    /// Frames dropped because the ring was full (microphone), or played silent because it was empty.
    pub(crate) missed: AtomicU64,
    /// The largest call since this was last taken, in frames.
    pub(crate) largest: AtomicUsize,
    /// Frames that a sound server was asked to keep beyond what it kept before, since this was last taken.
    pub(crate) kept_more: AtomicUsize,
    /// The microphone wakes the thread once so many frames are in the ring.
    pub(crate) wake_at: AtomicUsize,
    /// Times that the device ran dry, or over, because its callback came too late.
    pub(crate) stumbles: AtomicUsize,
    /// The device said that it is over.
    pub(crate) failed: AtomicBool,
    wake: Thread,
}

impl Gauge {
    fn new(wake: &Thread) -> Arc<Self> {
        Arc::new(Self {
            moved: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            largest: AtomicUsize::new(0),
            kept_more: AtomicUsize::new(0),
            wake_at: AtomicUsize::new(0),
            stumbles: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            wake: wake.clone(),
        })
    }

    fn called(&self, frames: usize, missed: usize) {
        self.moved.fetch_add(frames as u64, Ordering::Relaxed);
        self.largest.fetch_max(frames, Ordering::Relaxed);
        if missed > 0 {
            self.missed.fetch_add(missed as u64, Ordering::Relaxed);
        }
    }

    /// To be called when the device reports its end.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        self.wake.unpark();
    }
}

/// What a microphone gave at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// What a voice is best heard by.
    pub(crate) mono: f32,
    /// Left and right; the same as `mono` twice where there are not two.
    pub(crate) wide: [f32; 2],
}

/// The microphone callback's half.
pub(crate) struct MicFeed {
    producer: Producer<Heard>,
    gauge: Arc<Gauge>,
}

/// The speaker callback's half.
pub(crate) struct SpeakerFeed {
    consumer: Consumer<[f32; 2]>,
    gauge: Arc<Gauge>,
}

/// A ring from a microphone's callback; `capacity` in frames.
// overflow: frames that find no room are dropped and counted; the timestamps leave them out (`Mic::skip`).
pub(crate) fn from_mic(capacity: usize, wake: &Thread) -> (MicFeed, Consumer<Heard>, Arc<Gauge>) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let gauge = Gauge::new(wake);
    (MicFeed { producer, gauge: gauge.clone() }, consumer, gauge)
}

/// A ring to a speaker's callback; `capacity` in frames.
// overflow: the audio thread writes only up to a level far below the capacity; what finds no room is left out.
pub(crate) fn to_speaker(capacity: usize, wake: &Thread) -> (SpeakerFeed, Producer<[f32; 2]>, Arc<Gauge>) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let gauge = Gauge::new(wake);
    (SpeakerFeed { consumer, gauge: gauge.clone() }, producer, gauge)
}

impl MicFeed {
    /// Takes the `frames` that the device gave.
    pub(crate) fn write(&mut self, frames: usize, heard: impl Iterator<Item = Heard>) {
        let room = self.producer.slots().min(frames);
        if let Ok(chunk) = self.producer.write_chunk_uninit(room) {
            chunk.fill_from_iter(heard);
        }
        self.gauge.called(frames, frames - room);
        let used = self.producer.buffer().capacity() - self.producer.slots();
        if used >= self.gauge.wake_at.load(Ordering::Relaxed) {
            self.gauge.wake.unpark();
        }
    }
}

impl SpeakerFeed {
    /// Gives the device `frames` frames, left and right, each to `each`; silence when there are no more.
    pub(crate) fn read(&mut self, frames: usize, mut each: impl FnMut([f32; 2])) {
        let there = self.consumer.slots().min(frames);
        if let Ok(chunk) = self.consumer.read_chunk(there) {
            chunk.into_iter().for_each(&mut each);
        }
        (there..frames).for_each(|_| each([0.0; 2]));
        self.gauge.called(frames, frames - there);
        self.gauge.wake.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_the_rest_comes_through_in_order() {
        let (mut feed, mut ring, gauge) = from_mic(4, &std::thread::current());
        let heard = |mono: f32| Heard { mono, wide: [mono, -mono] };
        feed.write(6, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(heard).into_iter());
        assert_eq!(gauge.missed.load(Ordering::Relaxed), 2);
        let mut got = [Heard::default(); 4];
        assert_eq!(ring.pop_partial_slice(&mut got).0.len(), 4);
        assert_eq!(got, [1.0, 2.0, 3.0, 4.0].map(heard));
        feed.write(2, [7.0, 8.0].map(heard).into_iter());
        assert_eq!((ring.pop(), ring.pop()), (Ok(heard(7.0)), Ok(heard(8.0))));
    }

    #[test]
    fn an_empty_ring_plays_silence() {
        let (mut feed, mut ring, gauge) = to_speaker(8, &std::thread::current());
        ring.push([0.5, -0.5]).unwrap();
        let mut heard = Vec::new();
        feed.read(3, |x| heard.push(x));
        assert_eq!(heard, [[0.5, -0.5], [0.0; 2], [0.0; 2]]);
        assert_eq!((gauge.missed.load(Ordering::Relaxed), gauge.moved.load(Ordering::Relaxed)), (2, 3));
    }
}
