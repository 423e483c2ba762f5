//! Settings as they are given: by flags, by environment variables and by one TOML file. One structure is all
//! three, so that none of them knows a setting that the others do not: `tls.acme.host` in the file is
//! `--tls-acme-host` and `SNUG_TLS_ACME_HOST`. Flags go before the environment, that before the file.

mod check;
mod layers;
mod list;
mod show;

pub use layers::{ConfigError, Layers};
pub use show::show;

use crate::acme::Challenge;
use crate::net::Net;
use crate::proxy::{ForwardedHeader, PublicUrl};
use crate::room::Create;
use crate::turn;
use clap::Args;
use list::{IceEntry, one_or_many, text};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// All of them; what is not given is empty.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where to listen, one address or several [default: 127.0.0.1:8080]; port 0 takes any free one.
    #[arg(
        id = "listen",
        long = "listen",
        value_name = "ADDR:PORT",
        env = "SNUG_LISTEN",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub listen: Vec<SocketAddr>,
    /// The address under which browsers reach the server, where it cannot tell, as `https://host`.
    #[arg(id = "public_url", long = "public-url", value_name = "URL", env = "SNUG_PUBLIC_URL")]
    #[serde(deserialize_with = "text")]
    pub public_url: Option<PublicUrl>,
    /// Pages of other origins (`https://host`) that may connect, beside the server's own.
    #[arg(
        id = "origins",
        long = "origins",
        value_name = "ORIGIN",
        env = "SNUG_ORIGINS",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub origins: Vec<String>,
    /// Reverse proxies whose forwarding headers are believed: addresses and ranges (10.0.0.0/8).
    #[arg(
        id = "trusted_proxies",
        long = "trusted-proxies",
        value_name = "RANGE",
        env = "SNUG_TRUSTED_PROXIES",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub trusted_proxies: Vec<Net>,
    /// The header in which trusted proxies name the client [default: x-forwarded-for].
    #[arg(
        id = "forwarded_header",
        long = "forwarded-header",
        value_name = "NAME",
        env = "SNUG_FORWARDED_HEADER"
    )]
    pub forwarded_header: Option<ForwardedHeader>,
    /// Speak plain HTTP to the internet too: whoever is on the way reads and changes what is said.
    #[arg(id = "insecure_http", long = "insecure-http", env = "SNUG_INSECURE_HTTP", value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub insecure_http: Option<bool>,
    /// Where Prometheus finds the metrics, over plain HTTP: 127.0.0.1:9100 [default: nowhere].
    #[arg(id = "metrics", long = "metrics", value_name = "ADDR:PORT", env = "SNUG_METRICS")]
    pub metrics: Option<SocketAddr>,
    /// Write clients' addresses into the log.
    #[arg(id = "log_addresses", long = "log-addresses", env = "SNUG_LOG_ADDRESSES", value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub log_addresses: Option<bool>,
    /// Certificates.
    #[command(flatten)]
    pub tls: Tls,
    /// How much is too much.
    #[command(flatten)]
    pub limits: Limits,
    /// Which rooms may be opened.
    #[command(flatten)]
    pub rooms: Rooms,
    /// STUN and TURN servers elsewhere.
    #[command(flatten)]
    pub ice: Ice,
    /// STUN and TURN inside: `[turn]` in the file, and there alone.
    #[arg(skip)]
    pub turn: turn::Settings,
}

/// `[tls]`
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// A PEM file with the certificate and those that lead to its root; read again when it changes.
    #[arg(id = "tls.cert", long = "tls-cert", value_name = "FILE", env = "SNUG_TLS_CERT")]
    pub cert: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    #[arg(id = "tls.key", long = "tls-key", value_name = "FILE", env = "SNUG_TLS_KEY")]
    pub key: Option<PathBuf>,
    /// Where to answer plain HTTP with a redirect to https: 0.0.0.0:80
    #[arg(
        id = "tls.redirect",
        long = "tls-redirect",
        value_name = "ADDR:PORT",
        env = "SNUG_TLS_REDIRECT",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub redirect: Vec<SocketAddr>,
    /// Certificates by themselves.
    #[command(flatten)]
    pub acme: Acme,
}

