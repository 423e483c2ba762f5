//! A private PulseAudio daemon with two people's microphones and speakers, none of them hardware.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running daemon; it ends when dropped. Nothing of the system's own sound is touched.
pub(crate) struct Daemon {
    folder: tempfile::TempDir,
}

/// What one person's device is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// What their microphone hears is played into this sink.
    Mouth,
    /// Their microphone.
    Mic,
    /// Their speaker.
    Ear,
}

/// The name of person `who`'s device.
pub(crate) fn device(kind: Kind, who: usize) -> String {
    let kind = match kind {
        Kind::Mouth => "mouth",
        Kind::Mic => "mic",
        Kind::Ear => "ear",
    };
    format!("{kind}{who}")
}

impl Daemon {
    /// One with these modules, beside its socket.
    pub(crate) fn start(modules: &[String]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("snug-lab-sound-").tempdir()?;
        let this = Self { folder };
        std::fs::create_dir(this.path().join("pulse"))?;
        let socket = this.path().join("pulse/native");
        let socket = format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket.display());
        let mut command = Command::new("pulseaudio");
        command.args(["-n", "--daemonize=yes", "--exit-idle-time=-1", "--use-pid-file=yes"]);
        command.args(["-L", &socket]);
        command.args(modules.iter().flat_map(|module| ["-L", module]));
        let status = command.envs(this.environment()).status();
        let status = status.context("cannot start pulseaudio: install the package pulseaudio")?;
        ensure!(status.success(), "pulseaudio did not start: {status}");
        Ok(this)
    }

    /// Two people, each with a null sink for a mouth, a microphone that hears it, and a null sink for an ear.
    pub(crate) fn for_two() -> Result<Self> {
        let modules = (1..=2).flat_map(|who| {
            let [mouth, mic, ear] = [Kind::Mouth, Kind::Mic, Kind::Ear].map(|kind| device(kind, who));
            [
                format!("module-null-sink sink_name={mouth} rate=48000"),
                format!("module-remap-source source_name={mic} master={mouth}.monitor"),
                format!("module-null-sink sink_name={ear} rate=48000"),
            ]
        });
        Self::start(&modules.collect::<Vec<_>>())
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What makes a program use this daemon and nothing else.
    pub(crate) fn environment(&self) -> Vec<(String, PathBuf)> {
        let home = self.path().to_owned();
        let server = PathBuf::from(format!("unix:{}", home.join("pulse/native").display()));
        let none = PathBuf::from("disabled:");
        vec![
            ("XDG_RUNTIME_DIR".into(), home.clone()),
            ("HOME".into(), home),
            ("PULSE_SERVER".into(), server),
            ("DBUS_SESSION_BUS_ADDRESS".into(), none),
        ]
    }

    /// Has the daemon do something.
    pub(crate) fn control(&self, args: &[&str]) -> Result<()> {
        let status = Command::new("pactl").args(args).envs(self.environment()).status();
        let status = status.context("cannot start pactl: install the package pulseaudio-utils")?;
        ensure!(status.success(), "pactl {args:?} failed");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // By its own pid file: no other daemon is meant.
        let status = Command::new("pulseaudio").arg("--kill").envs(self.environment()).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("lab: a pulseaudio of {} may still run", self.path().display());
        }
    }
}
