//! A flag that says that the other side needs a whole picture, raised from anywhere, taken by the driver.

use tokio::sync::Notify;

/// Raised any number of times, taken once.
#[derive(Debug, Default)]
pub(crate) struct KeyframeWanted(Notify);

impl KeyframeWanted {
    /// Never blocks.
    pub(crate) fn raise(&self) {
        self.0.notify_one();
    }

    /// Waits until it was raised; cancel safe.
    pub(crate) async fn taken(&self) {
        self.0.notified().await;
    }

    /// Whether it was raised and not taken yet; takes it.
    #[cfg(test)]
    pub(crate) fn is_raised(&self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(self.taken()).poll(&mut context).is_ready()
    }
}
