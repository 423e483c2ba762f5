//! What can go wrong with a connection, each with what can be done about it.

use crate::Kind;

/// A request that cannot be met. None of these ends the connection.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PeerError {
    /// W3C `TypeError`: a track of the other kind.
    #[error("TypeError: the {slot} slot takes no {given} source; give it to the {given} slot")]
    KindMismatch {
        /// What the slot sends.
        slot: Kind,
        /// What it was given.
        given: Kind,
    },
    /// W3C `InvalidStateError`: the connection was closed.
    #[error("InvalidStateError: the connection is closed; make a new one")]
    Closed,
    /// More requests wait than the connection will hold.
    #[error("the connection is busy: try again in a moment")]
    Busy,
    /// A peer runs on tokio.
    #[error("no tokio runtime here: create the peer inside one")]
    NoRuntime,
}
