//! Sound beside the devices: what is done to one's own voice, push-to-talk, how loud each is heard, tests of
//! speaker and microphone, and hints about one's voice.

use super::controls;
use super::icons::{self, Icon};
use super::problems::{self, Wish};
use super::theme;
use call::{Command, Hint, Me, Participant, Snapshot, Sound};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align2, Button, ComboBox, Context, Event, FontId, Key, Popup, PopupCloseBehavior, Rect, Response,
    RichText, Sense, SetOpenCommand, Slider, StrokeKind, Ui, Vec2, WidgetInfo, vec2,
};
use media::audio::{Noise, Processing, Rehearsal};
use media::{MicUse, SpeakerUse};

/// Keys that can be held to talk: none of those that do something else.
pub const TALK_KEYS: [Key; 8] =
    [Key::Space, Key::B, Key::N, Key::T, Key::Backtick, Key::F6, Key::F8, Key::F9];

/// Why nothing may come from a microphone that is on.
const SILENT: &str = "No sound comes from your microphone. It may be muted in the system or by its own \
                      switch, be the wrong one, or not be allowed to Snug in the system's settings.";

/// A talk key by its name in the settings; what is none is the space bar.
pub fn talk_key(name: &str) -> Key {
    Key::from_name(name).filter(|key| TALK_KEYS.contains(key)).unwrap_or(Key::Space)
}

/// Whether the keyboard is elsewhere. Of a window that is not drawn, the input that windows are drawn by tells what was
/// so when it last was.
pub(super) fn is_away(ctx: &Context) -> bool {
    !ctx.input(|input| input.raw.focused)
}

/// Says when the key of push-to-talk is held and when it is let go. It is no longer held, too, when the window
/// loses the keyboard or somebody types.
pub(super) fn talk(ui: &Ui, sound: &Sound, key: Key, out: &mut Vec<Command>) {
    let typing = ui.ctx().text_edit_focused();
    let held = sound.push_to_talk && !typing && ui.input(|input| input.focused && input.key_down(key));
    if held != sound.talking {
        // Said until the engine has heard it: a key let go must not be missed.
        out.push(Command::Talk { on: held });
        ui.ctx().request_repaint_after_secs(0.1);
    }
    if sound.push_to_talk && !typing {
        // It presses no button that has the focus.
        let other = |event: &Event| !matches!(event, Event::Key { key: pressed, .. } if *pressed == key);
        ui.input_mut(|input| input.events.retain(other));
    }
}

/// What the mute button says: with push-to-talk the key, too, must be held.
pub(super) fn mute_label(sound: &Sound, key: Key) -> String {
    match (sound.mute_button, sound.push_to_talk) {
        (true, _) => "Unmute (M)".into(),
        (false, false) => "Mute (M)".into(),
        (false, true) => format!("Mute (M); hold {} to talk", key.name()),
    }
}

/// Two buttons: a sound on the speaker, and one's own voice back. While a test is on, its button counts and
/// ends it.
pub(super) fn tests(ui: &mut Ui, me: &Me, out: &mut Vec<Command>) {
    let (speaker, echo) = match me.sound.rehearsal {
        Some(Rehearsal::Speaker) => (Some("Playing…".to_owned()), None),
        Some(Rehearsal::Recording { left }) => (None, Some(format!("Speak… {left}"))),
        Some(Rehearsal::Playing { left }) => (None, Some(format!("Listen… {left}"))),
        Some(Rehearsal::Over | Rehearsal::NothingHeard) | None => (None, None),
    };
    let (has_speaker, has_mic) = (me.speaker != SpeakerUse::None, me.mic != MicUse::None && me.mic_live);
    let width = (ui.available_width() - ui.spacing().item_spacing.x) / 2.0;
    ui.horizontal(|ui| {
        let mut button = |usual: &str, on: Option<String>, enabled, tip: &str, command| {
            let mut text = RichText::new(on.as_deref().unwrap_or(usual)).size(14.0);
            if on.is_some() {
                text = text.color(theme::ACCENT);
            }
            let response = ui.add_enabled(enabled, Button::new(text).min_size(vec2(width, 32.0)));
            if response.on_hover_text(tip).clicked() {
                out.push(if on.is_some() { Command::StopTest } else { command });
            }
        };
        let tip = "Plays a short sound on your speaker";
        button("Test the speaker", speaker, has_speaker, tip, Command::SpeakerTest);
        let tip = "Records four seconds of your microphone and plays them back, to you alone";
        button("Echo test", echo, has_speaker && has_mic, tip, Command::EchoTest);
    });
}

/// What is done to one's own voice, push-to-talk, and chimes.
pub(super) fn settings(ui: &mut Ui, sound: &Sound, talk_key: &mut Key, out: &mut Vec<Command>) {
    // Many short lines: nearer to each other than fields are.
    ui.spacing_mut().item_spacing.y = 4.0;
    ui.spacing_mut().interact_size.y = 28.0;
    let mut wanted = sound.processing;
    ui.add_enabled_ui(!wanted.music, |ui| {
        ui.checkbox(&mut wanted.echo, "Echo cancellation");
        ui.checkbox(&mut wanted.gain, "Automatic gain");
        noise(ui, &mut wanted);
    });
    ui.checkbox(&mut wanted.music, "Music mode").on_hover_text("Stereo, 128 kb/s, no processing");
    if wanted != sound.processing {
        out.push(Command::Processing { processing: wanted });
    }
    let mut push_to_talk = sound.push_to_talk;
    if ui.checkbox(&mut push_to_talk, "Push to talk").changed() {
        out.push(Command::PushToTalk { on: push_to_talk });
    }
    if push_to_talk {
        choice(ui, "Hold to talk", talk_key.name(), |ui| {
            for key in TALK_KEYS {
                ui.selectable_value(talk_key, key, key.name());
            }
        });
    }
    let mut chimes = sound.chimes;
    if ui.checkbox(&mut chimes, "Sounds when people come and go").changed() {
        out.push(Command::Chimes { on: chimes });
    }
}

