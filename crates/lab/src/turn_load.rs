//! What relaying costs: Snug's server and coturn, one after the other, with the same clients.
//!
//! Clients keep a window of packets under way to a peer that sends them back, so that each packet is relayed
//! twice, on channels, over UDP on the loopback. The processor time that the server used tells how many
//! packets a core relays in a second, whatever else runs on the machine.

use crate::procs::{CpuTimes, pss_of_tree};
use crate::turn_client::{TurnClient, channel_data};
use anyhow::{Context, Result, bail, ensure};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A packet that takes longer is lost, and another is sent.
const LOST_AFTER: Duration = Duration::from_millis(500);

/// What is done.
#[derive(Clone, Debug)]
pub struct Course {
    /// Snug's server.
    pub server: PathBuf,
    /// Clients at once.
    pub clients: usize,
    /// Packets of each under way at once.
    pub window: usize,
    /// Bytes of each.
    pub bytes: usize,
    /// For so long.
    pub relaying: Duration,
    /// Allocations for the measure of memory.
    pub idle: usize,
    /// How often.
    pub runs: usize,
}

/// What one run of one server gave.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Which server.
    pub name: &'static str,
    /// Relayed packets, both ways, in one second of the server's processor time.
    pub packets_a_core: f64,
    /// Relayed packets in a second of time: what these clients and this machine made of it.
    pub packets_a_second: f64,
    /// Packets that did not come back, of all.
    pub lost: f64,
    /// Bytes of memory (PSS) for each idle allocation with one channel.
    pub bytes_an_allocation: f64,
}

struct Server {
    child: Child,
    at: SocketAddr,
    _files: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<SocketAddr> {
    Ok(StdSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn quiet(command: &mut Command) -> Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("{name} cannot be started"))
}

fn start_snug(program: &Path, course: &Course) -> Result<Server> {
    let (at, files) = (free_port()?, tempfile::tempdir()?);
    let most = course.idle + course.clients;
    let config = format!(
        "listen = \"127.0.0.1:0\"\n[turn]\nlisten = [\"{at}\"]\nsecrets = [\"{SECRET}\"]\n[turn.quotas]\n\
         allocations = {most}\nper_address = {most}\nper_credential = {most}\nbandwidth_kbps = 100000000\n"
    );
    let path = files.path().join("snug.toml");
    std::fs::write(&path, config)?;
    let child = quiet(Command::new(program).arg("--config").arg(&path).env("SNUG_LOG", "warn"))?;
    Ok(Server { child, at, _files: files })
}

fn start_coturn(_program: &Path, _course: &Course) -> Result<Server> {
    let (at, files) = (free_port()?, tempfile::tempdir()?);
    let mut command = Command::new("turnserver");
    command
        .args(["-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--allow-loopback-peers"])
        .args(["--listening-port", &at.port().to_string(), "--realm", "snug", "--use-auth-secret"])
        .args(["--static-auth-secret", SECRET, "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout"])
        .arg("--pidfile")
        .arg(files.path().join("pid"));
    let child = quiet(&mut command).context("apt-get install coturn")?;
    Ok(Server { child, at, _files: files })
}

/// A peer that sends everything back.
async fn echo(socket: UdpSocket) -> Result<()> {
    let mut buffer = vec![0; 10_000];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        // What cannot be sent is lost, as on any network.
        if let Err(error) = socket.try_send_to(&buffer[..length], from) {
            ensure!(error.kind() == std::io::ErrorKind::WouldBlock, error);
        }
    }
}

/// Allocates, `count` times, each with a channel to `peer`.
async fn clients(at: SocketAddr, count: usize, peer: SocketAddr) -> Result<Vec<TurnClient>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = TurnClient::allocate(at, SECRET).await?;
        client.bind(peer).await?;
        clients.push(client);
    }
    Ok(clients)
}

/// Packets sent and come back until `end`.
async fn relay(client: TurnClient, window: usize, frame: Vec<u8>, end: Instant) -> Result<[u64; 2]> {
    let (mut sent, mut back) = (0, 0);
    let mut buffer = vec![0; frame.len() + 64];
    let mut under_way = 0;
    while Instant::now() < end {
        while under_way < window {
            client.socket.send(&frame).await?;
            under_way += 1;
            sent += 1;
        }
        match timeout(LOST_AFTER, client.socket.recv(&mut buffer)).await {
            Ok(length) => {
                ensure!(length? == frame.len(), "something else came back");
                under_way -= 1;
                back += 1;
            }
            Err(_) => under_way = 0,
        }
    }
    Ok([sent, back])
}

