//! The call as a pure state machine: `on(input, now) -> effects`. No clock, no socket, no thread.
//!
//! Everything that happens comes in by this one door: what the user asks, what the server says, what the
//! connections and the devices report, and the passing of time. What comes out is a list of effects for
//! [`crate::wiring`] to carry out, and the [`Snapshot`] to draw. The rules of mute live here, in one place:
//! the camera's button is a boolean that only [`Command::CameraOff`] changes, and our voice passes a gate
//! ([`sound`]) that only [`Command::Mute`], push-to-talk and the echo test move.

mod ends;
mod entrance;
mod ice;
mod marks;
mod path;
mod room;
mod sound;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod visitors;
mod watch;

use crate::command::Command;
use crate::event::Event;
use crate::network::Change;
use crate::quality::Reason;
use crate::snapshot::{About, Devices, Participant, Phase, Problem, Snapshot};
use crate::stats::Stats;
use ice::IceServers;
use media::audio::{Chime, Processing, Rehearsal, Rehearse};
use media::{CameraUse, Frame, MicUse, Slot, SpeakerUse};
use signaling::{
    Candidate, ClientMessage, Description, IceServer, ParticipantId, Password, ServerMessage, Welcome,
};
use sound::Hearing;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use watch::Watch;

/// Tells one connection from all others of this process, its predecessors to the same person too, so that
/// a late report of a closed one is known as such.
pub(crate) type PeerKey = u64;

/// All that can happen to a call.
#[derive(Debug)]
pub(crate) enum Input {
    /// The user asks for something.
    Command(Command),
    /// What comes by the signaling client of one attempt to join; of an earlier one it is too late.
    FromServer { attempt: u64, report: Box<Input> },
    /// The server's first answer, or its answer after an outage.
    Welcome(Welcome),
    /// Any other message of the server.
    Message(ServerMessage),
    /// The server cannot be reached; it is being tried again.
    ServerLost { why: String },
    /// The server will not be tried again.
    ServerFailed { why: String },
    /// The room cannot be entered so.
    NoEntry { why: String },
    /// A connection has a description for the other side.
    PeerDescription(PeerKey, Description),
    /// A connection has a candidate for the other side; `None` after the last.
    PeerCandidate(PeerKey, Option<Candidate>),
    /// Somebody cannot decode without a whole picture.
    KeyframeRequested,
    /// A connection changed.
    PeerState(PeerKey, PathState),
    /// A connection failed at something that cannot be put right by itself.
    PeerFailed(PeerKey, String),
    /// Their first picture was handed to the display.
    FirstFrame(PeerKey, u32, u32),
    /// Their first sound was decoded.
    FirstSound(PeerKey),
    /// An end reports.
    End(EndReport),
    /// Pictures cannot be written where they should.
    DisplayFailed { why: String },
    /// What the system has now.
    Devices(Devices),
    /// Once a second.
    Stats(Vec<(PeerKey, Stats)>),
    /// How loud the microphone is.
    MicLevel(f32),
    /// They began to speak, or ended.
    Speaking(PeerKey, bool),
    /// We began to speak, or ended, muted or not.
    OwnVoice(bool),
    /// Nothing comes from the microphone, or something does again.
    MicSilent(bool),
    /// How far a test of speaker or microphone is.
    Rehearsal(Rehearsal),
    /// This computer has other addresses than before, or reaches the internet from another one.
    AddressesChanged(Change),
    /// Time passed.
    Tick,
}

/// What a connection says of itself (RTCPeerConnectionState).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathState {
    Connecting,
    Connected,
    Disconnected,
    Failed,
}

/// What camera, microphone and speaker say of themselves.
#[derive(Debug)]
pub(crate) enum EndReport {
    /// The camera gives pictures.
    CameraOpened { source: CameraUse, width: u32, height: u32 },
    /// The camera gives none any more: off by the button, or set to none.
    CameraClosed,
    /// It could not be opened. With `fell_back` the one before goes on in its place.
    CameraFailed { why: String, fell_back: bool },
    /// It stopped. It is opened again when it comes back.
    CameraLost { why: String },
    /// The microphone gives sound.
    MicOpened { source: MicUse, name: String },
    /// It could not be opened. One that was in use stays in use.
    MicFailed { why: String },
    /// It stopped. It is opened again when it comes back.
    MicLost { why: String },
    /// The one wanted is away, and another one gives sound until it is back.
    MicFellBack { wanted: MicUse, why: String },
    /// The speaker takes sound.
    SpeakerOpened { sink: SpeakerUse, name: String },
    /// The one wanted is away, and another one takes sound until it is back.
    SpeakerFellBack { wanted: SpeakerUse, why: String },
    /// It could not be opened, or stopped.
    SpeakerFailed { why: String },
}

