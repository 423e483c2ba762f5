//! `snug doctor`: looks at what a call needs from where one sits, and says what to do about what is missing.

use super::devices;
use crate::host::{self, Host};
use anyhow::{Result, bail};
use call::checkup::{Finding, Verdict, checkup};
use media::DeviceInfo;
use serde_json::json;
use std::fmt::Write as _;

/// Looks, and prints a line for each thing, or one JSON object; an error when calls could not be made.
pub fn run(server: Option<String>, json: bool) -> Result<()> {
    let found = devices::list();
    let mut findings = vec![
        list("camera", &found.cameras, "the others will not see you: plug one in, or let Snug use it"),
        list("microphone", &found.mics, "the others will not hear you: plug one in, or let Snug use it"),
        list("speaker", &found.speakers, "you will not hear the others: plug one in"),
        network(),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    findings.extend(runtime.block_on(look(server.as_deref())));
    print!("{}", if json { as_json(&findings)? } else { as_text(&findings) });
    let failed: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Failed)
        .map(|finding| finding.about.as_str())
        .collect();
    if !failed.is_empty() {
        bail!("not all that calls need works: see {} above", failed.join(", "));
    }
    Ok(())
}

/// The server named; without one, that which would run inside this program.
async fn look(server: Option<&str>) -> Vec<Finding> {
    match server {
        Some(server) => checkup(server).await,
        None => match Host::start().await {
            Ok(host) => {
                let mut findings = checkup(&host.links().address).await;
                // It is for one network, where nobody needs help to be found.
                findings.retain(|finding| finding.about != "stun");
                findings
            }
            Err(error) => {
                let text = format!("no server is set up, and the one inside does not start: {error:#}");
                vec![Finding::failed("server", text, "name one with --server")]
            }
        },
    }
}

fn list(what: &str, devices: &[DeviceInfo], else_: &str) -> Finding {
    let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
    if names.is_empty() {
        return Finding::warning(what, "none found", else_);
    }
    let more = names.len().saturating_sub(3);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Finding::ok(what, format!("{}{more}", names[..names.len().min(3)].join(", ")))
}

fn network() -> Finding {
    match host::network_address() {
        Some(address) => Finding::ok("network", format!("this computer is {address}")),
        None => Finding::warning("network", "no IPv4 network", "calls go by IPv6, or inside this computer"),
    }
}

fn as_json(findings: &[Finding]) -> Result<String> {
    let ok = findings.iter().all(|finding| finding.verdict != Verdict::Failed);
    Ok(serde_json::to_string_pretty(&json!({ "ok": ok, "findings": findings }))? + "\n")
}

fn as_text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { about, verdict, text, advice } in findings {
        let verdict = match verdict {
            Verdict::Ok => "ok     ",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed ",
        };
        // Writing into a string cannot fail.
        let _ = writeln!(out, "{verdict} {about}: {text}");
        if let Some(advice) = advice {
            let _ = writeln!(out, "        -> {advice}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line_and_what_to_do_about_it() {
        let findings =
            [Finding::ok("camera", "Cam"), Finding::failed("tls", "the certificate ended", "renew it")];
        assert_eq!(
            as_text(&findings),
            "ok      camera: Cam\nfailed  tls: the certificate ended\n        -> renew it\n"
        );
        let json: serde_json::Value = serde_json::from_str(&as_json(&findings).unwrap()).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["findings"][0], json!({ "about": "camera", "verdict": "ok", "text": "Cam" }));
        assert_eq!(json["findings"][1]["advice"], "renew it");
    }

    #[test]
    fn no_device_is_a_warning_with_what_to_do() {
        assert_eq!(list("camera", &[], "plug one in").advice.as_deref(), Some("plug one in"));
    }

    #[tokio::test]
    async fn the_server_inside_works_for_one_network() {
        let findings = look(None).await;
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok), "{findings:?}");
        assert!(findings.iter().any(|finding| finding.about == "signaling"), "{findings:?}");
    }
}
