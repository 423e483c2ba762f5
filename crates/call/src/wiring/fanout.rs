//! What is encoded once goes to every peer: each has a bounded queue of its own, so a slow one holds up
//! nobody else.

use crate::machine::PeerKey;
use media::{AudioPacket, EncodedFrame};
use peer::{Backlog, Encoded, SourceWriter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A picture is left out while earlier ones need longer than this to leave.
const BEHIND: Duration = Duration::from_millis(120);

/// Where one peer's share goes.
struct Branch {
    key: PeerKey,
    audio: SourceWriter,
    video: SourceWriter,
    backlog: Backlog,
}

#[derive(Default)]
struct Branches {
    all: Vec<Branch>,
    /// When sound left last.
    sound: Option<Instant>,
}

/// The list of branches, shared by the encoder's and the audio thread; held locked only for the hand-over.
#[derive(Clone, Default)]
pub(super) struct Fanout(Arc<Mutex<Branches>>);

impl Fanout {
    fn branches(&self) -> MutexGuard<'_, Branches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, key: PeerKey, audio: SourceWriter, video: SourceWriter, backlog: Backlog) {
        self.branches().all.push(Branch { key, audio, video, backlog });
    }

    pub(super) fn remove(&self, key: PeerKey) {
        self.branches().all.retain(|branch| branch.key != key);
    }

    /// When sound was last handed over.
    pub(super) fn sound_left(&self) -> Option<Instant> {
        self.branches().sound
    }

    /// Whether pictures given already wait for the network, whoever they are for. Of several, one whose path
    /// is slow or gone holds up nobody else: its own pacer drops what it cannot send.
    pub(super) fn is_behind(&self) -> bool {
        let branches = self.branches();
        !branches.all.is_empty() && branches.all.iter().all(|branch| branch.backlog.now() > BEHIND)
    }

    pub(super) fn video(&self, frame: &EncodedFrame) {
        for branch in &self.branches().all {
            let EncodedFrame { data, timestamp, key, captured, .. } = frame;
            let (data, timestamp, captured) = (data.clone(), *timestamp, *captured);
            let encoded = Encoded { data, timestamp, key: *key, marker: true, captured };
            // overflow: that peer alone skips to the next keyframe, which its slot asks for.
            let _ = branch.video.write(encoded);
        }
    }

    pub(super) fn audio(&self, packet: &AudioPacket) {
        let mut branches = self.branches();
        branches.sound = Some(Instant::now());
        for branch in &branches.all {
            let AudioPacket { data, timestamp, marker, captured } = packet;
            let (data, timestamp, captured) = (data.clone(), *timestamp, *captured);
            let encoded = Encoded { data, timestamp, key: false, marker: *marker, captured };
            // overflow: that peer alone loses 20 ms, which its receiver conceals.
            let _ = branch.audio.write(encoded);
        }
    }
}