/// All that the machine can ask for.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Say hello to a server.
    Connect(Hello),
    /// Say bye to it.
    Disconnect,
    /// Tell it something.
    Send(ClientMessage),
    /// Tell it, now and whenever it forgets, what our buttons say.
    Announce { audio: bool, video: bool },
    /// Make a connection; with `offer`, begin.
    OpenPeer(OpenPeer),
    /// Close it, with all that hangs on it.
    ClosePeer(PeerKey),
    /// Hand it their description.
    Describe(PeerKey, Description),
    /// Hand it their candidate.
    Candidate(PeerKey, Option<Candidate>),
    /// Have it look for new paths.
    RestartIce(PeerKey),
    /// Addresses of ours that restarts of a connection do without from now on.
    Avoid(PeerKey, Vec<IpAddr>),
    /// The servers that connections use from their next ICE restart on.
    IceServers(Vec<IceServer>),
    /// See whether the server still hears us, and go to it anew if not.
    ProbeServer,
    /// Go to the server anew: the connection to it is gone.
    ReconnectServer,
    /// Have it say an unanswered offer again.
    RepeatOffer(PeerKey),
    /// Have the next picture be a keyframe.
    Keyframe,
    /// Media can flow to them: encode from now on, beginning with a keyframe.
    Connected(PeerKey),
    /// Their picture is over: show none.
    ClearView(PeerKey),
    /// Close or open every audio slot.
    SetMuted(bool),
    /// Close or open every video slot.
    SetCameraOff(bool),
    /// Switch an end.
    UseCamera(CameraUse),
    /// Switch an end.
    UseMic(MicUse),
    /// Switch an end.
    UseSpeaker(SpeakerUse),
    /// Do this to our voice.
    SetProcessing(Processing),
    /// Play them so loud.
    SetVolume(PeerKey, f32),
    /// Play a short sound to ourselves.
    Ring(Chime),
    /// Try speaker or microphone.
    Rehearse(Rehearse),
    /// Tell whoever listens.
    Emit(Event),
}

/// Who wants to be where.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) attempt: u64,
    pub(crate) server: String,
    pub(crate) room: String,
    pub(crate) name: String,
    pub(crate) password: Password,
    pub(crate) audio: bool,
    pub(crate) video: bool,
}

/// What a new connection needs.
#[derive(Debug)]
pub(crate) struct OpenPeer {
    pub(crate) key: PeerKey,
    pub(crate) id: ParticipantId,
    pub(crate) polite: bool,
    pub(crate) offer: bool,
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) relay_only: bool,
    pub(crate) view: Slot<Frame>,
}

/// What the machine knows of a connection beyond what is drawn.
#[derive(Debug)]
struct Peering {
    id: ParticipantId,
    polite: bool,
    /// Since when there is no path, or none yet.
    down_since: Option<Instant>,
    /// Media could flow once.
    up: bool,
    /// When our addresses changed, since the path was last known to be good.
    doubted: Option<Instant>,
    /// When the last ICE restart was begun, by either side.
    restarted: Option<Instant>,
    /// How many we asked for, since the path was there last.
    restarts: u32,
    /// The user was told that no path is found.
    told: bool,
    /// Restarts do without some of our addresses.
    avoids: bool,
    watch: Watch,
    /// What limits our picture to them.
    limit: Option<Reason>,
}

impl Peering {
    fn new(id: ParticipantId, polite: bool, now: Instant) -> Self {
        Self {
            id,
            polite,
            down_since: Some(now),
            up: false,
            doubted: None,
            restarted: None,
            restarts: 0,
            told: false,
            avoids: false,
            watch: Watch::new(now),
            limit: None,
        }
    }
}

/// The ends that were last opened: what goes on when the next one fails.
#[derive(Debug, Default)]
struct Opened {
    camera: CameraUse,
    mic: Option<MicUse>,
    speaker: Option<SpeakerUse>,
    /// The camera in use is not the one last asked for: the problem that told so stands.
    camera_fell_back: bool,
}

/// The last wish to join.
#[derive(Debug, Default)]
struct Attempt {
    /// Counts them.
    count: u64,
    clicked: Option<Instant>,
}

/// The state of a call.
#[derive(Debug)]
pub(crate) struct Machine {
    snapshot: Snapshot,
    peers: HashMap<PeerKey, Peering>,
    next_key: PeerKey,
    next_problem: u64,
    ice_servers: IceServers,
    /// What a room's link begins with.
    server: String,
    attempt: Attempt,
    /// When the server was back after an outage.
    server_back: Option<Instant>,
    /// What the others were last told of us.
    announced: Option<(bool, bool)>,
    opened: Opened,
    hearing: Hearing,
    effects: Vec<Effect>,
}

impl Machine {
    /// A call in no room, its ends being opened. `volumes` says how loud people are to be heard, by name.
    pub(crate) fn new(snapshot: Snapshot, volumes: BTreeMap<String, f32>) -> Self {
        Self {
            snapshot,
            peers: HashMap::new(),
            next_key: 1,
            next_problem: 1,
            ice_servers: IceServers::default(),
            server: String::new(),
            attempt: Attempt::default(),
            server_back: None,
            announced: None,
            opened: Opened::default(),
            hearing: Hearing::new(volumes),
            effects: Vec::new(),
        }
    }

