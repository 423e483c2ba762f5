//! A made room: a speaker that bends what is loud, walls that throw it back, a microphone that hears all of it
//! and noise. Pure and seeded.

use super::BLOCK;
use crate::tone::RATE;
use std::f32::consts::TAU;

/// Echoes that are kept, of the longest: the rest of a room's tail is below them.
const TAPS: usize = 700;

/// Seeded numbers (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// 0 to 1.
    fn even(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Mean 0, variance 1.
    pub(super) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.even().max(1e-9).ln()).sqrt();
        radius * (TAU * self.even()).cos()
    }
}

/// How the speaker's sound comes to the microphone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// From the canceller being shown a sound to the microphone hearing it, ms.
    pub(super) delay_ms: f32,
    /// From this second on the delay is longer by so many ms: a sound system that has stumbled.
    pub(super) moves: Option<(f32, f32)>,
    /// How much quieter it comes back than it left, dB.
    pub(super) loss_db: f32,
    /// Until it is 60 dB down, s.
    pub(super) reverberation: f32,
    /// How hard the speaker is driven; above 1 it bends what is loud.
    pub(super) drive: f32,
    /// How much faster the microphone's clock runs than the speaker's, parts per million.
    pub(super) drift_ppm: f64,
    /// What the microphone hears of the room itself, dB of full scale.
    pub(super) noise_db: f32,
}

impl Room {
    /// A laptop on a desk.
    pub(super) const DESK: Self = Self {
        delay_ms: 40.0,
        moves: None,
        loss_db: 12.0,
        reverberation: 0.2,
        drive: 1.5,
        drift_ppm: 0.0,
        noise_db: -65.0,
    };

    /// What the microphone hears of what the speaker plays, noise included.
    pub(super) fn echo(&self, played: &[f32], seed: u64) -> Vec<f32> {
        let mut live = self.live(seed);
        let echo: Vec<f32> = played.chunks(BLOCK).flat_map(|block| live.thrown_back(block)).collect();
        let mut heard = drifted(&echo, self.drift_ppm);
        live.add_noise(&mut heard);
        heard
    }

    /// The same room, for sound that comes block by block. Its clocks do not part.
    pub(super) fn live(&self, seed: u64) -> Live {
        let mut chance = Chance(seed);
        let taps = self.taps(&mut chance);
        let later = self.moves.map_or(0, |(_, ms)| late(ms));
        let reach = taps.iter().map(|(offset, _)| offset + later).max().unwrap_or_default();
        Live { room: *self, taps, past: vec![0.0; reach], at: 0, chance }
    }

    /// The direct way and the loudest of the echoes, by how many samples they are late.
    fn taps(&self, chance: &mut Chance) -> Vec<(usize, f32)> {
        let length = (self.reverberation * RATE as f32 * 0.6) as usize;
        let decay = 6.9 / (self.reverberation * RATE as f32);
        let mut taps: Vec<(usize, f32)> =
            (0..length).map(|n| (n, chance.normal() * (-decay * n as f32).exp())).collect();
        taps[20].1 = 6.0;
        taps.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        taps.truncate(TAPS);
        let power: f32 = taps.iter().map(|(_, gain)| gain * gain).sum();
        let scale = decibels(-self.loss_db) / power.sqrt();
        let delay = late(self.delay_ms);
        taps.into_iter().map(|(at, gain)| (at + delay, gain * scale)).collect()
    }
}

/// A room in use.
#[derive(Clone, Debug)]
pub(super) struct Live {
    room: Room,
    taps: Vec<(usize, f32)>,
    /// What the speaker gave, as long as an echo of it may come.
    past: Vec<f32>,
    /// Samples that have passed.
    at: usize,
    chance: Chance,
}

impl Live {
    /// What the microphone hears while the speaker plays the next block, noise included.
    pub(super) fn echo(&mut self, played: &[f32]) -> Vec<f32> {
        let mut heard = self.thrown_back(played);
        self.add_noise(&mut heard);
        heard
    }

