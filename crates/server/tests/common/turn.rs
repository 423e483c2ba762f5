//! A STUN and TURN server on the loopback, with doors for TCP and TLS, and a client that says what it is
//! told.
#![allow(dead_code, reason = "each test program uses a part of it")]

use server::turn::wire::{self, Frame};
use server::turn::{Door, Settings, Transport, Turn};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stun_types::attribute::{AttributeType, RawAttribute, XorSocketAddr};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageClass, MessageType,
    MessageWrite, MessageWriteExt, MessageWriteVec, Method, TransactionId,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

pub(crate) const BINDING: Method = Method::new(1);
pub(crate) const ALLOCATE: Method = Method::new(3);
pub(crate) const REFRESH: Method = Method::new(4);
pub(crate) const SEND: Method = Method::new(6);
pub(crate) const CREATE_PERMISSION: Method = Method::new(8);
pub(crate) const CHANNEL_BIND: Method = Method::new(9);

pub(crate) const ERROR_CODE: u16 = 0x09;
pub(crate) const CHANNEL_NUMBER: u16 = 0x0c;
pub(crate) const LIFETIME: u16 = 0x0d;
pub(crate) const XOR_PEER_ADDRESS: u16 = 0x12;
pub(crate) const DATA: u16 = 0x13;
pub(crate) const REALM: u16 = 0x14;
pub(crate) const NONCE: u16 = 0x15;
pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x16;
pub(crate) const REQUESTED_TRANSPORT: u16 = 0x19;
pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x20;
pub(crate) const UDP: [u8; 4] = [17, 0, 0, 0];

/// Longer than any answer takes.
const LONG: Duration = Duration::from_secs(10);

/// A running server and where it is reached.
pub(crate) struct Place {
    pub(crate) turn: Arc<Turn>,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) tls: SocketAddr,
    trust: tokio_rustls::TlsConnector,
    doors: JoinSet<()>,
}

/// On 127.0.0.1.
pub(crate) async fn place(settings: Settings) -> Place {
    place_at(Ipv4Addr::LOCALHOST.into(), settings).await
}

pub(crate) async fn place_at(ip: IpAddr, mut settings: Settings) -> Place {
    settings.secrets = vec![SECRET.into()];
    let listeners = [bind(ip).await, bind(ip).await];
    let [tcp, tls] = [&listeners[0], &listeners[1]].map(|listener| listener.local_addr().unwrap());
    let listen = SocketAddr::new(ip, 0);
    let door = Door { listen, tcp: Some(tcp.port()), tls: Some(tls.port()) };
    let turn = Turn::start(settings, "unused".into(), door).unwrap();
    let udp = SocketAddr::new(ip, turn.udp_port().unwrap());
    let mut doors = JoinSet::new();
    let [plain, secure] = listeners;
    doors.spawn(accept(plain, turn.clone(), None));
    let (acceptor, trust) = tls_ends();
    doors.spawn(accept(secure, turn.clone(), Some(acceptor)));
    Place { turn, udp, tcp, tls, trust, doors }
}

async fn bind(ip: IpAddr) -> TcpListener {
    TcpListener::bind((ip, 0)).await.unwrap()
}

async fn accept(listener: TcpListener, turn: Arc<Turn>, tls: Option<tokio_rustls::TlsAcceptor>) {
    let local = listener.local_addr().unwrap();
    while let Ok((stream, peer)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let (turn, tls) = (turn.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => turn.serve_stream(stream, peer, local, Transport::Tcp).await,
                Some(tls) => {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    turn.serve_stream(stream, peer, local, Transport::Tls).await;
                }
            }
        });
    }
}

/// A server's end, and a client's that trusts it.
fn tls_ends() -> (tokio_rustls::TlsAcceptor, tokio_rustls::TlsConnector) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(server).into(), Arc::new(client).into())
}

