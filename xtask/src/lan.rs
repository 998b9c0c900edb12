//! Whether this host still has the addresses that its files were rendered for. Names are asked of nobody, so an address that
//! changed is the one thing that cuts every client off at once.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;

use crate::host::Host;
use crate::render::envfile;

/// The addresses in the files that were rendered last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// What calls and TURN advertise. 127.0.0.1 when there was no LAN.
    pub advertised: Ipv4Addr,
    /// Those with an origin, and so a SAN of the certificate.
    pub addresses: BTreeSet<Ipv4Addr>,
}

/// What became of the addresses since, in one line; nothing when they are the same. An order that changed behind the first
/// one is no change.
pub fn changes(rendered: &Rendered, now: &Host) -> Option<String> {
    let (before, after) = (rendered.advertised, now.lan_ip());
    let present: BTreeSet<Ipv4Addr> = now.lan.iter().map(|lan| lan.address).collect();
    let new = list(present.difference(&rendered.addresses).filter(|address| **address != after));
    let gone = list(rendered.addresses.difference(&present).filter(|address| **address != before));
    if before == after {
        let (what, follow) = match (new, gone) {
            (None, None) => return None,
            (Some(new), None) => (format!("also has {new} now"), "certificate and origins follow"),
            (None, Some(gone)) => (format!("no longer has {gone}"), "origins follow"),
            (Some(new), Some(gone)) => {
                (format!("also has {new} now and no longer has {gone}"), "certificate and origins follow")
            }
        };
        return Some(format!("this host {what}: {follow}"));
    }
    let what = if before.is_loopback() {
        format!("this host has the LAN address {after} now")
    } else if after.is_loopback() {
        format!("this host lost its LAN address {before}")
    } else if present.contains(&before) {
        format!("this host's first address is {after} now, before {before}")
    } else {
        format!("this host's address changed from {before} to {after}")
    };
    let new = new.map(|new| format!(", it also has {new}")).unwrap_or_default();
    let gone = gone.map(|gone| format!(", it no longer has {gone}")).unwrap_or_default();
    Some(format!("{what}{new}{gone}: certificate, origins, ICE host and coturn follow"))
}

/// What a stack was rendered for; nothing when it was not rendered yet, or when this user may not read it.
pub fn rendered(root: &Path) -> Option<Rendered> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    parse(&read("compose/.env")?, &read("env/mattermost.env")?)
}

/// The same from the texts of compose/.env and env/mattermost.env.
pub fn parse(dotenv: &str, mattermost: &str) -> Option<Rendered> {
    let advertised = envfile::value(dotenv, "LAN_IP")?.parse().ok()?;
    let origins = envfile::value(mattermost, "MM_SERVICESETTINGS_ALLOWCORSFROM")?;
    let address = |origin: &str| origin.strip_prefix("https://")?.rsplit_once(':')?.0.parse().ok();
    Some(Rendered { advertised, addresses: origins.split_whitespace().map(address).collect::<Option<_>>()? })
}

fn list<'a>(addresses: impl Iterator<Item = &'a Ipv4Addr>) -> Option<String> {
    let addresses: Vec<String> = addresses.map(ToString::to_string).collect();
    (!addresses.is_empty()).then(|| addresses.join(", "))
}
