//! One tab: where it goes, what runs in it, what it looks like.

use super::pipe::{Pipe, thrown};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// The size of a page's window, in CSS pixels.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// Across.
    pub width: u32,
    /// Down.
    pub height: u32,
    /// Device pixels to a CSS pixel.
    pub scale: f64,
    /// Whether it is a phone: touch, and no hover.
    pub mobile: bool,
}

/// A tab. It stays open until [`Page::close`], or until its browser is dropped.
pub struct Page {
    pipe: Pipe,
    context: String,
    target: String,
    session: String,
}

impl Page {
    pub(super) async fn open(pipe: Pipe, context: String, target: String, session: String) -> Result<Self> {
        let page = Self { pipe, context, target, session };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({})).await?;
        }
        // Else only one page of the browser believes it has the focus.
        page.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await?;
        Ok(page)
    }

    pub(super) fn context(&self) -> &str {
        &self.context
    }

    /// Sends any command of the protocol to this page.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value> {
        self.pipe.call(Some(&self.session), method, params).await
    }

    /// Goes to an address and waits until the page is loaded, its modules included.
    pub async fn navigate(&self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", json!({ "url": url })).await?;
        if let Some(error) = answer["errorText"].as_str() {
            bail!("{url}: {error}");
        }
        self.wait_for("document.readyState === 'complete'", Duration::from_secs(20)).await
    }

    /// Runs a script before any of the page's own, at each load from now on.
    pub async fn before_load(&self, script: &str) -> Result<()> {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await.map(drop)
    }

    /// Evaluates an expression; a promise is awaited; what it throws is an error. The value must be JSON.
    pub async fn evaluate(&self, expression: &str) -> Result<Value> {
        let request = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let mut answer = self.call("Runtime.evaluate", request).await?;
        if let Some(details) = answer.get("exceptionDetails") {
            bail!("{} in {expression}", thrown(details));
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true; looked at with every frame that the page draws. It may be a
    /// promise. When the deadline passes, the error carries what the page has printed.
    pub async fn wait_for(&self, condition: &str, within: Duration) -> Result<()> {
        self.wait_value(condition, within).await.map(drop)
    }

    /// As [`Page::wait_for`], and gives the value that was true.
    pub async fn wait_value(&self, condition: &str, within: Duration) -> Result<Value> {
        let script = format!(
            "new Promise((resolve, reject) => {{
                let last, timer;
                const over = performance.now() + {};
                const look = async () => {{
                    clearTimeout(timer);
                    try {{ last = await ({condition}); }} catch (error) {{ reject(error); return; }}
                    if (last) resolve(last);
                    else if (performance.now() > over) reject(new Error('not in time, last ' + JSON.stringify(last)));
                    // Hidden pages draw no frames.
                    else timer = setTimeout(look, 16);
                }};
                look();
            }})",
            within.as_millis()
        );
        let found = self.evaluate(&script).await;
        found.with_context(|| format!("waited for {condition}; the page printed {:#?}", self.log()))
    }

    /// What the page printed and threw so far, oldest first; at most 500 lines.
    pub fn log(&self) -> Vec<String> {
        self.pipe.log(&self.session)
    }

    /// Sets a permission, by its name in the Permissions API (`camera`, `microphone`), to `granted`,
    /// `denied` or `prompt`.
    pub async fn set_permission(&self, name: &str, setting: &str) -> Result<()> {
        let request = json!({
            "permission": { "name": name },
            "setting": setting,
            "browserContextId": self.context,
        });
        self.pipe.call(None, "Browser.setPermission", request).await.map(drop)
    }

    /// Sets the size of the window.
    pub async fn resize(&self, metrics: Metrics) -> Result<()> {
        let Metrics { width, height, scale, mobile } = metrics;
        let request =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", request).await?;
        self.call("Emulation.setTouchEmulationEnabled", json!({ "enabled": mobile })).await.map(drop)
    }

    /// Saves what the page shows as a PNG file.
    pub async fn screenshot(&self, path: &Path) -> Result<()> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        let data = shot["data"].as_str().context("the browser gave no picture")?;
        let data = base64(data).context("the browser's picture is not base64")?;
        std::fs::write(path, data).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Cuts the page off from the network, or connects it again. Media is not touched.
    pub async fn offline(&self, offline: bool) -> Result<()> {
        self.call("Network.enable", json!({})).await?;
        let request = json!({
            "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.call("Network.emulateNetworkConditions", request).await.map(drop)
    }

    /// Closes the tab as a person does: the page may say good-bye.
    pub async fn close(self) -> Result<()> {
        self.pipe.call(None, "Target.closeTarget", json!({ "targetId": self.target })).await.map(drop)
    }
}

/// The bytes of a base64 text; none where it is not one.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in text.trim_end_matches('=').bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_texts_are_read() {
        assert_eq!(base64("").as_deref(), Some(&b""[..]));
        assert_eq!(base64("c251Zw==").as_deref(), Some(&b"snug"[..]));
        assert_eq!(base64("+/8A").as_deref(), Some(&[0xfb, 0xff, 0x00][..]));
        assert_eq!(base64("c2 1"), None);
    }
}
