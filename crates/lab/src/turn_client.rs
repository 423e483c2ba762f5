//! The smallest TURN client that can relay (RFC 8656): over UDP, with channels.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stun_types::attribute::{AttributeType, RawAttribute, XorSocketAddr};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageClass, MessageType,
    MessageWrite, MessageWriteExt, MessageWriteVec, Method, TransactionId,
};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const ALLOCATE: Method = Method::new(3);
const CHANNEL_BIND: Method = Method::new(9);
const USERNAME: AttributeType = AttributeType::new(0x06);
const ERROR_CODE: AttributeType = AttributeType::new(0x09);
const CHANNEL_NUMBER: AttributeType = AttributeType::new(0x0c);
const XOR_PEER_ADDRESS: AttributeType = AttributeType::new(0x12);
const REALM: AttributeType = AttributeType::new(0x14);
const NONCE: AttributeType = AttributeType::new(0x15);
const REQUESTED_TRANSPORT: AttributeType = AttributeType::new(0x19);

/// The channel that is bound.
pub(crate) const CHANNEL: u16 = 0x4000;

/// How long an answer may take, and how often it is asked for.
const PATIENCE: (Duration, usize) = (Duration::from_millis(200), 50);

/// A client with an allocation.
pub(crate) struct TurnClient {
    /// Connected to the server.
    pub(crate) socket: UdpSocket,
    username: String,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: Option<IntegrityKey>,
}

impl TurnClient {
    /// Allocates at a server that shares `secret` (the REST convention).
    pub(crate) async fn allocate(server: SocketAddr, secret: &str) -> Result<Self> {
        let socket = UdpSocket::bind((server.ip(), 0)).await?;
        socket.connect(server).await?;
        let expiry = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3600;
        let username = format!("{expiry}:load");
        let mut client = Self { socket, username, realm: vec![], nonce: vec![], key: None };
        let transport: [(AttributeType, &[u8]); 1] = [(REQUESTED_TRANSPORT, &[17, 0, 0, 0])];
        let challenge = client.ask(ALLOCATE, TransactionId::generate(), &transport).await?;
        let message = Message::from_bytes(&challenge)?;
        let value = |kind| message.raw_attribute(kind).map(|attribute| attribute.value.to_vec());
        client.realm = value(REALM).context("no realm")?;
        client.nonce = value(NONCE).context("no nonce")?;
        client.key = Some(client.make_key(secret)?);
        let answer = client.ask(ALLOCATE, TransactionId::generate(), &transport).await?;
        check(&answer).context("allocate")?;
        Ok(client)
    }

    /// Binds [`CHANNEL`] to a peer.
    pub(crate) async fn bind(&mut self, peer: SocketAddr) -> Result<()> {
        let id = TransactionId::generate();
        let address = XorSocketAddr::new(peer, id);
        let mut value = vec![0; usize::from(address.length())];
        address.write_into_unchecked(&mut value);
        let [high, low] = CHANNEL.to_be_bytes();
        let rest = [(CHANNEL_NUMBER, &[high, low, 0, 0][..]), (XOR_PEER_ADDRESS, &value)];
        let answer = self.ask(CHANNEL_BIND, id, &rest).await?;
        check(&answer).context("bind a channel")
    }

    fn make_key(&self, secret: &str) -> Result<IntegrityKey> {
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())?;
        mac.update(self.username.as_bytes());
        let password = STANDARD.encode(mac.finalize().into_bytes());
        let realm = String::from_utf8(self.realm.clone())?;
        let credentials = LongTermKeyCredentials::new(self.username.clone(), password, realm);
        Ok(credentials.make_key(IntegrityAlgorithm::Sha1))
    }

    async fn ask(
        &self,
        method: Method,
        id: TransactionId,
        rest: &[(AttributeType, &[u8])],
    ) -> Result<Vec<u8>> {
        let kind = MessageType::from_class_method(MessageClass::Request, method);
        let mut message = Message::builder(kind, id, MessageWriteVec::new());
        let mut attributes = rest.to_vec();
        if self.key.is_some() {
            attributes.extend([
                (USERNAME, self.username.as_bytes()),
                (REALM, &self.realm),
                (NONCE, &self.nonce),
            ]);
        }
        for (kind, value) in attributes {
            message.add_attribute(&RawAttribute::new(kind, value))?;
        }
        if let Some(key) = &self.key {
            message.add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1)?;
        }
        let bytes = message.finish();
        let mut buffer = vec![0; 1500];
        for _ in 0..PATIENCE.1 {
            let sent = self.socket.send(&bytes).await;
            match timeout(PATIENCE.0, self.socket.recv(&mut buffer)).await {
                Ok(Ok(read)) if sent.is_ok() => {
                    buffer.truncate(read);
                    return Ok(buffer);
                }
                // Refused while nobody listens yet: it is starting.
                Ok(_) => tokio::time::sleep(PATIENCE.0).await,
                Err(_) => {}
            }
        }
        bail!("the TURN server does not answer")
    }
}

fn check(answer: &[u8]) -> Result<()> {
    let message = Message::from_bytes(answer)?;
    let code = message.raw_attribute(ERROR_CODE).map(|attribute| attribute.value.to_vec());
    ensure!(message.has_class(MessageClass::Success), "refused: {code:?}");
    Ok(())
}

/// A frame of ChannelData with `bytes` of data.
pub(crate) fn channel_data(bytes: usize) -> Result<Vec<u8>> {
    let mut frame = CHANNEL.to_be_bytes().to_vec();
    frame.extend(u16::try_from(bytes)?.to_be_bytes());
    frame.resize(4 + bytes, 0x5a);
    Ok(frame)
}
