//! Our voice and our ears: the gate that our voice passes, hints about it, how loud each is heard, chimes,
//! and tests of microphone and speaker.
//!
//! The gate has three bolts: the mute button, push-to-talk while its key is not held, and the echo test while
//! we are in a room. What is sent and what the others are told is the gate, never one bolt alone.

use super::{Effect, Machine, PeerKey};
use crate::event::Event;
use crate::snapshot::{About, Hint, Voice};
use media::SpeakerUse;
use media::audio::{Chime, Processing, Rehearsal, Rehearse};
use signaling::ParticipantId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Whoever talks for so long while muted believes that they are heard.
const TALKS: Duration = Duration::from_secs(1);
/// The hint about it stays for so long.
const HINT: Duration = Duration::from_secs(5);
/// It is not given again sooner: some talk to others in the room.
const HINT_AGAIN: Duration = Duration::from_secs(60);
/// A microphone that was just unmuted has so long to be heard.
const UNMUTED: Duration = Duration::from_secs(3);
/// An echo test is not over sooner: what says so is about the one before.
const TEST_LEAST: Duration = Duration::from_secs(1);
/// It is over by then, whatever the audio thread says.
const TEST_MOST: Duration = Duration::from_secs(10);
/// overflow: the first in the order of names is forgotten.
const MOST_VOLUMES: usize = 256;

/// What is known of our voice beyond what is drawn.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Since when we speak as we do now, muted or not.
    voice: Option<Instant>,
    /// Nothing comes from the microphone.
    silent: bool,
    /// When the gate was last opened.
    opened: Option<Instant>,
    /// When the hint about talking while muted was last given.
    hinted: Option<Instant>,
    /// Since when an echo test is on.
    testing: Option<Instant>,
    /// How loud people are to be heard, by name; who is not in it is heard as they come.
    volumes: BTreeMap<String, f32>,
}

impl Hearing {
    pub(super) fn new(volumes: BTreeMap<String, f32>) -> Self {
        Self { volumes, ..Self::default() }
    }
}

impl Machine {
    pub(super) fn mute(&mut self, on: bool, now: Instant) {
        self.snapshot.me.sound.mute_button = on;
        self.move_gate(now);
    }

    pub(super) fn push_to_talk(&mut self, on: bool, now: Instant) {
        let sound = &mut self.snapshot.me.sound;
        (sound.push_to_talk, sound.talking) = (on, false);
        self.move_gate(now);
    }

    /// The key is held, or let go.
    pub(super) fn talk(&mut self, on: bool, now: Instant) {
        let sound = &mut self.snapshot.me.sound;
        sound.talking = on && sound.push_to_talk;
        self.move_gate(now);
    }

    /// Shuts or opens it when a bolt has moved.
    pub(super) fn move_gate(&mut self, now: Instant) {
        let sound = self.snapshot.me.sound;
        let testing = self.hearing.testing.is_some() && self.in_room();
        let shut = sound.mute_button || (sound.push_to_talk && !sound.talking) || testing;
        if self.snapshot.me.muted != shut {
            self.snapshot.me.muted = shut;
            self.hearing.opened = (!shut).then_some(now);
            // Who mutes in the middle of a sentence knows that.
            self.hearing.voice = self.hearing.voice.map(|_| now);
            self.effect(Effect::SetMuted(shut));
            self.emit(Event::Muted { on: shut });
            self.announce();
        }
        self.look_at_hints(now);
    }

    pub(super) fn use_processing(&mut self, processing: Processing) {
        self.snapshot.me.sound.processing = processing;
        self.effect(Effect::SetProcessing(processing));
    }

    pub(super) fn on_own_voice(&mut self, on: bool, now: Instant) {
        self.snapshot.me.sound.speaking = on;
        self.hearing.voice = on.then_some(now);
        self.look_at_hints(now);
    }

    pub(super) fn on_mic_silent(&mut self, on: bool, now: Instant) {
        self.hearing.silent = on;
        self.look_at_hints(now);
    }

    /// Time passed, or something changed that hints are about.
    pub(super) fn look_at_hints(&mut self, now: Instant) {
        let before = self.snapshot.me.sound.hint;
        let hint = self.hint(before, now);
        if hint == before {
            return;
        }
        if hint == Some(Hint::MutedTalk) {
            self.hearing.hinted = Some(now);
        }
        self.snapshot.me.sound.hint = hint;
        for (about, on) in [(before, false), (hint, true)] {
            match about {
                Some(Hint::MutedTalk) => self.emit(Event::MutedTalk { on }),
                Some(Hint::SilentMic) => self.emit(Event::MicSilent { on }),
                None => {}
            }
        }
    }

