//! Which ports of this host are taken, and by whom.

use std::collections::HashMap;
use std::fs;

use crate::drivers::docker::Container;
use crate::settings::Settings;
use crate::stack;

/// A port that the stack needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub key: &'static str,
    pub number: u16,
    pub protocol: Protocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// The ports that these settings publish, but for the relay range: coturn passes over a taken one.
pub fn needed(settings: &Settings) -> Vec<Port> {
    let ports = &settings.ports;
    let port = |key, number, protocol| Port { key, number, protocol };
    let mut needed = vec![
        port("ports.mattermost", ports.mattermost, Protocol::Tcp),
        port("ports.calls", ports.calls, Protocol::Udp),
        port("ports.calls", ports.calls, Protocol::Tcp),
        port("ports.turn", ports.turn, Protocol::Udp),
        port("ports.turn", ports.turn, Protocol::Tcp),
    ];
    if settings.mattermost.metrics {
        needed.push(port("ports.metrics", ports.metrics, Protocol::Tcp));
    }
    needed
}

/// A port that somebody else holds.
#[derive(Debug)]
pub struct Taken {
    pub port: Port,
    /// Who, in words, with the way to free it.
    pub holder: String,
    pub fix: String,
}

/// The needed ports that are held by anything but the stack's own containers.
pub fn taken(settings: &Settings, containers: &[Container]) -> Vec<Taken> {
    taken_of(&needed(settings), settings, containers)
}

/// The same for any ports.
pub fn taken_of(ports: &[Port], settings: &Settings, containers: &[Container]) -> Vec<Taken> {
    let sockets = listening();
    // One of ours that is just (re)starting may have published its port after the containers were listed.
    let starting = containers.iter().any(|container| {
        container.project == settings.name && matches!(container.state.as_str(), "created" | "restarting")
    });
    let mut owners: Option<HashMap<u64, Process>> = None;
    let mut taken = Vec::new();
    for &port in ports {
        let published = format!(":{}->", port.number);
        let suffix = format!("/{}", port.protocol);
        let publisher = containers.iter().find(|container| {
            container.ports.split(", ").any(|entry| entry.contains(&published) && entry.ends_with(&suffix))
        });
        let container = match publisher {
            Some(container) => Some(container),
            None => {
                let Some(inode) = sockets.get(&(port.protocol, port.number)) else { continue };
                let process = owners.get_or_insert_with(processes).get(inode);
                let inside = process
                    .and_then(|process| containers.iter().find(|container| process.cgroup.contains(&container.id)));
                if inside.is_none() && !starting {
                    let holder = match process {
                        Some(process) => format!("process {} ({})", process.pid, process.name),
                        None => "a process that this user may not see".to_owned(),
                    };
                    let fix = format!("stop it, or change {} in stack.toml", port.key);
                    taken.push(Taken { port, holder, fix });
                }
                inside
            }
        };
        let Some(container) = container.filter(|container| container.project != settings.name) else { continue };
        let change = format!("change {} in stack.toml", port.key);
        taken.push(if container.ours {
            let fix = format!("stop that stack (`{}`), or {change}", how_to_stop(container));
            Taken { port, holder: format!("the stack {} ({})", container.project, container.service), fix }
        } else {
            Taken { port, holder: format!("the container {}", container.name), fix: format!("stop it, or {change}") }
        });
    }
    taken
}

/// A stack of this checkout is stopped by its name here, one of another checkout by its project's.
fn how_to_stop(container: &Container) -> String {
    let checkout = stack::checkout().unwrap_or_default();
    let name = if container.folder == checkout.join("compose") {
        Some(stack::SITE.into())
    } else {
        let root = container.folder.strip_prefix(checkout.join("target/stacks")).ok();
        root.and_then(|root| root.parent()).map(|name| name.to_string_lossy())
    };
    match name {
        Some(name) => format!("cargo xtask down --stack {name}"),
        None => format!("docker compose --project-name {} down", container.project),
    }
}

struct Process {
    pid: u32,
    name: String,
    cgroup: String,
}

/// Inodes of listening TCP and unconnected UDP sockets by port, from /proc/net (proc(5)).
fn listening() -> HashMap<(Protocol, u16), u64> {
    let mut found = HashMap::new();
    for (file, protocol, state) in [
        ("/proc/net/tcp", Protocol::Tcp, "0A"),
        ("/proc/net/tcp6", Protocol::Tcp, "0A"),
        ("/proc/net/udp", Protocol::Udp, "07"),
        ("/proc/net/udp6", Protocol::Udp, "07"),
    ] {
        for line in fs::read_to_string(file).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, found_state, _, _, _, _, _, inode, ..] = fields[..]
                && found_state == state
                && let Some(port) = local.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok())
                && let Ok(inode) = inode.parse()
            {
                found.insert((protocol, port), inode);
            }
        }
    }
    found
}

/// Every process that this user may see, by the inodes of its sockets.
fn processes() -> HashMap<u64, Process> {
    let mut found = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return found };
    for pid in entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()) {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for target in descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()) {
            let target = target.to_string_lossy();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
                let name = read("comm").trim().to_owned();
                found.entry(inode).or_insert_with(|| Process { pid, name, cgroup: read("cgroup") });
            }
        }
    }
    found
}
