//! Statistics as a file: one JSON object a line, once a second, for `--stats`.
//!
//! A line: `{"time":1764000000.25,"phase":"in_room","me":{…},"participants":[{"id":"…","name":"…",
//! "connection":"connected","muted":false,"camera_off":false,"away":false,"quality":"good","reason":null, …the fields of call::Stats…}]}`.

use anyhow::{Context as _, Result};
use call::{Connection, Phase, Quality, Reason, Snapshot, Stats};
use serde::Serialize;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Serialize)]
struct Line<'a> {
    /// Seconds since 1970.
    time: f64,
    phase: &'static str,
    me: MeLine<'a>,
    participants: Vec<ParticipantLine<'a>>,
}

#[derive(Serialize)]
struct MeLine<'a> {
    id: Option<&'a str>,
    name: &'a str,
    muted: bool,
    camera_off: bool,
    mic_level: f32,
}

#[derive(Serialize)]
struct ParticipantLine<'a> {
    id: &'a str,
    name: &'a str,
    connection: Connection,
    muted: bool,
    camera_off: bool,
    away: bool,
    quality: Option<Quality>,
    reason: Option<Reason>,
    #[serde(flatten)]
    stats: Option<&'a Stats>,
}

/// The line for a snapshot at a moment, without its line end.
pub fn line(snapshot: &Snapshot, now: SystemTime) -> serde_json::Result<String> {
    let me = &snapshot.me;
    let participants = snapshot.participants.iter().map(|them| ParticipantLine {
        id: &them.id.0,
        name: &them.name,
        connection: them.connection,
        muted: them.muted,
        camera_off: them.camera_off,
        away: them.away,
        quality: them.quality,
        reason: them.reason,
        stats: them.stats.as_deref(),
    });
    serde_json::to_string(&Line {
        time: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        phase: phase(&snapshot.phase),
        me: MeLine {
            id: me.id.as_ref().map(|id| id.0.as_str()),
            name: &me.name,
            muted: me.muted,
            camera_off: me.camera_off,
            mic_level: me.sound.level,
        },
        participants: participants.collect(),
    })
}

fn phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::Lobby => "lobby",
        Phase::Joining { .. } => "joining",
        Phase::Waiting { .. } => "waiting",
        Phase::InRoom { .. } => "in_room",
        Phase::Reconnecting { .. } => "reconnecting",
    }
}

/// The file.
pub struct StatsFile {
    path: PathBuf,
    file: File,
}

impl StatsFile {
    /// Creates it, or empties it.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path)
            .with_context(|| format!("cannot write {}: name another file with --stats", path.display()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Adds a line.
    pub fn add(&mut self, snapshot: &Snapshot, now: SystemTime) -> Result<()> {
        let mut text = line(snapshot, now)?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .with_context(|| format!("cannot write {}: is its disk full?", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call::Participant;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_line_names_everybody_and_carries_their_figures() {
        let mut stats = Stats { current_round_trip_time: Some(0.02), ..Stats::default() };
        stats.inbound_video.frames_per_second = 29.9;
        let ben = Participant {
            id: serde_json::from_str("\"p2\"").unwrap(),
            name: "Ben".into(),
            muted: true,
            camera_off: false,
            away: false,
            connection: Connection::Connected,
            view: media::Slot::default(),
            stats: Some(Arc::new(stats)),
            quality: Some(Quality::Poor),
            reason: Some(Reason::Loss),
            lost_for: None,
            history: Arc::default(),
        };
        let eve = Participant { name: "Eve".into(), stats: None, ..ben.clone() };
        let phase = Phase::InRoom { room: "tea".into(), link: "http://h/tea".into() };
        let snapshot = Snapshot { phase, participants: vec![ben, eve], ..Snapshot::default() };
        let text = line(&snapshot, UNIX_EPOCH + Duration::from_millis(1500)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["time"], 1.5);
        assert_eq!(value["phase"], "in_room");
        let ben = &value["participants"][0];
        assert_eq!((&ben["id"], &ben["name"], &ben["muted"]), (&"p2".into(), &"Ben".into(), &true.into()));
        assert_eq!(ben["connection"], "connected");
        assert_eq!((&ben["quality"], &ben["reason"]), (&"poor".into(), &"loss".into()));
        assert_eq!(ben["currentRoundTripTime"], 0.02);
        assert_eq!(ben["inboundVideo"]["framesPerSecond"], 29.9);
        assert_eq!(
            value["participants"][1].get("inboundVideo"),
            None,
            "nothing is invented before the first"
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_says_so() {
        let error = StatsFile::create(Path::new("/nowhere/at/all")).err().unwrap().to_string();
        assert!(error.contains("/nowhere/at/all") && error.contains("--stats"), "{error}");
    }
}
