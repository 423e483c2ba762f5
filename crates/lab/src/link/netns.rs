//! Network namespaces, by way of `ip`.

use super::LinkError;
use std::net::Ipv4Addr;
use std::process::Command;

/// A namespace; gone when dropped, with the interfaces in it.
#[derive(Debug)]
pub(crate) struct Namespace(String);

/// Runs `ip` and waits.
pub(crate) fn ip(arguments: &[&str]) -> Result<String, LinkError> {
    let command = format!("ip {}", arguments.join(" "));
    let output = match Command::new("ip").args(arguments).output() {
        Ok(output) => output,
        Err(error) => return Err(LinkError::Tool { command, said: error.to_string() }),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.contains("Operation not permitted") || said.contains("Permission denied") {
        return Err(LinkError::NotAllowed(said));
    }
    Err(LinkError::Tool { command, said })
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Result<Self, LinkError> {
        ip(&["netns", "add", name])?;
        let namespace = Self(name.to_owned());
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Moves an interface in here as `eth0`. Not `tun0`: browsers take that for a VPN and rank it lower.
    pub(super) fn give(&self, device: &str, address: Ipv4Addr) -> Result<(), LinkError> {
        let name = self.name();
        ip(&["link", "set", device, "netns", name, "name", "eth0"])?;
        // Each host has one address, so that every run takes the same path.
        let no_ipv6 = ["netns", "exec", name, "sysctl", "-q", "-w", "net.ipv6.conf.eth0.disable_ipv6=1"];
        ip(&no_ipv6)?;
        ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        ip(&["-n", name, "link", "set", "eth0", "up", "mtu", "1500"])?;
        // Programs ask the routing table which address is theirs; there is nothing beyond the link.
        ip(&["-n", name, "route", "add", "default", "dev", "eth0"]).map(drop)
    }

    /// Takes the address away from `eth0` and gives it another one.
    pub(super) fn replace_address(&self, address: Ipv4Addr) -> Result<(), LinkError> {
        let name = self.name();
        ip(&["-n", name, "address", "flush", "dev", "eth0"])?;
        ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        // The routes went with the last address.
        ip(&["-n", name, "route", "replace", "default", "dev", "eth0"]).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.0]) {
            eprintln!("lab: a namespace is left behind: {error}");
        }
    }
}

/// Takes away namespaces whose makers were killed.
pub(crate) fn sweep() -> Result<(), LinkError> {
    for line in ip(&["netns", "list"])?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let maker = name.strip_prefix("snug-").and_then(|rest| rest.split('-').next());
        let Some(pid) = maker.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
            drop(Namespace(name.to_owned()));
        }
    }
    Ok(())
}
