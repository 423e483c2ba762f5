//! Certificates by themselves, from a real authority: Let's Encrypt's pebble (Debian's package), run here.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod common;
mod secure;

use common::{Bare, hello};
use rcgen::CertificateParams;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secure::{Authority, Client, until};
use serde_json::json;
use server::acme::{Challenge, Settings};
use server::tls::{self, Source};
use server::{Config, Running, Server};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const HOST: &str = "call.example.org";

/// pebble, and its name server, which says that every name is 127.0.0.1.
struct Pebble {
    processes: Vec<Child>,
    directory: String,
    management: SocketAddr,
    own: Client,
    ca_file: PathBuf,
    folder: tempfile::TempDir,
    /// Where it looks whether a name is ours.
    tls_port: u16,
    http_port: u16,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

/// Ports that are free for TCP and UDP, below those that the system gives to whoever asks for any: a port of those
/// could be another test's by the time that pebble, or its name server, wants it. Tests are processes of their own
/// and begin to look at places of their own.
fn ports<const N: usize>() -> [u16; N] {
    let free = |port: &u16| {
        TcpListener::bind(("127.0.0.1", *port)).is_ok() && UdpSocket::bind(("127.0.0.1", *port)).is_ok()
    };
    let (first, count) = (12_000, 20_000);
    let from = std::process::id() * 16 % count;
    let mut found = (0..count).map(|n| (first + (from + n) % count) as u16).filter(free);
    std::array::from_fn(|_| found.next().unwrap())
}

impl Pebble {
    /// Certificates are good for so many seconds.
    async fn start(validity: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let (cert, key) = authority.write(folder.path(), "localhost");
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, authority.root_pem()).unwrap();
        let [acme, management, tls_port, http_port, names, names_management] = ports();
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{acme}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": cert, "privateKey": key, "httpPort": http_port, "tlsPort": tls_port,
            "certificateValidityPeriod": validity,
        }});
        let file = folder.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let processes = vec![
            start(Command::new("pebble-challtestsrv").args([
                format!("-dns01=127.0.0.1:{names}"),
                format!("-management=127.0.0.1:{names_management}"),
                "-defaultIPv4=127.0.0.1".into(),
                "-defaultIPv6=".into(),
                "-http01=".into(),
                "-https01=".into(),
                "-tlsalpn01=".into(),
            ])),
            // One nonce of ten is refused, as a busy authority's are. An order, of some ten requests that are
            // each tried three times, is then lost once in a hundred times, and made again 15 s later.
            start(
                Command::new("pebble")
                    .arg(format!("-config={}", file.display()))
                    .arg(format!("-dnsserver=127.0.0.1:{names}"))
                    .env("PEBBLE_VA_NOSLEEP", "1")
                    .env("PEBBLE_WFE_NONCEREJECT", "10"),
            ),
        ];
        let own = Client::new(authority.root());
        let management = SocketAddr::from(([127, 0, 0, 1], management));
        let directory = format!("https://localhost:{acme}/dir");
        let pebble = Self { processes, directory, management, own, ca_file, folder, tls_port, http_port };
        until("pebble listens", async || pebble.root().await).await;
        pebble
    }

    /// The root of what it issues.
    async fn root(&self) -> Option<CertificateDer<'static>> {
        let answer = self.own.get(self.management, "localhost", "/roots/0").await.ok()?;
        let (_, pem) = answer.split_once("\r\n\r\n")?;
        CertificateDer::from_pem_slice(pem.as_bytes()).ok()
    }

    async fn client(&self) -> Client {
        Client::new(self.root().await.unwrap())
    }

    fn config(&self, challenge: Challenge) -> Config {
        let acme = Settings {
            host: HOST.into(),
            email: Some("somebody@example.org".into()),
            directory: self.directory.clone(),
            ca_file: Some(self.ca_file.clone()),
            cache: self.folder.path().join("cache"),
            challenge,
        };
        let redirect = match challenge {
            Challenge::TlsAlpn01 => Vec::new(),
            Challenge::Http01 => vec![([127, 0, 0, 1], self.http_port).into()],
        };
        let tls = Some(tls::Settings { source: Source::Acme(acme), redirect });
        let port = if challenge == Challenge::TlsAlpn01 { self.tls_port } else { 0 };
        without_turn(Config { listen: ([127, 0, 0, 1], port).into(), tls, ..Config::default() })
    }
}

/// One server after the other is on the same port, at once.
fn without_turn(mut config: Config) -> Config {
    config.turn.enabled = Some(false);
    config
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("apt-get install pebble")
}