async fn run(name: &'static str, server: &Server, course: &Course) -> Result<Figures> {
    let pid = server.child.id();
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let peer_at = peer.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(echo(peer));
    // One allocation and one packet before anything is measured: what is made once is no cost of each.
    let warm = clients(server.at, 1, peer_at).await?;
    let frame = channel_data(course.bytes)?;
    for client in warm {
        relay(client, 1, frame.clone(), Instant::now() + Duration::from_millis(200)).await?;
    }
    let before = pss_of_tree(pid)?;
    let idle = clients(server.at, course.idle, peer_at).await?;
    let after = pss_of_tree(pid)?;
    let bytes_an_allocation = after.saturating_sub(before) as f64 / course.idle as f64;
    let mut working: Vec<TurnClient> = idle;
    working.truncate(course.clients);
    ensure!(working.len() == course.clients, "more clients than idle allocations");
    let (cpu, started) = (CpuTimes::of_tree(pid)?, Instant::now());
    let mut relaying = JoinSet::new();
    for client in working {
        relaying.spawn(relay(client, course.window, frame.clone(), started + course.relaying));
    }
    let mut counts = [0, 0];
    while let Some(done) = relaying.join_next().await {
        let [sent, back] = done??;
        counts = [counts[0] + sent, counts[1] + back];
    }
    let used = CpuTimes::of_tree(pid)?.since(&cpu);
    let took = started.elapsed().as_secs_f64();
    if counts[1] == 0 || used <= 0.0 {
        bail!("{name} relayed nothing");
    }
    let under_way = (course.clients * course.window) as u64;
    let relayed = 2.0 * counts[1] as f64;
    Ok(Figures {
        name,
        packets_a_core: relayed / used,
        packets_a_second: relayed / took,
        lost: counts[0].saturating_sub(counts[1] + under_way) as f64 / counts[0] as f64,
        bytes_an_allocation,
    })
}

type Start = fn(&Path, &Course) -> Result<Server>;

/// Runs both servers in turn.
///
/// # Errors
/// When one of them cannot be started, or refuses the clients.
pub async fn measure(course: &Course) -> Result<Vec<Figures>> {
    let servers: [(&'static str, Start); 2] = [("snug-server", start_snug), ("coturn", start_coturn)];
    let mut all = Vec::new();
    for _ in 0..course.runs {
        for (name, start) in servers {
            let server = start(&course.server, course)?;
            all.push(run(name, &server, course).await.with_context(|| format!("with {name}"))?);
        }
    }
    Ok(all)
}

fn median(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    [at(values.len() / 2), at(0), at(values.len().saturating_sub(1))]
}

/// One row of the table: its name, how its number is shown, where it is.
type Row = (&'static str, fn(f64) -> String, fn(&Figures) -> f64);

/// A table: medians, the least and the most of the runs.
pub fn markdown(figures: &[Figures]) -> String {
    let rows: [Row; 4] = [
        ("packets a second of processor time", |v| format!("{v:.0}"), |f| f.packets_a_core),
        ("packets a second with these clients", |v| format!("{v:.0}"), |f| f.packets_a_second),
        ("lost, %", |v| format!("{v:.2}"), |f| 100.0 * f.lost),
        ("memory an allocation, KiB", |v| format!("{v:.1}"), |f| f.bytes_an_allocation / 1024.0),
    ];
    let mut text = String::from("| | snug-server | coturn |\n|---|---|---|\n");
    for (label, show, value) in rows {
        let cell = |name: &str| {
            let [middle, least, most] =
                median(figures.iter().filter(|f| f.name == name).map(value).collect());
            format!("{} ({}–{})", show(middle), show(least), show(most))
        };
        text += &format!("| {label} | {} | {} |\n", cell("snug-server"), cell("coturn"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_and_ranges() {
        let run = |name, packets_a_core| Figures {
            name,
            packets_a_core,
            packets_a_second: 10.0,
            lost: 0.0125,
            bytes_an_allocation: 2048.0,
        };
        let table = markdown(&[run("snug-server", 3.0), run("snug-server", 1.0), run("coturn", 2.0)]);
        assert!(table.contains("| packets a second of processor time | 3 (1–3) | 2 (2–2) |"), "{table}");
        assert!(table.contains("| lost, % | 1.25 (1.25–1.25) |"), "{table}");
        assert!(table.contains("| memory an allocation, KiB | 2.0 (2.0–2.0) |"), "{table}");
    }
}
