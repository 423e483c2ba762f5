//! What is typed before the call: name, room, server, password.

use crate::place::{self, Place};
use crate::settings::Settings;
use call::{Command, Password};
use std::fmt;

/// The fields of the lobby.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// How the others see us.
    pub name: String,
    /// A room's name, or its link.
    pub room: String,
    /// The server; empty means inside this program.
    pub server: String,
    /// The room's password, where one is asked for. Never remembered.
    pub password: String,
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").field("room", &self.room).field("server", &self.server).finish_non_exhaustive()
    }
}

impl Form {
    /// As it was last time.
    pub fn remembered(settings: &Settings) -> Self {
        Self {
            name: crate::cli::own_name(settings),
            room: settings.room.clone(),
            server: settings.server.clone(),
            password: String::new(),
        }
    }

    /// The command to join. Its server is empty when the call goes over one inside this program. Errors
    /// say what to type instead.
    pub fn join(&self) -> Result<Command, String> {
        let place = Place::parse(&self.room).map_err(|error| error.to_string())?;
        let server = match place.server {
            Some(server) => server,
            None if self.server.trim().is_empty() => String::new(),
            None => place::server(&self.server).map_err(|error| error.to_string())?,
        };
        let (name, password) = (self.name.trim().to_owned(), Password::new(self.password.as_str()));
        Ok(Command::Join { server, room: place.room, name, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(room: &str, server: &str) -> Form {
        Form { name: " Ann ".into(), room: room.into(), server: server.into(), password: String::new() }
    }

    fn join(server: &str) -> Result<Command, String> {
        let password = Password::default();
        Ok(Command::Join { server: server.into(), room: "tea".into(), name: "Ann".into(), password })
    }

    #[test]
    fn a_room_may_be_a_link_and_a_server_may_lack_its_scheme() {
        assert_eq!(form(" tea ", "").join(), join(""));
        assert_eq!(form("tea", "call.example/").join(), join("https://call.example"));
        assert_eq!(form("http://10.0.0.2:8787/tea", "call.example").join(), join("http://10.0.0.2:8787"));
    }

    #[test]
    fn what_cannot_be_joined_says_why() {
        assert!(form(" ", "").join().is_err());
        assert!(form("tea", "ftp://x").join().unwrap_err().contains("https://"));
    }
}
