//! STUN messages (RFC 8489) as the server reads and writes them, on the `stun-types` codec.

use crate::turn::refusal::Refusal;
use crate::turn::wire;
use std::net::SocketAddr;
use stun_types::attribute::{
    AttributeType, AttributeWrite, ErrorCode, Fingerprint, RawAttribute, XorMappedAddress, XorSocketAddr,
};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, Message, MessageClass, MessageType, MessageWrite, MessageWriteExt,
    MessageWriteMutSlice, MessageWriteVec, Method, StunWriteError, TransactionId,
};
use stun_types::prelude::AttributeStaticType;

pub(crate) use stun_types::message::BINDING;

/// Methods of RFC 8656.
pub(crate) const ALLOCATE: Method = Method::new(3);
pub(crate) const REFRESH: Method = Method::new(4);
pub(crate) const SEND: Method = Method::new(6);
pub(crate) const DATA_METHOD: Method = Method::new(7);
pub(crate) const CREATE_PERMISSION: Method = Method::new(8);
pub(crate) const CHANNEL_BIND: Method = Method::new(9);

/// Attributes of RFC 8489 and 8656.
pub(crate) const USERNAME: AttributeType = AttributeType::new(0x0006);
pub(crate) const MESSAGE_INTEGRITY: AttributeType = AttributeType::new(0x0008);
const UNKNOWN_ATTRIBUTES: AttributeType = AttributeType::new(0x000a);
pub(crate) const CHANNEL_NUMBER: AttributeType = AttributeType::new(0x000c);
pub(crate) const LIFETIME: AttributeType = AttributeType::new(0x000d);
pub(crate) const XOR_PEER_ADDRESS: AttributeType = AttributeType::new(0x0012);
pub(crate) const DATA: AttributeType = AttributeType::new(0x0013);
pub(crate) const REALM: AttributeType = AttributeType::new(0x0014);
pub(crate) const NONCE: AttributeType = AttributeType::new(0x0015);
pub(crate) const XOR_RELAYED_ADDRESS: AttributeType = AttributeType::new(0x0016);
pub(crate) const REQUESTED_ADDRESS_FAMILY: AttributeType = AttributeType::new(0x0017);
pub(crate) const EVEN_PORT: AttributeType = AttributeType::new(0x0018);
pub(crate) const REQUESTED_TRANSPORT: AttributeType = AttributeType::new(0x0019);
pub(crate) const RESERVATION_TOKEN: AttributeType = AttributeType::new(0x0022);
pub(crate) const ADDITIONAL_ADDRESS_FAMILY: AttributeType = AttributeType::new(0x8000);
pub(crate) const ADDRESS_ERROR_CODE: AttributeType = AttributeType::new(0x8001);

/// What a request may carry that must be understood, beside its integrity: what it does not know is an error
/// 420. DONT-FRAGMENT is not among them: we do not set that bit.
const KNOWN: [u16; 17] = [
    0x0006, 0x0008, 0x000c, 0x000d, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016, 0x0017, 0x0018, 0x0019, 0x001c,
    0x001d, 0x001e, 0x0020, 0x0022,
];

/// The longest list of attributes that we say not to know.
const MOST_UNKNOWN: usize = 8;

/// A message from outside.
pub(crate) struct Query<'a> {
    message: Message<'a>,
    bytes: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads what [`wire`] gave as a STUN message; none where the fingerprint is wrong.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Message::from_bytes(bytes).ok().map(|message| Self { message, bytes })
    }

    pub(crate) fn method(&self) -> Method {
        self.message.method()
    }

    pub(crate) fn class(&self) -> MessageClass {
        self.message.class()
    }

    pub(crate) fn id(&self) -> TransactionId {
        self.message.transaction_id()
    }

    pub(crate) fn has(&self, kind: AttributeType) -> bool {
        self.range(kind).is_some()
    }

    /// The value of the first attribute of this kind. What stands after the integrity is not seen.
    pub(crate) fn value(&self, kind: AttributeType) -> Option<&'a [u8]> {
        self.bytes.get(self.range(kind)?)
    }

    fn range(&self, kind: AttributeType) -> Option<std::ops::Range<usize>> {
        let (at, attribute) = self.message.raw_attribute_and_offset(kind)?;
        Some(at + 4..at + 4 + attribute.value.len())
    }

    pub(crate) fn number(&self, kind: AttributeType) -> Option<u32> {
        Some(u32::from_be_bytes(self.value(kind)?.try_into().ok()?))
    }

    /// XOR-PEER-ADDRESS, all there are; an error if one cannot be read.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Result<SocketAddr, Refusal>> {
        let attributes = self.message.iter_attributes();
        attributes.filter(|(_, attribute)| attribute.header.get_type() == XOR_PEER_ADDRESS).map(
            |(_, attribute)| {
                XorSocketAddr::from_raw(&attribute)
                    .map(|address| address.addr(self.id()))
                    .map_err(|_| Refusal::BadRequest)
            },
        )
    }

    /// The attributes that must be understood, and are not.
    pub(crate) fn unknown(&self) -> Vec<u16> {
        let kinds = self.message.iter_attributes().map(|(_, attribute)| attribute.header.get_type());
        let unknown = kinds.filter(|kind| kind.comprehension_required() && !KNOWN.contains(&kind.value()));
        unknown.map(|kind| kind.value()).take(MOST_UNKNOWN).collect()
    }

    /// Whether it was made by somebody who has the key.
    pub(crate) fn is_signed_by(&self, key: &IntegrityKey) -> bool {
        self.message.validate_integrity_with_key(key).is_ok()
    }
}

