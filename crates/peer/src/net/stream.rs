//! A TURN server over TCP or TLS, for one of our sockets: a task that connects when there is something to
//! send, frames what leaves and cuts up what comes.
//!
//! Where UDP relays, this is not needed: it waits a moment for that first, and then refuses the allocation
//! in the server's place, so that the stack is done with it. A stream that breaks took its allocation with
//! it; what the connection can do then is to look for new paths.

use super::framing::{Unframer, frame};
use super::servers::{Over, StreamServer};
use super::stun::{self, Message, TransactionId};
use bytes::Bytes;
use rustls::pki_types::ServerName;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Packets that wait to leave: 0.3 s at 2 Mb/s.
/// overflow: the packet is dropped, as a network would.
pub(super) const OUTBOUND: usize = 64;
/// Packets that wait for the stack.
/// overflow: nothing more is read from the stream until there is room.
pub(super) const INBOUND: usize = 256;
/// So long UDP has to prove that it relays.
const UDP_FIRST: Duration = Duration::from_millis(300);
/// For each of a host's addresses, and for TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Between tries. After the last one the server is given up until ICE restarts, with new sockets.
const RETRY: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// What the kernel keeps unsent: more waits in front of it, where it can be dropped.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 16 * 1024;
/// Requests are not repeated on a stream, which loses nothing; so many are remembered.
const REQUESTS: usize = 32;
/// What is read at once into the next packets' buffer, at most, and written at once.
const BATCH: usize = 16;

/// What came from a server: its made address, and a packet.
pub(super) type Inbound = (SocketAddr, Bytes);

