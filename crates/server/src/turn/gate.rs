//! Who may use the relay: long-term credentials (RFC 8489, section 9.2) by the REST convention, where the
//! username tells until when it is good (`expiry:user`, in Unix seconds) and the password is a mac of it. So
//! the server remembers nobody: what it knows of a credential stands in the request.

use crate::turn::message::{LIFETIME, MESSAGE_INTEGRITY, NONCE, Query, REALM, REFRESH, USERNAME};
use crate::turn::nonce::Nonces;
use crate::turn::refusal::Refusal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use std::net::IpAddr;
use stun_types::message::{IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials};

/// The longest username: ours have 20 bytes.
const MAX_USERNAME: usize = 128;

/// The password of a username; `None` cannot be, as the mac takes a key of any length.
pub(crate) fn password(secret: &str, username: &str) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(username.as_bytes());
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

/// Until when a username is good, in Unix seconds.
fn expiry(username: &str) -> Option<u64> {
    let digits = username.split_once(':').map_or(username, |(expiry, _)| expiry);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Who was let in.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    /// The whole username: one account.
    pub(crate) user: String,
    /// Until when the credential is good, in Unix seconds.
    pub(crate) expires: u64,
    /// What answers are signed with.
    pub(crate) key: IntegrityKey,
}

/// Checks credentials.
pub(crate) struct Gate {
    realm: String,
    secrets: Vec<String>,
    nonces: Nonces,
}

impl Gate {
    pub(crate) fn new(realm: String, secrets: Vec<String>, nonces: Nonces) -> Self {
        Self { realm, secrets, nonces }
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    /// A nonce for a client that has none, or an old one.
    pub(crate) fn nonce(&self, client: IpAddr, unix: u64) -> String {
        self.nonces.make(client, unix)
    }

    /// Lets a request in, or says why not. What is expired may still give back what it holds.
    pub(crate) fn check(&self, query: &Query<'_>, client: IpAddr, unix: u64) -> Result<Admitted, Refusal> {
        if !query.has(MESSAGE_INTEGRITY) {
            return Err(Refusal::Unauthorized);
        }
        let [Some(username), Some(realm), Some(nonce)] = [USERNAME, REALM, NONCE].map(|a| query.value(a))
        else {
            return Err(Refusal::BadRequest);
        };
        // First what costs least: a flood of forged requests ends here.
        if !self.nonces.is_good(nonce, client, unix) {
            return Err(Refusal::StaleNonce);
        }
        let username = std::str::from_utf8(username).ok().filter(|name| name.len() <= MAX_USERNAME);
        let username = username.filter(|_| realm == self.realm.as_bytes()).ok_or(Refusal::Unauthorized)?;
        let expires = expiry(username).ok_or(Refusal::Unauthorized)?;
        let gives_back = query.method() == REFRESH && query.number(LIFETIME) == Some(0);
        if unix >= expires && !gives_back {
            return Err(Refusal::Unauthorized);
        }
        let keys = self.secrets.iter().filter_map(|secret| self.key(secret, username));
        let key = keys.into_iter().find(|key| query.is_signed_by(key)).ok_or(Refusal::Unauthorized)?;
        Ok(Admitted { user: username.to_owned(), expires, key })
    }

    fn key(&self, secret: &str, username: &str) -> Option<IntegrityKey> {
        let password = password(secret, username)?;
        let credentials = LongTermKeyCredentials::new(username.to_owned(), password, self.realm.clone());
        Some(credentials.make_key(IntegrityAlgorithm::Sha1))
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("realm", &self.realm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::message::ALLOCATE;
    use stun_types::attribute::RawAttribute;
    use stun_types::message::{Message, MessageWrite, MessageWriteExt, MessageWriteVec, Method};

    const NOW: u64 = 1_800_000_000;

    struct Ask<'a> {
        method: Method,
        username: &'a str,
        secret: &'a str,
        realm: &'a str,
        nonce: Option<String>,
        lifetime: Option<u32>,
    }

    fn gate() -> Gate {
        Gate::new("snug".into(), vec!["north".into(), "older".into()], Nonces::new([1; 64]))
    }

    fn client() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    fn ask<'a>(username: &'a str) -> Ask<'a> {
        let nonce = Some(gate().nonce(client(), NOW));
        Ask { method: ALLOCATE, username, secret: "north", realm: "snug", nonce, lifetime: None }
    }

