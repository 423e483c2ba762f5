//! One connection: what is spoken on it, and by whom it is served.

use super::stream::{Begun, Seated};
use super::{BoxedIo, PlainHttp, Shared, Transport, Via, closing};
use crate::net::{household, is_public};
use crate::tls::ACME_TLS;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io::Result;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

/// The most that a request's line and headers may have, in bytes.
const MOST_HEADERS: usize = 16 * 1024;
/// How long the last words to somebody may take, and how much of theirs is read meanwhile.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);
const FAREWELL_MOST: usize = 64 * 1024;

/// A TLS alert, fatal: handshake_failure. So a browser says at once that there is no TLS.
const NO_TLS: [u8; 7] = [21, 3, 1, 0, 2, 2, 40];

const PRIVATE_ONLY: &str = "This server speaks plain HTTP, which is for private networks only. Whoever runs \
    it can give it a certificate, or name the proxy before it (docs/self-hosting.md).\n";

/// What a first byte begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    /// RFC 7983 has 0 to 3 for STUN.
    Stun,
    /// A TLS record with a handshake.
    Tls,
    /// A method: an ASCII letter.
    Http,
    Unknown,
}

impl Spoken {
    fn of(first: u8) -> Self {
        match first {
            0..=3 => Self::Stun,
            22 => Self::Tls,
            b'A'..=b'Z' | b'a'..=b'z' => Self::Http,
            _ => Self::Unknown,
        }
    }
}

/// What is to be done with a connection that has begun.
enum Begin {
    Http(BoxedIo, Via),
    Stun(BoxedIo, Via),
    /// Close it, with these last words.
    Farewell(BoxedIo, Vec<u8>),
    /// It is over.
    Over,
}

pub(super) async fn serve(shared: Arc<Shared>, stream: Seated, via: Via, mut stop: watch::Receiver<bool>) {
    // Boxed, so that what is needed only at the start is not kept as long as the connection.
    let beginning = Box::pin(begin(&shared, stream, via));
    let begun = tokio::select! {
        begun = timeout(shared.settings.first_bytes, beginning) => begun,
        () = closing(&mut stop) => return,
    };
    match begun {
        Ok(Ok(Begin::Http(io, via))) => Box::pin(ask(&shared, io, via, stop)).await,
        Ok(Ok(Begin::Stun(io, via))) => Box::pin(stun(&shared, io, via, stop)).await,
        Ok(Ok(Begin::Farewell(io, words))) => {
            farewell(io, &words).await;
        }
        Ok(Ok(Begin::Over)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended before it began"),
        Err(_) => shared.refuse(via.peer, "silent"),
    }
}

async fn begin(shared: &Shared, mut stream: Seated, via: Via) -> Result<Begin> {
    let Some(first) = stream.first().await? else { return Ok(Begin::Over) };
    Ok(match (Spoken::of(first), &shared.inside.tls) {
        (Spoken::Stun, _) => Begin::Stun(Box::new(stream), via),
        (Spoken::Tls, Some(config)) => {
            // Boxed, so that whoever says nothing does not cost a handshake.
            return Box::pin(secured(shared, stream, via, TlsAcceptor::from(config.clone()))).await;
        }
        (Spoken::Tls, None) => {
            shared.refuse(via.peer, "tls-on-a-plain-port");
            Begin::Farewell(Box::new(stream), NO_TLS.to_vec())
        }
        (Spoken::Http, Some(_)) => {
            shared.refuse(via.peer, "plain-on-a-tls-port");
            let text = "This port speaks TLS: write https:// before the address.\n";
            Begin::Farewell(Box::new(stream), answer("400 Bad Request", text))
        }
        (Spoken::Http, None) if !shared.may_be_plain(via) => {
            shared.refuse(via.peer, "plain-from-the-internet");
            Begin::Farewell(Box::new(stream), answer("403 Forbidden", PRIVATE_ONLY))
        }
        (Spoken::Http, None) => Begin::Http(Box::new(stream), via),
        (Spoken::Unknown, _) => {
            shared.refuse(via.peer, "unknown-protocol");
            Begin::Over
        }
    })
}

async fn secured(shared: &Shared, stream: Seated, via: Via, acceptor: TlsAcceptor) -> Result<Begin> {
    let metrics = &shared.inside.metrics;
    let mut stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            metrics.handshake(false);
            tracing::debug!(%error, "a TLS handshake failed");
            return Ok(Begin::Over);
        }
    };
    metrics.handshake(true);
    let via = Via { tls: true, ..via };
    if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) {
        // The certificate authority has seen what it wanted (RFC 8737).
        stream.shutdown().await?;
        return Ok(Begin::Over);
    }
    let mut first = [0];
    if stream.read(&mut first).await? == 0 {
        return Ok(Begin::Over);
    }
    let spoken = Spoken::of(first[0]);
    let io: BoxedIo = Box::new(Begun::new(first.to_vec(), stream));
    Ok(match spoken {
        Spoken::Http => Begin::Http(io, via),
        Spoken::Stun => Begin::Stun(io, via),
        Spoken::Tls | Spoken::Unknown => {
            shared.refuse(via.peer, "unknown-protocol");
            Begin::Over
        }
    })
}

