//! YUV4MPEG2 clips, 8-bit 4:2:0: reading them picture by picture, and writing them.

use crate::convert::limit_range;
use crate::frame::I420;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};

/// Why a clip cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Y4mError {
    /// Not this format, or a variant that is not taken.
    #[error("{0}")]
    Format(String),
    /// The clip ends, between pictures or within one.
    #[error("the clip ends here")]
    End,
    /// The system could not read it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn format(why: impl Into<String>) -> Y4mError {
    Y4mError::Format(why.into())
}

/// What a clip says of itself in its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Pictures per second as a fraction.
    pub rate: (u32, u32),
    /// Samples use the whole range 0-255.
    pub full_range: bool,
}

impl Header {
    /// Longest first line that is read.
    const LONGEST: u64 = 1024;

    fn parse(line: &str) -> Result<Self, Y4mError> {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("YUV4MPEG2") {
            return Err(format("not a y4m clip: it does not begin with YUV4MPEG2"));
        }
        let mut header = Header { width: 0, height: 0, rate: (30, 1), full_range: false };
        for word in words {
            let Some((tag, value)) = word.split_at_checked(1) else { continue };
            match tag {
                "W" => header.width = side(value)?,
                "H" => header.height = side(value)?,
                "F" => {
                    header.rate =
                        rate(value).ok_or_else(|| format(std::format!("its frame rate is {value}")))?
                }
                "C" if !matches!(value, "420" | "420jpeg" | "420mpeg2" | "420paldv") => {
                    return Err(format(std::format!(
                        "its pixels are {value}; only 8-bit 4:2:0 can be played"
                    )));
                }
                "X" if value.eq_ignore_ascii_case("COLORRANGE=FULL") => header.full_range = true,
                // Interlacing, aspect, comments: nothing to do about them.
                _ => {}
            }
        }
        if header.width == 0 || header.height == 0 {
            return Err(format("its first line names no picture size"));
        }
        Ok(header)
    }

    /// Seconds from one picture to the next.
    pub fn interval(&self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(f64::from(self.rate.1) / f64::from(self.rate.0))
    }
}

fn side(text: &str) -> Result<u32, Y4mError> {
    let sides = 2..=I420::MAX_SIDE;
    text.parse()
        .ok()
        .filter(|side| sides.contains(side))
        .ok_or_else(|| format(std::format!("a side of {text} pixels; 2 to {} can be played", I420::MAX_SIDE)))
}

/// Numerator and denominator of 1/10 to 1000 pictures a second; 0:0 stands for unknown and becomes 30.
fn rate(text: &str) -> Option<(u32, u32)> {
    let (numerator, denominator) = text.split_once(':')?;
    let (numerator, denominator) = (numerator.parse::<u32>().ok()?, denominator.parse::<u32>().ok()?);
    if numerator == 0 && denominator == 0 {
        return Some((30, 1));
    }
    let (n, d) = (u64::from(numerator), u64::from(denominator));
    (d > 0 && n <= 1000 * d && n * 10 >= d).then_some((numerator, denominator))
}

/// Reads a clip picture by picture; holds none of it in memory.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    /// Where the first picture begins, in bytes.
    start: u64,
}

impl<R: BufRead + Seek> Reader<R> {
    /// Reads the first line.
    pub fn new(mut input: R) -> Result<Self, Y4mError> {
        let line = match line(&mut input, Header::LONGEST) {
            Err(Y4mError::End) => return Err(format("not a y4m clip: its first line does not end")),
            line => line?,
        };
        let header = Header::parse(&line)?;
        let start = input.stream_position()?;
        Ok(Self { input, header, start })
    }

    /// The first line.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Reads the next picture into `picture`, which has the clip's size.
    pub fn read(&mut self, picture: &mut I420) -> Result<(), Y4mError> {
        self.frame_line()?;
        for plane in picture.planes_mut() {
            self.input.read_exact(plane).map_err(end)?;
        }
        if self.header.full_range {
            limit_range(picture);
        }
        Ok(())
    }

    /// Steps over the next picture.
    pub fn skip(&mut self) -> Result<(), Y4mError> {
        self.frame_line()?;
        let bytes = I420::bytes(self.header.width, self.header.height) as i64;
        self.input.seek_relative(bytes)?;
        Ok(())
    }

    fn frame_line(&mut self) -> Result<(), Y4mError> {
        let line = line(&mut self.input, 256)?;
        match line.strip_prefix("FRAME") {
            Some(rest) if rest.is_empty() || rest.starts_with(' ') => Ok(()),
            _ => Err(format("garbage stands where a picture should begin")),
        }
    }

    /// Goes back to the first picture.
    pub fn rewind(&mut self) -> Result<(), Y4mError> {
        self.input.seek(SeekFrom::Start(self.start))?;
        Ok(())
    }
}

fn end(error: io::Error) -> Y4mError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Y4mError::End,
        _ => Y4mError::Io(error),
    }
}

/// A line without its end, of at most `most` bytes.
fn line(input: &mut impl BufRead, most: u64) -> Result<String, Y4mError> {
    let mut line = Vec::new();
    input.take(most).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => String::from_utf8(line).map_err(|_| format("a line of it is not text")),
        None => Err(Y4mError::End),
        Some(_) if line.len() as u64 + 1 >= most => Err(format("not a y4m clip: its lines are too long")),
        Some(_) => Err(Y4mError::End),
    }
}

/// The first line of a clip that [`write_frame`] goes on with, 30 pictures a second.
pub fn write_header(output: &mut impl Write, width: u32, height: u32) -> io::Result<()> {
    writeln!(output, "YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED")
}

/// The line before a picture, with the moment it was shown in Unix microseconds.
pub fn frame_line(shown_us: u128) -> String {
    format!("FRAME Xt={shown_us}\n")
}

/// One picture.
pub fn write_frame(output: &mut impl Write, picture: &I420, shown_us: u128) -> io::Result<()> {
    output.write_all(frame_line(shown_us).as_bytes())?;
    output.write_all(picture.packed())
}
