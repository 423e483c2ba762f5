//! The browser driver against a real Chromium.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use lab::browser::{Browser, Metrics, Options};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A page of our own; `data:` addresses need no server.
async fn page_with(browser: &Browser, body: &str) -> lab::browser::Page {
    let page = browser.page().await.unwrap();
    page.navigate("about:blank").await.unwrap();
    let body = serde_json::Value::from(body);
    page.evaluate(&format!("document.body.innerHTML = {body}")).await.unwrap();
    page
}

#[tokio::test]
async fn a_page_is_driven_as_by_a_person() {
    let browser = Browser::launch(&Options::default()).await.unwrap();
    let page = page_with(
        &browser,
        "<input id=field value=old><button id=button onclick='document.title = field.value'>go</button>
         <select id=list><option>a<option>b<option>c</select><button id=off disabled>no</button>",
    )
    .await;
    page.fill("#field", "new").await.unwrap();
    page.click("#button").await.unwrap();
    page.wait_for("document.title === 'new'", SECOND).await.unwrap();
    page.choose("#list", 2).await.unwrap();
    assert_eq!(page.evaluate("list.value").await.unwrap(), "c");
    page.click("#field").await.unwrap();
    page.press("x").await.unwrap();
    assert!(page.evaluate("field.value").await.unwrap().as_str().unwrap().contains('x'));
    assert_eq!(page.evaluate("Promise.resolve([1, null])").await.unwrap(), serde_json::json!([1, null]));
}

#[tokio::test]
async fn what_goes_wrong_in_a_page_is_an_error_that_tells() {
    let browser = Browser::launch(&Options::default()).await.unwrap();
    let page = page_with(&browser, "<p>hello").await;
    let error = format!("{:#}", page.evaluate("nonsense()").await.unwrap_err());
    assert!(error.contains("nonsense is not defined"), "{error}");
    let error = format!("{:#}", page.evaluate("Promise.reject(new Error('no'))").await.unwrap_err());
    assert!(error.contains("no"), "{error}");
    page.evaluate("console.warn('careful', 7)").await.unwrap();
    page.evaluate("setTimeout(() => { throw new Error('later'); }); new Promise(r => setTimeout(r, 20))")
        .await
        .unwrap();
    let error = format!("{:#}", page.wait_for("document.title", SECOND / 10).await.unwrap_err());
    assert!(error.contains("not in time"), "{error}");
    assert!(error.contains("warning: careful 7") && error.contains("later"), "{error}");
    assert!(page.navigate("http://127.0.0.1:1/").await.is_err());
}

#[tokio::test]
async fn nothing_is_left_of_a_dropped_browser() {
    let browser = Browser::launch(&Options::default()).await.unwrap();
    let page = page_with(&browser, "<p>hello").await;
    page.resize(Metrics { width: 320, height: 200, scale: 2.0, mobile: false }).await.unwrap();
    let shot = tempfile::NamedTempFile::new().unwrap();
    page.screenshot(shot.path()).await.unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(shot.path()).unwrap()))
        .read_info()
        .unwrap();
    assert_eq!((reader.info().width, reader.info().height), (640, 400));
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let root = browser.pid();
    assert!(in_group(root) > 1, "the browser has descendants");
    drop(browser);
    assert_eq!(in_group(root), 0);
    let error = page.evaluate("1").await.unwrap_err();
    assert!(format!("{error:#}").contains("gone"), "{error:#}");
}

/// How many live processes a process group has.
fn in_group(group: u32) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
    stats
        .filter(|stat| {
            // pid (name) state parent group …
            let after = stat.rsplit(')').next().unwrap_or_default();
            let mut fields = after.split_whitespace();
            let state = fields.next();
            fields.nth(1) == Some(&group.to_string()) && state != Some("Z")
        })
        .count()
}
