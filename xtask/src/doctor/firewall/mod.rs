//! Rules of this host that stop what the stack publishes: what the kernel has is read, and packets are sent through it on paper.
//!
//! A drop whose condition is not understood does not count, because a false alarm would make people open what should stay closed.

pub mod fix;
pub mod iptables;
pub mod nft;
pub mod packet;
pub mod read;
pub mod rules;

use std::net::Ipv4Addr;

use super::context::Context;
use super::problem::{Problem, Row, ok, problems};
use crate::host::{self, Host, LanAddress};
use crate::ports::{self, Port, Protocol};
use crate::settings::Settings;
use fix::Owner;
use packet::{Fate, Machine, Packet, Stop};
use read::Reading;
use rules::Ruleset;

problems! {
    UFW: Fail "firewall.ufw",
        "Other machines cannot connect, or calls end after some seconds; on this host everything works.",
        "ufw drops what comes in for a port of the stack. Ports that Docker publishes bypass ufw, those of coturn do not.",
        "{fix}";
    FIREWALLD: Fail "firewall.firewalld",
        "Other machines cannot connect, or calls end after some seconds; on this host everything works.",
        "firewalld drops what comes in for a port of the stack. Ports that Docker publishes bypass its zones, those of coturn do not.",
        "{fix}";
    RULE: Fail "firewall.rule",
        "Other machines cannot connect, or calls end after some seconds; on this host everything works.",
        "A rule of nftables or iptables on this host drops packets for a port of the stack, or the answers to them.",
        "{fix}";
    DOCKER_GONE: Warn "firewall.docker-gone",
        "Since a firewall was started or reloaded, containers reach nobody outside, or call media gets lost.",
        "Docker's own rules are gone: whatever loaded other rules removed all first, as the usual /etc/nftables.conf does.",
        "`sudo systemctl restart docker`, which writes Docker's own rules again; then `cargo xtask up`";
    DOUBTFUL: Warn "firewall.doubtful",
        "None, or other machines cannot connect.",
        "A rule drops packets for a port of the stack unless one before it, which doctor does not understand, lets them through.",
        "try it from another machine; if it fails: {fix}";
    PHONE: Warn "firewall.phone",
        "A phone cannot open the page of `cargo xtask phone`.",
        "A rule of this host drops what comes in for the port of that page.",
        "{fix}";
    UNREADABLE: Warn "firewall.unreadable",
        "None, or other machines cannot connect.",
        "A firewall is on, or may be, and this user may not read its rules.",
        "{fix}";
}

/// A port that must be reached from the LAN.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub port: u16,
    pub protocol: Protocol,
    /// Whether Docker publishes it, so that it goes on to a container.
    pub published: bool,
    /// Whether it is the page for phones, without which everything else works.
    pub phone: bool,
    pub lan: LanAddress,
}

pub fn check(context: &Context) -> Vec<Row> {
    let Ok(host) = context.host() else { return Vec::new() };
    // A row of its own says that there is no LAN.
    if host.is_loopback_only() {
        return Vec::new();
    }
    // Docker writes the rules of published ports when their container starts. One that is not published has another row.
    let published = |port: &Port| {
        let is_it = |(_, outside, inside): &(String, u16, String)| {
            *outside == port.number && inside.ends_with(&port.protocol.to_string())
        };
        context.running("mattermost").is_some_and(|container| container.published.iter().any(is_it))
    };
    let machine = Machine {
        addresses: host.lan.iter().map(|lan| lan.address).collect(),
        routes: host::routes().unwrap_or_default(),
    };
    judge(&read::read(), &wanted(&context.stack.settings, host, published), &machine)
}

/// What others must reach. TURN and the page for phones are on the first address. Relayed addresses are not among them: the one
/// peer that coturn takes is on this host.
pub fn wanted(settings: &Settings, host: &Host, published: impl Fn(&Port) -> bool) -> Vec<Wanted> {
    let ports = &settings.ports;
    let Some(first) = host.lan.first().copied() else { return Vec::new() };
    let own = |port, protocol, phone| Wanted { port, protocol, published: false, phone, lan: first };
    let mut wanted = Vec::new();
    for port in ports::needed(settings) {
        match port.key {
            // Metrics are for this host alone.
            "ports.metrics" => {}
            "ports.turn" => wanted.push(own(port.number, port.protocol, false)),
            _ if published(&port) => wanted.extend(host.lan.iter().map(|lan| Wanted {
                published: true,
                lan: *lan,
                ..own(port.number, port.protocol, false)
            })),
            _ => {}
        }
    }
    wanted.push(own(ports.phone, Protocol::Tcp, true));
    wanted
}

