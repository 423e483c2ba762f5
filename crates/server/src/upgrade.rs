//! From HTTP to a WebSocket (RFC 6455, section 4.2), with buffers as small as an idle connection needs.

use crate::throttle::{BYTES, Throttled};
use axum::body::Body;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use signaling::message::MAX_MESSAGE;
use std::future::Future;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// A client's WebSocket.
pub(crate) type WebSocket = WebSocketStream<Throttled<TokioIo<Upgraded>>>;

/// What is read at once. Each socket keeps it; larger messages make it grow for as long as they take.
const READ_BUFFER: usize = 2 * 1024;
/// Answers to pings wait in there while the client does not read.
const WRITE_BUFFER: usize = 4 * MAX_MESSAGE;

/// Answers a request, and has the WebSocket that comes of it served by a task of its own.
pub(crate) fn upgrade<F: Future<Output = ()> + Send + 'static>(
    mut request: Request<Body>,
    serve: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Response<Body> {
    let accept = match accept(request.method(), request.headers()) {
        Ok(accept) => accept,
        Err(why) => return refusal(why),
    };
    let Some(upgrading) = request.extensions_mut().remove::<OnUpgrade>() else {
        return refusal("this connection cannot become a WebSocket\n");
    };
    tokio::spawn(async move {
        let upgraded = match upgrading.await {
            Ok(upgraded) => Throttled::new(TokioIo::new(upgraded), BYTES),
            Err(error) => return tracing::debug!(%error, "no upgrade came of it"),
        };
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config())).await;
        // The handshake's own memory is not kept for as long as the socket lives.
        Box::pin(serve(socket)).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        // Twice what is allowed: a message that is only a little too large is read, and refused in words.
        .max_message_size(Some(2 * MAX_MESSAGE))
        .max_frame_size(Some(2 * MAX_MESSAGE))
}

/// The answer's key, or what is wrong with the request.
fn accept(method: &Method, headers: &HeaderMap) -> Result<HeaderValue, &'static str> {
    if method != Method::GET || !has(headers, &CONNECTION, "upgrade") || !has(headers, &UPGRADE, "websocket")
    {
        return Err("this address is for WebSockets: open the room's page instead\n");
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err("only version 13 of WebSocket is spoken here\n");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or("the request names no Sec-WebSocket-Key\n")?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| "this key cannot be answered\n")
}

/// Whether a header lists a word.
fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let lists = |value: &HeaderValue| {
        value.to_str().is_ok_and(|list| list.split(',').any(|each| each.trim().eq_ignore_ascii_case(word)))
    };
    headers.get_all(name).iter().any(lists)
}

fn refusal(why: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(why));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(HeaderName, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_handshake_is_that_of_the_rfc() {
        let good = [
            (CONNECTION, "keep-alive, Upgrade"),
            (UPGRADE, "WebSocket"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        // The example of RFC 6455, section 1.3.
        assert_eq!(accept(&Method::GET, &headers(&good)).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(accept(&Method::POST, &headers(&good)).is_err());
        for missing in 0..good.len() {
            let mut rest = good.to_vec();
            rest.remove(missing);
            assert!(accept(&Method::GET, &headers(&rest)).is_err(), "{missing}");
        }
    }
}
