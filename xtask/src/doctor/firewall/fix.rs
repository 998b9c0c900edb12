//! Whose rule it is, and the commands that open what it closes.

use std::fmt;

use super::packet::Stop;
use super::rules::Hook;
use super::{DOCKER_GONE, Group, Wanted};
use crate::ports::Protocol;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Ufw,
    Firewalld,
    Other,
}

/// It is seen from the names of tables and chains.
pub fn owner(stop: &Stop<'_>) -> Owner {
    let named = |prefix: &str| stop.names().any(|chain| chain.starts_with(prefix));
    // ufw and the older firewalld leave what they do not decide to the policy, or to the last rule, of a chain that is everybody's.
    let base_leads = |prefix: &str| stop.chains.len() == 1 && stop.base.leads_to(prefix);
    let is_policy = stop.rule.is_none();
    if named("ufw-") || (is_policy && base_leads("ufw-")) || routed_by_ufw(stop) {
        Owner::Ufw
    } else if stop.base.table.ends_with(" firewalld") || named("IN_") || base_leads("INPUT_ZONES") {
        Owner::Firewalld
    } else {
        Owner::Other
    }
}

/// The recipe "ufw-docker" asks ufw's own chain first, and drops in Docker's.
fn routed_by_ufw(stop: &Stop<'_>) -> bool {
    stop.chains.iter().any(|chain| chain.name == "DOCKER-USER" && chain.leads_to("ufw-user-forward"))
}

/// Whether it is Docker's own rules that are missing: they lead published ports round the chain that stopped this one.
pub fn docker_is_gone(stop: &Stop<'_>, published: bool) -> bool {
    let packet = &stop.packet;
    let missed = stop.hook == Hook::Input && packet.destination == packet.original && !packet.vague;
    let cut = stop.hook == Hook::Forward
        && stop.base.name == "FORWARD"
        && stop.rule.is_none()
        && !stop.base.leads_to("DOCKER");
    published && (missed || cut)
}

/// `table inet filter, chain input: its policy is drop`.
pub fn place(stop: &Stop<'_>) -> String {
    let chain = stop.names().last().unwrap_or_default();
    let table = &stop.base.table;
    let table = match table.split_once(' ') {
        Some((_, name)) if is_iptables(stop) => format!("iptables, table {name}"),
        _ => format!("nftables, table {table}"),
    };
    let rule = stop.rule.map_or("its policy is drop", |rule| &rule.text);
    format!("{table}, chain {chain}: {rule}")
}

pub fn fix(group: &Group<'_>) -> String {
    let Some(stop) = group.stop.as_ref().filter(|_| !group.docker_is_gone) else {
        return DOCKER_GONE.fix.to_owned();
    };
    let forwarded = stop.hook == Hook::Forward || (stop.hook == Hook::Postrouting && !stop.packet.output.is_empty());
    match group.owner {
        Owner::Ufw if stop.packet.reply => "let answers out: `sudo ufw default allow outgoing`".to_owned(),
        // A new rule comes after those that are there, or replaces the same one.
        Owner::Ufw if stop.names().any(|chain| chain.starts_with("ufw-user-")) => format!(
            "find the rule in `sudo ufw status numbered` and delete it: `sudo ufw delete NUMBER`; then {}",
            open(Owner::Ufw, &group.wanted)
        ),
        Owner::Ufw if forwarded => commands(each(&group.wanted, |wanted| {
            // After Docker has changed the destination, it is the container's port that counts, which is the same here.
            format!("sudo ufw route allow proto {} from any to any port {}", wanted.protocol, wanted.port)
        })),
        Owner::Firewalld => format!("`{}`", firewalld(&group.wanted, zone(stop))),
        Owner::Ufw => open(Owner::Ufw, &group.wanted),
        Owner::Other if is_iptables(stop) => iptables(stop, &group.wanted, forwarded),
        Owner::Other => nft(stop, &group.wanted, forwarded),
    }
}

/// What opens these ports where the rules are not known.
pub fn open(owner: Owner, wanted: &[Wanted]) -> String {
    match owner {
        Owner::Firewalld => format!("`{}`", firewalld(wanted, None)),
        _ => commands(each(wanted, |wanted| format!("sudo ufw allow {}", wanted.shown()))),
    }
}

