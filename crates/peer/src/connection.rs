//! The driver of one connection: a task that owns the RTCPeerConnection, takes requests from a bounded
//! mailbox, and does one negotiation step at a time, as the pure machine says.
//!
//! webrtc's callbacks run on its own driver task, which must never wait: they only push.

use crate::description::{Candidate, Description, DescriptionType};
use crate::engine::{self, Wires};
use crate::negotiation::{Effect, Input, Negotiation};
use crate::net::Net;
use crate::receiver::{OnRtp, Receiver};
use crate::sender::{Pump, Slot};
use crate::stats::TransportStats;
use crate::throttle::Throttle;
use crate::{ConnectionState, IceServer, Kind, PeerConfig, PeerEvent, hide, stats};
use async_trait::async_trait;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use webrtc::error::Error;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionEventHandler, RTCIceGatheringState, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState, RTCSessionDescription, StatsSelector,
};
use webrtc::rtp_transceiver::RtpSender;

/// Requests of our owner that wait at most.
pub(crate) const MAILBOX: usize = 256;
/// Happenings of the stack that wait at most.
const WIRE: usize = 256;
/// Keyframe requests pass at most this often, in either direction.
const KEYFRAME_EVERY: Duration = Duration::from_millis(200);

/// What our owner asks.
#[derive(Debug)]
pub(crate) enum Request {
    Negotiate { restart: bool },
    Description(Description),
    Candidate(Candidate),
    RepeatOffer,
    Servers(Vec<IceServer>),
    Avoid(Vec<IpAddr>),
    Keyframe,
}

/// What the stack says.
enum Happening {
    Candidate(RTCIceCandidateInit),
    Gathered,
    Track(Arc<dyn TrackRemote>),
}

/// Everything that a connection shares with its handle.
pub(crate) struct Shared {
    pub(crate) audio: Arc<Slot>,
    pub(crate) video: Arc<Slot>,
    pub(crate) wires: Wires,
    pub(crate) net: Net,
    pub(crate) connection: OnceLock<Arc<dyn PeerConnection>>,
    pub(crate) state: watch::Receiver<ConnectionState>,
}

impl Shared {
    fn slot(&self, kind: Kind) -> Arc<Slot> {
        match kind {
            Kind::Audio => self.audio.clone(),
            Kind::Video => self.video.clone(),
        }
    }
}

struct Handler {
    happenings: mpsc::Sender<Happening>,
    state: watch::Sender<ConnectionState>,
}

impl Handler {
    fn push(&self, happening: Happening) {
        // overflow: dropped and logged. Only a flood of tracks or candidates gets here.
        if self.happenings.try_send(happening).is_err() {
            tracing::warn!("the connection does not keep up with what it is told");
        }
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        match event.candidate.to_json() {
            Ok(candidate) => self.push(Happening::Candidate(candidate)),
            Err(error) => tracing::warn!(%error, "a candidate of ours cannot be written"),
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.push(Happening::Gathered);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let state = match state {
            RTCPeerConnectionState::Connecting => ConnectionState::Connecting,
            RTCPeerConnectionState::Connected => ConnectionState::Connected,
            RTCPeerConnectionState::Disconnected => ConnectionState::Disconnected,
            RTCPeerConnectionState::Failed => ConnectionState::Failed,
            RTCPeerConnectionState::Closed => ConnectionState::Closed,
            _ => ConnectionState::New,
        };
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        self.push(Happening::Track(track));
    }
}

/// What a connection's task starts with.
pub(crate) struct Start {
    pub(crate) config: PeerConfig,
    pub(crate) shared: Arc<Shared>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) events: mpsc::Sender<PeerEvent>,
    pub(crate) on_rtp: OnRtp,
    pub(crate) state: watch::Sender<ConnectionState>,
    pub(crate) closing: watch::Receiver<bool>,
}

/// The task: builds the connection, drives it until it is closed, and closes it.
pub(crate) async fn run(start: Start) {
    let mut closing = start.closing.clone();
    let events = start.events.clone();
    let shared = start.shared.clone();
    let pumps =
        [&shared.audio, &shared.video].map(|slot| tokio::spawn(Pump::new(slot.clone(), &shared.wires).run()));
    let work = async move {
        if let Err(error) = drive(start).await {
            let message = format!("the connection cannot be made: {error}");
            if events.send(PeerEvent::Failed(message)).await.is_err() {
                tracing::debug!("nobody listens to the connection any more");
            }
        }
        // Whoever holds the handle still decides when it is over.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = closing.wait_for(|closing| *closing) => {}
        () = work => {}
    }
    for slot in [&shared.audio, &shared.video] {
        slot.set_live(false);
        slot.close();
    }
    for pump in pumps {
        pump.abort();
    }
    if let Some(connection) = shared.connection.get()
        && let Err(error) = connection.close().await
    {
        tracing::debug!(%error, "closing");
    }
}

