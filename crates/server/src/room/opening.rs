//! Which rooms may be opened.

use serde::Deserialize;
use signaling::RoomName;
use std::collections::BTreeSet;

/// Which rooms may be opened. By default any.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// By which rule.
    pub create: Create,
    /// The rooms there may be with [`Create::Listed`], by their keys.
    pub names: BTreeSet<String>,
}

/// Who may open a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_rooms_are_compared_as_rooms_are() {
        let names = [RoomName::parse("Tea Time").unwrap().key().to_owned()].into();
        let opening = Opening { create: Create::Listed, names };
        assert!(opening.allows(&RoomName::parse("tea time").unwrap()));
        assert!(!opening.allows(&RoomName::parse("tea").unwrap()));
        assert!(Opening::default().allows(&RoomName::parse("tea").unwrap()));
    }
}
