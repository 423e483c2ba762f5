//! Everything that comes from outside, taken in without a socket, a clock or a task: what fuzzers call, and
//! the tests that run what they found. A connection does the same with the same code, and with the network
//! around it.

mod media;
mod signals;

pub use media::Media;
pub use signals::Signals;

use crate::engine::REPLAY_WINDOW;
use crate::net::{Filter, Message, Unframer, channel_data};
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;
use std::net::SocketAddr;
use std::time::Instant;

/// Whether a datagram from `from` is let in, by a connection whose name is `ufrag`, which asks `server`.
pub fn datagram(packet: &[u8], from: SocketAddr, ufrag: &str, server: SocketAddr, now: Instant) -> bool {
    let mut filter = Filter::new(false);
    filter.add_server(server);
    filter.add_ufrag(ufrag, now);
    let local = SocketAddr::from(([192, 0, 2, 1], 4000));
    // What we send is made by the stack from what others say, so it may be anything too.
    let _leaves = filter.lets_out(packet, local, server);
    let _goes_around = filter.lets_out(packet, local, from);
    if let Some(message) = Message::read(packet) {
        let _parts = (message.called(), message.peer(), message.mapped(), message.other(), message.channel());
        let _data = (message.data(), message.is_request());
    }
    let _on_channel = channel_data(packet);
    filter.lets_in(packet, local, from, now)
}

/// How many packets a TURN server's stream is cut into, which comes in these pieces; nothing when it is none.
pub fn stream<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<usize> {
    let (mut unframer, mut packets) = (Unframer::default(), 0);
    for piece in pieces {
        unframer.room().extend_from_slice(piece);
        while unframer.next().ok()?.is_some() {
            packets += 1;
        }
    }
    Some(packets)
}

/// How many of these packets SRTP and SRTCP take for the other side's: of those who have no keys, none.
///
/// # Errors
/// When the stack cannot be set up.
pub fn sealed<'a>(packets: impl Iterator<Item = &'a [u8]>, gcm: bool) -> Result<usize, String> {
    let profile = if gcm { ProtectionProfile::AeadAes128Gcm } else { ProtectionProfile::Aes128CmHmacSha1_80 };
    let crypto = rtc::crypto::default_provider().map_err(|error| error.to_string())?;
    let (key, salt) = (vec![7; profile.key_len()], vec![9; profile.salt_len()]);
    let windows = (srtp_replay_protection(REPLAY_WINDOW), srtcp_replay_protection(REPLAY_WINDOW));
    let context = Context::new(&key, &salt, profile, Some(windows.0), Some(windows.1), crypto.crypto());
    let mut context = context.map_err(|error| error.to_string())?;
    let (mut filter, now) = (Filter::new(false), Instant::now());
    let (local, peer) = (SocketAddr::from(([192, 0, 2, 1], 4000)), SocketAddr::from(([192, 0, 2, 2], 5000)));
    filter.set_srtp(if gcm { "SRTP_AEAD_AES_128_GCM" } else { "SRTP_AES128_CM_HMAC_SHA1_80" });
    filter.prove(peer);
    let taken = packets.filter(|packet| {
        if !filter.lets_in(packet, local, peer, now) {
            return false;
        }
        let rtcp = packet.get(1).is_some_and(|kind| (192..=223).contains(kind));
        if rtcp { context.decrypt_rtcp(packet).is_ok() } else { context.decrypt_rtp(packet).is_ok() }
    });
    Ok(taken.count())
}
