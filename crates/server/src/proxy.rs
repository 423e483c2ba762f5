//! Who asks, and by which name: behind reverse proxies and tunnels that are named in the settings, what their
//! headers say; else what the connection itself says. Pure, but for the layer at the end.

use crate::address::ClientAddress;
use crate::door::Via;
use crate::net::Net;
use axum::extract::{Request, State};
use axum::http::header::{FORWARDED, HOST};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::Response;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// By which name the client called us. An extension of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicHost {
    /// Whether the client speaks TLS, to us or to the proxy.
    pub https: bool,
    /// `host` or `host:port`, as a browser writes it. Empty when the client named none (HTTP/1.0).
    pub host: String,
}

/// The header in which trusted proxies name the client. Only this one is read: a proxy that sets the one
/// hands the other on as the client forged it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// What nearly all set.
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// The address under which browsers reach the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// Whether by TLS.
    pub https: bool,
    /// `host` or `host:port`.
    pub authority: String,
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no server's address: write \"https://call.example.org\"");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|a| !a.as_str().contains('@')).ok_or_else(wrong)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        Ok(Self { https, authority: authority.as_str().to_ascii_lowercase() })
    }
}

impl std::fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }
}

/// What stands between clients and us.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// Whose headers are believed.
    pub trusted: Vec<Net>,
    /// Which header names the client.
    pub header: ForwardedHeader,
    /// Our own address, where it is known.
    pub public_url: Option<PublicUrl>,
}

impl Proxies {
    /// Whether that is one of the named proxies.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(ip))
    }

    /// The client behind `peer`: the last in the chain that is no trusted proxy. What stands left of it may
    /// be forged by anybody.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        for hop in self.hops(headers).iter().rev() {
            let Some(ip) = hop else { break };
            client = *ip;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    /// The chain as the header tells it, from the client on; nothing where an entry names no address.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let name = match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        // A header that is no text breaks the chain there.
        let lines = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
        lines
            .flat_map(|line| line.split(','))
            .map(|entry| match self.header {
                ForwardedHeader::XForwardedFor => address(entry),
                ForwardedHeader::Forwarded => parameter(entry, "for").and_then(address),
            })
            .collect()
    }

    /// How the client called us.
    pub fn public_host(&self, via: &Via, uri: &Uri, headers: &HeaderMap) -> PublicHost {
        if let Some(url) = &self.public_url {
            return PublicHost { https: url.https, host: url.authority.clone() };
        }
        let named = headers.get(HOST).and_then(|h| h.to_str().ok());
        let named = named.or_else(|| uri.authority().map(|a| a.as_str())).unwrap_or_default();
        let mut public = PublicHost { https: via.tls, host: named.to_ascii_lowercase() };
        if self.trusts(via.peer.ip()) {
            let (proto, host) = self.told(headers);
            public.https = proto.map_or(public.https, |p| p.eq_ignore_ascii_case("https"));
            public.host = host.map_or(public.host, |h| h.to_ascii_lowercase());
        }
        public
    }

    /// Scheme and host as the nearest proxy tells them.
    fn told<'a>(&self, headers: &'a HeaderMap) -> (Option<&'a str>, Option<&'a str>) {
        let last = |name: &str| {
            let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            line.rsplit(',').next().map(str::trim).filter(|text| !text.is_empty())
        };
        match self.header {
            ForwardedHeader::XForwardedFor => (last("x-forwarded-proto"), last("x-forwarded-host")),
            ForwardedHeader::Forwarded => {
                let entry = last(FORWARDED.as_str());
                (entry.and_then(|e| parameter(e, "proto")), entry.and_then(|e| parameter(e, "host")))
            }
        }
    }
}

/// `1.2.3.4`, `1.2.3.4:567`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:567`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let ip = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|a| a.ip()))
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse());
    ip.ok().map(|ip| ip.to_canonical())
}

/// A parameter of one element of `Forwarded`: `for=192.0.2.43;proto=https;host="call.example.org"`.
fn parameter<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = entry
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim().trim_matches('"'))
}

