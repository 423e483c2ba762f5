//! The frame number that a picture carries in itself, and the clips that carry it.
//!
//! A picture is seen as 32 x 18 cells. The top two rows hold the mark, in the first 22 columns:
//!
//! ```text
//! column   0      1 … 16          17     18    19 … 21
//! row 0    white  bits 31 … 16    black  grey  colour field
//! row 1    black  bits 15 …  0    white  grey  colour field
//! ```
//!
//! The 32 bits are 24 of frame number and 8 of checksum; white is one. The corner cells tell what black and
//! white became on the way. At 640x360 a cell is 20 pixels wide, so the mark survives VP8 at 150 kb/s and
//! scaling to 320x180. `mark.js` ([`MARK_JS`]) reads the same in a browser.

use media::I420;

pub use crate::scene::{Clip, Scene, write_clip};

/// The reader for browsers: defines `readMark(source, width, height)`, which takes what a canvas can draw
/// (a video element with its `videoWidth` and `videoHeight`) and gives `{number, colour}` or `null`, with
/// `colour` the lower-case name of a [`Colour`].
pub const MARK_JS: &str = include_str!("mark.js");

/// Columns and rows of cells in a whole picture.
const GRID: (u32, u32) = (32, 18);
/// Columns of the colour field.
const FIELD: std::ops::Range<u32> = 19..22;
/// Cells that tell what white and black look like.
const WHITES: [(u32, u32); 2] = [(0, 0), (17, 1)];
const BLACKS: [(u32, u32); 2] = [(17, 0), (0, 1)];
/// White must be at least this much lighter than black.
const LEAST_CONTRAST: f32 = 60.0;
/// A cell nearer to the middle than this part of the contrast is neither black nor white.
const DOUBT: f32 = 0.15;
/// How far, in chroma steps, a colour may have drifted.
const DRIFT: f32 = 30.0;
const LUMA_OF_FIELD: u8 = 130;

/// What tells one clip from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Red.
    Red,
    /// Green.
    Green,
    /// Blue.
    Blue,
    /// Yellow.
    Yellow,
    /// Magenta.
    Magenta,
    /// Cyan.
    Cyan,
}

impl Colour {
    /// Each of them.
    pub const ALL: [Self; 6] = [Self::Red, Self::Green, Self::Blue, Self::Yellow, Self::Magenta, Self::Cyan];

    /// Chroma (U, V) of the field.
    fn chroma(self) -> [u8; 2] {
        match self {
            Self::Red => [98, 198],
            Self::Green => [83, 63],
            Self::Blue => [183, 108],
            Self::Yellow => [68, 143],
            Self::Magenta => [173, 183],
            Self::Cyan => [153, 53],
        }
    }
}

impl std::str::FromStr for Colour {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let named = |colour: &Self| format!("{colour:?}").eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            format!("`{text}` is no colour of a clip: take red, green, blue, yellow, magenta or cyan")
        })
    }
}

/// What a marked picture says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The frame's number in its clip, from 0; 24 bits.
    pub number: u32,
    /// Its clip's colour.
    pub colour: Colour,
}

fn checksum(number: u32) -> u32 {
    let mut crc = 0xffu32;
    for shift in [16, 8, 0] {
        crc ^= (number >> shift) & 0xff;
        for _ in 0..8 {
            crc = if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x07 } & 0xff;
        }
    }
    crc
}

/// Where bit `i` (31 is the first) sits: column, row.
fn cell_of_bit(i: u32) -> (u32, u32) {
    let place = 31 - i;
    (1 + place % 16, place / 16)
}

/// Writes the mark into a picture; the number is taken modulo 2^24.
pub fn stamp(picture: &mut I420, mark: Mark) {
    let number = mark.number & 0x00ff_ffff;
    let word = number << 8 | checksum(number);
    for i in 0..32 {
        let (column, row) = cell_of_bit(i);
        paint(picture, column..column + 1, row, if word >> i & 1 == 1 { 235 } else { 16 }, [128, 128]);
    }
    for (cells, luma) in [(WHITES, 235), (BLACKS, 16)] {
        for (column, row) in cells {
            paint(picture, column..column + 1, row, luma, [128, 128]);
        }
    }
    for row in 0..2 {
        paint(picture, 18..19, row, LUMA_OF_FIELD, [128, 128]);
        paint(picture, FIELD, row, LUMA_OF_FIELD, mark.colour.chroma());
    }
}

fn paint(picture: &mut I420, columns: std::ops::Range<u32>, row: u32, luma: u8, chroma: [u8; 2]) {
    let sizes = [
        (picture.width(), picture.height()),
        (picture.chroma_width(), picture.chroma_height()),
        (picture.chroma_width(), picture.chroma_height()),
    ];
    let values = [luma, chroma[0], chroma[1]];
    for ((plane, (width, height)), value) in picture.planes_mut().into_iter().zip(sizes).zip(values) {
        let (left, right) = (columns.start * width / GRID.0, columns.end * width / GRID.0);
        for y in row * height / GRID.1..(row + 1) * height / GRID.1 {
            plane[(y * width + left) as usize..(y * width + right) as usize].fill(value);
        }
    }
}

