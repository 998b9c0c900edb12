//! The containers: whether they run, and what they run.

use std::collections::BTreeMap;

use super::context::Context;
use super::problem::{Row, ok, problems};
use crate::causes;
use crate::drivers::docker::{self, Inspected};
use crate::images;
use crate::lab;
use crate::render::envfile;

problems! {
    IMAGE_OTHER: Warn "images.other",
        "A version that was raised in compose/images.Dockerfile does not run, or one runs that nobody chose.",
        "A container runs another image than the one that is pinned.",
        "`cargo xtask up`", Up;
    IMAGE_OLDER: Warn "images.older",
        "An image that was loaded or pulled again does not run.",
        "A container runs an older image of the same name than the one that is loaded now.",
        "`cargo xtask up`", Up;
    IMAGE_MISSING: Warn "images.missing",
        "`up` has to pull before it can start.",
        "A pinned image is not on this machine.",
        "`docker load -i FILE` where there is no registry, else `cargo xtask up`";
    SERVICES_NONE: Warn "services.none",
        "Nobody can connect.",
        "The stack is not set up on this machine, or it was taken down.",
        "`cargo xtask up`", Up;
    SERVICE_STOPPED: Fail "services.stopped",
        "A part of the command center does not work.",
        "A server of the stack does not run.",
        "{fix}", Up;
    SERVICE_RESTARTING: Fail "services.restarting",
        "A part of the command center comes and goes.",
        "A server ends as soon as it was started, and is started again and again.",
        "{fix}";
    SERVICE_UNHEALTHY: Fail "services.unhealthy",
        "A part of the command center does not work.",
        "A server runs, and its health check fails.",
        "{fix}";
    SERVICE_STARTING: Warn "services.starting",
        "A part of the command center does not work yet.",
        "A server was started just now.",
        "wait a moment, and run `cargo xtask doctor` again";
    SERVICE_KILLED: Fail "services.out-of-memory",
        "A server was away for some seconds, or is.",
        "The kernel killed it, because it took more memory than its limit allows.",
        "raise limits.{service}.memory in stack.toml, then `cargo xtask up`";
}

/// The services that a stack consists of, without the one-shot.
fn expected(context: &Context) -> Vec<&'static str> {
    let mut expected = Vec::new();
    if context.stack.settings.external_postgres().is_none() {
        expected.push("postgres");
    }
    expected.extend(["mattermost", "coturn"]);
    // There is none until the wiring has made its hooks.
    let dotenv = std::fs::read_to_string(context.stack.compose_folder().join(".env")).unwrap_or_default();
    if envfile::value(&dotenv, "RELAY_SCALE").is_some_and(|scale| scale == "1") {
        expected.push("relay");
    }
    expected
}

pub fn services(context: &Context) -> Vec<Row> {
    if context.containers().is_err() {
        return Vec::new();
    }
    let secrets = context.secrets().cloned().unwrap_or_default();
    let last_words = |name: &str| secrets.redact(&docker::logs(name, None, 20));
    judge_services(
        &expected(context),
        context.inspected(),
        last_words,
        context.stack.settings.external_postgres().is_some(),
    )
}

/// `last_words` are the last lines of a container's log, by its name.
pub fn judge_services(
    expected: &[&str],
    containers: &[Inspected],
    last_words: impl Fn(&str) -> String,
    is_external: bool,
) -> Vec<Row> {
    if containers.iter().all(|container| container.state != "running" && container.state != "restarting") {
        return vec![SERVICES_NONE.found("none of the servers runs")];
    }
    let explained = |row: Row, container: Option<&Inspected>| {
        let cause = container.and_then(|container| causes::of(&last_words(&container.name), is_external));
        match cause {
            Some(cause) => Row { finding: format!("{}: {}", row.finding, cause.what), ..row }.with("fix", cause.fix),
            None => row.with("fix", "`cargo xtask logs` shows what it says; `cargo xtask up` starts it again"),
        }
    };
    let mut rows = Vec::new();
    for service in expected {
        let container = containers.iter().find(|container| container.service == *service);
        let Some(it) = container else {
            rows.push(explained(SERVICE_STOPPED.found(format!("{service} is not there")), None));
            continue;
        };
        match (it.state.as_str(), it.health.as_str()) {
            _ if it.oom_killed => {
                rows.push(
                    SERVICE_KILLED.found(format!("{service} was killed for lack of memory")).with("service", service),
                );
            }
            ("running", "unhealthy") => {
                rows.push(explained(SERVICE_UNHEALTHY.found(format!("{service} is unhealthy")), container));
            }
            ("running", "starting") => rows.push(SERVICE_STARTING.found(format!("{service} is starting"))),
            ("running", _) => {}
            ("restarting", _) => {
                let finding = format!("{service} was restarted {} times", it.restarts);
                rows.push(explained(SERVICE_RESTARTING.found(finding), container));
            }
            (state, _) => {
                rows.push(explained(SERVICE_STOPPED.found(format!("{service} does not run ({state})")), container));
            }
        }
    }
    if rows.is_empty() {
        rows.push(ok("services", format!("{} run and are healthy", expected.join(", "))));
    }
    rows
}

pub fn images(context: &Context) -> Vec<Row> {
    if context.containers().is_err() {
        return Vec::new();
    }
    let Ok(pinned) = images::pinned() else { return Vec::new() };
    let pinned =
        BTreeMap::from([("postgres", pinned.postgres), ("mattermost", pinned.mattermost), ("coturn", pinned.coturn)]);
    let containers = context.inspected();
    let wanted: Vec<&str> = if context.stack.is_lab() {
        containers.iter().map(|container| container.image.as_str()).collect()
    } else {
        pinned.values().map(String::as_str).collect()
    };
    let loaded = wanted.iter().filter_map(|image| Some(((*image).to_owned(), identifier(image)?))).collect();
    judge_images((!context.stack.is_lab()).then_some(&pinned), containers, &loaded)
}

/// What an image's name stands for now.
fn identifier(image: &str) -> Option<String> {
    let answer = docker::try_docker(&["image", "inspect", "--format", "{{.Id}}", image]).ok()?;
    answer.success.then(|| answer.stdout.trim().to_owned())
}

/// `pinned` are the images by service, and nothing in a lab; `loaded` are the identifiers of names.
pub fn judge_images(
    pinned: Option<&BTreeMap<&str, String>>,
    containers: &[Inspected],
    loaded: &BTreeMap<String, String>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for (service, image) in pinned.into_iter().flatten() {
        let container = containers.iter().find(|container| container.service == *service);
        match container {
            Some(container) if container.image != *image => {
                rows.push(IMAGE_OTHER.found(format!("{service} runs {}, and {image} is pinned", container.image)));
            }
            None if !loaded.contains_key(image) => rows.push(IMAGE_MISSING.found(format!("{image} is not loaded"))),
            _ => {}
        }
    }
    let is_older =
        |container: &&Inspected| loaded.get(&container.image).is_some_and(|loaded| *loaded != container.image_id);
    for container in containers.iter().filter(is_older).filter(|container| container.state == "running") {
        rows.push(IMAGE_OLDER.found(format!("{} runs an older {}", container.service, container.image)));
    }
    if rows.is_empty() {
        rows.push(ok("images", if pinned.is_some() { "the pinned ones" } else { lab::WARNING }));
    }
    rows
}
