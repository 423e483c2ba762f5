//! From settings as they are given to a configuration that can be, or to the one that cannot.

use super::layers::Fault;
use super::{Acme, Ice, Limits, Rooms, Settings, Tls};
use crate::acme;
use crate::config::{Config, IceConfig, Listen, TurnConfig};
use crate::door::PlainHttp;
use crate::net::is_public;
use crate::proxy::{Proxies, PublicUrl};
use crate::room::{Create, Opening};
use crate::tls::{self, Source};
use signaling::RoomName;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What `settings` come to, over the defaults.
pub(super) fn config(settings: Settings) -> Result<Config, Fault> {
    let mut config = Config::default();
    if !settings.listen.is_empty() {
        config.listen = Listen(settings.listen);
    }
    once("listen", &config.listen.0)?;
    config.origins = origins(settings.origins)?;
    config.ice = ice(settings.ice)?;
    settings.turn.check().map_err(|bad| Fault::new("turn", format!("{}: {}", bad.key, bad.message)))?;
    config.turn = settings.turn;
    config.tls = tls(settings.tls, &config.listen)?;
    limits(&settings.limits, &mut config)?;
    config.rooms = rooms(settings.rooms)?;
    if settings.forwarded_header.is_some() && settings.trusted_proxies.is_empty() {
        let message = "is of no use without trusted_proxies: name the proxy's address there";
        return Err(Fault::new("forwarded_header", message));
    }
    config.proxies = Proxies {
        trusted: settings.trusted_proxies,
        header: settings.forwarded_header.unwrap_or_default(),
        public_url: settings.public_url,
    };
    if settings.insecure_http == Some(true) {
        if config.tls.is_some() {
            return Err(Fault::new("insecure_http", "does not go with certificates: leave one of them away"));
        }
        config.door.plain_http = PlainHttp::Anybody;
    } else if !config.proxies.trusted.is_empty() {
        config.door.plain_http = PlainHttp::PrivateClients;
    }
    config.door.log_addresses = settings.log_addresses.unwrap_or_default();
    config.metrics = metrics(settings.metrics, &config)?;
    Ok(config)
}

fn once(key: &'static str, addresses: &[SocketAddr]) -> Result<(), Fault> {
    for (i, address) in addresses.iter().enumerate() {
        if address.port() != 0 && addresses[..i].contains(address) {
            return Err(Fault::new(key, format!("{address} stands there twice")));
        }
    }
    Ok(())
}

fn origins(origins: Vec<String>) -> Result<Vec<String>, Fault> {
    for origin in &origins {
        origin.parse::<PublicUrl>().map_err(|_| {
            Fault::new(
                "origins",
                format!("\"{origin}\" is no origin: write \"https://host\" as a browser shows it"),
            )
        })?;
    }
    Ok(origins)
}

fn ice(ice: Ice) -> Result<IceConfig, Fault> {
    for (key, url) in ice
        .servers
        .iter()
        .flat_map(|s| &s.urls)
        .map(|url| ("ice.servers", url))
        .chain(ice.turn_urls.iter().map(|url| ("ice.turn_urls", url)))
    {
        if !["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Fault::new(
                key,
                format!("\"{url}\" begins with none of stun:, stuns:, turn:, turns:"),
            ));
        }
    }
    let ttl = ice.turn_ttl.unwrap_or(12 * 3600);
    if ttl < 60 {
        return Err(Fault::new("ice.turn_ttl", "is in seconds, and must be 60 at least"));
    }
    let turn = match (ice.turn_secret, ice.turn_urls) {
        (None, urls) if urls.is_empty() => None,
        (None, _) => {
            let message = "needs ice.turn_secret, the static-auth-secret of that TURN server";
            return Err(Fault::new("ice.turn_urls", message));
        }
        (Some(_), urls) if urls.is_empty() => {
            let message = "is of no use without ice.turn_urls = [\"turn:host:3478\"]";
            return Err(Fault::new("ice.turn_secret", message));
        }
        (Some(secret), urls) => Some(TurnConfig { urls, secret: secret.0, ttl }),
    };
    Ok(IceConfig { fixed: ice.servers.into_iter().map(Into::into).collect(), turn, inside: None })
}

fn limits(given: &Limits, config: &mut Config) -> Result<(), Fault> {
    let set = |key: &'static str, value: Option<usize>, most: usize, to: &mut usize| match value {
        None => Ok(()),
        Some(value) if (1..=most).contains(&value) => {
            *to = value;
            Ok(())
        }
        Some(_) => Err(Fault::new(key, format!("must be from 1 to {most}"))),
    };
    let (door, own, address) = (&mut config.door, &mut config.limits, &given.address);
    set("limits.rooms", given.rooms, 10_000_000, &mut own.rooms)?;
    set("limits.participants", given.participants, 12, &mut own.participants)?;
    set("limits.people", given.people, 10_000_000, &mut own.people)?;
    set("limits.knocks", given.knocks, 1000, &mut own.knocks)?;
    set("limits.sockets", given.sockets, 1_000_000, &mut own.sockets)?;
    set("limits.address.sockets", address.sockets, 1_000_000, &mut own.address.sockets)?;
    set("limits.address.rooms", address.rooms, 10_000_000, &mut own.address.rooms)?;
    set("limits.address.people", address.people, 10_000_000, &mut own.address.people)?;
    for (key, value, to) in [
        ("limits.hellos", given.hellos, &mut own.hellos),
        ("limits.address.hellos", address.hellos, &mut own.address.hellos),
    ] {
        match value {
            Some(0) => return Err(Fault::new(key, "must be 1 at least: else nobody comes in")),
            Some(value) => *to = value,
            None => {}
        }
    }
    set("limits.connections", given.connections, 1_000_000, &mut door.connections)?;
    set(
        "limits.connections_per_address",
        given.connections_per_address,
        1_000_000,
        &mut door.connections_per_address,
    )
}

