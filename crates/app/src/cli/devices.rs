//! `snug devices`: what the system has.

use anyhow::Result;
use call::Devices;
use media::DeviceInfo;
use serde_json::json;
use std::fmt::Write as _;

/// Lists them on standard output.
pub fn run(json: bool) -> Result<()> {
    let devices = list();
    let text = if json { as_json(&devices)? } else { as_text(&devices) };
    print!("{text}");
    Ok(())
}

/// Asks the system; may take a moment.
pub fn list() -> Devices {
    Devices {
        cameras: media::camera::list(),
        mics: media::audio::list_mics(),
        speakers: media::audio::list_speakers(),
    }
}

fn as_json(devices: &Devices) -> Result<String> {
    let value = json!({ "cameras": devices.cameras, "mics": devices.mics, "speakers": devices.speakers });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

fn as_text(devices: &Devices) -> String {
    let mut out = String::new();
    section(&mut out, "Cameras", &devices.cameras);
    section(&mut out, "Microphones", &devices.mics);
    section(&mut out, "Speakers", &devices.speakers);
    out
}

fn section(out: &mut String, title: &str, devices: &[DeviceInfo]) {
    // Writing into a string cannot fail.
    let _ = writeln!(out, "{title}");
    if devices.is_empty() {
        let _ = writeln!(out, "  none found");
    }
    for device in devices {
        let mark = if device.default { '*' } else { ' ' };
        let _ = writeln!(out, " {mark} {}  ({})", device.name, device.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Devices {
        let camera = DeviceInfo { id: "/dev/video0".into(), name: "Cam".into(), default: true };
        Devices { cameras: vec![camera], ..Devices::default() }
    }

    #[test]
    fn people_read_names_and_ids() {
        let text = as_text(&devices());
        assert!(text.contains("Cameras\n * Cam  (/dev/video0)\n"), "{text}");
        assert!(text.contains("Speakers\n  none found\n"), "{text}");
    }

    #[test]
    fn programs_read_one_object() {
        let value: serde_json::Value = serde_json::from_str(&as_json(&devices()).unwrap()).unwrap();
        assert_eq!(value["cameras"][0]["id"], "/dev/video0");
        assert_eq!(value["cameras"][0]["default"], true);
        assert_eq!(value["mics"], json!([]));
    }
}
