//! The others' voices on their way in: inlets, jitter buffers, mix, speaker.

use std::thread::Thread;
use std::time::Instant;

use super::booth::Booth;
use super::cleaner::Cleaner;
use super::ends::{NoSpeaker, SpeakerSink};
use super::opener::{Change, Opener};
use super::remote::{Outlet, Remote};
use super::watch::Side;
use super::wav::WavSpeaker;
use super::{AudioEvent, BLOCK, mix};
use crate::ends::{DeviceError, SpeakerUse};

/// The way in, as the audio thread runs it.
pub(crate) struct Playout {
    end: Opener<SpeakerUse, dyn SpeakerSink>,
    /// Keeps time while there is no speaker.
    silent: NoSpeaker,
    remotes: Vec<Remote>,
}

impl Playout {
    pub(crate) fn new(wake: Thread, now: Instant) -> Self {
        Self {
            end: Opener::new("speaker", SpeakerUse::None, open, wake),
            silent: NoSpeaker::new(now),
            remotes: Vec::new(),
        }
    }

    pub(crate) fn choose(&mut self, choice: SpeakerUse, now: Instant) {
        self.end.choose(choice, now);
    }

    /// Whether the system's devices matter to it.
    pub(crate) fn needs_watch(&self) -> bool {
        self.end.needs_watch()
    }

    /// These are the system's speakers now.
    pub(crate) fn news(&mut self, speakers: Side, now: Instant, tell: &dyn Fn(AudioEvent)) {
        if let Some(change) = self.end.news(speakers, now) {
            tell(event(change));
        }
    }

    /// Plays this remote from now on; one of the same id is replaced.
    pub(crate) fn add(&mut self, outlet: Outlet) {
        let id = outlet.id;
        self.remotes.retain(|remote| remote.id() != id);
        match Remote::new(outlet) {
            Ok(remote) => self.remotes.push(remote),
            Err(error) => tracing::error!(%error, id, "a participant cannot be heard"),
        }
    }

    /// Takes in packets and writes what the speaker wants, after showing it to the echo canceller.
    pub(crate) fn run(
        &mut self,
        cleaner: &mut Cleaner,
        booth: &mut Booth,
        now: Instant,
        tell: &dyn Fn(AudioEvent),
    ) {
        if let Some(change) = self.end.poll(now) {
            tell(event(change));
        }
        self.remotes.retain_mut(Remote::receive);
        let outcome = match self.end.current() {
            Some(sink) => {
                self.silent = NoSpeaker::new(now);
                play(sink, &mut self.remotes, booth, cleaner, now)
            }
            None => play(&mut self.silent, &mut self.remotes, booth, cleaner, now),
        };
        for remote in &mut self.remotes {
            if remote.first_sound() {
                tell(AudioEvent::FirstSound { remote: remote.id() });
            }
            if let Some(on) = remote.speaking_changed() {
                tell(AudioEvent::Speaking { remote: remote.id(), on });
            }
        }
        if let Err(error) = outcome {
            self.silent = NoSpeaker::new(now);
            if let Some(change) = self.end.lost(error, now) {
                tell(event(change));
            }
        }
    }

    /// When to run again at the latest.
    pub(crate) fn next_due(&mut self, now: Instant) -> Instant {
        match self.end.current() {
            Some(sink) => sink.next_due(now),
            None => self.silent.next_due(now),
        }
    }

    pub(crate) fn finish(self) {
        self.end.finish();
    }
}

fn play(
    sink: &mut dyn SpeakerSink,
    remotes: &mut [Remote],
    booth: &mut Booth,
    cleaner: &mut Cleaner,
    now: Instant,
) -> Result<(), DeviceError> {
    for _ in 0..sink.wanted(now)? {
        let mut block = [[0.0; BLOCK]; 2];
        let heard = now + sink.ahead();
        for voice in remotes.iter_mut().filter_map(|remote| remote.pull(now, heard)) {
            block.iter_mut().zip(voice).for_each(|(sum, voice)| mix::add(sum, voice));
        }
        let mut own = [0.0; BLOCK];
        booth.mix(&mut own);
        for side in &mut block {
            mix::add(side, &own);
            mix::limit(side);
        }
        if sink.fills_a_room() {
            // What a microphone hears of two speakers is about their sum.
            let [left, right] = &block;
            cleaner.playing(&std::array::from_fn(|n| (left[n] + right[n]) * 0.5));
        }
        sink.write(&block)?;
    }
    Ok(())
}

fn open(choice: &SpeakerUse, wake: &Thread) -> Result<Box<dyn SpeakerSink>, DeviceError> {
    Ok(match choice {
        SpeakerUse::Default => Box::new(super::cpal::open_speaker(None, wake)?),
        SpeakerUse::Device(name) => Box::new(super::cpal::open_speaker(Some(name), wake)?),
        SpeakerUse::File(path) => Box::new(WavSpeaker::create(path, Instant::now())?),
        // The opener never asks for this one.
        SpeakerUse::None => return Err(DeviceError::NotFound { what: "A speaker".into() }),
    })
}

fn event(change: Change<SpeakerUse>) -> AudioEvent {
    match change {
        Change::Opened(sink, name) => AudioEvent::SpeakerOpened { sink, name },
        Change::Failed(sink, error) => AudioEvent::SpeakerFailed { sink, error },
        Change::Lost(sink, error) => AudioEvent::SpeakerLost { sink, error },
        Change::FellBack(wanted, name, error) => AudioEvent::SpeakerFellBack { wanted, name, error },
    }
}