pub(crate) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What a server that knows the secret would hand out.
pub(crate) fn password(secret: &str, username: &str) -> String {
    use base64::Engine;
    use hmac::Mac;
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(username.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

enum Line {
    Datagrams(UdpSocket),
    Stream(Box<dyn Io>, Vec<u8>),
}

/// A client.
pub(crate) struct Bot {
    line: Line,
    pub(crate) username: String,
    pub(crate) password: String,
    /// As the server told them, once it has.
    pub(crate) realm: String,
    pub(crate) nonce: Vec<u8>,
    id: u128,
}

/// A STUN message that came.
#[derive(Debug)]
pub(crate) struct Reply(pub(crate) Vec<u8>);

impl Reply {
    pub(crate) fn value(&self, kind: u16) -> Option<Vec<u8>> {
        let message = Message::from_bytes(&self.0).unwrap();
        message.raw_attribute(AttributeType::new(kind)).map(|attribute| attribute.value.to_vec())
    }

    pub(crate) fn address(&self, kind: u16) -> Option<SocketAddr> {
        let message = Message::from_bytes(&self.0).unwrap();
        let attribute = message.raw_attribute(AttributeType::new(kind))?;
        Some(XorSocketAddr::from_raw(&attribute).unwrap().addr(message.transaction_id()))
    }

    /// The error, if it is one.
    pub(crate) fn code(&self) -> Option<u16> {
        let value = self.value(ERROR_CODE)?;
        Some(u16::from(value[2]) * 100 + u16::from(value[3]))
    }

    pub(crate) fn lifetime(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value(LIFETIME)?.try_into().unwrap()))
    }
}

impl Bot {
    /// By UDP, with a credential that is good for an hour.
    pub(crate) async fn udp(place: &Place) -> Self {
        Self::at(place.udp).await
    }

    /// By UDP, wherever the server is.
    pub(crate) async fn at(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((server.ip(), 0)).await.unwrap();
        socket.connect(server).await.unwrap();
        Self::new(Line::Datagrams(socket))
    }

    pub(crate) async fn tcp(place: &Place) -> Self {
        Self::new(Line::Stream(Box::new(TcpStream::connect(place.tcp).await.unwrap()), vec![]))
    }

    pub(crate) async fn tls(place: &Place) -> Self {
        let stream = TcpStream::connect(place.tls).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = place.trust.connect(name, stream).await.unwrap();
        Self::new(Line::Stream(Box::new(stream), vec![]))
    }

    fn new(line: Line) -> Self {
        let bot = Self {
            line,
            username: String::new(),
            password: String::new(),
            realm: String::new(),
            nonce: vec![],
            id: rand::random::<u128>() >> 32,
        };
        bot.named(&format!("{}:ann", unix() + 3600))
    }

    pub(crate) fn named(mut self, username: &str) -> Self {
        self.username = username.into();
        self.password = password(SECRET, username);
        self
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        match &mut self.line {
            Line::Datagrams(socket) => drop(socket.send(bytes).await.unwrap()),
            Line::Stream(stream, _) => stream.write_all(bytes).await.unwrap(),
        }
    }

    /// The next frame.
    pub(crate) async fn hear(&mut self) -> Vec<u8> {
        timeout(LONG, self.next()).await.expect("silence").expect("the connection ended")
    }