    fn check(ask: &Ask<'_>) -> Result<u64, Refusal> {
        let mut message = Message::builder_request(ask.method, MessageWriteVec::new());
        let lifetime = ask.lifetime.map(u32::to_be_bytes);
        let attributes = [
            (USERNAME, Some(ask.username.as_bytes())),
            (REALM, Some(ask.realm.as_bytes())),
            (NONCE, ask.nonce.as_deref().map(str::as_bytes)),
            (LIFETIME, lifetime.as_ref().map(|bytes| &bytes[..])),
        ];
        for (kind, value) in attributes.into_iter().filter_map(|(kind, value)| Some((kind, value?))) {
            message.add_attribute(&RawAttribute::new(kind, value)).unwrap();
        }
        let password = password(ask.secret, ask.username).unwrap();
        let key = LongTermKeyCredentials::new(ask.username.into(), password, ask.realm.into())
            .make_key(IntegrityAlgorithm::Sha1);
        message.add_message_integrity_with_key(&key, IntegrityAlgorithm::Sha1).unwrap();
        let bytes = message.finish();
        gate().check(&Query::parse(&bytes).unwrap(), client(), NOW).map(|admitted| admitted.expires)
    }

    #[test]
    fn a_good_credential_is_let_in_by_either_secret() {
        assert_eq!(check(&ask("1800000060:ann")), Ok(NOW + 60));
        assert_eq!(check(&ask("1800000060")), Ok(NOW + 60));
        assert_eq!(check(&Ask { secret: "older", ..ask("1800000060:ann") }), Ok(NOW + 60));
    }

    #[test]
    fn expired_forged_and_foreign_credentials_are_not() {
        for username in
            ["1800000000:ann", "17:ann", ":ann", "ann", "-1:ann", "+1800000060:ann", "ann:1800000060"]
        {
            assert_eq!(check(&ask(username)), Err(Refusal::Unauthorized), "{username}");
        }
        let long = format!("1800000060:{}", "x".repeat(MAX_USERNAME));
        assert_eq!(check(&ask(&long)), Err(Refusal::Unauthorized));
        let forged = Ask { secret: "guessed", ..ask("1800000060:ann") };
        assert_eq!(check(&forged), Err(Refusal::Unauthorized));
        let foreign = Ask { realm: "elsewhere", ..ask("1800000060:ann") };
        assert_eq!(check(&foreign), Err(Refusal::Unauthorized));
    }

    #[test]
    fn nonces_are_asked_for_and_age() {
        let good = ask("1800000060:ann");
        assert_eq!(check(&Ask { nonce: None, ..ask(good.username) }), Err(Refusal::BadRequest));
        for nonce in [gate().nonce(client(), NOW - 3600), "0".repeat(24), String::new()] {
            let stale = Ask { nonce: Some(nonce), ..ask(good.username) };
            assert_eq!(check(&stale), Err(Refusal::StaleNonce));
        }
    }

    #[test]
    fn what_is_expired_may_be_given_back() {
        let leave = Ask { method: REFRESH, lifetime: Some(0), ..ask("1700000000:ann") };
        assert_eq!(check(&leave), Ok(1_700_000_000));
        let stay = Ask { lifetime: Some(600), ..ask("1700000000:ann") };
        assert_eq!(check(&Ask { method: REFRESH, ..stay }), Err(Refusal::Unauthorized));
        let allocate = Ask { lifetime: Some(0), ..ask("1700000000:ann") };
        assert_eq!(check(&allocate), Err(Refusal::Unauthorized));
        let forged = Ask { method: REFRESH, lifetime: Some(0), secret: "x", ..ask("1700000000:ann") };
        assert_eq!(check(&forged), Err(Refusal::Unauthorized));
    }
}