/// An answer that is being written.
pub(crate) struct Answer(MessageWriteVec);

impl Answer {
    /// The request was carried out.
    pub(crate) fn success(query: &Query<'_>) -> Self {
        Self::new(query, MessageClass::Success)
    }

    /// It was not.
    pub(crate) fn error(query: &Query<'_>, refusal: Refusal) -> Result<Self, StunWriteError> {
        let mut answer = Self::new(query, MessageClass::Error);
        let code = ErrorCode::new(refusal.code(), refusal.reason())?;
        answer.0.add_attribute(&code)?;
        Ok(answer)
    }

    fn new(query: &Query<'_>, class: MessageClass) -> Self {
        let kind = MessageType::from_class_method(class, query.method());
        Self(Message::builder(kind, query.id(), MessageWriteVec::with_capacity(128)))
    }

    pub(crate) fn with(mut self, kind: AttributeType, value: &[u8]) -> Result<Self, StunWriteError> {
        self.0.add_attribute(&RawAttribute::new(kind, value))?;
        Ok(self)
    }

    pub(crate) fn with_unknown(self, unknown: &[u16]) -> Result<Self, StunWriteError> {
        let list: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.with(UNKNOWN_ATTRIBUTES, &list)
    }

    pub(crate) fn with_mapped(mut self, query: &Query<'_>, to: SocketAddr) -> Result<Self, StunWriteError> {
        self.0.add_attribute(&XorMappedAddress::new(to, query.id()))?;
        Ok(self)
    }

    pub(crate) fn with_relayed(self, query: &Query<'_>, at: SocketAddr) -> Result<Self, StunWriteError> {
        let mut value = [0; ADDRESS];
        let length = write_address(&mut value, at, query.id());
        self.with(XOR_RELAYED_ADDRESS, &value[..length])
    }

    /// Signs it, if there is a key, and gives its bytes; with a fingerprint if the request had one.
    pub(crate) fn finish(
        mut self,
        query: &Query<'_>,
        key: Option<&IntegrityKey>,
    ) -> Result<Vec<u8>, StunWriteError> {
        if let Some(key) = key {
            self.0.add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1)?;
        }
        if query.has(Fingerprint::TYPE) {
            self.0.add_fingerprint()?;
        }
        Ok(self.0.finish())
    }
}

/// The longest value of an address.
const ADDRESS: usize = 20;

fn write_address(value: &mut [u8; ADDRESS], address: SocketAddr, id: TransactionId) -> usize {
    let address = XorSocketAddr::new(address, id);
    let length = usize::from(address.length());
    address.write_into_unchecked(&mut value[..length]);
    length
}

