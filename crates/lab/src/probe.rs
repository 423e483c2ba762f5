//! The simplest measure of a link: datagrams that come back.

use std::io;
use std::net::{SocketAddr, UdpSocket};
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
