//! A moving test picture: colour bars, a ball that goes round, and a row of squares that counts in binary.

use super::source::{CameraSource, Pace};
use crate::ends::DeviceError;
use crate::frame::{Frame, I420};
use crate::pool::Pool;
use std::convert::Infallible;
use std::f32::consts::TAU;
use std::time::{Duration, Instant};

const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// 75 % bars from white to black.
const BARS: [[u8; 3]; 8] = [
    [180, 128, 128],
    [162, 44, 142],
    [131, 156, 44],
    [112, 72, 58],
    [84, 184, 198],
    [65, 100, 212],
    [35, 212, 114],
    [16, 128, 128],
];

pub(super) struct PatternSource {
    pace: Pace,
    pool: Pool,
    still: I420,
    count: u32,
}

impl PatternSource {
    /// The first picture is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { pace: Pace::new(now, INTERVAL), pool: Pool::new(), still: bars(), count: 0 }
    }
}

impl CameraSource for PatternSource {
    fn name(&self) -> String {
        "pattern".into()
    }

    fn size(&self) -> (u32, u32) {
        (WIDTH, HEIGHT)
    }

    fn due(&self) -> Option<Instant> {
        Some(self.pace.due())
    }

    fn next(&mut self, _deadline: Instant) -> Result<Option<Frame>, DeviceError> {
        let now = Instant::now();
        if now < self.pace.due() {
            return Ok(None);
        }
        let (captured, missed) = self.pace.step(now);
        self.count = self.count.wrapping_add(missed + 1);
        let (still, count) = (&self.still, self.count);
        let drawn = self.pool.picture(WIDTH, HEIGHT, |picture| {
            draw(still, count, picture);
            Ok::<(), Infallible>(())
        });
        match drawn {
            Ok(image) => Ok(Some(Frame { image, captured })),
            Err(never) => match never {},
        }
    }
}

fn bars() -> I420 {
    let mut picture = I420::black(WIDTH, HEIGHT);
    for (plane, samples) in picture.planes_mut().into_iter().enumerate() {
        let width = if plane == 0 { WIDTH } else { WIDTH / 2 } as usize;
        for line in samples.chunks_exact_mut(width) {
            for (x, sample) in line.iter_mut().enumerate() {
                *sample = BARS[x * BARS.len() / width][plane];
            }
        }
    }
    picture
}

/// The picture with this number: bars, ball, and along the bottom the number's 16 low bits, highest first.
fn draw(still: &I420, count: u32, picture: &mut I420) {
    for (target, source) in picture.planes_mut().into_iter().zip(still.planes()) {
        target.copy_from_slice(source);
    }
    let angle = count as f32 / 90.0 * TAU;
    let centre = (320.0 + 220.0 * angle.cos(), 150.0 + 90.0 * (2.0 * angle).sin());
    let [y, u, v] = picture.planes_mut();
    disc(y, WIDTH as usize, centre, 40.0, 235);
    let half = (centre.0 / 2.0, centre.1 / 2.0);
    disc(u, WIDTH as usize / 2, half, 20.0, 128);
    disc(v, WIDTH as usize / 2, half, 20.0, 128);
    for bit in 0..16_usize {
        let on = count >> (15 - bit) & 1 == 1;
        square(y, WIDTH as usize, (bit * 40 + 4, 320), 32, if on { 235 } else { 16 });
        square(u, WIDTH as usize / 2, (bit * 20 + 2, 160), 16, 128);
        square(v, WIDTH as usize / 2, (bit * 20 + 2, 160), 16, 128);
    }
}

fn disc(plane: &mut [u8], width: usize, centre: (f32, f32), radius: f32, value: u8) {
    let (top, bottom) = ((centre.1 - radius).max(0.0) as usize, (centre.1 + radius) as usize);
    for (row, line) in plane.chunks_exact_mut(width).enumerate().take(bottom + 1).skip(top) {
        let down = row as f32 - centre.1;
        let reach = (radius * radius - down * down).max(0.0).sqrt();
        let (left, right) = ((centre.0 - reach).max(0.0) as usize, (centre.0 + reach) as usize);
        line[left.min(width)..right.min(width)].fill(value);
    }
}

fn square(plane: &mut [u8], width: usize, (left, top): (usize, usize), side: usize, value: u8) {
    for line in plane.chunks_exact_mut(width).skip(top).take(side) {
        line[left..left + side].fill(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(picture: &I420) -> u32 {
        let y = picture.planes()[0];
        (0..16).fold(0, |number, bit| number << 1 | u32::from(y[336 * 640 + bit * 40 + 20] > 128))
    }

    #[test]
    fn pictures_move_and_count() {
        let still = bars();
        let mut picture = I420::black(WIDTH, HEIGHT);
        for count in [0, 1, 2, 45, 65_535] {
            draw(&still, count, &mut picture);
            assert_eq!(number(&picture), count);
        }
        let mut other = picture.clone();
        draw(&still, 20, &mut other);
        assert!(picture != other);
    }
}
