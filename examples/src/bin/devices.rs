//! Lists the cameras, microphones and speakers that Snug can use, as `media` finds them.
//!
//! ```text
//! cargo run -p examples --bin devices
//! ```
//!
//! A star marks what is used when nobody chooses. What stands in brackets is the id: it is what
//! `CameraUse::Device`, `MicUse::Device` and `SpeakerUse::Device` take, and so do `snug join --camera ID`,
//! `--mic ID` and `--speaker ID`.

use media::DeviceInfo;

fn main() {
    // Asks the system's services: this may take a moment, so a program with a window does it on a thread.
    show("Cameras", &media::camera::list());
    show("Microphones", &media::audio::list_mics());
    show("Speakers", &media::audio::list_speakers());
}

fn show(title: &str, devices: &[DeviceInfo]) {
    println!("{title}");
    if devices.is_empty() {
        println!("  none found");
    }
    for device in devices {
        let mark = if device.default { '*' } else { ' ' };
        println!(" {mark} {} ({})", device.name, device.id);
    }
}
