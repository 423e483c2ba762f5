//! Tells systemd how the service does (sd_notify(3)), where systemd started it with `Type=notify`.

/// Says `state`, `READY=1` for one. Nothing where nobody listens.
///
/// # Errors
/// The socket that systemd named cannot be written to.
#[cfg(target_os = "linux")]
pub fn notify(state: &str) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// Nothing: there is no systemd.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn notify(_: &str) -> std::io::Result<()> {
    Ok(())
}
