//! Trying sound before the call: a sound for the speaker, and the echo test, which records four seconds of
//! the microphone and plays them back. What is recorded stays here, and is forgotten when it was played.

use serde::Serialize;
use std::time::{Duration, Instant};

use super::BLOCK;
use super::attention::is_sound;
use super::mix;
use crate::codec::opus::RATE;

/// So long the echo test records.
const LENGTH: Duration = Duration::from_secs(4);
/// The same in samples.
const TAPE: usize = RATE as usize * 4;
/// At both ends of what is played back, so that it begins and ends without a click: 5 ms.
const RAMP: usize = RATE as usize / 200;

/// What is to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearse {
    /// A short sound on the speaker.
    Speaker,
    /// Four seconds of the microphone, muted or not, played back.
    Echo,
    /// Whatever goes on ends.
    Stop,
}

/// How far it is. As JSON: `{"state":"recording","left":4}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Rehearsal {
    /// The sound for the speaker is played.
    Speaker,
    /// Speak now.
    Recording {
        /// Seconds, a part of one counted whole.
        left: u8,
    },
    /// What was recorded is played.
    Playing {
        /// Seconds, a part of one counted whole.
        left: u8,
    },
    /// It is over.
    Over,
    /// It is over, for the microphone gave nothing that could be played.
    NothingHeard,
}

/// The echo test. Sound goes in and comes out in the audio thread's rhythm.
#[derive(Debug, Default)]
pub(crate) struct EchoTest {
    state: State,
    /// Empty while nothing is tried.
    tape: Vec<f32>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Recording {
        until: Instant,
    },
    Playing {
        at: usize,
    },
}

impl EchoTest {
    /// Records from now on.
    pub(crate) fn start(&mut self, now: Instant) {
        *self = Self { state: State::Recording { until: now + LENGTH }, tape: Vec::with_capacity(TAPE) };
    }

    /// Forgets all.
    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }

    /// Takes in what the microphone gave.
    pub(crate) fn hear(&mut self, pcm: &[f32]) {
        if let State::Recording { .. } = self.state {
            // overflow: what is more than four seconds is left out.
            let room = TAPE - self.tape.len();
            self.tape.extend_from_slice(&pcm[..pcm.len().min(room)]);
        }
    }

    /// Adds the next 10 ms to what is played.
    pub(crate) fn mix(&mut self, block: &mut [f32; BLOCK]) {
        let State::Playing { at } = &mut self.state else { return };
        let end = (*at + BLOCK).min(self.tape.len());
        mix::add(block, &self.tape[*at..end]);
        *at = end;
    }

    /// How far it is now; `None` while nothing is tried. What is over is told once.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Rehearsal> {
        match self.state {
            State::Idle => None,
            State::Recording { until } if now < until => {
                let left = until.duration_since(now).as_secs_f32().ceil() as u8;
                Some(Rehearsal::Recording { left })
            }
            State::Recording { .. } if is_sound(&self.tape) => {
                ramp(&mut self.tape);
                self.state = State::Playing { at: 0 };
                self.look(now)
            }
            State::Recording { .. } => {
                self.stop();
                Some(Rehearsal::NothingHeard)
            }
            State::Playing { at } if at < self.tape.len() => {
                let left = (self.tape.len() - at).div_ceil(RATE as usize) as u8;
                Some(Rehearsal::Playing { left })
            }
            State::Playing { .. } => {
                self.stop();
                Some(Rehearsal::Over)
            }
        }
    }
}

/// Begins and ends it softly.
fn ramp(tape: &mut [f32]) {
    let length = RAMP.min(tape.len() / 2);
    for n in 0..length {
        let share = n as f32 / length as f32;
        tape[n] *= share;
        let last = tape.len() - 1 - n;
        tape[last] *= share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    /// Runs a test of a microphone that gives what `mic` says of each block; what was told, and what was played.
    fn run(mic: impl Fn(usize) -> Option<f32>) -> (Vec<Rehearsal>, Vec<f32>) {
        let start = Instant::now();
        let mut test = EchoTest::default();
        assert_eq!(test.look(start), None);
        test.start(start);
        let (mut told, mut played) = (Vec::new(), Vec::new());
        for n in 0..2000 {
            let now = start + TICK * n;
            match test.look(now) {
                None => break,
                Some(step) if told.last() != Some(&step) => told.push(step),
                Some(_) => {}
            }
            if let Some(level) = mic(n as usize) {
                let block: Vec<f32> = (0..BLOCK).map(|x| if x % 2 == 0 { level } else { -level }).collect();
                test.hear(&block);
            }
            let mut block = [0.0; BLOCK];
            test.mix(&mut block);
            if matches!(test.state, State::Playing { .. }) {
                played.extend_from_slice(&block);
            }
        }
        assert_eq!(test.tape.capacity(), 0, "nothing is kept");
        (told, played)
    }

    fn counts(of: fn(u8) -> Rehearsal) -> impl Iterator<Item = Rehearsal> {
        (1..=4).rev().map(of)
    }

    #[test]
    fn four_seconds_are_recorded_and_played_back() {
        let (told, played) = run(|n| Some(n as f32 * 1e-3));
        let recording = counts(|left| Rehearsal::Recording { left });
        let playing = counts(|left| Rehearsal::Playing { left });
        let all: Vec<_> = recording.chain(playing).chain([Rehearsal::Over]).collect();
        assert_eq!(told, all);
        assert_eq!(played.len(), TAPE);
        assert_eq!((played[0], played[TAPE - 1]), (0.0, 0.0));
        // The block that came one second in is heard one second in.
        assert!((played[RATE as usize].abs() - 0.1).abs() < 1e-6, "{}", played[RATE as usize]);
    }

    #[test]
    fn nothing_is_not_played() {
        let silent: [fn(usize) -> Option<f32>; 2] = [|_| None, |_| Some(1e-6)];
        for mic in silent {
            let (told, played) = run(mic);
            assert_eq!(told.last(), Some(&Rehearsal::NothingHeard));
            assert_eq!((told.len(), played.len()), (5, 0));
        }
    }

    #[test]
    fn a_microphone_that_gives_too_much_or_too_little_makes_no_difference() {
        let (told, played) = run(|n| (n % 3 == 0).then_some(0.2));
        assert_eq!(told.last(), Some(&Rehearsal::Over));
        assert!((TAPE / 3 - BLOCK..=TAPE / 3 + 2 * BLOCK).contains(&played.len()), "{}", played.len());
        let mut test = EchoTest::default();
        let start = Instant::now();
        test.start(start);
        test.hear(&vec![0.1; 3 * TAPE]);
        test.hear(&[0.1; BLOCK]);
        assert_eq!(test.tape.len(), TAPE);
    }

    #[test]
    fn what_is_stopped_is_forgotten() {
        let start = Instant::now();
        let mut test = EchoTest::default();
        test.start(start);
        test.hear(&[0.1; BLOCK]);
        test.stop();
        assert_eq!((test.look(start + LENGTH), test.tape.capacity()), (None, 0));
        let mut block = [0.0; BLOCK];
        test.mix(&mut block);
        assert_eq!(block, [0.0; BLOCK]);
    }
}
