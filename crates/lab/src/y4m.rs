//! Reads pictures as Snug's `--display y4m:DIR` writes them, from a file or a named pipe.

use media::I420;
use std::io::{self, BufRead};

/// A picture, and when it was shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The picture.
    pub picture: I420,
    /// Unix time in microseconds, where the frame says (` Xt=…`).
    pub at_us: Option<u64>,
}

/// Reads one picture after another.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    width: u32,
    height: u32,
}

/// No header or frame line is longer.
const LONGEST_LINE: u64 = 4096;

fn bad(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

impl<R: BufRead> Reader<R> {
    /// Reads the stream's header.
    ///
    /// # Errors
    /// `InvalidData` when it is not 8-bit 4:2:0 y4m of a size that [`I420`] takes; else what reading gave.
    pub fn new(mut input: R) -> io::Result<Self> {
        let line = line(&mut input)?.ok_or_else(|| bad("the stream is empty"))?;
        let mut words = line.split(' ');
        if words.next() != Some("YUV4MPEG2") {
            return Err(bad(format!("`{line}` does not begin a y4m stream")));
        }
        let (mut width, mut height) = (0, 0);
        for word in words {
            match word.split_at_checked(1) {
                Some(("W", number)) => width = number.parse().unwrap_or(0),
                Some(("H", number)) => height = number.parse().unwrap_or(0),
                Some(("C", colours)) if !is_420(colours) => {
                    return Err(bad(format!("C{colours} is not 8-bit 4:2:0")));
                }
                _ => {}
            }
        }
        let sides = 2..=I420::MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(bad(format!("a picture of {width}x{height} cannot be")));
        }
        Ok(Self { input, width, height })
    }

    /// The next picture; `None` at the end, also when the last picture is cut short.
    ///
    /// # Errors
    /// `InvalidData` when no frame begins here; else what reading gave.
    pub fn next_frame(&mut self) -> io::Result<Option<Shown>> {
        let Some(line) = line(&mut self.input)? else { return Ok(None) };
        let mut words = line.split(' ');
        if words.next() != Some("FRAME") {
            return Err(bad(format!("`{}` is no frame", line.chars().take(20).collect::<String>())));
        }
        let at_us = words.find_map(|word| word.strip_prefix("Xt=")?.parse().ok());
        let mut data = vec![0; I420::bytes(self.width, self.height)];
        match self.input.read_exact(&mut data) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let picture = I420::from_packed(self.width, self.height, data).map_err(|e| bad(e.to_string()))?;
        Ok(Some(Shown { picture, at_us }))
    }
}

fn is_420(colours: &str) -> bool {
    matches!(colours, "420" | "420jpeg" | "420mpeg2" | "420paldv")
}

fn line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    io::Read::take(&mut *input, LONGEST_LINE).read_until(b'\n', &mut bytes)?;
    match bytes.pop() {
        None => Ok(None),
        Some(b'\n') => String::from_utf8(bytes).map(Some).map_err(|_| bad("a line is no text")),
        Some(_) if bytes.len() + 1 == LONGEST_LINE as usize => Err(bad("a line has no end")),
        Some(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_tell_when_they_were_shown() {
        let mut data = b"YUV4MPEG2 W2 H2 F30:1 C420jpeg\nFRAME Xt=1700000000000001\n".to_vec();
        data.extend([1, 2, 3, 4, 5, 6]);
        data.extend(b"FRAME\n");
        data.extend([9; 6]);
        data.extend(b"FRAME\n\x01\x02");
        let mut reader = Reader::new(&data[..]).unwrap();
        let first = reader.next_frame().unwrap().unwrap();
        assert_eq!(
            (first.at_us, first.picture.packed()),
            (Some(1_700_000_000_000_001), &[1, 2, 3, 4, 5, 6][..])
        );
        assert_eq!(reader.next_frame().unwrap().unwrap().at_us, None);
        assert!(reader.next_frame().unwrap().is_none(), "the last picture is cut short");
    }

    #[test]
    fn what_is_no_y4m_is_refused() {
        for text in ["", "RIFF\n", "YUV4MPEG2 W0 H2\n", "YUV4MPEG2 W99999 H2\n", "YUV4MPEG2 W2 H2 C444\n"] {
            assert!(Reader::new(text.as_bytes()).is_err(), "{text}");
        }
        let mut reader = Reader::new(&b"YUV4MPEG2 W2 H2\nFRIEND\n"[..]).unwrap();
        assert!(reader.next_frame().is_err());
    }
}
