//! Short sounds for oneself alone: somebody came, somebody went, the speaker works. Made here, sample by
//! sample, and mixed into what the speaker plays; nobody else is ever sent them.

use super::BLOCK;
use crate::codec::opus::RATE;

/// A short sound for oneself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chime {
    /// Somebody came: two notes up, quiet.
    Join,
    /// Somebody went: two notes down, quiet.
    Leave,
    /// Three notes, as loud as a voice, to try the speaker with.
    Test,
}

/// A tone that swells in 8 ms and dies away.
struct Note {
    hertz: f64,
    /// Milliseconds.
    begins: u32,
    /// Milliseconds.
    lasts: u32,
}

const fn note(hertz: f64, begins: u32, lasts: u32) -> Note {
    Note { hertz, begins, lasts }
}

impl Chime {
    /// Its notes, and how loud they are at most.
    fn score(self) -> (&'static [Note], f64) {
        const E5: f64 = 659.26;
        const A5: f64 = 880.0;
        match self {
            Self::Join => (const { &[note(E5, 0, 180), note(A5, 100, 260)] }, 0.05),
            Self::Leave => (const { &[note(A5, 0, 180), note(E5, 100, 260)] }, 0.05),
            Self::Test => {
                (const { &[note(523.25, 0, 500), note(E5, 250, 500), note(783.99, 500, 700)] }, 0.2)
            }
        }
    }

    /// Its length in samples (48 kHz).
    pub(crate) fn samples(self) -> usize {
        let ends = self.score().0.iter().map(|note| note.begins + note.lasts);
        (ends.max().unwrap_or(0) * RATE / 1000) as usize
    }

    /// The sample at a time counted in samples from its beginning.
    fn at(self, sample: usize) -> f32 {
        let time = sample as f64 / f64::from(RATE);
        let (notes, loudness) = self.score();
        (notes.iter().map(|note| note.at(time)).sum::<f64>() * loudness) as f32
    }
}

impl Note {
    /// -1 to 1.
    fn at(&self, time: f64) -> f64 {
        const SWELL: f64 = 0.008;
        let (since, lasts) = (time - f64::from(self.begins) / 1000.0, f64::from(self.lasts) / 1000.0);
        if !(0.0..lasts).contains(&since) {
            return 0.0;
        }
        let swell = 0.5 - 0.5 * (std::f64::consts::PI * (since / SWELL).min(1.0)).cos();
        let fade = (1.0 - since / lasts).powi(2);
        swell * fade * (since * self.hertz * std::f64::consts::TAU).sin()
    }
}

/// What rings now and what rings next.
#[derive(Debug, Default)]
pub(crate) struct Chimes {
    /// With the samples played so far.
    now: Option<(Chime, usize)>,
    next: Option<Chime>,
}

impl Chimes {
    /// overflow: one rings and one waits; more at a time would only be noise, and are left out.
    pub(crate) fn ring(&mut self, chime: Chime) {
        if self.now.is_none() {
            self.now = Some((chime, 0));
        } else {
            self.next.get_or_insert(chime);
        }
    }

    /// Ends this one, whether it rings or waits.
    pub(crate) fn stop(&mut self, chime: Chime) {
        self.now = self.now.filter(|(now, _)| *now != chime);
        self.next = self.next.filter(|next| *next != chime);
        self.go_on();
    }

    /// Whether it rings or will.
    pub(crate) fn has(&self, chime: Chime) -> bool {
        self.now.is_some_and(|(now, _)| now == chime) || self.next == Some(chime)
    }

    /// Adds the next 10 ms to what is played.
    pub(crate) fn mix(&mut self, block: &mut [f32; BLOCK]) {
        let Some((chime, played)) = &mut self.now else { return };
        for x in block {
            *x += chime.at(*played);
            *played += 1;
        }
        if *played >= chime.samples() {
            self.now = None;
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        if self.now.is_none() {
            self.now = self.next.take().map(|chime| (chime, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::{rms, tone_share};
    use super::*;

    fn played(chimes: &mut Chimes) -> Vec<f32> {
        let mut out = Vec::new();
        while chimes.now.is_some() {
            let mut block = [0.0; BLOCK];
            chimes.mix(&mut block);
            out.extend_from_slice(&block);
            assert!(out.len() < 10 * RATE as usize, "it ends");
        }
        out
    }

    fn alone(chime: Chime) -> Vec<f32> {
        let mut chimes = Chimes::default();
        chimes.ring(chime);
        played(&mut chimes)
    }

    #[test]
    fn chimes_are_short_quiet_and_without_clicks() {
        for (chime, seconds, peak) in
            [(Chime::Join, 0.5, 0.1), (Chime::Leave, 0.5, 0.1), (Chime::Test, 1.5, 0.5)]
        {
            let sound = alone(chime);
            assert!((0.2..seconds).contains(&(sound.len() as f32 / RATE as f32)), "{chime:?}");
            assert!(sound.iter().all(|x| x.abs() < peak) && rms(&sound) > peak / 20.0, "{chime:?}");
            let jump = sound.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            let steepest = peak * 880.0 * std::f32::consts::TAU / RATE as f32;
            assert!(sound[0] == 0.0 && jump < steepest, "{chime:?}: {jump}");
        }
    }

    #[test]
    fn coming_goes_up_and_going_goes_down() {
        let (join, leave) = (alone(Chime::Join), alone(Chime::Leave));
        let (first, last) = (|pcm: &[f32]| pcm[..4800].to_vec(), |pcm: &[f32]| pcm[9600..14_400].to_vec());
        assert!(tone_share(&first(&join), 659.26) > 0.8 && tone_share(&last(&join), 880.0) > 0.8);
        assert!(tone_share(&first(&leave), 880.0) > 0.8 && tone_share(&last(&leave), 659.26) > 0.8);
    }

    #[test]
    fn one_waits_and_more_are_left_out() {
        let mut chimes = Chimes::default();
        for chime in [Chime::Join, Chime::Leave, Chime::Join, Chime::Join] {
            chimes.ring(chime);
        }
        let blocks = |chime: Chime| chime.samples().div_ceil(BLOCK) * BLOCK;
        assert_eq!(played(&mut chimes).len(), blocks(Chime::Join) + blocks(Chime::Leave));
        chimes.ring(Chime::Join);
        chimes.ring(Chime::Test);
        chimes.stop(Chime::Join);
        assert!(chimes.has(Chime::Test) && !chimes.has(Chime::Join));
        chimes.stop(Chime::Test);
        assert_eq!(played(&mut chimes), []);
    }

    #[test]
    fn they_are_added_to_what_is_there() {
        let mut chimes = Chimes::default();
        chimes.ring(Chime::Test);
        let mut with = [0.25; BLOCK];
        chimes.mix(&mut with);
        assert!(with.iter().zip(alone(Chime::Test)).all(|(x, y)| *x == 0.25 + y));
    }
}
