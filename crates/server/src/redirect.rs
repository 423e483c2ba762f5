//! The door for plain HTTP beside one with TLS: it leads to https, and answers http-01 challenges.

use crate::acme::Tokens;
use crate::door::{Door, Inside, PlainHttp, Settings};
use crate::metrics::Metrics;
use crate::proxy::{Proxies, PublicHost, tell};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Leads to https.
pub(crate) struct Redirect {
    pub(crate) tokens: Arc<Tokens>,
    /// The port that speaks https.
    pub(crate) port: u16,
    pub(crate) proxies: Arc<Proxies>,
}

pub(crate) fn serve(listeners: Vec<TcpListener>, settings: &Settings, redirect: Redirect) -> Door {
    let proxies = redirect.proxies.clone();
    let router = Router::new()
        .route("/.well-known/acme-challenge/{token}", get(challenge))
        .fallback(lead)
        .with_state(Arc::new(redirect))
        .layer(from_fn_with_state(proxies.clone(), tell));
    let metrics = Arc::new(Metrics::default());
    let inside = Inside { router, tls: None, streams: None, proxies, metrics };
    // Anybody: what is said here is where to go.
    Door::open(listeners, Settings { plain_http: PlainHttp::Anybody, ..settings.clone() }, inside)
}

async fn challenge(State(redirect): State<Arc<Redirect>>, Path(token): Path<String>) -> Response {
    match redirect.tokens.get(&token) {
        Some(answer) => ([(CONTENT_TYPE, "application/octet-stream")], answer).into_response(),
        None => (StatusCode::NOT_FOUND, "No such challenge.\n").into_response(),
    }
}

async fn lead(State(redirect): State<Arc<Redirect>>, request: Request) -> Response {
    let asked = request.extensions().get::<PublicHost>().map(|public| public.host.clone());
    let known = redirect.proxies.public_url.as_ref().map(|url| url.authority.clone());
    let host = known.or_else(|| asked.as_deref().and_then(|host| secure(host, redirect.port)));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match host {
        Some(host) => {
            (StatusCode::PERMANENT_REDIRECT, [(LOCATION, format!("https://{host}{path}"))]).into_response()
        }
        None => (StatusCode::BAD_REQUEST, "Use https.\n").into_response(),
    }
}

/// The same host, on the port that speaks https.
fn secure(asked: &str, port: u16) -> Option<String> {
    let authority: axum::http::uri::Authority = asked.parse().ok()?;
    let host = authority.host();
    Some(if port == 443 { host.to_owned() } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_stays_and_the_port_changes() {
        for (asked, port, expected) in [
            ("call.example.org", 443, Some("call.example.org")),
            ("call.example.org:80", 443, Some("call.example.org")),
            ("call.example.org:8080", 8443, Some("call.example.org:8443")),
            ("[2001:db8::1]:80", 443, Some("[2001:db8::1]")),
            ("", 443, None),
            ("a b", 443, None),
        ] {
            assert_eq!(secure(asked, port).as_deref(), expected, "{asked}");
        }
    }
}
