//! The transcript of docs/signaling.md, replayed word for word.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod common;

use common::Bare;
use serde_json::Value;
use std::collections::HashMap;

const DOCUMENT: &str = include_str!("../../../docs/signaling.md");

/// What the example's ids and secrets are called on this run.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    /// Puts this run's names into an example's message.
    fn apply(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(real) = self.0.get(text) {
                    *text = real.clone();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|v| self.apply(v)),
            Value::Object(fields) => fields.values_mut().for_each(|v| self.apply(v)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn learn(&mut self, example: &Value, real: &Value) {
        let fields: &[&str] = match example["type"].as_str() {
            Some("welcome") => &["id", "resume"],
            Some("knock") => &["id"],
            _ => &[],
        };
        if !fields.is_empty() {
            for field in fields.iter().copied() {
                let text = |v: &Value| v[field].as_str().unwrap().to_owned();
                let known = self.0.insert(text(example), text(real));
                assert!(known.is_none_or(|k| k == text(real)), "{field} changed");
            }
        }
    }
}

#[tokio::test]
async fn the_documents_transcript_is_what_happens() {
    // The document's server offers no STUN and TURN.
    let server = common::server_with(|config| config.turn.enabled = Some(false)).await;
    let section = DOCUMENT.split("## Two people, word for word").nth(1).unwrap();
    let blocks = section.split("```text").skip(1).map(|b| b.split("```").next().unwrap());
    let mut people: HashMap<char, Bare> = HashMap::new();
    let mut names = Names::default();
    let mut lines = 0;
    for line in blocks.flat_map(str::lines).filter(|l| !l.is_empty()) {
        lines += 1;
        let (who, rest) = (line.chars().next().unwrap(), line[2..].trim());
        match &line[1..2] {
            ">" => {
                let mut message: Value = serde_json::from_str(rest).unwrap();
                if message["type"] == "hello" {
                    people.insert(who, Bare::open(&server).await);
                }
                names.apply(&mut message);
                people.get_mut(&who).unwrap().say(&message).await;
            }
            "<" => {
                let mut expected: Value = serde_json::from_str(rest).unwrap();
                let real = people.get_mut(&who).unwrap().hear().await;
                names.learn(&expected, &real);
                names.apply(&mut expected);
                assert_eq!(real, expected, "{line}");
            }
            "!" if rest.contains("breaks") => drop(people.remove(&who)),
            "!" if rest.contains("closes with") => {
                let code: u16 = rest.rsplit(' ').next().unwrap().parse().unwrap();
                assert_eq!(people.get_mut(&who).unwrap().close_code().await, code);
            }
            _ => panic!("{line}"),
        }
    }
    assert!(lines > 30, "only {lines} lines found in the document");
    server.shutdown().await;
}