/// What a stream is for.
pub(super) struct Stream {
    pub(super) server: StreamServer,
    /// What the stack takes for the server.
    pub(super) made: SocketAddr,
    /// Of the socket that it stands for.
    pub(super) local: IpAddr,
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// A TURN server is asked over UDP, too.
    pub(super) udp_too: bool,
    /// Set once that server has given this socket an allocation.
    pub(super) udp_relays: Arc<AtomicBool>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    /// Told when a stream breaks that was used.
    pub(super) lost: Arc<Notify>,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Stream {
    /// Runs until the socket is gone, which is the other end of `outbound`.
    pub(super) async fn run(self, mut outbound: mpsc::Receiver<Bytes>) {
        let Some(mut first) = outbound.recv().await else { return };
        if self.udp_too {
            tokio::time::sleep(UDP_FIRST).await;
            if self.udp_relays.load(Ordering::Relaxed) {
                return self.stand_aside(first, outbound).await;
            }
        }
        let mut waits = RETRY.into_iter();
        loop {
            match self.connect().await {
                Ok(io) => {
                    let used = self.pump(io, first.clone(), &mut outbound).await;
                    if outbound.is_closed() {
                        return;
                    }
                    if used {
                        self.lost.notify_one();
                    }
                }
                Err(error) => {
                    let StreamServer { host, port, over } = &self.server;
                    tracing::info!(%error, host, port, ?over, "a TURN server cannot be reached");
                    // What the TLS layer refuses it will refuse again.
                    if error.kind() == io::ErrorKind::InvalidData {
                        return self.stand_aside(first, outbound).await;
                    }
                }
            }
            let Some(wait) = waits.next() else { return self.stand_aside(first, outbound).await };
            tokio::time::sleep(wait).await;
            // What waited is out of date: requests are repeated by whoever made them.
            while outbound.try_recv().is_ok() {}
            let Some(next) = outbound.recv().await else { return };
            first = next;
        }
    }

    /// Refuses what is asked, and takes nothing else.
    async fn stand_aside(&self, first: Bytes, mut outbound: mpsc::Receiver<Bytes>) {
        let mut next = Some(first);
        while let Some(packet) = next {
            if let Some(request) = Message::read(&packet).filter(Message::is_request) {
                let refusal = stun::refused_allocation(&request);
                if self.inbound.send((self.made, refusal.into())).await.is_err() {
                    return;
                }
            }
            next = outbound.recv().await;
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let StreamServer { host, port, over } = &self.server;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in lookup_host((host.as_str(), *port)).await? {
            if address.is_ipv4() != self.local.is_ipv4() {
                continue;
            }
            let opening = async {
                let tcp = self.open(address).await?;
                match over {
                    Over::Tcp => Ok(Box::new(tcp) as Box<dyn Duplex>),
                    Over::Tls => {
                        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                        let tls = TlsConnector::from(self.tls.clone()).connect(name, tcp).await?;
                        Ok(Box::new(tls) as Box<dyn Duplex>)
                    }
                }
            };
            match timeout(CONNECT_WITHIN, opening).await {
                Ok(Ok(io)) => return Ok(io),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    /// From the address that the socket has: several networks are several ways to the server.
    async fn open(&self, server: SocketAddr) -> io::Result<TcpStream> {
        let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if self.local.is_loopback() == server.ip().is_loopback() {
            socket.bind(SocketAddr::new(self.local, 0))?;
        }
        let tcp = socket.connect(server).await?;
        tcp.set_nodelay(true)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error) = socket2::SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT) {
            tracing::debug!(%error, "TCP_NOTSENT_LOWAT");
        }
        Ok(tcp)
    }

    /// Both directions, until one of them ends. Whether the server ever said something.
    async fn pump(&self, io: Box<dyn Duplex>, first: Bytes, outbound: &mut mpsc::Receiver<Bytes>) -> bool {
        let (mut from, mut to) = tokio::io::split(io);
        let mut used = false;
        let result = tokio::select! {
            result = self.read(&mut from, &mut used) => result,
            result = write(&mut to, first, outbound) => result,
        };
        if let Err(error) = result {
            tracing::debug!(%error, host = self.server.host, "the stream to a TURN server ended");
        }
        used
    }

    async fn read(&self, from: &mut (impl AsyncRead + Unpin), used: &mut bool) -> io::Result<()> {
        let mut unframer = Unframer::default();
        loop {
            if from.read_buf(unframer.room()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while let Some(packet) = unframer.next().map_err(io::Error::other)? {
                *used = true;
                if self.inbound.send((self.made, packet)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Until the socket is gone; then what it still said is sent, and the end of it.
async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    first: Bytes,
    outbound: &mut mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    let (mut packets, mut bytes, mut asked) = (vec![first], Vec::new(), VecDeque::new());
    loop {
        bytes.clear();
        packets.drain(..).filter(|packet| is_new(packet, &mut asked)).for_each(|p| frame(&p, &mut bytes));
        to.write_all(&bytes).await?;
        to.flush().await?;
        if outbound.recv_many(&mut packets, BATCH).await == 0 {
            return to.shutdown().await;
        }
    }
}

/// Whether this is no request that was sent before.
fn is_new(packet: &[u8], asked: &mut VecDeque<TransactionId>) -> bool {
    let Some(request) = Message::read(packet).filter(Message::is_request) else { return true };
    if asked.contains(&request.id) {
        return false;
    }
    // overflow: the oldest is forgotten, and would be sent twice.
    if asked.len() >= REQUESTS {
        asked.pop_front();
    }
    asked.push_back(request.id);
    true
}

/// How `turns:` servers are checked: by the web's certificate authorities, and those that we are given.
pub(super) fn tls(certificates: &[Vec<u8>]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let (added, refused) = roots.add_parsable_certificates(certificates.iter().cloned().map(Into::into));
    if refused > 0 {
        tracing::warn!(added, refused, "some of our own certificate authorities cannot be read");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    match config {
        Ok(config) => config.with_root_certificates(roots).with_no_client_auth(),
        // ring has what the default versions need.
        Err(error) => unreachable!("ring speaks TLS 1.2 and 1.3: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_once_and_all_else_as_often_as_it_comes() {
        let mut asked = VecDeque::new();
        let check = stun::tests::check("a:b");
        assert!(is_new(&check, &mut asked) && !is_new(&check, &mut asked));
        assert!(is_new(&[0x40; 20], &mut asked) && is_new(&[0x40; 20], &mut asked));
        for n in 0..100_u8 {
            let mut other = check.clone();
            other[8] = n;
            is_new(&other, &mut asked);
        }
        assert_eq!(asked.len(), REQUESTS);
    }
}
