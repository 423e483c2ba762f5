//! `snug-server`: rooms over WebSocket, as `docs/signaling.md` tells, the browser guest's page, and STUN and TURN
//! (`turn`).
//!
//! `room`, `intake` and `config` are pure. Each WebSocket is one tokio task (`socket`), which changes the
//! rooms itself, under one short lock (`hub`), and leaves what others must hear in their bounded outboxes.
//! One more task accepts, one ticks for those who stay away too long. No thread of its own: the server runs
//! on the tokio runtime of whoever binds it.

pub mod config;
mod guest;
mod http;
mod hub;
pub mod intake;
mod outbox;
pub mod room;
pub mod server;
pub mod socket;
pub mod turn;

pub use config::{Config, ConfigError};
pub use server::{BindError, Running, Server};
