//! The window on a stage: a view over a snapshot made by hand, driven by its labels.
#![allow(unreachable_pub, reason = "shared by test files")]

use app::settings::Settings;
use app::ui::{View, theme};
use call::{Command, Connection, Devices, Participant, Phase, Snapshot};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use media::DeviceInfo;
use std::sync::Arc;

/// The view, what it draws, and what came out of it.
pub struct Stage {
    pub view: View,
    pub snapshot: Snapshot,
    pub said: Vec<Command>,
}

impl Stage {
    pub fn said(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.said)
    }
}

pub fn window(snapshot: Snapshot) -> Harness<'static, Stage> {
    sized(snapshot, 1120.0, 680.0)
}

pub fn sized(snapshot: Snapshot, width: f32, height: f32) -> Harness<'static, Stage> {
    let settings = Settings { name: "Ann".into(), room: "tea".into(), ..Settings::default() };
    let stage = Stage { view: View::new(&settings, None), snapshot, said: Vec::new() };
    let draw = |ui: &mut eframe::egui::Ui, stage: &mut Stage| {
        let said = stage.view.ui(ui, &stage.snapshot);
        stage.said.extend(said);
    };
    let mut harness = Harness::builder()
        .with_size([width, height])
        .with_context_setup(theme::apply)
        .build_ui_state(draw, stage);
    harness.run();
    harness
}

pub fn lobby() -> Snapshot {
    let device = |id: &str, name: &str| DeviceInfo { id: id.into(), name: name.into(), default: false };
    let devices = Devices {
        cameras: vec![device("/dev/video0", "Front camera"), device("/dev/video2", "Desk camera")],
        mics: vec![device("mic-1", "Headset")],
        speakers: Vec::new(),
    };
    let mut snapshot = Snapshot { devices, ..Snapshot::default() };
    (snapshot.me.camera_live, snapshot.me.mic_live) = (true, true);
    snapshot
}

pub fn participant(id: &str, name: &str) -> Participant {
    Participant {
        id: serde_json::from_value(id.into()).unwrap(),
        name: name.into(),
        muted: false,
        camera_off: false,
        away: false,
        connection: Connection::Connected,
        view: media::Slot::default(),
        stats: None,
        quality: None,
        reason: None,
        lost_for: None,
        history: Arc::default(),
    }
}

pub fn room(participants: Vec<Participant>) -> Snapshot {
    let phase = Phase::InRoom { room: "tea".into(), link: "http://10.0.0.5:8787/tea".into() };
    Snapshot { phase, participants, ..lobby() }
}

pub fn click(window: &mut Harness<'_, Stage>, label: &str) -> Vec<Command> {
    window.get_by_label(label).click();
    window.run();
    window.state_mut().said()
}
