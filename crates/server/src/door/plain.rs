//! Where plain HTTP may be spoken: where nobody else is on the way.

use super::{BindError, PlainHttp};
use crate::net::is_public;
use std::net::{IpAddr, SocketAddr};

/// Refuses to speak plain HTTP on public addresses.
pub(crate) fn check(plain: PlainHttp, listen: &[SocketAddr]) -> Result<(), BindError> {
    if plain != PlainHttp::Private {
        return Ok(());
    }
    // Where the machine's addresses cannot be had, the clients' decide alone.
    let own = if_addrs::get_if_addrs().unwrap_or_default();
    let own = own.iter().map(if_addrs::Interface::ip).collect::<Vec<_>>();
    match public(listen, &own) {
        Some((address, ip)) => Err(BindError::Plain(refusal(address, ip))),
        None => Ok(()),
    }
}

/// The first address that is public, or a wildcard on a machine (`own`) that has a public one.
fn public(listen: &[SocketAddr], own: &[IpAddr]) -> Option<(SocketAddr, IpAddr)> {
    listen.iter().find_map(|address| {
        let ip = address.ip();
        let found = match ip {
            IpAddr::V4(v4) if v4.is_unspecified() => {
                own.iter().find(|o| o.is_ipv4() && is_public(**o)).copied()
            }
            IpAddr::V6(v6) if v6.is_unspecified() => own.iter().find(|o| is_public(**o)).copied(),
            _ => is_public(ip).then_some(ip),
        };
        found.map(|ip| (*address, ip))
    })
}

fn refusal(address: SocketAddr, ip: IpAddr) -> String {
    format!(
        "{address} would speak plain HTTP on the internet ({ip}), and browsers give no camera to such a \
         page. Get a certificate by itself with --tls-acme-host NAME, or name one with --tls-cert and \
         --tls-key; behind a reverse proxy listen on 127.0.0.1, or name it with --trusted-proxies; if you \
         mean it: --insecure-http"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_is_found_by_itself_or_behind_a_wildcard() {
        let home: Vec<IpAddr> = ["127.0.0.1", "192.168.1.5", "2a00::5"].map(|a| a.parse().unwrap()).to_vec();
        let rented: Vec<IpAddr> = ["127.0.0.1", "93.184.216.34"].map(|a| a.parse().unwrap()).to_vec();
        let found = |listen: &str, own: &[IpAddr]| {
            public(&[listen.parse().unwrap()], own).map(|(_, ip)| ip.to_string())
        };
        assert_eq!(found("0.0.0.0:80", &home), None);
        assert_eq!(found("[::]:80", &home).as_deref(), Some("2a00::5"));
        assert_eq!(found("0.0.0.0:80", &rented).as_deref(), Some("93.184.216.34"));
        assert_eq!(found("127.0.0.1:80", &rented), None);
        assert_eq!(found("93.184.216.34:80", &[]).as_deref(), Some("93.184.216.34"));
    }
}
