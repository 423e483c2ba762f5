//! Small parts used all over: buttons with icons, fields with their labels, device menus, the level meter.

use super::icons::{self, Icon};
use super::theme;
use call::{Command, Devices, Me};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align, Color32, ComboBox, CornerRadius, Event, Key, KeyboardShortcut, Layout, Modifiers, Rect, Response,
    RichText, Sense, TextEdit, Ui, Vec2, WidgetInfo, vec2,
};
use media::{CameraUse, DeviceInfo, MicUse, SpeakerUse};

/// The look of a round button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As most are.
    Plain,
    /// Switched on.
    On,
    /// Switched off, in the sense of "the others cannot hear you".
    Off,
    /// Ends the call.
    Danger,
}

/// A round button with an icon; `label` is what it does, for screen readers, tests and its tooltip.
pub fn round(ui: &mut Ui, icon: Icon, label: &str, look: Look, side: f32) -> Response {
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(side), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), label));
    let hovered = response.hovered() || response.has_focus();
    let (fill, ink) = match look {
        Look::Plain => (if hovered { theme::HOVERED } else { theme::RAISED }, theme::TEXT),
        Look::On => (if hovered { theme::HOVERED } else { theme::RAISED }, theme::ACCENT),
        Look::Off => (shift(theme::TEXT, hovered), theme::GROUND),
        Look::Danger => (shift(theme::DANGER, hovered), theme::ON_DANGER),
    };
    if ui.is_rect_visible(rect) {
        ui.painter().circle_filled(rect.center(), side / 2.0, fill);
        if response.has_focus() {
            ui.painter().circle_stroke(rect.center(), side / 2.0 + 2.0, (1.5, theme::ACCENT));
        }
        icons::paint(ui.painter(), icon, icons::square(rect, side * 0.46), ink, fill);
    }
    response.on_hover_text(label)
}

fn shift(color: Color32, hovered: bool) -> Color32 {
    if hovered { color.gamma_multiply(0.85) } else { color }
}

/// A small square button with an icon and no ground of its own.
pub fn bare(ui: &mut Ui, icon: Icon, label: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(28.0), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), label));
    let hovered = response.hovered() || response.has_focus();
    if hovered {
        ui.painter().rect_filled(rect, 6.0, theme::HOVERED);
    }
    let ink = if hovered { theme::TEXT } else { theme::FAINT };
    icons::paint(ui.painter(), icon, icons::square(rect, 15.0), ink, theme::CARD);
    response.on_hover_text(label)
}

/// The button of a page: wide, in the accent colour.
pub fn primary(ui: &mut Ui, text: &str, enabled: bool) -> Response {
    let button = eframe::egui::Button::new(RichText::new(text).size(16.0).strong().color(theme::ON_ACCENT))
        .fill(theme::ACCENT)
        .corner_radius(CornerRadius::same(theme::ROUNDING))
        .min_size(vec2(ui.available_width(), 42.0));
    ui.vertical_centered_justified(|ui| ui.add_enabled(enabled, button)).inner
}

/// A line of text to type, under its label.
pub fn field(ui: &mut Ui, label: &str, text: &mut String, hint: &str) -> Response {
    let name = caption(ui, label);
    let edit = TextEdit::singleline(text)
        .hint_text(RichText::new(hint).color(theme::FAINT.gamma_multiply(0.75)))
        .char_limit(512)
        .margin(vec2(10.0, 8.0))
        .desired_width(f32::INFINITY);
    ui.add(edit).labelled_by(name.id)
}

/// A password to type, under its label; it shows as dots.
pub fn password(ui: &mut Ui, label: &str, text: &mut String, hint: &str) -> Response {
    let name = caption(ui, label);
    let edit = TextEdit::singleline(text)
        .password(true)
        .hint_text(RichText::new(hint).color(theme::FAINT.gamma_multiply(0.75)))
        .char_limit(128)
        .margin(vec2(10.0, 8.0))
        .desired_width(f32::INFINITY);
    ui.add(edit).labelled_by(name.id)
}

/// A label above something.
pub fn caption(ui: &mut Ui, text: &str) -> Response {
    ui.add_space(2.0);
    let response = ui.label(RichText::new(text).size(theme::SMALL).color(theme::FAINT));
    ui.add_space(-4.0);
    response
}

/// The three device menus; what is chosen comes out as commands.
pub fn device_menus(ui: &mut Ui, me: &Me, devices: &Devices, out: &mut Vec<Command>) {
    let camera =
        Choice::of(&me.camera, &devices.cameras, CameraUse::Default, CameraUse::None, CameraUse::Device);
    if let Some(source) = menu(ui, "Camera", camera) {
        out.push(Command::Camera { source });
    }
    let mic = Choice::of(&me.mic, &devices.mics, MicUse::Default, MicUse::None, MicUse::Device);
    if let Some(source) = menu(ui, "Microphone", mic) {
        out.push(Command::Mic { source });
    }
    let speaker =
        Choice::of(&me.speaker, &devices.speakers, SpeakerUse::Default, SpeakerUse::None, SpeakerUse::Device);
    if let Some(sink) = menu(ui, "Speaker", speaker) {
        out.push(Command::Speaker { sink });
    }
}

/// What a device menu offers.
struct Choice<U> {
    chosen: U,
    all: Vec<(U, String)>,
}

