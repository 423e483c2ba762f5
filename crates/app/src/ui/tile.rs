//! One person's place on the stage: picture or placeholder, name, buttons' state, how the connection is.

use super::icons::{self, Icon};
use super::mark::{self, State};
use super::theme;
use super::video::Picture;
use call::{Quality, Reason};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align2, Color32, FontId, Painter, Pos2, Rect, Response, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo,
    pos2, vec2,
};

/// What a tile tells beside the picture.
pub struct Tile<'a> {
    /// Under which name.
    pub name: &'a str,
    /// Whose it is: its placeholder is made from this.
    pub person: &'a str,
    /// Microphone off.
    pub muted: bool,
    /// Camera off: the picture is not shown.
    pub camera_off: bool,
    /// Shown as in a mirror.
    pub mirrored: bool,
    /// They speak.
    pub speaking: bool,
    /// How loud they are heard; 1 is as they come.
    pub volume: f32,
    /// What is wrong with the connection, when something is.
    pub state: Option<State>,
    /// How good the connection is, for the mark.
    pub quality: Option<(Quality, Option<Reason>)>,
    /// Why the picture or the sound could be better.
    pub note: Option<&'static str>,
}

impl<'a> Tile<'a> {
    /// Oneself, as in a mirror.
    pub fn own(name: &'a str, person: &'a str, muted: bool, camera_off: bool) -> Self {
        Self {
            name,
            person,
            muted,
            camera_off,
            mirrored: true,
            speaking: false,
            volume: 1.0,
            state: None,
            quality: None,
            note: None,
        }
    }
}

/// Draws a tile into a rectangle that has been given to it.
pub fn show(ui: &mut Ui, rect: Rect, picture: &mut Picture, tile: &Tile<'_>) -> Response {
    let response = ui.interact(
        rect,
        ui.scope_id().with(("tile", tile.name, rect.min.x as i32, rect.min.y as i32)),
        Sense::hover(),
    );
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, describe(tile)));
    let painter = ui.painter().with_clip_rect(rect);
    if tile.camera_off {
        picture.clear();
    }
    match picture.size() {
        Some(_) => picture.paint(&painter, rect, theme::ROUNDING, tile.mirrored),
        None => placeholder(&painter, rect, tile),
    }
    if tile.speaking {
        let line = Stroke::new(3.0, theme::ACCENT);
        painter.rect_stroke(rect, f32::from(theme::ROUNDING), line, StrokeKind::Inside);
    }
    name(&painter, rect, tile);
    let mut at = rect.left_top() + vec2(10.0, 10.0);
    let lines = tile
        .state
        .iter()
        .map(|state| (state.text.as_str(), if state.bad { theme::DANGER } else { theme::WARNING }));
    for (text, color) in lines.chain(tile.note.map(|note| (note, theme::TEXT))) {
        let room = rect.width() - 30.0 - mark::SIZE.x;
        at.y += pill(&painter, at, Align2::LEFT_TOP, text, color, None, room).height() + 4.0;
    }
    if let Some((quality, reason)) = tile.quality {
        let place = Align2::RIGHT_TOP.anchor_size(rect.right_top() + vec2(-10.0, 10.0), mark::SIZE);
        mark::show(ui, place, tile.name, quality, reason);
    }
    response
}

/// The tile in words, for those who cannot see it.
fn describe(tile: &Tile<'_>) -> String {
    let mut text = tile.name.to_owned();
    let states = [(tile.muted, ", muted"), (tile.camera_off, ", camera off"), (tile.speaking, ", speaking")];
    for (_, words) in states.into_iter().filter(|(holds, _)| *holds) {
        text.push_str(words);
    }
    if let Some(volume) = volume(tile) {
        text.push_str(", volume ");
        text.push_str(&volume);
    }
    for more in tile.state.iter().map(|state| state.text.as_str()).chain(tile.note) {
        text.push_str(", ");
        text.push_str(more);
    }
    text
}

/// When it is not as they come.
fn volume(tile: &Tile<'_>) -> Option<String> {
    (tile.volume != 1.0).then(|| format!("{:.0} %", tile.volume * 100.0))
}

fn placeholder(painter: &Painter, rect: Rect, tile: &Tile<'_>) {
    painter.rect_filled(rect, f32::from(theme::ROUNDING), theme::CARD);
    let radius = (rect.size().min_elem() * 0.2).clamp(16.0, 72.0);
    painter.circle_filled(rect.center(), radius, theme::person(tile.person));
    let initial = tile.person.chars().find(|c| c.is_alphanumeric()).unwrap_or('?').to_uppercase().to_string();
    let font = FontId::proportional(radius * 0.95);
    painter.text(rect.center(), Align2::CENTER_CENTER, initial, font, theme::TEXT);
}

fn name(painter: &Painter, rect: Rect, tile: &Tile<'_>) {
    let small = rect.width() < 220.0;
    let inset = if small { 6.0 } else { 10.0 };
    let at = pos2(rect.left() + inset, rect.bottom() - inset);
    let icon = tile.muted.then_some(Icon::MicOff);
    let mut text = shorten(tile.name, rect.width());
    if let Some(volume) = volume(tile) {
        text = format!("{text}, {volume}");
    }
    pill(painter, at, Align2::LEFT_BOTTOM, &text, theme::TEXT, icon, f32::INFINITY);
}

/// A name cut to about what fits; letters are taken as 8 points wide.
fn shorten(name: &str, width: f32) -> String {
    let most = ((width - 60.0) / 8.0).clamp(4.0, 40.0) as usize;
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(most - 1).collect();
    short.push('…');
    short
}

/// Text on a shade, so that it reads on every picture; broken into lines where it is wider than `room`.
/// Returns what it covers.
pub fn pill(
    painter: &Painter,
    at: Pos2,
    anchor: Align2,
    text: &str,
    color: Color32,
    icon: Option<Icon>,
    room: f32,
) -> Rect {
    let extra = if icon.is_some() { 20.0 } else { 0.0 };
    let padding = vec2(9.0, 4.0);
    let wrap = (room - extra - padding.x * 2.0).max(40.0);
    let galley = painter.layout(text.to_owned(), FontId::proportional(theme::SMALL), color, wrap);
    let rect = anchor.anchor_size(at, galley.size() + padding * 2.0 + vec2(extra, 0.0));
    painter.rect_filled(rect, 8.0, theme::SHADE);
    if let Some(icon) = icon {
        let square =
            Rect::from_center_size(pos2(rect.left() + 9.0 + 7.0, rect.center().y), Vec2::splat(15.0));
        icons::paint(painter, icon, square, theme::DANGER, theme::GROUND);
    }
    painter.galley(rect.min + padding + vec2(extra, 0.0), galley, color);
    rect
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shorten("Ann", 100.0), "Ann");
        assert_eq!(shorten("Bartholomew", 124.0), "Barthol…");
        assert_eq!(shorten("ééééééé", 0.0), "ééé…");
    }
}
