//! `snug`: the window and the command line over the engine `call`.
//!
//! Threads: the main one draws the window, or waits for events when there is none. `snug errands` does
//! for the window all that may take time: it starts the server inside, writes settings and statistics,
//! waits for signals, and wakes the window when the engine's snapshot changed. `snug stdin` reads
//! commands when there is no window. The engine has its own threads and joins them when it is dropped.

pub mod cli;
pub mod host;
pub mod picture;
pub mod place;
pub mod settings;
pub mod stats;
pub mod ui;
