//! Making a piece of speech a little shorter or longer without changing its pitch: one period of the voice
//! is left out or said twice, joined by a crossfade where the sound is most like itself.

use super::piece::Piece;

/// How alike the two pieces to be joined must be, from 0 to 1: below that one hears it.
const ALIKE: f32 = 0.85;
/// In a pause, where nobody does, they may be as they are.
const ANYHOW: f32 = -1.0;
/// Mean square below which anything may be joined: nobody hears it.
const QUIET: f32 = 1e-6;

/// Shortens `piece` by one period; how many samples were left out, 0 when no good join was found. A `quiet` one is
/// shortened in any case.
pub(crate) fn shorten(piece: &mut Piece, quiet: bool) -> usize {
    let Some(lag) = best_lag(&piece.mid, if quiet { ANYHOW } else { ALIKE }) else { return 0 };
    for pcm in piece.both() {
        let fade = pcm.len() / 4;
        for n in 0..fade {
            let part = n as f32 / fade as f32;
            pcm[n] = pcm[n] * (1.0 - part) + pcm[n + lag] * part;
        }
        pcm.drain(fade..fade + lag);
    }
    lag
}

/// Lengthens `piece` by one period; how many samples were added, 0 when no good join was found.
pub(crate) fn lengthen(piece: &mut Piece) -> usize {
    let Some(lag) = best_lag(&piece.mid, ALIKE) else { return 0 };
    for pcm in piece.both() {
        let fade = pcm.len() / 4;
        let head: Vec<f32> = pcm[..lag + fade].to_vec();
        for n in 0..fade {
            let part = n as f32 / fade as f32;
            pcm[n] = head[lag + n] * (1.0 - part) + head[n] * part;
        }
        pcm.splice(0..0, head[..lag].iter().copied());
    }
    lag
}

/// The distance (up to half of `pcm`, from 2.5 ms) at which the beginning of `pcm` is most like itself, if it is more
/// than so much alike.
fn best_lag(pcm: &[f32], alike: f32) -> Option<usize> {
    let (size, shortest, longest) = (pcm.len() / 4, 120, pcm.len() / 2);
    if longest <= shortest {
        return None;
    }
    let base = &pcm[..size];
    let energy: f32 = base.iter().map(|x| x * x).sum();
    if energy < QUIET * size as f32 && pcm.iter().all(|x| x * x < 4.0 * QUIET) {
        return Some(longest / 2);
    }
    let likeness = |lag: usize| {
        let other = &pcm[lag..lag + size];
        let (mut cross, mut power) = (0.0, 0.0);
        for (a, b) in base.iter().zip(other) {
            cross += a * b;
            power += b * b;
        }
        cross / (energy * power).sqrt().max(1e-9)
    };
    let better = |a: &(usize, f32), b: &(usize, f32)| a.1.total_cmp(&b.1);
    let rough = (shortest..=longest).step_by(3).map(|lag| (lag, likeness(lag))).max_by(better)?;
    let near = rough.0.saturating_sub(2).max(shortest)..=(rough.0 + 2).min(longest);
    let best = near.map(|lag| (lag, likeness(lag))).max_by(better)?;
    (best.1 > alike).then_some(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::{Lcg, tone_share};

    fn tone(from: usize, samples: usize) -> Vec<f32> {
        (from..from + samples)
            .map(|n| (n as f32 * 220.0 * std::f32::consts::TAU / 48_000.0).sin() * 0.5)
            .collect()
    }

    #[test]
    fn a_voice_keeps_its_pitch_when_it_is_shortened_or_lengthened() {
        for change in [|p: &mut Piece| shorten(p, false), lengthen] {
            let (mut out, mut at, mut changed) = (Vec::new(), 0, 0);
            while at < 96_000 {
                let mut frame = Piece::mono(tone(at, 960));
                at += 960;
                changed += change(&mut frame);
                assert_eq!(frame.mid.len(), frame.side.len());
                out.extend_from_slice(&frame.mid);
            }
            assert!(changed > 9_600, "only {changed} samples in 2 s");
            assert!(out.len().abs_diff(96_000) == changed);
            // A period more or less at each join, the same tone all through, no click.
            assert!(tone_share(&out, 220.0) > 0.97, "{}", tone_share(&out, 220.0));
            let click = out.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
            assert!(click < 0.03, "{click}");
        }
    }

    #[test]
    fn noise_is_left_alone_and_silence_and_pauses_are_not() {
        let mut noise = Lcg::new(1);
        let mut pcm = Piece::mono((0..960).map(|_| noise.next_f32() * 0.5).collect());
        assert_eq!((shorten(&mut pcm, false), lengthen(&mut pcm)), (0, 0));
        assert!((120..=480).contains(&shorten(&mut pcm, true)), "that of a pause is not");
        let mut silence = Piece::mono(vec![0.0; 960]);
        assert!(shorten(&mut silence, false) > 0 && lengthen(&mut silence) > 0);
        assert!(silence.mid.iter().all(|x| *x == 0.0));
        assert_eq!(shorten(&mut Piece::default(), false), 0);
        assert_eq!(lengthen(&mut Piece::mono(vec![0.5; 100])), 0);
    }
}
