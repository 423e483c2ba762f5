//! What went wrong, as lines one can act on and put away.

use super::controls;
use super::icons::{self, Icon};
use super::theme;
use call::{About, Command, Problem};
use eframe::egui::{Align, Button, CornerRadius, Label, Layout, Margin, RichText, Sense, Stroke, Ui, vec2};

/// What a line's button asks of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Open the device menus.
    Devices,
}

/// Shows them one under the other. Commands go to `out`; a wish comes back.
pub fn show(
    ui: &mut Ui,
    problems: &[Problem],
    devices_at_hand: bool,
    out: &mut Vec<Command>,
) -> Option<Wish> {
    let mut wish = None;
    for problem in problems {
        let asked = card(ui, title(problem.about), &problem.text, |ui| {
            if controls::bare(ui, Icon::Close, "Dismiss").clicked() {
                out.push(Command::Dismiss { problem: problem.id });
            }
            action(ui, problem.about, devices_at_hand, out)
        });
        wish = wish.or(asked);
    }
    wish
}

/// One line with a warning, and its buttons at the right.
pub fn card<R>(ui: &mut Ui, title: &str, text: &str, buttons: impl FnOnce(&mut Ui) -> R) -> R {
    let frame = eframe::egui::Frame::new()
        .fill(theme::CARD)
        .stroke(Stroke::new(1.0, theme::WARNING.gamma_multiply(0.45)))
        .corner_radius(CornerRadius::same(theme::ROUNDING))
        .inner_margin(Margin::symmetric(12, 6));
    let inside = |ui: &mut Ui| {
        let (rect, _) = ui.allocate_exact_size(vec2(18.0, 18.0), Sense::hover());
        icons::paint(ui.painter(), Icon::Warning, rect, theme::WARNING, theme::CARD);
        controls::from_right(ui, |ui| {
            let asked = buttons(ui);
            ui.with_layout(Layout::top_down(Align::Min), |ui| {
                ui.spacing_mut().item_spacing.y = 1.0;
                ui.label(RichText::new(title).size(theme::SMALL).color(theme::FAINT));
                ui.add(Label::new(RichText::new(text).size(14.0)).wrap());
            });
            asked
        })
    };
    frame.show(ui, |ui| ui.horizontal(inside).inner).inner
}

/// The button that opens the device menus, where they are not at hand.
pub fn choose_another(ui: &mut Ui, devices_at_hand: bool) -> Option<Wish> {
    (!devices_at_hand && ui.add(small("Choose another")).clicked()).then_some(Wish::Devices)
}

fn small(text: &str) -> Button<'_> {
    Button::new(RichText::new(text).size(theme::SMALL)).min_size(vec2(0.0, 28.0))
}

/// What a problem is about, in a word.
fn title(about: About) -> &'static str {
    match about {
        About::Camera => "Camera",
        About::Mic => "Microphone",
        About::Speaker => "Speaker",
        About::Server => "Server",
        About::Connection => "Connection",
        About::Display => "Display",
        About::Entry => "Room",
        About::Command => "Snug",
    }
}

fn action(ui: &mut Ui, about: About, devices_at_hand: bool, out: &mut Vec<Command>) -> Option<Wish> {
    match about {
        About::Camera | About::Mic | About::Speaker => choose_another(ui, devices_at_hand),
        About::Connection => {
            if ui.add(small("Try again")).clicked() {
                out.push(Command::RestartIce);
            }
            None
        }
        About::Server | About::Display | About::Entry | About::Command => None,
    }
}
