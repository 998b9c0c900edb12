//! What differs from machine to machine, found once and passed in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, bail};
use if_addrs::{IfAddr, Interface};

use crate::settings::{Addresses, Invalid, Settings, Subnet};

/// This machine, as far as the rendered files depend on it.
#[derive(Debug, Clone)]
pub struct Host {
    /// Addresses by which clients reach this host. Never empty; the first is what calls and TURN advertise. It is
    /// 127.0.0.1 alone on a machine without a network.
    pub lan: Vec<LanAddress>,
    /// Addresses of its networks that nothing here serves. They are told to somebody who has no other.
    pub ipv6: Vec<Ipv6Addr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanAddress {
    pub address: Ipv4Addr,
    pub subnet: Subnet,
}

/// A route of this host, as far as an overlap with a Docker network goes.
#[derive(Debug, Clone)]
pub struct Route {
    pub interface: String,
    pub subnet: Subnet,
}

impl Host {
    /// The address that calls and TURN advertise.
    pub fn lan_ip(&self) -> Ipv4Addr {
        self.lan[0].address
    }

    pub fn is_loopback_only(&self) -> bool {
        self.lan_ip().is_loopback()
    }

    /// Why nobody else can reach this host, when that is so.
    pub fn loopback_only(&self) -> Option<String> {
        if !self.is_loopback_only() {
            return None;
        }
        let addresses: Vec<String> = self.ipv6.iter().map(ToString::to_string).collect();
        Some(if addresses.is_empty() {
            "this host has no LAN address; the command center will be reachable from here only".to_owned()
        } else {
            format!(
                "this host's only LAN addresses are IPv6 ({}), which is not supported; without IPv4 the command center will be reachable from here only",
                addresses.join(", ")
            )
        })
    }
}

/// Finds the addresses that the settings ask for.
///
/// # Errors
/// When stack.toml names an address that this host does not have.
pub fn detect(settings: &Settings) -> anyhow::Result<Host> {
    let interfaces = interfaces()?;
    let found = lan_addresses(&interfaces)?;
    let lan = match &settings.lan.addresses {
        Addresses::Auto(_) if found.is_empty() => vec![LOOPBACK],
        Addresses::Auto(_) => found,
        Addresses::List(wanted) => {
            let local: Vec<_> = interfaces.iter().filter_map(lan_address).collect();
            let mut lan = Vec::new();
            for address in wanted {
                match local.iter().find(|candidate| candidate.address == *address) {
                    Some(candidate) => lan.push(*candidate),
                    None => return Err(missing_address(settings.lan.line, *address, &found)),
                }
            }
            lan
        }
    };
    Ok(Host { lan, ipv6: ipv6_addresses(&interfaces) })
}

/// Every address of a physical network that is up, the one of the default route first, then by address.
pub fn every_lan_address() -> anyhow::Result<Vec<LanAddress>> {
    lan_addresses(&interfaces()?)
}

/// The IPv4 routes of this host, from /proc/net/route (proc(5)).
pub fn routes() -> anyhow::Result<Vec<Route>> {
    let text = std::fs::read_to_string("/proc/net/route").context("cannot read /proc/net/route; is this Linux?")?;
    Ok(text.lines().skip(1).filter_map(parse_route).collect())
}

const LOOPBACK: LanAddress =
    LanAddress { address: Ipv4Addr::LOCALHOST, subnet: Subnet { first: Ipv4Addr::new(127, 0, 0, 0), prefix: 8 } };

/// A wrong address in stack.toml is a wrong setting, whichever machine it would be right on.
fn missing_address(line: usize, address: Ipv4Addr, found: &[LanAddress]) -> anyhow::Error {
    let found = found.iter().map(|lan| lan.address.to_string()).collect::<Vec<_>>().join(", ");
    let found = if found.is_empty() { "none".to_owned() } else { found };
    anyhow::Error::new(Invalid::new(
        format!("stack.toml:{line}: lan.addresses: this host does not have the address {address}"),
        format!("it has {found}; use one of them, or \"auto\""),
    ))
}

/// Bridges, container ends and tunnels of container tools: clients on the LAN cannot reach them.
fn is_virtual(interface: &str) -> bool {
    ["docker", "br-", "veth", "virbr", "cni", "flannel", "podman", "lxc", "lxd"]
        .iter()
        .any(|prefix| interface.starts_with(prefix))
}

fn lan_addresses(interfaces: &[Interface]) -> anyhow::Result<Vec<LanAddress>> {
    let default = routes()?.into_iter().find(|route| route.subnet.prefix == 0).map(|route| route.interface);
    let physical = interfaces.iter().filter(|interface| is_on_the_lan(interface));
    let mut found: Vec<_> = physical.filter_map(|interface| Some((&interface.name, lan_address(interface)?))).collect();
    found.retain(|(_, found)| !found.address.is_link_local());
    found.sort_by_key(|(name, found)| (Some(*name) != default.as_ref(), found.address));
    Ok(found.into_iter().map(|(_, address)| address).collect())
}

fn ipv6_addresses(interfaces: &[Interface]) -> Vec<Ipv6Addr> {
    let physical = interfaces.iter().filter(|interface| is_on_the_lan(interface));
    let addresses = physical.filter_map(|interface| match interface.ip() {
        IpAddr::V6(address) if !address.is_unicast_link_local() => Some(address),
        _ => None,
    });
    addresses.collect()
}

/// An interface that is switched off or has no link keeps its address, and nobody reaches it there.
fn is_on_the_lan(interface: &Interface) -> bool {
    interface.is_oper_up() && !interface.is_loopback() && !is_virtual(&interface.name)
}

fn lan_address(interface: &Interface) -> Option<LanAddress> {
    let IfAddr::V4(v4) = &interface.addr else { return None };
    let mask = u32::from(v4.netmask);
    let first = Ipv4Addr::from(u32::from(v4.ip) & mask);
    let prefix = u8::try_from(mask.leading_ones()).ok()?;
    Some(LanAddress { address: v4.ip, subnet: Subnet { first, prefix } })
}

fn interfaces() -> anyhow::Result<Vec<Interface>> {
    let found = if_addrs::get_if_addrs().context("cannot list the network interfaces")?;
    if !found.iter().any(|interface| interface.ip().is_ipv4()) {
        bail!("this host has no network interface with an IPv4 address, not even loopback");
    }
    Ok(found)
}

/// `eth0  000200C0  00000000  0001  0  0  0  00FFFFFF …`: addresses in hexadecimal, in the byte order of the machine.
fn parse_route(line: &str) -> Option<Route> {
    let mut fields = line.split_whitespace();
    let interface = fields.next()?.to_owned();
    let address = |text: &str| Some(Ipv4Addr::from(u32::from_str_radix(text, 16).ok()?.to_ne_bytes()));
    let first = address(fields.next()?)?;
    let mask = address(fields.nth(5)?)?;
    let prefix = u8::try_from(u32::from(mask).leading_ones()).ok()?;
    Some(Route { interface, subnet: Subnet { first, prefix } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_in_the_byte_order_of_the_machine() {
        let line = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        if cfg!(target_endian = "little") {
            let route = parse_route(line).expect("a route");
            assert_eq!(route.subnet.to_string(), "192.0.2.0/24");
            assert_eq!(route.interface, "eth0");
        }
    }
}
