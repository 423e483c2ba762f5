//! The door of the room: the lock beside its name, the panel behind it, and the cards of those who knock.

use super::controls;
use super::icons::{self, Icon};
use super::side::{Panel, Side};
use super::theme;
use call::{Command, Entrance, Knocker, Password, Snapshot};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Button, CornerRadius, Frame, Key, Label, Margin, RichText, Sense, Stroke, Ui, WidgetInfo, vec2,
};

/// So many cards at once; the others follow when these are answered.
const CARDS: usize = 3;

/// The lock, which opens the panel.
pub(super) fn button(panel: &mut Panel, ui: &mut Ui, entrance: &Entrance) {
    let shut = entrance.password || entrance.knock;
    let (icon, label) =
        if shut { (Icon::Lock, "Room is shut (L)") } else { (Icon::LockOpen, "Room is open (L)") };
    if controls::bare(ui, icon, label).clicked() {
        panel.toggle(Side::Door);
    }
}

/// Who knocks, with the two answers.
pub(super) fn knocks(ui: &mut Ui, knocks: &[Knocker], out: &mut Vec<Command>) {
    for them in knocks.iter().take(CARDS) {
        let frame = Frame::new()
            .fill(theme::CARD)
            .stroke(Stroke::new(1.0, theme::ACCENT.gamma_multiply(0.5)))
            .corner_radius(CornerRadius::same(theme::ROUNDING))
            .inner_margin(Margin::symmetric(12, 8));
        frame.show(ui, |ui| ui.horizontal(|ui| card(ui, them, out)));
    }
    if let Some(more) = knocks.len().checked_sub(CARDS).filter(|more| *more > 0) {
        ui.label(RichText::new(format!("{more} more wait")).size(theme::SMALL).color(theme::FAINT));
    }
}

fn card(ui: &mut Ui, them: &Knocker, out: &mut Vec<Command>) {
    let (rect, _) = ui.allocate_exact_size(vec2(18.0, 18.0), Sense::hover());
    icons::paint(ui.painter(), Icon::Lock, rect, theme::ACCENT, theme::CARD);
    controls::from_right(ui, |ui| {
        let admit = Button::new(RichText::new("Let in").color(theme::ON_ACCENT)).fill(theme::ACCENT);
        if named(ui, admit, &format!("Let {} in", them.name)) {
            out.push(Command::Admit { id: them.id.clone() });
        }
        if named(ui, Button::new("Not now"), &format!("Do not let {} in", them.name)) {
            out.push(Command::Refuse { id: them.id.clone() });
        }
        let text = format!("{} wants to come in", them.name);
        ui.with_layout(eframe::egui::Layout::left_to_right(eframe::egui::Align::Center), |ui| {
            ui.add(Label::new(RichText::new(text).size(14.0)).truncate());
        });
    });
}

/// A button whose name says whom it is about, for whoever does not see where it stands.
fn named(ui: &mut Ui, button: Button<'_>, label: &str) -> bool {
    let response = ui.add(button.min_size(vec2(0.0, 28.0)));
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, label));
    response.clicked()
}

/// Who comes in, and for the host how to change that.
pub(super) fn panel(ui: &mut Ui, draft: &mut String, snapshot: &Snapshot, out: &mut Vec<Command>) {
    let entrance = &snapshot.entrance;
    ui.add(Label::new(RichText::new(rule(entrance)).color(theme::TEXT)).wrap());
    ui.add_space(4.0);
    if !entrance.is_ours {
        let host = snapshot.participants.iter().find(|them| Some(&them.id) == entrance.host.as_ref());
        let name = host.map_or("The host", |host| host.name.as_str());
        let text = format!("{name} can change that.");
        ui.add(Label::new(RichText::new(text).color(theme::FAINT)).wrap());
        return;
    }
    let mut asked = entrance.knock;
    if ui.checkbox(&mut asked, "Ask me before somebody comes in").changed() {
        out.push(Command::Lock { password: None, knock: Some(asked) });
    }
    let hint = if entrance.password { "Another password" } else { "None" };
    let field = controls::password(ui, "Password", draft, hint);
    let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
    ui.horizontal(|ui| {
        let typed = !draft.is_empty();
        let set = ui.add_enabled(typed, Button::new("Set password")).clicked();
        if typed && (set || entered) {
            let password = Some(Password::new(std::mem::take(draft)));
            out.push(Command::Lock { password, knock: None });
        }
        if entrance.password && ui.button("Remove password").clicked() {
            out.push(Command::Lock { password: Some(Password::default()), knock: None });
        }
    });
    ui.add_space(4.0);
    let text = "Whoever is in the room stays. You are its host until you leave.";
    ui.add(Label::new(RichText::new(text).size(theme::SMALL).color(theme::FAINT)).wrap());
}

/// Who comes in by themselves, in words.
fn rule(entrance: &Entrance) -> &'static str {
    match (entrance.password, entrance.knock) {
        (false, false) => "Whoever knows the room's name or link comes in.",
        (true, false) => "Whoever knows the password comes in, nobody else.",
        (false, true) => "Everybody knocks, and the host lets them in.",
        (true, true) => {
            "Whoever knows the password comes in. Everybody else knocks, and the host lets them in."
        }
    }
}
