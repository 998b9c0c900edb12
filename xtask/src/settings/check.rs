//! What can be said of settings without looking at the host.

use std::collections::HashSet;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Addresses, Settings, check_integrations};

/// The first thing wrong: where, what, and what would be right.
pub(super) struct Problem {
    /// Dotted; a number is a position in a list.
    pub key: String,
    pub what: String,
    pub fix: String,
}

pub(super) fn problem(settings: &Settings) -> Option<Problem> {
    None.or_else(|| names(settings))
        .or_else(|| lan(settings))
        .or_else(|| administrator(settings))
        .or_else(|| ports(settings))
        .or_else(|| network(settings))
        .or_else(|| turn(settings))
        .or_else(|| mattermost(settings))
        .or_else(|| limits(settings))
        .or_else(|| check_integrations::problem(settings))
}

pub(super) fn wrong(key: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Option<Problem> {
    Some(Problem { key: key.into(), what: what.into(), fix: fix.into() })
}

fn names(settings: &Settings) -> Option<Problem> {
    if !is_label(&settings.name) {
        let what = format!("{:?} is no Compose project name", settings.name);
        return wrong("name", what, "use lower-case letters, digits and dashes, such as \"command-center\"");
    }
    if !is_domain(&settings.domain) {
        let what = format!("{:?} is no DNS domain", settings.domain);
        return wrong("domain", what, "use labels of lower-case letters, digits and dashes, such as \"cicd.local\"");
    }
    let length = settings.site_name.chars().count();
    if length == 0 || length > 30 || settings.site_name.chars().any(char::is_control) {
        return wrong("site_name", format!("has {length} characters on one line"), "use 1 to 30 characters");
    }
    if !LOCALES.contains(&settings.language.as_str()) {
        let what = format!("{:?} is no language of Mattermost", settings.language);
        return wrong("language", what, format!("use one of {}", LOCALES.join(", ")));
    }
    None
}

fn lan(settings: &Settings) -> Option<Problem> {
    const KEY: &str = "lan.addresses";
    let Addresses::List(addresses) = &settings.lan.addresses else { return None };
    if addresses.is_empty() {
        return wrong(KEY, "is an empty list", "name at least one address, or use \"auto\"");
    }
    let mut seen = HashSet::new();
    for address in addresses {
        if !seen.insert(address) {
            return wrong(KEY, format!("{address} is listed twice"), "list each address once");
        }
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            return wrong(KEY, format!("{address} is no address of a host"), "use an address of this host on the LAN");
        }
    }
    None
}

fn administrator(settings: &Settings) -> Option<Problem> {
    let name = &settings.administrator.name;
    let fits = (3..=22).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c));
    if !fits {
        let fix = "use 3 to 22 lower-case letters, digits, dots, dashes and underscores, beginning with a letter";
        return wrong("administrator.name", format!("{name:?} is no user name of Mattermost"), fix);
    }
    let email = &settings.administrator.email;
    let is_email = email.split_once('@').is_some_and(|(local, host)| {
        !local.is_empty() && !host.is_empty() && !email.contains(char::is_whitespace) && !host.contains('@')
    });
    if !is_email {
        let fix = "use an address such as \"admin@cicd.local\"; nothing is sent to it";
        return wrong("administrator.email", format!("{email:?} is no e-mail address"), fix);
    }
    None
}

fn ports(settings: &Settings) -> Option<Problem> {
    let ports = &settings.ports;
    let single = [
        ("ports.mattermost", ports.mattermost),
        ("ports.calls", ports.calls),
        ("ports.metrics", ports.metrics),
        ("ports.phone", ports.phone),
        ("ports.turn", ports.turn),
    ];
    for (index, (key, port)) in single.iter().enumerate() {
        if *port < 1024 {
            let fix = "use a port from 1024 to 65535: nothing here runs with privileges";
            return wrong(*key, format!("{port} is a privileged port"), fix);
        }
        if let Some((other, _)) = single[..index].iter().find(|(_, taken)| taken == port) {
            return wrong(*key, format!("{port} is already {other}"), "give each service a port of its own");
        }
    }
    if ports.calls > 49151 {
        let fix = "the Calls plugin takes ports from 80 to 49151";
        return wrong("ports.calls", format!("{} is above 49151", ports.calls), fix);
    }
    let (first, last) = (ports.turn_relay_first, ports.turn_relay_last);
    if first > last {
        let what = format!("{last} is below ports.turn_relay_first, {first}");
        return wrong("ports.turn_relay_last", what, "the range runs from first to last");
    }
    if first < 1024 {
        return wrong("ports.turn_relay_first", format!("{first} is a privileged port"), "use 1024 or above");
    }
    for (key, port) in single {
        if (first..=last).contains(&port) {
            let what = format!("the relay range {first}-{last} covers {key}, {port}");
            return wrong("ports.turn_relay_first", what, "move the range, for example to 49160-49559");
        }
    }
    None
}