    /// What there is to draw.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Takes one input; what it asks for is in the order to be carried out.
    pub(crate) fn on(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        match input {
            Input::Command(command) => self.on_command(command, now),
            Input::FromServer { attempt, report } if attempt == self.attempt.count => {
                return self.on(*report, now);
            }
            Input::FromServer { .. } => {}
            Input::Welcome(welcome) => self.on_welcome(welcome, now),
            Input::Message(message) => self.on_message(message, now),
            Input::ServerLost { why } => self.on_server_lost(why),
            Input::ServerFailed { why } => self.on_server_failed(why),
            Input::NoEntry { why } => self.on_no_entry(why),
            Input::PeerDescription(key, description) => self.on_peer_description(key, description),
            Input::PeerCandidate(key, candidate) => self.on_peer_candidate(key, candidate),
            Input::PeerState(key, state) => self.on_peer_state(key, state, now),
            Input::KeyframeRequested => self.effect(Effect::Keyframe),
            Input::PeerFailed(key, why) => self.on_peer_failed(key, why),
            Input::FirstFrame(key, width, height) => self.on_first_frame(key, width, height, now),
            Input::FirstSound(key) => self.on_first_sound(key, now),
            Input::End(report) => self.on_end(report),
            Input::DisplayFailed { why } => self.problem(About::Display, why, false),
            Input::Devices(devices) => self.snapshot.devices = devices,
            Input::Stats(all) => self.on_stats(all, now),
            Input::AddressesChanged(change) => self.on_addresses_changed(&change, now),
            Input::MicLevel(level) => self.snapshot.me.sound.level = level,
            Input::Speaking(key, on) => self.on_speaking(key, on),
            Input::OwnVoice(on) => self.on_own_voice(on, now),
            Input::MicSilent(on) => self.on_mic_silent(on, now),
            Input::Rehearsal(step) => self.on_rehearsal(step, now),
            Input::Tick => self.on_tick(now),
        }
        std::mem::take(&mut self.effects)
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Join { server, room, name, password } => {
                self.join(server, room, (name, password), now);
            }
            Command::Leave => {
                self.leave("bye");
                self.move_gate(now);
            }
            Command::Mute { on } => self.mute(on, now),
            Command::PushToTalk { on } => self.push_to_talk(on, now),
            Command::Talk { on } => self.talk(on, now),
            Command::CameraOff { on } => self.camera_off(on),
            Command::Camera { source } => self.use_camera(source),
            Command::Mic { source } => self.use_mic(source),
            Command::Speaker { sink } => self.use_speaker(sink),
            Command::Processing { processing } => self.use_processing(processing),
            Command::Volume { participant, volume } => self.set_volume(participant, volume),
            Command::Chimes { on } => self.snapshot.me.sound.chimes = on,
            Command::SpeakerTest => self.speaker_test(),
            Command::EchoTest => self.echo_test(now),
            Command::StopTest => self.stop_test(now),
            Command::Chat { text } => self.chat(text),
            Command::Lock { password, knock } => self.tell_server(ClientMessage::Door { password, knock }),
            Command::Admit { id } => self.tell_server(ClientMessage::Admit { id }),
            Command::Refuse { id } => self.tell_server(ClientMessage::Refuse { id }),
            Command::RelayOnly { on } => self.snapshot.me.relay_only = on,
            Command::RestartIce => self.restart_all(now),
            Command::Dismiss { problem } => self.snapshot.problems.retain(|p| p.id != problem),
        }
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn emit(&mut self, event: Event) {
        self.effects.push(Effect::Emit(event));
    }

    /// Shows a problem in place of an older one about the same, and tells it as an event.
    fn problem(&mut self, about: About, text: String, fatal: bool) {
        self.resolve(about);
        if self.snapshot.problems.len() == Snapshot::MAX_PROBLEMS {
            self.snapshot.problems.remove(0);
        }
        let id = self.next_problem;
        self.next_problem += 1;
        self.snapshot.problems.push(Problem { id, about, text: text.clone() });
        self.emit(Event::Error { about, message: text, fatal });
    }

    /// What a problem was about is well again.
    fn resolve(&mut self, about: About) {
        self.snapshot.problems.retain(|p| p.about != about);
    }

    fn participant(&mut self, id: &ParticipantId) -> Option<&mut Participant> {
        self.snapshot.participants.iter_mut().find(|p| p.id == *id)
    }

    fn key_of(&self, id: &ParticipantId) -> Option<PeerKey> {
        self.peers.iter().find(|(_, peering)| peering.id == *id).map(|(key, _)| *key)
    }

    fn in_room(&self) -> bool {
        matches!(self.snapshot.phase, Phase::InRoom { .. } | Phase::Reconnecting { .. })
    }

    fn since_click(&self, now: Instant) -> u64 {
        let waited = self.attempt.clicked.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        waited.as_millis().try_into().unwrap_or(u64::MAX)
    }
}
