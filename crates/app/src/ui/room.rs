//! In the call: the others large, oneself in a corner, the bar of buttons, the panel beside them.

use super::controls::{self, Look};
use super::door;
use super::icons::Icon;
use super::mark::{self, State};
use super::overlay;
use super::side::{Choices, Side};
use super::sound;
use super::tile::{self, Tile};
use super::{View, lobby, problems, stage, theme};
use call::{Command, Phase, Snapshot};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align, Align2, CornerRadius, Frame, Label, Layout, Margin, Panel, Rect, RichText, Sense, Ui, UiBuilder,
    WidgetInfo, vec2,
};

const SIDE_WIDTH: f32 = 300.0;

/// Draws the call.
pub(super) fn show(view: &mut View, ui: &mut Ui, snapshot: &Snapshot, out: &mut Vec<Command>) {
    let whole = ui.max_rect();
    let narrow = whole.width() < 720.0;
    let bar = if whole.height() < 420.0 { 56.0 } else { 72.0 };
    if !view.fullscreen {
        let frame = Frame::new().inner_margin(Margin::symmetric(14, 6));
        Panel::top("top").frame(frame).show_separator_line(false).show(ui, |ui| top(view, ui, snapshot));
    }
    Panel::bottom("bar")
        .exact_size(bar)
        .frame(Frame::new().inner_margin(Margin::symmetric(12, 0)))
        .show_separator_line(false)
        .show(ui, |ui| buttons(view, ui, snapshot, bar, out));
    let space = ui.available_rect_before_wrap();
    let mut stage = Rect::from_min_max(space.min + vec2(12.0, 0.0), space.max - vec2(12.0, 0.0));
    if view.panel.side != Side::Closed {
        let width = if narrow { stage.width() } else { SIDE_WIDTH };
        let (rest, side) = stage.split_left_right_at_x(stage.right() - width);
        panel(view, ui, side, snapshot, out);
        stage = rest.with_max_x(rest.right() - 12.0);
    }
    if stage.width() > 60.0 {
        people(view, ui, stage, snapshot, out);
        sound::muted_talk(ui, stage, &snapshot.me.sound, view.talk_key);
        if view.statistics {
            view.statistics = overlay::show(ui, stage, &snapshot.participants);
        }
        notices(view, ui, stage, snapshot, out);
    }
}

fn top(view: &mut View, ui: &mut Ui, snapshot: &Snapshot) {
    let (Phase::InRoom { room, link } | Phase::Reconnecting { room, link }) = &snapshot.phase else { return };
    ui.horizontal(|ui| {
        door::button(&mut view.panel, ui, &snapshot.entrance);
        ui.label(RichText::new(room).size(16.0).strong());
        let others = snapshot.participants.len();
        let count = if others == 0 { "only you".to_owned() } else { format!("{} people", others + 1) };
        ui.label(RichText::new(count).size(theme::SMALL).color(theme::FAINT));
        controls::from_right(ui, |ui| {
            copy_button(view, ui, link);
            if ui.available_width() > 120.0 {
                ui.add(Label::new(RichText::new(link).size(theme::SMALL).color(theme::FAINT)).truncate());
            }
        });
    });
}

fn copy_button(view: &mut View, ui: &mut Ui, link: &str) {
    let copied = view.copied.as_deref() == Some(link);
    let (icon, label) =
        if copied { (Icon::Done, "Link copied") } else { (Icon::Copy, "Copy the room's link") };
    if controls::bare(ui, icon, label).clicked() {
        ui.ctx().copy_text(link.to_owned());
        view.copied = Some(link.to_owned());
    }
}

fn buttons(view: &mut View, ui: &mut Ui, snapshot: &Snapshot, height: f32, out: &mut Vec<Command>) {
    let side = if height < 60.0 { 40.0 } else { 48.0 };
    let gap = 12.0;
    let width = 7.0 * side + 6.0 * gap;
    let row = Rect::from_center_size(ui.max_rect().center(), vec2(width, side));
    let row = &mut ui.new_child(UiBuilder::new().max_rect(row).layout(Layout::left_to_right(Align::Center)));
    row.spacing_mut().item_spacing.x = gap;
    lobby::toggles(row, snapshot, view.talk_key, side, out);
    let open = |side| if view.panel.side == side { Look::On } else { Look::Plain };
    let (devices, chat) = (open(Side::Devices), open(Side::Chat));
    if controls::round(row, Icon::Devices, "Devices (D)", devices, side).clicked() {
        view.panel.toggle(Side::Devices);
    }
    let response = controls::round(row, Icon::Chat, "Chat (C)", chat, side);
    if view.panel.side != Side::Chat && view.panel.has_news(&snapshot.chat) {
        let at = response.rect.right_top() + vec2(-side * 0.16, side * 0.16);
        row.painter().circle_filled(at, 6.0, theme::ACCENT);
    }
    if response.clicked() {
        view.panel.toggle(Side::Chat);
    }
    let look = if view.statistics { Look::On } else { Look::Plain };
    if controls::round(row, Icon::Statistics, "Statistics (S)", look, side).clicked() {
        view.statistics = !view.statistics;
    }
    if controls::round(row, Icon::Fullscreen, "Fullscreen (F)", Look::Plain, side).clicked() {
        view.set_fullscreen(row.ctx(), !view.fullscreen);
    }
    if controls::round(row, Icon::Leave, "Leave (Ctrl+W)", Look::Danger, side).clicked() {
        out.push(Command::Leave);
    }
}

