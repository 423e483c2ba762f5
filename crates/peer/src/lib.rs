//! One RTCPeerConnection: negotiation, two sender slots, two receivers, statistics.
//!
//! Everything runs as tasks on the caller's tokio runtime: one drives the connection, one for each sender
//! slot packetizes, one for each received track hands packets on, and webrtc's own driver does ICE, DTLS,
//! SRTP and sockets. No method of [`Peer`] or [`SenderSlot`] waits, but for [`Peer::stats`] and
//! [`Peer::close`]; results come as [`PeerEvent`]s. All queues are bounded.
//!
//! Both sides have one audio and one video section, always in both directions, whether or not there is
//! something to send: nothing that happens in a call needs another negotiation, except new paths.

mod addresses;
mod clock;
mod config;
mod congestion;
mod connection;
mod controller;
mod counters;
pub mod description;
mod engine;
mod error;
pub mod examine;
mod gate;
mod hide;
mod keyframe;
mod mapping;
mod missing;
mod nack;
pub mod negotiation;
mod net;
mod pacer;
mod pacing;
mod packetizer;
mod receiver;
mod red;
mod reports;
mod sender;
mod source;
pub mod stats;
mod tap;
mod throttle;

pub use addresses::{local_addresses, routed_addresses};
pub use config::{ConnectionState, Encoded, IceServer, Kind, PeerConfig, PeerEvent, RtpIn};
pub use controller::Estimate;
pub use description::{Candidate, Description, DescriptionType};
pub use error::PeerError;
pub use mapping::{Mapping, mapping};
pub use receiver::OnRtp;
pub use sender::SenderSlot;
pub use source::{Full, Source, SourceWriter, source};
pub use stats::Stats;

use connection::{MAILBOX, Request, Shared, Start};
use engine::Wires;
use net::Net;
use sender::Slot;
use stats::{KindStats, SlotState, TransportStats};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use webrtc::peer_connection::StatsSelector;

/// Tells how long pictures that were handed over already will take to leave.
#[derive(Clone, Debug)]
pub struct Backlog(Arc<pacer::PaceControl>);

impl Backlog {
    /// How long, at the pace of now.
    pub fn now(&self) -> std::time::Duration {
        self.0.backlog()
    }
}

/// A connection to one other participant. Dropping it closes it.
pub struct Peer {
    requests: mpsc::Sender<Request>,
    closing: watch::Sender<bool>,
    task: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
    shared: Arc<Shared>,
    audio: SenderSlot,
    video: SenderSlot,
    wants_dtx: AtomicBool,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peer({:?})", *self.shared.state.borrow())
    }
}

