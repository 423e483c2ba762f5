//! What the others may learn of us beside picture and sound.

use super::theme;
use call::Command;
use eframe::egui::{Label, RichText, Ui};

/// What it costs is said beside it, not only to who points at it.
pub(super) fn relay_only(ui: &mut Ui, now: bool, out: &mut Vec<Command>) {
    let mut on = now;
    if ui.checkbox(&mut on, "Relay only").changed() {
        out.push(Command::RelayOnly { on });
    }
    let text = "Hides your network address from the others: everything goes through the server's relay, with \
                a little more delay. Counts for whom you meet from now on, and needs a server with TURN.";
    ui.add(Label::new(RichText::new(text).size(theme::SMALL).color(theme::FAINT)).wrap());
}
