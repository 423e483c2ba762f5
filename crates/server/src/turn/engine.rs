//! What every frame goes through, whatever it came by: requests are let in and answered, data is passed on.

use crate::turn::allocation;
use crate::turn::bucket::Strangers;
use crate::turn::gate::{Admitted, Gate};
use crate::turn::message::{
    self, ADDITIONAL_ADDRESS_FAMILY, ADDRESS_ERROR_CODE, ALLOCATE, Answer, BINDING, CHANNEL_BIND,
    CHANNEL_NUMBER, CREATE_PERMISSION, DATA, EVEN_PORT, LIFETIME, NONCE, Query, REALM, REFRESH,
    REQUESTED_ADDRESS_FAMILY, REQUESTED_TRANSPORT, RESERVATION_TOKEN, SEND,
};
use crate::turn::own::Family;
use crate::turn::refusal::{Counters, Dropped, Refusal};
use crate::turn::relay::{Opening, RelaySocket};
use crate::turn::sink::{Sink, send_now};
use crate::turn::state::{Ask, Client, Now, State, To};
use crate::turn::wire::{self, Frame};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use stun_types::message::{MessageClass, StunWriteError};

/// UDP, the only transport that is relayed (its number of IANA).
const UDP: u8 = 17;

/// The server behind all its sockets.
pub(crate) struct Engine {
    pub(crate) gate: Gate,
    state: Mutex<State<Arc<RelaySocket>>>,
    strangers: Mutex<Strangers>,
    pub(crate) counters: Counters,
}

/// What a request that was carried out is answered with.
type Done = Result<Result<Answer, StunWriteError>, Refusal>;

impl Engine {
    pub(crate) fn new(gate: Gate, state: State<Arc<RelaySocket>>) -> Self {
        let strangers = Mutex::new(Strangers::new(Instant::now()));
        Self { gate, state: Mutex::new(state), strangers, counters: Counters::default() }
    }

