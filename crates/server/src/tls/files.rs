//! Certificates in PEM files: read, checked, and read again when they change.

use super::Certificates;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {error}: it must exist, and the server must be allowed to read it", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {message}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The library refuses.
    #[error("TLS cannot be set up: {0}")]
    Library(rustls::Error),
}

/// A certificate with its key, and for how long it is good.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// Reads and checks a certificate and its key.
pub(crate) fn load(cert: &Path, key: &Path) -> Result<Loaded, TlsError> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error });
    parse((cert, &read(cert)?), (key, &read(key)?))
}

/// Checks what stands in the files; the paths are for what it says when something is wrong.
pub(crate) fn parse(cert: (&Path, &[u8]), key: (&Path, &[u8])) -> Result<Loaded, TlsError> {
    let fault = |path: &Path, message: String| TlsError::File { path: path.to_owned(), message };
    let chain = CertificateDer::pem_slice_iter(cert.1).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| fault(cert.0, format!("is not PEM: {error}")))?;
    let Some(first) = chain.first() else {
        let message = "holds no certificate (-----BEGIN CERTIFICATE-----)";
        return Err(fault(cert.0, message.into()));
    };
    let (_, parsed) = X509Certificate::from_der(first)
        .map_err(|error| fault(cert.0, format!("its first certificate cannot be read: {error}")))?;
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs());
    let not_before = time(parsed.validity().not_before.timestamp());
    let not_after = time(parsed.validity().not_after.timestamp());
    let private = PrivateKeyDer::from_pem_slice(key.1)
        .map_err(|_| fault(key.0, "holds no private key (-----BEGIN PRIVATE KEY-----)".into()))?;
    let key =
        CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                fault(key.0, format!("is not the key of the certificate in {}", cert.0.display()))
            }
            other => fault(key.0, format!("cannot be used: {other}")),
        })?;
    Ok(Loaded { key: Arc::new(key), not_before, not_after })
}

impl Loaded {
    /// Says when it ends too soon.
    pub(crate) fn warn(&self, path: &Path, now: SystemTime) {
        let days = self.not_after.duration_since(now).map(|left| left.as_secs() / 86_400);
        match days {
            Ok(days) if days >= 14 => tracing::info!(file = %path.display(), days, "certificate read"),
            Ok(days) => tracing::warn!(file = %path.display(), days, "the certificate ends soon: renew it"),
            Err(_) => tracing::warn!(file = %path.display(), "the certificate has ended: renew it"),
        }
    }
}

/// What tells that a file was changed: renewals replace it, or the link to it.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// Reads the files again whenever they changed, or somebody asks by `reload`. Never ends.
pub(crate) async fn watch(cert: PathBuf, key: PathBuf, certificates: Arc<Certificates>, reload: Arc<Notify>) {
    let stamps = || (stamp(&cert), stamp(&key));
    let mut known = stamps();
    loop {
        let asked = tokio::select! {
            () = reload.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let now = stamps();
        if now == known && !asked {
            continue;
        }
        known = now;
        match load(&cert, &key) {
            Ok(loaded) => {
                loaded.warn(&cert, SystemTime::now());
                certificates.set(&loaded);
            }
            // Half-way through a renewal the two do not fit; the next look finds the other.
            Err(error) => tracing::warn!(%error, "the new certificate is not used, the one before goes on"),
        }
    }
}
