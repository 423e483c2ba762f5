//! The guest's page, compiled in from `assets/guest/`.

/// A file of the page.
pub(crate) struct Asset {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) data: &'static [u8],
}

macro_rules! assets {
    ($($name:literal $kind:literal),* $(,)?) => {
        &[$(Asset {
            name: $name,
            kind: $kind,
            data: include_bytes!(concat!("../../../assets/guest/", $name)),
        }),*]
    };
}

/// The page itself, for `/` and `/ROOM`.
pub(crate) const PAGE: &[u8] = include_bytes!("../../../assets/guest/index.html");

/// What it loads from `/assets/`. A new file is a new line here.
pub(crate) const ASSETS: &[Asset] = assets![
    "door.js" "text/javascript; charset=utf-8",
    "guest.css" "text/css; charset=utf-8",
    "guest.js" "text/javascript; charset=utf-8",
    "hearing.js" "text/javascript; charset=utf-8",
    "icon.svg" "image/svg+xml",
    "media.js" "text/javascript; charset=utf-8",
    "peer.js" "text/javascript; charset=utf-8",
    "problems.js" "text/javascript; charset=utf-8",
    "room.js" "text/javascript; charset=utf-8",
    "servers.js" "text/javascript; charset=utf-8",
    "signaling.js" "text/javascript; charset=utf-8",
    "store.js" "text/javascript; charset=utf-8",
    "tiles.js" "text/javascript; charset=utf-8",
    "ui.js" "text/javascript; charset=utf-8",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/guest");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let listed = name == "index.html" || ASSETS.iter().any(|a| a.name == name);
            assert!(listed, "assets/guest/{name} is not in crates/server/src/guest.rs");
        }
    }
}
