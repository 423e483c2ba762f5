//! What is encoded once goes to every peer: each has a bounded queue of its own, so a slow one holds up
//! nobody else.

use crate::machine::PeerKey;
use media::{AudioPacket, EncodedFrame};
use peer::{Backlog, Encoded, SourceWriter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A picture is left out while earlier ones need longer than this to leave.
const BEHIND: Duration = Duration::from_millis(120);

/// Where one peer's share goes.
struct Branch {
    key: PeerKey,
    audio: SourceWriter,
    video: SourceWriter,
    backlog: Backlog,
}

/// The list of branches, shared by the encoder's and the audio thread; held locked only for the hand-over.
#[derive(Clone, Default)]
pub(super) struct Fanout(Arc<Mutex<Vec<Branch>>>);

impl Fanout {
    fn branches(&self) -> MutexGuard<'_, Vec<Branch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, key: PeerKey, audio: SourceWriter, video: SourceWriter, backlog: Backlog) {
        self.branches().push(Branch { key, audio, video, backlog });
    }

    pub(super) fn remove(&self, key: PeerKey) {
        self.branches().retain(|branch| branch.key != key);
    }

    /// Whether pictures given already wait for the network, whoever they are for. Of several, one whose path
    /// is slow or gone holds up nobody else: its own pacer drops what it cannot send.
    pub(super) fn is_behind(&self) -> bool {
        let branches = self.branches();
        !branches.is_empty() && branches.iter().all(|branch| branch.backlog.now() > BEHIND)
    }

    pub(super) fn video(&self, frame: &EncodedFrame) {
        for branch in self.branches().iter() {
            let EncodedFrame { data, timestamp, key, captured, .. } = frame;
            let (data, timestamp, captured) = (data.clone(), *timestamp, *captured);
            let encoded = Encoded { data, timestamp, key: *key, marker: true, captured };
            // overflow: that peer alone skips to the next keyframe, which its slot asks for.
            let _ = branch.video.write(encoded);
        }
    }

    pub(super) fn audio(&self, packet: &AudioPacket) {
        for branch in self.branches().iter() {
            let AudioPacket { data, timestamp, marker, captured } = packet;
            let (data, timestamp, captured) = (data.clone(), *timestamp, *captured);
            let encoded = Encoded { data, timestamp, key: false, marker: *marker, captured };
            // overflow: that peer alone loses 20 ms, which its receiver conceals.
            let _ = branch.audio.write(encoded);
        }
    }
}
