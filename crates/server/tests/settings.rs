//! Settings as people give them: flags, environment, file; and what is said when they are wrong.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn snug_server(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snug-server"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SNUG_") {
            command.env_remove(name);
        }
    }
    command.env_remove("STATE_DIRECTORY").args(args);
    command
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.0.path().join("snug.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn check(&self, text: &str, more: &[&str]) -> Output {
        check(&self.file(text), more).output().unwrap()
    }
}

fn check(file: &Path, more: &[&str]) -> Command {
    let mut command = snug_server(&["--check", "--config", file.to_str().unwrap()]);
    command.args(more);
    command
}

#[test]
fn faults_name_file_and_line_and_key() {
    let files = Files::new();
    for (file, expected) in [
        ("listen = \"127.0.0.1:1\"\nlistne = 1\n", "snug.toml:2: unknown field `listne`"),
        ("\n\nlisten = 7", "snug.toml:3: invalid type"),
        ("listen = \"here\"", "snug.toml:1: \"here\": invalid socket address"),
        ("[limits]\nrooms = -1", "snug.toml:2: "),
        ("[limits]\n\nparticipants = 13", "snug.toml:3: must be from 1 to 12"),
        ("\n[[ice.servers]]\nurls = [\"stun:x\"]\nuser = \"x\"", "snug.toml:4: unknown field `user`"),
        ("[ice]\nturn_secret = \"x\"", "snug.toml:2: is of no use without ice.turn_urls"),
        ("[ice]\nturn_urls = \"http://x\"", "snug.toml:2: \"http://x\" begins with none of stun:"),
        ("listen = ", "snug.toml:1: "),
        ("tls.cert = \"/x\"", "snug.toml:1: needs tls.key"),
        ("[tls]\nredirect = \"127.0.0.1:80\"", "snug.toml:2: is of no use without certificates"),
        ("[tls.acme]\nemail = \"a@b\"", "snug.toml:2: is of no use without tls.acme.host"),
        ("\n[tls.acme]\nhost = \"1.2.3.4\"", "snug.toml:3: \"1.2.3.4\" is no host's name"),
        ("[tls.acme]\nhost = \"a.example\"", "snug.toml:2: needs tls.acme.cache"),
        (
            "[tls.acme]\nhost = \"a.example\"\ncache = \"/x\"\nchallenge = \"http-01\"",
            "snug.toml:4: http-01 is asked for",
        ),
        (
            "[tls.acme]\nhost = \"a.example\"\ncache = \"/x\"\ndirectory = \"http://x\"",
            "snug.toml:4: must be an https",
        ),
        ("trusted_proxies = [\"10.0.0.0/99\"]", "snug.toml:1: \"10.0.0.0/99\""),
        ("forwarded_header = \"forwarded\"", "snug.toml:1: is of no use without trusted_proxies"),
        ("public_url = \"call.example.org\"", "snug.toml:1: "),
        ("origins = [\"other\"]", "snug.toml:1: \"other\" is no origin"),
        ("metrics = \"0.0.0.0:9100\"", "snug.toml:1: 0.0.0.0 can be reached by others"),
        ("listen = \"127.0.0.1:80\"\nmetrics = \"127.0.0.1:80\"", "snug.toml:2: needs a port of its own"),
        ("listen = [\"127.0.0.1:80\", \"127.0.0.1:80\"]", "snug.toml:1: 127.0.0.1:80 stands there twice"),
        ("listen = \"93.184.216.34:80\"", "would speak plain HTTP on the internet"),
    ] {
        let output = files.check(file, &[]);
        let said = text(output.stderr);
        // The last is no fault of the file: it would be right for another address.
        let status = if expected.starts_with("snug.toml") { 78 } else { 1 };
        assert_eq!(output.status.code(), Some(status), "{file}: {said}");
        assert!(said.contains(expected), "{file}: {said}");
        assert!(output.stdout.is_empty() && said.trim().lines().count() == 1, "{said}");
    }
}