async fn drive(start: Start) -> Result<(), Error> {
    let Start { config, shared, requests, events, on_rtp, state, .. } = start;
    let (happenings, wire) = mpsc::channel(WIRE);
    let handler = Arc::new(Handler { happenings, state: state.clone() });
    let connection = engine::build(&config, &shared.net, &shared.wires, handler).await?;
    let audio_sender = connection.add_track(shared.audio.track()).await?;
    let video_sender = connection.add_track(shared.video.track()).await?;
    // Set once: this is the only task that does, and it runs once.
    let _ = shared.connection.set(connection.clone());
    let driver = Driver {
        machine: Negotiation::new(config.polite),
        receivers: [None, None],
        senders: [audio_sender, video_sender],
        asking: Throttle::new(KEYFRAME_EVERY),
        asked: Throttle::new(KEYFRAME_EVERY),
        relay_only: config.relay_only,
        servers: None,
        told: state,
        shared,
        connection,
        events,
        on_rtp,
    };
    driver.run(requests, wire).await;
    Ok(())
}

struct Driver {
    shared: Arc<Shared>,
    connection: Arc<dyn PeerConnection>,
    events: mpsc::Sender<PeerEvent>,
    on_rtp: OnRtp,
    machine: Negotiation,
    /// Sound, pictures.
    receivers: [Option<Receiver>; 2],
    senders: [Arc<dyn RtpSender>; 2],
    /// Keyframes that we ask for.
    asking: Throttle,
    /// Keyframes that we are asked for.
    asked: Throttle,
    relay_only: bool,
    /// For the next restart.
    servers: Option<Vec<IceServer>>,
    /// The state as it is told, for what the stack does not notice.
    told: watch::Sender<ConnectionState>,
}

