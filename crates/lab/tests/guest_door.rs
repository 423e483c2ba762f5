//! The door of a room, from the guest's page: a host in one Chromium page shuts it, somebody in another knocks,
//! is let in, or types the password. Pictures of both pages are saved in cargo's folder for tests' files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use lab::browser::{Browser, Metrics, Options, Page};
use server::{Config, Running, Server};
use std::path::PathBuf;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

async fn serve() -> Running {
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    Server::bind(config).await.unwrap()
}

struct Person(Page);

impl Person {
    async fn opens(browser: &Browser, link: &str, name: &str) -> Self {
        let page = browser.page().await.unwrap();
        page.resize(Metrics { width: 1280, height: 800, scale: 1.0, mobile: false }).await.unwrap();
        page.navigate(link).await.unwrap();
        let person = Self(page);
        person.sees("document.querySelector('#self-video').videoWidth > 0").await;
        person.0.fill("#name", name).await.unwrap();
        person
    }

    async fn joins(&self) {
        self.clicks("#join").await;
        self.sees("document.body.dataset.view === 'call'").await;
    }

    async fn sees(&self, condition: &str) {
        self.0.wait_for(condition, SOON).await.unwrap();
    }

    async fn clicks(&self, selector: &str) {
        self.0.click(selector).await.unwrap();
    }

    async fn photographed(&self, name: &str) {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        self.0.screenshot(&path).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_shuts_the_door_and_lets_one_in_who_knocks() {
    let server = serve().await;
    let link = format!("{}/Tea%20Time", server.url());
    let browser = Browser::launch(&Options::default()).await.unwrap();
    let ann = Person::opens(&browser, &link, "Ann").await;
    ann.joins().await;
    ann.sees("snug.room.entrance.ours").await;
    ann.clicks("#door-toggle").await;
    ann.clicks("#door-knock").await;
    ann.sees("snug.room.entrance.knock").await;

    let bo = Person::opens(&browser, &link, "Bo").await;
    bo.clicks("#join").await;
    bo.sees("!document.querySelector('#waiting').hidden").await;
    ann.sees("document.querySelector('#knocks li span')?.textContent === 'Bo wants to come in'").await;
    ann.photographed("guest-knock.png").await;
    bo.photographed("guest-waiting.png").await;
    // Not now, and once more.
    ann.clicks("#knocks li button.quiet").await;
    bo.sees("!document.querySelector('#password-field').hidden").await;
    bo.sees("document.querySelector('#problems li')?.textContent.includes('cannot enter')").await;
    bo.photographed("guest-password.png").await;
    bo.clicks("#join").await;
    ann.sees("document.querySelector('#knocks li')").await;
    ann.clicks("#knocks li button.primary").await;
    bo.sees("document.body.dataset.view === 'call'").await;
    ann.sees("snug.people.size === 1 && !document.querySelector('#knocks li')").await;
    bo.sees("!snug.room.entrance.ours && document.querySelector('#door-own').hidden").await;

    // With a password, nobody is asked.
    ann.clicks("#door-knock").await;
    ann.0.fill("#door-password", "earl grey").await.unwrap();
    ann.clicks("#door-form button[type=submit]").await;
    ann.sees("snug.room.entrance.password && !snug.room.entrance.knock").await;
    let cy = Person::opens(&browser, &link, "Cy").await;
    cy.clicks("#join").await;
    cy.sees("!document.querySelector('#password-field').hidden").await;
    cy.0.fill("#password", "earl grey").await.unwrap();
    cy.joins().await;
    // The host goes: whoever was there longest is host, and can do what a host does.
    ann.clicks("#leave").await;
    bo.sees("snug.room.entrance.ours && !document.querySelector('#door-own').hidden").await;
    bo.clicks("#door-toggle").await;
    bo.clicks("#door-clear").await;
    cy.sees("!snug.room.entrance.password").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_can_give_it_up() {
    let server = serve().await;
    let link = format!("{}/tea", server.url());
    let browser = Browser::launch(&Options::default()).await.unwrap();
    let ann = Person::opens(&browser, &link, "Ann").await;
    ann.joins().await;
    ann.clicks("#door-toggle").await;
    ann.clicks("#door-knock").await;
    ann.sees("snug.room.entrance.knock").await;
    let bo = Person::opens(&browser, &link, "Bo").await;
    bo.clicks("#join").await;
    ann.sees("document.querySelector('#knocks li')").await;
    bo.clicks("#waiting-cancel").await;
    bo.sees("document.querySelector('#waiting').hidden && !document.querySelector('#join').disabled").await;
    ann.sees("!document.querySelector('#knocks li')").await;
}
