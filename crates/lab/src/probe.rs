//! The simplest measures of a link: datagrams that come back, and a download.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Sends each datagram back to where it came from, for ever.
///
/// # Errors
/// What the socket says.
pub fn echo(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let (bytes, sender) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..bytes], sender)?;
    }
}

/// Sends `count` datagrams to an [`echo`], one after another; how long each took there and back, `None` for
/// those that were not back within `patience`.
///
/// # Errors
/// What the socket says.
pub fn round_trips(to: SocketAddr, count: u64, patience: Duration) -> io::Result<Vec<Option<Duration>>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    (0..count).map(|number| round_trip(&socket, number, patience)).collect()
}

fn round_trip(socket: &UdpSocket, number: u64, patience: Duration) -> io::Result<Option<Duration>> {
    let start = Instant::now();
    socket.send(&number.to_be_bytes())?;
    loop {
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let mut answer = [0; 8];
        match socket.recv(&mut answer) {
            // An earlier one that came too late is not this one.
            Ok(_) if u64::from_be_bytes(answer) == number => return Ok(Some(start.elapsed())),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives whoever connects as many bytes as they take, one after another, for ever.
///
/// # Errors
/// What the socket says.
pub fn pour(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept()?;
        // They hang up when they have enough.
        while stream.write_all(&[0x5a; 16_384]).is_ok() {}
    }
}

/// Downloads from a [`pour`] for so long; how many bytes came.
///
/// # Errors
/// What the socket says.
pub fn download(from: SocketAddr, lasts: Duration) -> io::Result<u64> {
    let start = Instant::now();
    let mut stream = TcpStream::connect_timeout(&from, Duration::from_secs(10))?;
    let (mut buffer, mut bytes) = ([0; 16_384], 0);
    while let Some(left) = lasts.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes += read as u64,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_takes_as_long_as_it_shall() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        // It waits for the next to come until the test's process ends.
        drop(std::thread::Builder::new().name("pour".into()).spawn(move || pour(&listener)).unwrap());
        let start = Instant::now();
        assert!(download(at, Duration::from_millis(200)).unwrap() > 100_000);
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert!(download(at, Duration::from_millis(50)).unwrap() > 10_000, "the next one is served too");
    }
}
