//! What the server answers over HTTP: the WebSocket, the guest's page, its health.

use crate::address::{ClientAddress, Source};
use crate::door::Via;
use crate::guest;
use crate::hub::Hub;
use crate::proxy::{Proxies, PublicHost, tell};
use crate::socket::{self, Timing};
use crate::tls::Certificates;
use crate::upgrade;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use signaling::RoomName;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Scripts and styles only from here, the camera only through the page's own objects, in nobody's frame.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
    media-src 'self' blob: mediastream:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
    object-src 'none'";

pub(crate) struct Web {
    pub(crate) hub: Arc<Hub>,
    pub(crate) origins: Vec<String>,
    pub(crate) timing: Timing,
    /// What TLS waits for, where it is on.
    pub(crate) certificates: Option<Arc<Certificates>>,
}

/// A year, as is usual: browsers then ask by https alone.
const STRICTLY_SECURE: HeaderValue = HeaderValue::from_static("max-age=31536000");

pub(crate) fn router(web: Web, proxies: Arc<Proxies>) -> Router {
    Router::new()
        .route("/ws", any(open))
        .route("/healthz", get(|| async { "ok\n" }))
        // Two segments: no room can be called so.
        .route("/healthz/ready", get(ready))
        .route("/favicon.ico", get(|| async { asset("icon.svg") }))
        .route("/robots.txt", get(|| async { "User-agent: *\nDisallow: /\n" }))
        .route("/assets/{name}", get(|Path(name): Path<String>| async move { asset(&name) }))
        .route("/", get(|| async { page() }))
        .route("/{room}", get(room))
        .with_state(Arc::new(web))
        .layer(from_fn_with_state(proxies, tell))
        .layer(from_fn(strictly))
}

/// Over TLS, every answer says that it is to stay so (RFC 6797).
async fn strictly(request: Request, next: Next) -> Response {
    let secure = request.extensions().get::<Via>().is_some_and(|via| via.tls);
    let mut response = next.run(request).await;
    if secure {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, STRICTLY_SECURE);
    }
    response
}

/// Whether a call could begin here: for whoever sends people to one of several servers.
async fn ready(State(web): State<Arc<Web>>) -> Response {
    let waiting = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    match &web.certificates {
        Some(certificates) if !certificates.is_ready() => waiting("no certificate yet\n"),
        _ if !web.hub.is_open() => waiting("stopping\n"),
        _ => "ready\n".into_response(),
    }
}

async fn open(
    State(web): State<Arc<Web>>,
    public: Option<Extension<PublicHost>>,
    request: Request,
) -> Response {
    let public = public.map(|Extension(public)| public.host);
    if !is_allowed(request.headers(), public.as_deref(), &web.origins) {
        let text = "pages of another origin may not connect; the server's configuration can list it\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    if web.hub.is_flooded() {
        let text = "the server takes no more connections: try later\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    let host = public.as_deref().and_then(without_port);
    let (hub, timing, from) = (web.hub.clone(), web.timing, source(request.extensions()));
    upgrade::upgrade(request, move |socket| socket::run(socket, hub, (from, host), timing))
}

/// What the client calls this server, without the port.
fn without_port(host: &str) -> Option<Box<str>> {
    let authority: Authority = host.parse().ok()?;
    let host = authority.host();
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Some(ipv6.unwrap_or(host)).filter(|host| !host.is_empty()).map(Into::into)
}

/// Whom the limits count it to.
fn source(extensions: &Extensions) -> Source {
    let told = extensions.get::<ClientAddress>().map(|address| Source::from(*address));
    let peer = || extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().into());
    // Neither: all that are not known count as one.
    told.or_else(peer).unwrap_or_else(|| IpAddr::from(Ipv4Addr::UNSPECIFIED).into())
}

/// Browsers always name the origin of the page that connects; other programs need not.
/// The server's own is the host that they called, `public` where a proxy or the settings tell it.
fn is_allowed(headers: &HeaderMap, public: Option<&str>, origins: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if origins.iter().any(|o| o.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Some((_, origin)) = origin.split_once("://") else { return false };
    let host = headers.get(HOST).and_then(|h| h.to_str().ok());
    [host, public].into_iter().flatten().any(|host| host.eq_ignore_ascii_case(origin))
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
            assert_eq!(without_port(header).as_deref(), host, "{header}");
        }
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
        assert!(is_allowed(&HeaderMap::new(), None, &[]));
        assert!(is_allowed(&headers("http://host:8080"), None, &[]));
        assert!(is_allowed(&headers("https://other.example"), None, &listed));
        assert!(is_allowed(&headers("https://other.example"), Some("other.example"), &[]));
        for origin in ["https://other.example", "http://host", "null", "http://host:8080.evil.example"] {
            assert!(!is_allowed(&headers(origin), Some("call.example.org"), &[]), "{origin}");
        }
    }
}
