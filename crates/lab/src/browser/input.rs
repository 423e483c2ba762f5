//! What a person does to a page: real mouse and key events, so that what cannot be clicked is not clicked.

use super::Page;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// An element that is not there, hidden, disabled or covered for so long cannot be used.
const REACHABLE_WITHIN: Duration = Duration::from_secs(10);

/// Where to click an element: the middle of it, once it stands still, is enabled and nothing covers it.
const REACH: &str = r#"(async () => {
    const element = document.querySelector(SELECTOR);
    if (!element || element.disabled) return null;
    element.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    const before = element.getBoundingClientRect();
    await new Promise(resolve => { requestAnimationFrame(resolve); setTimeout(resolve, 100); });
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.height === 0 || box.x !== before.x || box.y !== before.y) return null;
    const x = box.x + box.width / 2, y = box.y + box.height / 2;
    const hit = document.elementFromPoint(x, y);
    return hit && (element.contains(hit) || hit.closest('label')?.control === element) ? { x, y } : null;
})()"#;

impl Page {
    /// Clicks the middle of the first element that a CSS selector finds, once it can be clicked.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let reach = REACH.replace("SELECTOR", &Value::from(selector).to_string());
        let found = self.wait_value(&reach, REACHABLE_WITHIN).await;
        let point = found.with_context(|| format!("cannot click {selector}"))?;
        let event = |kind: &str, count: u32| json!({ "type": kind, "x": point["x"], "y": point["y"], "button": "left", "clickCount": count });
        for (kind, count) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 1)] {
            self.call("Input.dispatchMouseEvent", event(kind, count)).await?;
        }
        Ok(())
    }

    /// Clicks a field and types into it in place of what it holds.
    pub async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        self.click(selector).await?;
        self.evaluate("document.activeElement.select()").await?;
        if text.is_empty() {
            return self.press("Delete").await;
        }
        self.call("Input.insertText", json!({ "text": text })).await.map(drop)
    }

    /// Presses and releases a key: a letter, a digit, or `Enter`, `Escape`, `Tab`, `Delete`, `Space`,
    /// `ArrowDown`, `ArrowUp`.
    pub async fn press(&self, key: &str) -> Result<()> {
        let (name, code, number, text) = match key {
            "Enter" => ("Enter".into(), "Enter".into(), 13, Some("\r".into())),
            "Escape" => ("Escape".into(), "Escape".into(), 27, None),
            "Tab" => ("Tab".into(), "Tab".into(), 9, None),
            "Delete" => ("Delete".into(), "Delete".into(), 46, None),
            "Space" => (" ".to_owned(), "Space".to_owned(), 32, Some(" ".to_owned())),
            "ArrowDown" => ("ArrowDown".into(), "ArrowDown".into(), 40, None),
            "ArrowUp" => ("ArrowUp".into(), "ArrowUp".into(), 38, None),
            _ => letter(key)?,
        };
        let event = |kind: &str| {
            let mut event =
                json!({ "type": kind, "key": name, "code": code, "windowsVirtualKeyCode": number });
            if let (Some(text), "keyDown") = (&text, kind) {
                event["text"] = text.as_str().into();
            }
            event
        };
        self.call("Input.dispatchKeyEvent", event("keyDown")).await?;
        self.call("Input.dispatchKeyEvent", event("keyUp")).await.map(drop)
    }

    /// Chooses an entry of a `<select>` by its number, with the arrow keys as a person at the keyboard
    /// does. The page sees every entry that is passed on the way.
    pub async fn choose(&self, selector: &str, entry: usize) -> Result<()> {
        let quoted = Value::from(selector).to_string();
        let focus = format!(
            "(() => {{ const list = document.querySelector({quoted}); list?.focus();
                return list && document.activeElement === list && [list.selectedIndex, list.options.length]; }})()"
        );
        let state = self.wait_value(&focus, REACHABLE_WITHIN).await;
        let state =
            state.with_context(|| format!("{selector} does not take the focus: hidden or disabled"))?;
        let (now, length) = (state[0].as_i64().unwrap_or(-1), state[1].as_i64().unwrap_or(0));
        let wanted = i64::try_from(entry)?;
        if wanted >= length {
            bail!("{selector} has {length} entries, there is no number {entry}");
        }
        let key = if wanted > now { "ArrowDown" } else { "ArrowUp" };
        for _ in 0..wanted.abs_diff(now) {
            self.press(key).await?;
        }
        let chosen = format!("document.querySelector({quoted}).selectedIndex === {entry}");
        self.wait_for(&chosen, REACHABLE_WITHIN).await
    }
}

/// The key of one plain letter or digit: its name, code, number and text.
fn letter(key: &str) -> Result<(String, String, u32, Option<String>)> {
    let mut letters = key.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else { bail!("no such key: {key}") };
    if !letter.is_ascii_alphanumeric() {
        bail!("no such key: {key}");
    }
    let upper = letter.to_ascii_uppercase();
    let code = if letter.is_ascii_digit() { format!("Digit{letter}") } else { format!("Key{upper}") };
    Ok((key.to_owned(), code, u32::from(upper), Some(key.to_owned())))
}
