//! What is kept between two starts: the account's key and the certificate with its own, readable by us alone.

use super::{AcmeError, Settings};
use crate::tls::{Loaded, parse};
use instant_acme::AccountCredentials;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A folder for each directory, so that a test authority's certificates are not taken for a real one's.
pub(super) struct Store {
    folder: PathBuf,
    host: String,
}

impl Store {
    pub(super) fn open(settings: &Settings) -> Result<Self, AcmeError> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
        let name = settings.directory.trim_start_matches("https://").chars().map(plain).collect::<String>();
        let folder = settings.cache.join(name);
        let made = std::fs::create_dir_all(&folder).and_then(|()| only_ours(&folder, 0o700));
        made.map_err(|error| AcmeError::Cache { path: folder.clone(), error })?;
        let store = Self { folder, host: settings.host.clone() };
        // Whether it can be written shows now, not when the certificate has come.
        let probe = store.folder.join(".writable");
        store.write(&probe, b"")?;
        std::fs::remove_file(&probe).map_err(|error| AcmeError::Cache { path: probe, error })?;
        Ok(store)
    }

    /// The account of before.
    pub(super) fn account(&self) -> Result<Option<AccountCredentials>, AcmeError> {
        let path = self.folder.join("account.json");
        let Some(text) = read(&path)? else { return Ok(None) };
        Ok(Some(serde_json::from_slice(&text).map_err(instant_acme::Error::Json)?))
    }

    pub(super) fn keep_account(&self, credentials: &AccountCredentials) -> Result<(), AcmeError> {
        let text = serde_json::to_vec(credentials).map_err(instant_acme::Error::Json)?;
        self.write(&self.folder.join("account.json"), &text)
    }

    /// The certificate of before.
    pub(super) fn certificate(&self) -> Result<Option<Loaded>, AcmeError> {
        let path = self.certificate_file();
        let Some(text) = read(&path)? else { return Ok(None) };
        Ok(Some(parse((&path, &text), (&path, &text))?))
    }

    /// Checks a certificate and its key, PEM both, and keeps them, in one file, so that they always fit.
    pub(super) fn keep_certificate(&self, key: &str, chain: &str) -> Result<Loaded, AcmeError> {
        let path = self.certificate_file();
        let text = format!("{}\n{}\n", key.trim_end(), chain.trim_end());
        let loaded = parse((&path, text.as_bytes()), (&path, text.as_bytes()))?;
        self.write(&path, text.as_bytes())?;
        Ok(loaded)
    }

    fn certificate_file(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.host))
    }

    /// Writes beside, then moves: there is the old one or the new one, never a half.
    fn write(&self, path: &Path, text: &[u8]) -> Result<(), AcmeError> {
        let beside = path.with_extension("new");
        let written = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&beside)?;
            only_ours(&beside, 0o600)?;
            file.write_all(text)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)
        };
        written().map_err(|error| AcmeError::Cache { path: path.to_owned(), error })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, AcmeError> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AcmeError::Cache { path: path.to_owned(), error }),
    }
}

#[cfg(unix)]
fn only_ours(path: &Path, mode: u32) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
fn only_ours(_: &Path, _: u32) -> std::io::Result<()> {
    Ok(())
}
