//! Chromium at the guest's page in a host.

use super::end::{PATIENCE, PathSeen, Place};
use crate::browser::{Browser, Metrics, Options, Page};
use anyhow::{Context, Result};
use serde_json::Value;

const WINDOW: Metrics = Metrics { width: 1280, height: 720, scale: 1.0, mobile: false };

/// Runs before the page's scripts: keeps when the other's pictures are shown (ms since 1970), and gives the
/// connection and its statistics.
const WATCH: &str = "
    window.shown = [];
    window.sockets = [];
    window.WebSocket = class extends WebSocket {
        constructor(...all) { super(...all); sockets.push(this); }
    };
    window.pc = () => [...(window.snug?.people?.values() ?? [])][0]?.peer?.pc;
    setInterval(() => {
        const video = document.querySelector('.tile video');
        if (!video || video.watched) return;
        video.watched = true;
        const seen = (now) => {
            // overflow: later ones are not kept; ten minutes of them are.
            if (shown.length < 20000) shown.push(performance.timeOrigin + now);
            video.requestVideoFrameCallback(seen);
        };
        video.requestVideoFrameCallback(seen);
    }, 50);
    window.heard = async () => {
        let sum = 0;
        (await pc()?.getStats())?.forEach((each) => {
            if (each.type === 'inbound-rtp' && each.kind === 'audio') sum += each.totalAudioEnergy ?? 0;
        });
        return sum > 0 && performance.now() - window.clicked;
    };
    window.path = async () => {
        const all = await pc().getStats();
        let transport;
        all.forEach((each) => { if (each.type === 'transport') transport = each; });
        const pair = all.get(transport.selectedCandidatePairId);
        return [pair.localCandidateId, pair.remoteCandidateId].map((id) => all.get(id).candidateType);
    };
";

/// It ends when dropped.
pub(super) struct Guest {
    page: Page,
    // After its page.
    _browser: Browser,
}

impl Guest {
    /// Opens the room's page, waits for the camera and clicks on Join.
    pub(super) async fn join(place: &Place<'_>) -> Result<Self> {
        let options = Options {
            video: place.clip.map(ToOwned::to_owned),
            devices: 1,
            namespace: Some(place.host.to_owned()),
            // The certificate is of an authority that nobody knows; `snug` at the other end does check it.
            flags: vec!["--ignore-certificate-errors".into()],
            ..Options::default()
        };
        let browser = Browser::launch(&options).await?;
        let page = browser.page().await?;
        page.resize(WINDOW).await?;
        page.before_load(WATCH).await?;
        page.navigate(&format!("{}/tea", place.url())).await?;
        let ready = "snug.media.live('video') && snug.media.live('audio')
            && document.getElementById('self-video').videoWidth > 0";
        page.wait_for(ready, PATIENCE).await?;
        page.evaluate(
            "document.querySelector('#join')
                .addEventListener('click', () => { window.clicked = performance.now(); }, true)",
        )
        .await?;
        page.click("#join").await?;
        page.wait_for("!!snug.room", PATIENCE).await?;
        Ok(Self { page, _browser: browser })
    }

    pub(super) async fn connected(&self) -> Result<()> {
        self.page.wait_for("pc()?.connectionState === 'connected'", PATIENCE).await
    }

    /// Milliseconds from the click on Join to the other's first sound.
    pub(super) async fn first_sound(&self) -> Result<f64> {
        let heard = self.page.wait_value("heard()", PATIENCE).await?;
        heard.as_f64().context("the page tells no time")
    }

    pub(super) async fn first_picture(&self) -> Result<()> {
        self.page.wait_for("shown.length > 0", PATIENCE).await
    }

    pub(super) async fn path(&self) -> Result<PathSeen> {
        let told = self.page.evaluate("path()").await?;
        let kind = |value: &Value| value.as_str().map(str::to_owned);
        let (local, remote) = kind(&told[0]).zip(kind(&told[1])).context("the page tells no path")?;
        let relayed = local == "relay" || remote == "relay";
        Ok(PathSeen { local, remote, relayed })
    }

    /// Leaves. When pictures were shown, Unix time in microseconds.
    pub(super) async fn leave(self) -> Result<Vec<u64>> {
        let told = self.page.evaluate("shown").await?;
        let times = told.as_array().context("the page kept no pictures")?;
        let shown = times.iter().filter_map(Value::as_f64).map(|ms| (ms * 1000.0) as u64).collect();
        self.page.click("#leave").await?;
        // Its good-bye has arrived, by the newest socket: else it would haunt the room in the next call.
        self.page.wait_for("sockets.at(-1).readyState === 3", PATIENCE).await?;
        self.page.close().await?;
        Ok(shown)
    }
}
