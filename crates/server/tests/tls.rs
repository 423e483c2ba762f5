//! Certificates from files, the first byte on each kind of port, redirects, and several addresses.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod common;
mod secure;

use common::{Bare, hello};
use secure::{Authority, Client, ask, until};
use server::tls::{Settings, Source};
use server::{Config, Running, Server};
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const HOST: &str = "call.test";

struct World {
    authority: Authority,
    folder: tempfile::TempDir,
    client: Client,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new();
        let client = Client::new(authority.root());
        Self { authority, folder: tempfile::tempdir().unwrap(), client }
    }

    fn config(&self) -> Config {
        let (cert, key) = self.authority.write(self.folder.path(), HOST);
        let source = Source::Files { cert, key };
        let tls = Some(Settings { source, redirect: vec![([127, 0, 0, 1], 0).into()] });
        let metrics = Some(([127, 0, 0, 1], 0).into());
        Config { listen: ([127, 0, 0, 1], 0).into(), tls, metrics, ..Config::default() }
    }
}

/// Asks by what address one is seen (RFC 8489), and gives the answer's first four bytes.
async fn asks_stun(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> [u8; 4] {
    let mut request = [0u8; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&0x2112_a442u32.to_be_bytes());
    request[8..].copy_from_slice(b"twelve bytes");
    stream.write_all(&request).await.unwrap();
    let mut head = [0; 4];
    tokio::time::timeout(secure::WITHIN, stream.read_exact(&mut head)).await.expect("no answer").unwrap();
    head
}

async fn raw(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(secure::WITHIN, stream.read_to_end(&mut answer));
    // Closing without having read all that came is a reset.
    if let Err(error) = read.await.expect("it is not closed") {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    answer
}

#[tokio::test]
async fn one_port_speaks_https_and_stun_and_says_what_else_is_wrong() {
    let world = World::new();
    let server = Server::bind(world.config()).await.unwrap();
    let at = server.local_addr();
    assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
    let page = world.client.get(at, HOST, "/tea").await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<title>"), "{page}");
    assert!(page.contains("strict-transport-security: max-age=31536000\r\n"), "{page}");
    assert!(world.client.get(at, HOST, "/healthz/ready").await.unwrap().ends_with("ready\n"));

    let asked = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let figures = String::from_utf8(raw(server.metrics_addr().unwrap(), asked).await).unwrap();
    assert!(figures.contains("\nsnug_tls_handshakes_total 2\n"), "{figures}");
    // rcgen's certificates end in the year 4096.
    assert!(figures.contains("\nsnug_tls_certificate_ends_seconds 67090"), "{figures}");
    assert!(figures.contains("\nsnug_turn_allocations 0\n"), "{figures}");

    for answer in [
        asks_stun(world.client.connect(at, HOST).await.unwrap()).await,
        asks_stun(TcpStream::connect(at).await.unwrap()).await,
    ] {
        assert_eq!(answer[..2], [1, 1], "a success response");
    }
    let plain = String::from_utf8(raw(at, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await).unwrap();
    assert!(plain.starts_with("HTTP/1.1 400 ") && plain.contains("write https:// before"), "{plain}");
    assert_eq!(raw(at, b"\xff\xfe\x00\x00").await, b"");
}

#[tokio::test]
async fn a_plain_port_has_an_alert_for_tls_and_no_word_for_stun_without_turn() {
    let server = common::server_with(|config| config.turn.enabled = Some(false)).await;
    let client_hello = [22, 3, 1, 0, 5, 1, 0, 0, 1, 0];
    assert_eq!(raw(server.local_addr(), &client_hello).await, [21, 3, 1, 0, 2, 2, 40]);
    assert_eq!(raw(server.local_addr(), &[0, 1, 0, 0]).await, b"");
    assert_eq!(raw(server.local_addr(), &[0x40, 0, 0, 0]).await, b"");
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_no_connection_is_dropped() {
    let world = World::new();
    let server = Server::bind(world.config()).await.unwrap();
    let at = server.local_addr();
    let mut ann = websocket(&world.client, &server).await;
    ann.say(&hello("tea", "Ann")).await;
    assert_eq!(ann.hear().await["type"], "welcome");
    let before = world.client.serial(at, HOST).await.unwrap();

    // A key that does not fit: the certificate of before goes on.
    std::fs::write(world.folder.path().join("key.pem"), world.authority.issue(HOST, |_| {}).1).unwrap();
    server.reload();
    assert_eq!(world.client.serial(at, HOST).await.unwrap(), before);

    world.authority.write(world.folder.path(), HOST);
    server.reload();
    let after = until("another certificate", async || {
        let now = world.client.serial(at, HOST).await.unwrap();
        (now != before).then_some(now)
    });
    assert_ne!(after.await, before);
    // And by itself, without being told.
    world.authority.write(world.folder.path(), HOST);
    let after = world.client.serial(at, HOST).await.unwrap();
    until("a third", async || (world.client.serial(at, HOST).await.unwrap() != after).then_some(())).await;

    let mut bo = websocket(&world.client, &server).await;
    bo.say(&hello("tea", "Bo")).await;
    assert_eq!(bo.hear().await["type"], "welcome");
    assert_eq!(ann.hear().await["type"], "joined", "the connection of before goes on");
    let (code, ()) = tokio::join!(ann.close_code(), server.shutdown());
    assert_eq!(code, 1001);
}

async fn websocket(client: &Client, server: &Running) -> Bare<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = client.connect(server.local_addr(), HOST).await.unwrap();
    Bare(tokio_tungstenite::client_async(format!("wss://{HOST}/ws"), stream).await.unwrap().0)
}

#[tokio::test]
async fn plain_http_is_led_to_https() {
    let world = World::new();
    let server = Server::bind(world.config()).await.unwrap();
    let port = server.local_addr().port();
    let at = server.redirect_addrs()[0];
    for (host, place) in [
        ("call.test", format!("https://call.test:{port}/tea%20time?x=1")),
        ("call.test:80", format!("https://call.test:{port}/tea%20time?x=1")),
    ] {
        let request = format!("GET /tea%20time?x=1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(raw(at, request.as_bytes()).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
        assert!(answer.contains(&format!("location: {place}\r\n")), "{answer}");
    }
    let nameless = String::from_utf8(raw(at, b"GET / HTTP/1.0\r\n\r\n").await).unwrap();
    assert!(nameless.starts_with("HTTP/1.0 400 "), "{nameless}");
}

#[tokio::test]
async fn faulty_files_are_named_with_what_to_do() {
    let world = World::new();
    let folder = world.folder.path();
    let (cert, key) = world.authority.write(folder, HOST);
    let other = folder.join("other.pem");
    std::fs::write(&other, world.authority.issue(HOST, |_| {}).1).unwrap();
    let text = folder.join("text.pem");
    std::fs::write(&text, "hello").unwrap();
    let none = folder.join("none.pem");
    for (cert, key, expected) in [
        (&none, &key, "none.pem: No such file or directory (os error 2): it must exist"),
        (&text, &key, "text.pem: holds no certificate"),
        (&cert, &text, "text.pem: holds no private key"),
        (&cert, &other, "other.pem: is not the key of the certificate in "),
    ] {
        let error = bind(cert, key).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    drop(bind(&cert, &key).await.unwrap());
}

async fn bind(cert: &Path, key: &Path) -> Result<Running, server::BindError> {
    let source = Source::Files { cert: cert.to_owned(), key: key.to_owned() };
    let tls = Some(Settings { source, redirect: Vec::new() });
    Server::bind(Config { listen: ([127, 0, 0, 1], 0).into(), tls, ..Config::default() }).await
}

#[tokio::test]
async fn both_families_on_one_port() {
    let mut config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    let port = {
        let both = std::net::TcpListener::bind("[::]:0").unwrap();
        both.local_addr().unwrap().port()
    };
    config.listen.0 = vec![([0, 0, 0, 0], port).into(), (std::net::Ipv6Addr::UNSPECIFIED, port).into()];
    let server = Server::bind(config).await.unwrap();
    assert_eq!(server.local_addrs().len(), 2);
    for at in [SocketAddr::from(([127, 0, 0, 1], port)), (std::net::Ipv6Addr::LOCALHOST, port).into()] {
        let stream = TcpStream::connect(at).await.unwrap();
        let answer = ask(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.ends_with("ok\n"), "{at}: {answer}");
    }
}
