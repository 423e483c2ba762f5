//! How a server is set up: defaults, a TOML file, and what its values become.

use crate::room::Limits;
use crate::socket::Timing;
use crate::turn::{self, Turn};
use serde::Deserialize;
use signaling::IceServer;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A server's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// What each welcome offers.
    pub ice: IceConfig,
    /// Browser origins (`https://host`) allowed beside the server's own.
    pub origins: Vec<String>,
    /// What the rooms take.
    pub limits: Limits,
    /// WebSockets in all.
    pub sockets: usize,
    /// Deadlines of a connection.
    pub timing: Timing,
    /// The STUN and TURN server inside.
    pub turn: turn::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            ice: IceConfig::default(),
            origins: Vec::new(),
            limits: Limits::default(),
            sockets: 2000,
            timing: Timing::default(),
            turn: turn::Settings::default(),
        }
    }
}

/// STUN and TURN servers.
#[derive(Clone, Default)]
pub struct IceConfig {
    /// Given out as they are.
    pub fixed: Vec<IceServer>,
    /// Given out with credentials that expire.
    pub turn: Option<TurnConfig>,
    /// The server inside, where it runs.
    pub inside: Option<Arc<Turn>>,
}

/// A TURN server that shares a secret with us (`use-auth-secret` of coturn, "TURN REST API").
#[derive(Clone)]
pub struct TurnConfig {
    /// `turn:` and `turns:` addresses.
    pub urls: Vec<String>,
    /// The shared secret.
    pub secret: String,
    /// How long credentials are good, in seconds.
    pub ttl: u64,
}

impl std::fmt::Debug for IceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let turn = self.turn.as_ref().map(|t| &t.urls);
        let inside = self.inside.is_some();
        f.debug_struct("IceConfig")
            .field("fixed", &self.fixed)
            .field("turn", &turn)
            .field("inside", &inside)
            .finish()
    }
}

impl IceConfig {
    /// What to give to `user` now, who calls this server `host` (without a port; without a host the server
    /// inside is not offered, as it does not know its name).
    pub fn servers(&self, user: &str, unix_seconds: u64, host: Option<&str>) -> Vec<IceServer> {
        let mut servers = self.fixed.clone();
        if let Some((inside, host)) = self.inside.as_ref().zip(host) {
            servers.extend(inside.ice_servers(user, unix_seconds, host));
        }
        if let Some(turn) = &self.turn {
            let username = format!("{}:{user}", unix_seconds + turn.ttl);
            servers.push(IceServer {
                urls: turn.urls.clone(),
                credential: turn::gate::password(&turn.secret, &username),
                username: Some(username),
            });
        }
        servers
    }
}

/// Why a configuration is refused.
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
    /// Not TOML, an unknown key, a value of the wrong kind.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// The file as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<SocketAddr>,
    origins: Vec<String>,
    ice_servers: Vec<FileIceServer>,
    turn_secret: Option<toml::Spanned<String>>,
    turn_urls: Vec<String>,
    turn_ttl: Option<u64>,
    max_rooms: Option<usize>,
    max_connections: Option<usize>,
    max_participants: Option<usize>,
    turn: turn::Settings,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIceServer {
    urls: Vec<String>,
    username: Option<String>,
    credential: Option<String>,
}

impl Config {
    /// Reads a TOML file over the defaults.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let at = |offset: usize, message: String| ConfigError::Line {
            path: path.to_owned(),
            line: text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1,
            message,
        };
        let file: File =
            toml::from_str(text).map_err(|e| at(e.span().map_or(0, |s| s.start), e.message().to_owned()))?;
        let mut config = Self::default();
        if let Some(secret) = file.turn_secret {
            if file.turn_urls.is_empty() {
                let message = "turn_secret is of no use without turn_urls = [\"turn:host:3478\"]";
                return Err(at(secret.span().start, message.into()));
            }
            let ttl = file.turn_ttl.unwrap_or(12 * 3600);
            config.ice.turn = Some(TurnConfig { urls: file.turn_urls, secret: secret.into_inner(), ttl });
        }
        config.turn = file.turn;
        config.ice.fixed = file
            .ice_servers
            .into_iter()
            .map(|s| IceServer { urls: s.urls, username: s.username, credential: s.credential })
            .collect();
        config.listen = file.listen.unwrap_or(config.listen);
        config.origins = file.origins;
        config.limits.rooms = file.max_rooms.unwrap_or(config.limits.rooms);
        config.limits.participants = file.max_participants.unwrap_or(config.limits.participants).clamp(1, 12);
        config.sockets = file.max_connections.unwrap_or(config.sockets);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("snug.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_full_file() {
        let config = parse(
            r#"listen = "0.0.0.0:9000"
               origins = ["https://other.example"]
               turn_secret = "north"
               turn_urls = ["turn:turn.example:3478"]
               turn_ttl = 60
               max_rooms = 7
               [[ice_servers]]
               urls = ["stun:stun.example"]"#,
        )
        .unwrap();
        assert_eq!(config.listen.port(), 9000);
        assert_eq!(config.limits.rooms, 7);
        let servers = config.ice.servers("ann", 1_000_000, None);
        assert_eq!(servers[0].urls, ["stun:stun.example"]);
        assert_eq!(servers[1].username.as_deref(), Some("1000060:ann"));
        assert!(!format!("{config:?}").contains("north"));
    }

    #[test]
    fn credentials_are_those_of_the_turn_rest_api() {
        // From: printf 1433895918:filip | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(
            turn::gate::password("north", "1433895918:filip").as_deref(),
            Some(include_str!("../tests/turn_credential.txt").trim())
        );
    }

    #[test]
    fn faults_name_the_line() {
        for (text, start) in [
            ("listen = \"0.0.0.0:1\"\nlistne = 1\n", "snug.toml:2: unknown field `listne`"),
            ("\n\nlisten = 7", "snug.toml:3: "),
            ("listen = \"here\"", "snug.toml:1: "),
            ("max_rooms = -1", "snug.toml:1: "),
            ("\n[[ice_servers]]\nurls = [\"stun:x\"]\nuser = \"x\"", "snug.toml:4: unknown field `user`"),
            ("\nturn_secret = \"x\"", "snug.toml:2: turn_secret is of no use"),
            ("listen = ", "snug.toml:1: "),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(start), "{error}");
        }
        let error = Config::load(Path::new("/nowhere/snug.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/snug.toml: "), "{error}");
    }
}
