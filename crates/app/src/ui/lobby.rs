//! Before the call: one's own picture, the devices, name, room, server, and the button to join.

use super::controls::{self, Look};
use super::icons::Icon;
use super::theme;
use super::tile::{self, Tile};
use super::video;
use super::{View, privacy, problems, sound};
use call::{About, Command, Phase, Snapshot};
use eframe::egui::{
    Align, CollapsingHeader, Key, Layout, Rect, RichText, ScrollArea, Sense, Ui, UiBuilder, pos2, vec2,
};

/// From this width on, picture and form stand side by side.
const WIDE: f32 = 740.0;
const FORM_WIDTH: f32 = 320.0;

/// Draws the lobby; `joining` while the server has not answered.
pub(super) fn show(view: &mut View, ui: &mut Ui, snapshot: &Snapshot, out: &mut Vec<Command>) {
    let space = ui.max_rect().shrink(if ui.max_rect().width() < WIDE { 12.0 } else { 28.0 });
    if space.width() < WIDE - 24.0 {
        let inside = &mut ui.new_child(UiBuilder::new().max_rect(space));
        ScrollArea::vertical().auto_shrink(false).show(inside, |ui| {
            let width = ui.available_width();
            let (rect, _) = ui.allocate_exact_size(
                vec2(width, (width * 9.0 / 16.0).min(space.height() * 0.5)),
                Sense::hover(),
            );
            preview(view, ui, rect, snapshot, out);
            ui.add_space(theme::GAP);
            warnings(ui, snapshot, out);
            form(view, ui, snapshot, out);
        });
        return;
    }
    let split = space.right() - FORM_WIDTH - 2.0 * 20.0;
    let left = Rect::from_min_max(space.min, pos2(split - 24.0, space.bottom()));
    preview(view, ui, left, snapshot, out);
    let notices = Rect::from_center_size(left.center_top(), vec2(left.width().min(620.0), 0.0));
    let above = &mut ui.new_child(UiBuilder::new().max_rect(notices.with_max_y(left.bottom())));
    warnings(above, snapshot, out);
    let right = Rect::from_min_max(pos2(split, space.top()), space.max);
    let side = &mut ui.new_child(UiBuilder::new().max_rect(right));
    ScrollArea::vertical().auto_shrink(false).show(side, |ui| {
        // Centred from top to bottom by the height it had last time.
        let id = ui.scope_id().with("form height");
        let height = ui.data(|data| data.get_temp::<f32>(id)).unwrap_or(560.0);
        ui.add_space(((right.height() - height) / 2.0).max(0.0));
        let card = theme::card().inner_margin(20).show(ui, |ui| form(view, ui, snapshot, out));
        ui.data_mut(|data| data.insert_temp(id, card.response.rect.height()));
    });
}

/// Problems, and a microphone that gives nothing. The device menus are in sight.
fn warnings(ui: &mut Ui, snapshot: &Snapshot, out: &mut Vec<Command>) {
    sound::silent_mic(ui, &snapshot.me, true);
    problems::show(ui, &snapshot.problems, true, out);
}

/// Oneself, large and mirrored, with the buttons on the picture.
fn preview(view: &mut View, ui: &mut Ui, space: Rect, snapshot: &Snapshot, out: &mut Vec<Command>) {
    let me = &snapshot.me;
    let aspect = view.me.size().map_or(16.0 / 9.0, |(width, height)| width as f32 / height as f32);
    let rect = video::fit(space, aspect);
    let name = if view.form.name.trim().is_empty() { "You" } else { view.form.name.trim() };
    let off = me.camera_off || !me.camera_live;
    let tile = Tile { speaking: me.sound.speaking && !me.muted, ..Tile::own(name, name, me.muted, off) };
    tile::show(ui, rect, &mut view.me, &tile);
    let side = 44.0;
    let row = Rect::from_center_size(
        pos2(rect.center().x, rect.bottom() - side / 2.0 - 14.0),
        vec2(2.0 * side + 12.0, side),
    );
    let buttons =
        &mut ui.new_child(UiBuilder::new().max_rect(row).layout(Layout::left_to_right(Align::Center)));
    buttons.spacing_mut().item_spacing.x = 12.0;
    toggles(buttons, snapshot, view.talk_key, side, out);
}