fn noise(ui: &mut Ui, wanted: &mut Processing) {
    const ALL: [(Noise, &str); 4] =
        [(Noise::Off, "Off"), (Noise::Low, "Low"), (Noise::Medium, "Medium"), (Noise::High, "High")];
    let now = ALL.iter().find(|(noise, _)| *noise == wanted.noise).map_or("", |(_, text)| text);
    choice(ui, "Noise suppression", now, |ui| {
        for (noise, text) in ALL {
            ui.selectable_value(&mut wanted.noise, noise, text);
        }
    });
}

/// A menu beside its label.
fn choice(ui: &mut Ui, label: &str, now: &str, menu: impl FnOnce(&mut Ui)) {
    ui.horizontal(|ui| {
        let name = ui.label(label);
        controls::from_right(ui, |ui| {
            let shown = ComboBox::from_id_salt(label).width(96.0).selected_text(now).show_ui(ui, menu);
            shown.response.labelled_by(name.id);
        });
    });
}

/// How loud each is heard.
pub(super) fn volumes(ui: &mut Ui, snapshot: &Snapshot, out: &mut Vec<Command>) {
    for them in &snapshot.participants {
        volume(ui, them, snapshot.voice(&them.id).volume, out);
    }
}

/// A click on somebody's tile opens their volume.
pub(super) fn tile_menu(tile: &Response, them: &Participant, volume_now: f32, out: &mut Vec<Command>) {
    let opens = tile.clicked() || tile.secondary_clicked();
    Popup::from_response(tile)
        .open_memory(opens.then_some(SetOpenCommand::Bool(true)))
        .at_pointer_fixed()
        .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
        .show(|ui| {
            ui.set_width(280.0);
            volume(ui, them, volume_now, out);
        });
}

fn volume(ui: &mut Ui, them: &Participant, now: f32, out: &mut Vec<Command>) {
    let name = controls::caption(ui, &format!("Volume of {}", them.name));
    let mut percent = (now * 100.0).round();
    ui.spacing_mut().slider_width = (ui.available_width() - 76.0).max(60.0);
    let slider = Slider::new(&mut percent, 0.0..=200.0).integer().step_by(5.0).suffix(" %");
    let slider = ui.add(slider.trailing_fill(true)).labelled_by(name.id);
    // Halfway it is as they come: not easily met by hand.
    let back = slider.double_clicked();
    if slider.changed() || back {
        let volume = if back { 1.0 } else { percent / 100.0 };
        out.push(Command::Volume { participant: them.id.clone(), volume });
    }
}

/// The hint about a silent microphone, as a line one can act on.
pub(super) fn silent_mic(ui: &mut Ui, me: &Me, devices_at_hand: bool) -> Option<Wish> {
    if me.sound.hint != Some(Hint::SilentMic) {
        return None;
    }
    problems::card(ui, "Microphone", SILENT, |ui| problems::choose_another(ui, devices_at_hand))
}

/// The hint about talking while muted, at the foot of the stage.
pub(super) fn muted_talk(ui: &mut Ui, stage: Rect, sound: &Sound, key: Key) {
    if sound.hint != Some(Hint::MutedTalk) {
        return;
    }
    let text = match sound.mute_button {
        true => "You are muted: press M".to_owned(),
        false => format!("You are muted: hold {} to talk", key.name()),
    };
    let ink = theme::WARNING;
    let words = ui.painter().layout_no_wrap(text.clone(), FontId::proportional(17.0), ink);
    let size = words.size() + vec2(60.0, 18.0);
    let rect = Align2::CENTER_BOTTOM.anchor_size(stage.center_bottom() - vec2(0.0, 16.0), size);
    ui.painter().rect(rect, f32::from(theme::ROUNDING), theme::CARD, (1.0, ink), StrokeKind::Inside);
    let icon = Rect::from_center_size(rect.left_center() + vec2(26.0, 0.0), Vec2::splat(20.0));
    icons::paint(ui.painter(), Icon::MicOff, icon, ink, theme::CARD);
    ui.painter().galley(rect.min + vec2(44.0, 9.0), words, ink);
    let response = ui.interact(rect, ui.scope_id().with("muted talk"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Status, true, &text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use eframe::egui::RawInput;

    #[test]
    fn a_window_that_is_not_drawn_is_seen_to_lose_the_keyboard() {
        let ctx = Context::default();
        let focused = |focused| RawInput { focused, ..RawInput::default() };
        let drawn = || {
            let mut drawn = ctx.run_ui(focused(true), |ui| assert!(!is_away(ui.ctx())));
            drawn.textures_delta.clear();
        };
        drawn();
        let _hidden = ctx.run_logic(&focused(false), |ctx| assert!(is_away(ctx)));
        drawn();
    }

    #[test]
    fn a_key_that_does_something_else_is_no_talk_key() {
        for key in TALK_KEYS {
            assert_eq!(talk_key(key.name()), key);
        }
        for other in ["M", "", "C", "Escape", "nonsense"] {
            assert_eq!(talk_key(other), Key::Space, "{other}");
        }
    }
}