    fn hint(&self, before: Option<Hint>, now: Instant) -> Option<Hint> {
        let (me, hearing) = (&self.snapshot.me, &self.hearing);
        let for_long = |since: Option<Instant>, long| since.is_none_or(|at| now >= at + long);
        if !me.mic_live {
            return None;
        }
        if !me.muted {
            let silent = hearing.silent && for_long(hearing.opened, UNMUTED);
            return silent.then_some(Hint::SilentMic);
        }
        let stays = before == Some(Hint::MutedTalk) && !for_long(hearing.hinted, HINT);
        let talks = !self.snapshot.participants.is_empty()
            && hearing.testing.is_none()
            && hearing.voice.is_some_and(|since| now >= since + TALKS)
            && for_long(hearing.hinted, HINT_AGAIN);
        (stays || talks).then_some(Hint::MutedTalk)
    }

    pub(super) fn on_speaking(&mut self, key: PeerKey, on: bool) {
        let Some(id) = self.peers.get(&key).map(|peering| peering.id.clone()) else { return };
        self.voice(&id).speaking = on;
        self.emit(Event::Speaking { id, on });
    }

    fn voice(&mut self, id: &ParticipantId) -> &mut Voice {
        self.snapshot.voices.entry(id.clone()).or_default()
    }

    pub(super) fn set_volume(&mut self, id: ParticipantId, volume: f32) {
        let name = self.participant(&id).map(|p| p.name.clone());
        let (Some(name), Some(key)) = (name, self.key_of(&id)) else {
            return self.problem(About::Command, format!("Nobody here has the id {id}"), false);
        };
        if !volume.is_finite() {
            return self.problem(About::Command, "A volume is a number from 0 to 2".into(), false);
        }
        let volume = volume.clamp(0.0, 2.0);
        let volumes = &mut self.hearing.volumes;
        if volume == 1.0 {
            volumes.remove(&name);
        } else {
            volumes.insert(name, volume);
            if volumes.len() > MOST_VOLUMES {
                volumes.pop_first();
            }
        }
        self.voice(&id).volume = volume;
        self.effect(Effect::SetVolume(key, volume));
    }

    /// Somebody who was heard before is heard as loud again.
    pub(super) fn recall_volume(&mut self, key: PeerKey, id: &ParticipantId, name: &str) {
        if let Some(volume) = self.hearing.volumes.get(name).copied() {
            let volume = volume.clamp(0.0, 2.0);
            self.voice(id).volume = volume;
            self.effect(Effect::SetVolume(key, volume));
        }
    }

    pub(super) fn chime(&mut self, chime: Chime) {
        if self.snapshot.me.sound.chimes {
            self.effect(Effect::Ring(chime));
        }
    }

    pub(super) fn speaker_test(&mut self) {
        if self.snapshot.me.speaker == SpeakerUse::None {
            let text = "The speaker cannot be tried: none is chosen";
            return self.problem(About::Command, text.into(), false);
        }
        self.effect(Effect::Rehearse(Rehearse::Speaker));
    }

    pub(super) fn echo_test(&mut self, now: Instant) {
        if self.snapshot.me.speaker == SpeakerUse::None || !self.snapshot.me.mic_live {
            let text = "The echo test needs a microphone and a speaker: choose both";
            return self.problem(About::Command, text.into(), false);
        }
        self.hearing.testing = Some(now);
        self.move_gate(now);
        self.effect(Effect::Rehearse(Rehearse::Echo));
    }

    /// The gate opens after the test was ended, not before.
    pub(super) fn stop_test(&mut self, now: Instant) {
        if self.hearing.testing.is_none() && self.snapshot.me.sound.rehearsal.is_none() {
            return;
        }
        self.effect(Effect::Rehearse(Rehearse::Stop));
        self.hearing.testing = None;
        self.move_gate(now);
    }

    pub(super) fn on_rehearsal(&mut self, step: Rehearsal, now: Instant) {
        let over = matches!(step, Rehearsal::Over | Rehearsal::NothingHeard);
        self.snapshot.me.sound.rehearsal = (!over).then_some(step);
        self.emit(Event::Rehearsal { step });
        if step == Rehearsal::NothingHeard {
            let text = "The echo test heard nothing: see whether the microphone is muted in the system or by \
                        its own switch, whether Snug may use it, and whether it is the right one";
            self.problem(About::Mic, text.into(), false);
        }
        if over && self.hearing.testing.is_some_and(|since| now >= since + TEST_LEAST) {
            self.hearing.testing = None;
            self.move_gate(now);
        }
    }

    pub(super) fn on_sound_tick(&mut self, now: Instant) {
        if self.hearing.testing.is_some_and(|since| now >= since + TEST_MOST) {
            self.stop_test(now);
        }
        self.look_at_hints(now);
    }
}