    fn thrown_back(&mut self, played: &[f32]) -> Vec<f32> {
        let drive = self.room.drive;
        let moved = self.room.moves.filter(|(from, _)| self.at >= (from * RATE as f32) as usize);
        let later = moved.map_or(0, |(_, ms)| late(ms));
        let now = self.past.len();
        self.past.extend(played.iter().map(|x| (x * drive).tanh() / drive));
        let mut echo = vec![0.0; played.len()];
        for (offset, gain) in &self.taps {
            let source = &self.past[now - offset - later..];
            echo.iter_mut().zip(source).for_each(|(sum, x)| *sum += gain * x);
        }
        self.past.drain(..played.len());
        self.at += played.len();
        echo
    }

    fn add_noise(&mut self, heard: &mut [f32]) {
        let noise = decibels(self.room.noise_db);
        heard.iter_mut().for_each(|x| *x += noise * self.chance.normal());
    }
}

/// So many milliseconds, in samples.
fn late(ms: f32) -> usize {
    (ms * RATE as f32 / 1000.0) as usize
}

/// The same sound, by a clock that runs faster.
fn drifted(pcm: &[f32], ppm: f64) -> Vec<f32> {
    if ppm == 0.0 {
        return pcm.to_vec();
    }
    let at = |n: usize| {
        let place = n as f64 / (1.0 + ppm / 1e6);
        let (whole, part) = (place as usize, (place - place.floor()) as f32);
        let next = pcm.get(whole + 1).copied().unwrap_or_default();
        pcm.get(whole).copied().unwrap_or_default() * (1.0 - part) + next * part
    };
    (0..pcm.len()).map(at).collect()
}

/// The noise of a fan: low, steady, with a hum in it.
pub(super) fn fan(samples: usize, level_db: f32, seed: u64) -> Vec<f32> {
    let (mut chance, mut low) = (Chance(seed), 0.0_f32);
    let mut noise: Vec<f32> = (0..samples)
        .map(|n| {
            low += 0.05 * (chance.normal() - low);
            let hum = (n as f32 * 120.0 * TAU / RATE as f32).sin();
            low + 0.02 * hum + 0.02 * chance.normal()
        })
        .collect();
    let power = noise.iter().map(|x| x * x).sum::<f32>() / samples.max(1) as f32;
    let gain = decibels(level_db) / power.sqrt().max(1e-9);
    noise.iter_mut().for_each(|x| *x *= gain);
    noise
}

/// What a level in dB is as a factor.
pub(super) fn decibels(db: f32) -> f32 {
    10.0_f32.powf(db / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power_db(pcm: &[f32]) -> f32 {
        10.0 * (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).max(1e-12).log10()
    }

    #[test]
    fn an_echo_comes_late_and_quieter_by_what_was_asked() {
        let mut chance = Chance(3);
        let played: Vec<f32> = (0..RATE).map(|_| 0.05 * chance.normal()).collect();
        let room = Room { drive: 0.1, noise_db: -120.0, ..Room::DESK };
        let echo = room.echo(&played, 1);
        let early = (0.039 * RATE as f32) as usize;
        assert!(power_db(&echo[..early]) < -100.0);
        let lost = power_db(&played) - power_db(&echo[RATE as usize / 2..]);
        assert!((lost - 12.0).abs() < 1.0, "{lost}");
        assert_eq!(echo, room.echo(&played, 1), "the same seed, the same room");
    }

    #[test]
    fn a_room_in_use_is_the_same_room_whatever_the_blocks() {
        let mut chance = Chance(4);
        let played: Vec<f32> = (0..RATE / 2).map(|_| 0.3 * chance.normal()).collect();
        let mut live = Room::DESK.live(5);
        let blocks: Vec<f32> = played.chunks(333).flat_map(|block| live.echo(block)).collect();
        assert_eq!(blocks, Room::DESK.echo(&played, 5));
    }

    #[test]
    fn a_fan_is_as_loud_as_asked() {
        assert!((power_db(&fan(RATE as usize, -40.0, 1)) + 40.0).abs() < 0.1);
    }
}
