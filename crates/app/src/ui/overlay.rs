//! The statistics over the stage: for each participant the figures of now, and the last minute as plots.

use super::controls;
use super::icons::Icon;
use super::mark;
use super::plot::{self, Plot};
use super::theme;
use call::history::Sample;
use call::stats::{Limitation, OutboundVideo, Path};
use call::{Participant, Stats};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align, Align2, Color32, CornerRadius, FontId, Frame, Label, Layout, Margin, Rect, RichText, ScrollArea,
    Sense, Stroke, Ui, UiBuilder, WidgetInfo, pos2, vec2,
};

/// In points.
const WIDTH: f32 = 392.0;
const ROW: f32 = 21.0;
const LABEL: f32 = 82.0;
const VALUE: f32 = 168.0;
const TYPE: f32 = 12.0;
/// Nearly opaque: figures must read on any picture.
const GROUND: Color32 = Color32::from_rgba_premultiplied(13, 18, 21, 232);
/// The second line of a plot.
const SECOND: Color32 = Color32::from_rgb(0xb7, 0x94, 0xf6);

/// Draws it into the upper left of the stage. `false` when the user has had enough of it.
pub fn show(ui: &mut Ui, stage: Rect, participants: &[Participant]) -> bool {
    let size = vec2(WIDTH.min(stage.width() - 16.0), stage.height() - 16.0);
    let place = Rect::from_min_size(stage.min + vec2(8.0, 8.0), size);
    let inside = &mut ui.new_child(UiBuilder::new().max_rect(place).layout(Layout::top_down(Align::Min)));
    let frame = Frame::new()
        .fill(GROUND)
        .stroke(Stroke::new(1.0, theme::LINE))
        .corner_radius(CornerRadius::same(theme::ROUNDING))
        .inner_margin(Margin::symmetric(12, 8));
    let mut stays = true;
    frame.show(inside, |ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        ui.horizontal(|ui| {
            ui.label(RichText::new("Statistics").size(15.0).strong());
            controls::from_right(ui, |ui| {
                stays = !controls::bare(ui, Icon::Close, "Close statistics (S)").clicked();
            });
        });
        let height = (place.bottom() - ui.next_widget_position().y - 8.0).max(ROW);
        ScrollArea::vertical().max_height(height).auto_shrink([false, true]).show(ui, |ui| {
            // Beside the plots, not over them, is where the scroll bar goes.
            ui.set_max_width(ui.available_width() - 8.0);
            if participants.is_empty() {
                ui.label(RichText::new("There is nobody to measure yet").color(theme::FAINT));
            }
            for them in participants {
                person(ui, them);
            }
        });
    });
    stays
}

fn person(ui: &mut Ui, them: &Participant) {
    ui.horizontal(|ui| {
        ui.set_height(24.0);
        if let Some(quality) = them.quality {
            let (rect, _) = ui.allocate_exact_size(vec2(16.0, 16.0), Sense::hover());
            mark::bars(ui, rect, quality);
        }
        ui.add(Label::new(RichText::new(&them.name).size(14.0).strong()).truncate());
    });
    let Some(stats) = them.stats.as_deref() else { return };
    let last = them.history.last().copied().unwrap_or_default();
    for row in rows(stats, &last) {
        draw(ui, them, &row);
    }
    ui.add_space(6.0);
}

/// A value of a sample; none where nothing was measured.
type Value = fn(&Sample) -> Option<f32>;

/// A line of the overlay.
struct Row {
    label: &'static str,
    now: String,
    plot: Curve,
    /// A second value, in the same plot.
    more: Option<(String, Value)>,
}

/// What a plot shows.
#[derive(Clone, Copy)]
struct Curve {
    value: Value,
    /// What its scale reaches at least.
    least: f32,
    /// How the end of the scale is told.
    tell: fn(f64) -> String,
}

fn row(label: &'static str, now: String) -> Words {
    Words { label, now }
}

/// A line that is to have a plot.
struct Words {
    label: &'static str,
    now: String,
}

impl Words {
    fn plot(self, value: Value, least: f32, tell: fn(f64) -> String) -> Row {
        Row { label: self.label, now: self.now, plot: Curve { value, least, tell }, more: None }
    }
}

impl Row {
    fn and(self, text: String, value: Value) -> Self {
        Self { more: Some((text, value)), ..self }
    }
}

fn rows(stats: &Stats, last: &Sample) -> [Row; 13] {
    let (video, audio) = (&stats.inbound_video, &stats.inbound_audio);
    let trip = stats.current_round_trip_time.map_or("not measured yet".into(), ms);
    let freezes = match video.freeze_count {
        0 => "none".into(),
        count => format!("{count}, {:.1} s in all", video.total_freezes_duration),
    };
    let a_second = |rate| format!("{rate:.0} a second");
    let lines = |height| format!("{height:.0} lines");
    let relayed = |sample: &Sample| sample.relayed.map(|relayed| f32::from(u8::from(relayed)));
    [
        row("Path", path(stats.path)).plot(relayed, 1.0, |_| "relayed".into()),
        row("Sending", bits(last.sent.into()))
            .plot(|s| Some(s.sent), 100_000.0, bits)
            .and(format!(" of {}", bits(last.target.into())), |s| Some(s.target)),
        row("Receiving", bits(last.received.into())).plot(|s| Some(s.received), 100_000.0, bits),
        row("Round trip", trip).plot(|s| s.round_trip, 0.1, ms),
        row("Loss", format!("in {}", percent(last.lost_in.into())))
            .plot(|s| Some(s.lost_in), 0.05, percent)
            .and(format!(", out {}", percent(last.lost_out.into())), |s| Some(s.lost_out)),
        row("Jitter", ms(last.jitter.into())).plot(|s| Some(s.jitter), 0.05, ms),
        row("Delay", format!("sound {}", ms(audio.jitter_buffer_delay)))
            .plot(|s| Some(s.sound_delay), 0.1, ms)
            .and(format!(", picture {}", ms(video.jitter_buffer_delay)), |s| Some(s.picture_delay)),
        row("Concealed", percent(last.concealed.into())).plot(|s| Some(s.concealed), 0.05, percent),
        row("Freezes", freezes).plot(|s| Some(s.frozen), 1.0, percent),
        row("Their picture", size(video.frame_width, video.frame_height)).plot(
            |s| Some(s.height),
            360.0,
            lines,
        ),
        row("Their frames", a_second(video.frames_per_second)).plot(|s| Some(s.frames), 30.0, a_second),
        row("Your picture", own_picture(&stats.outbound_video)).plot(|s| Some(s.own_height), 360.0, lines),
        row("Lips", lips(stats.lip_skew)).plot(|s| s.lips, 0.05, ms),
    ]
}