impl Driver {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>, mut wire: mpsc::Receiver<Happening>) {
        let keyframe = self.shared.wires.keyframe.clone();
        let mut state = self.shared.state.clone();
        let lost = self.shared.net.lost();
        loop {
            let due = [self.asking.deadline(), self.asked.deadline()].into_iter().flatten().min();
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.request(request).await,
                    None => return,
                },
                Some(happening) = wire.recv() => self.happening(happening).await,
                changed = state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = *state.borrow_and_update();
                    self.state(now).await;
                }
                () = keyframe.taken() => {
                    if self.asked.request(Instant::now()) {
                        self.tell(PeerEvent::KeyframeRequested).await;
                    }
                }
                () = lost.notified() => self.relay_lost().await,
                () = at(due) => self.timers().await,
            }
        }
    }

    /// Waits when the owner does not keep up; closing does not wait for it.
    async fn tell(&self, event: PeerEvent) {
        if self.events.send(event).await.is_err() {
            tracing::debug!("nobody listens to the connection any more");
        }
    }

    async fn timers(&mut self) {
        let now = Instant::now();
        if self.asked.poll(now) {
            self.tell(PeerEvent::KeyframeRequested).await;
        }
        if self.asking.poll(now) {
            self.ask_for_keyframe().await;
        }
    }

    async fn state(&mut self, state: ConnectionState) {
        // A silent path may come back by itself: packets go on, as in a browser.
        let live = matches!(state, ConnectionState::Connected | ConnectionState::Disconnected);
        self.shared.audio.set_live(live);
        self.shared.video.set_live(live);
        if state == ConnectionState::Connected {
            let report = self.connection.get_stats(Instant::now(), StatsSelector::None).await;
            if let Some(cipher) = stats::srtp_cipher(&report) {
                self.shared.net.set_srtp(cipher);
            }
        }
        self.tell(PeerEvent::State(state)).await;
    }

    /// The stream to a relay broke, and the allocation went with it: the stack would wait for answers.
    async fn relay_lost(&self) {
        let mut transport = TransportStats::default();
        transport.read(&self.connection.get_stats(Instant::now(), StatsSelector::None).await);
        if transport.local_candidate_type.as_deref() == Some("relay") {
            tracing::info!("the connection to the relay in use broke");
            self.told.send_replace(ConnectionState::Failed);
        }
    }

    async fn request(&mut self, request: Request) {
        match request {
            Request::Negotiate { restart } => {
                // An offer that is out may have been lost; while it waits for an answer no other is made.
                if restart {
                    self.repeat_offer().await;
                }
                self.step(Input::Wanted { restart }).await;
            }
            Request::Description(description) => match readable(&description) {
                Ok(()) => {
                    let lines = description.sdp.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
                    lines.for_each(|candidate| self.shared.net.told(candidate));
                    self.step(Input::Remote(description)).await;
                }
                Err(why) => self.tell(PeerEvent::Rejected(why)).await,
            },
            Request::Candidate(candidate) if candidate.usable() => {
                self.step(Input::Candidate(candidate)).await;
            }
            Request::RepeatOffer => self.repeat_offer().await,
            Request::Servers(servers) => self.servers = Some(servers),
            Request::Avoid(addresses) => self.shared.net.avoid(addresses),
            // The end of candidates, or one that we do not use.
            Request::Candidate(_) => {}
            Request::Keyframe => {
                if self.asking.request(Instant::now()) {
                    self.ask_for_keyframe().await;
                }
            }
        }
    }

    async fn ask_for_keyframe(&self) {
        if let Some(receiver) = &self.receivers[Kind::Video as usize] {
            receiver.request_keyframe(self.shared.wires.video.ssrc).await;
        }
    }

    async fn happening(&mut self, happening: Happening) {
        match happening {
            Happening::Candidate(candidate) => {
                let local = self.connection.local_description().await;
                let ufrag = local.and_then(|d| Description::offer(d.sdp).ufrag().map(str::to_owned));
                let candidate = Candidate {
                    candidate: candidate.candidate,
                    sdp_mid: None,
                    sdp_m_line_index: Some(0),
                    username_fragment: ufrag,
                };
                let candidate = if self.relay_only { hide::candidate(&candidate) } else { Some(candidate) };
                if let Some(candidate) = candidate {
                    self.tell(PeerEvent::Candidate(Some(candidate))).await;
                }
            }
            Happening::Gathered => self.tell(PeerEvent::Candidate(None)).await,
            Happening::Track(track) => {
                if let Some(kind) = Receiver::kind_of(&track).await {
                    // A newer track of the kind takes the place of the older one.
                    let receiver = Receiver::start(
                        self.shared.slot(kind),
                        track,
                        self.shared.wires.clocks.clone(),
                        self.on_rtp.clone(),
                    );
                    self.receivers[kind as usize] = Some(receiver);
                }
            }
        }
    }

    /// Runs the machine until it has nothing more to do.
    async fn step(&mut self, input: Input) {
        let mut effects = VecDeque::from(self.machine.on(input));
        while let Some(effect) = effects.pop_front() {
            if let Some(outcome) = self.perform(effect).await {
                effects.extend(self.machine.on(outcome));
            }
        }
    }

    async fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Offer { restart } => Some(match self.offer(restart).await {
                Ok(()) => Input::Offered,
                Err(error) => self.rejected("no offer could be made", &error, Input::OfferFailed).await,
            }),
            Effect::Rollback => {
                if let Err(error) = self.rollback().await {
                    tracing::warn!(%error, "our offer could not be taken back");
                }
                None
            }
            Effect::Accept(offer) => Some(match self.accept(offer).await {
                Ok(()) => Input::Accepted,
                Err(error) => {
                    self.rejected("the offer of the other side cannot be used", &error, Input::AcceptFailed)
                        .await
                }
            }),
            Effect::Complete(answer) => Some(match self.complete(answer).await {
                Ok(()) => Input::Completed,
                Err(error) => {
                    self.rejected(
                        "the answer of the other side cannot be used",
                        &error,
                        Input::CompleteFailed,
                    )
                    .await
                }
            }),
            Effect::Add(candidate) => {
                self.shared.net.told(&candidate.candidate);
                let candidate = RTCIceCandidateInit {
                    candidate: candidate.candidate,
                    sdp_mline_index: Some(candidate.sdp_m_line_index.unwrap_or(0)),
                    sdp_mid: candidate.sdp_mid,
                    username_fragment: candidate.username_fragment,
                    url: None,
                };
                if let Err(error) = self.connection.add_ice_candidate(candidate).await {
                    self.tell(PeerEvent::Rejected(format!("a candidate cannot be used: {error}"))).await;
                }
                None
            }
            Effect::Ignored(why) => {
                tracing::debug!(why, "ignored");
                None
            }
        }
    }

    /// Back to stable, whatever was half done, and told.
    async fn rejected(&mut self, what: &str, error: &Error, outcome: Input) -> Input {
        if let Err(error) = self.rollback().await {
            tracing::debug!(%error, "nothing to take back");
        }
        self.tell(PeerEvent::Rejected(format!("{what}: {error}"))).await;
        outcome
    }

    async fn offer(&mut self, restart: bool) -> Result<(), Error> {
        if restart {
            self.use_servers().await;
            self.connection.restart_ice().await?;
            self.shared.wires.pace.restart();
        }
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer).await?;
        self.send_local(DescriptionType::Offer).await
    }

    /// Not before a restart, which makes sockets anew: with the old ones the stack would give up relays that
    /// are in use.
    async fn use_servers(&mut self) {
        let Some(servers) = self.servers.take() else { return };
        let configuration = engine::configuration(&self.shared.net, &servers, self.relay_only);
        if let Err(error) = self.connection.set_configuration(configuration).await {
            tracing::warn!(%error, "the new STUN and TURN servers are not used");
        }
    }

    async fn accept(&mut self, offer: Description) -> Result<(), Error> {
        let before = self.connection.remote_description().await;
        let before = before.map(|description| Description::offer(description.sdp));
        if before.is_some_and(|before| before.ufrag() != offer.ufrag()) {
            self.use_servers().await;
            self.shared.wires.pace.restart();
        }
        self.connection.set_remote_description(RTCSessionDescription::offer(offer.sdp)?).await?;
        let answer = self.connection.create_answer(None).await?;
        self.connection.set_local_description(answer).await?;
        self.send_local(DescriptionType::Answer).await?;
        self.read_payload_types().await;
        Ok(())
    }

    async fn complete(&mut self, answer: Description) -> Result<(), Error> {
        self.connection.set_remote_description(RTCSessionDescription::answer(answer.sdp)?).await?;
        self.read_payload_types().await;
        Ok(())
    }

    async fn send_local(&mut self, kind: DescriptionType) -> Result<(), Error> {
        let local = self.connection.local_description().await;
        let local = local.ok_or_else(|| Error::Other("the description was not kept".into()))?;
        let sdp = if self.relay_only { hide::description(&local.sdp) } else { local.sdp };
        let description = Description { kind, sdp };
        // The other side may check a path as soon as it has this.
        if let Some(ufrag) = description.ufrag() {
            self.shared.net.expect(ufrag);
        }
        self.tell(PeerEvent::Description(description)).await;
        Ok(())
    }

    /// The other side takes an offer that it has had for a new one, and answers again.
    async fn repeat_offer(&mut self) {
        if self.machine.is_offering()
            && let Err(error) = self.send_local(DescriptionType::Offer).await
        {
            tracing::warn!(%error, "the offer cannot be said again");
        }
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        let local = self.connection.pending_local_description().await.is_some();
        let remote = self.connection.pending_remote_description().await.is_some();
        if local {
            self.connection.set_local_description(RTCSessionDescription::rollback(None)?).await?;
        }
        if remote {
            self.connection.set_remote_description(RTCSessionDescription::rollback(None)?).await?;
        }
        Ok(())
    }

    /// The offerer's numbers hold, whatever ours would have been.
    async fn read_payload_types(&self) {
        let slots = [(&self.shared.audio, engine::opus()), (&self.shared.video, engine::vp8())];
        for ((slot, codec), sender) in slots.into_iter().zip(&self.senders) {
            let parameters = sender.get_parameters().await;
            let codecs = parameters.map(|parameters| parameters.rtp_parameters.codecs).unwrap_or_default();
            let number = |codec: &RTCRtpCodec| {
                let same =
                    |c: &&RTCRtpCodecParameters| c.rtp_codec.mime_type.eq_ignore_ascii_case(&codec.mime_type);
                codecs.iter().find(same).map(|codec| codec.payload_type)
            };
            let redundant = if slot.is_audio() { number(&engine::red()) } else { None };
            slot.set_payload_types(number(&codec), redundant);
        }
    }
}

/// Found out before the machine acts on it: an offer of ours is not taken back for garbage.
pub(crate) fn readable(description: &Description) -> Result<(), String> {
    description.check()?;
    let parsed = match description.kind {
        DescriptionType::Offer => RTCSessionDescription::offer(description.sdp.clone()),
        DescriptionType::Answer => RTCSessionDescription::answer(description.sdp.clone()),
    };
    parsed.map(|_| ()).map_err(|error| format!("the description cannot be read: {error}"))
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
