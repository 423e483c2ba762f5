//! The wiring: the one place that knows media, peer and signaling together. It carries out the machine's
//! effects and turns what the three report into inputs; it decides nothing.

mod allocation;
mod fanout;
mod leg;
mod report;
mod translate;

use crate::event::Event;
use crate::machine::{Effect, Hello, Input, OpenPeer, PeerKey};
use crate::network::Network;
use crate::snapshot::Devices;
use crate::stats::Stats;
use crate::{Config, Display};
use allocation::Allocation;
use fanout::Fanout;
use leg::{Ends, Leg};
use media::audio::AudioUplink;
use media::display::Y4mSink;
use media::{Audio, Camera, Frame, Slot, VideoOut, VideoSettings};
use peer::{Kind, PeerError};
use signaling::{Client, JoinRequest, Name, RoomName, Server};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

/// Hands an input to the engine from a thread that must not wait.
/// overflow: 1024 inputs wait already, the engine is stuck: dropped and logged.
fn hand_in(inputs: &mpsc::Sender<Input>, input: Input) {
    if let Err(mpsc::error::TrySendError::Full(input)) = inputs.try_send(input) {
        tracing::error!(?input, "the engine does not keep up: input dropped");
    }
}

/// All that a call holds.
pub(crate) struct Wiring {
    inputs: mpsc::Sender<Input>,
    events: mpsc::Sender<Event>,
    display: Display,
    fanout: Fanout,
    legs: HashMap<PeerKey, Leg>,
    client: Option<Client>,
    /// Byes on their way; each takes half a second at most.
    goodbyes: JoinSet<()>,
    muted: bool,
    camera_off: bool,
    encoding: bool,
    allocation: Allocation,
    /// Bits a second of sound; 0 before anybody is connected.
    audio_target: u32,
    /// What a path carries has changed.
    paths_changed: Arc<Notify>,
    camera: Camera,
    video_out: VideoOut,
    audio: Audio,
    _self_sink: Option<Y4mSink>,
}

impl Wiring {
    /// Opens the ends. `view` gets the self-view.
    pub(crate) fn new(
        config: &Config,
        view: &Slot<Frame>,
        inputs: mpsc::Sender<Input>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let fanout = Fanout::default();
        let pictures = Slot::<Frame>::default();
        let (self_view, self_sink) = self_view(&config.display, view, &inputs);
        let camera = Camera::spawn(
            std::iter::once(pictures.clone()).chain(self_view).collect(),
            Box::new(reporter(&inputs, translate::camera_event)),
        );
        camera.set_on(!config.camera_off);
        camera.use_source(config.camera.clone());

        let video_fanout = fanout.clone();
        let behind = fanout.clone();
        let video_out = VideoOut::spawn_paced(
            pictures,
            Box::new(move |frame| video_fanout.video(&frame)),
            Box::new(move || behind.is_behind()),
            VideoSettings::default(),
        );
        video_out.set_on(false);
        let audio_fanout = fanout.clone();
        let audio = Audio::spawn(
            Box::new(move |packet| audio_fanout.audio(&packet)),
            Box::new(reporter(&inputs, translate::audio_event)),
        );
        audio.set_processing(config.processing);
        audio.set_muted(config.starts_muted());
        audio.use_mic(config.mic.clone());
        audio.use_speaker(config.speaker.clone());
        Self {
            inputs,
            events,
            display: config.display.clone(),
            fanout,
            legs: HashMap::new(),
            client: None,
            goodbyes: JoinSet::new(),
            muted: config.starts_muted(),
            camera_off: config.camera_off,
            encoding: false,
            allocation: Allocation::new(config.processing.music),
            audio_target: 0,
            paths_changed: Arc::default(),
            camera,
            video_out,
            audio,
            _self_sink: self_sink,
        }
    }