async fn serial(client: &Client, server: &Running) -> String {
    let look = async || client.serial(server.local_addr(), HOST).await.ok();
    until("a certificate that the authority's root vouches for", look).await
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_certificate_comes_by_tls_alpn_01_and_is_kept() {
    let pebble = Pebble::start(90 * 86_400).await;
    let client = pebble.client().await;
    let server = Server::bind(pebble.config(Challenge::TlsAlpn01)).await.unwrap();
    assert_eq!(server.url(), format!("https://{HOST}:{}", pebble.tls_port));
    let first = serial(&client, &server).await;
    let page = client.get(server.local_addr(), HOST, "/healthz/ready").await.unwrap();
    assert!(page.ends_with("ready\n"), "{page}");
    server.shutdown().await;

    let cache = pebble.folder.path().join("cache");
    let kept = files(&cache);
    assert_eq!(kept.len(), 2, "account and certificate: {kept:?}");
    for file in kept {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    let again = Server::bind(pebble.config(Challenge::TlsAlpn01)).await.unwrap();
    let second = client.serial(again.local_addr(), HOST).await.unwrap();
    assert_eq!(second, first, "the one of before is used at once");
}

#[tokio::test]
async fn a_certificate_comes_by_http_01() {
    let pebble = Pebble::start(90 * 86_400).await;
    let client = pebble.client().await;
    let server = Server::bind(pebble.config(Challenge::Http01)).await.unwrap();
    serial(&client, &server).await;
}

#[tokio::test]
async fn it_is_renewed_after_two_thirds_of_its_life_and_no_connection_is_dropped() {
    // Good for fifteen seconds: a new one is due after ten.
    let pebble = Pebble::start(15).await;
    let client = pebble.client().await;
    let server = Server::bind(pebble.config(Challenge::TlsAlpn01)).await.unwrap();
    let first = serial(&client, &server).await;
    let stream = client.connect(server.local_addr(), HOST).await.unwrap();
    let mut ann = Bare(tokio_tungstenite::client_async(format!("wss://{HOST}/ws"), stream).await.unwrap().0);
    ann.say(&hello("tea", "Ann")).await;
    assert_eq!(ann.hear().await["type"], "welcome");
    let second = until("a second certificate", async || {
        client.serial(server.local_addr(), HOST).await.ok().filter(|now| *now != first)
    });
    // She answers the server's pings in the meantime: after 20 s of silence she would be let go.
    let second = tokio::select! {
        second = second => second,
        said = ann.hear_within(Duration::from_secs(120)) => panic!("{said}"),
    };
    assert_ne!(second, first);
    ann.say(&json!({"type": "wave"})).await;
    assert_eq!(ann.hear().await["code"], "bad-message", "the connection of before goes on");
}

#[tokio::test]
async fn an_old_certificate_goes_on_while_the_authority_is_away() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let [nobody, port] = ports();
    let acme = Settings {
        host: HOST.into(),
        email: None,
        directory: format!("https://localhost:{nobody}/dir"),
        ca_file: None,
        cache: folder.path().to_owned(),
        challenge: Challenge::TlsAlpn01,
    };
    // Nine tenths of its life are over.
    let aged = |params: &mut CertificateParams| {
        let now = std::time::SystemTime::now();
        let day = Duration::from_secs(86_400);
        params.not_before = (now - day * 81).into();
        params.not_after = (now + day * 9).into();
    };
    let (certificate, key) = authority.issue(HOST, aged);
    let cache = folder.path().join(format!("localhost_{nobody}_dir"));
    std::fs::create_dir(&cache).unwrap();
    std::fs::write(cache.join(format!("{HOST}.pem")), format!("{key}{certificate}")).unwrap();
    let tls = Some(tls::Settings { source: Source::Acme(acme.clone()), redirect: Vec::new() });
    let config = without_turn(Config { listen: ([127, 0, 0, 1], port).into(), tls, ..Config::default() });
    let server = Server::bind(config.clone()).await.unwrap();
    let page = Client::new(authority.root()).get(server.local_addr(), HOST, "/healthz/ready").await.unwrap();
    assert!(page.ends_with("ready\n"), "{page}");
    server.shutdown().await;

    // Without one there is no handshake, and the server says by its health that it waits.
    std::fs::remove_dir_all(&cache).unwrap();
    let server = Server::bind(config.clone()).await.unwrap();
    assert!(Client::new(authority.root()).serial(server.local_addr(), HOST).await.is_err());
    server.shutdown().await;

    // A folder that cannot be one.
    std::fs::remove_dir_all(&cache).unwrap();
    std::fs::write(&cache, "in the way").unwrap();
    let error = Server::bind(config).await.unwrap_err().to_string();
    assert!(error.contains("tls.acme.cache must be the server's to write"), "{error}");
}