/// What somebody meets who comes from the LAN.
pub fn judge(reading: &Reading, wanted: &[Wanted], machine: &Machine) -> Vec<Row> {
    let rules = match reading {
        Reading::Rules(rules) => rules,
        Reading::NotAllowed { firewall: None } => {
            let finding = "the rules cannot be read without root; neither ufw nor firewalld is on";
            return vec![ok("firewall", finding)];
        }
        Reading::NotAllowed { firewall: Some(owner) } => {
            let finding = format!("{owner} is on, and its rules cannot be read without root");
            // What Docker publishes bypasses both of them.
            let own: Vec<Wanted> = wanted.iter().filter(|wanted| !wanted.published).cloned().collect();
            let fix = format!("if other machines cannot connect: {}", fix::open(*owner, &own));
            return vec![UNREADABLE.found(finding).with("fix", fix)];
        }
        Reading::Failed(error) => {
            return vec![
                UNREADABLE.found(error).with("fix", "see what `sudo nft list ruleset` or `sudo iptables-save` says"),
            ];
        }
    };
    let groups = groups(rules, wanted, machine);
    if groups.is_empty() {
        return vec![ok("firewall", format!("lets {} through from the LAN", list(wanted)))];
    }
    groups.into_iter().map(row).collect()
}

/// What is stopped by the same chain for the same reason: one command opens it.
#[derive(Debug)]
pub struct Group<'a> {
    pub problem: &'static Problem,
    pub owner: Owner,
    /// Nothing when nothing stops it.
    pub stop: Option<Stop<'a>>,
    /// Whether it is stopped for sure.
    pub sure: bool,
    pub docker_is_gone: bool,
    pub wanted: Vec<Wanted>,
}

impl Group<'_> {
    fn is_like(&self, other: &Group<'_>) -> bool {
        let at = |stop: &Stop<'_>| (stop.base.table.clone(), stop.base.name.clone(), stop.packet.reply);
        let places = [self, other].map(|group| group.stop.as_ref().map(at));
        self.problem == other.problem && self.docker_is_gone == other.docker_is_gone && places[0] == places[1]
    }
}

fn groups<'a>(rules: &'a Ruleset, wanted: &[Wanted], machine: &Machine) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for group in wanted.iter().filter_map(|wanted| stopped(rules, wanted, machine)) {
        match groups.iter_mut().find(|other| other.is_like(&group)) {
            Some(other) => other.wanted.extend(group.wanted),
            None => groups.push(group),
        }
    }
    groups
}

fn stopped<'a>(rules: &'a Ruleset, wanted: &Wanted, machine: &Machine) -> Option<Group<'a>> {
    let group = |problem, owner, stop: Option<Stop<'a>>, sure| {
        let docker_is_gone = stop.as_ref().is_none_or(|stop| fix::docker_is_gone(stop, wanted.published));
        Some(Group { problem, owner, stop, sure, docker_is_gone, wanted: vec![wanted.clone()] })
    };
    let (stop, sure) = match send(rules, wanted, machine) {
        // Docker's proxy takes what no rule leads to the container, and hides from it who sent it.
        Fate::Passes(packet) if wanted.published && packet.destination == packet.original && !packet.vague => {
            return group(&DOCKER_GONE, Owner::Other, None, true);
        }
        Fate::Passes(_) => return None,
        Fate::Blocked(stop) => (stop, true),
        Fate::Doubtful(stop) => (stop, false),
    };
    let owner = fix::owner(&stop);
    let problem = match owner {
        _ if wanted.phone => &PHONE,
        _ if !sure => &DOUBTFUL,
        Owner::Ufw => &UFW,
        Owner::Firewalld => &FIREWALLD,
        Owner::Other => &RULE,
    };
    group(problem, owner, Some(stop), sure)
}

fn send<'a>(rules: &'a Ruleset, wanted: &Wanted, machine: &Machine) -> Fate<'a> {
    let lan = wanted.lan;
    let leads = |route: &&host::Route| route.subnet == lan.subnet;
    let interface = machine.routes.iter().find(leads).map_or("", |route| &route.interface);
    packet::send(rules, machine, Packet::new(wanted.protocol, neighbour(lan), (lan.address, wanted.port), interface))
}

/// Another address of the same network.
fn neighbour(lan: LanAddress) -> Ipv4Addr {
    let first = u32::from(lan.subnet.first);
    let others = [first.wrapping_add(1), first.wrapping_add(2)].map(Ipv4Addr::from);
    others.into_iter().find(|other| *other != lan.address).unwrap_or(lan.address)
}

fn row(group: Group<'_>) -> Row {
    let ports = list(&group.wanted);
    let finding = match &group.stop {
        None => format!("no rule leads {ports} to the container"),
        Some(stop) => {
            let what = if stop.packet.reply { format!("the answers of {ports}") } else { ports };
            let stopped = if group.sure { "stopped" } else { "may be stopped" };
            format!("{what}: {stopped} by {}", fix::place(stop))
        }
    };
    group.problem.found(finding).with("fix", fix::fix(&group))
}

/// `3478/udp, 3478/tcp`.
fn list(wanted: &[Wanted]) -> String {
    let mut shown: Vec<String> = Vec::new();
    for wanted in wanted {
        let text = wanted.shown();
        if !shown.contains(&text) {
            shown.push(text);
        }
    }
    shown.join(", ")
}

impl Wanted {
    /// `3478/udp`.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.port, self.protocol)
    }
}
