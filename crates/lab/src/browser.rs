//! A small driver of headless Chromium over the DevTools protocol.
//!
//! The protocol runs over two pipes (`--remote-debugging-pipe`), not over a WebSocket: that needs no port,
//! works when the browser lives in another network namespace, and Chromium quits by itself when we are
//! gone, however we went. One task owns the pipes (`pipe`); a [`Page`] is a handle on one tab.

mod input;
mod page;
mod pipe;
mod process;

pub(crate) use page::base64;
pub use page::{Metrics, Page};

use anyhow::{Context, Result};
use pipe::Pipe;
use process::Process;
use serde_json::{Value, json};
use std::path::PathBuf;

/// How a browser is started. The default has three fake cameras and microphones, all allowed.
#[derive(Clone, Debug)]
pub struct Options {
    /// A `.y4m` or `.mjpeg` file that every fake camera plays, in a loop.
    pub video: Option<PathBuf>,
    /// A `.wav` file that every fake microphone plays, in a loop.
    pub audio: Option<PathBuf>,
    /// How many fake cameras and microphones there are; with none, the browser sees the real ones. Of
    /// Chromium's fake cameras the second gives depth pictures, which WebRTC does not send: use the third.
    pub devices: u32,
    /// Answer every question for a camera or microphone with yes.
    pub allow: bool,
    /// Run inside this network namespace (`ip netns exec NAME`, needs root).
    pub namespace: Option<String>,
    /// The X display it has its windows on; with none it has none, and Chromium without windows is mute.
    pub display: Option<String>,
    /// More command line switches.
    pub flags: Vec<String>,
    /// Environment variables beside ours: names and values.
    pub environment: Vec<(String, PathBuf)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            video: None,
            audio: None,
            devices: 3,
            allow: true,
            namespace: None,
            display: None,
            flags: Vec::new(),
            environment: Vec::new(),
        }
    }
}

/// A running browser with its own fresh profile. Dropping it kills its whole process group and removes the
/// profile.
pub struct Browser {
    pipe: Pipe,
    process: Process,
}

impl Browser {
    /// Starts `$CHROMIUM`, or `/usr/bin/chromium`. Must be called inside a tokio runtime.
    pub async fn launch(options: &Options) -> Result<Self> {
        let (process, stdin, stdout) = Process::spawn(options)?;
        let pipe = Pipe::new(stdin, stdout)?;
        let answer = pipe.call(None, "Browser.getVersion", json!({})).await;
        answer.with_context(|| format!("the browser did not start: {}", process.last_words()))?;
        Ok(Self { pipe, process })
    }

    /// Opens an empty page in a context of its own: no cookies, storage or permissions are shared with
    /// other pages. Camera, microphone and clipboard are granted when [`Options::allow`] says so.
    pub async fn page(&self) -> Result<Page> {
        let context = self.pipe.call(None, "Target.createBrowserContext", json!({})).await?;
        let context = text(&context, "browserContextId")?;
        if self.process.allow {
            let permissions =
                ["audioCapture", "videoCapture", "clipboardReadWrite", "clipboardSanitizedWrite"];
            let grant = json!({ "browserContextId": context, "permissions": permissions });
            self.pipe.call(None, "Browser.grantPermissions", grant).await?;
        }
        self.page_in(&context).await
    }

    /// Opens an empty page that shares cookies, storage and permissions with `other`.
    pub async fn page_beside(&self, other: &Page) -> Result<Page> {
        self.page_in(other.context()).await
    }

    async fn page_in(&self, context: &str) -> Result<Page> {
        let target = json!({ "url": "about:blank", "browserContextId": context, "newWindow": true });
        let target = self.pipe.call(None, "Target.createTarget", target).await?;
        let target = text(&target, "targetId")?;
        let attach = json!({ "targetId": target, "flatten": true });
        let session = self.pipe.call(None, "Target.attachToTarget", attach).await?;
        Page::open(self.pipe.clone(), context.to_owned(), target, text(&session, "sessionId")?).await
    }

    /// The process id of the browser's root process; renderers and the rest are its descendants.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// A string member of a protocol answer.
fn text(value: &Value, key: &str) -> Result<String> {
    let found = value.get(key).and_then(Value::as_str);
    Ok(found.with_context(|| format!("the browser's answer lacks {key}: {value}"))?.to_owned())
}
