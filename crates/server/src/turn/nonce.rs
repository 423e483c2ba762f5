//! Nonces that need no memory: each tells when it was made, and a mac over that and the client's address
//! shows that we made it, for that client.

use hmac::{Hmac, Mac};
use sha1::Sha1;
use std::net::IpAddr;

/// How long a nonce is good, in seconds (RFC 8656 asks for an hour at most).
pub(crate) const GOOD_FOR: u64 = 3600;

/// Bytes of the mac that are sent: 64 bits that change every second are enough against guessing, and short.
const MAC: usize = 8;

/// Makes nonces and knows its own.
#[derive(Clone)]
pub(crate) struct Nonces {
    key: [u8; 64],
}

impl Nonces {
    pub(crate) fn new(key: [u8; 64]) -> Self {
        Self { key }
    }

    /// One for a client, of 24 characters.
    pub(crate) fn make(&self, client: IpAddr, unix: u64) -> String {
        let made = made_at(unix);
        let mac = self.mac(made, client).finalize().into_bytes();
        let mac: String = mac[..MAC].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{made:08x}{mac}")
    }

    /// Whether it is ours, this client's, and not too old.
    pub(crate) fn is_good(&self, nonce: &[u8], client: IpAddr, unix: u64) -> bool {
        let Some((made, mac)) = read(nonce) else { return false };
        let age = made_at(unix).wrapping_sub(made);
        u64::from(age) < GOOD_FOR && self.mac(made, client).verify_truncated_left(&mac).is_ok()
    }

    fn mac(&self, made: u32, client: IpAddr) -> Hmac<Sha1> {
        let mut mac = <Hmac<Sha1> as Mac>::new((&self.key).into());
        mac.update(&made.to_be_bytes());
        match client {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac
    }
}

/// Seconds that wrap around after 136 years; only differences are looked at.
#[expect(clippy::cast_possible_truncation, reason = "it wraps around, as told above")]
fn made_at(unix: u64) -> u32 {
    unix as u32
}

fn read(nonce: &[u8]) -> Option<(u32, [u8; MAC])> {
    // All digits: from_str_radix would take a sign too.
    let is_hex = nonce.len() == 8 + 2 * MAC && nonce.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(nonce).ok().filter(|_| is_hex)?;
    let made = u32::from_str_radix(&text[..8], 16).ok()?;
    let mut mac = [0; MAC];
    for (byte, digits) in mac.iter_mut().zip(text.as_bytes()[8..].chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some((made, mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn a_nonce_is_good_for_its_client_and_for_an_hour() {
        let nonces = Nonces::new([7; 64]);
        let [a, b]: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        for client in [a, b] {
            let nonce = nonces.make(client, NOW);
            assert_eq!(nonce.len(), 24);
            assert!(nonces.is_good(nonce.as_bytes(), client, NOW));
            assert!(nonces.is_good(nonce.as_bytes(), client, NOW + GOOD_FOR - 1));
            assert!(!nonces.is_good(nonce.as_bytes(), client, NOW + GOOD_FOR));
            assert!(!nonces.is_good(nonce.as_bytes(), client, NOW - 1), "from the future");
        }
        assert!(!nonces.is_good(nonces.make(a, NOW).as_bytes(), b, NOW));
        assert!(!nonces.is_good(Nonces::new([8; 64]).make(a, NOW).as_bytes(), a, NOW));
    }

    #[test]
    fn a_changed_nonce_is_no_nonce() {
        let nonces = Nonces::new([7; 64]);
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let nonce = nonces.make(client, NOW).into_bytes();
        for at in 0..nonce.len() {
            for byte in [b'0', b'f', b'+', b' ', 0, 0xff] {
                let mut changed = nonce.clone();
                if std::mem::replace(&mut changed[at], byte) != byte {
                    assert!(!nonces.is_good(&changed, client, NOW), "{at} {byte}");
                }
            }
        }
        for short in 0..nonce.len() {
            assert!(!nonces.is_good(&nonce[..short], client, NOW));
        }
    }
}
