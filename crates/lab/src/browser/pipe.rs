//! The DevTools protocol over two pipes: JSON texts, each ended by a zero byte. One task owns both ends;
//! it matches answers to calls by number and keeps what pages print.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};

/// A call that has no answer by then is an error. Waits inside a page have deadlines of their own.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// overflow: callers of [`Pipe::call`] wait.
const CALLS_IN_FLIGHT: usize = 64;
/// overflow: the oldest line of a page goes.
const KEPT_LINES: usize = 500;

struct Call {
    request: Value,
    answer: oneshot::Sender<Result<Value>>,
}

/// What a page printed and threw, by session.
type Logs = Arc<Mutex<HashMap<String, VecDeque<String>>>>;

/// A handle on the protocol; clones share it. The task ends with the last of them, or with the browser.
#[derive(Clone)]
pub(super) struct Pipe {
    calls: mpsc::Sender<Call>,
    logs: Logs,
}

impl Pipe {
    pub(super) fn new(stdin: ChildStdin, stdout: ChildStdout) -> Result<Self> {
        let stdin = tokio::process::ChildStdin::from_std(stdin)?;
        let stdout = BufReader::new(tokio::process::ChildStdout::from_std(stdout)?);
        let (calls, receiver) = mpsc::channel(CALLS_IN_FLIGHT);
        let logs = Logs::default();
        tokio::spawn(run(stdin, stdout, receiver, Arc::clone(&logs)));
        Ok(Self { calls, logs })
    }

    /// Sends one command and waits for its answer.
    pub(super) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value> {
        let mut request = json!({ "method": method, "params": params });
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        let (answer, answered) = oneshot::channel();
        let gone = || anyhow!("{method}: the browser is gone");
        self.calls.send(Call { request, answer }).await.map_err(|_| gone())?;
        let waited = tokio::time::timeout(ANSWER_WITHIN, answered).await;
        let answer = waited.with_context(|| format!("{method}: no answer from the browser"))?;
        answer.map_err(|_| gone())?.with_context(|| method.to_owned())
    }

    /// What a page printed and threw so far, oldest first.
    pub(super) fn log(&self, session: &str) -> Vec<String> {
        lock(&self.logs).get(session).map(|lines| lines.iter().cloned().collect()).unwrap_or_default()
    }
}

fn lock(logs: &Logs) -> MutexGuard<'_, HashMap<String, VecDeque<String>>> {
    logs.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

async fn run(
    mut stdin: tokio::process::ChildStdin,
    stdout: BufReader<tokio::process::ChildStdout>,
    mut calls: mpsc::Receiver<Call>,
    logs: Logs,
) {
    let mut pending = HashMap::new();
    let mut number = 0_u64;
    // `Split::next_segment` loses nothing when the other branch wins.
    let mut messages = stdout.split(0);
    loop {
        tokio::select! {
            call = calls.recv() => {
                let Some(Call { mut request, answer }) = call else { return };
                number += 1;
                request["id"] = number.into();
                let mut bytes = request.to_string().into_bytes();
                bytes.push(0);
                if stdin.write_all(&bytes).await.is_err() {
                    return;
                }
                pending.insert(number, answer);
            }
            message = messages.next_segment() => {
                let Ok(Some(bytes)) = message else { return };
                match serde_json::from_slice::<Value>(&bytes) {
                    Ok(message) => take(message, &mut pending, &logs),
                    Err(error) => eprintln!("the browser sent what is not JSON: {error}"),
                }
            }
        }
    }
}

fn take(mut message: Value, pending: &mut HashMap<u64, oneshot::Sender<Result<Value>>>, logs: &Logs) {
    if let Some(id) = message["id"].as_u64() {
        // A caller that gave up is no longer there to read the answer.
        if let Some(answer) = pending.remove(&id) {
            drop(answer.send(outcome(message)));
        }
        return;
    }
    let line = match message["method"].as_str() {
        Some("Runtime.consoleAPICalled") => printed(&message["params"]),
        Some("Runtime.exceptionThrown") => thrown(&message["params"]["exceptionDetails"]),
        Some("Log.entryAdded") => message["params"]["entry"]["text"].as_str().unwrap_or_default().to_owned(),
        _ => return,
    };
    let Value::String(session) = message["sessionId"].take() else { return };
    let mut logs = lock(logs);
    let lines = logs.entry(session).or_default();
    if lines.len() == KEPT_LINES {
        lines.pop_front();
    }
    lines.push_back(line);
}

fn outcome(mut message: Value) -> Result<Value> {
    if let Some(error) = message.get("error") {
        bail!("{}", error["message"].as_str().unwrap_or("refused without a reason"));
    }
    Ok(message["result"].take())
}

fn printed(params: &Value) -> String {
    let arguments = params["args"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words = arguments.iter().map(|argument| match (&argument["value"], &argument["description"]) {
        (Value::String(text), _) | (Value::Null, Value::String(text)) => text.clone(),
        (value, _) => value.to_string(),
    });
    format!("{}: {}", params["type"].as_str().unwrap_or("log"), words.collect::<Vec<_>>().join(" "))
}

/// One line for an `ExceptionDetails` of the protocol.
pub(super) fn thrown(details: &Value) -> String {
    let described = details["exception"]["description"].as_str();
    let text = described.or(details["exception"]["value"].as_str()).or(details["text"].as_str());
    format!("exception: {}", text.unwrap_or("without a text"))
}
