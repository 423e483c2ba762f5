//! The window's frame around the view: it hands the snapshot in, and carries out what comes out.

use super::errands::{Errands, Kit, News, Order};
use super::video::Gpu;
use super::{View, sound, theme};
use crate::cli::{NO_ENGINE, Start};
use crate::host::Links;
use crate::settings::{Settings, SettingsFile};
use anyhow::{Context as _, Result, anyhow};
use call::{About, Call, Command, Config, Event, Password, Phase, Problem, Snapshot};
use eframe::egui::{self, Ui, ViewportBuilder};
use eframe::{NativeOptions, Renderer};
use tokio::sync::{mpsc, watch};

/// Opens the window and stays until it is closed. With a `start`, the call begins at once.
pub fn run(start: Option<Start>, settings: Settings, file: Option<SettingsFile>) -> Result<()> {
    let config = start.as_ref().map_or_else(|| config(&settings), |start| start.config.clone());
    let (call, events) = Call::start(config).context(NO_ENGINE)?;
    let (width, height) = settings.window.unwrap_or((1120.0, 680.0));
    let viewport = ViewportBuilder::default()
        .with_title("Snug")
        .with_app_id("snug")
        .with_inner_size([width, height])
        .with_min_inner_size([480.0, 360.0]);
    let options =
        NativeOptions { viewport, renderer: Renderer::Glow, dithering: false, ..NativeOptions::default() };
    let make = move |cc: &eframe::CreationContext<'_>| -> Result<Box<dyn eframe::App>, Box<dyn std::error::Error + Send + Sync>> {
        theme::apply(&cc.egui_ctx);
        let gpu = cc.gl.is_some().then(Gpu::default);
        Ok(Box::new(Shell::new(&cc.egui_ctx, call, events, gpu, start, settings, file)?))
    };
    eframe::run_native("snug", options, Box::new(make)).map_err(|error| {
        tracing::info!("no window: {error}");
        anyhow!("cannot open a window: without a display, use `snug join ROOM --headless` or `snug demo`")
    })
}

fn config(settings: &Settings) -> Config {
    Config {
        camera: settings.camera.clone(),
        mic: settings.mic.clone(),
        speaker: settings.speaker.clone(),
        push_to_talk: settings.sound.push_to_talk,
        chimes: settings.sound.chimes,
        volumes: settings.sound.volumes.clone(),
        processing: settings.sound.processing,
        relay_only: settings.relay_only,
        ..Config::default()
    }
}

/// Who wants to be in which room.
struct Wanted {
    room: String,
    name: String,
    password: Password,
}

struct Shell {
    view: View,
    snapshot: watch::Receiver<Snapshot>,
    /// Dropped before the errands: it takes leave from the server that runs there.
    call: Call,
    errands: Errands,
    gpu: Option<Gpu>,
    settings: Settings,
    file: Option<SettingsFile>,
    /// Of the server inside, once it runs.
    links: Option<Links>,
    /// Waits for the server inside.
    waiting: Option<Wanted>,
    troubles: Troubles,
    /// Settings changed by hand, which is not done yet.
    unsaved: bool,
}

impl Shell {
    fn new(
        ctx: &egui::Context,
        call: Call,
        events: mpsc::Receiver<Event>,
        gpu: Option<Gpu>,
        start: Option<Start>,
        settings: Settings,
        file: Option<SettingsFile>,
    ) -> Result<Self> {
        let (stats, time) = start.as_ref().map_or((None, None), |start| (start.stats.clone(), start.time));
        let kit =
            Kit { ctx: ctx.clone(), snapshot: call.snapshot(), events, file: file.clone(), stats, time };
        let mut shell = Self {
            view: View::new(&settings, gpu.clone()),
            snapshot: call.snapshot(),
            call,
            errands: Errands::start(kit)?,
            gpu,
            settings,
            file,
            links: None,
            waiting: None,
            troubles: Troubles::default(),
            unsaved: false,
        };
        if let Some(Start { server, room, name, password, .. }) = start {
            shell.view.form.room.clone_from(&room);
            shell.view.form.name.clone_from(&name);
            let server = server.unwrap_or_default();
            shell.view.form.server.clone_from(&server);
            shell.view.form.password = password.reveal().to_owned();
            shell.join(server, Wanted { room, name, password });
        }
        Ok(shell)
    }

    /// The engine's snapshot, with our own troubles and links that others can open.
    fn picture_of_now(&mut self) -> Snapshot {
        let mut snapshot = self.snapshot.borrow_and_update().clone();
        if let Some(links) = &self.links {
            match &mut snapshot.phase {
                Phase::InRoom { link, .. } | Phase::Reconnecting { link, .. } => *link = links.shared(link),
                Phase::Lobby | Phase::Joining { .. } | Phase::Waiting { .. } => {}
            }
        }
        if let (Some(Wanted { room, .. }), Phase::Lobby) = (&self.waiting, &snapshot.phase) {
            snapshot.phase = Phase::Joining { room: room.clone() };
        }
        snapshot.problems.extend(self.troubles.problems.iter().cloned());
        snapshot
    }

