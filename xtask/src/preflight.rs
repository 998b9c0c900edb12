//! Checks of the host and of what lies on it: `up` refuses to start over a failed one, `doctor` shows them all.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::certs::{self, San};
use crate::drivers::docker::{self, Container, Network};
use crate::drivers::engine::{self, Engine, Unusable};
use crate::drivers::{files, process};
use crate::error::hint_of;
use crate::host::{self, Host};
use crate::ports;
use crate::secrets;
use crate::settings::CertificateIssuer;
use crate::stack::{SITE, Stack};

/// A row of doctor's table.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub state: State,
    pub finding: String,
    /// What to do; empty when all is well.
    pub fix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warn,
    Fail,
}

fn ok(name: &'static str, finding: impl Into<String>) -> Check {
    Check { name, state: State::Ok, finding: finding.into(), fix: String::new() }
}

fn warn(name: &'static str, finding: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { name, state: State::Warn, finding: finding.into(), fix: fix.into() }
}

fn fail(name: &'static str, finding: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { name, state: State::Fail, finding: finding.into(), fix: fix.into() }
}

/// Everything, in the order in which one thing needs the other.
pub fn all(stack: &Stack) -> Vec<Check> {
    let (engine, usable) = match engine::probe() {
        Ok(Ok(engine)) => (engine_found(&engine), true),
        Ok(Err(unusable)) => (vec![engine_missing(unusable)], false),
        Err(error) => (vec![fail("engine", error.to_string(), "see the message")], false),
    };
    let mut checks = engine;
    match host::detect(&stack.settings) {
        Ok(host) => {
            checks.push(lan(&host));
            checks.push(certificates(stack, &host));
        }
        Err(error) => checks.push(fail("lan", error.to_string(), "set lan.addresses in stack.toml to \"auto\"")),
    }
    let containers = if usable { docker::containers(None).unwrap_or_default() } else { Vec::new() };
    let mut taken = ports(stack, &containers);
    if !usable {
        // Without the engine's answer a held port may well be held by the stack's own container.
        for check in taken.iter_mut().filter(|check| check.state == State::Fail) {
            check.state = State::Warn;
            "mend the engine first; it may be this stack that holds it".clone_into(&mut check.fix);
        }
    }
    checks.extend(taken);
    if usable {
        let existing = docker::network(&stack.settings.network.name);
        checks.push(match existing {
            Ok(existing) => network(stack, existing.as_ref()),
            Err(error) => fail("network", error.to_string(), "see the message"),
        });
        checks.extend(external_postgres(stack));
    }
    checks.extend(trust(stack));
    checks.push(disk(stack));
    checks.push(modes(stack));
    checks.push(rendered(stack));
    checks
}

/// What `up` must know before it writes anything: the ports, the network and the CAs of others.
pub fn before_writing(stack: &Stack, containers: &[Container], existing: Option<&Network>) -> Vec<Check> {
    let mut checks = ports(stack, containers);
    checks.push(network(stack, existing));
    checks.extend(trust(stack));
    checks.retain(|check| check.state == State::Fail);
    checks
}

fn engine_found(engine: &Engine) -> Vec<Check> {
    vec![
        ok("engine", format!("Docker Engine {}", engine.engine)),
        ok("compose", format!("Docker Compose {}", engine.compose)),
    ]
}

fn engine_missing(unusable: Unusable) -> Check {
    match unusable {
        Unusable::NotInstalled => {
            fail("engine", "there is no Docker engine with Compose", "`cargo xtask up` offers to install one")
        }
        Unusable::NotRunning => {
            fail("engine", "Docker's daemon does not answer", "`cargo xtask up` offers to start it")
        }
        Unusable::Unsuitable { what, fix } => fail("engine", what, fix),
    }
}

fn lan(host: &Host) -> Check {
    if host.is_loopback_only() {
        let fix = "connect a network, or name the address in stack.toml: lan.addresses";
        return warn("lan", "no LAN address: only this host can reach the command center", fix);
    }
    let addresses = host.lan.iter().map(|lan| lan.address.to_string()).collect::<Vec<_>>().join(", ");
    ok("lan", format!("{addresses}; calls and TURN advertise the first"))
}