    /// The allocations. Nothing waits while this is held.
    pub(crate) fn state(&self) -> MutexGuard<'_, State<Arc<RelaySocket>>> {
        // A panic of another task leaves counts at worst that are one too high.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now() -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { at: Instant::now(), unix: unix.as_secs() }
    }

    /// One frame of a client.
    pub(crate) fn frame(self: &Arc<Self>, client: &Client, sink: &Sink, frame: Frame<'_>) {
        let handled = match frame {
            Frame::Channel { number, data } => self.pass_on(client, To::Channel(number), data),
            Frame::Stun(bytes) => self.stun(client, sink, bytes),
        };
        if let Err(dropped) = handled {
            self.counters.dropped(dropped);
        }
    }

    fn stun(self: &Arc<Self>, client: &Client, sink: &Sink, bytes: &[u8]) -> Result<(), Dropped> {
        let query = Query::parse(bytes).ok_or(Dropped::Malformed)?;
        match (query.class(), query.method()) {
            (MessageClass::Request, BINDING) => {
                self.stranger(client)?;
                self.counters.bindings.fetch_add(1, Relaxed);
                let answer = self.binding(client, &query);
                Self::send(sink, answer)
            }
            (MessageClass::Request, ALLOCATE | REFRESH | CREATE_PERMISSION | CHANNEL_BIND) => {
                let answer = self.request(client, sink, &query)?;
                Self::send(sink, answer)
            }
            (MessageClass::Indication, SEND) => {
                let peer = query.peers().next().and_then(Result::ok).ok_or(Dropped::Malformed)?;
                let data = query.value(DATA).filter(|_| query.unknown().is_empty());
                self.pass_on(client, To::Peer(peer), data.ok_or(Dropped::Malformed)?)
            }
            _ => Err(Dropped::Malformed),
        }
    }

    fn send(sink: &Sink, answer: Result<Vec<u8>, StunWriteError>) -> Result<(), Dropped> {
        match answer {
            Ok(answer) => sink.answer(&answer),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written");
                Err(Dropped::Unsent)
            }
        }
    }

    /// Data of a client, to its peer.
    fn pass_on(&self, client: &Client, to: To, data: &[u8]) -> Result<(), Dropped> {
        let (relay, peer) = self.state().send(Instant::now(), client, to, data.len())?;
        send_now(relay.socket(), data, peer)?;
        self.counters.to_peer(data.len());
        Ok(())
    }

    /// Whether somebody without a credential gets an answer.
    fn stranger(&self, client: &Client) -> Result<(), Dropped> {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_answered = strangers.answer(client.remote.ip(), Instant::now());
        if is_answered { Ok(()) } else { Err(Dropped::Stranger) }
    }

    fn binding(&self, client: &Client, query: &Query<'_>) -> Result<Vec<u8>, StunWriteError> {
        let unknown = query.unknown();
        let answer = if unknown.is_empty() {
            Answer::success(query).with_mapped(query, client.remote)
        } else {
            self.counters.refused(Refusal::UnknownAttribute);
            Answer::error(query, Refusal::UnknownAttribute).and_then(|answer| answer.with_unknown(&unknown))
        };
        answer?.finish(query, None)
    }

    fn request(
        self: &Arc<Self>,
        client: &Client,
        sink: &Sink,
        query: &Query<'_>,
    ) -> Result<Result<Vec<u8>, StunWriteError>, Dropped> {
        let now = Self::now();
        let admitted = match self.gate.check(query, client.remote.ip(), now.unix) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.stranger(client)?;
                self.counters.refused(refusal);
                tracing::debug!(client = %client.remote, code = refusal.code(), "refused at the gate");
                return Ok(self.turn_away(client, query, refusal, now));
            }
        };
        let unknown = query.unknown();
        let done = match query.method() {
            _ if !unknown.is_empty() => Err(Refusal::UnknownAttribute),
            ALLOCATE => self.allocate(now, client, sink, &admitted, query),
            REFRESH => self.refresh(now, client, &admitted, query),
            CREATE_PERMISSION => self.permit(now, client, &admitted, query),
            _ => self.bind(now, client, &admitted, query),
        };
        let answer = done.unwrap_or_else(|refusal| {
            self.counters.refused(refusal);
            tracing::debug!(client = %client.remote, code = refusal.code(), "refused");
            let answer = Answer::error(query, refusal);
            if unknown.is_empty() { answer } else { answer.and_then(|a| a.with_unknown(&unknown)) }
        });
        Ok(answer.and_then(|answer| answer.finish(query, Some(&admitted.key))))
    }

    /// Who is not let in hears by what realm and nonce it may try.
    fn turn_away(
        &self,
        client: &Client,
        query: &Query<'_>,
        refusal: Refusal,
        now: Now,
    ) -> Result<Vec<u8>, StunWriteError> {
        let mut answer = Answer::error(query, refusal)?;
        if matches!(refusal, Refusal::Unauthorized | Refusal::StaleNonce) {
            let nonce = self.gate.nonce(client.remote.ip(), now.unix);
            answer = answer.with(REALM, self.gate.realm().as_bytes())?.with(NONCE, nonce.as_bytes())?;
        }
        answer.finish(query, None)
    }

    fn allocate(
        self: &Arc<Self>,
        now: Now,
        client: &Client,
        sink: &Sink,
        admitted: &Admitted,
        query: &Query<'_>,
    ) -> Done {
        let ask = ask(query)?;
        let mut opening = Opening { engine: self, client: *client, sink };
        let granted = self.state().allocate(now, *client, admitted, ask, &mut opening)?;
        tracing::debug!(client = %client.remote, relayed = ?granted.relayed, "allocated");
        let write = || {
            let mut answer = Answer::success(query);
            for relayed in granted.relayed {
                answer = answer.with_relayed(query, relayed)?;
            }
            if let Some(refusal) = granted.no_additional {
                // The family, IPv6, then as in ERROR-CODE (RFC 8656, section 18.10).
                let (class, number) = (refusal.code() / 100, refusal.code() % 100);
                let value = [2, 0, class.to_be_bytes()[1], number.to_be_bytes()[1]];
                answer = answer.with(ADDRESS_ERROR_CODE, &value)?;
            }
            answer.with(LIFETIME, &granted.lifetime.to_be_bytes())?.with_mapped(query, client.remote)
        };
        Ok(write())
    }

    fn refresh(&self, now: Now, client: &Client, admitted: &Admitted, query: &Query<'_>) -> Done {
        let lifetime = query.number(LIFETIME);
        if lifetime.is_none() && query.has(LIFETIME) {
            return Err(Refusal::BadRequest);
        }
        let family = family(query, REQUESTED_ADDRESS_FAMILY)?;
        let lifetime = self.state().refresh(now, client, &admitted.user, lifetime, family)?;
        Ok(Answer::success(query).with(LIFETIME, &lifetime.to_be_bytes()))
    }

    fn permit(&self, now: Now, client: &Client, admitted: &Admitted, query: &Query<'_>) -> Done {
        let peers = query.peers().take(allocation::MAX_PEERS);
        let peers: Vec<SocketAddr> = peers.collect::<Result<_, _>>()?;
        self.state().permit(now, client, &admitted.user, &peers)?;
        Ok(Ok(Answer::success(query)))
    }

    fn bind(&self, now: Now, client: &Client, admitted: &Admitted, query: &Query<'_>) -> Done {
        let number = query.number(CHANNEL_NUMBER).map(|number| (number >> 16) as u16);
        let peer = query.peers().next().transpose()?.filter(|peer| peer.port() != 0);
        let (number, peer) = number.zip(peer).ok_or(Refusal::BadRequest)?;
        self.state().bind(now, client, &admitted.user, number, peer)?;
        Ok(Ok(Answer::success(query)))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("gate", &self.gate).finish_non_exhaustive()
    }
}

