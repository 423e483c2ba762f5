//! What a speaker makes of a sound that is too loud for it. Pure.
//!
//! It gives less of it than it should: the more, the louder. Two shapes of that, of an early and of a late bend, each
//! by a share of its own, are near enough to what small speakers and their amplifiers do. The shares are learnt from
//! what is left of the echo: what a share too small leaves is what the shape takes away, as it comes to the
//! microphone.

use super::BLOCK;

/// Shapes of bending.
pub(super) const SHAPES: usize = 2;
/// Where each is half bent: 1 over this.
const SHARP: [f32; SHAPES] = [1.5, 4.0];
/// No share is less than the first or more than the second.
const SHARES: (f32, f32) = (-0.3, 1.3);
/// What is known of the shapes' echoes is of the last few seconds: so much is forgotten with each block.
const FORGOT: f32 = 0.005;
/// Each block puts the shares right by this part of what it says.
const STEP: f32 = 0.02;
/// And by no more than this.
const MOST: f32 = 0.02;
/// What else the microphone hears, of what is left, over some blocks; powers below the floor say nothing.
const SMOOTH: f32 = 0.1;
const FLOOR: f32 = 1e-6;
/// Of the shapes' power, so that two that are alike are not set against each other.
const TIED: f32 = 0.03;

/// How much of each shape there is.
#[derive(Debug, Default)]
pub(super) struct Bend {
    shares: [f32; SHAPES],
    /// Products of the shapes' echoes: of the first with itself, with the second, of the second with itself.
    products: [f32; 3],
    left: f32,
}

/// What a shape takes away of a sound.
pub(super) fn taken(shape: usize, block: &[f32; BLOCK], out: &mut [f32; BLOCK]) {
    let sharp = SHARP[shape];
    for (out, x) in out.iter_mut().zip(block) {
        *out = x - x / (1.0 + (sharp * x).powi(2)).sqrt();
    }
}

impl Bend {
    /// The block as the speaker is thought to give it; `taken`: what each shape takes away of it.
    pub(super) fn apply(&self, block: &[f32; BLOCK], taken: &[[f32; BLOCK]; SHAPES]) -> [f32; BLOCK] {
        let mut bent = *block;
        for (taken, share) in taken.iter().zip(self.shares) {
            for (bent, taken) in bent.iter_mut().zip(taken) {
                *bent -= share * taken;
            }
        }
        bent
    }

    /// `echoes`: what comes to the microphone of what each shape takes away; `left`: what was not explained.
    pub(super) fn learn(&mut self, echoes: &[[f32; BLOCK]; SHAPES], left: &[f32]) {
        let power: f32 = left.iter().map(|x| x * x).sum();
        self.left += (power - self.left) * SMOOTH;
        // A near voice makes what is left say little.
        let weight = 1.0 / self.left.max(power).max(FLOOR);
        let product = |a: &[f32], b: &[f32]| weight * a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let now = [
            product(&echoes[0], &echoes[0]),
            product(&echoes[0], &echoes[1]),
            product(&echoes[1], &echoes[1]),
        ];
        for (known, now) in self.products.iter_mut().zip(now) {
            *known += (now - *known) * FORGOT;
        }
        let [aa, ab, bb] = self.products;
        let tied = TIED * (aa + bb) + FLOOR;
        let (aa, bb) = (aa + tied, bb + tied);
        let determinant = aa * bb - ab * ab;
        let (a, b) = (product(&echoes[0], left), product(&echoes[1], left));
        let right = [(bb * a - ab * b) / determinant, (aa * b - ab * a) / determinant];
        for (share, right) in self.shares.iter_mut().zip(right) {
            // Too small a share leaves less than nothing of what it takes away.
            *share = (*share - (STEP * right).clamp(-MOST, MOST)).clamp(SHARES.0, SHARES.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::Lcg;

    fn block(noise: &mut Lcg, loud: f32) -> [f32; BLOCK] {
        std::array::from_fn(|_| loud * noise.next_f32())
    }

    #[test]
    fn the_shares_are_learnt_though_somebody_speaks() {
        let (mut bend, mut far, mut near) = (Bend::default(), Lcg::new(1), Lcg::new(2));
        let wanted = [0.9, 0.3];
        for n in 0..2000 {
            let played = block(&mut far, 0.8);
            let mut shapes = [[0.0; BLOCK]; SHAPES];
            (0..SHAPES).for_each(|shape| taken(shape, &played, &mut shapes[shape]));
            let speaks = if n % 400 < 200 { 0.3 } else { 0.001 };
            let voice = block(&mut near, speaks);
            let truly = Bend { shares: wanted, ..Bend::default() }.apply(&played, &shapes);
            let known = bend.apply(&played, &shapes);
            let left: Vec<f32> = (0..BLOCK).map(|n| truly[n] - known[n] + voice[n]).collect();
            bend.learn(&shapes, &left);
        }
        for (share, wanted) in bend.shares.iter().zip(wanted) {
            assert!((share - wanted).abs() < 0.1, "{:?}", bend.shares);
        }
    }

    #[test]
    fn no_sound_is_too_much() {
        let (mut bend, mut noise) = (Bend::default(), Lcg::new(3));
        for loud in [0.0, 1e-20, 1.0, 1e6] {
            for _ in 0..50 {
                let played = block(&mut noise, loud);
                let mut shapes = [[0.0; BLOCK]; SHAPES];
                (0..SHAPES).for_each(|shape| taken(shape, &played, &mut shapes[shape]));
                bend.learn(&shapes, &block(&mut noise, loud));
                assert!(bend.shares.iter().all(|share| (SHARES.0..=SHARES.1).contains(share)), "{bend:?}");
            }
        }
    }
}
