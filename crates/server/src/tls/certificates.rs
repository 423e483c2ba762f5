//! The certificate of now. Handshakes ask for it; connections that are open keep what they had.

use super::{ACME_TLS, Loaded};
use crate::metrics::{Exposition, Source};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a handshake is answered with.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// And when it ends.
    current: RwLock<Option<(Arc<CertifiedKey>, SystemTime)>>,
    /// The name that is being proved ours, and the certificate that does (RFC 8737).
    challenge: RwLock<Option<(String, Arc<CertifiedKey>)>>,
}

impl Certificates {
    pub(crate) fn set(&self, loaded: &Loaded) {
        let current = (loaded.key.clone(), loaded.not_after);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(current);
    }

    pub(crate) fn set_challenge(&self, challenge: Option<(String, Arc<CertifiedKey>)>) {
        *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = challenge;
    }

    /// Whether there is one: before the first comes, no handshake succeeds.
    pub(crate) fn is_ready(&self) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Whoever proves a name offers this and nothing else.
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.next() == Some(ACME_TLS) && protocols.next().is_none() {
            let challenge = self.challenge.read().unwrap_or_else(PoisonError::into_inner);
            let (name, key) = challenge.as_ref()?;
            return (hello.server_name() == Some(name)).then(|| key.clone());
        }
        self.current.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(key, _)| key.clone())
    }
}

impl Source for Certificates {
    fn write(&self, out: &mut Exposition) {
        let ends =
            self.current.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, ends)| *ends);
        let seconds =
            ends.and_then(|ends| ends.duration_since(UNIX_EPOCH).ok()).unwrap_or_default().as_secs();
        let help = "When the certificate ends, in Unix seconds; 0 while there is none";
        out.gauge("snug_tls_certificate_ends_seconds", help, seconds);
    }
}
