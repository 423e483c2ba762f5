//! A configuration as a file would have it, without secrets.

use crate::config::Config;
use crate::proxy::ForwardedHeader;
use crate::tls::Source;
use std::fmt::Display;

/// Every setting that is in force, as TOML; secrets are left out and said to be.
pub fn show(config: &Config) -> String {
    let mut out = String::new();
    let door = &config.door;
    let set = list(config.listen.0.iter());
    line(&mut out, "listen", set);
    if let Some(url) = &config.proxies.public_url {
        line(&mut out, "public_url", quoted(url));
    }
    line(&mut out, "origins", list(config.origins.iter()));
    line(&mut out, "trusted_proxies", list(config.proxies.trusted.iter()));
    if !config.proxies.trusted.is_empty() {
        let header = match config.proxies.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        line(&mut out, "forwarded_header", quoted(header));
    }
    line(&mut out, "insecure_http", matches!(door.plain_http, crate::door::PlainHttp::Anybody));
    if let Some(address) = config.metrics {
        line(&mut out, "metrics", quoted(address));
    }
    line(&mut out, "log_addresses", door.log_addresses);
    tls(&mut out, config);
    out.push_str("\n[limits]\n");
    let limits = &config.limits;
    line(&mut out, "rooms", limits.rooms);
    line(&mut out, "participants", limits.participants());
    line(&mut out, "people", limits.people);
    line(&mut out, "knocks", limits.knocks);
    line(&mut out, "hellos", limits.hellos);
    line(&mut out, "sockets", limits.sockets);
    line(&mut out, "connections", door.connections);
    line(&mut out, "connections_per_address", door.connections_per_address);
    out.push_str("\n[limits.address]\n");
    line(&mut out, "sockets", limits.address.sockets);
    line(&mut out, "rooms", limits.address.rooms);
    line(&mut out, "people", limits.address.people);
    line(&mut out, "hellos", limits.address.hellos);
    out.push_str("\n[rooms]\n");
    let listed = config.rooms.create == crate::room::Create::Listed;
    line(&mut out, "create", quoted(if listed { "listed" } else { "anyone" }));
    line(&mut out, "names", list(config.rooms.names.iter()));
    ice(&mut out, config);
    turn(&mut out, config);
    out
}

fn tls(out: &mut String, config: &Config) {
    let Some(tls) = &config.tls else { return };
    out.push_str("\n[tls]\n");
    if let Source::Files { cert, key } = &tls.source {
        line(out, "cert", quoted(cert.display()));
        line(out, "key", quoted(key.display()));
    }
    line(out, "redirect", list(tls.redirect.iter()));
    if let Source::Acme(acme) = &tls.source {
        out.push_str("\n[tls.acme]\n");
        line(out, "host", quoted(&acme.host));
        if let Some(email) = &acme.email {
            line(out, "email", quoted(email));
        }
        line(out, "directory", quoted(&acme.directory));
        if let Some(file) = &acme.ca_file {
            line(out, "ca_file", quoted(file.display()));
        }
        line(out, "cache", quoted(acme.cache.display()));
        line(out, "challenge", quoted(acme.challenge));
    }
}

fn ice(out: &mut String, config: &Config) {
    if config.ice.turn.is_none() && config.ice.fixed.is_empty() {
        return;
    }
    out.push_str("\n[ice]\n");
    if let Some(turn) = &config.ice.turn {
        line(out, "turn_urls", list(turn.urls.iter()));
        line(out, "turn_ttl", turn.ttl);
        out.push_str("# turn_secret is set\n");
    }
    for server in &config.ice.fixed {
        out.push_str("\n[[ice.servers]]\n");
        line(out, "urls", list(server.urls.iter()));
        if let Some(username) = &server.username {
            line(out, "username", quoted(username));
        }
        if server.credential.is_some() {
            out.push_str("# credential is set\n");
        }
    }
}

fn turn(out: &mut String, config: &Config) {
    let (turn, quotas) = (&config.turn, &config.turn.quotas);
    out.push_str("\n[turn]\n");
    line(out, "enabled", turn.enabled.unwrap_or(config.ice.turn.is_none()));
    line(out, "listen", list(turn.listen.iter()));
    line(out, "external", list(turn.external.iter()));
    line(out, "relay_ports", quoted(turn.relay_ports));
    line(out, "allow_peers", list(turn.allow_peers.iter()));
    line(out, "realm", quoted(&turn.realm));
    line(out, "ttl", turn.ttl);
    if !turn.secrets.is_empty() {
        out.push_str("# secrets are set\n");
    }
    out.push_str("\n[turn.quotas]\n");
    line(out, "allocations", quotas.allocations);
    line(out, "per_address", quotas.per_address);
    line(out, "per_credential", quotas.per_credential);
    line(out, "bandwidth_kbps", quotas.bandwidth_kbps);
    line(out, "lifetime", quotas.lifetime);
    line(out, "connections", quotas.connections);
}

fn line(out: &mut String, key: &str, value: impl Display) {
    out.push_str(&format!("{key} = {value}\n"));
}

/// As a TOML string.
fn quoted(value: impl Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}

fn list<T: Display>(values: impl Iterator<Item = T>) -> String {
    format!("[{}]", values.map(quoted).collect::<Vec<_>>().join(", "))
}
