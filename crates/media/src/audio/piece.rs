//! A piece of sound of two channels, as what both have in common and what they differ by: speech is decided upon by
//! the one, and the other, which is nothing then, has the same done to it.

/// See the module. Left is `mid + side`, right `mid - side`; both have the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Piece {
    pub(crate) mid: Vec<f32>,
    pub(crate) side: Vec<f32>,
}

impl Piece {
    #[cfg(test)]
    pub(crate) fn mono(mid: Vec<f32>) -> Self {
        Self { side: vec![0.0; mid.len()], mid }
    }

    /// Samples of each.
    pub(crate) fn len(&self) -> usize {
        self.mid.len()
    }

    pub(crate) fn both(&mut self) -> [&mut Vec<f32>; 2] {
        [&mut self.mid, &mut self.side]
    }

    pub(crate) fn clear(&mut self) {
        self.mid.clear();
        self.side.clear();
    }

    /// So many samples long: shorter, or longer by silence.
    pub(crate) fn resize(&mut self, samples: usize) {
        self.mid.resize(samples, 0.0);
        self.side.resize(samples, 0.0);
    }

    /// Leaves out so many at the beginning.
    pub(crate) fn skip(&mut self, samples: usize) {
        self.mid.drain(..samples);
        self.side.drain(..samples);
    }

    /// Moves all of `other` to the end of this.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.mid.append(&mut other.mid);
        self.side.append(&mut other.side);
    }

    /// Holds this instead: left and right in turn.
    pub(crate) fn set(&mut self, frames: &[f32]) {
        self.clear();
        for frame in frames.chunks_exact(2) {
            self.mid.push((frame[0] + frame[1]) * 0.5);
            self.side.push((frame[0] - frame[1]) * 0.5);
        }
    }

    /// Makes each sample so much louder, by its place.
    pub(crate) fn scale(&mut self, most: usize, by: impl Fn(usize) -> f32) {
        for pcm in self.both() {
            pcm.iter_mut().take(most).enumerate().for_each(|(n, x)| *x *= by(n));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_and_right_come_back_and_what_is_the_same_has_no_side() {
        let mut piece = Piece::default();
        piece.set(&[0.5, 0.25, -0.5, 0.75, 0.1, 0.1]);
        let left: Vec<f32> = piece.mid.iter().zip(&piece.side).map(|(m, s)| m + s).collect();
        let right: Vec<f32> = piece.mid.iter().zip(&piece.side).map(|(m, s)| m - s).collect();
        assert_eq!((left.as_slice(), right.as_slice()), (&[0.5, -0.5, 0.1][..], &[0.25, 0.75, 0.1][..]));
        assert_eq!(piece.side[2], 0.0);
        piece.skip(1);
        piece.resize(4);
        piece.scale(1, |_| 2.0);
        assert_eq!((piece.len(), piece.mid[3], piece.mid[0]), (4, 0.0, 0.25));
        let mut all = Piece::mono(vec![1.0]);
        all.append(&mut piece);
        assert!(all.mid.len() == 5 && all.side.len() == 5 && piece.len() == 0);
    }
}