fn firewalld(wanted: &[Wanted], zone: Option<&str>) -> String {
    let ports = each(wanted, |wanted| format!(" --add-port={}", wanted.shown())).concat();
    let zone = zone.map(|zone| format!(" --zone={zone}")).unwrap_or_default();
    format!("sudo firewall-cmd --permanent{zone}{ports} && sudo firewall-cmd --reload")
}

/// The zone whose chain it is: `filter_IN_public`.
fn zone<'a>(stop: &'a Stop<'_>) -> Option<&'a str> {
    let chain = stop.names().find_map(|chain| chain.strip_prefix("filter_IN_").or(chain.strip_prefix("IN_")));
    chain.map(|chain| {
        ["_deny", "_pre", "_post", "_log"].iter().fold(chain, |name, end| name.strip_suffix(end).unwrap_or(name))
    })
}

fn is_iptables(stop: &Stop<'_>) -> bool {
    stop.rule.is_some_and(|rule| rule.text.starts_with("-A "))
        || (stop.rule.is_none()
            && matches!(stop.base.name.as_str(), "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING"))
}

/// Before the rule that drops, in the chain where Docker keeps a place for it.
fn iptables(stop: &Stop<'_>, wanted: &[Wanted], forwarded: bool) -> String {
    const KEEP: &str = "; keep it as your other rules are kept (`iptables-save`), or it is gone after a restart";
    let (family, table) = stop.base.table.split_once(' ').unwrap_or(("ip", "filter"));
    let program = if family == "legacy" { "iptables-legacy" } else { "iptables" };
    let table = if table == "filter" { String::new() } else { format!(" -t {table}") };
    let chain = if stop.names().any(|chain| chain == "DOCKER-USER") { "DOCKER-USER" } else { stop.base.name.as_str() };
    let insert = format!("sudo {program}{table} -I {chain}");
    // Conntrack knows the port that the client asked for, in both directions.
    let rules = if forwarded {
        each(wanted, |wanted| {
            let port = format!("-m conntrack --ctorigdstport {}", wanted.port);
            format!("{insert} -p {} {port} -j ACCEPT", wanted.protocol)
        })
    } else if stop.packet.reply {
        vec![format!("{insert} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")]
    } else {
        by_protocol(wanted, |protocol, ports| {
            format!("{insert} -p {protocol} -m multiport --dports {} -j ACCEPT", ports.join(","))
        })
    };
    commands(rules) + KEEP
}

fn nft(stop: &Stop<'_>, wanted: &[Wanted], forwarded: bool) -> String {
    const KEEP: &str = "; write it into the file that loads these rules too, such as /etc/nftables.conf, or it is gone after a restart";
    let insert = format!("sudo nft insert rule {} {}", stop.base.table, stop.base.name);
    let rules = if forwarded {
        by_protocol(wanted, |protocol, ports| {
            format!("{insert} meta l4proto {protocol} ct original proto-dst {{ {} }} accept", ports.join(", "))
        })
    } else if stop.packet.reply {
        vec![format!("{insert} ct state established,related accept")]
    } else {
        by_protocol(wanted, |protocol, ports| format!("{insert} {protocol} dport {{ {} }} accept", ports.join(", ")))
    };
    commands(rules.into_iter().map(|rule| quoted(&rule)).collect()) + KEEP
}

/// Braces mean something to shells.
fn quoted(rule: &str) -> String {
    rule.replace("{ ", "'{ ").replace(" }", " }'")
}

fn by_protocol(wanted: &[Wanted], one: impl Fn(Protocol, Vec<String>) -> String) -> Vec<String> {
    let of = |protocol| {
        let wanted: Vec<Wanted> = wanted.iter().filter(|wanted| wanted.protocol == protocol).cloned().collect();
        let ports = each(&wanted, |wanted| wanted.port.to_string());
        (!ports.is_empty()).then(|| one(protocol, ports))
    };
    [Protocol::Udp, Protocol::Tcp].into_iter().filter_map(of).collect()
}

/// One text a port. Several addresses have the same ports.
fn each(wanted: &[Wanted], one: impl Fn(&Wanted) -> String) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for text in wanted.iter().map(one) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

fn commands(commands: Vec<String>) -> String {
    format!("`{}`", commands.join(" && "))
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Owner::Ufw => "ufw",
            Owner::Firewalld => "firewalld",
            Owner::Other => "another firewall",
        })
    }
}
