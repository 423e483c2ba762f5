//! An internet of namespaces: a public one with the servers, and for each side a host behind its router.
//!
//! ```text
//! host --lan-- router --wan-- (provider --) public: 198.51.100.1 and .2, 2001:db8:ff::1
//! ```
//!
//! Each side's public address is 203.0.113.2 or 203.0.113.6, and 2001:db8:1::/64 or 2001:db8:2::/64 is its
//! network. Everything goes when it is dropped.

mod access;

pub use access::Old;

use super::kind::Kind;
use super::rules;
use crate::link::LinkError;
use crate::link::netns::{Namespace, ip, sweep};
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the server and TURN over UDP and TCP are.
pub(super) const SERVER: &str = "198.51.100.1";
/// Where TURN over TLS is: port 443 of the other one is the room server's.
pub(super) const SECOND: &str = "198.51.100.2";
/// Both, for who has IPv6 alone.
pub(super) const SERVER_V6: &str = "2001:db8:ff::1";
/// As [`SECOND`].
pub(super) const SECOND_V6: &str = "2001:db8:ff::2";

/// Who is behind what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Each behind a router of their own.
    Apart(Kind, Kind),
    /// Both in one network behind a port-restricted NAT.
    SameNetwork,
    /// Both behind one port-restricted NAT, in networks that may not reach each other; whether they may by
    /// way of their public address.
    SameNat {
        /// Whether it does.
        hairpin: bool,
    },
}

/// The namespaces of a setup.
#[derive(Debug)]
pub struct World {
    public: Namespace,
    /// Of both sides.
    hosts: [Namespace; 2],
    routers: Vec<Namespace>,
    maker: Maker,
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// What a side's links are numbered by.
#[derive(Clone, Copy)]
struct Side {
    number: u8,
    letter: char,
}

const SIDES: [Side; 2] = [Side { number: 1, letter: 'a' }, Side { number: 2, letter: 'b' }];

impl Side {
    fn lan_host(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, self.number, 2)
    }

    fn lan_router(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, self.number, 1)
    }

    fn public(self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, self.number * 4 - 2)
    }

    fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, self.number * 4 - 3)
    }
}

#[derive(Debug)]
struct Maker {
    world: u32,
    links: u32,
}

impl Maker {
    fn namespace(&self, name: &str) -> Result<Namespace, LinkError> {
        let namespace = Namespace::new(&format!("snug-{}-n{}{name}", std::process::id(), self.world))?;
        // A router does not ask its neighbours before it is sure of its own link-local address, which takes it
        // two seconds: the first call would wait for that.
        let at_once = ["net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0"];
        let forwards = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
        for setting in [at_once, forwards].concat() {
            ip(&["netns", "exec", namespace.name(), "sysctl", "-q", "-w", setting])?;
        }
        Ok(namespace)
    }

    /// Joins two by a cable whose ends have these names and addresses.
    fn cable(&mut self, ends: [(&Namespace, &str, &str); 2]) -> Result<(), LinkError> {
        let pid = std::process::id();
        let names = ["p", "q"].map(|end| format!("sn{pid}{end}{}x{}", self.world, self.links));
        self.links += 1;
        ip(&["link", "add", &names[0], "type", "veth", "peer", "name", &names[1]])?;
        for ((namespace, device, address), name) in ends.into_iter().zip(&names) {
            ip(&["link", "set", name, "netns", namespace.name(), "name", device])?;
            give(namespace, device, address)?;
            ip(&["-n", namespace.name(), "link", "set", device, "up"])?;
        }
        Ok(())
    }
}

fn give(namespace: &Namespace, device: &str, address: &str) -> Result<(), LinkError> {
    // An IPv6 address is not to be had for a second while it is being looked for elsewhere.
    let sure: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
    ip(&[&["-n", namespace.name(), "address", "add", address, "dev", device], sure].concat()).map(drop)
}

fn default_route(namespace: &Namespace, via: &str) -> Result<(), LinkError> {
    ip(&["-n", namespace.name(), "route", "add", "default", "via", via]).map(drop)
}

