//! Colours, sizes and type: one calm dark look. The guest page uses the same palette.

use eframe::egui::{
    self, Color32, CornerRadius, FontFamily, FontId, Margin, Stroke, TextStyle, Visuals, vec2,
};

/// Behind everything.
pub const GROUND: Color32 = Color32::from_rgb(0x0f, 0x14, 0x17);
/// Cards, bars and panels.
pub const CARD: Color32 = Color32::from_rgb(0x18, 0x20, 0x25);
/// Fields and buttons on a card.
pub const RAISED: Color32 = Color32::from_rgb(0x24, 0x2f, 0x36);
/// The same under the pointer.
pub const HOVERED: Color32 = Color32::from_rgb(0x2f, 0x3d, 0x45);
/// Lines between things.
pub const LINE: Color32 = Color32::from_rgb(0x2a, 0x36, 0x3d);
/// Text.
pub const TEXT: Color32 = Color32::from_rgb(0xe6, 0xed, 0xf0);
/// Text of less weight.
pub const FAINT: Color32 = Color32::from_rgb(0x93, 0xa4, 0xae);
/// What matters.
pub const ACCENT: Color32 = Color32::from_rgb(0x5e, 0xea, 0xd4);
/// Text on the accent.
pub const ON_ACCENT: Color32 = Color32::from_rgb(0x06, 0x2a, 0x26);
/// Off, leaving, failing.
pub const DANGER: Color32 = Color32::from_rgb(0xf8, 0x71, 0x71);
/// Text on danger.
pub const ON_DANGER: Color32 = Color32::from_rgb(0x2b, 0x0a, 0x0a);
/// Waiting, degraded.
pub const WARNING: Color32 = Color32::from_rgb(0xfb, 0xbf, 0x24);
/// Behind text on a picture.
pub const SHADE: Color32 = Color32::from_rgba_premultiplied(8, 11, 13, 190);

/// Rounding of cards and pictures, in points.
pub const ROUNDING: u8 = 10;
/// The space between things, in points.
pub const GAP: f32 = 12.0;

/// Sizes of type beside egui's own styles, in points.
pub const TITLE: f32 = 26.0;
/// Labels above fields, and on pictures.
pub const SMALL: f32 = 13.0;

/// Gives a window the look.
pub fn apply(ctx: &egui::Context) {
    ctx.set_theme(egui::Theme::Dark);
    ctx.all_styles_mut(|style| {
        style.visuals = visuals();
        style.text_styles = [
            (TextStyle::Heading, 20.0),
            (TextStyle::Body, 15.0),
            (TextStyle::Button, 15.0),
            (TextStyle::Small, SMALL),
        ]
        .map(|(name, size)| (name, FontId::new(size, FontFamily::Proportional)))
        .into_iter()
        .chain([(TextStyle::Monospace, FontId::new(13.0, FontFamily::Monospace))])
        .collect();
        style.spacing.item_spacing = vec2(8.0, 8.0);
        style.spacing.button_padding = vec2(12.0, 7.0);
        style.spacing.interact_size = vec2(40.0, 34.0);
        style.spacing.window_margin = Margin::same(12);
        style.spacing.menu_margin = Margin::same(6);
        style.animation_time = 0.12;
        // Labels are no text to select: a call is clicked through, not copied from.
        style.interaction.selectable_labels = false;
    });
}

fn visuals() -> Visuals {
    let mut visuals = Visuals::dark();
    let rounding = CornerRadius::same(8);
    visuals.override_text_color = Some(TEXT);
    visuals.weak_text_color = Some(FAINT);
    visuals.panel_fill = GROUND;
    visuals.window_fill = CARD;
    visuals.window_stroke = Stroke::new(1.0, LINE);
    visuals.window_corner_radius = CornerRadius::same(ROUNDING);
    visuals.menu_corner_radius = CornerRadius::same(ROUNDING);
    visuals.extreme_bg_color = GROUND;
    visuals.text_edit_bg_color = Some(GROUND);
    visuals.faint_bg_color = CARD;
    visuals.hyperlink_color = ACCENT;
    visuals.warn_fg_color = WARNING;
    visuals.error_fg_color = DANGER;
    visuals.selection.bg_fill = Color32::from_rgb(0x1f, 0x5c, 0x55);
    visuals.selection.stroke = Stroke::new(1.0, ACCENT);
    let widgets = &mut visuals.widgets;
    for (widget, fill, line) in [
        (&mut widgets.noninteractive, CARD, LINE),
        (&mut widgets.inactive, RAISED, LINE),
        (&mut widgets.hovered, HOVERED, ACCENT),
        (&mut widgets.active, HOVERED, ACCENT),
        (&mut widgets.open, HOVERED, ACCENT),
    ] {
        widget.bg_fill = fill;
        widget.weak_bg_fill = fill;
        widget.bg_stroke = Stroke::new(1.0, line);
        widget.fg_stroke = Stroke::new(1.0, TEXT);
        widget.corner_radius = rounding;
        widget.expansion = 0.0;
    }
    visuals
}

/// A card's frame.
pub fn card() -> egui::Frame {
    egui::Frame::new().fill(CARD).corner_radius(CornerRadius::same(ROUNDING)).inner_margin(Margin::same(16))
}

/// A colour for a person, always the same for a name, dark enough for light text.
pub fn person(name: &str) -> Color32 {
    let hash =
        name.bytes().fold(0xcbf2_9ce4_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let hue = (hash % 360) as f32 / 360.0;
    egui::ecolor::Hsva::new(hue, 0.55, 0.17, 1.0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_keeps_their_colour() {
        assert_eq!(person("Ann"), person("Ann"));
        assert_ne!(person("Ann"), person("Ben"));
    }
}
