//! The guest's page by plain http from another computer: browsers give it neither camera nor microphone, and it says
//! so, and what to do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use lab::browser::{Browser, Options};
use server::door::PlainHttp;
use server::{Config, Server};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// The address by which others reach this computer, if there is one; nothing is sent to find it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("203.0.113.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_plain_http_from_elsewhere_it_says_why_there_is_no_camera() {
    let Some(own) = own_address() else {
        eprintln!(
            "SKIPPED: this machine has no address other than loopback, so nobody could come from elsewhere"
        );
        return;
    };
    let mut config = Config { listen: SocketAddr::new(own, 0).into(), ..Config::default() };
    // That address may be a public one.
    config.door.plain_http = PlainHttp::Anybody;
    let server = Server::bind(config).await.unwrap();
    let browser = Browser::launch(&Options::default()).await.unwrap();
    let page = browser.page().await.unwrap();
    page.navigate(&format!("{}/tea", server.url())).await.unwrap();
    page.wait_for("!isSecureContext && navigator.mediaDevices === undefined", SOON).await.unwrap();
    page.wait_for("document.querySelector('#problems li')?.textContent.includes('https://')", SOON)
        .await
        .unwrap();
    // Without either one can still join, be seen by name, and write.
    page.fill("#name", "Ann").await.unwrap();
    page.click("#join").await.unwrap();
    page.wait_for("document.body.dataset.view === 'call'", SOON).await.unwrap();
}
