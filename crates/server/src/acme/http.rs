//! Requests to the certificate authority: one connection each, since there are some ten in two months.

use super::AcmeError;
use crate::tls::TlsError;
use axum::body::Bytes;
use axum::http::header::HOST;
use axum::http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long one request may take, from the name to the last byte.
const WITHIN: Duration = Duration::from_secs(30);
/// The most that an answer may have.
const MOST: usize = 256 * 1024;

/// Speaks HTTP/1.1 over TLS, and nothing else.
pub(super) struct Http {
    tls: Arc<ClientConfig>,
}

impl Http {
    /// Trusts the public roots that browsers trust, or the one in `ca_file` alone.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, AcmeError> {
        let mut roots = RootCertStore::empty();
        match ca_file {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let fault = |message: String| TlsError::File { path: path.to_owned(), message };
                let file =
                    std::fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error })?;
                for certificate in CertificateDer::pem_slice_iter(&file) {
                    let certificate = certificate.map_err(|error| fault(format!("is not PEM: {error}")))?;
                    roots.add(certificate).map_err(|error| fault(format!("is no root: {error}")))?;
                }
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(tls) })
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for Http {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let tls = self.tls.clone();
        Box::pin(async move {
            let at = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            let told = |error: Box<dyn std::error::Error + Send + Sync>| {
                Error::Other(format!("{at} does not answer as it should: {error}").into())
            };
            match tokio::time::timeout(WITHIN, ask(tls, request)).await {
                Ok(answer) => answer.map_err(told),
                Err(_) => Err(told(format!("nothing for {} s", WITHIN.as_secs()).into())),
            }
        })
    }
}

async fn ask(
    tls: Arc<ClientConfig>,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, Box<dyn std::error::Error + Send + Sync>> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().cloned().ok_or("an address without a host")?;
    if parts.uri.scheme_str() != Some("https") {
        return Err(io::Error::other("an address that is not https").into());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await?;
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TlsConnector::from(tls).connect(name, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    parts.headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
    parts.uri = Uri::from(parts.uri.path_and_query().cloned().ok_or("an address without a path")?);
    let body = body.collect().await?.to_bytes();
    let asked = async {
        let response = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
        let (parts, body) = response.into_parts();
        // Read here, while the connection is driven.
        let body = Limited::new(body, MOST).collect().await?.to_bytes();
        Ok(BytesResponse { parts, body: Box::new(body) })
    };
    // The connection moves the bytes of the other, and may end before it.
    let driven = async {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the authority's connection broke");
        }
        std::future::pending::<()>().await
    };
    tokio::select! {
        answer = asked => answer,
        () = driven => Err(io::Error::other("the connection ended").into()),
    }
}
