//! Which NAT one sits behind, as far as it can be told from inside (RFC 5780, section 4.3): whether one
//! socket is seen under the same address by whomever it asks.

use crate::net::stun::{self, Message};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

/// A request is sent so often, and waited for so long each time.
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_millis(700);
/// Servers asked at most.
const MAX_SERVERS: usize = 6;

/// What stands between us and the servers, for UDP over IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// No server answers.
    Blocked,
    /// The servers see our own address.
    Open,
    /// Every server sees us under the same address: others can, too.
    Independent,
    /// Each sees another one ("symmetric"): with many others only a relay helps.
    Dependent,
    /// A NAT of one of these two kinds; only one server answers.
    Unknown,
}

/// Asks the servers of these `stun:` and `turn:` addresses, and where they tell of it their second address.
///
/// # Errors
/// When there is no socket to be had.
pub async fn mapping(urls: &[String]) -> io::Result<Mapping> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let port = socket.local_addr()?.port();
    let mut servers = Vec::new();
    for authority in urls.iter().filter_map(|url| authority(url)) {
        // A name that is not known is a server that does not answer.
        let found = lookup_host(authority).await.map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        servers.extend(found.into_iter().filter(SocketAddr::is_ipv4));
    }
    let (mut asked, mut seen) = (Vec::new(), Vec::new());
    while let Some(server) = servers.pop() {
        if asked.contains(&server) || asked.len() >= MAX_SERVERS {
            continue;
        }
        asked.push(server);
        if let Some((mapped, other)) = ask(&socket, server).await {
            seen.push(mapped);
            servers.extend(other);
            servers.extend(other.map(|other| SocketAddr::new(server.ip(), other.port())));
        }
    }
    let own = own_address(asked.first().copied()).await.map(|ip| SocketAddr::new(ip, port));
    Ok(judge(own, &seen))
}

fn judge(own: Option<SocketAddr>, seen: &[SocketAddr]) -> Mapping {
    match seen {
        [] => Mapping::Blocked,
        [first, rest @ ..] if rest.iter().any(|other| other != first) => Mapping::Dependent,
        [first, ..] if own == Some(*first) => Mapping::Open,
        [_] => Mapping::Unknown,
        _ => Mapping::Independent,
    }
}

/// `host:port` of what is asked over UDP.
fn authority(url: &str) -> Option<String> {
    let url = rtc::ice::url::Url::parse_url(url).ok()?;
    let udp = !url.is_secure() && url.proto.to_string() == "udp";
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    udp.then(|| format!("{host}:{}", url.port))
}

async fn ask(socket: &UdpSocket, server: SocketAddr) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let id: stun::TransactionId = rand::random();
    let request = stun::binding_request(id);
    let mut buffer = [0; 1500];
    for _ in 0..TRIES {
        socket.send_to(&request, server).await.ok()?;
        let answer = async {
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.ok()?;
                let Some(message) = Message::read(&buffer[..length]) else { continue };
                if from == server && message.id == id && message.kind == stun::BINDING_SUCCESS {
                    return message.mapped().map(|mapped| (mapped, message.other()));
                }
            }
        };
        if let Ok(answer) = timeout(PATIENCE, answer).await {
            return answer;
        }
    }
    None
}

/// The address that packets to there leave from; nothing is sent.
async fn own_address(to: Option<SocketAddr>) -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
    socket.connect(to?).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_servers_see_tells_the_kind() {
        let (own, one, two) = (Some(at("192.0.2.1:1")), at("203.0.113.1:1"), at("203.0.113.1:2"));
        assert_eq!(judge(own, &[]), Mapping::Blocked);
        assert_eq!(judge(own, &[at("192.0.2.1:1")]), Mapping::Open);
        assert_eq!(judge(own, &[one]), Mapping::Unknown);
        assert_eq!(judge(own, &[one, one]), Mapping::Independent);
        assert_eq!(judge(own, &[one, two]), Mapping::Dependent);
    }

    #[test]
    fn only_what_speaks_udp_is_asked() {
        assert_eq!(authority("stun:h:1").as_deref(), Some("h:1"));
        assert_eq!(authority("turn:[2001:db8::1]:5?transport=udp").as_deref(), Some("[2001:db8::1]:5"));
        assert_eq!(authority("turn:h?transport=tcp"), None);
        assert_eq!(authority("turns:h"), None);
        assert_eq!(authority("nonsense"), None);
    }

    /// Answers with whatever address it is told to, and once with garbage.
    async fn server(mapped: SocketAddr) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let url = format!("stun:{}", socket.local_addr().unwrap());
        tokio::spawn(async move {
            let mut buffer = [0; 100];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let request = Message::read(&buffer[..length]).unwrap();
                socket.send_to(b"garbage", from).await.unwrap();
                socket.send_to(&stun::tests::seen(request.id, mapped), from).await.unwrap();
            }
        });
        url
    }

    #[tokio::test]
    async fn servers_are_asked_and_compared() {
        let (one, two) = (at("203.0.113.1:1"), at("203.0.113.1:2"));
        let urls = [server(one).await, server(one).await];
        assert_eq!(mapping(&urls).await.unwrap(), Mapping::Independent);
        assert_eq!(mapping(&urls[..1]).await.unwrap(), Mapping::Unknown);
        let urls = [server(one).await, server(two).await];
        assert_eq!(mapping(&urls).await.unwrap(), Mapping::Dependent);
        assert_eq!(mapping(&[]).await.unwrap(), Mapping::Blocked);
    }
}
