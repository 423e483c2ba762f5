//! The driver of the machine: one task on one thread of its own, which feeds it inputs, carries out its
//! effects through the wiring, and publishes the snapshot.

use crate::command::Command;
use crate::event::Event;
use crate::machine::{Effect, Input, Machine};
use crate::snapshot::{Me, Snapshot, Sound};
use crate::wiring::{self, Wiring};
use crate::{Config, Display};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

/// How often time alone is an input, and the level meter moves.
const TICK: Duration = Duration::from_millis(100);
/// How often the system is asked for its devices while a window shows them.
const DEVICES: Duration = Duration::from_secs(4);
/// How often the system is asked for its addresses.
const ADDRESSES: Duration = Duration::from_millis(250);
/// A level that differs less than this is not worth drawing again.
const LEVEL_STEP: f32 = 0.01;

pub(crate) struct Runner {
    machine: Machine,
    wiring: Wiring,
    snapshot: watch::Sender<Snapshot>,
    /// Whether somebody looks: devices are listed and the level is shown for them alone.
    window: bool,
}

/// What the engine listens to.
pub(crate) struct Doors {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) snapshot: watch::Sender<Snapshot>,
}

/// The state before anything happened.
pub(crate) fn first_snapshot(config: &Config) -> Snapshot {
    Snapshot {
        me: Me {
            muted: config.starts_muted(),
            camera_off: config.camera_off,
            camera: config.camera.clone(),
            mic: config.mic.clone(),
            speaker: config.speaker.clone(),
            sound: sound(config),
            relay_only: config.relay_only,
            ..Me::default()
        },
        ..Snapshot::default()
    }
}

fn sound(config: &Config) -> Sound {
    Sound {
        mute_button: config.muted,
        push_to_talk: config.push_to_talk,
        chimes: config.chimes,
        processing: config.processing,
        ..Sound::default()
    }
}

/// Runs until the last [`crate::Call`] handle is gone.
pub(crate) async fn run(config: Config, doors: Doors) {
    let Doors { mut commands, events, snapshot } = doors;
    // overflow: connections wait, threads drop and log (see `wiring::hand_in`).
    let (inputs, mut inbox) = mpsc::channel(1024);
    let first = snapshot.borrow().clone();
    let wiring = Wiring::new(&config, &first.me.view, inputs.clone(), events);
    let window = config.display == Display::Window;
    let machine = Machine::new(first, config.volumes.clone());
    let mut runner = Runner { machine, wiring, snapshot, window };
    let (mut tick, mut stats, mut devices) = (every(TICK), every(config.stats_every), every(DEVICES));
    let (mut look, mut network) = (every(ADDRESSES), wiring::network());
    loop {
        let input = tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => Input::Command(command),
                None => break,
            },
            Some(input) = inbox.recv() => input,
            () = runner.wiring.paths_changed() => {
                runner.wiring.steer();
                continue;
            }
            _ = tick.tick() => {
                runner.wiring.try_picture();
                runner.level().await;
                Input::Tick
            }
            _ = stats.tick() => Input::Stats(runner.wiring.stats().await),
            _ = look.tick() => {
                let Some(change) = network.becomes(wiring::network()) else { continue };
                tracing::info!(?network, ?change, "the addresses of this computer changed");
                Input::AddressesChanged(change)
            }
            _ = devices.tick(), if runner.window => {
                list_devices(inputs.clone());
                continue;
            }
        };
        runner.feed(input).await;
    }
    runner.wiring.close().await;
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// Off this thread: sound servers take their time.
fn list_devices(inputs: mpsc::Sender<Input>) {
    tokio::task::spawn_blocking(move || {
        // The engine may be gone by now; then nobody needs the list.
        let _ = inputs.blocking_send(Input::Devices(wiring::list_devices()));
    });
}

impl Runner {
    async fn feed(&mut self, input: Input) {
        let quiet = matches!(input, Input::Tick | Input::KeyframeRequested);
        let effects: Vec<Effect> = self.machine.on(input, Instant::now());
        let publish = !(quiet && effects.is_empty());
        for effect in effects {
            self.wiring.run(effect).await;
        }
        if publish {
            self.publish();
        }
    }

    /// Published only when it differs, so that the window is not painted for nothing.
    fn publish(&self) {
        self.snapshot.send_if_modified(|shown| {
            let changed = !shown.looks_like(self.machine.snapshot());
            if changed {
                shown.clone_from(self.machine.snapshot());
            }
            changed
        });
    }

    async fn level(&mut self) {
        if !self.window {
            return;
        }
        let level = self.wiring.mic_level();
        if (level - self.machine.snapshot().me.sound.level).abs() >= LEVEL_STEP {
            self.feed(Input::MicLevel(level)).await;
        }
    }
}
