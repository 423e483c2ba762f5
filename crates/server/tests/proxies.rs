//! Behind nginx and Caddy, set up as docs/self-hosting.md says: whose address counts, any host's name,
//! WebSockets.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod common;
mod secure;

use common::{Bare, hello};
use futures_util::StreamExt;
use secure::{ask, until};
use server::proxy::{ForwardedHeader, Proxies};
use server::{Config, Running, Server};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// A proxy that runs; it ends when dropped.
struct Proxy {
    process: Child,
    at: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// What the document has between ``` and ```, after a line with `mark`.
fn from_the_document(mark: &str) -> String {
    let text = include_str!("../../../docs/self-hosting.md");
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("docs/self-hosting.md has no {mark}"));
    let (_, rest) = rest.split_once("```").unwrap();
    let (_, block) = rest.split_once('\n').unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn started(mut command: Command, at: SocketAddr, folder: tempfile::TempDir) -> Proxy {
    let process =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("apt-get install nginx caddy");
    until("the proxy listens", async || TcpStream::connect(at).await.ok()).await;
    Proxy { process, at, _folder: folder }
}

/// nginx as the document has it, but without TLS and on a port of ours.
async fn nginx(server: &Running) -> Proxy {
    let (folder, at) = (tempfile::tempdir().unwrap(), free());
    let of_site = from_the_document("### nginx");
    let kept = |line: &&str| !line.contains("ssl_certificate") && !line.contains("listen [::]");
    let site = of_site.lines().filter(kept).collect::<Vec<_>>().join("\n");
    let site = site
        .replace("listen 443 ssl;", &format!("listen {at};"))
        .replace("127.0.0.1:8080", &server.local_addr().to_string());
    assert!(site.contains(&at.to_string()) && !site.contains("8080"), "{site}");
    let here = folder.path().display();
    let whole = format!(
        "daemon off; master_process off; pid {here}/pid; error_log {here}/error.log;\nevents {{}}\n\
         http {{ access_log off; client_body_temp_path {here}/b; proxy_temp_path {here}/p;\n\
         fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n{site}\n}}\n"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, whole).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-e").arg(folder.path().join("early.log")).arg("-c").arg(file);
    started(command, at, folder).await
}

async fn caddy(server: &Running) -> Proxy {
    let (folder, at) = (tempfile::tempdir().unwrap(), free());
    let site = from_the_document("### Caddy")
        .replace("call.example.org {", &format!("http://:{} {{", at.port()))
        .replace("127.0.0.1:8080", &server.local_addr().to_string());
    assert!(site.contains(&at.port().to_string()) && !site.contains("8080"), "{site}");
    let file = folder.path().join("Caddyfile");
    std::fs::write(&file, format!("{{\n    admin off\n}}\n{site}")).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file).env("HOME", folder.path());
    started(command, at, folder).await
}

/// A server that trusts a proxy on this machine, and takes two connections at most of everybody else.
async fn behind() -> Running {
    let proxies = Proxies {
        trusted: vec!["127.0.0.1".parse().unwrap()],
        header: ForwardedHeader::XForwardedFor,
        public_url: None,
    };
    let mut config = Config { listen: ([127, 0, 0, 1], 0).into(), proxies, ..Config::default() };
    config.door.connections_per_address = 2;
    Server::bind(config).await.unwrap()
}

/// A WebSocket through the proxy, by the name of `host`, as a page of `origin` opens it.
async fn through(proxy: &Proxy, host: &str, origin: &str) -> Result<Bare<TcpStream>, u16> {
    let stream = TcpStream::connect(proxy.at).await.unwrap();
    let mut request = format!("ws://{host}/ws").into_client_request().unwrap();
    request.headers_mut().insert("origin", HeaderValue::from_str(origin).unwrap());
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(Bare(socket)),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn serves(proxy: &Proxy, server: &Running) {
    // Any name, and pages of that name alone.
    for host in ["call.example.org", "something.tunnel.example", "10.9.8.7:1234"] {
        let mut people = Vec::new();
        // All through one address, which has no limit of its own.
        for n in 0..4 {
            let mut bare = through(proxy, host, &format!("https://{host}")).await.unwrap();
            bare.say(&hello(host.split(':').next().unwrap(), &format!("P{n}"))).await;
            assert_eq!(bare.hear().await["type"], "welcome", "{host}");
            people.push(bare);
        }
        assert_eq!(through(proxy, host, "https://evil.example").await.err(), Some(403), "{host}");
        let mut first = people.remove(0);
        assert_eq!(first.hear().await["type"], "joined");
        first.0.close(None).await.unwrap();
        while first.0.next().await.is_some() {}
    }
    let stream = TcpStream::connect(proxy.at).await.unwrap();
    let page = ask(stream, "GET /tea HTTP/1.1\r\nHost: call.example.org\r\nConnection: close\r\n\r\n").await;
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<title>"), "{page}");
    assert!(server.local_addr().ip().is_loopback());
}

#[tokio::test]
async fn nginx_as_the_document_says() {
    let server = behind().await;
    let proxy = nginx(&server).await;
    serves(&proxy, &server).await;
}

// Debian's package starts a web server of its own on port 80: nobody's machine should get that from `./dev
// test`.
#[tokio::test]
#[ignore = "needs caddy: apt-get install caddy, then --run-ignored all"]
async fn caddy_as_the_document_says() {
    let server = behind().await;
    let proxy = caddy(&server).await;
    serves(&proxy, &server).await;
}

#[tokio::test]
async fn whoever_is_no_proxy_is_held_to_the_limit_whatever_it_forges() {
    let server = behind().await;
    let connect = async |n: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, n], 0))).unwrap();
        let stream = socket.connect(server.local_addr()).await.unwrap();
        let mut request = format!("ws://{}/ws", server.local_addr()).into_client_request().unwrap();
        request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
        tokio_tungstenite::client_async(request, stream).await.map(|(socket, _)| Bare(socket))
    };
    let _held = [connect(2).await.unwrap(), connect(2).await.unwrap()];
    assert!(connect(2).await.is_err(), "the third of one address");
    assert!(connect(3).await.is_ok(), "another address");
}
