//! The camera's button and our own devices. A device may come, fail, go and be switched; only the buttons
//! mute (the microphone's is in [`super::sound`]).

use super::{Effect, EndReport, Machine};
use crate::event::Event;
use crate::snapshot::About;
use media::{CameraUse, MicUse, SpeakerUse};

impl Machine {
    pub(super) fn camera_off(&mut self, on: bool) {
        if self.snapshot.me.camera_off == on {
            return;
        }
        self.snapshot.me.camera_off = on;
        self.effect(Effect::SetCameraOff(on));
        self.emit(Event::CameraOff { on });
        self.announce();
    }

    pub(super) fn use_camera(&mut self, source: CameraUse) {
        self.snapshot.me.camera = source.clone();
        self.opened.camera_fell_back = false;
        self.resolve(About::Camera);
        self.effect(Effect::UseCamera(source));
    }

    pub(super) fn use_mic(&mut self, source: MicUse) {
        self.snapshot.me.mic = source.clone();
        self.resolve(About::Mic);
        self.effect(Effect::UseMic(source.clone()));
        if source == MicUse::None {
            self.opened.mic = None;
            self.snapshot.me.mic_live = false;
            self.announce();
        }
    }

    pub(super) fn use_speaker(&mut self, sink: SpeakerUse) {
        self.snapshot.me.speaker = sink.clone();
        self.resolve(About::Speaker);
        self.effect(Effect::UseSpeaker(sink));
    }

    pub(super) fn on_end(&mut self, report: EndReport) {
        match report {
            EndReport::CameraOpened { source, width, height } => self.on_camera_opened(source, width, height),
            EndReport::CameraClosed => {
                self.snapshot.me.camera_live = false;
                self.announce();
            }
            EndReport::CameraFailed { why, fell_back } => {
                if fell_back {
                    self.snapshot.me.camera = self.opened.camera.clone();
                    self.opened.camera_fell_back = true;
                } else {
                    self.snapshot.me.camera_live = false;
                }
                self.problem(About::Camera, why, false);
                self.announce();
            }
            EndReport::CameraLost { why } => {
                self.snapshot.me.camera_live = false;
                self.problem(About::Camera, why, false);
                self.announce();
            }
            EndReport::MicOpened { source, name } => self.on_mic_opened(source, name),
            EndReport::MicFailed { why } => {
                if let Some(mic) = &self.opened.mic {
                    self.snapshot.me.mic = mic.clone();
                }
                self.problem(About::Mic, why, false);
            }
            EndReport::MicLost { why } => {
                self.opened.mic = None;
                self.snapshot.me.mic_live = false;
                self.problem(About::Mic, why, false);
                self.announce();
            }
            EndReport::MicFellBack { wanted, why } => {
                self.on_mic_fell_back(wanted, why);
            }
            EndReport::SpeakerFellBack { wanted, why } => {
                self.opened.speaker = Some(wanted);
                self.problem(About::Speaker, why, false);
            }
            EndReport::SpeakerOpened { sink, name } => {
                self.resolve(About::Speaker);
                self.snapshot.me.speaker = sink.clone();
                self.opened.speaker = Some(sink);
                self.emit(Event::SpeakerOpened { sink: name });
            }
            EndReport::SpeakerFailed { why } => {
                if let Some(speaker) = &self.opened.speaker {
                    self.snapshot.me.speaker = speaker.clone();
                }
                self.problem(About::Speaker, why, false);
            }
        }
    }

    fn on_camera_opened(&mut self, source: CameraUse, width: u32, height: u32) {
        if !self.opened.camera_fell_back {
            self.resolve(About::Camera);
        }
        self.snapshot.me.camera_live = true;
        self.emit(Event::CameraOpened { source: source.to_string(), width, height });
        self.opened.camera = source;
        self.announce();
    }

    /// Whatever was asked for since: what is in use is the truth, for its sound is sent.
    fn on_mic_opened(&mut self, source: MicUse, name: String) {
        if source == MicUse::None || self.snapshot.me.mic == MicUse::None {
            return;
        }
        self.resolve(About::Mic);
        self.snapshot.me.mic = source.clone();
        self.opened.mic = Some(source);
        self.snapshot.me.mic_live = true;
        self.emit(Event::MicOpened { source: name });
        self.announce();
    }

    /// The default is in its place. Whatever was asked for since: its sound is sent until that is open, and if it
    /// cannot be opened.
    fn on_mic_fell_back(&mut self, wanted: MicUse, why: String) {
        if self.snapshot.me.mic == MicUse::None {
            return;
        }
        if wanted == self.snapshot.me.mic {
            self.problem(About::Mic, why, false);
        }
        self.opened.mic = Some(wanted);
        self.snapshot.me.mic_live = true;
        self.announce();
    }

    /// What the others are to be told of us: on is what the button says and a device can do.
    pub(super) fn ours(&self) -> (bool, bool) {
        let me = &self.snapshot.me;
        (!me.muted && me.mic_live, !me.camera_off && me.camera_live)
    }

    pub(super) fn announce(&mut self) {
        let ours = self.ours();
        if self.announced.is_some_and(|told| told != ours) {
            self.announced = Some(ours);
            self.effect(Effect::Announce { audio: ours.0, video: ours.1 });
        }
    }
}
