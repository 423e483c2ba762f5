//! Why the server says no, or nothing at all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reason:literal;)*) => {
        /// An error answer (RFC 8489, section 14.8; RFC 8656, section 19).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code on the wire.
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The words beside it: short, as strangers get them too.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }
        }
    };
}

refusals! {
    /// It makes no sense.
    BadRequest = 400, "Bad Request";
    /// There is no credential with it, or not a good one.
    Unauthorized = 401, "Unauthorized";
    /// The peer is none that we relay to.
    Forbidden = 403, "Forbidden";
    /// It has an attribute that must be understood, and is not.
    UnknownAttribute = 420, "Unknown Attribute";
    /// There is an allocation already, or none.
    AllocationMismatch = 437, "Allocation Mismatch";
    /// The nonce is not ours, or too old.
    StaleNonce = 438, "Stale Nonce";
    /// There is no address of this family to relay from.
    AddressFamily = 440, "Address Family not Supported";
    /// The allocation was made with another credential.
    WrongCredentials = 441, "Wrong Credentials";
    /// Only UDP is relayed.
    UnsupportedTransport = 442, "Unsupported Transport";
    /// The peer's family is not that of the relayed address.
    PeerFamily = 443, "Peer Address Family Mismatch";
    /// The credential, or the client's address, has all the allocations that it may have.
    AllocationQuota = 486, "Allocation Quota Reached";
    /// The server is full.
    InsufficientCapacity = 508, "Insufficient Capacity";
}

macro_rules! drops {
    ($($(#[$doc:meta])* $name:ident = $label:literal;)*) => {
        /// Why a packet goes nowhere.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Dropped {
            $($(#[$doc])* $name,)*
        }

        impl Dropped {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// For metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

drops! {
    /// Not a frame, a fingerprint that is wrong, an answer to what nobody asked.
    Malformed = "malformed";
    /// Too many requests without a credential from one address.
    Stranger = "stranger";
    /// Data of a client that has no allocation.
    NoAllocation = "no_allocation";
    /// Data to or from a peer without permission, or on a channel that is not bound.
    NoPermission = "no_permission";
    /// The credential has used up its bandwidth.
    Bandwidth = "bandwidth";
    /// The client does not read, or the socket cannot take more.
    Full = "full";
    /// The system refused to send it: no route, mostly.
    Unsent = "unsent";
}

/// Counters by kind and code, that any task adds to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    refused: [AtomicU64; Refusal::ALL.len()],
    dropped: [AtomicU64; Dropped::ALL.len()],
    to_peers: [AtomicU64; 2],
    to_clients: [AtomicU64; 2],
    pub(crate) bindings: AtomicU64,
}

/// Packets and their bytes, without the headers of TURN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of application data.
    pub bytes: u64,
}

impl Counters {
    pub(crate) fn refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn dropped(&self, dropped: Dropped) {
        self.dropped[dropped as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn to_peer(&self, bytes: usize) {
        add(&self.to_peers, bytes);
    }

    pub(crate) fn to_client(&self, bytes: usize) {
        add(&self.to_clients, bytes);
    }

    /// How often each refusal was given.
    pub(crate) fn all_refused(&self) -> Vec<(Refusal, u64)> {
        Refusal::ALL.iter().copied().zip(self.refused.iter().map(|count| count.load(Relaxed))).collect()
    }

    /// How often packets were dropped for each reason.
    pub(crate) fn all_dropped(&self) -> Vec<(Dropped, u64)> {
        Dropped::ALL.iter().copied().zip(self.dropped.iter().map(|count| count.load(Relaxed))).collect()
    }

    /// What went to peers, and what to clients.
    pub(crate) fn traffic(&self) -> [Traffic; 2] {
        [&self.to_peers, &self.to_clients]
            .map(|[packets, bytes]| Traffic { packets: packets.load(Relaxed), bytes: bytes.load(Relaxed) })
    }
}

fn add([packets, total]: &[AtomicU64; 2], bytes: usize) {
    packets.fetch_add(1, Relaxed);
    total.fetch_add(bytes as u64, Relaxed);
}
