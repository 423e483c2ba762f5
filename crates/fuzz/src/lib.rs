//! What takes bytes from outside, each as one function of nothing but bytes: a target. It must not panic,
//! spin or fill the memory, whatever it is given, and what it says about itself must hold.
//!
//! `fuzz/` beside the workspace makes a libFuzzer program of each (`./dev fuzz`, docs/contributing.md);
//! `tests/corpus.rs` gives each the corpus that is kept in `fuzz/corpus`, and that cut and bent, in every run
//! of the tests.

mod feed;
mod files;
mod network;
mod rooms;
mod service;
mod video;

pub use files::{mjpeg, wav, y4m};
pub use network::{opus, rtp_rtcp, sdp, srtp, stun, transport};
pub use rooms::{link, signaling_client, signaling_server};
pub use service::{proxy, settings, turn};
pub use video::{vp8_decoder, vp8_depacketizer};

/// A target.
pub type Target = fn(&[u8]);

/// All of them by name.
pub const TARGETS: [(&str, Target); 17] = [
    ("link", link),
    ("mjpeg", mjpeg),
    ("opus", opus),
    ("proxy", proxy),
    ("rtp_rtcp", rtp_rtcp),
    ("sdp", sdp),
    ("settings", settings),
    ("signaling_client", signaling_client),
    ("signaling_server", signaling_server),
    ("srtp", srtp),
    ("stun", stun),
    ("transport", transport),
    ("turn", turn),
    ("vp8_decoder", vp8_decoder),
    ("vp8_depacketizer", vp8_depacketizer),
    ("wav", wav),
    ("y4m", y4m),
];

/// What the pure parts are told is now: only distances from it matter.
fn now() -> std::time::Instant {
    static NOW: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    *NOW.get_or_init(std::time::Instant::now)
}
