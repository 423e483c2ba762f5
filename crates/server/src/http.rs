//! What the server answers over HTTP: the WebSocket, the guest's page, its health.

use crate::guest;
use crate::hub::Hub;
use crate::socket::{self, Timing};
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use signaling::RoomName;
use signaling::message::MAX_MESSAGE;
use std::sync::Arc;

/// Scripts and styles only from here, the camera only through the page's own objects, in nobody's frame.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
    media-src 'self' blob: mediastream:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
    object-src 'none'";

pub(crate) struct Web {
    pub(crate) hub: Arc<Hub>,
    pub(crate) origins: Vec<String>,
    pub(crate) timing: Timing,
}

pub(crate) fn router(web: Web) -> Router {
    Router::new()
        .route("/ws", any(upgrade))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/favicon.ico", get(|| async { asset("icon.svg") }))
        .route("/robots.txt", get(|| async { "User-agent: *\nDisallow: /\n" }))
        .route("/assets/{name}", get(|Path(name): Path<String>| async move { asset(&name) }))
        .route("/", get(|| async { page() }))
        .route("/{room}", get(room))
        .with_state(Arc::new(web))
}

async fn upgrade(State(web): State<Arc<Web>>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if !is_allowed(&headers, &web.origins) {
        let text = "pages of another origin may not connect; the server's configuration can list it\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let (hub, timing, host) = (web.hub.clone(), web.timing, host_of(&headers));
    upgrade
        // Twice what is allowed: a message that is only a little too large is read, and refused in words.
        .max_message_size(2 * MAX_MESSAGE)
        .max_frame_size(2 * MAX_MESSAGE)
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .on_upgrade(move |socket| socket::run(socket, hub, timing, host))
}

/// What the client calls this server, without the port.
fn host_of(headers: &HeaderMap) -> Option<String> {
    let authority: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    let host = authority.host();
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Some(ipv6.unwrap_or(host).to_owned()).filter(|host| !host.is_empty())
}

/// Browsers always name the origin of the page that connects; other programs need not.
fn is_allowed(headers: &HeaderMap, origins: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if origins.iter().any(|o| o.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(HOST).and_then(|h| h.to_str().ok());
    let origin_host = origin.split_once("://").map(|(_, host)| host);
    matches!((host, origin_host), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b))
}

async fn room(Path(room): Path<String>) -> Response {
    match RoomName::parse(&room) {
        Ok(_) => page(),
        Err(error) => (StatusCode::NOT_FOUND, format!("There is no such room: {error}.\n")).into_response(),
    }
}

fn page() -> Response {
    file("text/html; charset=utf-8", guest::PAGE)
}

fn asset(name: &str) -> Response {
    match guest::ASSETS.iter().find(|a| a.name == name) {
        Some(asset) => file(asset.kind, asset.data),
        None => (StatusCode::NOT_FOUND, "There is no such file.\n").into_response(),
    }
}

fn file(kind: &'static str, data: &'static [u8]) -> Response {
    let headers: [(HeaderName, HeaderValue); 5] = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, data).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        for (header, host) in [
            ("snug.example:8443", Some("snug.example")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("[::1]", Some("::1")),
            ("", None),
            ("a b", None),
        ] {
            let mut map = HeaderMap::new();
            map.insert(HOST, HeaderValue::from_static(header));
            assert_eq!(host_of(&map).as_deref(), host, "{header}");
        }
        assert_eq!(host_of(&HeaderMap::new()), None);
    }

    #[test]
    fn only_our_own_pages_and_listed_ones_connect() {
        let headers = |origin: &'static str| {
            let mut map = HeaderMap::new();
            map.insert(HOST, HeaderValue::from_static("host:8080"));
            map.insert(ORIGIN, HeaderValue::from_static(origin));
            map
        };
        let listed = ["https://other.example/".to_owned()];
        assert!(is_allowed(&HeaderMap::new(), &[]));
        assert!(is_allowed(&headers("http://host:8080"), &[]));
        assert!(is_allowed(&headers("https://other.example"), &listed));
        for origin in ["https://other.example", "http://host", "null", "http://host:8080.evil.example"] {
            assert!(!is_allowed(&headers(origin), &[]), "{origin}");
        }
    }
}
