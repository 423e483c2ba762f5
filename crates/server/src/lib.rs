//! `snug-server`: rooms over WebSocket, as `docs/signaling.md` tells, the browser guest's page, and STUN and TURN
//! (`turn`).
//!
//! `room`, `intake`, `net`, `proxy` and the checks of `settings` are pure. `door` accepts every connection,
//! speaks TLS and tells HTTP from STUN. Each WebSocket is one tokio task (`socket`), which changes the rooms
//! itself, under one short lock (`hub`), and leaves what others must hear in their bounded outboxes. Beside
//! them one task ticks for those who stay away too long, and one keeps the certificate fresh (`tls`, `acme`).
//! No thread of its own: the server runs on the tokio runtime of whoever binds it.

pub mod acme;
pub mod address;
pub mod config;
pub mod door;
mod guest;
mod http;
mod hub;
pub mod intake;
pub mod limits;
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
mod throttle;
pub mod tls;
pub mod tries;
pub mod turn;
mod upgrade;

pub use config::Config;
pub use door::BindError;
pub use hub::Figures;
pub use server::{Running, Server};
pub use settings::ConfigError;