fn ports(stack: &Stack, containers: &[Container]) -> Vec<Check> {
    let taken = ports::taken(&stack.settings, containers);
    if taken.is_empty() {
        let needed = ports::needed(&stack.settings);
        let list = needed.iter().map(|port| format!("{}/{}", port.number, port.protocol)).collect::<Vec<_>>();
        return vec![ok("ports", format!("{} are free or the stack's own", list.join(", ")))];
    }
    let row = |taken: ports::Taken| {
        let finding =
            format!("{}: {}/{} is held by {}", taken.port.key, taken.port.number, taken.port.protocol, taken.holder);
        fail("ports", finding, taken.fix)
    };
    taken.into_iter().map(row).collect()
}

/// The subnet must not overlap a route that is not this network's own, and the fixed address must be free.
fn network(stack: &Stack, existing: Option<&Network>) -> Check {
    let wanted = &stack.settings.network;
    if let Some(network) = existing {
        if !network.subnets.contains(&wanted.subnet) {
            let subnets = network.subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let finding = format!("{} exists with {subnets}, and network.subnet says {}", wanted.name, wanted.subnet);
            return fail("network", finding, "make network.subnet and network.mattermost_address in stack.toml fit it");
        }
        let own = format!("{}-mattermost-", stack.settings.name);
        let address = wanted.mattermost_address.to_string();
        let holder = network.containers.iter().find(|(name, held)| **held == address && !name.starts_with(&own));
        if let Some((name, _)) = holder {
            let finding = format!("network.mattermost_address: {address} on {} is taken by {name}", wanted.name);
            return fail("network", finding, "choose a free address in stack.toml, or move that container");
        }
        return ok("network", format!("{} is there, {}", wanted.name, wanted.subnet));
    }
    let overlapping = host::routes()
        .unwrap_or_default()
        .into_iter()
        .find(|route| route.subnet.prefix > 0 && route.subnet.overlaps(&wanted.subnet));
    match overlapping {
        Some(route) => {
            let finding = format!(
                "network.subnet: {} overlaps this host's route to {} by {}",
                wanted.subnet, route.subnet, route.interface
            );
            fail("network", finding, "choose another private range in stack.toml, such as 172.29.0.0/24")
        }
        None => ok("network", format!("{} will be made, {}", wanted.name, wanted.subnet)),
    }
}

/// The CAs of others that stack.toml names, if it names any.
fn trust(stack: &Stack) -> Option<Check> {
    const NAME: &str = "trust";
    let files =
        stack.settings.certificates.extra_trust.len() + usize::from(stack.settings.external_postgres().is_some());
    let checkout = match crate::stack::checkout() {
        Ok(checkout) => checkout,
        Err(error) => return Some(fail(NAME, error.to_string(), "see the message")),
    };
    match crate::trust::read(&stack.settings, &checkout) {
        Ok(_) if files == 0 => None,
        Ok(_) => Some(ok(NAME, format!("{files} files with CAs of others, each good today"))),
        Err(invalid) => Some(fail(NAME, invalid.to_string(), invalid.hint)),
    }
}

/// The PostgreSQL of somebody else, once the files and the network are there by which it is asked.
fn external_postgres(stack: &Stack) -> Option<Check> {
    const NAME: &str = "postgres";
    stack.settings.external_postgres()?;
    if !stack.root.join(certs::POSTGRES_CA).exists() {
        return Some(warn(NAME, "not asked yet", stack.hint("`cargo xtask up` asks it")));
    }
    Some(match crate::external_postgres::prove(stack) {
        Ok(proof) => ok(NAME, proof.replacen("PostgreSQL", "version", 1)),
        Err(error) => fail(NAME, error.to_string(), hint_of(&error).unwrap_or("see the message")),
    })
}

/// Free bytes below which PostgreSQL and image pulls get into trouble.
const DISK_FAIL: u64 = 2 << 30;
const DISK_WARN: u64 = 10 << 30;