#[test]
fn what_flags_and_environment_get_wrong_is_named_after_them() {
    let files = Files::new();
    let output =
        files.check("[ice]\nturn_urls = \"turn:x\"\nturn_secret = \"x\"", &["--limits-participants", "13"]);
    assert!(text(output.stderr).contains("--limits-participants: must be from 1 to 12"));
    let output = snug_server(&["--check"]).env("SNUG_TLS_CERT", "/x").output().unwrap();
    assert!(text(output.stderr).contains("SNUG_TLS_CERT: needs tls.key"));
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let file = Files::new();
    let path =
        file.file("listen = \"127.0.0.1:1\"\nmetrics = \"127.0.0.1:9\"\n[limits]\nrooms = 1\nsockets = 5\n");
    let output = check(&path, &["--listen", "127.0.0.1:3,[::1]:4", "--log-addresses"])
        .env("SNUG_LISTEN", "127.0.0.1:2")
        .env("SNUG_LIMITS_ROOMS", "2")
        .output()
        .unwrap();
    let shown = text(output.stdout);
    for line in [
        "listen = [\"127.0.0.1:3\", \"[::1]:4\"]\n",
        "rooms = 2\n",
        "sockets = 5\n",
        "metrics = \"127.0.0.1:9\"\n",
        "log_addresses = true\n",
        "connections = 4096\n",
    ] {
        assert!(shown.contains(line), "{line}{shown}");
    }
}

#[test]
fn what_is_shown_can_be_read_again_and_has_no_secrets() {
    let files = Files::new();
    let file = "listen = [\"127.0.0.1:443\", \"[::1]:443\"]\npublic_url = \"https://a.example\"\n\
        trusted_proxies = [\"10.0.0.0/8\"]\nforwarded_header = \"forwarded\"\n\
        [tls.acme]\nhost = \"A.example\"\nemail = \"a@b\"\ncache = \"/var/lib/snug\"\n\
        [ice]\nturn_urls = [\"turn:t\"]\nturn_secret = \"north\"\n\
        [[ice.servers]]\nurls = [\"turn:u\"]\nusername = \"ann\"\ncredential = \"south\"\n";
    let first = files.check(file, &[]);
    assert!(first.status.success(), "{}", text(first.stderr));
    let shown = text(first.stdout);
    assert!(!shown.contains("north") && !shown.contains("south"), "{shown}");
    let again = files.check(&shown, &["--ice-turn-secret", "north"]);
    assert!(again.status.success(), "{}", text(again.stderr));
    let again =
        text(again.stdout).replace("username = \"ann\"\n", "username = \"ann\"\n# credential is set\n");
    assert_eq!(again, shown);
}

#[test]
fn the_example_file_is_right_and_names_every_setting() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/snug-server.toml");
    let output = check(Path::new(path), &[]).output().unwrap();
    assert!(output.status.success(), "{}", text(output.stderr));
    assert_eq!(
        text(output.stdout),
        text(snug_server(&["--check"]).output().unwrap().stdout),
        "not the defaults"
    );
    let example = std::fs::read_to_string(path).unwrap();
    let help = text(snug_server(&["--help"]).output().unwrap().stdout);
    let flags = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    let flags = flags.map(|flag| flag.trim_matches(|c: char| !c.is_ascii_lowercase()));
    let mut seen = 0;
    for flag in flags.filter(|flag| !["config", "check", "help", "version"].contains(flag)) {
        let variable = format!("SNUG_{}", flag.replace('-', "_").to_ascii_uppercase());
        assert!(help.contains(&format!("[env: {variable}")), "{flag}");
        let key = ["tls-acme-", "tls-", "limits-address-", "limits-", "rooms-", "ice-"]
            .iter()
            .find_map(|s| flag.strip_prefix(s))
            .unwrap_or(flag);
        let key = key.replace('-', "_");
        assert!(
            example.contains(&format!("{key} =")) || example.contains(&format!("[[ice.{key}]]")),
            "{key}"
        );
        seen += 1;
    }
    assert!(seen >= 24, "{seen} settings in --help");
    // What stands behind a # is right too, section by section.
    let shown: String = example.lines().map(|line| uncommented(line) + "\n").collect();
    let files = Files::new();
    let fault = text(files.check(&shown, &[]).stderr);
    assert!(fault.contains("does not go with tls.acme.host"), "{fault}");
}

/// A setting behind a `#`, in front of it; without those that stand twice.
fn uncommented(line: &str) -> String {
    let Some(rest) = line.strip_prefix("# ") else {
        let is_twice =
            ["listen = \"127", "origins = []", "trusted_proxies = []"].iter().any(|t| line.starts_with(t));
        return if is_twice { String::new() } else { line.to_owned() };
    };
    let is_setting = rest.starts_with("[[")
        || rest
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    if is_setting { rest.to_owned() } else { String::new() }
}
