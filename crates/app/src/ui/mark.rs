//! How the call with somebody is, in words and as a mark: three bars when it is good, two when it is poor,
//! one when nothing comes.

use super::icons::{self, Icon};
use super::theme;
use call::{Connection, Participant, Quality, Reason};
use eframe::egui::accesskit::Role;
use eframe::egui::{Color32, Rect, Sense, Ui, Vec2, WidgetInfo, vec2};

/// Something about the connection that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// What it is and what is being done, in words.
    pub text: String,
    /// Whether waiting alone will not help.
    pub bad: bool,
}

impl State {
    /// Of a participant; none when all is well. `server_away`: nobody can be asked for a new path.
    pub fn of(them: &Participant, server_away: bool) -> Option<Self> {
        let said = |text: &str| Some(Self { text: text.into(), bad: false });
        match (them.quality, them.connection) {
            (Some(Quality::Good | Quality::Poor), _) | (None, Connection::Connected) => None,
            (Some(Quality::Lost), connection) => Some(lost(them, connection, server_away)),
            (None, Connection::Failed) => Some(Self { text: "No connection".into(), bad: true }),
            (None, Connection::Restarting) => said("Looking for a new path"),
            (None, Connection::Disconnected) => said("Connection lost, trying again"),
            (None, Connection::Connecting) if them.away => said("Away"),
            (None, Connection::Connecting) => said("Connecting…"),
        }
    }
}

/// They were there, and nothing comes any more.
fn lost(them: &Participant, connection: Connection, server_away: bool) -> State {
    let what = match connection {
        Connection::Failed if server_away => "No connection, and none to the server: trying again",
        Connection::Failed => "No connection: looking for a new path",
        _ if server_away => "Connection lost, and the server's too: trying again",
        Connection::Restarting => "Looking for a new path",
        _ if them.away => "Connection lost, waiting for them",
        Connection::Connecting | Connection::Connected | Connection::Disconnected => {
            "Connection lost, trying again"
        }
    };
    let seconds = them.lost_for.unwrap_or(0);
    State { text: format!("{what} ({seconds} s)"), bad: connection == Connection::Failed }
}

/// Why the picture or the sound is not as it could be, for a line on the tile. What is so for everybody
/// (`common`) stands with oneself instead.
pub fn note(them: &Participant, common: Option<Reason>) -> Option<&'static str> {
    let reason = them.reason.filter(|_| them.quality != Some(Quality::Lost) && them.reason != common);
    reason.map(Reason::text)
}

/// The mark in words, as its tooltip and for those who cannot see it.
pub fn words(quality: Quality, reason: Option<Reason>) -> String {
    let word = match quality {
        Quality::Good => "Good connection",
        Quality::Poor => "Poor connection",
        Quality::Lost => "Connection lost",
    };
    match reason {
        Some(reason) if quality != Quality::Lost => format!("{word}. {}", reason.text()),
        Some(_) | None => word.into(),
    }
}

/// The mark's colour.
pub fn color(quality: Quality) -> Color32 {
    match quality {
        Quality::Good => theme::ACCENT,
        Quality::Poor => theme::WARNING,
        Quality::Lost => theme::DANGER,
    }
}

/// How large a mark is with its shade, in points.
pub const SIZE: Vec2 = vec2(26.0, 24.0);

/// Draws the mark of somebody into a place of [`SIZE`].
pub fn show(ui: &mut Ui, place: Rect, name: &str, quality: Quality, reason: Option<Reason>) {
    let response = ui.interact(place, ui.scope_id().with(("mark", name, place.min.x as i32)), Sense::hover());
    let words = words(quality, reason);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("{name}: {words}")));
    ui.painter().rect_filled(place, 8.0, theme::SHADE);
    bars(ui, icons::square(place, 15.0), quality);
    response.on_hover_text(words);
}

/// The mark alone.
pub fn bars(ui: &Ui, rect: Rect, quality: Quality) {
    let lit = match quality {
        Quality::Good => 3,
        Quality::Poor => 2,
        Quality::Lost => 1,
    };
    icons::paint(ui.painter(), Icon::Bars(lit), rect, color(quality), theme::GROUND);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn them(quality: Option<Quality>, connection: Connection, away: bool) -> Participant {
        Participant {
            id: Default::default(),
            name: "Ben".into(),
            muted: false,
            camera_off: false,
            away,
            connection,
            view: media::Slot::default(),
            stats: None,
            quality,
            reason: Some(Reason::Loss),
            lost_for: Some(7),
            history: Default::default(),
        }
    }

    #[test]
    fn what_is_lost_says_what_is_being_done() {
        let lost = Some(Quality::Lost);
        for (quality, connection, away, server_away, expected) in [
            (Some(Quality::Good), Connection::Connected, false, false, None),
            (Some(Quality::Poor), Connection::Disconnected, false, false, None),
            (lost, Connection::Connected, false, false, Some("Connection lost, trying again (7 s)")),
            (lost, Connection::Disconnected, true, false, Some("Connection lost, waiting for them (7 s)")),
            (lost, Connection::Restarting, true, false, Some("Looking for a new path (7 s)")),
            (
                lost,
                Connection::Disconnected,
                false,
                true,
                Some("Connection lost, and the server's too: trying again (7 s)"),
            ),
            (lost, Connection::Failed, false, false, Some("No connection: looking for a new path (7 s)")),
            (None, Connection::Connecting, false, false, Some("Connecting…")),
            (None, Connection::Connecting, true, false, Some("Away")),
        ] {
            let state = State::of(&them(quality, connection, away), server_away);
            assert_eq!(
                state.as_ref().map(|state| state.text.as_str()),
                expected,
                "{quality:?} {connection:?}"
            );
        }
    }

    #[test]
    fn a_reason_stands_in_one_place() {
        let mut ben = them(Some(Quality::Good), Connection::Connected, false);
        ben.reason = Some(Reason::Bandwidth);
        assert_eq!(note(&ben, None), Some(Reason::Bandwidth.text()));
        assert_eq!(note(&ben, Some(Reason::Bandwidth)), None, "it is told with oneself");
        ben.quality = Some(Quality::Lost);
        assert_eq!(note(&ben, None), None, "the state says it");
    }
}
