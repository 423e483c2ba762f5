//! A Chromium at the guest's page, driven as a person drives it.

use super::PATIENCE;
use crate::browser::{Browser, Metrics, Options, Page};
use crate::link::{Host, Link};
use anyhow::Result;
use std::path::Path;

const WINDOW: Metrics = Metrics { width: 1280, height: 720, scale: 1.0, mobile: false };

/// How a Chromium is started.
#[derive(Clone, Debug)]
pub(crate) struct Setting<'a> {
    /// The server's address.
    pub(crate) url: &'a str,
    /// The room whose page it opens.
    pub(crate) room: &'a str,
    /// The camera's y4m file.
    pub(crate) clip: &'a Path,
    /// The microphone's wav file.
    pub(crate) voice: &'a Path,
    /// What runs before the page's own scripts.
    pub(crate) script: &'a str,
}

/// A running browser; it ends when dropped.
pub(crate) struct Chromium {
    pub(crate) browser: Browser,
    pub(crate) page: Page,
}

impl Chromium {
    /// A browser in a host, the page loaded, camera and microphone running: ready for the click on Join.
    pub(crate) async fn open(link: &Link, host: Host, setting: &Setting<'_>) -> Result<Self> {
        let url = setting.url;
        let options = Options {
            video: Some(setting.clip.to_owned()),
            audio: Some(setting.voice.to_owned()),
            devices: 1,
            allow: true,
            namespace: Some(link.namespace(host).to_owned()),
            display: None,
            // Cameras are only for secure pages; https would change nothing that is measured.
            flags: vec![format!("--unsafely-treat-insecure-origin-as-secure={url}")],
            environment: Vec::new(),
        };
        let browser = Browser::launch(&options).await?;
        let page = browser.page().await?;
        page.resize(WINDOW).await?;
        page.before_load(setting.script).await?;
        page.navigate(&format!("{url}/{}", setting.room)).await?;
        let ready = "snug.media.live('video') && snug.media.live('audio')
            && document.getElementById('self-video').videoWidth > 0";
        page.wait_for(ready, PATIENCE).await?;
        Ok(Self { browser, page })
    }
}
