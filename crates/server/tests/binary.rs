//! `snug-server` as a person runs it.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

fn snug_server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snug-server"));
    for name in ["SNUG_LISTEN", "SNUG_CONFIG", "SNUG_LOG"] {
        command.env_remove(name);
    }
    command
}

#[test]
fn it_says_where_it_listens_and_stops_when_told() {
    for signal in ["-INT", "-TERM"] {
        let mut child =
            snug_server().env("SNUG_LISTEN", "127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").expect("listening on URL").to_owned();
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("ok\n"), "{answer}");
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert!(child.wait().unwrap().success(), "{signal}");
    }
}

#[test]
fn a_taken_port_and_a_bad_file_are_one_line_and_a_status() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snug.toml");
    std::fs::write(&file, "\nlistne = 1\n").unwrap();
    for (flag, value, expected, status) in [
        ("--listen", address.as_str(), "is taken", 1),
        // The service's file names it: settings that are wrong stay so.
        ("--config", file.to_str().unwrap(), "snug.toml:2: unknown field `listne`", 78),
        ("--config", "/nowhere.toml", "/nowhere.toml: ", 78),
    ] {
        let output = snug_server().args([flag, value]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(output.stdout.is_empty() && text.contains(expected), "{text}");
        assert!(text.starts_with("snug-server: ") && text.trim().lines().count() == 1, "{text}");
    }
}