fn network(settings: &Settings) -> Option<Problem> {
    let network = &settings.network;
    if !is_label(&network.name) {
        let what = format!("{:?} is no name of a Docker network", network.name);
        return wrong("network.name", what, "use lower-case letters, digits and dashes, such as \"cicd-net\"");
    }
    let (subnet, address) = (network.subnet, network.mattermost_address);
    if !(16..=28).contains(&subnet.prefix) {
        let fix = "use a prefix from /16 to /28: all containers must fit, and nothing else should be covered";
        return wrong("network.subnet", format!("{subnet} has the prefix /{}", subnet.prefix), fix);
    }
    if !subnet.first.is_private() {
        let fix = "use a private range, such as \"172.30.0.0/24\"";
        return wrong("network.subnet", format!("{subnet} is not private"), fix);
    }
    let position = u32::from(address).wrapping_sub(u32::from(subnet.first));
    if !subnet.contains(address) || position == 0 || position == subnet.size() - 1 {
        let fix = format!("use an address such as {}", Ipv4Addr::from(u32::from(subnet.first) + 10));
        return wrong("network.mattermost_address", format!("{address} is no host address of {subnet}"), fix);
    }
    if position == 1 {
        let fix = format!("use an address such as {}", Ipv4Addr::from(u32::from(subnet.first) + 10));
        return wrong("network.mattermost_address", format!("{address} is the network's gateway"), fix);
    }
    None
}

fn turn(settings: &Settings) -> Option<Problem> {
    let (turn, ports) = (&settings.turn, &settings.ports);
    let available = u32::from(ports.turn_relay_last) - u32::from(ports.turn_relay_first) + 1;
    if turn.total_quota == 0 || turn.total_quota > available {
        let what = format!("{} allocations, but the relay range has {available} ports", turn.total_quota);
        return wrong("turn.total_quota", what, format!("use 1 to {available}, or widen ports.turn_relay_last"));
    }
    if turn.user_quota == 0 || turn.user_quota > turn.total_quota {
        let what = format!("{} does not fit turn.total_quota, {}", turn.user_quota, turn.total_quota);
        return wrong("turn.user_quota", what, "12 is what one phone on two networks can need");
    }
    // The plugin refuses to mint credentials that are good for more than a week.
    if turn.credentials_minutes < 5 || turn.credentials_minutes > 7 * 24 * 60 {
        let what = format!("{} minutes", turn.credentials_minutes);
        return wrong("turn.credentials_minutes", what, "use 5 minutes to a week (10080)");
    }
    None
}

fn mattermost(settings: &Settings) -> Option<Problem> {
    let mattermost = &settings.mattermost;
    if !mattermost.local_mode {
        let what = "the health check, mmctl and `cargo xtask` all use the local socket";
        return wrong(
            "mattermost.local_mode",
            what,
            "leave it true; the socket is only reachable inside the container",
        );
    }
    if mattermost.max_users_per_team == 0 {
        return wrong("mattermost.max_users_per_team", "nobody could join", "use 1 or more");
    }
    if let Some(host) = mattermost.allowed_internal_hosts.iter().find(|host| !is_domain(host) && !is_address(host)) {
        let fix =
            "list host names or addresses, one each; a subnet would open the whole LAN to whoever can make a webhook";
        return wrong("mattermost.allowed_internal_hosts", format!("{host:?} is no host"), fix);
    }
    let banner = &mattermost.banner;
    if banner.enabled && banner.text.trim().is_empty() {
        return wrong("mattermost.banner.text", "the banner is on and says nothing", "say something, or switch it off");
    }
    if banner.text.contains(char::is_control) {
        return wrong("mattermost.banner.text", "has a line break or control character", "use one line");
    }
    for (key, color) in
        [("mattermost.banner.color", &banner.color), ("mattermost.banner.text_color", &banner.text_color)]
    {
        let digits = color.strip_prefix('#').unwrap_or_default();
        if digits.len() != 6 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return wrong(key, format!("{color:?} is no colour"), "use # and six hexadecimal digits");
        }
    }
    None
}

