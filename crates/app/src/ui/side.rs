//! The panel beside the stage: chat, the device menus, or the door.

use super::controls;
use super::door;
use super::icons::Icon;
use super::privacy;
use super::sound;
use super::theme;
use call::{ChatLine, Command, Snapshot};
use eframe::egui::{Key, Label, RichText, ScrollArea, TextEdit, Ui};

/// Which one is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// Neither.
    #[default]
    Closed,
    /// What was said.
    Chat,
    /// Cameras, microphones, speakers.
    Devices,
    /// Who comes into the room.
    Door,
}

/// What is chosen here and kept by the window.
pub struct Choices<'a> {
    /// Whether the overlay of figures is shown.
    pub statistics: &'a mut bool,
    /// The key of push-to-talk.
    pub talk_key: &'a mut Key,
}

/// What the panel keeps while the window lives.
#[derive(Default)]
pub struct Panel {
    /// Which one is open.
    pub side: Side,
    draft: String,
    /// Lines read so far.
    seen: usize,
    focus_draft: bool,
    /// The password that the host types.
    password: String,
}

impl Panel {
    /// Opens one, or closes it when it is open.
    pub fn toggle(&mut self, side: Side) {
        self.side = if self.side == side { Side::Closed } else { side };
        self.focus_draft = self.side == Side::Chat;
        self.password.clear();
    }

    /// Whether something was said that has not been looked at.
    pub fn has_news(&self, chat: &[ChatLine]) -> bool {
        chat.len() > self.seen
    }

    /// Draws what is open.
    pub fn show(&mut self, ui: &mut Ui, snapshot: &Snapshot, choices: Choices<'_>, out: &mut Vec<Command>) {
        let title = match self.side {
            Side::Closed => return,
            Side::Chat => "Chat",
            Side::Devices => "Devices",
            Side::Door => "Who comes in",
        };
        ui.horizontal(|ui| {
            ui.heading(title);
            controls::from_right(ui, |ui| {
                if controls::bare(ui, Icon::Close, "Close").clicked() {
                    self.side = Side::Closed;
                }
            });
        });
        ui.add_space(4.0);
        match self.side {
            Side::Closed => {}
            Side::Chat => self.chat(ui, &snapshot.chat, out),
            Side::Door => door::panel(ui, &mut self.password, snapshot, out),
            Side::Devices => {
                ScrollArea::vertical().auto_shrink(false).show(ui, |ui| devices(ui, snapshot, choices, out));
            }
        }
    }

    fn chat(&mut self, ui: &mut Ui, chat: &[ChatLine], out: &mut Vec<Command>) {
        // The engine forgets old lines; then all there are have been seen.
        self.seen = chat.len();
        let field_height = 46.0;
        let height = (ui.available_height() - field_height).max(40.0);
        ScrollArea::vertical().max_height(height).auto_shrink(false).stick_to_bottom(true).show(ui, |ui| {
            if chat.is_empty() {
                ui.add(
                    Label::new(
                        RichText::new(
                            "Nothing was said yet. What you write here goes to everybody in the room.",
                        )
                        .color(theme::FAINT),
                    )
                    .wrap(),
                );
            }
            for line in chat {
                let color = if line.from.is_none() { theme::ACCENT } else { theme::FAINT };
                let name = if line.from.is_none() { "You" } else { &line.name };
                ui.label(RichText::new(name).size(theme::SMALL).color(color));
                ui.add_space(-6.0);
                ui.add(Label::new(&line.text).wrap().selectable(true));
                ui.add_space(4.0);
            }
        });
        let edit = TextEdit::singleline(&mut self.draft)
            .hint_text("Write to everybody")
            .char_limit(2000)
            .margin(eframe::egui::vec2(10.0, 8.0))
            .desired_width(f32::INFINITY);
        let response = ui.add(edit);
        if std::mem::take(&mut self.focus_draft) {
            response.request_focus();
        }
        let sent = response.lost_focus() && ui.input(|input| input.key_pressed(eframe::egui::Key::Enter));
        if sent {
            let text = std::mem::take(&mut self.draft);
            if !text.trim().is_empty() {
                out.push(Command::Chat { text: text.trim().to_owned() });
            }
            response.request_focus();
        }
    }
}

fn devices(ui: &mut Ui, snapshot: &Snapshot, choices: Choices<'_>, out: &mut Vec<Command>) {
    // Beside the controls, not over them, is where the scroll bar goes.
    ui.set_max_width(ui.available_width() - 8.0);
    controls::device_menus(ui, &snapshot.me, &snapshot.devices, out);
    ui.add_space(8.0);
    let width = ui.available_width();
    controls::meter(ui, snapshot.me.sound.level, snapshot.me.muted, width);
    sound::tests(ui, &snapshot.me, out);
    sound::volumes(ui, snapshot, out);
    controls::caption(ui, "Sound");
    sound::settings(ui, &snapshot.me.sound, choices.talk_key, out);
    controls::caption(ui, "Privacy");
    privacy::relay_only(ui, snapshot.me.relay_only, out);
    controls::caption(ui, "Window");
    ui.checkbox(choices.statistics, "Show statistics (S)");
}
