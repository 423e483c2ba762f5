//! The server: STUN and TURN, its settings, and what proxies say.

use crate::feed::text;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use server::door::Via;
use server::proxy::{ForwardedHeader, Proxies, PublicUrl};
use server::settings::{ConfigError, Layers, show};
use server::turn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// A datagram, and the beginning of a stream.
pub fn turn(data: &[u8]) {
    let is_frame = turn::wire::datagram(data).is_some();
    assert!(is_frame || !turn::examine(data), "what is no frame is looked into");
    let mut rest = data;
    while let Ok(Some((frame, length))) = turn::wire::stream(rest) {
        let (bytes, after) = rest.split_at(length);
        assert_eq!(turn::wire::datagram(bytes), Some(frame), "another frame in a stream");
        turn::examine(bytes);
        rest = after;
    }
}

/// The settings' file.
pub fn settings(data: &[u8]) {
    let path = Path::new("snug.toml");
    let layers = Layers::default().text(path, text(data).to_owned());
    match layers.and_then(|layers| layers.config()) {
        Ok(config) => {
            let shown = show(&config);
            let again = Layers::default().text(path, shown.clone()).map(drop);
            assert!(again.is_ok(), "what is shown cannot be read: {again:?}\n{shown}");
        }
        Err(ConfigError::Line { line, .. }) => {
            assert!((1..=text(data).lines().count() + 1).contains(&line), "line {line}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A request behind proxies: the first line is its target, the others are headers.
pub fn proxy(data: &[u8]) {
    let mut lines = text(data).lines();
    let uri: Uri = lines.next().and_then(|line| line.parse().ok()).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')).take(64) {
        let (name, value) = (HeaderName::try_from(name), HeaderValue::try_from(value.trim()));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let _url = text(data).parse::<PublicUrl>();
    let _net = text(data).parse::<server::net::Net>();
    let trusted: Vec<_> = ["10.0.0.0/8", "fd00::/8"].iter().filter_map(|net| net.parse().ok()).collect();
    for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let proxies = Proxies { trusted: trusted.clone(), header, public_url: None };
        for peer in [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 1)].map(IpAddr::V4) {
            let client = proxies.client(peer, &headers);
            assert!(proxies.trusts(peer) || client == peer, "a stranger's header is believed");
            let local = SocketAddr::from(([192, 0, 2, 7], 443));
            let via = Via { peer: SocketAddr::new(peer, 5), local, tls: true };
            let public = proxies.public_host(&via, &uri, &headers);
            assert!(proxies.trusts(peer) || public.https, "a stranger's header is believed");
        }
    }
}
