//! What measures a call: marked clips and tones, a link emulator between network namespaces, a browser
//! driver, and the bench over them. Tests of the other crates use the first two.
//!
//! - [`mark`]: clips whose pictures carry their number; [`tone`]: sounds and how to find them again.
//! - [`y4m`]: reads what Snug shows.
//!
//! Nothing here starts a thread, but the link's driver, which its [`Drop`] joins.

pub mod mark;
mod scene;
pub mod tone;
pub mod y4m;