fn disk(stack: &Stack) -> Check {
    let docker = Path::new("/var/lib/docker");
    let folder = if docker.exists() { docker } else { &stack.root };
    let text = folder.to_string_lossy();
    let answer = process::capture(
        Path::new("/"),
        &["df", "--output=avail", "--block-size=1", &text],
        b"",
        Duration::from_secs(5),
    );
    let free = answer.ok().and_then(|answer| answer.stdout.lines().nth(1)?.trim().parse::<u64>().ok());
    let fix = "free some space, or move Docker's data (data-root in /etc/docker/daemon.json)";
    match free {
        None => warn("disk", format!("cannot tell the free space of {text}"), "look with `df -h`"),
        Some(free) if free < DISK_FAIL => fail("disk", format!("{} GiB are free in {text}", free >> 30), fix),
        Some(free) if free < DISK_WARN => warn("disk", format!("{} GiB are free in {text}", free >> 30), fix),
        Some(free) => ok("disk", format!("{} GiB are free in {text}", free >> 30)),
    }
}

/// Files with secrets must be readable by their owner only.
fn modes(stack: &Stack) -> Check {
    const SECRET: &[&str] = &[
        "env/secrets.env",
        "env/mattermost.env",
        "env/turnserver.conf",
        "env/relay.toml",
        "env/postgres/password",
        "env/postgres/superuser_password",
        "certs/ca.key",
        "certs/issuer.key",
        "certs/mattermost/tls.key",
        "certs/postgres/tls.key",
    ];
    let present: Vec<_> = SECRET.iter().filter_map(|file| Some((file, files::mode(&stack.root.join(file))?))).collect();
    let open: Vec<_> = present.iter().filter(|(_, mode)| mode & 0o077 != 0).map(|(file, _)| **file).collect();
    if open.is_empty() {
        return ok("modes", format!("{} files with secrets, each for its owner only", present.len()));
    }
    let fix = format!("cd {} && chmod 600 {}", stack.root.display(), open.join(" "));
    fail("modes", format!("others can read {}", open.join(", ")), fix)
}

fn certificates(stack: &Stack, host: &Host) -> Check {
    const NAME: &str = "certificates";
    if stack.settings.certificates.issuer == CertificateIssuer::External {
        return match certs::check_external(&stack.root, &stack.settings, &host.lan) {
            Ok(warnings) if warnings.is_empty() => ok(NAME, "of your CA, good for every address"),
            Ok(warnings) => warn(NAME, warnings.join("; "), "ask your CA for new ones in time"),
            Err(error) => fail(NAME, error.to_string(), stack.hint(hint_of(&error).unwrap_or("see the message"))),
        };
    }
    let renew = stack.hint("cargo xtask certs");
    let mut soonest = i64::MAX;
    for leaf in certs::leaves(&stack.settings, &host.lan) {
        let (path, _) = certs::leaf_paths(&stack.root, leaf.server);
        let Ok(pem) = std::fs::read_to_string(&path) else {
            return warn(NAME, format!("there is no {}", path.display()), stack.hint("cargo xtask up"));
        };
        let (Ok(covered), Ok(not_after)) = (certs::sans(&pem), certs::not_after(&pem)) else {
            return fail(NAME, format!("{} is no certificate", path.display()), renew);
        };
        let missing: Vec<String> = certs::uncovered(&leaf.sans, &covered).iter().map(San::to_string).collect();
        if !missing.is_empty() {
            return fail(NAME, format!("that of {} does not cover {}", leaf.server, missing.join(", ")), renew);
        }
        soonest = soonest.min((not_after - OffsetDateTime::now_utc()).whole_days());
    }
    match soonest {
        ..0 => fail(NAME, "one has run out", renew),
        0..30 => warn(NAME, format!("one runs out in {soonest} days"), renew),
        _ => ok(NAME, format!("good for {soonest} days and for every address")),
    }
}

/// Secrets that are malformed or missing, and a tracked file that somebody edited.
fn rendered(stack: &Stack) -> Check {
    const NAME: &str = "files";
    if let Err(error) = secrets::Secrets::load(&secrets::path(&stack.root)) {
        return fail(NAME, error.to_string(), "mend the line, or bring the file back from a backup");
    }
    match crate::render::tracked(&stack.settings) {
        Ok(files) => match crate::render::check(&files, &stack.root)[..] {
            [] => ok(NAME, "compose.yaml is what stack.toml says"),
            _ if stack.name != SITE && !stack.compose_folder().exists() => {
                warn(NAME, "not rendered yet", stack.hint("cargo xtask up"))
            }
            _ => warn(NAME, "compose.yaml is not what stack.toml says", stack.hint("cargo xtask render")),
        },
        Err(error) => fail(NAME, format!("{error:#}"), "see the message"),
    }
}
