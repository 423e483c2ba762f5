//! TLS: which certificate is shown, from files or by ACME, and changed under way. `certificates` is what a
//! handshake asks; `files` reads them.

mod certificates;
mod files;

pub(crate) use certificates::Certificates;
pub use files::TlsError;
pub(crate) use files::{Loaded, load, parse, watch};

use crate::acme;
use rustls::ServerConfig;
use rustls::crypto::ring;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// ALPN of a challenge by which a certificate authority looks whether a name is ours (RFC 8737).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// Certificates, and what goes with them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the certificate comes from.
    pub source: Source,
    /// Where plain HTTP is answered with a redirect to https.
    pub redirect: Vec<SocketAddr>,
}

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// From PEM files, which are read again when they change.
    Files {
        /// The certificate and those that lead to its root.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// From a certificate authority, by itself.
    Acme(acme::Settings),
}

/// How we speak TLS. HTTP/1.1 alone: a WebSocket needs nothing else, and a page of a dozen small files
/// neither. `stun.turn` is RFC 7443's.
pub(crate) fn server_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Library)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols =
        [&b"http/1.1"[..], b"stun.turn", b"stun.nat-discovery", ACME_TLS].map(<[u8]>::to_vec).to_vec();
    config.ticketer = ring::Ticketer::new().map_err(TlsError::Library)?;
    Ok(Arc::new(config))
}
