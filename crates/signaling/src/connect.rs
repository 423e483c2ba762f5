//! Opening the WebSocket to a server, and saying in plain words what went wrong with it.

use crate::Server;
use crate::message::MAX_SERVER_MESSAGE;
use crate::session::Trouble;
use crate::trust::tls_config;
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

pub(crate) type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A host with several addresses gets this long for each but the last.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_secs(2);

/// TCP, TLS where asked for, upgrade. The session sets the deadline.
pub(crate) async fn open(server: Server) -> Result<WebSocket, Trouble> {
    let stream = dial(&server).await?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY cannot be set");
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(MAX_SERVER_MESSAGE))
        .max_frame_size(Some(MAX_SERVER_MESSAGE));
    let tls = match server.is_secure().then(tls_config).transpose() {
        Ok(tls) => tls.map(Connector::Rustls),
        Err(error) => return Err(not_opened(&server, &Error::Tls(error.into()))),
    };
    match client_async_tls_with_config(server.ws_url(), stream, Some(config), tls).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(not_opened(&server, &error)),
    }
}

async fn dial(server: &Server) -> Result<TcpStream, Trouble> {
    let host = server.host();
    let addresses: Vec<_> = match lookup_host((host, server.port())).await {
        Ok(found) => found.collect(),
        Err(error) => {
            tracing::debug!(%error, host, "lookup");
            return Err(Trouble {
                message: format!("no server is called {host}: check the address and the network connection"),
                permanent: true,
            });
        }
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (left, address) in (0..addresses.len()).rev().zip(&addresses) {
        let dialling = TcpStream::connect(address);
        let result = if left == 0 {
            dialling.await
        } else {
            tokio::time::timeout(NEXT_ADDRESS_AFTER, dialling)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        };
        match result {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    let message = match last.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing answers at {server}: check the address, and that the server is running")
        }
        io::ErrorKind::TimedOut => {
            format!("{server} does not answer: check the address and the network connection")
        }
        _ => format!("{server} cannot be reached ({last}): check the network connection"),
    };
    Err(Trouble { message, permanent: false })
}

fn not_opened(server: &Server, error: &Error) -> Trouble {
    match error {
        Error::Http(response) if response.status().as_u16() == 403 => Trouble {
            message: format!("{server} refuses this client (HTTP 403): ask who runs it"),
            permanent: true,
        },
        Error::Http(response) if response.status().is_server_error() => Trouble {
            message: format!("the server at {server} is not well (HTTP {}): try later", response.status()),
            permanent: false,
        },
        Error::Http(response) => Trouble {
            message: format!("{server} is not a Snug server (HTTP {}): check the address", response.status()),
            permanent: true,
        },
        Error::Io(error) if is_tls(error) => Trouble {
            message: format!(
                "no secure connection to {server} ({error}): check the address; a server without a \
                 certificate has one that begins with http://"
            ),
            permanent: true,
        },
        Error::Tls(error) => {
            Trouble { message: format!("no secure connection to {server} ({error})"), permanent: true }
        }
        Error::Io(error) => Trouble {
            message: format!(
                "{server} broke the connection off ({error}): check the address, and whether it is https or http"
            ),
            permanent: false,
        },
        _ => Trouble {
            message: format!(
                "{server} is not a Snug server ({error}): check the address, and whether it is https or http"
            ),
            permanent: true,
        },
    }
}

fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// An open connection that ended without a close.
pub(crate) fn broken(error: &Error) -> Trouble {
    Trouble { message: format!("the connection to the server broke ({error})"), permanent: false }
}

/// An open connection that the server closed.
pub(crate) fn closed(frame: Option<&CloseFrame>) -> Trouble {
    let message = match frame.map(|f| u16::from(f.code)) {
        Some(1001 | 1012) => "the server is stopping or starting again".into(),
        Some(code) => format!("the server closed the connection (code {code})"),
        None => "the server closed the connection".into(),
    };
    Trouble { message, permanent: false }
}