/// Writes a Data indication: `data` came from `peer`. Its length; none if it does not fit.
pub(crate) fn data_indication(into: &mut [u8], peer: SocketAddr, data: &[u8], id: u128) -> Option<usize> {
    let id = TransactionId::from(id);
    let kind = MessageType::from_class_method(MessageClass::Indication, DATA_METHOD);
    let room = into.len() >= wire::HEADER;
    let mut message = room.then(|| Message::builder(kind, id, MessageWriteMutSlice::new(into)))?;
    let mut value = [0; ADDRESS];
    let length = write_address(&mut value, peer, id);
    let address = RawAttribute::new(XOR_PEER_ADDRESS, &value[..length]);
    let attributes: [&dyn AttributeWrite; 2] = [&address, &RawAttribute::new(DATA, data)];
    for attribute in attributes {
        message.add_attribute(attribute).ok()?;
    }
    Some(message.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::wire::{Frame, datagram};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use stun_types::message::LongTermKeyCredentials;

    fn key(password: &str) -> IntegrityKey {
        LongTermKeyCredentials::new("user".into(), password.into(), "realm".into())
            .make_key(IntegrityAlgorithm::Sha1)
    }

    /// A request with integrity and fingerprint.
    fn request() -> Vec<u8> {
        let mut message = Message::builder_request(ALLOCATE, MessageWriteVec::new());
        for (kind, value) in [(REQUESTED_TRANSPORT, &[17, 0, 0, 0][..]), (USERNAME, b"user")] {
            message.add_attribute(&RawAttribute::new(kind, value)).unwrap();
        }
        message.add_message_integrity_with_key(&key("password"), IntegrityAlgorithm::Sha1).unwrap();
        message.add_fingerprint().unwrap();
        message.finish()
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let bytes = request();
        assert_eq!(datagram(&bytes), Some(Frame::Stun(&bytes)));
        let query = Query::parse(&bytes).unwrap();
        assert_eq!((query.method(), query.class()), (ALLOCATE, MessageClass::Request));
        assert_eq!(query.value(USERNAME), Some(&b"user"[..]));
        assert_eq!(query.number(REQUESTED_TRANSPORT), Some(17 << 24));
        assert_eq!(query.number(USERNAME), Some(u32::from_be_bytes(*b"user")));
        assert!(query.is_signed_by(&key("password")) && !query.is_signed_by(&key("another")));
        assert_eq!(query.unknown(), Vec::<u16>::new());
    }

    /// Whoever adds attributes behind the integrity is not heard; whoever changes a bit before it neither.
    #[test]
    fn only_what_is_signed_counts() {
        let mut message = Message::builder_request(REFRESH, MessageWriteVec::new());
        message.add_attribute(&RawAttribute::new(USERNAME, b"user")).unwrap();
        message.add_message_integrity_with_key(&key("p"), IntegrityAlgorithm::Sha1).unwrap();
        let mut bytes = message.finish();
        bytes.extend([0, 0x0d, 0, 4, 0, 0, 0, 0]);
        let length = u16::try_from(bytes.len() - 20).unwrap();
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        let query = Query::parse(&bytes).unwrap();
        assert!(query.is_signed_by(&key("p")));
        assert_eq!(query.number(LIFETIME), None);
        let signed = request();
        for at in (0..signed.len() - 8).filter(|at| !(2..8).contains(at)) {
            let mut changed = signed[..signed.len() - 8].to_vec();
            changed[3] -= 8;
            changed[at] ^= 1;
            let query = Query::parse(&changed).filter(|_| datagram(&changed).is_some());
            // The padding is signed as well; a message type with another class may not parse at all.
            assert!(!query.is_some_and(|query| query.is_signed_by(&key("password"))), "byte {at}");
        }
    }

    #[test]
    fn no_message_makes_it_panic() {
        let (mut random, signed, key) = (StdRng::seed_from_u64(3), request(), key("password"));
        for _ in 0..50_000 {
            let mut bytes = signed.clone();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            if random.random() {
                bytes.truncate(random.random_range(0..bytes.len()));
                if let Ok(length) = u16::try_from(bytes.len().saturating_sub(20)) {
                    bytes.iter_mut().skip(2).zip(length.to_be_bytes()).for_each(|(to, from)| *to = from);
                }
            }
            // As the server does: what is not well formed never comes to the codec.
            let Some(Frame::Stun(message)) = datagram(&bytes) else { continue };
            crate::turn::examine(message);
            let Some(query) = Query::parse(message) else { continue };
            let _ = (query.is_signed_by(&key), query.unknown(), query.peers().count(), query.value(DATA));
        }
    }

    #[test]
    fn an_indication_carries_data_from_a_peer_and_fits_or_is_none() {
        for peer in ["192.0.2.1:9", "[2001:db8::1]:65535"] {
            let peer: SocketAddr = peer.parse().unwrap();
            let mut buffer = [0; 100];
            let length = data_indication(&mut buffer, peer, b"hello", 77).unwrap();
            let query = Query::parse(&buffer[..length]).unwrap();
            assert_eq!(datagram(&buffer[..length]), Some(Frame::Stun(&buffer[..length])));
            assert_eq!(query.peers().collect::<Vec<_>>(), [Ok(peer)]);
            assert_eq!(query.value(DATA), Some(&b"hello"[..]));
            for short in 0..length {
                assert_eq!(data_indication(&mut buffer[..short], peer, b"hello", 77), None);
            }
        }
    }
}