    /// The one place where what the user asked for is done.
    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Join { server, room, name, password } => {
                self.remember(|settings| {
                    (settings.name, settings.room, settings.server) =
                        (name.clone(), room.clone(), server.clone());
                });
                self.join(server, Wanted { room, name, password });
            }
            Command::Leave => {
                if self.waiting.take().is_none() {
                    self.command(Command::Leave);
                }
            }
            Command::Camera { source } => {
                self.remember(|settings| settings.camera = source.clone());
                self.command(Command::Camera { source });
            }
            Command::Mic { source } => {
                self.remember(|settings| settings.mic = source.clone());
                self.command(Command::Mic { source });
            }
            Command::Speaker { sink } => {
                self.remember(|settings| settings.speaker = sink.clone());
                self.command(Command::Speaker { sink });
            }
            Command::Processing { processing } => {
                self.remember(|settings| settings.sound.processing = processing);
                self.command(command);
            }
            Command::PushToTalk { on } => {
                self.remember(|settings| settings.sound.push_to_talk = on);
                self.command(command);
            }
            Command::Chimes { on } => {
                self.remember(|settings| settings.sound.chimes = on);
                self.command(command);
            }
            Command::RelayOnly { on } => {
                self.remember(|settings| settings.relay_only = on);
                self.command(command);
            }
            Command::Volume { ref participant, volume } => {
                let snapshot = self.snapshot.borrow();
                if let Some(them) = snapshot.participants.iter().find(|them| them.id == *participant) {
                    self.settings.sound.set_volume(&them.name, volume);
                    self.unsaved = true;
                }
                drop(snapshot);
                self.command(command);
            }
            Command::Dismiss { problem } => {
                if !self.troubles.dismiss(problem) {
                    self.command(Command::Dismiss { problem });
                }
            }
            Command::Mute { .. }
            | Command::CameraOff { .. }
            | Command::Talk { .. }
            | Command::SpeakerTest
            | Command::EchoTest
            | Command::StopTest
            | Command::Chat { .. }
            | Command::Lock { .. }
            | Command::Admit { .. }
            | Command::Refuse { .. }
            | Command::RestartIce => {
                self.command(command);
            }
        }
    }

    /// Joins; over the server inside when no other is named.
    fn join(&mut self, server: String, wanted: Wanted) {
        let inside = self.links.as_ref().map(|links| links.address.clone());
        let named = Some(server).filter(|server| !server.is_empty());
        if let Some(server) = named.or(inside) {
            let Wanted { room, name, password } = wanted;
            self.command(Command::Join { server, room, name, password });
        } else if self.errands.order(Order::Host) {
            self.waiting = Some(wanted);
        } else {
            self.troubles.add(About::Server, "Snug is busy: press Join again in a moment".into());
        }
    }

    fn command(&mut self, command: Command) {
        if let Err(refused) = self.call.command(command) {
            self.troubles.add(About::Command, format!("{refused}: try again in a moment"));
        }
    }

    fn remember(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        if !self.errands.order(Order::Save(Box::new(self.settings.clone()))) {
            tracing::warn!("settings are written at the end only: too many changes at once");
        }
    }

    /// What a hand still drags is written when it lets go.
    fn save_what_was_chosen(&mut self, ui: &Ui) {
        let key = self.view.talk_key.name();
        if self.settings.sound.talk_key != key {
            self.settings.sound.talk_key = key.to_owned();
            self.unsaved = true;
        }
        if self.unsaved && !ui.input(|input| input.pointer.any_down()) {
            self.unsaved = false;
            self.remember(|_| {});
        }
    }

    fn take_news(&mut self) {
        while let Some(news) = self.errands.news() {
            match news {
                News::Host(links) => {
                    self.links = Some(links);
                    if let Some(wanted) = self.waiting.take() {
                        self.join(String::new(), wanted);
                    }
                }
                News::NoHost(why) => {
                    self.waiting = None;
                    self.troubles.add(About::Server, why);
                }
                News::Trouble(why) => self.troubles.add(About::Command, why),
            }
        }
    }
}

impl eframe::App for Shell {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.take_news();
        // A window that is hidden is not drawn, and would not see that the key was let go.
        if sound::is_away(ctx) && self.snapshot.borrow().me.sound.talking {
            self.command(Command::Talk { on: false });
        }
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let snapshot = self.picture_of_now();
        for command in self.view.ui(ui, &snapshot) {
            self.carry_out(command);
        }
        self.save_what_was_chosen(ui);
        let full =
            ui.input(|input| input.viewport().fullscreen.or(input.viewport().maximized).unwrap_or(false));
        if !full {
            let size = ui.ctx().content_rect().size();
            self.settings.window = Some((size.x, size.y));
        }
    }

    fn clear_color(&self, _visuals: &egui::Visuals) -> [f32; 4] {
        theme::GROUND.to_normalized_gamma_f32()
    }

    fn on_exit(&mut self, gl: Option<&eframe::glow::Context>) {
        if let (Some(gpu), Some(gl)) = (&self.gpu, gl) {
            gpu.free(gl);
        }
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.save(&self.settings)) {
            tracing::error!("{error:#}");
        }
    }
}

/// Problems of the window's own, shown among the engine's. Their ids count down, the engine's count up.
#[derive(Default)]
struct Troubles {
    problems: Vec<Problem>,
    made: u64,
}

impl Troubles {
    /// overflow: the oldest goes.
    fn add(&mut self, about: About, text: String) {
        self.problems.retain(|problem| problem.about != about);
        if self.problems.len() == Snapshot::MAX_PROBLEMS {
            self.problems.remove(0);
        }
        self.problems.push(Problem { id: u64::MAX - self.made, about, text });
        self.made += 1;
    }

    /// Whether it was one of these.
    fn dismiss(&mut self, id: u64) -> bool {
        let before = self.problems.len();
        self.problems.retain(|problem| problem.id != id);
        self.problems.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_takes_the_place_of_one_about_the_same() {
        let mut troubles = Troubles::default();
        troubles.add(About::Server, "first".into());
        troubles.add(About::Command, "other".into());
        troubles.add(About::Server, "second".into());
        let texts: Vec<_> = troubles.problems.iter().map(|problem| problem.text.as_str()).collect();
        assert_eq!(texts, ["other", "second"]);
        let id = troubles.problems[0].id;
        assert!(troubles.dismiss(id) && !troubles.dismiss(id) && !troubles.dismiss(1));
    }
}