impl<U: Clone + PartialEq + ToString> Choice<U> {
    fn of(chosen: &U, devices: &[DeviceInfo], default: U, none: U, device: fn(String) -> U) -> Self {
        let usual = devices.iter().find(|device| device.default).or(devices.first());
        let default_text = match usual {
            Some(usual) => format!("Default ({})", usual.name),
            None => "Default (none found)".into(),
        };
        let mut all = vec![(default, default_text)];
        all.extend(devices.iter().map(|info| (device(info.id.clone()), info.name.clone())));
        all.push((none, "None".into()));
        // Named on the command line, or unplugged: it stays chosen, and is shown as what it is.
        if !all.iter().any(|(one, _)| one == chosen) {
            let by_name = devices.iter().find(|info| device(info.name.clone()) == *chosen);
            all.push((chosen.clone(), by_name.map_or(chosen.to_string(), |info| info.name.clone())));
        }
        Self { chosen: chosen.clone(), all }
    }
}

fn menu<U: PartialEq>(ui: &mut Ui, label: &str, choice: Choice<U>) -> Option<U> {
    let name = caption(ui, label);
    let text = choice.all.iter().find(|(one, _)| *one == choice.chosen).map_or("", |(_, text)| text);
    let mut picked = None;
    let shown = ComboBox::from_id_salt(label)
        .width(ui.available_width())
        .truncate()
        .selected_text(text)
        .show_ui(ui, |ui| {
            for (at, (one, text)) in choice.all.iter().enumerate() {
                if ui.selectable_label(*one == choice.chosen, text).clicked() {
                    picked = Some(at);
                }
            }
        });
    shown.response.labelled_by(name.id);
    choice.all.into_iter().nth(picked?).map(|(one, _)| one).filter(|one| *one != choice.chosen)
}

/// How loud the microphone is, as a bar of `width` points; a grey one while nobody else hears it.
pub fn meter(ui: &mut Ui, level: f32, muted: bool, width: f32) {
    let (rect, response) = ui.allocate_exact_size(vec2(width, 6.0), Sense::hover());
    let share = loudness(level);
    let info = || WidgetInfo {
        value: Some(f64::from(share)),
        ..WidgetInfo::labeled(
            Role::Meter,
            true,
            if muted { "Microphone level, muted" } else { "Microphone level" },
        )
    };
    response.widget_info(info);
    ui.painter().rect_filled(rect, 3.0, theme::RAISED);
    let full = Rect::from_min_size(rect.min, vec2(rect.width() * share, rect.height()));
    let color = match muted {
        true => theme::FAINT,
        false if share > 0.95 => theme::WARNING,
        false => theme::ACCENT,
    };
    ui.painter().rect_filled(full, 3.0, color);
}

/// Peak 0 to 1 as a share of the bar: decibels from -50 to 0.
fn loudness(level: f32) -> f32 {
    if level.is_nan() || level <= 0.0 {
        return 0.0;
    }
    ((20.0 * level.log10() + 50.0) / 50.0).clamp(0.0, 1.0)
}

/// Whether a key was pressed alone, while nobody was typing. A key held down counts once.
pub fn pressed(ui: &Ui, key: Key) -> bool {
    let wanted = |event: &Event| match event {
        Event::Key { key: pressed, pressed: true, repeat: false, modifiers, .. } => {
            *pressed == key && modifiers.is_none()
        }
        _ => false,
    };
    !ui.ctx().egui_wants_keyboard_input() && ui.input(|input| input.events.iter().any(wanted))
}

/// Whether Ctrl (on a Mac: Command) and a key were pressed.
pub fn pressed_with_ctrl(ui: &Ui, key: Key) -> bool {
    let keys = KeyboardShortcut::new(Modifiers::COMMAND, key);
    ui.ctx().input_mut(|input| input.consume_shortcut(&keys))
}

/// Lays out from the right edge.
pub fn from_right<R>(ui: &mut Ui, add: impl FnOnce(&mut Ui) -> R) -> R {
    ui.with_layout(Layout::right_to_left(Align::Center), add).inner
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: &str, name: &str, default: bool) -> DeviceInfo {
        DeviceInfo { id: id.into(), name: name.into(), default }
    }

    fn texts(chosen: CameraUse, devices: &[DeviceInfo]) -> Vec<String> {
        let choice = Choice::of(&chosen, devices, CameraUse::Default, CameraUse::None, CameraUse::Device);
        assert!(choice.all.iter().any(|(one, _)| *one == chosen), "what is chosen can be shown");
        choice.all.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_menu_offers_the_default_each_device_and_none() {
        let devices = [info("/dev/video0", "Cam", false), info("/dev/video2", "Other", true)];
        assert_eq!(texts(CameraUse::Default, &devices), ["Default (Other)", "Cam", "Other", "None"]);
        assert_eq!(texts(CameraUse::Default, &[]), ["Default (none found)", "None"]);
    }

    #[test]
    fn what_is_not_listed_stays_chosen() {
        assert_eq!(texts(CameraUse::Pattern, &[]).last().unwrap(), "pattern");
        let devices = [info("/dev/video0", "Cam", true)];
        assert_eq!(texts(CameraUse::Device("/dev/video9".into()), &devices).last().unwrap(), "/dev/video9");
        assert_eq!(texts(CameraUse::Device("Cam".into()), &devices).last().unwrap(), "Cam");
    }

    #[test]
    fn loudness_is_in_decibels() {
        assert_eq!((loudness(0.0), loudness(1.0), loudness(f32::NAN)), (0.0, 1.0, 0.0));
        assert!((loudness(0.1) - 0.6).abs() < 1e-5);
    }
}
