//! The state on a clock of its own, with sockets that are numbers.

use super::*;
use crate::net::Net;
use crate::turn::own::External;
use stun_types::message::{IntegrityAlgorithm, LongTermKeyCredentials};

/// Gives out numbers; ports that are taken elsewhere are refused.
#[derive(Default)]
struct Sockets {
    open: Vec<SocketAddr>,
    taken: Vec<u16>,
}

impl Binder<usize> for Sockets {
    fn bind(&mut self, at: SocketAddr, _id: u64) -> io::Result<usize> {
        if self.taken.contains(&at.port()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.open.push(at);
        Ok(self.open.len() - 1)
    }
}

struct World {
    state: State<usize>,
    sockets: Sockets,
    now: Now,
    ids: u128,
}

const UNIX: u64 = 1_800_000_000;

fn quotas() -> Quotas {
    Quotas { allocations: 5, per_address: 4, per_credential: 3, bandwidth_kbps: 8000, ..Quotas::default() }
}

fn world_with(rules: Rules, own: Own) -> World {
    let state = State::new(rules, own, 7);
    World { state, sockets: Sockets::default(), now: Now { at: Instant::now(), unix: UNIX }, ids: 0 }
}

fn rules(allowed: &[&str]) -> Rules {
    let allowed: Vec<Net> = allowed.iter().map(|text| text.parse().unwrap()).collect();
    let peers = Peers { allowed, loopback: false };
    Rules { ports: Ports { first: 50_000, last: 50_099 }, quotas: quotas(), peers }
}

/// A machine at 1.1.1.1 and 2600::1.
fn own() -> Own {
    let ips = |texts: &[&str]| texts.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
    Own {
        interfaces: ips(&["127.0.0.1", "1.1.1.1", "2600::1", "10.0.0.1"]),
        relays: ips(&["1.1.1.1", "2600::1"]),
        external: vec![],
    }
}

fn world() -> World {
    world_with(rules(&[]), own())
}

fn client(n: u16) -> Client {
    let remote = SocketAddr::from(([9, 9, (n >> 8) as u8, n as u8], 4000));
    Client { remote, local: "1.1.1.1:3478".parse().unwrap(), over: Transport::Udp, stream: 0 }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn admitted(user: &str, good_for: u64) -> Admitted {
    let key = LongTermKeyCredentials::new(user.into(), "p".into(), "r".into());
    let key = key.make_key(IntegrityAlgorithm::Sha1);
    Admitted { user: user.into(), expires: UNIX + good_for, key }
}

impl World {
    fn pass(&mut self, seconds: u64) {
        self.now.at += Duration::from_secs(seconds);
        self.now.unix += seconds;
    }

    fn ask(&mut self) -> Ask {
        self.ids += 1;
        let id = TransactionId::from(self.ids);
        Ask { id, lifetime: None, family: None, additional: false, even_port: false }
    }

    fn allocate_as(&mut self, n: u16, user: &str, ask: Ask) -> Result<Granted, Refusal> {
        let admitted = admitted(user, 86_400);
        self.state.allocate(self.now, client(n), &admitted, ask, &mut self.sockets)
    }

    fn allocate(&mut self, n: u16, user: &str) -> Result<SocketAddr, Refusal> {
        let ask = self.ask();
        self.allocate_as(n, user, ask).map(|granted| granted.relayed[0])
    }

    fn permit(&mut self, n: u16, peer: &str) -> Result<(), Refusal> {
        self.state.permit(self.now, &client(n), "u", &[at(peer)])
    }

    fn bind(&mut self, n: u16, number: u16, peer: &str) -> Result<(), Refusal> {
        self.state.bind(self.now, &client(n), "u", number, at(peer))
    }

    fn send(&mut self, n: u16, peer: &str) -> Result<SocketAddr, Dropped> {
        let sent = self.state.send(self.now.at, &client(n), To::Peer(at(peer)), 100);
        sent.map(|(_, to)| to)
    }

    fn come(&mut self, n: u16, id: u64, from: &str) -> Result<(SocketAddr, Option<u16>), Dropped> {
        self.state.receive(self.now.at, &client(n), id, at(from), 100)
    }
}

#[test]
fn data_goes_only_to_and_from_permitted_peers() {
    let mut world = world();
    let relayed = world.allocate(1, "u").unwrap();
    assert_eq!(relayed.ip(), at("1.1.1.1:0").ip());
    assert!((50_000..50_100).contains(&relayed.port()));
    assert_eq!(world.send(1, "8.8.8.8:5"), Err(Dropped::NoPermission));
    assert_eq!(world.come(1, 1, "8.8.8.8:5"), Err(Dropped::NoPermission));
    world.permit(1, "8.8.8.8:0").unwrap();
    assert_eq!(world.send(1, "8.8.8.8:5"), Ok(at("8.8.8.8:5")));
    assert_eq!(world.come(1, 1, "8.8.8.8:6"), Ok((at("8.8.8.8:6"), None)));
    assert_eq!(world.come(1, 1, "8.8.8.9:6"), Err(Dropped::NoPermission));
    world.bind(1, 0x4000, "8.8.4.4:7").unwrap();
    let on_channel = world.state.send(world.now.at, &client(1), To::Channel(0x4000), 1);
    assert_eq!(on_channel.map(|(_, to)| to), Ok(at("8.8.4.4:7")));
    assert_eq!(world.come(1, 1, "8.8.4.4:7"), Ok((at("8.8.4.4:7"), Some(0x4000))));
    assert_eq!(world.send(2, "8.8.8.8:5"), Err(Dropped::NoAllocation));
    assert_eq!(world.come(1, 2, "8.8.8.8:6"), Err(Dropped::NoAllocation), "of an earlier allocation");
    world.pass(300);
    assert_eq!(world.send(1, "8.8.8.8:5"), Err(Dropped::NoPermission));
    let on_channel = world.state.send(world.now.at, &client(1), To::Channel(0x4000), 1);
    assert_eq!(on_channel.map(|(_, to)| to), Err(Dropped::NoPermission));
}

/// One test for each kind of address that nobody may reach through us.
macro_rules! forbidden {
    ($($name:ident: $($peer:literal),+;)*) => {$(
        #[test]
        fn $name() {
            let mut world = world();
            let ask = Ask { additional: true, ..world.ask() };
            world.allocate_as(1, "u", ask).unwrap();
            for (n, peer) in [$($peer),+].into_iter().enumerate() {
                assert_eq!(world.permit(1, peer), Err(Refusal::Forbidden), "{peer}");
                assert_eq!(world.bind(1, 0x4000 + n as u16, peer), Err(Refusal::Forbidden), "{peer}");
                assert_eq!(world.send(1, peer), Err(Dropped::NoPermission), "{peer}");
                assert!(world.come(1, 1, peer).is_err(), "{peer}");
            }
            // Refused together with a peer that is open, neither is permitted.
            let both = [at("8.8.8.8:1"), at([$($peer),+][0])];
            let refused = world.state.permit(world.now, &client(1), "u", &both);
            assert_eq!(refused, Err(Refusal::Forbidden));
            assert_eq!(world.send(1, "8.8.8.8:1"), Err(Dropped::NoPermission));
        }
    )*};
}

forbidden! {
    no_relay_to_the_loopback: "127.0.0.1:22", "127.8.8.8:22", "[::1]:22";
    no_relay_to_private_networks: "10.0.0.1:22", "10.9.9.9:22", "172.16.0.1:22", "172.31.9.9:22",
        "192.168.1.1:80";
    no_relay_to_carrier_nat: "100.64.0.1:80", "100.127.255.255:80";
    no_relay_to_unique_local_networks: "[fc00::1]:80", "[fd12:3456::1]:80";
    no_relay_to_link_local: "169.254.0.1:80", "[fe80::1]:80", "[febf::1]:80";
    no_relay_to_metadata_services: "169.254.169.254:80", "[fd00:ec2::254]:80";
    no_relay_to_groups: "224.0.0.1:5", "239.255.255.250:1900", "[ff02::1]:5", "[ff0e::1]:5";
    no_relay_to_the_unspecified: "0.0.0.0:80", "0.1.2.3:80", "[::]:80";
    no_relay_to_everybody: "255.255.255.255:67";
    no_relay_to_reserved_networks: "240.0.0.1:9", "198.18.0.1:9", "192.0.2.1:9", "203.0.113.1:9",
        "[2001:db8::1]:9";
    no_relay_to_mapped_addresses: "[::ffff:127.0.0.1]:22", "[::ffff:10.0.0.1]:22", "[::ffff:8.8.8.8]:22";
    no_relay_to_compatible_addresses: "[::127.0.0.1]:22", "[::10.0.0.1]:22";
    no_relay_through_nat64: "[64:ff9b::10.0.0.1]:22", "[64:ff9b::7f00:1]:22", "[64:ff9b:1::a00:1]:22";
    no_relay_through_6to4: "[2002:a00:1::1]:22", "[2002:7f00:1::]:22";
    no_relay_through_teredo: "[2001:0:a00:1::f5ff:fffe]:22";
}

#[test]
fn what_the_operator_lists_is_open() {
    let mut world = world_with(rules(&["10.0.0.0/8"]), own());
    world.allocate(1, "u").unwrap();
    world.permit(1, "10.9.9.9:0").unwrap();
    world.bind(1, 0x4000, "10.0.0.1:22").unwrap();
    assert_eq!(world.send(1, "10.9.9.9:5"), Ok(at("10.9.9.9:5")));
    assert_eq!(world.permit(1, "192.168.0.1:0"), Err(Refusal::Forbidden));
}

/// The machine's own address is public, but only its relayed addresses are peers; of others' services there
/// none can be reached.
#[test]
fn on_this_machine_only_relayed_addresses_are_peers() {
    let mut world = world();
    let a = world.allocate(1, "u").unwrap().to_string();
    let b = world.allocate(2, "u").unwrap().to_string();
    world.permit(1, &b).unwrap();
    world.permit(2, &a).unwrap();
    assert_eq!(world.send(1, &b), Ok(at(&b)));
    assert_eq!(world.come(2, 2, &a), Ok((at(&a), None)));
    for service in ["1.1.1.1:22", "1.1.1.1:3478", "1.1.1.1:8080"] {
        assert_eq!(world.send(1, service), Err(Dropped::NoPermission), "{service}");
        assert_eq!(world.bind(1, 0x4000, service), Err(Refusal::Forbidden), "{service}");
    }
    world.bind(1, 0x4000, &b).unwrap();
    world.state.remove(&client(2));
    assert_eq!(world.send(1, &b), Err(Dropped::NoPermission), "that relay is gone");
}

#[test]
fn behind_a_nat_others_see_the_external_address_and_relays_reach_each_other_within() {
    let external: External = "5.5.5.5/1.1.1.1".parse().unwrap();
    let mut world = world_with(rules(&[]), Own { external: vec![external], ..own() });
    let a = world.allocate(1, "u").unwrap();
    let b = world.allocate(2, "u").unwrap();
    assert_eq!((a.ip(), b.ip()), (external.public, external.public));
    world.permit(1, &b.to_string()).unwrap();
    world.permit(2, &a.to_string()).unwrap();
    let inside = SocketAddr::new(at("1.1.1.1:0").ip(), b.port());
    assert_eq!(world.send(1, &b.to_string()), Ok(inside));
    let from = SocketAddr::new(inside.ip(), a.port()).to_string();
    assert_eq!(world.come(2, 2, &from), Ok((a, None)));
    assert_eq!(world.send(1, "5.5.5.5:22"), Err(Dropped::NoPermission));
}

#[test]
fn a_retransmitted_request_gets_the_same_allocation_and_another_none() {
    let mut world = world();
    let ask = world.ask();
    let first = world.allocate_as(1, "u", ask).unwrap();
    assert_eq!(world.allocate_as(1, "u", ask), Ok(first));
    assert_eq!(world.allocate_as(1, "v", ask), Err(Refusal::AllocationMismatch));
    let other = world.ask();
    assert_eq!(world.allocate_as(1, "u", other), Err(Refusal::AllocationMismatch));
    assert_eq!((world.sockets.open.len(), world.state.counts()), (1, (1, 1)));
}

#[test]
fn quotas_of_credential_address_and_server_hold_and_are_given_back() {
    let mut world = world();
    let from = |port: u16| Client { remote: SocketAddr::new(client(1).remote.ip(), port), ..client(1) };
    let take = |world: &mut World, client: Client, user: &str| {
        let ask = world.ask();
        world.state.allocate(world.now, client, &admitted(user, 600), ask, &mut world.sockets).map(drop)
    };
    for port in 1..=3 {
        assert_eq!(take(&mut world, from(port), "u"), Ok(()));
    }
    assert_eq!(take(&mut world, client(9), "u"), Err(Refusal::AllocationQuota), "reused too often");
    assert_eq!(take(&mut world, from(4), "v"), Ok(()));
    assert_eq!(take(&mut world, from(5), "w"), Err(Refusal::AllocationQuota), "of one address");
    assert_eq!(take(&mut world, client(2), "v"), Ok(()));
    assert_eq!(take(&mut world, client(3), "w"), Err(Refusal::InsufficientCapacity), "in all");
    world.state.remove(&from(1));
    assert_eq!(take(&mut world, client(9), "u"), Ok(()));
    world.state.clear();
    assert_eq!(
        (world.state.accounts.len(), world.state.addresses.len(), world.state.relays.len()),
        (0, 0, 0)
    );
}

#[test]
fn nothing_outlives_its_lifetime_nor_its_credential_by_more_than_the_grace() {
    let mut world = world();
    let ask = Ask { lifetime: Some(99_999), ..world.ask() };
    assert_eq!(world.allocate_as(1, "u", ask).unwrap().lifetime, 3600, "no more than the quota");
    let short = world.ask();
    let refused = world.state.allocate(world.now, client(2), &admitted("s", 100), short, &mut world.sockets);
    assert_eq!(refused.unwrap().lifetime, 160);
    let refresh = |world: &mut World, n: u16, user: &str, lifetime: Option<u32>| {
        world.state.refresh(world.now, &client(n), user, lifetime, None)
    };
    world.pass(90);
    assert_eq!(refresh(&mut world, 2, "s", Some(3600)), Ok(70), "a refresh does not go beyond");
    assert_eq!(refresh(&mut world, 2, "u", Some(3600)), Err(Refusal::WrongCredentials));
    assert_eq!(refresh(&mut world, 1, "u", None), Ok(600));
    world.pass(70);
    assert_eq!(refresh(&mut world, 2, "s", Some(0)), Err(Refusal::AllocationMismatch), "it is over");
    assert!(!world.state.holds(&client(2)));
    world.pass(529);
    world.state.expire(world.now.at);
    assert!(world.state.holds(&client(1)));
    world.pass(1);
    world.state.expire(world.now.at);
    assert_eq!(world.state.counts(), (0, 2));
}

#[test]
fn families_are_given_as_asked() {
    let mut world = world();
    let ask = Ask { family: Some(Family::V6), ..world.ask() };
    assert!(world.allocate_as(1, "u", ask).unwrap().relayed[0].is_ipv6());
    assert_eq!(world.permit(1, "8.8.8.8:0"), Err(Refusal::PeerFamily));
    world.permit(1, "[2600::9]:0").unwrap();
    let ask = Ask { additional: true, ..world.ask() };
    let both = world.allocate_as(2, "u", ask).unwrap();
    assert_eq!(both.relayed.iter().map(SocketAddr::is_ipv4).collect::<Vec<_>>(), [true, false]);
    world.permit(2, "8.8.8.8:0").unwrap();
    world.permit(2, "[2600::9]:0").unwrap();
    let gone = world.state.refresh(world.now, &client(2), "u", Some(0), Some(Family::V4));
    assert_eq!(gone, Ok(0));
    assert_eq!(world.send(2, "8.8.8.8:1"), Err(Dropped::NoPermission));
    assert_eq!(world.send(2, "[2600::9]:1"), Ok(at("[2600::9]:1")));
    let gone = world.state.refresh(world.now, &client(2), "u", Some(0), Some(Family::V4));
    assert_eq!(gone, Err(Refusal::PeerFamily));
    // A machine without IPv6.
    let mut world = world_with(rules(&[]), Own { relays: vec![at("1.1.1.1:0").ip()], ..own() });
    let ask = Ask { family: Some(Family::V6), ..world.ask() };
    assert_eq!(world.allocate_as(1, "u", ask), Err(Refusal::AddressFamily));
    let ask = Ask { additional: true, ..world.ask() };
    let one = world.allocate_as(1, "u", ask).unwrap();
    assert_eq!((one.relayed.len(), one.no_additional), (1, Some(Refusal::AddressFamily)));
}

#[test]
fn ports_are_even_when_asked_and_never_given_twice() {
    let mut rules = rules(&[]);
    rules.ports = Ports { first: 50_000, last: 50_003 };
    let mut world = world_with(rules, own());
    world.sockets.taken = vec![50_002];
    let ask = Ask { even_port: true, ..world.ask() };
    assert_eq!(world.allocate_as(1, "u", ask).unwrap().relayed[0].port(), 50_000);
    let ask = Ask { even_port: true, ..world.ask() };
    assert_eq!(world.allocate_as(2, "u", ask), Err(Refusal::InsufficientCapacity));
    let mut ports = [world.allocate(2, "u").unwrap().port(), world.allocate(3, "u").unwrap().port()];
    ports.sort_unstable();
    assert_eq!(ports, [50_001, 50_003]);
    assert_eq!(world.allocate(4, "v"), Err(Refusal::InsufficientCapacity));
}

#[test]
fn a_credential_has_its_bandwidth_each_way_over_all_its_allocations() {
    let mut world = world();
    for n in 1..=2 {
        world.allocate(n, "u").unwrap();
        world.permit(n, "8.8.8.8:0").unwrap();
    }
    world.allocate(3, "v").unwrap();
    world.state.permit(world.now, &client(3), "v", &[at("8.8.8.8:0")]).unwrap();
    let (mut sent, mut come, mut others) = (0, 0, 0);
    // Ten seconds at thirty times the megabyte a second that there is.
    for tick in 0..10_000 {
        world.now.at += Duration::from_millis(1);
        for _ in 0..15 {
            let to = To::Peer(at("8.8.8.8:1"));
            for n in 1..=2 {
                sent += u32::from(world.state.send(world.now.at, &client(n), to, 1000).is_ok());
                let id = u64::from(n);
                let came = world.state.receive(world.now.at, &client(n), id, at("8.8.8.8:1"), 1000);
                come += u32::from(came.is_ok());
            }
        }
        let due = tick % 2 == 0;
        others += u32::from(due && world.send(3, "8.8.8.8:1").is_ok());
    }
    // A burst of a quarter of a second comes on top.
    assert!((10_240..=10_260).contains(&sent), "{sent}");
    assert!((10_240..=10_260).contains(&come), "{come}");
    assert_eq!(others, 5000);
}

/// Anything in any order: what is held, and counted, always agrees.
#[test]
fn whatever_happens_the_books_are_right() {
    let mut world = world();
    let mut random = StdRng::seed_from_u64(11);
    let users = ["u", "v", "w"];
    for _ in 0..20_000 {
        let (n, user) = (random.random_range(0..8), users[random.random_range(0..3)]);
        let peer = ["8.8.8.8:9", "10.0.0.1:9", "[2600::9]:9", "1.1.1.1:50001"][random.random_range(0..4)];
        match random.random_range(0..8) {
            0 | 1 => {
                let additional = random.random();
                let ask = Ask { additional, lifetime: Some(random.random_range(0..4000)), ..world.ask() };
                let good_for = random.random_range(1..2000);
                let admitted = admitted(user, good_for);
                let _ = world.state.allocate(world.now, client(n), &admitted, ask, &mut world.sockets);
            }
            2 => {
                let family = [None, Some(Family::V4), Some(Family::V6)][random.random_range(0..3)];
                let lifetime = random.random_range(0..2) * 700;
                let _ = world.state.refresh(world.now, &client(n), user, Some(lifetime), family);
            }
            3 => drop(world.state.permit(world.now, &client(n), user, &[at(peer)])),
            4 => drop(world.state.bind(world.now, &client(n), user, 0x4000 + n, at(peer))),
            5 => world.state.remove(&client(n)),
            6 => world.pass(random.random_range(0..200)),
            _ => world.state.expire(world.now.at),
        }
        let state = &world.state;
        let held = state.allocations.len();
        assert!(held <= quotas().allocations);
        assert_eq!(state.accounts.values().map(|account| account.allocations).sum::<usize>(), held);
        assert_eq!(state.addresses.values().sum::<usize>(), held);
        assert_eq!(
            state.allocations.values().map(|held| held.relays.len()).sum::<usize>(),
            state.relays.len()
        );
        assert!(state.accounts.values().all(|a| (1..=quotas().per_credential).contains(&a.allocations)));
        assert!(state.allocations.values().all(|held| !held.relays.is_empty()));
    }
}