fn nft(namespace: &Namespace, rules: &str) -> Result<(), LinkError> {
    let failed = |said: String| LinkError::Tool { command: "nft -f -".into(), said };
    let mut child = Command::new("ip")
        .args(["netns", "exec", namespace.name(), "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes()).map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

impl World {
    /// Makes the namespaces.
    ///
    /// # Errors
    /// Without root, `ip`, or `nft` (nftables).
    pub fn new(setup: Setup) -> Result<Self, LinkError> {
        sweep()?;
        let mut maker = Maker { world: WORLDS.fetch_add(1, Ordering::Relaxed), links: 0 };
        let public = maker.namespace("pub")?;
        for address in [SERVER, SECOND].map(|v4| format!("{v4}/32")) {
            give(&public, "lo", &address)?;
        }
        for address in [SERVER_V6, SECOND_V6].map(|v6| format!("{v6}/128")) {
            give(&public, "lo", &address)?;
        }
        // What is for nowhere leaves, and is lost, as on the internet: a program that is told that there is no
        // way there may take it amiss (coturn gives the allocation up).
        ip(&["-n", public.name(), "link", "add", "void", "type", "bridge"])?;
        ip(&["-n", public.name(), "link", "set", "void", "arp", "off", "up"])?;
        ip(&["-n", public.name(), "route", "add", "default", "dev", "void"])?;
        ip(&["-n", public.name(), "-6", "route", "add", "default", "dev", "void"])?;
        let mut routers = Vec::new();
        let hosts = match setup {
            Setup::Apart(one, two) => {
                let [a, b] = SIDES;
                [maker.side(&public, a, one, &mut routers)?, maker.side(&public, b, two, &mut routers)?]
            }
            Setup::SameNetwork => maker.one_network(&public, &mut routers)?,
            Setup::SameNat { hairpin } => maker.one_router(&public, hairpin, &mut routers)?,
        };
        Ok(Self { public, hosts, routers, maker })
    }

    /// The name of a host's namespace, as `ip netns` takes it.
    pub fn host(&self, side: usize) -> &str {
        self.hosts[side].name()
    }

    /// Counts from now on what a host sends to others than the servers and itself.
    ///
    /// # Errors
    /// What `nft` says.
    pub fn watch(&self, side: usize) -> Result<(), LinkError> {
        let rules = format!(
            "add table inet watch\n\
             add counter inet watch stray\n\
             add chain inet watch out {{ type filter hook output priority 0; }}\n\
             add rule inet watch out oifname \"lo\" accept\n\
             add rule inet watch out ip daddr {{ {SERVER}, {SECOND} }} accept\n\
             add rule inet watch out ip6 daddr {{ {SERVER_V6}, {SECOND_V6} }} accept\n\
             add rule inet watch out icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, \
             nd-router-solicit, mld2-listener-report }} accept\n\
             add rule inet watch out counter name stray\n"
        );
        nft(&self.hosts[side], &rules)
    }

    /// How many such packets there were.
    ///
    /// # Errors
    /// What `nft` says.
    pub fn strays(&self, side: usize) -> Result<u64, LinkError> {
        let name = self.host(side);
        let said = ip(&["netns", "exec", name, "nft", "list", "counter", "inet", "watch", "stray"])?;
        let mut words = said.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        let packets = words.next().and_then(|number| number.parse().ok());
        packets.ok_or(LinkError::Tool { command: "nft list counter".into(), said: said.clone() })
    }

    /// The name of the namespace that servers run in.
    pub fn public(&self) -> &str {
        self.public.name()
    }
}

impl Maker {
    fn side(
        &mut self,
        public: &Namespace,
        side: Side,
        kind: Kind,
        routers: &mut Vec<Namespace>,
    ) -> Result<Namespace, LinkError> {
        let Side { number, letter } = side;
        let host = self.namespace(&format!("{letter}host"))?;
        let (inside, outside) = (format!("{}/30", side.public()), format!("{}/30", side.gateway()));
        let wan = format!("wan{letter}");
        if kind == Kind::Open {
            self.cable([(&host, "eth0", &inside), (public, &wan, &outside)])?;
            default_route(&host, &side.gateway().to_string())?;
            return Ok(host);
        }
        let router = self.namespace(&format!("{letter}router"))?;
        if kind == Kind::V6 {
            let net = format!("2001:db8:{number}");
            self.cable([
                (&host, "eth0", &format!("{net}::2/64")),
                (&router, "lan", &format!("{net}::1/64")),
            ])?;
            default_route(&host, &format!("{net}::1"))?;
            self.cable([
                (&router, "wan", &format!("2001:db8:f{number}::2/64")),
                (public, &wan, &format!("2001:db8:f{number}::1/64")),
            ])?;
            default_route(&router, &format!("2001:db8:f{number}::1"))?;
            let (prefix, via) = (format!("{net}::/64"), format!("2001:db8:f{number}::2"));
            ip(&["-n", public.name(), "route", "add", &prefix, "via", &via])?;
        } else {
            let lan = [side.lan_host(), side.lan_router()].map(|address| format!("{address}/24"));
            self.cable([(&host, "eth0", &lan[0]), (&router, "lan", &lan[1])])?;
            default_route(&host, &side.lan_router().to_string())?;
            if kind == Kind::Double {
                let provider = self.namespace(&format!("{letter}provider"))?;
                let net = format!("100.64.{number}");
                self.cable([
                    (&router, "wan", &format!("{net}.2/24")),
                    (&provider, "lan", &format!("{net}.1/24")),
                ])?;
                default_route(&router, &format!("{net}.1"))?;
                self.cable([(&provider, "wan", &inside), (public, &wan, &outside)])?;
                default_route(&provider, &side.gateway().to_string())?;
                nft(&provider, &rules::provider())?;
                routers.push(provider);
            } else {
                self.cable([(&router, "wan", &inside), (public, &wan, &outside)])?;
                default_route(&router, &side.gateway().to_string())?;
            }
        }
        if let Some(rules) = rules::rules(kind, side.lan_host()) {
            nft(&router, &rules)?;
        }
        routers.push(router);
        Ok(host)
    }

    fn router(&mut self, public: &Namespace) -> Result<Namespace, LinkError> {
        let [side, _] = SIDES;
        let router = self.namespace("router")?;
        let (inside, outside) = (format!("{}/30", side.public()), format!("{}/30", side.gateway()));
        self.cable([(&router, "wan", &inside), (public, "wana", &outside)])?;
        default_route(&router, &side.gateway().to_string())?;
        Ok(router)
    }

    fn one_network(
        &mut self,
        public: &Namespace,
        routers: &mut Vec<Namespace>,
    ) -> Result<[Namespace; 2], LinkError> {
        let router = self.router(public)?;
        let name = router.name().to_owned();
        ip(&["-n", &name, "link", "add", "lan", "type", "bridge"])?;
        give(&router, "lan", "192.168.1.1/24")?;
        ip(&["-n", &name, "link", "set", "lan", "up"])?;
        let hosts = [self.namespace("ahost")?, self.namespace("bhost")?];
        for (number, host) in hosts.iter().enumerate() {
            let (address, port) = (format!("192.168.1.{}/24", number + 2), format!("port{number}"));
            // The port's own address is of no use to anybody; each end of a cable has one.
            let own = format!("169.254.77.{}/32", number + 1);
            self.cable([(host, "eth0", &address), (&router, &port, &own)])?;
            ip(&["-n", &name, "link", "set", &port, "master", "lan"])?;
            default_route(host, "192.168.1.1")?;
        }
        let [side, _] = SIDES;
        if let Some(rules) = rules::rules(Kind::Port, side.lan_host()) {
            nft(&router, &rules)?;
        }
        routers.push(router);
        Ok(hosts)
    }

    fn one_router(
        &mut self,
        public: &Namespace,
        hairpin: bool,
        routers: &mut Vec<Namespace>,
    ) -> Result<[Namespace; 2], LinkError> {
        let router = self.router(public)?;
        let hosts = [self.namespace("ahost")?, self.namespace("bhost")?];
        for ((side, host), device) in SIDES.iter().zip(&hosts).zip(["lan", "lan2"]) {
            let addresses = [side.lan_host(), side.lan_router()].map(|address| format!("{address}/24"));
            self.cable([(host, "eth0", &addresses[0]), (&router, device, &addresses[1])])?;
            default_route(host, &side.lan_router().to_string())?;
        }
        let [one, _] = SIDES;
        let rules = rules::isolating(hairpin);
        nft(&router, &rules.replace("WAN", &one.public().to_string()))?;
        routers.push(router);
        Ok(hosts)
    }
}
