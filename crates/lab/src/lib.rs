//! What measures a call: marked clips and tones, a link emulator between network namespaces, a browser
//! driver, and the bench over them. Tests of the other crates use the first two.
//!
//! - [`mark`]: clips whose pictures carry their number; [`tone`]: sounds and how to find them again.
//! - [`y4m`]: reads what Snug shows.
//! - [`link`]: two hosts and a bad network between them (Linux); [`probe`]: the simplest measure of it.
//! - [`browser`]: drives Chromium.
//! - [`mod@bench`]: the call-quality bench, Snug and Chromium over bad networks, and [`quick`]: the small one on a
//!   good network; over [`speech`], [`delay`] and [`procs`] (Linux).
//! - [`signal_load`]: what the server's rooms cost (Linux).
//! - [`turn_load`]: what relaying costs, Snug's server beside coturn.
//! - [`nat`]: calls through NATs of every kind (Linux).
//! - [`sound`]: what is left of echo and noise, and of the voice, in a made room.
//!
//! Threads: "link" carries packets and "browser stderr" keeps what a browser complains of; the handle of
//! each joins it when dropped.

#[cfg(target_os = "linux")]
pub mod bench;
pub mod browser;
pub mod delay;
#[cfg(target_os = "linux")]
mod ends;
#[cfg(target_os = "linux")]
pub mod link;
pub mod mark;
#[cfg(target_os = "linux")]
pub mod nat;
#[cfg(target_os = "linux")]
mod pesq;
pub mod probe;
#[cfg(target_os = "linux")]
pub mod procs;
#[cfg(target_os = "linux")]
pub mod quick;
mod scene;
#[cfg(target_os = "linux")]
pub mod signal_load;
#[cfg(target_os = "linux")]
pub mod sound;
pub mod speech;
pub mod tone;
mod turn_client;
#[cfg(target_os = "linux")]
pub mod turn_load;
pub mod y4m;
