//! Certificates by themselves: ACME (RFC 8555) for one name, by tls-alpn-01 (RFC 8737) or http-01. One task
//! sees to it that there is a certificate, and a new one when two thirds of its life are over. Whatever fails
//! is tried again, ever more seldom; the certificate of before goes on.

mod http;
mod order;
mod plan;
mod store;

use crate::tls::{Certificates, Loaded};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use store::Store;

/// Let's Encrypt's directory.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// How long the clock is trusted while waiting for a renewal: a machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// For which name, and from whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name, in lower case.
    pub host: String,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// The authority's directory, an https address.
    pub directory: String,
    /// The root of the directory's certificate, where it is no public one.
    pub ca_file: Option<PathBuf>,
    /// The folder that keeps account and certificate.
    pub cache: PathBuf,
    /// How the name is proved.
    pub challenge: Challenge,
}

/// How a name is proved to be ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
pub enum Challenge {
    /// By a TLS handshake on port 443.
    #[default]
    #[serde(rename = "tls-alpn-01")]
    #[value(name = "tls-alpn-01")]
    TlsAlpn01,
    /// By a request on port 80.
    #[serde(rename = "http-01")]
    #[value(name = "http-01")]
    Http01,
}

impl std::fmt::Display for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        })
    }
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The cache cannot be read or written.
    #[error("{}: {error}: the folder tls.acme.cache must be the server's to write", path.display())]
    Cache {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What the authority says, or that it cannot be reached.
    #[error("{0}")]
    Authority(#[from] instant_acme::Error),
    /// The authority does not offer the challenge that is set.
    #[error("the authority does not offer {0}: set another tls.acme.challenge")]
    NoSuchChallenge(Challenge),
    /// The name was not proved to be ours.
    #[error("the authority could not prove the name: {0}")]
    Unproved(String),
    /// What came is no certificate that can be used.
    #[error(transparent)]
    Certificate(#[from] crate::tls::TlsError),
    /// A key or certificate of a challenge cannot be made.
    #[error("a certificate for the challenge cannot be made: {0}")]
    Challenge(#[from] rcgen::Error),
}

/// Answers to http-01 challenges, by token; the redirecting door gives them.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, String>>);

impl Tokens {
    fn set(&self, token: &str, answer: &str) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(token.to_owned(), answer.to_owned());
    }

    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn get(&self, token: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

/// Where a certificate goes, and proofs.
pub(crate) struct Desk {
    pub(crate) settings: Settings,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) tokens: Arc<Tokens>,
}

/// Uses the certificate of before, if there is one; call it before the server is open.
///
/// # Errors
/// A folder that cannot be written: better told at the start than in two months.
pub(crate) fn resume(desk: &Desk) -> Result<Option<Loaded>, AcmeError> {
    let store = Store::open(&desk.settings)?;
    match store.certificate() {
        Ok(Some(loaded)) => {
            desk.certificates.set(&loaded);
            Ok(Some(loaded))
        }
        Ok(None) => Ok(None),
        Err(error) => {
            tracing::warn!(%error, "the kept certificate cannot be used, a new one is ordered");
            Ok(None)
        }
    }
}

/// Keeps the certificate fresh. Never ends.
pub(crate) async fn keep(desk: Desk, mut current: Option<Loaded>) {
    let mut failures = 0;
    loop {
        if let Some(loaded) = &current {
            let due = plan::due(loaded.not_before, loaded.not_after);
            if let Ok(left) = due.duration_since(SystemTime::now())
                && !left.is_zero()
            {
                tokio::time::sleep(left.min(LOOK_EVERY)).await;
                continue;
            }
        }
        let host = &desk.settings.host;
        match order::order(&desk).await {
            Ok(loaded) => {
                tracing::info!(%host, "a new certificate is in use");
                failures = 0;
                desk.certificates.set(&loaded);
                current = Some(loaded);
            }
            Err(error) => {
                failures += 1;
                let wait = plan::again_in(failures, rand::random());
                let goes_on = current.is_some();
                tracing::warn!(%host, %error, again_in = ?wait, goes_on, "no new certificate");
                tokio::time::sleep(wait).await;
            }
        }
    }
}
