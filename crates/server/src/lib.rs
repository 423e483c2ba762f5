//! `snug-server`: rooms over WebSocket, as `docs/signaling.md` tells, and the browser guest's page.
//!
//! `room`, `intake` and `config` are pure. Each WebSocket is one tokio task (`socket`), which changes the
//! rooms itself, under one short lock (`hub`), and leaves what others must hear in their bounded outboxes.
//! One more task accepts, one ticks for those who stay away too long. No thread of its own: the server runs
//! on the tokio runtime of whoever binds it.

pub mod address;
pub mod config;
mod guest;
mod http;
mod hub;
pub mod intake;
pub mod limits;
mod outbox;
pub mod room;
pub mod server;
pub mod socket;
mod throttle;
pub mod tries;
mod upgrade;

pub use config::{Config, ConfigError};
pub use hub::Figures;
pub use server::{BindError, Running, Server};