    /// Carries out one effect. What goes wrong comes back as an input.
    pub(crate) async fn run(&mut self, effect: Effect) {
        match effect {
            Effect::Connect(hello) => {
                let attempt = hello.attempt;
                match join_request(hello) {
                    Ok(request) => self.connect(attempt, request),
                    Err(why) => hand_in(&self.inputs, from_server(attempt, Input::ServerFailed { why })),
                }
            }
            Effect::Disconnect => self.disconnect(),
            Effect::Send(message) => {
                let sent = self.client.as_ref().map(|client| client.send(message));
                if let Some(Err(full)) = sent {
                    tracing::error!(%full, "message to the server dropped");
                }
            }
            Effect::Announce { audio, video } => {
                if let Some(client) = &self.client {
                    client.set_state(audio, video);
                }
            }
            Effect::OpenPeer(open) => self.open_peer(&open),
            Effect::ClosePeer(key) => self.close_peer(key),
            Effect::Describe(key, description) => {
                self.tell(key, |peer| peer.remote_description(translate::description_in(description)));
            }
            Effect::Candidate(key, candidate) => {
                self.tell(key, |peer| peer.remote_candidate(candidate.map(translate::candidate_in)));
            }
            Effect::RestartIce(key) => self.tell(key, peer::Peer::restart_ice),
            Effect::Avoid(key, addresses) => self.tell(key, |peer| peer.avoid(addresses.clone())),
            Effect::IceServers(servers) => {
                let servers: Vec<_> = servers.iter().map(translate::ice_server).collect();
                for key in self.legs.keys() {
                    self.tell(*key, |peer| peer.set_ice_servers(servers.clone()));
                }
            }
            Effect::ProbeServer => {
                if let Some(client) = &self.client {
                    client.probe();
                }
            }
            Effect::ReconnectServer => {
                if let Some(client) = &self.client {
                    client.reconnect();
                }
            }
            Effect::RepeatOffer(key) => self.tell(key, peer::Peer::repeat_offer),
            Effect::Keyframe => self.video_out.request_keyframe(),
            Effect::Connected(key) => {
                if let Some(leg) = self.legs.get_mut(&key) {
                    leg.connected = true;
                }
                self.steer();
                self.turn_encoder();
                self.video_out.request_keyframe();
            }
            Effect::ClearView(key) => {
                if let Some(leg) = self.legs.get(&key) {
                    leg.clear_view();
                }
            }
            Effect::SetMuted(on) => self.set_muted(on),
            Effect::SetCameraOff(on) => self.set_camera_off(on),
            Effect::UseCamera(source) => self.camera.use_source(source),
            Effect::UseMic(source) => self.audio.use_mic(source),
            Effect::UseSpeaker(sink) => self.audio.use_speaker(sink),
            Effect::SetProcessing(processing) => {
                self.allocation.set_music(processing.music);
                self.audio.set_processing(processing);
            }
            Effect::SetVolume(key, volume) => self.audio.set_volume(key, volume),
            Effect::Ring(chime) => self.audio.ring(chime),
            Effect::Rehearse(what) => self.audio.rehearse(what),
            Effect::Emit(event) => self.emit(event),
        }
    }

    fn emit(&self, event: Event) {
        // overflow: nobody reads; the event is dropped and logged.
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            tracing::warn!(?event, "nobody reads the events: dropped");
        }
    }

    fn connect(&mut self, attempt: u64, request: JoinRequest) {
        // overflow: the client reads nothing more from the server until there is room.
        let (events, mut reports) = mpsc::channel(64);
        self.client = Some(Client::connect(request, events));
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            while let Some(report) = reports.recv().await {
                let input = from_server(attempt, translate::client_event(report));
                if inputs.send(input).await.is_err() {
                    return;
                }
            }
        });
    }

    fn disconnect(&mut self) {
        // Those that are said already are forgotten.
        while self.goodbyes.try_join_next().is_some() {}
        if let Some(client) = self.client.take() {
            self.goodbyes.spawn(client.bye());
        }
    }

    fn open_peer(&mut self, open: &OpenPeer) {
        let ends = Ends {
            audio: &self.audio,
            fanout: &self.fanout,
            display: &self.display,
            inputs: &self.inputs,
            paths_changed: &self.paths_changed,
            muted: self.muted,
            camera_off: self.camera_off,
        };
        match Leg::open(open, &ends) {
            Ok(leg) => {
                self.legs.insert(open.key, leg);
            }
            Err(error) => {
                self.fanout.remove(open.key);
                hand_in(&self.inputs, Input::PeerFailed(open.key, error.to_string()));
            }
        }
    }

    fn close_peer(&mut self, key: PeerKey) {
        self.fanout.remove(key);
        if let Some(leg) = self.legs.remove(&key) {
            leg.close();
        }
        self.turn_encoder();
    }

    fn tell(&self, key: PeerKey, what: impl FnOnce(&peer::Peer) -> Result<(), PeerError>) {
        let Some(leg) = self.legs.get(&key) else { return };
        if let Err(error) = what(leg.peer()) {
            hand_in(&self.inputs, Input::PeerFailed(key, error.to_string()));
        }
    }

    fn set_muted(&mut self, on: bool) {
        self.muted = on;
        self.audio.set_muted(on);
        for leg in self.legs.values() {
            leg.set_enabled(Kind::Audio, !on);
        }
    }

    fn set_camera_off(&mut self, on: bool) {
        self.camera_off = on;
        self.turn_encoder();
        for leg in self.legs.values() {
            leg.set_enabled(Kind::Video, !on);
        }
        self.camera.set_on(!on);
    }

    /// Nobody to send to, or camera off: nothing is encoded. Not before somebody is connected, for a
    /// keyframe that nobody gets would hold up the one that they wait for.
    fn turn_encoder(&mut self) {
        let on = !self.camera_off && self.legs.values().any(|leg| leg.connected);
        if on != self.encoding {
            self.encoding = on;
            self.video_out.set_on(on);
        }
    }

    /// Waits until what a path carries has changed; cancel safe.
    pub(crate) fn paths_changed(&self) -> impl Future<Output = ()> + use<> {
        let changed = self.paths_changed.clone();
        async move { changed.notified().await }
    }

    /// Tries a picture again that has stopped, where nothing tells any more whether there is room for it.
    pub(crate) fn try_picture(&mut self) {
        if self.encoding && self.allocation.tries(self.fanout.sound_left(), Instant::now()) {
            self.steer();
        }
    }

    /// Has the encoders follow the worst of the paths: pictures are encoded once for everybody.
    pub(crate) fn steer(&mut self) {
        let estimates = self.legs.values().filter(|leg| leg.connected).map(Leg::follow_path);
        let Some(worst) = estimates.min_by(|one, two| one.bitrate.total_cmp(&two.bitrate)) else { return };
        let shares = self.allocation.share(&worst, Instant::now());
        self.video_out.set_bitrate(shares.video);
        if self.video_out.set_suspended(shares.suspended) && shares.suspended {
            // They would stand in the way of the sound, and nobody waits for them any more.
            self.legs.values().for_each(|leg| leg.peer().drop_waiting_pictures());
        }
        self.audio.set_uplink(AudioUplink {
            bitrate: shares.audio,
            loss: shares.loss as f32,
            long: shares.long,
            // Sound is encoded once for everybody.
            dtx: self.legs.values().filter(|leg| leg.connected).all(|leg| leg.peer().wants_dtx()),
        });
        self.audio_target = shares.audio;
    }

    /// Statistics of every connection.
    pub(crate) async fn stats(&mut self) -> Vec<(PeerKey, Stats)> {
        let mut all = Vec::with_capacity(self.legs.len());
        for (key, leg) in &mut self.legs {
            all.push((*key, leg.stats(*key, &self.audio, &self.video_out, self.audio_target).await));
        }
        all
    }

    /// How loud the microphone is, 0 to 1.
    pub(crate) fn mic_level(&self) -> f32 {
        self.audio.mic_level()
    }

    /// Leaves for good: says bye, closes every connection, and waits for both.
    pub(crate) async fn close(mut self) {
        let keys: Vec<PeerKey> = self.legs.keys().copied().collect();
        let legs: Vec<Leg> = keys.iter().filter_map(|key| self.legs.remove(key)).collect();
        for leg in &legs {
            leg.peer().close().await;
        }
        if let Some(client) = self.client.take() {
            client.bye().await;
        }
        // Whoever leaves and quits at once has a bye on its way: without it the others would wait for them.
        while self.goodbyes.join_next().await.is_some() {}
        drop(legs);
    }
}

