//! The window: it draws the engine's snapshot, and says what the user wants as commands.
//!
//! [`View`] draws and decides nothing: what is clicked comes out of [`View::ui`] as commands, and one place
//! ([`shell`]) carries them out. It waits on nothing, and paints only when something has changed: the
//! snapshot, a picture, the pointer or the keyboard.

pub mod controls;
mod door;
pub mod errands;
pub mod form;
pub mod icons;
mod lobby;
pub mod mark;
pub mod overlay;
pub mod plot;
mod privacy;
pub mod problems;
mod room;
pub mod shell;
pub mod side;
pub mod sound;
pub mod stage;
pub mod theme;
pub mod tile;
pub mod video;

use crate::settings::Settings;
use call::{Command, Phase, Snapshot};
use eframe::egui::{Context, Key, Ui, ViewportCommand};
use form::Form;
use media::{Frame, Slot};
use side::{Panel, Side};
use std::collections::HashMap;
use video::{Gpu, Picture};

/// What the window keeps between two frames, beside the engine's snapshot.
pub struct View {
    /// The fields of the lobby.
    pub form: Form,
    form_error: Option<String>,
    /// The key of push-to-talk.
    pub talk_key: Key,
    panel: Panel,
    /// The link that was copied last.
    copied: Option<String>,
    fullscreen: bool,
    /// Whether the overlay of figures is shown.
    statistics: bool,
    gpu: Option<Gpu>,
    me: Picture,
    others: HashMap<String, Picture>,
}

impl View {
    /// Without a `gpu`, pictures are drawn as RGBA.
    pub fn new(settings: &Settings, gpu: Option<Gpu>) -> Self {
        Self {
            form: Form::remembered(settings),
            form_error: None,
            talk_key: sound::talk_key(&settings.sound.talk_key),
            panel: Panel::default(),
            copied: None,
            fullscreen: false,
            statistics: false,
            me: Picture::new(gpu.as_ref()),
            gpu,
            others: HashMap::new(),
        }
    }

    /// Draws all; returns what the user asked for, in order.
    pub fn ui(&mut self, ui: &mut Ui, snapshot: &Snapshot) -> Vec<Command> {
        let mut out = Vec::new();
        sound::talk(ui, &snapshot.me.sound, self.talk_key, &mut out);
        self.take_pictures(ui.ctx(), snapshot);
        ui.painter().rect_filled(ui.max_rect(), 0.0, theme::GROUND);
        match &snapshot.phase {
            Phase::Lobby | Phase::Joining { .. } | Phase::Waiting { .. } => {
                self.panel.side = Side::Closed;
                if self.fullscreen {
                    self.set_fullscreen(ui.ctx(), false);
                }
                lobby::show(self, ui, snapshot, &mut out);
            }
            Phase::InRoom { .. } | Phase::Reconnecting { .. } => {
                self.room_keys(ui, &mut out);
                room::show(self, ui, snapshot, &mut out);
            }
        }
        own_keys(ui, snapshot, &mut out);
        out
    }

    /// Takes the newest frames, and has the next ones wake the window.
    fn take_pictures(&mut self, ctx: &Context, snapshot: &Snapshot) {
        let alive = |id: &String| snapshot.participants.iter().any(|them| them.id.0 == *id);
        self.others.retain(|id, _| alive(id));
        let mut others_move = false;
        for them in &snapshot.participants {
            let gpu = self.gpu.as_ref();
            let picture = self.others.entry(them.id.0.clone()).or_insert_with(|| Picture::new(gpu));
            picture.update(&them.view);
            wake_on(&them.view, ctx, true);
            others_move |= !them.camera_off
                && picture.size().is_some()
                && them.connection == call::Connection::Connected;
        }
        self.me.update(&snapshot.me.view);
        // Two pictures at 30 a second each would wake the window 60 times; oneself can wait for the others.
        wake_on(&snapshot.me.view, ctx, !others_move);
    }

    fn room_keys(&mut self, ui: &Ui, out: &mut Vec<Command>) {
        if controls::pressed(ui, Key::C) {
            self.panel.toggle(Side::Chat);
        }
        if controls::pressed(ui, Key::D) {
            self.panel.toggle(Side::Devices);
        }
        if controls::pressed(ui, Key::L) {
            self.panel.toggle(Side::Door);
        }
        if controls::pressed(ui, Key::S) {
            self.statistics = !self.statistics;
        }
        if controls::pressed(ui, Key::F) {
            self.set_fullscreen(ui.ctx(), !self.fullscreen);
        }
        if self.fullscreen && controls::pressed(ui, Key::Escape) {
            self.set_fullscreen(ui.ctx(), false);
        }
        if controls::pressed_with_ctrl(ui, Key::W) {
            out.push(Command::Leave);
        }
    }

    fn set_fullscreen(&mut self, ctx: &Context, on: bool) {
        self.fullscreen = on;
        ctx.send_viewport_cmd(ViewportCommand::Fullscreen(on));
    }
}

/// The keys that work before the call and in it.
fn own_keys(ui: &Ui, snapshot: &Snapshot, out: &mut Vec<Command>) {
    if controls::pressed(ui, Key::M) {
        out.push(Command::Mute { on: !snapshot.me.sound.mute_button });
    }
    if controls::pressed(ui, Key::V) {
        out.push(Command::CameraOff { on: !snapshot.me.camera_off });
    }
}

/// Set anew each time: the engine may have put another slot in the same place.
fn wake_on(slot: &Slot<Frame>, ctx: &Context, on: bool) {
    let ctx = ctx.clone();
    slot.set_waker(on.then(|| Box::new(move || ctx.request_repaint()) as media::slot::Waker));
}