/// The mean of the inner half of a run of cells, in a plane of this size.
fn mean(plane: &[u8], size: (u32, u32), columns: std::ops::Range<u32>, row: u32) -> f32 {
    let quarter = |cells: u32, side: u32, of: u32| cells * side / (4 * of);
    let left = quarter(4 * columns.start + 1, size.0, GRID.0);
    let right = quarter(4 * columns.end - 1, size.0, GRID.0).max(left + 1).min(size.0);
    let top = quarter(4 * row + 1, size.1, GRID.1);
    let bottom = quarter(4 * row + 3, size.1, GRID.1).max(top + 1).min(size.1);
    let mut sum = 0u64;
    for y in top..bottom {
        let line = &plane[(y * size.0 + left) as usize..(y * size.0 + right) as usize];
        sum += line.iter().map(|&v| u64::from(v)).sum::<u64>();
    }
    sum as f32 / ((right - left) * (bottom - top)) as f32
}

/// Reads the mark of a picture of any size from 64x36 up that shows the whole frame; `None` when there is
/// no mark, or it cannot be told for sure.
pub fn read_mark(picture: &I420) -> Option<Mark> {
    let size = (picture.width(), picture.height());
    if size.0 < 2 * GRID.0 || size.1 < 2 * GRID.1 {
        return None;
    }
    let [y, u, v] = picture.planes();
    let number = number_of_cells(|(column, row)| mean(y, size, column..column + 1, row))?;
    let chroma_size = (picture.chroma_width(), picture.chroma_height());
    let field = [u, v]
        .map(|plane| mean(plane, chroma_size, FIELD, 0) / 2.0 + mean(plane, chroma_size, FIELD, 1) / 2.0);
    let colour = nearest(field)?;
    Some(Mark { number, colour })
}

/// Columns and rows of the cells that hold a number.
pub(crate) const CELLS: (u32, u32) = (18, 2);

/// Reads a number from the mean luma of each cell, named by its column and row.
pub(crate) fn number_of_cells(luma: impl Fn((u32, u32)) -> f32) -> Option<u32> {
    let white = WHITES.map(&luma).into_iter().fold(f32::MAX, f32::min);
    let black = BLACKS.map(&luma).into_iter().fold(f32::MIN, f32::max);
    let contrast = white - black;
    if contrast < LEAST_CONTRAST {
        return None;
    }
    let mut word = 0u32;
    for i in 0..32 {
        let off_middle = luma(cell_of_bit(i)) - (white + black) / 2.0;
        if off_middle.abs() < DOUBT * contrast {
            return None;
        }
        word |= u32::from(off_middle > 0.0) << i;
    }
    let number = word >> 8;
    (checksum(number) == word & 0xff).then_some(number)
}

fn nearest(field: [f32; 2]) -> Option<Colour> {
    let drift = |colour: &Colour| {
        let [u, v] = colour.chroma().map(f32::from);
        (u - field[0]).hypot(v - field[1])
    };
    let colour = Colour::ALL.into_iter().min_by(|a, b| drift(a).total_cmp(&drift(b)))?;
    (drift(&colour) < DRIFT).then_some(colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_and_colour_reads_back_at_every_size() {
        for (width, height) in [(640, 360), (320, 180), (1280, 720), (640, 480), (64, 36), (333, 187)] {
            for number in (0..24).map(|bit| 1 << bit).chain([0, 299, 0x00ff_ffff, 0x0012_3456]) {
                for colour in Colour::ALL {
                    let mut picture = I420::black(width, height);
                    stamp(&mut picture, Mark { number, colour });
                    assert_eq!(read_mark(&picture), Some(Mark { number, colour }), "{width}x{height}");
                }
            }
        }
    }

    #[test]
    fn a_picture_without_a_mark_has_none() {
        assert_eq!(read_mark(&I420::black(640, 360)), None);
        let mut noise = I420::black(640, 360);
        let mut state = 1u32;
        for value in noise.planes_mut().into_iter().flatten() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = (state >> 24) as u8;
        }
        assert_eq!(read_mark(&noise), None);
    }

    #[test]
    fn half_of_one_frame_over_half_of_another_is_refused() {
        let mut picture = I420::black(640, 360);
        stamp(&mut picture, Mark { number: 0x0fff, colour: Colour::Red });
        let mut other = I420::black(640, 360);
        stamp(&mut other, Mark { number: 0x1000, colour: Colour::Red });
        let torn = 20 * 640;
        picture.planes_mut()[0][torn..].copy_from_slice(&other.planes()[0][torn..]);
        assert_eq!(read_mark(&picture), None);
    }

    #[test]
    fn a_washed_out_mark_is_refused_rather_than_guessed() {
        let mut picture = I420::black(640, 360);
        stamp(&mut picture, Mark { number: 77, colour: Colour::Blue });
        for value in picture.planes_mut()[0].iter_mut() {
            *value = 110 + *value / 8;
        }
        assert_eq!(read_mark(&picture), None);
    }
}
