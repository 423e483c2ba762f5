//! What the window or the command line asks of a call. One JSON object a line on standard input is one
//! command: `{"cmd":"mute","on":true}`.

use media::audio::Processing;
use media::{CameraUse, MicUse, SpeakerUse};
use serde::{Deserialize, Serialize};
use signaling::{ParticipantId, Password};

/// A request to the engine. None waits for its outcome: that shows in the snapshot and as events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
pub enum Command {
    /// Enter a room; leaves the one we are in.
    Join {
        /// The server as a browser would open it: `https://host`, `http://127.0.0.1:8080`.
        server: String,
        /// The room's name.
        room: String,
        /// How the others see us.
        name: String,
        /// The room's password, when it has one. It becomes the password of a room that we open.
        #[serde(default, skip_serializing_if = "Password::is_empty")]
        password: Password,
    },
    /// Leave the room; the ends stay open.
    Leave,
    /// Microphone off (`true`) or on.
    Mute {
        /// Whether to mute.
        on: bool,
    },
    /// Camera off (`true`) or on.
    CameraOff {
        /// Whether to turn the camera off.
        on: bool,
    },
    /// Switch the camera.
    Camera {
        /// The new source.
        #[serde(rename = "use")]
        source: CameraUse,
    },
    /// Switch the microphone.
    Mic {
        /// The new source.
        #[serde(rename = "use")]
        source: MicUse,
    },
    /// Switch the speaker.
    Speaker {
        /// The new sink.
        #[serde(rename = "use")]
        sink: SpeakerUse,
    },
    /// Be muted unless a key is held (`true`), or as the mute button says alone.
    PushToTalk {
        /// Whether to.
        on: bool,
    },
    /// The key of push-to-talk is held (`true`) or let go; without push-to-talk it does nothing.
    Talk {
        /// Whether it is held.
        on: bool,
    },
    /// Hear somebody louder or quieter; remembered by their name.
    Volume {
        /// Who.
        participant: ParticipantId,
        /// 0 to 2; 1 is as they come.
        volume: f32,
    },
    /// Play a short sound to ourselves when somebody comes or goes.
    Chimes {
        /// Whether to.
        on: bool,
    },
    /// Play a short sound on the speaker.
    SpeakerTest,
    /// Record four seconds of the microphone, muted or not, and play them back to us. Nobody else gets
    /// anything of it: in a room we are muted meanwhile.
    EchoTest,
    /// End the test of speaker or microphone.
    StopTest,
    /// What is done to our voice before it is sent.
    Processing {
        /// All of it; what the JSON leaves out is as usual.
        processing: Processing,
    },
    /// Say something to everybody in the room.
    Chat {
        /// The text.
        text: String,
    },
    /// As host: change who comes in by themselves. What is left out stays as it is.
    Lock {
        /// Whoever knows it comes in; empty takes it away.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<Password>,
        /// Whether we are asked about everybody else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        knock: Option<bool>,
    },
    /// As host: let somebody in who knocks.
    Admit {
        /// Who.
        id: ParticipantId,
    },
    /// As host: send somebody away who knocks.
    Refuse {
        /// Who.
        id: ParticipantId,
    },
    /// Go by relays alone with whoever is met from now on (`true`), so that they do not learn our address.
    RelayOnly {
        /// Whether to.
        on: bool,
    },
    /// Look for new network paths with everybody (ICE restart).
    RestartIce,
    /// Take a problem off the snapshot: the user has read it.
    Dismiss {
        /// Its `id`.
        problem: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::audio::Noise;

    #[test]
    fn commands_are_one_json_object_each() {
        let parse = |text: &str| serde_json::from_str::<Command>(text).unwrap();
        assert_eq!(parse(r#"{"cmd":"mute","on":true}"#), Command::Mute { on: true });
        assert_eq!(parse(r#"{"cmd":"camera_off","on":false}"#), Command::CameraOff { on: false });
        assert_eq!(
            parse(r#"{"cmd":"camera","use":"file:b.y4m"}"#),
            Command::Camera { source: CameraUse::File("b.y4m".into()) }
        );
        assert_eq!(parse(r#"{"cmd":"leave"}"#), Command::Leave);
        let participant = ParticipantId("b7".into());
        assert_eq!(
            parse(r#"{"cmd":"volume","participant":"b7","volume":0.5}"#),
            Command::Volume { participant, volume: 0.5 }
        );
        assert_eq!(parse(r#"{"cmd":"push_to_talk","on":true}"#), Command::PushToTalk { on: true });
        assert_eq!(parse(r#"{"cmd":"talk","on":true}"#), Command::Talk { on: true });
        assert_eq!(parse(r#"{"cmd":"chimes","on":false}"#), Command::Chimes { on: false });
        let (password, knock) = (Some(Password::new("earl grey")), Some(true));
        assert_eq!(
            parse(r#"{"cmd":"lock","password":"earl grey"}"#),
            Command::Lock { password: password.clone(), knock: None }
        );
        assert_eq!(parse(r#"{"cmd":"lock","knock":true}"#), Command::Lock { password: None, knock });
        assert!(!format!("{:?}", Command::Lock { password, knock }).contains("earl"));
        let id = ParticipantId("c7".into());
        assert_eq!(parse(r#"{"cmd":"admit","id":"c7"}"#), Command::Admit { id: id.clone() });
        assert_eq!(parse(r#"{"cmd":"refuse","id":"c7"}"#), Command::Refuse { id });
        assert_eq!(
            parse(r#"{"cmd":"join","server":"h","room":"tea","name":"Ann"}"#),
            Command::Join {
                server: "h".into(),
                room: "tea".into(),
                name: "Ann".into(),
                password: Password::default()
            }
        );
        assert_eq!(parse(r#"{"cmd":"relay_only","on":true}"#), Command::RelayOnly { on: true });
        assert_eq!(parse(r#"{"cmd":"speaker_test"}"#), Command::SpeakerTest);
        assert_eq!(parse(r#"{"cmd":"echo_test"}"#), Command::EchoTest);
        assert_eq!(parse(r#"{"cmd":"stop_test"}"#), Command::StopTest);
        let processing = Processing { noise: Noise::High, gain: false, ..Processing::default() };
        assert_eq!(
            parse(r#"{"cmd":"processing","processing":{"noise":"high","gain":false}}"#),
            Command::Processing { processing }
        );
    }
}