/// The two buttons that say what leaves this computer.
pub(super) fn toggles(ui: &mut Ui, snapshot: &Snapshot, key: Key, side: f32, out: &mut Vec<Command>) {
    let me = &snapshot.me;
    let (icon, look) = match (me.sound.mute_button, me.muted) {
        (true, _) => (Icon::MicOff, Look::Off),
        (false, true) => (Icon::MicOff, Look::Plain),
        (false, false) if me.sound.talking => (Icon::Mic, Look::On),
        (false, false) => (Icon::Mic, Look::Plain),
    };
    if controls::round(ui, icon, &sound::mute_label(&me.sound, key), look, side).clicked() {
        out.push(Command::Mute { on: !me.sound.mute_button });
    }
    let (icon, label, look) = match me.camera_off {
        true => (Icon::CameraOff, "Camera on (V)", Look::Off),
        false => (Icon::Camera, "Camera off (V)", Look::Plain),
    };
    if controls::round(ui, icon, label, look, side).clicked() {
        out.push(Command::CameraOff { on: !me.camera_off });
    }
}

fn form(view: &mut View, ui: &mut Ui, snapshot: &Snapshot, out: &mut Vec<Command>) {
    ui.label(RichText::new("Snug").size(theme::TITLE).strong().color(theme::ACCENT));
    ui.add_space(-4.0);
    ui.label(RichText::new("A small private room for a call").color(theme::FAINT));
    ui.add_space(6.0);
    match &snapshot.phase {
        Phase::Joining { room } => return joining(ui, &format!("Joining {room}…"), "", out),
        Phase::Waiting { room } => {
            let text = format!("Waiting to be let into {room}…");
            return joining(ui, &text, "Whoever hosts the room was told that you are here.", out);
        }
        Phase::Lobby | Phase::InRoom { .. } | Phase::Reconnecting { .. } => {}
    }
    controls::field(ui, "Your name", &mut view.form.name, "How the others see you");
    let room = controls::field(ui, "Room", &mut view.form.room, "A name, or a room's link");
    let shut = snapshot.problems.iter().any(|problem| problem.about == About::Entry);
    let password = (shut || !view.form.password.is_empty())
        .then(|| controls::password(ui, "Password of the room", &mut view.form.password, "If it has one"));
    controls::field(ui, "Server", &mut view.form.server, "On this computer");
    ui.add_space(4.0);
    let left = room.lost_focus() || password.is_some_and(|password| password.lost_focus());
    let entered = left && ui.input(|input| input.key_pressed(Key::Enter));
    let ready = !view.form.room.trim().is_empty();
    let clicked = controls::primary(ui, "Join", ready).clicked();
    if ready && (clicked || entered) {
        match view.form.join() {
            Ok(join) => {
                view.form_error = None;
                out.push(join);
            }
            Err(why) => view.form_error = Some(why),
        }
    }
    if let Some(why) = &view.form_error {
        ui.label(RichText::new(why).size(theme::SMALL).color(theme::WARNING));
    }
    ui.add_space(4.0);
    controls::device_menus(ui, &snapshot.me, &snapshot.devices, out);
    ui.add_space(2.0);
    let width = ui.available_width();
    controls::meter(ui, snapshot.me.sound.level, snapshot.me.muted, width);
    sound::tests(ui, &snapshot.me, out);
    CollapsingHeader::new("Sound and privacy").id_salt("sound").show_unindented(ui, |ui| {
        sound::settings(ui, &snapshot.me.sound, &mut view.talk_key, out);
        ui.separator();
        privacy::relay_only(ui, snapshot.me.relay_only, out);
    });
}

fn joining(ui: &mut Ui, text: &str, more: &str, out: &mut Vec<Command>) {
    ui.add_space(16.0);
    ui.label(text);
    if !more.is_empty() {
        ui.label(RichText::new(more).color(theme::FAINT));
    }
    ui.add_space(8.0);
    if ui.button("Cancel").clicked() {
        out.push(Command::Leave);
    }
}
