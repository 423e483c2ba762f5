//! Commands on standard input, one JSON object a line.

use call::Command;
use std::io::{self, BufRead, Read as _};
use tokio::sync::mpsc;

/// The longest line taken, in bytes. Chat is the longest command, and far below it.
pub const MAX_LINE: usize = 64 * 1024;

/// What a line held: a command, or what is wrong with it.
pub type Line = Result<Command, String>;

/// Reads standard input on a thread of its own until its end.
///
/// The thread is not joined: nothing can interrupt a read of standard input, so it ends with the process.
/// overflow: 16 lines wait, further ones stay in the pipe.
pub fn from_stdin() -> io::Result<mpsc::Receiver<Line>> {
    let (lines, receiver) = mpsc::channel(16);
    let read = move || {
        let mut input = io::stdin().lock();
        loop {
            match next_line(&mut input) {
                Ok(Some(line)) => {
                    if lines.blocking_send(line).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!("standard input: {error}");
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("snug stdin".into()).spawn(read)?;
    Ok(receiver)
}

/// The next command; `None` at the end. Empty lines are skipped, long ones cost no memory.
pub fn next_line(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    loop {
        let mut bytes = Vec::new();
        let limit = MAX_LINE as u64 + 1;
        if input.by_ref().take(limit).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        if bytes.len() > MAX_LINE && bytes.last() != Some(&b'\n') {
            skip_line(input)?;
            return Ok(Some(Err(format!(
                "a command is at most {MAX_LINE} bytes long: this line was ignored"
            ))));
        }
        if !bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(parse(&bytes)));
        }
    }
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (used, done) = end.map_or((buffer.len(), buffer.is_empty()), |at| (at + 1, true));
        input.consume(used);
        if done {
            return Ok(());
        }
    }
}

fn parse(bytes: &[u8]) -> Line {
    serde_json::from_slice(bytes)
        .map_err(|error| format!(r#"not a command ({error}): write one like {{"cmd":"mute","on":true}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut text: &[u8]) -> Vec<Line> {
        std::iter::from_fn(|| next_line(&mut text).unwrap()).collect()
    }

    #[test]
    fn each_line_is_a_command_and_the_last_needs_no_end() {
        let got = lines(b"{\"cmd\":\"mute\",\"on\":true}\n\n  \n{\"cmd\":\"leave\"}");
        assert_eq!(got, [Ok(Command::Mute { on: true }), Ok(Command::Leave)]);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn a_bad_line_is_told_and_the_next_one_counts() {
        for bad in [&b"mute"[..], b"{\"cmd\":\"fly\"}", b"{\"cmd\":\"mute\"}", b"[]", b"\xff\xfe{}", b"\0"] {
            let got = lines(&[bad, b"\n{\"cmd\":\"leave\"}\n"].concat());
            assert!(got[0].as_ref().is_err_and(|text| text.contains("\"cmd\"")), "{got:?}");
            assert_eq!(got[1..], [Ok(Command::Leave)]);
        }
    }

    #[test]
    fn a_line_without_end_costs_no_memory() {
        let long = vec![b'x'; 5 * MAX_LINE];
        let got = lines(&[&long[..], b"\n{\"cmd\":\"leave\"}"].concat());
        assert!(got[0].as_ref().is_err_and(|text| text.contains("65536")), "{got:?}");
        assert_eq!(got[1..], [Ok(Command::Leave)]);
        assert_eq!(lines(&long).len(), 1);
        let mut fits = vec![b' '; MAX_LINE - 15];
        fits.extend(b"{\"cmd\":\"leave\"}\n");
        assert_eq!(lines(&fits), [Ok(Command::Leave)]);
    }
}