fn rooms(given: Rooms) -> Result<Opening, Fault> {
    let create = given.create.unwrap_or_default();
    match (create, given.names.is_empty()) {
        (Create::Listed, true) => {
            return Err(Fault::new("rooms.create", "is \"listed\", and rooms.names lists none"));
        }
        (Create::Anyone, false) => {
            let message = "is of no use while anyone may open a room: set rooms.create = \"listed\"";
            return Err(Fault::new("rooms.names", message));
        }
        _ => {}
    }
    let key = |name: &String| match RoomName::parse(name) {
        Ok(room) => Ok(room.key().to_owned()),
        Err(error) => Err(Fault::new("rooms.names", format!("\"{name}\" cannot be a room: {error}"))),
    };
    let names = given.names.iter().map(key).collect::<Result<_, _>>()?;
    Ok(Opening { create, names })
}

fn tls(given: Tls, listen: &Listen) -> Result<Option<tls::Settings>, Fault> {
    once("tls.redirect", &given.redirect)?;
    if let Some(both) = given.redirect.iter().find(|a| a.port() != 0 && listen.0.contains(a)) {
        return Err(Fault::new("tls.redirect", format!("{both} is in `listen` too: it can be one of them")));
    }
    let source = match (given.cert, given.key, given.acme.host.is_some()) {
        (Some(_), _, true) => {
            return Err(Fault::new("tls.cert", "does not go with tls.acme.host: leave one of them away"));
        }
        (_, Some(_), true) => {
            return Err(Fault::new("tls.key", "does not go with tls.acme.host: leave one of them away"));
        }
        (Some(cert), Some(key), false) => Source::Files { cert, key },
        (Some(_), None, false) => {
            return Err(Fault::new("tls.cert", "needs tls.key, the file of its private key"));
        }
        (None, Some(_), false) => {
            return Err(Fault::new("tls.key", "needs tls.cert, the certificate's file"));
        }
        (None, None, true) => Source::Acme(acme(given.acme, &given.redirect)?),
        (None, None, false) => {
            alone(&given.acme)?;
            if !given.redirect.is_empty() {
                let message = "is of no use without certificates: set tls.cert and tls.key, or tls.acme.host";
                return Err(Fault::new("tls.redirect", message));
            }
            return Ok(None);
        }
    };
    Ok(Some(tls::Settings { source, redirect: given.redirect }))
}

/// Settings of ACME without a name to get a certificate for.
fn alone(given: &Acme) -> Result<(), Fault> {
    for (key, is) in [
        ("tls.acme.email", given.email.is_some()),
        ("tls.acme.directory", given.directory.is_some()),
        ("tls.acme.ca_file", given.ca_file.is_some()),
        ("tls.acme.cache", given.cache.is_some()),
        ("tls.acme.challenge", given.challenge.is_some()),
    ] {
        if is {
            return Err(Fault::new(key, "is of no use without tls.acme.host = \"call.example.org\""));
        }
    }
    Ok(())
}

fn acme(given: Acme, redirect: &[SocketAddr]) -> Result<acme::Settings, Fault> {
    let host = given.host.unwrap_or_default().to_ascii_lowercase();
    let is_name = host.len() <= 253
        && host.contains('.')
        && !host.ends_with(|c: char| c.is_ascii_digit() || c == '.')
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
    if !is_name {
        let message =
            format!("\"{host}\" is no host's name: write \"call.example.org\", no address and no https://");
        return Err(Fault::new("tls.acme.host", message));
    }
    if given.email.as_ref().is_some_and(|email| !email.contains('@')) {
        return Err(Fault::new("tls.acme.email", "is no address of mail"));
    }
    let directory = given.directory.unwrap_or_else(|| acme::LETS_ENCRYPT.to_owned());
    if !directory.starts_with("https://") {
        return Err(Fault::new("tls.acme.directory", "must be an https:// address"));
    }
    let challenge = given.challenge.unwrap_or_default();
    if challenge == acme::Challenge::Http01 && redirect.is_empty() {
        let message = "http-01 is asked for on port 80: set tls.redirect = [\"0.0.0.0:80\", \"[::]:80\"]";
        return Err(Fault::new("tls.acme.challenge", message));
    }
    let state = || std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    let cache = given.cache.or_else(state).ok_or_else(|| {
        let message = "needs tls.acme.cache, a folder that keeps the account and the certificate";
        Fault::new("tls.acme.host", message)
    })?;
    let contact = given.email;
    Ok(acme::Settings { host, email: contact, directory, ca_file: given.ca_file, cache, challenge })
}

fn metrics(address: Option<SocketAddr>, config: &Config) -> Result<Option<SocketAddr>, Fault> {
    let Some(address) = address else { return Ok(None) };
    let redirect = config.tls.iter().flat_map(|tls| &tls.redirect);
    let mut others = config.listen.0.iter().chain(redirect);
    if others.any(|other| other.port() == address.port() && address.port() != 0) {
        let message = "needs a port of its own: metrics are nobody else's business";
        return Err(Fault::new("metrics", message));
    }
    if address.ip().is_unspecified() || is_public(address.ip()) {
        let message =
            format!("{} can be reached by others: listen on 127.0.0.1 or a private address", address.ip());
        return Err(Fault::new("metrics", message));
    }
    Ok(Some(address))
}