fn panel(view: &mut View, ui: &mut Ui, rect: Rect, snapshot: &Snapshot, out: &mut Vec<Command>) {
    ui.painter().rect_filled(rect, f32::from(theme::ROUNDING), theme::CARD);
    let inside =
        &mut ui.new_child(UiBuilder::new().max_rect(rect.shrink(14.0)).layout(Layout::top_down(Align::Min)));
    let choices = Choices { statistics: &mut view.statistics, talk_key: &mut view.talk_key };
    view.panel.show(inside, snapshot, choices, out);
}

/// The others in their grid, oneself over it in the corner.
fn people(view: &mut View, ui: &mut Ui, stage: Rect, snapshot: &Snapshot, out: &mut Vec<Command>) {
    if snapshot.participants.is_empty() {
        nobody(view, ui, stage, snapshot);
    }
    let server_away = matches!(snapshot.phase, Phase::Reconnecting { .. });
    let places = stage::grid(stage, snapshot.participants.len());
    for (them, place) in snapshot.participants.iter().zip(places) {
        let Some(picture) = view.others.get_mut(&them.id.0) else { continue };
        let voice = snapshot.voice(&them.id);
        let tile = Tile {
            name: &them.name,
            person: &them.name,
            muted: them.muted,
            camera_off: them.camera_off,
            mirrored: false,
            speaking: voice.speaking && !them.muted,
            volume: voice.volume,
            state: State::of(them, server_away),
            quality: them.quality.map(|quality| (quality, them.reason)),
            note: mark::note(them, snapshot.me.limit),
        };
        let rect = picture.fit(place);
        let response = tile::show(ui, rect, picture, &tile);
        sound::tile_menu(&response.interact(Sense::click()), them, voice.volume, out);
    }
    let me = &snapshot.me;
    let aspect = view.me.size().map_or(16.0 / 9.0, |(width, height)| width as f32 / height as f32);
    let corner = stage::corner(stage, aspect);
    let off = me.camera_off || !me.camera_live;
    let speaking = me.sound.speaking && !me.muted;
    let tile = Tile { speaking, ..Tile::own("You", &me.name, me.muted, off) };
    // A rim sets it off from the picture that it lies on.
    ui.painter().rect_filled(corner.expand(2.0), f32::from(theme::ROUNDING) + 2.0, theme::GROUND);
    tile::show(ui, corner, &mut view.me, &tile);
    if let Some(limit) = me.limit {
        own_limit(ui, stage, corner, limit.text());
    }
}

/// What limits our picture to everybody, above the picture itself.
fn own_limit(ui: &mut Ui, stage: Rect, corner: Rect, text: &str) {
    let at = corner.right_top() - vec2(0.0, 8.0);
    let room = (stage.width() - 24.0).min(420.0);
    let rect = tile::pill(ui.painter(), at, Align2::RIGHT_BOTTOM, text, theme::WARNING, None, room);
    let response = ui.interact(rect, ui.scope_id().with("own limit"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Status, true, text));
}

fn nobody(view: &mut View, ui: &mut Ui, stage: Rect, snapshot: &Snapshot) {
    let (Phase::InRoom { link, .. } | Phase::Reconnecting { link, .. }) = &snapshot.phase else { return };
    let width = (stage.width() - 24.0).min(440.0);
    let card = Rect::from_center_size(stage.center() - vec2(0.0, stage.height() * 0.08), vec2(width, 120.0));
    let inside = &mut ui.new_child(UiBuilder::new().max_rect(card).layout(Layout::top_down(Align::Center)));
    inside.label(RichText::new("Nobody else is here yet").size(18.0));
    inside.label(
        RichText::new("Whoever opens this link joins you, in Snug or in a browser:").color(theme::FAINT),
    );
    inside.add(Label::new(RichText::new(link).color(theme::ACCENT)).truncate());
    let text = if view.copied.as_deref() == Some(link) { "Copied" } else { "Copy link" };
    if inside.button(text).clicked() {
        inside.ctx().copy_text(link.clone());
        view.copied = Some(link.clone());
    }
}

/// Problems and the state of the server, on top of the stage.
fn notices(view: &mut View, ui: &mut Ui, stage: Rect, snapshot: &Snapshot, out: &mut Vec<Command>) {
    let width = (stage.width() - 24.0).min(620.0);
    let left = stage.center().x - width / 2.0;
    let place =
        Rect::from_min_size(eframe::egui::pos2(left, stage.top() + 10.0), vec2(width, stage.height()));
    let inside = &mut ui.new_child(UiBuilder::new().max_rect(place).layout(Layout::top_down(Align::Min)));
    if matches!(snapshot.phase, Phase::Reconnecting { .. }) {
        let frame = Frame::new()
            .fill(theme::CARD)
            .corner_radius(CornerRadius::same(theme::ROUNDING))
            .inner_margin(Margin::symmetric(12, 8));
        frame.show(inside, |ui| {
            let text = "The server cannot be reached. The call goes on; Snug keeps trying.";
            ui.add(
                Label::new(RichText::new(text).size(14.0).color(theme::WARNING)).wrap().sense(Sense::hover()),
            );
        });
    }
    door::knocks(inside, &snapshot.entrance.knocks, out);
    let at_hand = view.panel.side == Side::Devices;
    let silent = sound::silent_mic(inside, &snapshot.me, at_hand);
    let wish = problems::show(inside, &snapshot.problems, at_hand, out).or(silent);
    if let Some(problems::Wish::Devices) = wish {
        view.panel.side = Side::Devices;
    }
}