fn draw(ui: &mut Ui, them: &Participant, row: &Row) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    let more = row.more.as_ref().map_or("", |(text, _)| text);
    let words = || format!("{}, {}: {}{more}", them.name, row.label, row.now);
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, words()));
    if !ui.is_rect_visible(rect) {
        return;
    }
    let write = |x: f32, text: &str, color| {
        let font = FontId::proportional(TYPE);
        ui.painter().text(pos2(x, rect.center().y), Align2::LEFT_CENTER, text, font, color).right()
    };
    write(rect.left(), row.label, theme::FAINT);
    let end = write(rect.left() + LABEL, &row.now, theme::TEXT);
    write(end, more, if row.more.is_some() { SECOND } else { theme::TEXT });
    let place = rect.with_min_x(rect.left() + LABEL + VALUE).shrink2(vec2(0.0, 1.5));
    if place.width() < 40.0 {
        return;
    }
    let curve = row.plot;
    let top = draw_plot(ui, place, them, curve, row.more.as_ref().map(|(_, value)| *value));
    response.on_hover_ui(|ui| {
        ui.label(format!("The last minute, from 0 to {}", (curve.tell)(top.into())));
    });
}

/// Returns where its scale ends.
fn draw_plot(ui: &Ui, place: Rect, them: &Participant, curve: Curve, second: Option<Value>) -> f32 {
    let history = &them.history;
    let values = [Some(curve.value), second].into_iter().flatten();
    let highest = values.flat_map(|value| history.iter().filter_map(value)).fold(0.0, f32::max);
    // A little more, so that the highest is not the edge.
    let top = plot::top(highest * 1.05, curve.least);
    let plot = Plot::new(ui.painter(), place, top, theme::RAISED);
    for (value, color) in
        second.map(|value| (value, SECOND)).into_iter().chain([(curve.value, theme::ACCENT)])
    {
        plot.line(history.iter().map(value), color);
    }
    top
}

fn bits(rate: f64) -> String {
    if rate >= 1e6 { format!("{:.2} Mbit/s", rate / 1e6) } else { format!("{:.0} kbit/s", rate / 1e3) }
}

fn ms(seconds: f64) -> String {
    format!("{:.0} ms", seconds * 1e3)
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

fn path(path: Option<Path>) -> String {
    let told = match path {
        Some(Path::Direct) => "direct",
        Some(Path::Relayed) => "relayed",
        None => "none yet",
    };
    told.into()
}

fn size(width: u32, height: u32) -> String {
    if width == 0 { "none".into() } else { format!("{width}×{height}") }
}

fn picture(width: u32, height: u32, rate: f64) -> String {
    if width == 0 { "none".into() } else { format!("{width}×{height}, {rate:.0} a second") }
}

fn own_picture(sent: &OutboundVideo) -> String {
    if sent.suspended {
        return "paused, sound only".into();
    }
    let limit = match sent.quality_limitation_reason {
        Limitation::None => "",
        Limitation::Bandwidth => " (path)",
        Limitation::Cpu => " (computer)",
    };
    picture(sent.frame_width, sent.frame_height, sent.frames_per_second) + limit
}

fn lips(skew: Option<f64>) -> String {
    match skew.map(|skew| (skew * 1e3).round()) {
        None => "not known".into(),
        Some(0.0) => "in step with the sound".into(),
        Some(skew) if skew > 0.0 => format!("{skew:.0} ms after the sound"),
        Some(skew) => format!("{:.0} ms before the sound", -skew),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_in_their_units() {
        assert_eq!([bits(64_200.0), bits(1_240_000.0)], ["64 kbit/s", "1.24 Mbit/s"]);
        assert_eq!([percent(0.0), percent(0.004), percent(0.123)], ["0 %", "0.4 %", "12 %"]);
        assert_eq!(ms(0.0211), "21 ms");
        assert_eq!([picture(0, 0, 0.0), picture(1280, 720, 29.7)], ["none", "1280×720, 30 a second"]);
        let skews = [None, Some(0.0001), Some(0.012), Some(-0.03)].map(lips);
        assert_eq!(
            skews,
            ["not known", "in step with the sound", "12 ms after the sound", "30 ms before the sound"]
        );
    }

    #[test]
    fn a_limited_picture_says_by_what() {
        let mut sent = OutboundVideo { frame_width: 640, frame_height: 360, ..OutboundVideo::default() };
        sent.frames_per_second = 30.0;
        sent.quality_limitation_reason = Limitation::Cpu;
        assert_eq!(own_picture(&sent), "640×360, 30 a second (computer)");
        sent.suspended = true;
        assert_eq!(own_picture(&sent), "paused, sound only");
    }
}
