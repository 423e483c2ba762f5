//! What of one's own voice is worth sending (DTX): speech is, of a pause only that it is one, and now and then what
//! the room sounds like. Judged by loudness over the quietest of late: noise suppression has been here before. Pure.

use crate::codec::opus::{PACKET, RATE};

/// Louder than the background by this, 6 dB in a packet or 10 in 5 ms of it, it is speech.
const SPEECH: f32 = 4.0;
const ONSET: f32 = 10.0;
const SHORT: usize = 240;
/// What is quieter than this (-84 dB of full scale) is silence, whatever the background is.
const SILENCE: f32 = 4e-9;
/// Speech goes on for so long after the last of it: its ends are quiet.
const HANG: u32 = RATE * 3 / 10;
/// And from the beginning, until the background is known.
const LEARN: u32 = RATE;
/// The background becomes louder by 2 dB in a second while nothing says otherwise.
const RISE: f32 = 1.58;
/// A pause is heard of this often: 400 ms.
const AGAIN: u32 = RATE * 2 / 5;
/// It is told of twice when it begins, for one may be lost.
const TOLD: u32 = 2;

/// What becomes of a packet's sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It is sent.
    Sound,
    /// In its place is said that there is a pause.
    Mark,
    /// Nothing is sent.
    Nothing,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Pauses {
    /// The background's power; none before the first packet.
    floor: Option<f32>,
    /// Samples for which it is speech still.
    hang: u32,
    /// Marks still to be sent.
    marks: u32,
    /// Samples of the pause since the background was sent last.
    silent: u32,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { floor: None, hang: LEARN, marks: TOLD, silent: 0 }
    }
}

impl Pauses {
    /// Judges a packet's sound, mono.
    pub(crate) fn judge(&mut self, pcm: &[f32]) -> Worth {
        let long = pcm.len() as u32;
        let now = pcm.chunks(PACKET).map(power).fold(f32::INFINITY, f32::min);
        let loudest = pcm.chunks(PACKET).map(power).fold(0.0, f32::max);
        let onset = pcm.chunks(SHORT).map(power).fold(0.0, f32::max);
        let risen = self.floor.map_or(now, |floor| floor * RISE.powf(long as f32 / RATE as f32));
        let floor = risen.min(now).max(SILENCE);
        self.floor = Some(floor);
        if loudest > floor * SPEECH || onset > floor * ONSET {
            self.hang = self.hang.max(HANG);
            self.marks = TOLD;
            self.silent = 0;
            return Worth::Sound;
        }
        if self.hang > 0 {
            self.hang = self.hang.saturating_sub(long);
            return Worth::Sound;
        }
        self.silent += long;
        if self.silent >= AGAIN {
            (self.silent, self.marks) = (0, 1);
            return Worth::Sound;
        }
        if self.marks > 0 {
            self.marks -= 1;
            return Worth::Mark;
        }
        Worth::Nothing
    }
}

fn power(pcm: &[f32]) -> f32 {
    pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::Lcg;

    /// So many packets of noise this loud.
    fn noise(dice: &mut Lcg, pauses: &mut Pauses, packets: usize, loud: f32) -> Vec<Worth> {
        let packet = |_| {
            let mut brown = 0.0;
            let pcm: Vec<f32> = (0..PACKET)
                .map(|_| {
                    brown += (dice.next_f32() - brown) * 0.3;
                    brown * loud * 4.0
                })
                .collect();
            pauses.judge(&pcm)
        };
        (0..packets).map(packet).collect()
    }

    #[test]
    fn a_pause_is_told_of_twice_and_heard_of_every_400_ms() {
        for loud in [0.0, 1e-5, 1e-3, 0.03] {
            let (mut dice, mut pauses) = (Lcg::new(1), Pauses::default());
            let first = noise(&mut dice, &mut pauses, 50, loud);
            assert!(first.iter().all(|worth| *worth == Worth::Sound), "the background is learnt");
            let then = noise(&mut dice, &mut pauses, 1000, loud);
            let count = |which: Worth| then.iter().filter(|worth| **worth == which).count();
            assert_eq!(&then[..3], &[Worth::Mark, Worth::Mark, Worth::Nothing], "{loud}");
            assert_eq!((count(Worth::Sound), count(Worth::Mark)), (50, 51), "{loud}");
        }
    }

    #[test]
    fn speech_is_sent_from_its_first_packet_to_its_quiet_end() {
        let (mut dice, mut pauses) = (Lcg::new(2), Pauses::default());
        noise(&mut dice, &mut pauses, 200, 0.001);
        for loud in [0.1, 0.01, 0.004] {
            let word = noise(&mut dice, &mut pauses, 10, loud);
            assert!(word.iter().all(|worth| *worth == Worth::Sound), "{loud}: {word:?}");
            let end = noise(&mut dice, &mut pauses, 100, 0.001);
            let sent = end.iter().position(|worth| *worth != Worth::Sound).unwrap();
            assert!((15..=16).contains(&sent), "{sent} packets after the word");
            assert_eq!(&end[sent..sent + 3], &[Worth::Mark, Worth::Mark, Worth::Nothing]);
        }
    }

    #[test]
    fn a_word_that_begins_at_the_end_of_a_packet_is_sent_with_it() {
        let (mut dice, mut pauses) = (Lcg::new(3), Pauses::default());
        noise(&mut dice, &mut pauses, 200, 0.001);
        let mut packet = [0.0005; PACKET];
        packet[PACKET - 240..].fill(0.01);
        assert_eq!(pauses.judge(&packet), Worth::Sound);
    }

    #[test]
    fn a_background_that_becomes_louder_is_one_again_after_a_while() {
        let (mut dice, mut pauses) = (Lcg::new(4), Pauses::default());
        noise(&mut dice, &mut pauses, 200, 0.001);
        let fan = noise(&mut dice, &mut pauses, 1000, 0.004);
        let pause = fan.iter().position(|worth| *worth != Worth::Sound).unwrap();
        assert!((50..400).contains(&pause), "{pause}");
        let tone: Vec<f32> = (0..PACKET).map(|n| (n as f32 * 0.0576).sin() * 0.2).collect();
        assert!((0..500).all(|_| pauses.judge(&tone) == Worth::Sound), "a long tone is no pause");
    }

    #[test]
    fn rubbish_is_survived() {
        let mut pauses = Pauses::default();
        for pcm in [vec![], vec![f32::NAN; PACKET], vec![f32::INFINITY; 7], vec![0.0; 2 * PACKET]] {
            for _ in 0..100 {
                pauses.judge(&pcm);
            }
        }
        let speech: Vec<f32> = (0..PACKET).map(|n| (n as f32 * 0.1).sin() * 0.2).collect();
        assert_eq!(pauses.judge(&speech), Worth::Sound);
    }
}
