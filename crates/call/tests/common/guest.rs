//! Somebody in headless Chromium on the guest's page, who presses what a person would press. Their camera
//! is a marked clip and their microphone a tone that comes and goes: what they send is known by content.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use super::common::{DEADLINE, World};
use lab::browser::{Browser, Metrics, Options, Page};
use lab::mark::{Colour, MARK_JS};
use media::CameraUse;
use serde_json::Value;
use std::path::Path;
use std::time::Instant;

/// What the guest's microphone hears.
pub const GUEST_HERTZ: f32 = 700.0;
/// What the engine's test tone sounds like.
pub const ENGINE_HERTZ: f32 = 440.0;

const WATCH: &str = include_str!("guest.js");

/// A browser whose camera is a clip of this colour.
pub async fn browser(world: &World, colour: Colour) -> Browser {
    let CameraUse::File(clip) = world.clip(colour) else { unreachable!("clips are files") };
    browser_with(world, &clip).await
}

/// A browser whose camera is this clip.
pub async fn browser_with(world: &World, clip: &Path) -> Browser {
    let voice = world.path("guest.wav");
    write_pulses(&voice);
    let options = Options { video: Some(clip.into()), audio: Some(voice), devices: 1, ..Options::default() };
    Browser::launch(&options).await.expect("a browser")
}

/// A tone of 0.15 s each second.
fn write_pulses(path: &Path) {
    let mut samples = lab::tone::samples(GUEST_HERTZ, 0.15);
    samples.resize(lab::tone::RATE as usize, 0.0);
    let data: Vec<u8> =
        samples.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()).collect();
    let size = u32::try_from(data.len()).expect("a short sound");
    let rate = lab::tone::RATE;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + size).to_le_bytes());
    // PCM, one channel, two bytes a sample.
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(rate.to_le_bytes());
    file.extend((2 * rate).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(size.to_le_bytes());
    file.extend(data);
    std::fs::write(path, file).expect("a file of the test");
}

pub struct Guest {
    pub page: Page,
    link: String,
}

impl Guest {
    /// Opens a room's page, with a script of the test before the page's own, and waits for the own picture.
    pub async fn opens(browser: &Browser, world: &World, room: &str, script: &str) -> Self {
        let page = browser.page().await.expect("a page");
        let window = Metrics { width: 1000, height: 640, scale: 1.0, mobile: false };
        page.resize(window).await.expect("a window");
        page.before_load(&format!("{MARK_JS}\n{WATCH}\n{script}")).await.expect("a script");
        let guest = Self { page, link: format!("{}/{room}", world.line.url) };
        guest.loads().await;
        guest
    }

    /// Opens a room's page and joins.
    pub async fn joins(browser: &Browser, world: &World, room: &str) -> Self {
        let guest = Self::opens(browser, world, room, "").await;
        guest.enters("Gus").await;
        guest
    }

    /// Loads the page, or loads it again.
    pub async fn loads(&self) {
        self.page.navigate(&self.link).await.expect("the guest's page");
        let ready = "snug.media.live('audio') === snug.media.on('audio')
            && document.querySelector('#self-video').videoWidth > 0";
        self.until(ready).await;
    }

    pub async fn enters(&self, name: &str) {
        self.page.fill("#name", name).await.expect("a name");
        self.clicks("#join").await;
        self.until("document.body.dataset.view === 'call'").await;
    }

    /// Waits until an expression is true.
    pub async fn until(&self, condition: &str) {
        if let Err(error) = self.page.wait_for(condition, DEADLINE).await {
            let state = "(async () => [typeof numbers === 'object' && numbers, window.heard,
                window.snug?.room && tile()?.outerHTML, window.snug?.room && tile() && await path()])()";
            panic!("{error:#}; {:?}", self.page.evaluate(state).await);
        }
    }

    pub async fn clicks(&self, selector: &str) {
        self.page.click(selector).await.expect("something to click");
    }

    pub async fn get(&self, expression: &str) -> Value {
        self.page.evaluate(expression).await.expect("a value")
    }

    pub async fn number(&self, expression: &str) -> u64 {
        let value = self.get(expression).await;
        value.as_u64().unwrap_or_else(|| panic!("{expression} is {value}"))
    }

    /// Waits until the engine's clip of this colour is shown, and moves.
    pub async fn sees(&self, colour: Colour) {
        let name = format!("{colour:?}").to_lowercase();
        self.get("numbers = []").await;
        self.until(&format!("tile()?.dataset.picture === 'on' && sees('{name}')")).await;
    }

    /// Waits until the engine's tone is heard.
    pub async fn hears(&self) {
        self.until(&format!("hears({ENGINE_HERTZ})")).await;
    }

    /// Waits until the mark for a muted microphone is shown, or not.
    pub async fn sees_muted(&self, muted: bool) {
        let hidden = "tile().querySelector('.who .muted').hasAttribute('hidden')";
        self.until(&format!("tile() && {hidden} === {}", !muted)).await;
    }

    /// Waits until a count of what comes in stands still while one of the other kind goes on by `steps`.
    pub async fn still(&self, kind: &str, name: &str, other: &str, steps: u64) {
        let count = format!("count('inbound-rtp', '{kind}', '{name}')");
        let clock = format!("count('inbound-rtp', '{other}', 'packetsReceived')");
        let until = Instant::now() + DEADLINE;
        loop {
            let (before, ticks) = (self.number(&count).await, self.number(&clock).await);
            self.until(&format!("{clock}.then((now) => now >= {ticks} + {steps})")).await;
            if self.number(&count).await == before {
                return;
            }
            assert!(Instant::now() < until, "{kind} still comes");
        }
    }

    /// The engine is muted: its mark is shown, no sound comes, pictures go on.
    pub async fn hears_nothing(&self) {
        self.sees_muted(true).await;
        self.still("audio", "packetsReceived", "video", 40).await;
    }

    /// The engine's camera is off: the placeholder is shown, nothing comes and nothing is decoded.
    pub async fn sees_nothing(&self) {
        self.until("tile()?.dataset.picture === 'off'").await;
        self.still("video", "packetsReceived", "audio", 40).await;
        self.still("video", "framesDecoded", "audio", 40).await;
    }
}
