//! Certificate authorities beside those of the web: of a company, a test, or a server that made its own. They
//! are named as OpenSSL takes them, by the environment variable `SSL_CERT_FILE`.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The certificates (DER) in the PEM file that `SSL_CERT_FILE` names, read once; what cannot be read is
/// logged and left out. They count beside those of the web.
pub fn own_certificates() -> Vec<Vec<u8>> {
    static OWN: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    OWN.get_or_init(|| {
        std::env::var_os("SSL_CERT_FILE").map(|path| read(Path::new(&path))).unwrap_or_default()
    })
    .clone()
}

fn read(path: &Path) -> Vec<Vec<u8>> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(std::iter::Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) => found.iter().map(|certificate| certificate.to_vec()).collect(),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the certificates of SSL_CERT_FILE cannot be read");
            Vec::new()
        }
    }
}

/// How servers are checked: by the web's certificate authorities and [`own_certificates`].
///
/// # Errors
/// When the TLS library refuses its own defaults.
pub fn tls_config() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let (_, refused) = roots.add_parsable_certificates(own_certificates().into_iter().map(Into::into));
    if refused > 0 {
        tracing::error!(refused, "SSL_CERT_FILE holds certificates that cannot be used");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_none_is_nothing_to_stop_for() {
        assert!(read(Path::new("/nowhere/roots.pem")).is_empty());
        assert!(read(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").as_path()).is_empty());
        assert!(tls_config().is_ok());
    }
}