/// `[tls.acme]`
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acme {
    /// Get a certificate for this name by ACME (Let's Encrypt), and renew it; this agrees to the terms of the
    /// certificate authority.
    #[arg(id = "tls.acme.host", long = "tls-acme-host", value_name = "NAME", env = "SNUG_TLS_ACME_HOST")]
    pub host: Option<String>,
    /// Where the authority may write to.
    #[arg(
        id = "tls.acme.email",
        long = "tls-acme-email",
        value_name = "ADDRESS",
        env = "SNUG_TLS_ACME_EMAIL"
    )]
    pub email: Option<String>,
    /// The authority's directory [default: Let's Encrypt's].
    #[arg(
        id = "tls.acme.directory",
        long = "tls-acme-directory",
        value_name = "URL",
        env = "SNUG_TLS_ACME_DIRECTORY"
    )]
    pub directory: Option<String>,
    /// A PEM file with the root of the directory's own certificate, where it is not a public one.
    #[arg(
        id = "tls.acme.ca_file",
        long = "tls-acme-ca-file",
        value_name = "FILE",
        env = "SNUG_TLS_ACME_CA_FILE"
    )]
    pub ca_file: Option<PathBuf>,
    /// The folder that keeps account and certificate [default: systemd's STATE_DIRECTORY].
    #[arg(id = "tls.acme.cache", long = "tls-acme-cache", value_name = "DIR", env = "SNUG_TLS_ACME_CACHE")]
    pub cache: Option<PathBuf>,
    /// How the authority looks whether the name is ours: on port 443, or on port 80 (which needs
    /// tls.redirect) [default: tls-alpn-01].
    #[arg(
        id = "tls.acme.challenge",
        long = "tls-acme-challenge",
        value_name = "KIND",
        env = "SNUG_TLS_ACME_CHALLENGE"
    )]
    pub challenge: Option<Challenge>,
}

/// `[limits]`
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Rooms in all [default: 1000].
    #[arg(id = "limits.rooms", long = "limits-rooms", value_name = "N", env = "SNUG_LIMITS_ROOMS")]
    pub rooms: Option<usize>,
    /// People in a room, 12 at most [default: 12].
    #[arg(
        id = "limits.participants",
        long = "limits-participants",
        value_name = "N",
        env = "SNUG_LIMITS_PARTICIPANTS"
    )]
    pub participants: Option<usize>,
    /// People in all, those who knock included [default: 6000].
    #[arg(id = "limits.people", long = "limits-people", value_name = "N", env = "SNUG_LIMITS_PEOPLE")]
    pub people: Option<usize>,
    /// People who knock at one room [default: 16].
    #[arg(id = "limits.knocks", long = "limits-knocks", value_name = "N", env = "SNUG_LIMITS_KNOCKS")]
    pub knocks: Option<usize>,
    /// People who may come a minute in all, refused ones too [default: 6000].
    #[arg(id = "limits.hellos", long = "limits-hellos", value_name = "N", env = "SNUG_LIMITS_HELLOS")]
    pub hellos: Option<u32>,
    /// The same from one address (IPv6: from one /64).
    #[command(flatten)]
    pub address: PerAddress,
    /// WebSockets in all [default: 4000].
    #[arg(id = "limits.sockets", long = "limits-sockets", value_name = "N", env = "SNUG_LIMITS_SOCKETS")]
    pub sockets: Option<usize>,
    /// TCP connections in all [default: 4096].
    #[arg(
        id = "limits.connections",
        long = "limits-connections",
        value_name = "N",
        env = "SNUG_LIMITS_CONNECTIONS"
    )]
    pub connections: Option<usize>,
    /// TCP connections of one IPv4 address or IPv6 /64, trusted proxies apart [default: 256].
    #[arg(
        id = "limits.connections_per_address",
        long = "limits-connections-per-address",
        value_name = "N",
        env = "SNUG_LIMITS_CONNECTIONS_PER_ADDRESS"
    )]
    pub connections_per_address: Option<usize>,
}

