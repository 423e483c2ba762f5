//! What the tests of TLS share: an authority of their own, and a client that trusts it.
#![allow(dead_code, reason = "each test program uses a part of it")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The longest that anything takes.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// A certificate authority made for a test.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn root_pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, PEM both; `change` makes it otherwise.
    pub(crate) fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// The same, written to `cert.pem` and `key.pem`.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue(name, |_| {});
        let paths = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&paths.0, certificate).unwrap();
        std::fs::write(&paths.1, key).unwrap();
        paths
    }
}

/// Speaks TLS, trusting one root.
#[derive(Clone)]
pub(crate) struct Client(Arc<ClientConfig>);

impl Client {
    pub(crate) fn new(root: CertificateDer<'static>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config))
    }

    pub(crate) async fn connect(&self, to: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let connecting = async {
            let stream = TcpStream::connect(to).await?;
            let name = ServerName::try_from(name.to_owned()).unwrap();
            TlsConnector::from(self.0.clone()).connect(name, stream).await
        };
        timeout(WITHIN, connecting).await.expect("no handshake in time")
    }

    /// The answer to one request.
    pub(crate) async fn get(&self, to: SocketAddr, name: &str, path: &str) -> std::io::Result<String> {
        let stream = self.connect(to, name).await?;
        Ok(ask(stream, &format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")).await)
    }

    /// The serial number of the certificate that is shown.
    pub(crate) async fn serial(&self, to: SocketAddr, name: &str) -> std::io::Result<String> {
        Ok(serial(&self.connect(to, name).await?))
    }
}

pub(crate) fn serial(stream: &TlsStream<TcpStream>) -> String {
    let shown = &stream.get_ref().1.peer_certificates().unwrap()[0];
    x509_parser::parse_x509_certificate(shown).unwrap().1.raw_serial_as_string()
}

/// Says something, and reads until the other closes.
pub(crate) async fn ask(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    request: &str,
) -> String {
    let asking = async {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is closed without TLS's own goodbye is closed, too.
        if let Err(error) = stream.read_to_end(&mut answer).await {
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
        }
        String::from_utf8(answer).unwrap()
    };
    timeout(WITHIN, asking).await.expect("no answer in time")
}

/// Looks again and again, until what is looked for is there.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    timeout(WITHIN * 2, looking).await.unwrap_or_else(|_| panic!("never: {what}"))
}
