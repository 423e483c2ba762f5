//! The same thing in two crates' words: media, peer and signaling do not know each other.

use crate::machine::{EndReport, Input, PathState, PeerKey};
use media::{AudioEvent, CameraEvent};
use peer::{ConnectionState, DescriptionType, PeerEvent};
use signaling::SdpType;

pub(super) fn ice_server(server: &signaling::IceServer) -> peer::IceServer {
    peer::IceServer {
        urls: server.urls.clone(),
        username: server.username.clone().unwrap_or_default(),
        credential: server.credential.clone().unwrap_or_default(),
    }
}

pub(super) fn description_in(description: signaling::Description) -> peer::Description {
    match description.kind {
        SdpType::Offer => peer::Description::offer(description.sdp),
        SdpType::Answer => peer::Description::answer(description.sdp),
    }
}

fn description_out(description: peer::Description) -> signaling::Description {
    let kind = match description.kind {
        DescriptionType::Offer => SdpType::Offer,
        DescriptionType::Answer => SdpType::Answer,
    };
    signaling::Description { kind, sdp: description.sdp }
}

pub(super) fn candidate_in(candidate: signaling::Candidate) -> peer::Candidate {
    let signaling::Candidate { candidate, sdp_mid, sdp_m_line_index, username_fragment } = candidate;
    peer::Candidate { candidate, sdp_mid, sdp_m_line_index, username_fragment }
}

fn candidate_out(candidate: peer::Candidate) -> signaling::Candidate {
    let peer::Candidate { candidate, sdp_mid, sdp_m_line_index, username_fragment } = candidate;
    signaling::Candidate { candidate, sdp_mid, sdp_m_line_index, username_fragment }
}

pub(super) fn peer_event(key: PeerKey, event: PeerEvent) -> Input {
    match event {
        PeerEvent::Description(description) => Input::PeerDescription(key, description_out(description)),
        PeerEvent::Candidate(candidate) => Input::PeerCandidate(key, candidate.map(candidate_out)),
        PeerEvent::State(state) => Input::PeerState(key, path_state(state)),
        PeerEvent::KeyframeRequested => Input::KeyframeRequested,
        PeerEvent::Rejected(why) | PeerEvent::Failed(why) => Input::PeerFailed(key, why),
    }
}

fn path_state(state: ConnectionState) -> PathState {
    match state {
        ConnectionState::New | ConnectionState::Connecting => PathState::Connecting,
        ConnectionState::Connected => PathState::Connected,
        ConnectionState::Disconnected => PathState::Disconnected,
        ConnectionState::Failed | ConnectionState::Closed => PathState::Failed,
    }
}

pub(super) fn camera_event(event: CameraEvent) -> Input {
    Input::End(match event {
        CameraEvent::Opened { source, width, height, .. } => {
            EndReport::CameraOpened { source, width, height }
        }
        CameraEvent::Failed { error, fell_back, .. } => {
            EndReport::CameraFailed { why: error.to_string(), fell_back }
        }
        CameraEvent::Lost { error, .. } => EndReport::CameraLost { why: error.to_string() },
        CameraEvent::Closed => EndReport::CameraClosed,
    })
}

pub(super) fn audio_event(event: AudioEvent) -> Input {
    Input::End(match event {
        AudioEvent::MicOpened { source, name } => EndReport::MicOpened { source, name },
        AudioEvent::MicFailed { error, .. } => EndReport::MicFailed { why: error.to_string() },
        AudioEvent::MicLost { error, .. } => EndReport::MicLost { why: error.to_string() },
        AudioEvent::MicFellBack { wanted, name, error } => {
            EndReport::MicFellBack { wanted, why: fell_back(&name, &error) }
        }
        AudioEvent::SpeakerFellBack { wanted, name, error } => {
            EndReport::SpeakerFellBack { wanted, why: fell_back(&name, &error) }
        }
        AudioEvent::SpeakerOpened { sink, name } => EndReport::SpeakerOpened { sink, name },
        AudioEvent::SpeakerFailed { error, .. } | AudioEvent::SpeakerLost { error, .. } => {
            EndReport::SpeakerFailed { why: error.to_string() }
        }
        AudioEvent::FirstSound { remote } => return Input::FirstSound(remote),
        AudioEvent::Speaking { remote, on } => return Input::Speaking(remote, on),
        AudioEvent::OwnVoice { on } => return Input::OwnVoice(on),
        AudioEvent::MicSilent { on } => return Input::MicSilent(on),
        AudioEvent::Rehearsal(step) => return Input::Rehearsal(step),
    })
}

fn fell_back(name: &str, error: &media::DeviceError) -> String {
    format!("{name} is in use meanwhile: {error}")
}

pub(super) fn client_event(event: signaling::ClientEvent) -> Input {
    match event {
        signaling::ClientEvent::Welcome(welcome) => Input::Welcome(welcome),
        signaling::ClientEvent::Message(message) => Input::Message(message),
        signaling::ClientEvent::Disconnected { why, .. } => Input::ServerLost { why },
        signaling::ClientEvent::NoEntry { message } => Input::NoEntry { why: message },
        signaling::ClientEvent::Failed { message } => Input::ServerFailed { why: message },
    }
}
