//! Listening on addresses.

use socket2::{Domain, Protocol, Socket, Type};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error(
        "the port {} is taken: stop what listens there, or choose another with --listen {}",
        .0.port(), with_port(.0)
    )]
    Taken(SocketAddr),
    /// Ports below 1024, mostly.
    #[error(
        "listening on {0} is not permitted: choose a port above 1023, or let systemd give the right \
         (AmbientCapabilities=CAP_NET_BIND_SERVICE)"
    )]
    Forbidden(SocketAddr),
    /// All else, an address that is not this machine's for one.
    #[error("cannot listen on {address}: {error}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// Plain HTTP on the internet.
    #[error("{0}")]
    Plain(String),
    /// STUN and TURN cannot start.
    #[error(transparent)]
    Turn(#[from] crate::turn::TurnError),
    /// Certificates that cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
}

fn with_port(address: &SocketAddr) -> String {
    let any = SocketAddr::new(address.ip(), 0).to_string();
    format!("{}PORT", any.trim_end_matches('0'))
}

/// Listens on each. An IPv6 wildcard takes IPv4 too, unless that port has an IPv4 address of its own here.
pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let also_v4 = |port: u16| addresses.iter().any(|a| a.is_ipv4() && a.port() == port);
    addresses
        .iter()
        .map(|address| {
            one(*address, also_v4(address.port())).map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrInUse => BindError::Taken(*address),
                std::io::ErrorKind::PermissionDenied => BindError::Forbidden(*address),
                _ => BindError::Other { address: *address, error },
            })
        })
        .collect()
}

fn one(address: SocketAddr, v6_only: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // Elsewhere than on Unix this would let others take the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
