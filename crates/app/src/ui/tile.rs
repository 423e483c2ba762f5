//! One person's place on the stage: picture or placeholder, name, buttons' state, connection, figures.

use super::icons::{self, Icon};
use super::theme;
use super::video::Picture;
use call::{Connection, Participant, Stats};
use eframe::egui::accesskit::Role;
use eframe::egui::{Align2, Color32, FontId, Painter, Pos2, Rect, Sense, Ui, Vec2, WidgetInfo, pos2, vec2};

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
    /// What is wrong with the connection, when something is.
    pub state: Option<State>,
    /// A line of figures.
    pub figures: Option<String>,
}

/// Something about the connection that its owner should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// In words.
    pub text: &'static str,
    /// Whether waiting will not help.
    pub bad: bool,
}

impl State {
    /// Of a participant; none when all is well.
    pub fn of(them: &Participant) -> Option<Self> {
        let (text, bad) = match (them.away, them.connection) {
            (_, Connection::Failed) => ("No connection", true),
            (_, Connection::Restarting) => ("Looking for another way…", false),
            (_, Connection::Disconnected) => ("Connection interrupted…", false),
            (true, Connection::Connecting | Connection::Connected) => ("Away", false),
            (false, Connection::Connecting) => ("Connecting…", false),
            (false, Connection::Connected) => return None,
        };
        Some(Self { text, bad })
    }
}

/// Draws a tile into a rectangle that has been given to it.
pub fn show(ui: &mut Ui, rect: Rect, picture: &mut Picture, tile: &Tile<'_>) {
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
    name(&painter, rect, tile);
    if let Some(state) = tile.state {
        let color = if state.bad { theme::DANGER } else { theme::WARNING };
        pill(&painter, rect.left_top() + vec2(10.0, 10.0), Align2::LEFT_TOP, state.text, color, None);
    }
    if let Some(figures) = tile.figures.as_deref().filter(|_| rect.width() > 420.0) {
        let at = rect.right_top() + vec2(-10.0, 10.0);
        pill(&painter, at, Align2::RIGHT_TOP, figures, theme::FAINT, None);
    }
}

/// The tile in words, for those who cannot see it.
fn describe(tile: &Tile<'_>) -> String {
    let mut text = tile.name.to_owned();
    for (holds, words) in [(tile.muted, ", muted"), (tile.camera_off, ", camera off")] {
        if holds {
            text.push_str(words);
        }
    }
    if let Some(state) = tile.state {
        text.push_str(", ");
        text.push_str(state.text);
    }
    text
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
    pill(painter, at, Align2::LEFT_BOTTOM, &shorten(tile.name, rect.width()), theme::TEXT, icon);
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

/// Text on a shade, so that it reads on every picture.
fn pill(painter: &Painter, at: Pos2, anchor: Align2, text: &str, color: Color32, icon: Option<Icon>) {
    let galley = painter.layout_no_wrap(text.to_owned(), FontId::proportional(theme::SMALL), color);
    let extra = if icon.is_some() { 20.0 } else { 0.0 };
    let padding = vec2(9.0, 4.0);
    let rect = anchor.anchor_size(at, galley.size() + padding * 2.0 + vec2(extra, 0.0));
    painter.rect_filled(rect, 8.0, theme::SHADE);
    if let Some(icon) = icon {
        let square =
            Rect::from_center_size(pos2(rect.left() + 9.0 + 7.0, rect.center().y), Vec2::splat(15.0));
        icons::paint(painter, icon, square, theme::DANGER, theme::GROUND);
    }
    painter.galley(rect.min + padding + vec2(extra, 0.0), galley, color);
}

/// The figures of a connection as one short line.
pub fn figures(stats: &Stats) -> String {
    let video = &stats.inbound_video;
    let mut parts = Vec::new();
    if video.frame_width > 0 {
        parts.push(format!("{}×{}", video.frame_width, video.frame_height));
        parts.push(format!("{:.0} fps", video.frames_per_second));
    }
    parts.push(bits(video.bitrate + stats.inbound_audio.bitrate));
    if let Some(trip) = stats.current_round_trip_time {
        parts.push(format!("{:.0} ms", trip * 1e3));
    }
    if stats.path == Some(call::stats::Path::Relayed) {
        parts.push("relayed".into());
    }
    parts.join("  ·  ")
}

fn bits(rate: f64) -> String {
    if rate >= 1e6 { format!("{:.1} Mbit/s", rate / 1e6) } else { format!("{:.0} kbit/s", rate / 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_one_short_line() {
        let mut stats = Stats { current_round_trip_time: Some(0.0211), ..Stats::default() };
        assert_eq!(figures(&stats), "0 kbit/s  ·  21 ms");
        (stats.inbound_video.frame_width, stats.inbound_video.frame_height) = (1280, 720);
        stats.inbound_video.frames_per_second = 29.7;
        stats.inbound_video.bitrate = 1_240_000.0;
        assert_eq!(figures(&stats), "1280×720  ·  30 fps  ·  1.2 Mbit/s  ·  21 ms");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shorten("Ann", 100.0), "Ann");
        assert_eq!(shorten("Bartholomew", 124.0), "Barthol…");
        assert_eq!(shorten("ééééééé", 0.0), "ééé…");
    }
}