/// Waits for the headers before anything is spent on them, then for a turn.
async fn ask(shared: &Arc<Shared>, mut io: BoxedIo, via: Via, mut stop: watch::Receiver<bool>) {
    let settings = &shared.settings;
    let head = tokio::select! {
        head = timeout(settings.headers, head(&mut io)) => head,
        () = closing(&mut stop) => return,
    };
    let head = match head {
        Ok(Ok(Some(head))) => head,
        Ok(Ok(None)) => {
            shared.refuse(via.peer, "too-long-headers");
            let text = format!("The request's headers must have {MOST_HEADERS} bytes at most.\n");
            return farewell(io, &answer("431 Request Header Fields Too Large", &text)).await;
        }
        Ok(Err(error)) => return tracing::debug!(%error, "a connection ended before it asked"),
        Err(_) => return shared.refuse(via.peer, "slow-headers"),
    };
    let of = (!shared.inside.proxies.trusts(via.peer.ip())).then(|| household(via.peer.ip()));
    match timeout(settings.headers, shared.turnstile.pass(of)).await {
        // Given back when the connection ends, or has become a WebSocket.
        Ok(Some(_pass)) => Box::pin(http(shared, Begun::new(head, io), via, stop)).await,
        Ok(None) | Err(_) => shared.refuse(via.peer, "too-many-requests-at-once"),
    }
}

/// All up to the empty line that ends a request's headers, and what came with it; none when that is too much.
async fn head(io: &mut BoxedIo) -> Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        head.reserve(512);
        let before = head.len();
        if io.read_buf(&mut head).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        // The end may have begun before what came last.
        let new = &head[before.saturating_sub(3)..];
        if new.windows(4).any(|end| end == b"\r\n\r\n") || new.windows(2).any(|end| end == b"\n\n") {
            return Ok(Some(head));
        }
        if head.len() > MOST_HEADERS {
            return Ok(None);
        }
    }
}

async fn http(shared: &Arc<Shared>, io: Begun<BoxedIo>, via: Via, mut stop: watch::Receiver<bool>) {
    let router = shared.inside.router.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(via.peer));
        request.extensions_mut().insert(via);
        let mut router = router.clone();
        async move { Service::call(&mut router, request).await }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(shared.settings.idle).max_buf_size(MOST_HEADERS);
    // Where many ask, nobody keeps a connection for what may come.
    builder.keep_alive(!shared.turnstile.is_busy());
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Ok(()) => {}
        Err(error) if error.is_parse() => shared.refuse(via.peer, "bad-http"),
        Err(error) => tracing::debug!(%error, "an HTTP connection ended"),
    }
}

async fn stun(shared: &Shared, io: BoxedIo, via: Via, mut stop: watch::Receiver<bool>) {
    let Some(streams) = &shared.inside.streams else {
        return shared.refuse(via.peer, "no-turn-here");
    };
    let over = if via.tls { Transport::Tls } else { Transport::Tcp };
    shared.inside.metrics.stream();
    tokio::select! {
        () = streams.serve_stream(io, via.peer, via.local, over) => {}
        () = closing(&mut stop) => {}
    }
}

impl Shared {
    fn may_be_plain(&self, via: Via) -> bool {
        let peer = via.peer.ip();
        match self.settings.plain_http {
            PlainHttp::Anybody => true,
            PlainHttp::Private | PlainHttp::PrivateClients => {
                !is_public(peer) || self.inside.proxies.trusts(peer)
            }
        }
    }
}

fn answer(status: &str, text: &str) -> Vec<u8> {
    let length = text.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    )
    .into_bytes()
}

/// Says the last words, and reads on for a moment: closing on unread bytes would take the words back.
async fn farewell(mut io: BoxedIo, words: &[u8]) {
    let leaving = async {
        io.write_all(words).await?;
        io.shutdown().await?;
        let (mut read, mut buffer) = (0, [0; 1024]);
        while read < FAREWELL_MOST {
            match io.read(&mut buffer).await? {
                0 => break,
                some => read += some,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    match timeout(FAREWELL_WITHIN, leaving).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "somebody left before the last words"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells() {
        for (first, spoken) in [
            (0x00, Spoken::Stun),
            (0x01, Spoken::Stun),
            (0x16, Spoken::Tls),
            (b'G', Spoken::Http),
            (b'p', Spoken::Http),
            (0x40, Spoken::Unknown),
            (0x80, Spoken::Unknown),
            (b'\r', Spoken::Unknown),
        ] {
            assert_eq!(Spoken::of(first), spoken, "{first:#x}");
        }
    }
}
