//! The server as a web server: whether it is there, its certificate, its clock.

use super::Finding;
use rustls::pki_types::ServerName;
use signaling::Server;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

const PATIENCE: Duration = Duration::from_secs(5);
/// Of an answer, no more is read.
const MAX_ANSWER: u64 = 16 * 1024;
/// A certificate should have been renewed by then.
const FEW_DAYS: i64 = 14;
/// Credentials carry the server's time; one's own is shown beside it.
const SKEW: i64 = 60;

pub(super) async fn look(server: &Server) -> Vec<Finding> {
    let tcp = match timeout(PATIENCE, TcpStream::connect((server.host(), server.port()))).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return vec![unreachable(server, &error.to_string())],
        Err(_) => return vec![unreachable(server, "no answer")],
    };
    let mut findings = Vec::new();
    let answer = if server.is_secure() {
        match secure(server, tcp).await {
            Ok((tls, certificate)) => {
                findings.push(certificate);
                get(server, tls).await
            }
            Err(error) => {
                let text = format!("no secure connection: {error}");
                let advice = "ask who runs the server to renew its certificate, and check this computer's clock; \
                              one of their own is named by the environment variable SSL_CERT_FILE";
                return vec![Finding::failed("tls", text, advice)];
            }
        }
    } else {
        get(server, tcp).await
    };
    match answer {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => {
            findings.insert(0, Finding::ok("http", format!("{server} answers")));
            findings.push(clock(&answer, SystemTime::now()));
        }
        Ok(answer) => {
            let status = answer.lines().next().unwrap_or_default();
            let text = format!("{server} is no Snug server, or not well: it answers \"{status}\"");
            findings.push(Finding::failed("http", text, "check the address and the port"));
        }
        Err(error) => {
            let text = format!("{server} answers, but not as a web server ({error})");
            findings.push(Finding::failed("http", text, "check the port, and whether it is https or http"));
        }
    }
    findings
}

fn unreachable(server: &Server, why: &str) -> Finding {
    let advice = "check the address and the network, and that the server runs";
    Finding::failed("http", format!("{server} cannot be reached ({why})"), advice)
}

async fn secure(
    server: &Server,
    tcp: TcpStream,
) -> io::Result<(tokio_rustls::client::TlsStream<TcpStream>, Finding)> {
    let config = signaling::tls_config().map_err(io::Error::other)?;
    let host = server.host().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let connecting = TlsConnector::from(config).connect(name, tcp);
    let tls = timeout(PATIENCE, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let ends = certificate.and_then(|der| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    Ok((tls, certificate_finding(ends, unix(SystemTime::now()))))
}

fn certificate_finding(ends: Option<i64>, now: i64) -> Finding {
    match ends.map(|ends| (ends - now) / 86_400) {
        Some(days) if days >= FEW_DAYS => {
            Finding::ok("tls", format!("the certificate is good for {days} days"))
        }
        Some(days) => Finding::warning(
            "tls",
            format!("the certificate ends in {days} days"),
            "ask who runs the server to renew it",
        ),
        None => Finding::ok("tls", "the certificate is valid; its end cannot be read"),
    }
}

async fn get(server: &Server, mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    let asking = async {
        let request =
            format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.host());
        io.write_all(request.as_bytes()).await?;
        io.flush().await?;
        let mut answer = Vec::new();
        match (&mut io).take(MAX_ANSWER).read_to_end(&mut answer).await {
            // Some servers close roughly after what they said.
            Err(error) if answer.is_empty() => Err(error),
            _ if answer.starts_with(b"HTTP/1.") => Ok(String::from_utf8_lossy(&answer).into_owned()),
            _ => Err(io::Error::other("what it says is not HTTP")),
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn clock(answer: &str, now: SystemTime) -> Finding {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let date = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("date").then(|| httpdate::parse_http_date(value.trim()).ok())?
    });
    match date.map(|date| unix(now) - unix(date)) {
        None => Finding::ok("clock", "the server does not tell its time"),
        Some(ahead) if ahead.abs() <= SKEW => Finding::ok("clock", "agrees with the server's"),
        Some(ahead) => {
            let way = if ahead > 0 { "ahead of" } else { "behind" };
            Finding::warning(
                "clock",
                format!("{} s {way} the server's", ahead.abs()),
                "set this computer's clock, or have the server's set: certificates and TURN's credentials end by it",
            )
        }
    }
}

fn unix(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkup::Verdict;

    #[test]
    fn clocks_are_compared_in_seconds() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let answer = "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nDate: none";
        let theirs = 784_111_777;
        assert_eq!(clock(answer, at(theirs + 60)).verdict, Verdict::Ok);
        let late = clock(answer, at(theirs - 61));
        assert_eq!((late.verdict, late.text.as_str()), (Verdict::Warning, "61 s behind the server's"));
        assert!(clock(answer, at(theirs + 4000)).text.starts_with("4000 s ahead"));
        assert_eq!(clock("HTTP/1.1 200 OK\r\n\r\n", at(0)).text, "the server does not tell its time");
    }

    #[test]
    fn a_certificate_that_ends_soon_is_told_of() {
        let day = 86_400;
        assert_eq!(certificate_finding(Some(30 * day), 0).verdict, Verdict::Ok);
        assert_eq!(certificate_finding(Some(13 * day), 0).verdict, Verdict::Warning);
    }
}
