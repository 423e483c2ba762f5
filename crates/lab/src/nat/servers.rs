//! The servers of a world: rooms over https, STUN, and TURN over UDP, TCP and TLS, with certificates of an
//! authority of our own.

use super::world::{SECOND, SECOND_V6, SERVER, SERVER_V6, World};
use super::{Programs, Turn};
use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// What coturn and the room server share.
const SECRET: &str = "north";
/// TLS is asked for at 443, where TCP is let out everywhere; behind it, it is here.
const TLS_PORT: u16 = 5349;
const PATIENCE: Duration = Duration::from_secs(10);

/// They end when dropped.
pub(super) struct Servers {
    /// The authority that clients have to trust, PEM.
    pub(super) authority: PathBuf,
    _running: Vec<Child>,
}

/// A certificate for all addresses of the servers, and its key, PEM both.
struct Identity {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Identity {
    fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let names = [SERVER, SECOND, SERVER_V6, SECOND_V6].map(str::to_owned);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let [at_authority, at_certificate, at_key] =
            ["authority.pem", "server.pem", "server.key"].map(|name| folder.join(name));
        std::fs::write(&at_authority, issuer.pem())?;
        std::fs::write(&at_certificate, certificate.pem())?;
        std::fs::write(&at_key, key.serialize_pem())?;
        Ok(Self { authority: at_authority, certificate: at_certificate, key: at_key })
    }
}

/// A command that will run in a namespace; killed when dropped.
pub(super) fn inside(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Servers {
    pub(super) async fn start(world: &World, programs: &Programs, folder: &Path) -> Result<Self> {
        let identity = Identity::new(folder)?;
        let mut running = Vec::new();
        match programs.turn {
            Turn::Coturn => {
                running.push(coturn(world, &[SERVER, SERVER_V6], folder, None)?);
                running.push(coturn(world, &[SECOND, SECOND_V6], folder, Some(&identity))?);
                lead_443_to_tls(world).await?;
                for (address, port) in [(SERVER, 3478), (SECOND, TLS_PORT)] {
                    listening(world, address, port).await?;
                }
            }
            Turn::Inside => {}
        }
        running.push(rooms(world, programs, folder, &identity).await?);
        Ok(Self { authority: identity.authority, _running: running })
    }
}

fn coturn(world: &World, at: &[&str], folder: &Path, identity: Option<&Identity>) -> Result<Child> {
    let mut command = inside(world.public(), "turnserver");
    command.args(["-n", "--no-cli", "--no-dtls", "--realm", "snug", "--log-file", "stdout"]);
    command.args(["--use-auth-secret", "--static-auth-secret", SECRET]);
    for address in at {
        command.args(["--listening-ip", address, "--relay-ip", address]);
    }
    let name = if identity.is_some() { "tls" } else { "plain" };
    command.arg("--pidfile").arg(folder.join(format!("turn-{name}.pid")));
    match identity {
        Some(Identity { certificate, key, .. }) => {
            command.args(["--tls-listening-port", &TLS_PORT.to_string(), "--no-udp"]);
            command.arg("--cert").arg(certificate).arg("--pkey").arg(key);
        }
        None => {
            command.arg("--no-tls");
        }
    }
    command.spawn().context("coturn cannot be started (apt-get install coturn)")
}

async fn lead_443_to_tls(world: &World) -> Result<()> {
    for (family, address, to) in
        [("ip", SECOND, SECOND.to_owned()), ("ip6", SECOND_V6, format!("[{SECOND_V6}]"))]
    {
        for rule in [
            format!("add table {family} lead"),
            format!("add chain {family} lead pre {{ type nat hook prerouting priority -100; }}"),
            format!(
                "add rule {family} lead pre {family} daddr {address} tcp dport 443 dnat to {to}:{TLS_PORT}"
            ),
        ] {
            let status = inside(world.public(), "nft").arg(&rule).status().await?;
            anyhow::ensure!(status.success(), "nft refuses: {rule}");
        }
    }
    Ok(())
}

/// Until somebody listens there.
async fn listening(world: &World, address: &str, port: u16) -> Result<()> {
    let trying = async {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        loop {
            again.tick().await;
            let connect = format!("exec 3<>/dev/tcp/{address}/{port}");
            if inside(world.public(), "bash").args(["-c", &connect]).status().await?.success() {
                return anyhow::Ok(());
            }
        }
    };
    let listens = tokio::time::timeout(PATIENCE, trying).await;
    listens.with_context(|| format!("nobody listens at {address} port {port}"))?
}

async fn rooms(world: &World, programs: &Programs, folder: &Path, identity: &Identity) -> Result<Child> {
    let mut urls = Vec::new();
    for host in [SERVER, &format!("[{SERVER_V6}]")] {
        urls.push(format!("turn:{host}:3478?transport=udp"));
        urls.push(format!("turn:{host}:3478?transport=tcp"));
    }
    for host in [SECOND, &format!("[{SECOND_V6}]")] {
        urls.push(format!("turns:{host}:443?transport=tcp"));
    }
    let config = folder.join("snug.toml");
    let text = match programs.turn {
        Turn::Coturn => format!(
            "[ice]\nturn_secret = \"{SECRET}\"\nturn_urls = {urls:?}\n\n[[ice.servers]]\n\
             urls = [\"stun:{SERVER}:3478\", \"stun:[{SERVER_V6}]:3478\"]\n"
        ),
        // The world's public addresses are of ranges that no internet has, and that are no peers therefore.
        Turn::Inside => format!(
            "[turn]\nlisten = [\"{SERVER}:3478\", \"[{SERVER_V6}]:3478\"]\n\
             allow_peers = [\"198.51.100.0/24\", \"203.0.113.0/24\", \"2001:db8::/32\"]\n"
        ),
    };
    let Identity { certificate, key, .. } = identity;
    std::fs::write(&config, format!("{text}\n[tls]\ncert = {certificate:?}\nkey = {key:?}\n"))?;
    let mut command = inside(world.public(), &programs.server);
    command.args(["--listen", "[::]:443", "--config"]).arg(&config).stdout(Stdio::piped());
    let mut child = command.spawn().context("snug-server cannot be started")?;
    let mut lines = BufReader::new(child.stdout.take().context("it has no standard output")?).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if line.starts_with("listening on ") {
                return Ok(());
            }
        }
        bail!("snug-server ended before it listened")
    };
    tokio::time::timeout(PATIENCE, ready).await.context("snug-server is silent")??;
    // Read to its end: it must not wait for us.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(child)
}
