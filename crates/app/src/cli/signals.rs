//! SIGINT and SIGTERM (elsewhere: Ctrl+C), as a channel.

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

/// One message for each signal; needs a tokio runtime, whose end is its end.
///
/// overflow: a signal that finds 4 unread is dropped, they all mean the same.
pub fn channel() -> Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(4);
    let mut signals = Signals::new().context("cannot listen for SIGINT and SIGTERM")?;
    tokio::spawn(async move {
        loop {
            signals.next().await;
            if sender.is_closed() {
                return;
            }
            // Full means that the same wish is waiting already.
            let _ = sender.try_send(());
        }
    });
    Ok(receiver)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