/// `[limits.address]`
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PerAddress {
    /// WebSockets of one address [default: 200].
    #[arg(
        id = "limits.address.sockets",
        long = "limits-address-sockets",
        value_name = "N",
        env = "SNUG_LIMITS_ADDRESS_SOCKETS"
    )]
    pub sockets: Option<usize>,
    /// Rooms that one address opened and that are still there [default: 50].
    #[arg(
        id = "limits.address.rooms",
        long = "limits-address-rooms",
        value_name = "N",
        env = "SNUG_LIMITS_ADDRESS_ROOMS"
    )]
    pub rooms: Option<usize>,
    /// People of one address, those who knock included [default: 150].
    #[arg(
        id = "limits.address.people",
        long = "limits-address-people",
        value_name = "N",
        env = "SNUG_LIMITS_ADDRESS_PEOPLE"
    )]
    pub people: Option<usize>,
    /// People who may come a minute from one address, refused ones too [default: 300].
    #[arg(
        id = "limits.address.hellos",
        long = "limits-address-hellos",
        value_name = "N",
        env = "SNUG_LIMITS_ADDRESS_HELLOS"
    )]
    pub hellos: Option<u32>,
}

/// `[rooms]`
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rooms {
    /// Who may open a room: whoever says its name, or, of those listed in rooms.names alone [default: anyone].
    #[arg(id = "rooms.create", long = "rooms-create", value_name = "RULE", env = "SNUG_ROOMS_CREATE")]
    pub create: Option<Create>,
    /// The rooms there may be where only listed ones may be opened.
    #[arg(
        id = "rooms.names",
        long = "rooms-names",
        value_name = "NAME",
        env = "SNUG_ROOMS_NAMES",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub names: Vec<String>,
}

/// `[ice]`
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ice {
    /// STUN and TURN servers handed out as they are: stun:stun.example.org. In the file also with `username`
    /// and `credential`.
    #[arg(
        id = "ice.servers",
        long = "ice-servers",
        value_name = "URL",
        env = "SNUG_ICE_SERVERS",
        value_delimiter = ','
    )]
    pub servers: Vec<IceEntry>,
    /// A TURN server elsewhere that shares a secret with this one (coturn's use-auth-secret).
    #[arg(
        id = "ice.turn_urls",
        long = "ice-turn-urls",
        value_name = "URL",
        env = "SNUG_ICE_TURN_URLS",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub turn_urls: Vec<String>,
    /// The secret it shares; better in the file or the environment, for flags are seen by all on the machine.
    #[arg(
        id = "ice.turn_secret",
        long = "ice-turn-secret",
        value_name = "SECRET",
        env = "SNUG_ICE_TURN_SECRET",
        hide_env_values = true
    )]
    pub turn_secret: Option<Secret>,
    /// How long its credentials are good, in seconds [default: 43200].
    #[arg(id = "ice.turn_ttl", long = "ice-turn-ttl", value_name = "SECONDS", env = "SNUG_ICE_TURN_TTL")]
    pub turn_ttl: Option<u64>,
}

/// A value that is never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// One layer over another.
pub(crate) trait Over {
    /// What is here, else what is below.
    fn over(self, below: Self) -> Self;
}

impl<T> Over for Option<T> {
    fn over(self, below: Self) -> Self {
        self.or(below)
    }
}

impl<T> Over for Vec<T> {
    fn over(self, below: Self) -> Self {
        if self.is_empty() { below } else { self }
    }
}

/// As a whole: flags and environment have none of it.
impl Over for turn::Settings {
    fn over(self, below: Self) -> Self {
        if self == Self::default() { below } else { self }
    }
}

/// Names every field, or does not compile.
macro_rules! over {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl Over for $name {
            fn over(self, below: Self) -> Self {
                Self { $($field: self.$field.over(below.$field)),* }
            }
        }
    };
}

over!(Settings {
    listen,
    public_url,
    origins,
    trusted_proxies,
    forwarded_header,
    insecure_http,
    metrics,
    log_addresses,
    tls,
    limits,
    rooms,
    ice,
    turn
});
over!(Tls { cert, key, redirect, acme });
over!(Acme { host, email, directory, ca_file, cache, challenge });
over!(Limits {
    rooms,
    participants,
    people,
    knocks,
    hellos,
    address,
    sockets,
    connections,
    connections_per_address
});
over!(PerAddress { sockets, rooms, people, hellos });
over!(Rooms { create, names });
over!(Ice { servers, turn_urls, turn_secret, turn_ttl });
