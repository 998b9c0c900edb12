//! The machine: the engine, the disk, memory and the clock.

use std::path::Path;
use std::time::Duration;

use time::OffsetDateTime;

use super::context::Context;
use super::problem::{Row, ok, problems};
use crate::certs;
use crate::drivers::engine::{Engine, Unusable};
use crate::drivers::process;
use crate::settings::Limits;

problems! {
    ENGINE_MISSING: Fail "engine.missing",
        "No command that needs containers works.",
        "There is no Docker engine with Compose on this machine.",
        "`cargo xtask up` offers to install one";
    ENGINE_DOWN: Fail "engine.down",
        "Nobody can log in, and `docker ps` fails.",
        "Docker is installed, and its daemon does not run.",
        "`cargo xtask up` offers to start it";
    ENGINE_SILENT: Fail "engine.silent",
        "Commands of Docker hang, and so does everything that asks it. Servers that run may go on.",
        "Docker's daemon runs and does not answer: it is stopped, overloaded, or waits for a disk.",
        "look at its log (`journalctl -u docker`), then `sudo systemctl restart docker`";
    ENGINE_UNSUITABLE: Fail "engine.unsuitable",
        "`up` refuses to start.",
        "The engine is too old, is Docker Desktop or rootless, or this user may not use it.",
        "{fix}";
    ENGINE_UNKNOWN: Fail "engine.unknown",
        "`docker` behaves strangely.",
        "What the engine answered is none of what it is known to answer.",
        "see what `docker version` says";
    DISK_FULL: Fail "disk.full",
        "Messages are not sent any more, or PostgreSQL stops.",
        "Less than 2 GiB are free where Docker keeps its volumes.",
        "free some space (`docker system df` shows what Docker takes), or move Docker's data (data-root in /etc/docker/daemon.json)";
    DISK_LOW: Warn "disk.low",
        "None yet.",
        "Less than 10 GiB are free where Docker keeps its volumes; images and files of users need them.",
        "free some space (`docker system df` shows what Docker takes), or move Docker's data (data-root in /etc/docker/daemon.json)";
    DISK_UNKNOWN: Warn "disk.unknown",
        "None.",
        "`df` did not say how much space is free.",
        "look with `df -h`";
    MEMORY_SMALL: Warn "memory.small",
        "The host becomes slow or the kernel kills processes when many people are there.",
        "The containers' memory limits add up to more than the host has.",
        "give the host more memory, or lower limits.*.memory in stack.toml and run `cargo xtask up`";
    MEMORY_LOW: Warn "memory.low",
        "Everything is slow.",
        "Less than a twentieth of the host's memory is available.",
        "see what takes it: `ps -eo rss,comm --sort=-rss | head`";
    CLOCK_WRONG: Fail "clock.wrong",
        "Phones and browsers call the certificate invalid, and calls through TURN are refused with 401.",
        "The host's clock is before the day on which its CA was made.",
        "set the clock: `sudo date --set \"YYYY-MM-DD HH:MM\"`, or start a time service such as chrony";
    CLOCK_UNKEPT: Warn "clock.unkept",
        "After months, certificates and the credentials of calls look too old or too new to clients.",
        "No time service keeps the host's clock.",
        "run one, with a time server of this network: `sudo apt-get install chrony`";
}

pub fn engine(context: &Context) -> Vec<Row> {
    judge_engine(context.engine())
}

pub fn judge_engine(engine: &Result<Result<Engine, Unusable>, String>) -> Vec<Row> {
    match engine {
        Ok(Ok(engine)) => vec![
            ok("engine", format!("Docker Engine {}", engine.engine)),
            ok("compose", format!("Docker Compose {}", engine.compose)),
        ],
        Ok(Err(Unusable::NotInstalled)) => vec![ENGINE_MISSING.found("there is no Docker engine with Compose")],
        Ok(Err(Unusable::NotRunning)) => vec![ENGINE_DOWN.found("Docker's daemon does not answer")],
        Ok(Err(Unusable::Unsuitable { what, fix })) => {
            vec![ENGINE_UNSUITABLE.found(what.clone()).with("fix", fix)]
        }
        Err(error) => vec![ENGINE_UNKNOWN.found(error.clone())],
    }
}

