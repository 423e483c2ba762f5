//! How fast a connection is read: whoever sends more than any call needs is made to wait, whatever it is that they
//! send. So frames without end cost no more than the processor time of so many bytes.

use signaling::limits::Rate;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// In bytes: who comes to eleven people says some 130 KiB at once, eleven offers and twenty candidates each.
pub(crate) const BYTES: Rate = Rate { burst: 256.0 * 1024.0, refill: 256.0 * 1024.0 };
/// Read again only when there is something to gain by it.
const WORTH: f64 = 16.0 * 1024.0;

/// A connection that is read no faster than at a rate.
pub(crate) struct Throttled<T> {
    inner: T,
    rate: Rate,
    left: f64,
    filled: Instant,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Throttled<T> {
    pub(crate) fn new(inner: T, rate: Rate) -> Self {
        Self { inner, rate, left: rate.burst, filled: Instant::now(), waiting: None }
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let gained = (now - self.filled).as_secs_f64() * self.rate.refill;
        self.left = (self.left + gained).min(self.rate.burst);
        self.filled = now;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Throttled<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.fill();
        self.left -= (buf.filled().len() - before) as f64;
        if self.left < 0.0 {
            let wait = (WORTH - self.left) / self.rate.refill;
            self.waiting = Some(Box::pin(sleep(Duration::from_secs_f64(wait))));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Throttled<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test(start_paused = true)]
    async fn a_burst_comes_at_once_and_more_at_the_rate() {
        let mut slow = Throttled::new(tokio::io::repeat(0), Rate { burst: 100_000.0, refill: 50_000.0 });
        let began = Instant::now();
        let mut buffer = vec![0; 100_000];
        slow.read_exact(&mut buffer).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..10 {
            slow.read_exact(&mut buffer).await.unwrap();
        }
        let took = began.elapsed().as_secs_f64();
        assert!((18.0..=21.0).contains(&took), "{took}");
    }
}