fn limits(settings: &Settings) -> Option<Problem> {
    let limits = &settings.limits;
    for (memory_key, pids_key, limit) in [
        ("limits.mattermost.memory", "limits.mattermost.pids", &limits.mattermost),
        ("limits.postgres.memory", "limits.postgres.pids", &limits.postgres),
        ("limits.coturn.memory", "limits.coturn.pids", &limits.coturn),
        ("limits.relay.memory", "limits.relay.pids", &limits.relay),
    ] {
        match megabytes(&limit.memory) {
            None => {
                let what = format!("{:?} is no amount of memory", limit.memory);
                return wrong(memory_key, what, "use a number and m or g, such as \"512m\"");
            }
            Some(megabytes) if megabytes < 64 => {
                return wrong(memory_key, format!("{} is too little to start with", limit.memory), "use 64m or more");
            }
            Some(_) => {}
        }
        if limit.pids < 50 {
            return wrong(pids_key, format!("{} is too few to start with", limit.pids), "use 50 or more");
        }
    }
    None
}

/// Locales that Mattermost 11 ships (server/i18n).
const LOCALES: &[&str] = &[
    "bg", "cs", "de", "en", "en-AU", "es", "fa", "fr", "hu", "it", "ja", "ko", "nl", "pl", "pt-BR", "ro", "ru", "sv",
    "tr", "uk", "vi", "zh-CN", "zh-TW",
];

/// An IPv4 network; `first` is its network address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    pub first: Ipv4Addr,
    pub prefix: u8,
}

impl Subnet {
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.first)
    }

    pub fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// Number of addresses. A prefix of zero does not occur for networks that this project makes.
    pub fn size(&self) -> u32 {
        (!self.mask()).saturating_add(1)
    }

    /// The network of the same size that follows this one, or the one before it, or one elsewhere: whichever is private.
    pub fn private_neighbour(&self) -> Subnet {
        let (first, size) = (u32::from(self.first), self.size());
        let next = Ipv4Addr::from(first.wrapping_add(size));
        let previous = Ipv4Addr::from(first.wrapping_sub(size));
        let elsewhere = Ipv4Addr::new(10, 251, 0, 0);
        let first = [next, previous].into_iter().find(Ipv4Addr::is_private).unwrap_or(elsewhere);
        Subnet { first, prefix: self.prefix }
    }

    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl Serialize for Subnet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads `172.30.0.0/24`; host bits must be zero.
pub fn parse_subnet(text: &str) -> Option<Subnet> {
    let (first, prefix) = text.split_once('/')?;
    let subnet = Subnet { first: first.parse().ok()?, prefix: prefix.parse().ok().filter(|prefix| *prefix <= 32)? };
    subnet.contains(subnet.first).then_some(subnet)
}

pub(super) fn subnet<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Subnet, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_subnet(&text)
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no network; use one such as \"172.30.0.0/24\"")))
}

fn megabytes(memory: &str) -> Option<u64> {
    let (number, factor) = match memory.strip_suffix('g') {
        Some(number) => (number, 1024),
        None => (memory.strip_suffix('m')?, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

pub(super) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && !text.ends_with('-')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// A domain of at least two labels: browsers and certificates treat a single label as no domain.
pub(super) fn is_domain(text: &str) -> bool {
    text.len() <= 200 && text.split('.').count() >= 2 && text.split('.').all(is_label) && !is_address(text)
}

pub(super) fn is_address(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}