pub fn disk(context: &Context) -> Vec<Row> {
    let docker = Path::new("/var/lib/docker");
    let folder = if docker.exists() { docker } else { &context.stack.root };
    let text = folder.to_string_lossy();
    let argv = ["df", "--output=avail", "--block-size=1", &text];
    let answer = process::capture(Path::new("/"), &argv, b"", Duration::from_secs(5));
    let free = answer.ok().and_then(|answer| answer.stdout.lines().nth(1)?.trim().parse::<u64>().ok());
    vec![judge_disk(free, &text)]
}

/// `free` is in bytes.
pub fn judge_disk(free: Option<u64>, folder: &str) -> Row {
    let Some(free) = free else { return DISK_UNKNOWN.found(format!("cannot tell the free space of {folder}")) };
    let finding = format!("{} GiB are free in {folder}", free >> 30);
    match free >> 30 {
        0..2 => DISK_FULL.found(finding),
        2..10 => DISK_LOW.found(finding),
        _ => ok("disk", finding),
    }
}

pub fn memory(context: &Context) -> Vec<Row> {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let has_relay = context.stack.settings.has_relay();
    let own_postgres = context.stack.settings.external_postgres().is_none();
    vec![judge_memory(&text, limits(&context.stack.settings.limits, own_postgres, has_relay))]
}

/// `meminfo` is the text of /proc/meminfo (proc(5)), `limits` the sum of the containers' limits in bytes.
pub fn judge_memory(meminfo: &str, limits: u64) -> Row {
    let value = |key: &str| {
        let line = meminfo.lines().find(|line| line.split(':').next() == Some(key))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    };
    let (total, available) = (value("MemTotal").unwrap_or_default(), value("MemAvailable").unwrap_or_default());
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let finding = format!("{:.1} of {:.1} GiB are available", gib(available), gib(total));
    if available < total / 20 {
        return MEMORY_LOW.found(finding);
    }
    if limits > total {
        return MEMORY_SMALL.found(format!("{finding}, and the containers may take {:.1} GiB", gib(limits)));
    }
    ok("memory", finding)
}

fn limits(limits: &Limits, own_postgres: bool, has_relay: bool) -> u64 {
    let bytes = |text: &str| {
        let (number, unit) = text.split_at(text.len() - 1);
        number.parse::<u64>().unwrap_or_default() << if unit == "g" { 30 } else { 20 }
    };
    let mut sum = bytes(&limits.mattermost.memory) + bytes(&limits.coturn.memory);
    if own_postgres {
        sum += bytes(&limits.postgres.memory);
    }
    if has_relay {
        sum += bytes(&limits.relay.memory);
    }
    sum
}

pub fn clock(context: &Context) -> Vec<Row> {
    let made = context.ca().and_then(|ca| certs::not_before(&ca).ok());
    vec![judge_clock(OffsetDateTime::now_utc(), made, time_service().as_deref())]
}

/// `made` is when the CA was made, `service` who keeps the clock.
pub fn judge_clock(now: OffsetDateTime, made: Option<OffsetDateTime>, service: Option<&str>) -> Row {
    let shown = now.format(time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC"));
    let shown = shown.unwrap_or_default();
    if made.is_some_and(|made| now < made) {
        return CLOCK_WRONG.found(format!("it is {shown} here, before the CA was made"));
    }
    match service {
        Some(service) => ok("clock", format!("{shown}, kept by {service}")),
        None => CLOCK_UNKEPT.found(format!("{shown}, and no time service runs")),
    }
}

/// The program that keeps the clock, by the names of the running processes. In a container or a virtual machine it may be the
/// host's, which nothing here can see.
fn time_service() -> Option<String> {
    // Names are cut off after 15 bytes.
    const KNOWN: [&str; 6] = ["chronyd", "ntpd", "systemd-timesyn", "openntpd", "ptp4l", "VBoxService"];
    let found = process::running().filter(|name| KNOWN.contains(&name.as_str())).min();
    found.map(|name| name.replace("systemd-timesyn", "systemd-timesyncd"))
}
