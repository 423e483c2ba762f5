//! A link, as a test of any crate may bring one up.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

use lab::link::{Conditions, Host, Link, LinkError, Loss, Step, Way};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// `None`, said aloud, where this machine lets us have no link.
fn link(way: Way) -> Option<Link> {
    match Link::up(Conditions::both(way)) {
        Ok(link) => Some(link),
        Err(error @ (LinkError::NotAllowed(_) | LinkError::Tun(_))) => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// `lab echo` at the second host.
fn echo(link: &Link) -> Killed {
    let mut command = link.command(Host::Second, env!("CARGO_BIN_EXE_lab"));
    let mut child = command.args(["echo", "0.0.0.0:9000"]).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let echo = Killed(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    echo
}

/// `lab ping` from the first host: milliseconds there and back, `None` for the lost.
fn round_trips(link: &Link, patience_ms: u32, count: u32) -> Vec<Option<f64>> {
    round_trips_to(link, Host::Second.address(), patience_ms, count)
}

fn round_trips_to(link: &Link, to: Ipv4Addr, patience_ms: u32, count: u32) -> Vec<Option<f64>> {
    let to = format!("{to}:9000");
    let mut command = link.command(Host::First, env!("CARGO_BIN_EXE_lab"));
    command.args(["ping", &to, "--count", &count.to_string(), "--patience-ms", &patience_ms.to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.parse().ok()).collect()
}

#[test]
fn datagrams_take_as_long_as_the_link_says_and_all_is_cleaned_up() {
    let Some(link) = link(Way::delay(Duration::from_millis(25))) else { return };
    let names = Host::BOTH.map(|host| link.namespace(host).to_owned());
    let echo = echo(&link);
    let mut trips: Vec<f64> =
        round_trips(&link, 5000, 20).into_iter().map(|trip| trip.expect("lost")).collect();
    trips.sort_by(f64::total_cmp);
    assert!(trips[0] >= 50.0, "faster than the link: {trips:?}");
    assert!(trips[10] < 70.0, "half of them took longer than the link and a busy machine explain: {trips:?}");
    assert!(link.counts()[0].packets >= 20);

    drop(echo);
    drop(link);
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let left = String::from_utf8(output.stdout).unwrap();
    assert!(names.iter().all(|name| !left.contains(name.as_str())), "{left}");
}

#[test]
fn losses_are_as_often_as_said_and_can_be_changed_while_up() {
    let lossy = |chance| Way { loss: Loss::Random(chance), ..Way::delay(Duration::from_millis(1)) };
    let Some(link) = link(lossy(0.2)) else { return };
    let echo = echo(&link);
    let came = round_trips(&link, 60, 100).into_iter().flatten().count();
    // 0.8 there and 0.8 back: 64 of 100 come back, give or take three standard deviations.
    assert!((49..=79).contains(&came), "{came} of 100 came back");

    link.set(Conditions::both(lossy(1.0)));
    assert_eq!(round_trips(&link, 100, 2), [None, None], "nothing passes now");
    link.set(Conditions::both(Way::default()));
    assert!(round_trips(&link, 5000, 5).iter().all(Option::is_some), "everything passes again");
    drop(echo);
}

#[test]
fn a_schedule_is_played_by_the_clock_and_its_last_step_stays() {
    let Some(link) = link(Way::default()) else { return };
    let echo = echo(&link);
    let step = |ms, delay| Step {
        lasts: Duration::from_millis(ms),
        conditions: Conditions::both(Way::delay(Duration::from_millis(delay))),
    };
    let start = Instant::now();
    link.play(&[step(600, 1), step(100, 100)]);
    let trip = || round_trips(&link, 5000, 1)[0].expect("lost");
    let fast = std::iter::repeat_with(trip).take_while(|ms| *ms < 200.0).count();
    assert!(fast > 0 && start.elapsed() >= Duration::from_millis(600), "{fast} fast ones");
    assert!(trip() >= 200.0 && trip() >= 200.0, "the last step stays");
    let [there, _] = link.traces();
    let bins = there.bins(there.start(), Instant::now());
    assert!(bins.iter().map(|bin| bin.packets).sum::<u32>() as usize >= fast + 3);
    drop(echo);
}

#[test]
fn a_host_that_moves_is_reached_at_its_new_address_alone() {
    let Some(link) = link(Way::delay(Duration::from_millis(1))) else { return };
    let echo = echo(&link);
    let elsewhere = Ipv4Addr::new(10, 77, 9, 2);
    assert!(round_trips(&link, 5000, 2).iter().all(Option::is_some));
    link.move_to(Host::Second, elsewhere).unwrap();
    assert!(round_trips_to(&link, elsewhere, 5000, 2).iter().all(Option::is_some));
    assert_eq!(round_trips(&link, 100, 1), [None], "nobody is at the old one");
    drop(echo);
}
