//! What happens beside the call itself: one's own voice is listened to, chimes and tests are played. The way
//! out hands in what the microphone gave, the way in takes what is to be heard; nothing of it is sent.

use std::time::Instant;

use super::attention::{Silence, Speaking};
use super::chime::{Chime, Chimes};
use super::measure::rms;
use super::rehearsal::{EchoTest, Rehearsal, Rehearse};
use super::{AudioEvent, BLOCK};

/// See the module.
pub(crate) struct Booth {
    chimes: Chimes,
    echo: EchoTest,
    own: Speaking,
    silence: Silence,
    told: Told,
}

/// What was told last: only changes are.
#[derive(Debug, Default)]
struct Told {
    own: bool,
    silent: bool,
    rehearsal: Option<Rehearsal>,
}

impl Booth {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            chimes: Chimes::default(),
            echo: EchoTest::default(),
            own: Speaking::default(),
            silence: Silence::new(now),
            told: Told::default(),
        }
    }

    pub(crate) fn ring(&mut self, chime: Chime) {
        self.chimes.ring(chime);
    }

    /// One thing is tried at a time: what went on before ends.
    pub(crate) fn rehearse(&mut self, what: Rehearse, now: Instant) {
        self.chimes.stop(Chime::Test);
        self.echo.stop();
        match what {
            Rehearse::Speaker => self.chimes.ring(Chime::Test),
            Rehearse::Echo => self.echo.start(now),
            Rehearse::Stop => {}
        }
    }

    /// There is another microphone from now on, or none.
    pub(crate) fn mic_changed(&mut self, now: Instant) {
        self.own = Speaking::default();
        self.silence = Silence::new(now);
    }

    /// What the microphone gave, before anything was done to it.
    pub(crate) fn hear_raw(&mut self, pcm: &[f32], now: Instant) {
        self.silence.hear(pcm, now);
    }

    /// What would be sent of it, muted or not.
    pub(crate) fn hear(&mut self, pcm: &[f32]) {
        self.own.hear(rms(pcm), pcm.len());
        self.echo.hear(pcm);
    }

    /// Adds what is to be heard here alone to the next 10 ms.
    pub(crate) fn mix(&mut self, block: &mut [f32; BLOCK]) {
        self.chimes.mix(block);
        self.echo.mix(block);
    }

    /// Tells what has changed.
    pub(crate) fn look(&mut self, now: Instant, tell: &dyn Fn(AudioEvent)) {
        let (own, silent) = (self.own.on(), self.silence.on(now));
        if std::mem::replace(&mut self.told.own, own) != own {
            tell(AudioEvent::OwnVoice { on: own });
        }
        if std::mem::replace(&mut self.told.silent, silent) != silent {
            tell(AudioEvent::MicSilent { on: silent });
        }
        let step = if self.chimes.has(Chime::Test) { Some(Rehearsal::Speaker) } else { self.echo.look(now) };
        let over = |step: Option<Rehearsal>| {
            step.is_none_or(|step| matches!(step, Rehearsal::Over | Rehearsal::NothingHeard))
        };
        // Whatever began is over once.
        let step = step.or((!over(self.told.rehearsal)).then_some(Rehearsal::Over));
        if let Some(step) = step
            && self.told.rehearsal.replace(step) != Some(step)
        {
            tell(AudioEvent::Rehearsal(step));
        }
        if over(step) {
            self.told.rehearsal = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::time::Duration;

    /// What is told while `blocks` of 10 ms of a microphone of this level pass.
    fn pass(booth: &mut Booth, now: &mut Instant, level: f32, blocks: usize) -> Vec<AudioEvent> {
        let told = RefCell::new(Vec::new());
        let pcm: Vec<f32> = (0..BLOCK).map(|n| if n % 2 == 0 { level } else { -level }).collect();
        for _ in 0..blocks {
            booth.hear_raw(&pcm, *now);
            booth.hear(&pcm);
            booth.mix(&mut [0.0; BLOCK]);
            booth.look(*now, &|event| told.borrow_mut().push(event));
            *now += Duration::from_millis(10);
        }
        told.into_inner()
    }

    #[test]
    fn only_changes_are_told() {
        let mut now = Instant::now();
        let mut booth = Booth::new(now);
        assert_eq!(pass(&mut booth, &mut now, 0.0, 1000), [AudioEvent::MicSilent { on: true }]);
        let began = [AudioEvent::OwnVoice { on: true }];
        let mut told = pass(&mut booth, &mut now, 0.1, 500);
        assert_eq!(told.remove(0), AudioEvent::MicSilent { on: false });
        assert_eq!(told, began);
        booth.mic_changed(now);
        assert_eq!(pass(&mut booth, &mut now, 0.001, 500), [AudioEvent::OwnVoice { on: false }]);
    }

    #[test]
    fn every_test_ends_and_the_second_too() {
        let mut now = Instant::now();
        let mut booth = Booth::new(now);
        let mut told = |booth: &mut Booth, blocks: usize| -> Vec<Rehearsal> {
            let events = pass(booth, &mut now, 0.001, blocks).into_iter();
            let steps =
                events.filter_map(|e| if let AudioEvent::Rehearsal(step) = e { Some(step) } else { None });
            steps.collect()
        };
        for _ in 0..2 {
            booth.rehearse(Rehearse::Speaker, Instant::now());
            assert_eq!(told(&mut booth, 300), [Rehearsal::Speaker, Rehearsal::Over]);
        }
        booth.rehearse(Rehearse::Speaker, Instant::now());
        assert_eq!(told(&mut booth, 1), [Rehearsal::Speaker]);
        booth.rehearse(Rehearse::Stop, Instant::now());
        assert_eq!(told(&mut booth, 10), [Rehearsal::Over]);
        assert_eq!(told(&mut booth, 10), [], "once");
    }

    #[test]
    fn the_echo_test_takes_the_place_of_the_speakers() {
        let mut now = Instant::now();
        let mut booth = Booth::new(now);
        booth.rehearse(Rehearse::Speaker, now);
        pass(&mut booth, &mut now, 0.001, 3);
        booth.rehearse(Rehearse::Echo, now);
        let told = pass(&mut booth, &mut now, 0.001, 1000);
        assert_eq!(told.first(), Some(&AudioEvent::Rehearsal(Rehearsal::Recording { left: 4 })));
        assert_eq!(told.last(), Some(&AudioEvent::Rehearsal(Rehearsal::Over)));
        assert_eq!(told.len(), 9);
    }
}
