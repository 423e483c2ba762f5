//! Picture memory used again: a picture that everybody has dropped is written over instead of being freed.

use crate::frame::I420;
use std::sync::Arc;

/// Hands out pictures of which it alone holds a reference.
pub struct Pool {
    pictures: Vec<Arc<I420>>,
    kept: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    /// Pictures kept at most, if none wait: those in the encoder, in two slots, on screen, and one to write into.
    const KEPT: usize = 6;

    /// A pool that holds nothing yet.
    pub fn new() -> Self {
        Self::for_waiting(0)
    }

    /// A pool that keeps so many pictures more, for they wait before they are shown.
    pub fn for_waiting(pictures: usize) -> Self {
        Self { pictures: Vec::new(), kept: Self::KEPT + pictures }
    }

    /// A picture of this size (sides clamped as in [`I420::black`]) written by `fill`, which finds
    /// anything at all in it.
    ///
    /// overflow: when all kept pictures are in use, one more is made and the oldest is no longer kept.
    pub fn picture<E>(
        &mut self,
        width: u32,
        height: u32,
        fill: impl FnOnce(&mut I420) -> Result<(), E>,
    ) -> Result<Arc<I420>, E> {
        self.pictures.retain(|picture| (picture.width(), picture.height()) == (width, height));
        let free = self.pictures.iter_mut().position(|picture| Arc::get_mut(picture).is_some());
        let mut picture = match free {
            Some(index) => self.pictures.remove(index),
            None => Arc::new(I420::black(width, height)),
        };
        let filled = match Arc::get_mut(&mut picture) {
            Some(inner) => fill(inner),
            None => {
                // Nobody can have got a reference in between; a new picture is right all the same.
                let mut inner = I420::black(width, height);
                let filled = fill(&mut inner);
                picture = Arc::new(inner);
                filled
            }
        };
        if self.pictures.len() >= self.kept {
            self.pictures.remove(0);
        }
        self.pictures.push(picture.clone());
        filled.map(|()| picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn take(pool: &mut Pool, width: u32, luma: u8) -> Arc<I420> {
        let fill = |picture: &mut I420| {
            picture.planes_mut()[0].fill(luma);
            Ok::<(), Infallible>(())
        };
        match pool.picture(width, 4, fill) {
            Ok(picture) => picture,
            Err(never) => match never {},
        }
    }

    #[test]
    fn a_picture_in_use_is_never_written_over_and_a_dropped_one_is() {
        let mut pool = Pool::new();
        let first = take(&mut pool, 4, 1);
        let second = take(&mut pool, 4, 2);
        assert_eq!((first.planes()[0][0], second.planes()[0][0]), (1, 2));
        let address = Arc::as_ptr(&first);
        drop(first);
        assert_eq!(Arc::as_ptr(&take(&mut pool, 4, 3)), address);
        assert_eq!(second.planes()[0][0], 2);
    }

    #[test]
    fn what_is_kept_is_bounded_and_forgotten_when_the_size_changes() {
        let mut pool = Pool::new();
        let used: Vec<_> = (0..20).map(|luma| take(&mut pool, 4, luma)).collect();
        assert_eq!(pool.pictures.len(), Pool::KEPT);
        assert!(used.iter().enumerate().all(|(at, picture)| picture.planes()[0][0] == at as u8));
        take(&mut pool, 8, 0);
        assert_eq!(pool.pictures.len(), 1);
    }
}
