//! Happenings, in order. Headless, each is printed as one JSON object a line.

use crate::quality::{Quality, Reason};
use crate::snapshot::{About, Connection};
use media::audio::Rehearsal;
use serde::Serialize;
use signaling::ParticipantId;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// We are in the room.
    Joined {
        /// Its name.
        room: String,
        /// What others open to join.
        link: String,
        /// Our id.
        id: ParticipantId,
    },
    /// The host is asked whether we may come in.
    Waiting {
        /// For how long at most.
        seconds: u64,
    },
    /// Somebody is host of the room: told when we come, and when it changes.
    Host {
        /// Their id.
        id: ParticipantId,
        /// Whether it is us.
        me: bool,
    },
    /// Who comes in by themselves, when it is not everybody, or is no longer who it was.
    Door {
        /// Whoever knows the password.
        password: bool,
        /// The host is asked about everybody else.
        knock: bool,
    },
    /// To the host: somebody wants to be let in.
    Knock {
        /// Their id.
        id: ParticipantId,
        /// Their name.
        name: String,
    },
    /// To the host: somebody does not wait any more.
    KnockOver {
        /// Their id.
        id: ParticipantId,
    },
    /// We are out of it, by our own wish or not.
    Left {
        /// Why.
        reason: String,
    },
    /// Somebody is there (those present when we join too).
    Participant {
        /// Their id.
        id: ParticipantId,
        /// Their name.
        name: String,
        /// Whether their microphone is off.
        muted: bool,
        /// Whether their camera is off.
        camera_off: bool,
    },
    /// Somebody went.
    ParticipantLeft {
        /// Their id.
        id: ParticipantId,
        /// Why: `bye`, `timeout` or `replaced`.
        reason: String,
    },
    /// Their buttons changed.
    State {
        /// Their id.
        id: ParticipantId,
        /// Whether their microphone is off.
        muted: bool,
        /// Whether their camera is off.
        camera_off: bool,
    },
    /// Their first picture was shown.
    FirstFrame {
        /// Their id.
        id: ParticipantId,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// Milliseconds since we asked to join.
        after_join_ms: u64,
    },
    /// Their first sound was decoded.
    FirstSound {
        /// Their id.
        id: ParticipantId,
        /// Milliseconds since we asked to join.
        after_join_ms: u64,
    },
    /// The media path changed.
    Connection {
        /// Their id.
        id: ParticipantId,
        /// The path now.
        state: Connection,
    },
    /// How good the call with them is changed, or what stands in its way.
    Quality {
        /// Their id.
        id: ParticipantId,
        /// How good it is now.
        quality: Quality,
        /// What stands in the way; left out when nothing does.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
    /// They began to speak, or ended.
    Speaking {
        /// Their id.
        id: ParticipantId,
        /// Whether they speak.
        on: bool,
    },
    /// Our microphone is off or on: by its button, by push-to-talk, or for the time of an echo test.
    Muted {
        /// Whether our microphone is off.
        on: bool,
    },
    /// We talk while muted (`true`), at most once a minute; `false` when the hint about it goes.
    MutedTalk {
        /// Whether the hint is shown.
        on: bool,
    },
    /// Nothing has come from our microphone for some seconds, not even noise, though it is on; or it does again.
    MicSilent {
        /// Whether it is silent.
        on: bool,
    },
    /// How far a test of speaker or microphone is.
    Rehearsal {
        /// How far.
        #[serde(flatten)]
        step: Rehearsal,
    },
    /// Our own button changed.
    CameraOff {
        /// Whether our camera is off.
        on: bool,
    },
    /// Our camera gives pictures.
    CameraOpened {
        /// Its name or id.
        #[serde(rename = "use")]
        source: String,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// Our microphone gives sound.
    MicOpened {
        /// Its name or id.
        #[serde(rename = "use")]
        source: String,
    },
    /// Our speaker takes sound.
    SpeakerOpened {
        /// Its name or id.
        #[serde(rename = "use")]
        sink: String,
    },
    /// The server went away (`false`) or came back.
    Signaling {
        /// Whether it can be reached.
        connected: bool,
    },
    /// Somebody said something.
    Chat {
        /// Who.
        from: ParticipantId,
        /// Their name.
        name: String,
        /// What.
        text: String,
    },
    /// Something went wrong.
    Error {
        /// What it is about.
        about: About,
        /// What happened and what to do.
        message: String,
        /// Whether the call ends by it.
        fatal: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_tells_how_far_it_is() {
        let line = |step| serde_json::to_string(&Event::Rehearsal { step }).unwrap();
        assert_eq!(
            line(Rehearsal::Recording { left: 4 }),
            r#"{"event":"rehearsal","state":"recording","left":4}"#
        );
        assert_eq!(line(Rehearsal::NothingHeard), r#"{"event":"rehearsal","state":"nothing_heard"}"#);
    }

    #[test]
    fn a_quality_is_one_json_object_with_a_reason_only_when_there_is_one() {
        let line = |quality, reason| {
            serde_json::to_string(&Event::Quality { id: ParticipantId("b".into()), quality, reason }).unwrap()
        };
        assert_eq!(line(Quality::Good, None), r#"{"event":"quality","id":"b","quality":"good"}"#);
        assert_eq!(
            line(Quality::Poor, Some(Reason::TheirSide)),
            r#"{"event":"quality","id":"b","quality":"poor","reason":"their_side"}"#
        );
    }
}