    /// The next frame; none when the connection ends.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        match &mut self.line {
            Line::Datagrams(socket) => {
                let mut buffer = vec![0; 10_000];
                let length = socket.recv(&mut buffer).await.unwrap();
                buffer.truncate(length);
                Some(buffer)
            }
            Line::Stream(stream, held) => loop {
                if let Some((_, length)) = wire::stream(held).unwrap() {
                    return Some(held.drain(..length).collect());
                }
                if stream.read_buf(held).await.unwrap_or(0) == 0 {
                    return None;
                }
            },
        }
    }

    pub(crate) fn key(&self) -> IntegrityKey {
        LongTermKeyCredentials::new(self.username.clone(), self.password.clone(), self.realm.clone())
            .make_key(IntegrityAlgorithm::Sha1)
    }

    pub(crate) fn next_id(&mut self) -> TransactionId {
        self.id = (self.id + 1) & (u128::MAX >> 32);
        self.id.into()
    }

    /// A message, signed if the server's realm is known.
    pub(crate) fn message(&mut self, class: MessageClass, method: Method, rest: &[(u16, &[u8])]) -> Vec<u8> {
        let kind = MessageType::from_class_method(class, method);
        let mut message = Message::builder(kind, self.next_id(), MessageWriteVec::new());
        let mut add = |kind: u16, value: &[u8]| {
            message.add_attribute(&RawAttribute::new(AttributeType::new(kind), value)).unwrap();
        };
        rest.iter().for_each(|(kind, value)| add(*kind, value));
        let is_signed = class == MessageClass::Request && !self.nonce.is_empty();
        if is_signed {
            add(0x06, self.username.as_bytes());
            add(REALM, self.realm.as_bytes());
            add(NONCE, &self.nonce);
            message.add_message_integrity_with_key(&self.key(), IntegrityAlgorithm::Sha1).unwrap();
        }
        message.finish()
    }

    pub(crate) async fn request(&mut self, method: Method, rest: &[(u16, &[u8])]) -> Reply {
        let message = self.message(MessageClass::Request, method, rest);
        self.say(&message).await;
        Reply(self.hear().await)
    }

    /// Learns realm and nonce.
    pub(crate) async fn knock(&mut self) -> Reply {
        self.nonce.clear();
        let reply = self.request(ALLOCATE, &[(REQUESTED_TRANSPORT, &UDP)]).await;
        assert_eq!(reply.code(), Some(401));
        self.realm = String::from_utf8(reply.value(REALM).unwrap()).unwrap();
        self.nonce = reply.value(NONCE).unwrap();
        reply
    }

    /// Knocks, and asks again with the credential.
    pub(crate) async fn try_allocate(&mut self, rest: &[(u16, &[u8])]) -> Reply {
        self.knock().await;
        let all = [&[(REQUESTED_TRANSPORT, &UDP[..])], rest].concat();
        self.request(ALLOCATE, &all).await
    }

    /// The relayed address.
    pub(crate) async fn allocate(&mut self) -> SocketAddr {
        let reply = self.try_allocate(&[]).await;
        assert_eq!(reply.code(), None, "{reply:?}");
        reply.address(XOR_RELAYED_ADDRESS).unwrap()
    }

    /// An address as attributes have it, for the next message.
    fn xored(&self, address: SocketAddr) -> Vec<u8> {
        let id = TransactionId::from((self.id + 1) & (u128::MAX >> 32));
        let address = XorSocketAddr::new(address, id);
        let mut value = vec![0; usize::from(address.length())];
        address.write_into_unchecked(&mut value);
        value
    }

    pub(crate) async fn permit(&mut self, peer: SocketAddr) -> Reply {
        let peer = self.xored(peer);
        self.request(CREATE_PERMISSION, &[(XOR_PEER_ADDRESS, &peer)]).await
    }

    pub(crate) async fn bind(&mut self, number: u16, peer: SocketAddr) -> Reply {
        let peer = self.xored(peer);
        let [high, low] = number.to_be_bytes();
        let number = [high, low, 0, 0];
        self.request(CHANNEL_BIND, &[(CHANNEL_NUMBER, &number), (XOR_PEER_ADDRESS, &peer)]).await
    }

    /// Sends data by an indication.
    pub(crate) async fn send(&mut self, peer: SocketAddr, data: &[u8]) {
        let peer = self.xored(peer);
        let rest = [(XOR_PEER_ADDRESS, &peer[..]), (DATA, data)];
        let message = self.message(MessageClass::Indication, SEND, &rest);
        self.say(&message).await;
    }

    /// Sends data on a channel.
    pub(crate) async fn send_on(&mut self, number: u16, data: &[u8]) {
        let mut frame = [number.to_be_bytes(), u16::try_from(data.len()).unwrap().to_be_bytes()].concat();
        frame.extend(data);
        if matches!(self.line, Line::Stream(..)) {
            frame.resize(frame.len().next_multiple_of(4), 0);
        }
        self.say(&frame).await;
    }

    /// Data that comes: from which peer or on which channel.
    pub(crate) async fn hear_data(&mut self) -> (Result<SocketAddr, u16>, Vec<u8>) {
        let frame = self.hear().await;
        match wire::datagram(&frame).unwrap() {
            Frame::Channel { number, data } => (Err(number), data.to_vec()),
            Frame::Stun(bytes) => {
                let reply = Reply(bytes.to_vec());
                (Ok(reply.address(XOR_PEER_ADDRESS).unwrap()), reply.value(DATA).unwrap())
            }
        }
    }
}
