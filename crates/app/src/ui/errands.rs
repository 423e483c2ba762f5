//! What the window has done for it, because it may take time: one thread with a tokio runtime that starts
//! the server inside, writes settings and statistics, reads events, listens for signals, and wakes the
//! window when the snapshot changed.

use crate::cli::signals;
use crate::host::{Host, Links};
use crate::settings::{Settings, SettingsFile};
use crate::stats::StatsFile;
use anyhow::{Context as _, Result};
use call::{Event, Snapshot};
use eframe::egui::{self, ViewportCommand};
use std::path::PathBuf;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep_until};

/// Asked of the thread.
#[derive(Debug)]
pub enum Order {
    /// Start the server inside, if it does not run yet.
    Host,
    /// Write the settings.
    Save(Box<Settings>),
}

/// Told to the window, which is woken for it.
#[derive(Debug)]
pub enum News {
    /// The server inside runs.
    Host(Links),
    /// The server inside could not be started.
    NoHost(String),
    /// Something else went wrong; one line that says what to do.
    Trouble(String),
}

/// What the thread is given at its start.
pub struct Kit {
    /// Of the window.
    pub ctx: egui::Context,
    /// Of the engine.
    pub snapshot: watch::Receiver<Snapshot>,
    /// Of the engine.
    pub events: mpsc::Receiver<Event>,
    /// Where settings are kept.
    pub file: Option<SettingsFile>,
    /// `--stats`.
    pub stats: Option<PathBuf>,
    /// `--for`.
    pub time: Option<Duration>,
}

/// The handle; dropping it ends the thread, and the server inside with it.
pub struct Errands {
    /// `None` only while dropping.
    orders: Option<mpsc::Sender<Order>>,
    news: std_mpsc::Receiver<News>,
    thread: Option<JoinHandle<()>>,
}

impl Errands {
    /// Starts the thread.
    ///
    /// overflow: an order that finds 16 waiting is refused; news that find 16 unread wait in the thread.
    pub fn start(kit: Kit) -> Result<Self> {
        let (orders, order_receiver) = mpsc::channel(16);
        let (news_sender, news) = std_mpsc::sync_channel(16);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(Errand::new(kit, news_sender).run(order_receiver));
            runtime.shutdown_timeout(Duration::from_secs(1));
        };
        let thread = std::thread::Builder::new().name("snug errands".into()).spawn(run)?;
        Ok(Self { orders: Some(orders), news, thread: Some(thread) })
    }

    /// Hands an order over; never waits. `false`: too many wait already.
    pub fn order(&self, order: Order) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.try_send(order).is_ok())
    }

    /// The next news, if there are any.
    pub fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

impl Drop for Errands {
    fn drop(&mut self) {
        self.orders = None;
        // Unread news would keep the thread from ending.
        while self.news.try_recv().is_ok() {}
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the errands thread panicked");
        }
    }
}

struct Errand {
    kit: Kit,
    news: std_mpsc::SyncSender<News>,
    host: Option<Host>,
    stats: Option<StatsFile>,
    time_up: Option<Instant>,
}

impl Errand {
    fn new(kit: Kit, news: std_mpsc::SyncSender<News>) -> Self {
        let time_up = kit.time.and_then(|time| Instant::now().checked_add(time));
        Self { kit, news, host: None, stats: None, time_up }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        match self.kit.stats.as_deref().map(StatsFile::create).transpose() {
            Ok(stats) => self.stats = stats,
            Err(error) => self.tell(News::Trouble(format!("{error:#}"))),
        }
        let mut signals = match signals::channel() {
            Ok(signals) => Some(signals),
            Err(error) => {
                tracing::warn!("{error:#}");
                None
            }
        };
        let mut second = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.carry_out(order).await,
                    None => return,
                },
                Some(event) = self.kit.events.recv() => tracing::debug!(?event),
                Ok(()) = self.kit.snapshot.changed() => {
                    self.kit.snapshot.mark_unchanged();
                    self.kit.ctx.request_repaint();
                }
                () = next_signal(&mut signals) => self.close_window(),
                () = at(self.time_up) => {
                    self.time_up = None;
                    self.close_window();
                }
                _ = second.tick(), if self.stats.is_some() => self.add_stats(),
            }
        }
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Host => {
                if self.host.is_none() {
                    match Host::start().await {
                        Ok(host) => self.host = Some(host),
                        Err(error) => return self.tell(News::NoHost(format!("{error:#}"))),
                    }
                }
                if let Some(links) = self.host.as_ref().map(|host| host.links().clone()) {
                    self.tell(News::Host(links));
                }
            }
            Order::Save(settings) => {
                let file = self.kit.file.as_ref().context("there is no home folder to keep settings in");
                if let Err(error) = file.and_then(|file| file.save(&settings)) {
                    self.tell(News::Trouble(format!("{error:#}")));
                }
            }
        }
    }

    fn add_stats(&mut self) {
        let snapshot = self.kit.snapshot.borrow().clone();
        let added = self.stats.as_mut().map_or(Ok(()), |file| file.add(&snapshot, SystemTime::now()));
        if let Err(error) = added {
            self.stats = None;
            self.tell(News::Trouble(format!("{error:#}")));
        }
    }

    fn tell(&self, news: News) {
        // Full: the window has not been drawn for long, and the same is in the log.
        if let Err(error) = self.news.try_send(news) {
            tracing::warn!("the window did not hear: {error}");
        }
        self.kit.ctx.request_repaint();
    }

    fn close_window(&self) {
        self.kit.ctx.send_viewport_cmd(ViewportCommand::Close);
        self.kit.ctx.request_repaint();
    }
}

async fn next_signal(signals: &mut Option<mpsc::Receiver<()>>) {
    let got = match signals {
        Some(signals) => signals.recv().await,
        None => None,
    };
    if got.is_none() {
        std::future::pending::<()>().await;
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_by_the_thread_and_its_end_waits_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile::at(folder.path().join("settings.json"));
        let (_snapshots, snapshot) = watch::channel(Snapshot::default());
        let (_events, events) = mpsc::channel(1);
        let ctx = egui::Context::default();
        let kit = Kit { ctx, snapshot, events, file: Some(file.clone()), stats: None, time: None };
        let errands = Errands::start(kit).unwrap();
        let settings = Settings { name: "Ann".into(), ..Settings::default() };
        assert!(errands.order(Order::Save(Box::new(settings.clone()))));
        drop(errands);
        assert_eq!(file.load(), settings);
    }
}
