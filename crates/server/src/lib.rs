//! `snug-server`: rooms over WebSocket, as `docs/signaling.md` tells, and the browser guest's page.
//!
//! `room`, `intake`, `net`, `proxy` and the checks of `settings` are pure. `door` accepts every connection,
//! speaks TLS and tells HTTP from STUN. Each WebSocket is one tokio task (`socket`), which changes the rooms
//! itself, under one short lock (`hub`), and leaves what others must hear in their bounded outboxes. Beside
//! them one task ticks for those who stay away too long, and one keeps the certificate fresh (`tls`, `acme`).
//! No thread of its own: the server runs on the tokio runtime of whoever binds it.

pub mod acme;
pub mod config;
pub mod door;
mod guest;
mod http;
mod hub;
pub mod intake;
pub mod metrics;
pub mod net;
pub mod notify;
mod outbox;
pub mod proxy;
mod redirect;
pub mod room;
pub mod server;
pub mod settings;
pub mod socket;
pub mod tls;

pub use config::Config;
pub use door::BindError;
pub use server::{Running, Server};
pub use settings::ConfigError;