impl Peer {
    /// A connection that waits for [`Self::negotiate`] or for the other side's offer. Must be called on a
    /// tokio runtime. What cannot be set up (no sockets) comes as [`PeerEvent::Failed`].
    ///
    /// `on_rtp` gets each received packet on a tokio worker and must not block. `events` must be read: the
    /// connection waits while it is full (media goes on).
    ///
    /// # Errors
    /// [`PeerError::NoRuntime`].
    pub fn new(
        config: PeerConfig,
        events: mpsc::Sender<PeerEvent>,
        on_rtp: OnRtp,
    ) -> Result<Self, PeerError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| PeerError::NoRuntime)?;
        let keyframe = Arc::<keyframe::KeyframeWanted>::default();
        let audio_ssrc = rand::random::<u32>().max(1);
        // Never the same: streams are told apart by it.
        let video_ssrc = audio_ssrc ^ rand::random::<u32>().max(1);
        let audio = Slot::new(Kind::Audio, audio_ssrc, engine::opus(), keyframe.clone());
        let video = Slot::new(Kind::Video, video_ssrc, engine::vp8(), keyframe.clone());
        let wires = Wires {
            audio: audio.door(),
            video: video.door(),
            counts: Arc::default(),
            keyframe,
            pace: Arc::default(),
            clocks: Arc::default(),
            estimate: watch::Sender::new(controller::Controller::first()),
        };
        // overflow: the request is refused with `PeerError::Busy`.
        let (requests, mailbox) = mpsc::channel(MAILBOX);
        let (closing, closed) = watch::channel(false);
        let net = Net::new(&config);
        let (state_sender, state) = watch::channel(ConnectionState::New);
        let shared = Arc::new(Shared {
            audio: audio.clone(),
            video: video.clone(),
            wires,
            net,
            connection: OnceLock::new(),
            state,
        });
        let start = Start {
            config,
            shared: shared.clone(),
            requests: mailbox,
            events,
            on_rtp,
            state: state_sender,
            closing: closed,
        };
        let task = tokio::sync::Mutex::new(Some(runtime.spawn(connection::run(start))));
        let (audio, video) = (SenderSlot(audio), SenderSlot(video));
        Ok(Self { requests, closing, task, shared, audio, video, wants_dtx: AtomicBool::new(false) })
    }

    /// Makes an offer, which comes as [`PeerEvent::Description`]. While one is out, this does nothing.
    ///
    /// # Errors
    /// [`PeerError::Busy`], [`PeerError::Closed`], here and in all requests below.
    pub fn negotiate(&self) -> Result<(), PeerError> {
        self.ask(Request::Negotiate { restart: false })
    }

    /// Says an offer that was not answered again, for it may have been lost on its way. With none out, this
    /// does nothing.
    pub fn repeat_offer(&self) -> Result<(), PeerError> {
        self.ask(Request::RepeatOffer)
    }

    /// Looks for new paths (W3C `restartIce` and an offer), with sockets on the addresses that the machine
    /// has now. Media goes on over the old path until a new one works, where the old one still does.
    pub fn restart_ice(&self) -> Result<(), PeerError> {
        self.ask(Request::Negotiate { restart: true })
    }

    /// Addresses of this machine that ICE restarts do without, where it has others: the network that they belong
    /// to was left, though it still answers. In place of those named before; what is in use stays.
    pub fn avoid(&self, addresses: Vec<IpAddr>) -> Result<(), PeerError> {
        self.ask(Request::Avoid(addresses))
    }

    /// Other servers, or new credentials for the same: for the next ICE restart, by whichever side. What is
    /// in use stays as it is.
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) -> Result<(), PeerError> {
        self.ask(Request::Servers(servers))
    }

    /// An offer or answer came. One that cannot be used comes back as [`PeerEvent::Rejected`], and the
    /// connection goes on as it was.
    pub fn remote_description(&self, description: Description) -> Result<(), PeerError> {
        self.wants_dtx.store(description.wants_dtx(), Ordering::Relaxed);
        self.ask(Request::Description(description))
    }

    /// A candidate came, perhaps before its description; `None` when there are no more.
    pub fn remote_candidate(&self, candidate: Option<Candidate>) -> Result<(), PeerError> {
        match candidate {
            Some(candidate) => self.ask(Request::Candidate(candidate)),
            None => Ok(()),
        }
    }

    /// Asks the other side for a whole picture (PLI). At most one in 200 ms goes out; requests that come
    /// sooner are put together to one that goes out late.
    pub fn request_keyframe(&self) -> Result<(), PeerError> {
        self.ask(Request::Keyframe)
    }

    /// What is sent of a kind.
    pub fn sender(&self, kind: Kind) -> &SenderSlot {
        match kind {
            Kind::Audio => &self.audio,
            Kind::Video => &self.video,
        }
    }

    /// The state now; changes come as [`PeerEvent::State`].
    pub fn state(&self) -> ConnectionState {
        *self.shared.state.borrow()
    }

    /// Whether the other side's last description asked for less in pauses of speech (DTX).
    pub fn wants_dtx(&self) -> bool {
        self.wants_dtx.load(Ordering::Relaxed)
    }

    /// What the path is thought to carry, as it changes: some ten times a second while something is sent.
    pub fn estimate(&self) -> watch::Receiver<Estimate> {
        self.shared.wires.estimate.subscribe()
    }

    /// How far the pacer is behind: for whoever feeds pictures, from any thread.
    pub fn backlog(&self) -> Backlog {
        Backlog(self.shared.wires.pace.clone())
    }

    /// Drops the pictures that wait to leave, and all that follow until a keyframe: none are to be sent for a while.
    pub fn drop_waiting_pictures(&self) {
        self.shared.wires.pace.await_keyframe();
    }

    /// Statistics now. Waits for no network.
    pub async fn stats(&self) -> Stats {
        let mut transport = TransportStats { connection_state: self.state(), ..Default::default() };
        if let Some(connection) = self.shared.connection.get() {
            let report = connection.get_stats(Instant::now(), StatsSelector::None).await;
            transport.read(&report);
        }
        let wires = &self.shared.wires;
        let estimate = *wires.estimate.borrow();
        transport.packets_discarded = self.shared.net.dropped();
        transport.available_outgoing_bitrate = estimate.measured.then_some(estimate.bitrate);
        let slot = |door: &gate::Door, paced: u64| SlotState {
            active: door.is_open(),
            discarded: door.dropped() + paced,
        };
        let counts = tap::lock(&wires.counts);
        Stats {
            transport,
            audio: KindStats::of(Kind::Audio, &counts, slot(&wires.audio, 0)),
            video: KindStats::of(Kind::Video, &counts, slot(&wires.video, wires.pace.dropped())),
        }
    }

    /// Closes the connection and waits until its sockets are gone. Nothing is sent to the other side's
    /// application: say bye by signaling. Closing twice is fine.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        self.audio.0.close();
        self.video.0.close();
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "the connection's task ended badly");
        }
    }

    fn ask(&self, request: Request) -> Result<(), PeerError> {
        if *self.closing.borrow() {
            return Err(PeerError::Closed);
        }
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PeerError::Busy,
            mpsc::error::TrySendError::Closed(_) => PeerError::Closed,
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.audio.0.close();
        self.video.0.close();
    }
}
