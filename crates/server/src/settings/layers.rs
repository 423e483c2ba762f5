//! The layers of settings, and where each value came from, so that an error can name it.

use super::{Over, Settings, check};
use crate::config::Config;
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not TOML, an unknown key, a value of the wrong kind, or one that cannot be.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The same, of a flag, an environment variable, or of what is missing.
    #[error("{at}: {message}")]
    Given {
        /// The flag or variable; the file's key where none was given.
        at: String,
        /// What is wrong.
        message: String,
    },
}

/// A fault in the value of a setting.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The file's key, sections and all: `tls.acme.host`.
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, message: message.into() }
    }
}

/// Flags and environment over a file.
#[derive(Debug, Default)]
pub struct Layers {
    flags: Settings,
    /// The keys that flags or the environment set, and how.
    given: Vec<(String, ValueSource)>,
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    text: String,
    settings: Settings,
}

impl Layers {
    /// Those of the command line and of the environment, as clap found them in `matches`.
    pub fn of_flags(flags: Settings, matches: &ArgMatches) -> Self {
        let given = matches.ids().filter_map(|id| {
            let source = matches.try_contains_id(id.as_str()).ok().filter(|is| *is)?;
            let source = source.then(|| matches.value_source(id.as_str())).flatten()?;
            Some((id.as_str().to_owned(), source))
        });
        Self { given: given.collect(), flags, file: None }
    }

    /// Puts a file below.
    ///
    /// # Errors
    /// A file that cannot be read or is not what it should be.
    pub fn read(self, path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        self.text(path, text)
    }

    /// The same with a file's text; the path is for errors.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn text(mut self, path: &Path, text: String) -> Result<Self, ConfigError> {
        let settings = toml::from_str(&text).map_err(|error| ConfigError::Line {
            path: path.to_owned(),
            line: line(&text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        self.file = Some(File { path: path.to_owned(), text, settings });
        Ok(self)
    }

    /// What they come to.
    ///
    /// # Errors
    /// A value that cannot be, or does not go with another; named by flag, variable, or line of the file.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let below = self.file.as_ref().map(|f| f.settings.clone()).unwrap_or_default();
        check::config(self.flags.clone().over(below)).map_err(|fault| self.locate(fault))
    }

    fn locate(&self, Fault { key, message }: Fault) -> ConfigError {
        let given = self.given.iter().find(|(id, _)| id == key).map(|(_, source)| *source);
        let name = key.replace('.', "_");
        let at = match given {
            Some(ValueSource::EnvVariable) => format!("SNUG_{}", name.to_ascii_uppercase()),
            Some(_) => format!("--{}", name.replace('_', "-")),
            None => match self.file.as_ref().and_then(|f| Some((f, f.line_of(key)?))) {
                Some((file, line)) => return ConfigError::Line { path: file.path.clone(), line, message },
                None => key.to_owned(),
            },
        };
        ConfigError::Given { at, message }
    }
}

impl File {
    /// The line of a key; none where the file does not have it.
    fn line_of(&self, key: &str) -> Option<usize> {
        let whole = DeTable::parse(&self.text).ok()?;
        let mut table = whole.get_ref();
        let mut at = None;
        for part in key.split('.') {
            let (name, value) = table.get_key_value(part)?;
            at = Some(name.span().start);
            if let Some(inner) = value.get_ref().as_table() {
                table = inner;
            }
        }
        at.map(|offset| line(&self.text, offset))
    }
}

fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}
