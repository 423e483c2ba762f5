//! What our logs do not hold, at their most talkative: no SDP, no address, no secret, no password, no words. (What
//! libraries say below info, whoever asks for it asks for all.)
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

mod common;

use common::{Bare, hello, server_with};
use serde_json::json;
use server::config::TurnConfig;
use std::io;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

#[tokio::test]
async fn a_whole_session_leaves_nothing_of_it_in_the_log() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("info,server=trace,signaling=trace")
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    // One thread: all that the server does here is logged here.
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = server_with(|config| {
        let urls = vec!["turn:turn.example:3478".into()];
        config.ice.turn = Some(TurnConfig { urls, secret: "northsecret".into(), ttl: 600 });
    })
    .await;
    let mut opened = hello("tea", "Ann");
    opened["password"] = json!("earlgrey");
    let mut ann = Bare::open(&server).await;
    ann.say(&opened).await;
    let welcome = ann.hear().await;
    assert_eq!(welcome["iceTtl"], 600);
    let mut secrets = vec![welcome["resume"].as_str().unwrap().to_owned()];
    let servers = &welcome["iceServers"][0];
    secrets.extend(["username", "credential"].map(|field| servers[field].as_str().unwrap().to_owned()));
    ann.say(&json!({"type": "door", "password": "darjeeling", "knock": true})).await;
    ann.hear().await;

    // One who guesses wrong and knocks, one who knows, messages of all kinds, nonsense, a take-over, a bye.
    let mut bo = Bare::open(&server).await;
    let mut knock = hello("tea", "Bo");
    (knock["password"], knock["knock"]) = (json!("oolong"), json!(true));
    bo.say(&knock).await;
    assert_eq!(bo.hear().await["type"], "waiting");
    let id = ann.hear().await["id"].clone();
    ann.say(&json!({"type": "admit", "id": id})).await;
    assert_eq!(ann.hear().await["type"], "knock-over");
    let bo_welcome = bo.hear().await;
    secrets.push(bo_welcome["resume"].as_str().unwrap().to_owned());
    assert_eq!(ann.hear().await["type"], "joined");
    let sdp = "v=0\r\na=ice-pwd:icepassword\r\nc=IN IP4 198.51.100.7\r\n";
    for message in [
        json!({"type": "description", "to": id, "description": {"type": "offer", "sdp": sdp}}),
        json!({"type": "candidate", "to": id, "candidate": {"candidate": "candidate:1 1 udp 1 198.51.100.8 9 typ host"}}),
        json!({"type": "chat", "text": "verysecretwords"}),
        json!({"type": "ice"}),
    ] {
        ann.say(&message).await;
    }
    for kind in ["description", "candidate", "chat"] {
        assert_eq!(bo.hear().await["type"], kind);
    }
    assert_eq!(ann.hear().await["type"], "ice");
    ann.say(&json!({"type": "wave", "to": "198.51.100.9"})).await;
    assert_eq!(ann.hear().await["type"], "error");
    drop(bo);
    assert_eq!(ann.hear().await["type"], "away");
    let mut again = Bare::open(&server).await;
    let mut resume = hello("tea", "Bo");
    resume["resume"] = bo_welcome["resume"].clone();
    again.say(&resume).await;
    assert_eq!(again.hear().await["resumed"], true);
    again.say(&json!({"type": "bye"})).await;
    assert_eq!(again.close_code().await, 1000);
    server.shutdown().await;

    says_nothing_of(&log.text(), secrets);
}

fn says_nothing_of(text: &str, mut secrets: Vec<String>) {
    assert!(text.contains("opened") && text.contains("closed"), "the log was on: {text}");
    secrets.extend(
        [
            "earlgrey",
            "darjeeling",
            "oolong",
            "northsecret",
            "icepassword",
            "198.51.100",
            "candidate:1",
            "verysecret",
        ]
        .map(str::to_owned),
    );
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in the log");
    }
    // Of addresses, the one that it listens on alone: whoever connects has another port.
    let own = server_port(text);
    for line in text.lines().filter(|line| line.contains("127.0.0.1:")) {
        assert!(line.contains(&own), "{line}");
    }
}

/// The port that the log names first, if any.
fn server_port(text: &str) -> String {
    let rest = text.split("127.0.0.1:").nth(1).unwrap_or_default();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    format!("127.0.0.1:{digits}")
}