/// Reads what an Allocate request asks for (RFC 8656, section 7.2).
fn ask(query: &Query<'_>) -> Result<Ask, Refusal> {
    match query.value(REQUESTED_TRANSPORT) {
        Some([UDP, _, _, _]) => {}
        Some([_, _, _, _]) => return Err(Refusal::UnsupportedTransport),
        _ => return Err(Refusal::BadRequest),
    }
    let requested = family(query, REQUESTED_ADDRESS_FAMILY)?;
    let additional = family(query, ADDITIONAL_ADDRESS_FAMILY)?;
    let even_port = query.value(EVEN_PORT);
    let token = query.has(RESERVATION_TOKEN);
    let contradicts = additional == Some(Family::V4)
        || additional.is_some() && (requested.is_some() || even_port.is_some())
        || token && (requested.is_some() || additional.is_some() || even_port.is_some())
        || even_port.is_some_and(|value| value.len() != 1)
        || query.has(LIFETIME) && query.number(LIFETIME).is_none();
    if contradicts {
        return Err(Refusal::BadRequest);
    }
    // A port beside an even one is reserved for nobody: RTP and RTCP share one since 2010.
    if token || even_port.is_some_and(|value| value[0] & 0x80 != 0) {
        return Err(Refusal::InsufficientCapacity);
    }
    Ok(Ask {
        id: query.id(),
        lifetime: query.number(LIFETIME),
        family: requested.or(additional.map(|_| Family::V4)),
        additional: additional.is_some(),
        even_port: even_port.is_some(),
    })
}

fn family(query: &Query<'_>, kind: stun_types::attribute::AttributeType) -> Result<Option<Family>, Refusal> {
    match query.value(kind) {
        None => Ok(None),
        Some([family, _, _, _]) => Family::read(*family).map(Some).ok_or(Refusal::AddressFamily),
        Some(_) => Err(Refusal::BadRequest),
    }
}

/// Reads a datagram as far as the server does before it knows who sent it, and says whether it is one that
/// the server looks into. Pure: what a fuzzer calls.
pub fn examine(bytes: &[u8]) -> bool {
    match wire::datagram(bytes) {
        None => false,
        Some(Frame::Channel { .. }) => true,
        Some(Frame::Stun(message)) => Query::parse(message).is_some_and(|query| {
            let parts = (ask(&query).is_ok(), query.unknown().len(), query.peers().count());
            tracing::trace!(?parts, "examined");
            true
        }),
    }
}

/// Writes a Data indication, with an id that is as good as random to whoever does not see it.
pub(crate) fn indication(into: &mut [u8], peer: SocketAddr, data: &[u8]) -> Option<usize> {
    message::data_indication(into, peer, data, rand::random::<u128>() >> 32)
}
