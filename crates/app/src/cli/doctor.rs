//! `snug doctor`: looks at what a call needs, and says what is missing.

use super::devices;
use crate::host::{self, Host};
use anyhow::{Context as _, Result, bail};
use media::DeviceInfo;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

/// One thing looked at.
struct Finding {
    /// Whether a call works without it being mended.
    fine: bool,
    text: String,
}

/// Looks, prints a line for each thing; an error when a call could not be made at all.
pub fn run(server: Option<String>) -> Result<()> {
    let found = devices::list();
    let mut findings = vec![
        list("camera", &found.cameras, "the others will not see you; plug one in"),
        list("microphone", &found.mics, "the others will not hear you; plug one in"),
        list("speaker", &found.speakers, "you will not hear the others; plug one in"),
        network(),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reached = runtime.block_on(reach(server.as_deref()));
    let reachable = reached.is_ok();
    findings.push(match reached {
        Ok(text) => Finding { fine: true, text },
        Err(error) => Finding { fine: false, text: format!("{error:#}") },
    });
    for Finding { fine, text } in &findings {
        println!("{} {text}", if *fine { "ok     " } else { "missing" });
    }
    if !reachable {
        bail!("no call can be made: the server cannot be reached");
    }
    Ok(())
}

fn list(what: &str, devices: &[DeviceInfo], else_: &str) -> Finding {
    let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
    match names.is_empty() {
        true => Finding { fine: false, text: format!("{what}: none found: {else_}") },
        false => {
            let more = names.len().saturating_sub(3);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let first = names[..names.len().min(3)].join(", ");
            Finding { fine: true, text: format!("{what}: {first}{more}") }
        }
    }
}

fn network() -> Finding {
    match host::network_address() {
        Some(address) => Finding { fine: true, text: format!("network: this computer is {address}") },
        None => {
            Finding { fine: false, text: "network: none: only calls inside this computer will work".into() }
        }
    }
}

/// Says which server answers and how; starts one inside when none is named.
async fn reach(server: Option<&str>) -> Result<String> {
    match server {
        Some(server) => Ok(format!("server: {server} {}", knock(server).await?)),
        None => {
            let host = Host::start().await?;
            knock(&host.links().address).await?;
            Ok(format!("server: none set up; one inside this program works ({})", host.links().address))
        }
    }
}

/// Asks a server for any page. Over https only the connection is tried.
async fn knock(server: &str) -> Result<String> {
    let (scheme, rest) = server.split_once("://").unwrap_or(("https", server));
    let authority = rest.split('/').next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if scheme == "http" { 80 } else { 443 };
    let address = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    let failed = || format!("server: {server} cannot be reached: check the address and the network");
    let stream =
        timeout(PATIENCE, TcpStream::connect(&address)).await.with_context(failed)?.with_context(failed)?;
    if scheme != "http" {
        return Ok("accepts connections (its certificate was not checked)".into());
    }
    let answer =
        timeout(PATIENCE, get(stream, authority)).await.with_context(failed)?.with_context(failed)?;
    if !answer.starts_with("HTTP/1.") {
        bail!("server: {server} answers, but not as a web server: check the port");
    }
    Ok("answers".into())
}

async fn get(mut stream: TcpStream, authority: &str) -> std::io::Result<String> {
    let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // The first words are enough; some servers close roughly after them.
    while answer.len() < 16 && stream.read_buf(&mut answer).await? > 0 {}
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answering(text: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(text.as_bytes()).await.unwrap();
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_web_server_answers_and_another_one_is_told_apart() {
        assert_eq!(knock(&answering("HTTP/1.1 404 Not Found\r\n\r\n").await).await.unwrap(), "answers");
        let error = knock(&answering("SSH-2.0-OpenSSH\r\n").await).await.unwrap_err().to_string();
        assert!(error.contains("check the port"), "{error}");
    }

    #[tokio::test]
    async fn a_closed_port_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = format!("{:#}", knock(&server).await.unwrap_err());
        assert!(error.contains("cannot be reached"), "{error}");
    }
}
