//! What is remembered between runs: one JSON file in the user's configuration folder.
//!
//! Whether the microphone was muted or the camera off is not remembered: a call that starts silent
//! because of a button pressed last week surprises; `--muted` and `--camera-off` ask for it.

use anyhow::{Context as _, Result};
use media::audio::Processing;
use media::{CameraUse, MicUse, SpeakerUse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// A settings file larger than this is not ours.
const MAX_BYTES: u64 = 256 * 1024;

/// The choices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How the others see us.
    pub name: String,
    /// The room last entered.
    pub room: String,
    /// The server; empty means one inside this program.
    pub server: String,
    /// The camera.
    pub camera: CameraUse,
    /// The microphone.
    pub mic: MicUse,
    /// The speaker.
    pub speaker: SpeakerUse,
    /// Sound beside the devices.
    pub sound: SoundSettings,
    /// Go by relays alone, so that the others do not learn our address.
    pub relay_only: bool,
    /// The window's inner size, in points.
    pub window: Option<(f32, f32)>,
}

/// Sound beside the devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SoundSettings {
    /// What is done to our voice.
    pub processing: Processing,
    /// Muted unless a key is held.
    pub push_to_talk: bool,
    /// The name of that key; a name that is none means the space bar.
    pub talk_key: String,
    /// Short sounds when somebody comes or goes.
    pub chimes: bool,
    /// How loud people are heard, by name, 0 to 2; who is not in it is heard as they come.
    pub volumes: BTreeMap<String, f32>,
}

impl Default for SoundSettings {
    fn default() -> Self {
        Self {
            processing: Processing::default(),
            push_to_talk: false,
            talk_key: "Space".into(),
            chimes: true,
            volumes: BTreeMap::new(),
        }
    }
}

impl SoundSettings {
    /// overflow: the first in the order of names is forgotten.
    const MOST_VOLUMES: usize = 256;

    /// Keeps how loud somebody is heard; as they come is what is kept of nobody.
    pub fn set_volume(&mut self, name: &str, volume: f32) {
        if volume == 1.0 {
            self.volumes.remove(name);
        } else {
            self.volumes.insert(name.to_owned(), volume);
            if self.volumes.len() > Self::MOST_VOLUMES {
                self.volumes.pop_first();
            }
        }
    }
}

/// The file that holds them.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    path: PathBuf,
}

impl SettingsFile {
    /// The user's own; `None` on a system without a home folder.
    pub fn of_user() -> Option<Self> {
        let dirs = directories::ProjectDirs::from("", "", "snug")?;
        Some(Self::at(dirs.config_dir().join("settings.json")))
    }

    /// A file somewhere else.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads them. A file that is missing gives the defaults; one that is broken does too, and is renamed
    /// to `….broken` so that nothing in it is lost.
    pub fn load(&self) -> Settings {
        match read(&self.path) {
            Ok(settings) => settings.checked(),
            Err(error) if is_missing(&error) => Settings::default(),
            Err(error) => {
                let aside = self.path.with_extension("json.broken");
                tracing::warn!(path = %self.path.display(), "settings set aside: {error:#}");
                if let Err(error) = std::fs::rename(&self.path, &aside) {
                    tracing::warn!(path = %aside.display(), "could not set them aside: {error}");
                }
                Settings::default()
            }
        }
    }

    /// Writes them, so that a crash leaves either the old file or the new one.
    pub fn save(&self, settings: &Settings) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let write = || -> Result<()> {
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, settings)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write the settings {}", self.path.display()))
    }
}

impl Settings {
    /// A window size that no screen has is forgotten, and a volume that nobody could have chosen.
    fn checked(mut self) -> Self {
        let sane = |side: f32| (100.0..=16_000.0).contains(&side);
        self.window = self.window.filter(|(width, height)| sane(*width) && sane(*height));
        self.sound.volumes.retain(|_, volume| (0.0..=2.0).contains(volume));
        self
    }
}

fn read(path: &Path) -> Result<Settings> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::audio::Noise;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn what_is_saved_is_read_back() {
        let folder = folder();
        let file = SettingsFile::at(folder.path().join("deep/settings.json"));
        assert_eq!(file.load(), Settings::default());
        let settings = Settings {
            name: "Ann ❤".into(),
            room: "tea".into(),
            server: "https://call.example".into(),
            camera: CameraUse::Device("/dev/video2".into()),
            mic: MicUse::None,
            speaker: SpeakerUse::Default,
            sound: SoundSettings {
                processing: Processing { music: true, ..Processing::default() },
                push_to_talk: true,
                talk_key: "B".into(),
                chimes: false,
                volumes: BTreeMap::from([("Ben ❤".to_owned(), 0.5)]),
            },
            relay_only: true,
            window: Some((1280.0, 720.0)),
        };
        file.save(&settings).unwrap();
        assert_eq!(file.load(), settings);
        file.save(&Settings::default()).unwrap();
        assert_eq!(file.load(), Settings::default());
        assert_eq!(
            std::fs::read_dir(folder.path().join("deep")).unwrap().count(),
            1,
            "no temporary file stays"
        );
    }

    #[test]
    fn a_broken_file_is_set_aside() {
        for broken in [&b"{\"name\": \"An"[..], b"3", b"", b"\xff\xfe", b"{\"name\": 3}"] {
            let folder = folder();
            let path = folder.path().join("settings.json");
            std::fs::write(&path, broken).unwrap();
            assert_eq!(SettingsFile::at(&path).load(), Settings::default());
            assert!(!path.exists());
            assert_eq!(std::fs::read(folder.path().join("settings.json.broken")).unwrap(), broken);
        }
    }

    #[test]
    fn unknown_fields_and_missing_ones_are_fine() {
        let folder = folder();
        let path = folder.path().join("settings.json");
        std::fs::write(
            &path,
            r#"{"name":"Ann","of_the_future":[1],"window":[1,9e30],
            "sound":{"volumes":{"Ben":0.25,"Eve":9,"Fay":-1},"processing":{"noise":"high"},"odd":null}}"#,
        )
        .unwrap();
        let settings = SettingsFile::at(&path).load();
        assert_eq!((settings.name.as_str(), settings.window), ("Ann", None));
        let processing = Processing { noise: Noise::High, ..Processing::default() };
        let volumes = BTreeMap::from([("Ben".to_owned(), 0.25)]);
        assert_eq!(settings.sound, SoundSettings { processing, volumes, ..SoundSettings::default() });
        assert!(path.exists());
    }

    #[test]
    fn volumes_do_not_grow_without_bound() {
        let mut sound = SoundSettings::default();
        for n in 0..1000 {
            sound.set_volume(&n.to_string(), 0.5);
        }
        assert_eq!(sound.volumes.len(), SoundSettings::MOST_VOLUMES);
        for name in sound.volumes.clone().keys() {
            sound.set_volume(name, 1.0);
        }
        assert!(sound.volumes.is_empty());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error_with_its_path() {
        let folder = folder();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let file = SettingsFile::at(folder.path().join("file/settings.json"));
        let error = file.save(&Settings::default()).unwrap_err().to_string();
        assert!(error.contains("file/settings.json"), "{error}");
    }
}
