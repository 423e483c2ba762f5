//! Which rooms may be opened: the `[rooms]` section of the server's file.

use serde::{Deserialize, Deserializer, de};
use signaling::RoomName;
use std::collections::BTreeSet;

/// Which rooms may be opened. By default any.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Opening {
    /// By which rule.
    pub create: Create,
    /// The rooms there may be with [`Create::Listed`], by their keys.
    #[serde(deserialize_with = "keys")]
    pub names: BTreeSet<String>,
}

/// Who may open a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Create {
    /// Whoever says its name.
    #[default]
    Anyone,
    /// Whoever says the name of one on the list.
    Listed,
}

impl Opening {
    /// Whether a room may be opened.
    pub fn allows(&self, room: &RoomName) -> bool {
        match self.create {
            Create::Anyone => true,
            Create::Listed => self.names.contains(room.key()),
        }
    }
}

fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<String>, D::Error> {
    let read = |name: String| match RoomName::parse(&name) {
        Ok(room) => Ok(room.key().to_owned()),
        Err(error) => Err(de::Error::custom(format!("\"{name}\" cannot be a room: {error}"))),
    };
    Vec::<String>::deserialize(from)?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_rooms_are_compared_as_rooms_are() {
        let opening: Opening = toml::from_str("create = \"listed\"\nnames = [\"Tea Time\"]").unwrap();
        assert!(opening.allows(&RoomName::parse("tea time").unwrap()));
        assert!(!opening.allows(&RoomName::parse("tea").unwrap()));
        assert!(Opening::default().allows(&RoomName::parse("tea").unwrap()));
        assert!(toml::from_str::<Opening>("names = [\"a/b\"]").is_err());
        assert!(toml::from_str::<Opening>("create = \"nobody\"").is_err());
    }
}