/// Puts [`ClientAddress`] and [`PublicHost`] into each request.
pub(crate) async fn tell(State(proxies): State<Arc<Proxies>>, mut request: Request, next: Next) -> Response {
    if let Some(via) = request.extensions().get::<Via>().copied() {
        let client = proxies.client(via.peer.ip(), request.headers());
        let public = proxies.public_host(&via, request.uri(), request.headers());
        request.extensions_mut().insert(ClientAddress(client));
        request.extensions_mut().insert(public);
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn proxies(header: ForwardedHeader) -> Proxies {
        let trusted = ["127.0.0.1", "10.0.0.0/8", "::1"].map(|n| n.parse().unwrap()).to_vec();
        Proxies { trusted, header, public_url: None }
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn client(peer: &str, header: ForwardedHeader, lines: &[(&str, &str)]) -> String {
        proxies(header).client(peer.parse().unwrap(), &headers(lines)).to_string()
    }

    #[test]
    fn the_last_address_that_no_proxy_of_ours_has_is_the_client() {
        let x = ForwardedHeader::XForwardedFor;
        for (peer, lines, expected) in [
            ("192.0.2.1", vec![("x-forwarded-for", "6.6.6.6")], "192.0.2.1"),
            ("127.0.0.1", vec![], "127.0.0.1"),
            ("127.0.0.1", vec![("x-forwarded-for", "192.0.2.9")], "192.0.2.9"),
            ("::ffff:127.0.0.1", vec![("x-forwarded-for", "192.0.2.9")], "192.0.2.9"),
            ("127.0.0.1", vec![("x-forwarded-for", "6.6.6.6, 192.0.2.9, 10.1.1.1")], "192.0.2.9"),
            (
                "127.0.0.1",
                vec![("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.9")],
                "192.0.2.9",
            ),
            ("127.0.0.1", vec![("x-forwarded-for", "[2001:db8::7]:4711")], "2001:db8::7"),
            ("127.0.0.1", vec![("x-forwarded-for", "6.6.6.6, unknown, 10.1.1.1")], "10.1.1.1"),
            ("127.0.0.1", vec![("x-forwarded-for", "10.2.2.2, 10.1.1.1")], "10.2.2.2"),
            ("127.0.0.1", vec![("forwarded", "for=6.6.6.6")], "127.0.0.1"),
        ] {
            assert_eq!(client(peer, x, &lines), expected, "{peer} {lines:?}");
        }
        let f = ForwardedHeader::Forwarded;
        for (value, expected) in [
            ("for=192.0.2.43", "192.0.2.43"),
            ("for=6.6.6.6, For=\"[2001:db8:cafe::17]:4711\";proto=https, for=10.0.0.1", "2001:db8:cafe::17"),
            ("for=6.6.6.6, for=_hidden", "127.0.0.1"),
            ("proto=https", "127.0.0.1"),
        ] {
            let lines = [("forwarded", value), ("x-forwarded-for", "6.6.6.6")];
            assert_eq!(client("127.0.0.1", f, &lines), expected, "{value}");
        }
    }

    #[test]
    fn scheme_and_host_are_believed_of_trusted_proxies_only() {
        let lines = [
            ("host", "inside:8080"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "Call.Example.org"),
            ("forwarded", "for=192.0.2.1;proto=https;host=other.example"),
        ];
        let told = |peer: &str, proxies: &Proxies| {
            let via = Via {
                peer: format!("{peer}:5").parse().unwrap(),
                local: ([127, 0, 0, 1], 1).into(),
                tls: false,
            };
            let public = proxies.public_host(&via, &Uri::from_static("/"), &headers(&lines));
            format!("{} {}", public.https, public.host)
        };
        assert_eq!(told("127.0.0.1", &proxies(ForwardedHeader::XForwardedFor)), "true call.example.org");
        assert_eq!(told("127.0.0.1", &proxies(ForwardedHeader::Forwarded)), "true other.example");
        assert_eq!(told("192.0.2.1", &proxies(ForwardedHeader::XForwardedFor)), "false inside:8080");
        let mut known = proxies(ForwardedHeader::XForwardedFor);
        known.public_url = Some("https://snug.example:8443/".parse().unwrap());
        assert_eq!(told("192.0.2.1", &known), "true snug.example:8443");
    }

    #[test]
    fn addresses_of_servers() {
        assert_eq!(
            "https://Call.example.org/".parse::<PublicUrl>().unwrap().to_string(),
            "https://call.example.org"
        );
        for wrong in ["call.example.org", "ftp://x", "https://x/room", "https://a@b", "https://", ""] {
            assert!(wrong.parse::<PublicUrl>().is_err(), "{wrong}");
        }
    }
}