fn from_server(attempt: u64, report: Input) -> Input {
    Input::FromServer { attempt, report: Box::new(report) }
}

/// What people typed, read; or one line that says what is wrong with it.
fn join_request(hello: Hello) -> Result<JoinRequest, String> {
    let server = Server::parse(&hello.server).map_err(|error| error.to_string())?;
    let room = RoomName::parse(&hello.room).map_err(|error| error.to_string())?;
    let name = Name::parse(&hello.name).map_err(|error| error.to_string())?;
    let Hello { password, audio, video, .. } = hello;
    Ok(JoinRequest { server, room, name, audio, video, password })
}

fn self_view(
    display: &Display,
    view: &Slot<Frame>,
    inputs: &mpsc::Sender<Input>,
) -> (Option<Slot<Frame>>, Option<Y4mSink>) {
    show(display, "self", view, inputs).map_or((None, None), |(slot, sink)| (Some(slot), sink))
}

/// Where the pictures of `whom` go: into `view` for a window, into a file, or nowhere.
fn show(
    display: &Display,
    whom: &str,
    view: &Slot<Frame>,
    inputs: &mpsc::Sender<Input>,
) -> Option<(Slot<Frame>, Option<Y4mSink>)> {
    match display {
        Display::Window => Some((view.clone(), None)),
        Display::Y4m { dir, size } => {
            let slot = Slot::default();
            let path = dir.join(format!("{whom}.y4m"));
            let sink = Y4mSink::spawn(&path, slot.clone(), *size);
            let sink = sink.inspect_err(|e| hand_in(inputs, Input::DisplayFailed { why: e.to_string() }));
            sink.ok().map(|sink| (slot, Some(sink)))
        }
        Display::None => None,
    }
}

fn reporter<E>(inputs: &mpsc::Sender<Input>, translate: fn(E) -> Input) -> impl Fn(E) + Send + use<E> {
    let inputs = inputs.clone();
    move |event| hand_in(&inputs, translate(event))
}

/// The addresses that others may reach us by, none without a network, and those that we reach others from.
pub(crate) fn network() -> Network {
    Network {
        addresses: peer::local_addresses().into_iter().filter(|address| !address.is_loopback()).collect(),
        routed: peer::routed_addresses().into_iter().collect(),
    }
}

/// What the system has now. Asks the system's services: may take a fifth of a second.
pub(crate) fn list_devices() -> Devices {
    Devices {
        cameras: media::camera::list(),
        mics: media::audio::list_mics(),
        speakers: media::audio::list_speakers(),
    }
}
