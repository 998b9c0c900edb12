//! Starting the servers by Compose, and saying what is wrong when one does not come up.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::causes;
use crate::drivers::docker::{self, Container};
use crate::drivers::interrupt;
use crate::drivers::terminal::waiting;
use crate::error::hinted;
use crate::secrets::Secrets;
use crate::stack::Stack;

/// Starts what is not running as it should be and waits until everything is healthy. `before` are the stack's containers.
///
/// # Errors
/// Naming the service that failed, its last words without the secrets, the likely cause, and what still runs.
pub fn start(stack: &Stack, before: &[Container], secrets: &Secrets) -> anyhow::Result<()> {
    start_services(stack, before, secrets, &[])
}

/// The same for some services and those that they depend on.
pub fn start_services(stack: &Stack, before: &[Container], secrets: &Secrets, services: &[&str]) -> anyhow::Result<()> {
    const LIMIT: Duration = Duration::from_secs(300);
    // Compose would take one that waits for its next restart for a failure, and not try again.
    for container in before.iter().filter(|container| matches!(container.state.as_str(), "restarting" | "dead")) {
        docker::docker(&["rm", "--force", &container.name])?;
    }
    let folder = stack.compose_folder();
    let mut said = String::new();
    let started = Instant::now();
    let limit = LIMIT.as_secs().to_string();
    let mut arguments =
        vec!["up", "--detach", "--wait", "--wait-timeout", &limit, "--pull", "never", "--remove-orphans"];
    arguments.extend(services);
    let success = waiting("starting the servers and waiting until they are healthy", || {
        docker::compose_stream(&folder, &arguments, LIMIT + Duration::from_secs(60), |line| {
            said.push_str(line);
            said.push('\n');
        })
    })?;
    interrupt::check()?;
    if success {
        return Ok(());
    }
    let containers = docker::containers(Some(&stack.settings.name))?;
    Err(failure(stack, secrets, &containers, &said, started.elapsed()))
}

/// Brings the running servers in line with the files and returns those that were recreated. Nothing happens to what does
/// not differ, nor to a stack that is down.
pub fn restart_changed(stack: &Stack, secrets: &Secrets) -> anyhow::Result<Vec<String>> {
    let before = docker::containers(Some(&stack.settings.name))?;
    if !before.iter().any(|container| container.state == "running") {
        return Ok(Vec::new());
    }
    start(stack, &before, secrets).context("the servers did not come back")?;
    started_since(stack, &before)
}

/// The services whose containers are new since `before`, or run again.
pub fn started_since(stack: &Stack, before: &[Container]) -> anyhow::Result<Vec<String>> {
    let after = docker::containers(Some(&stack.settings.name))?;
    let is_new = |now: &&Container| !before.iter().any(|then| then.id == now.id && then.state == now.state);
    Ok(after.iter().filter(is_new).map(|container| container.service.clone()).collect())
}

/// The containers of this stack among those of all.
pub fn own(containers: &[Container], stack: &Stack) -> Vec<Container> {
    containers.iter().filter(|container| container.project == stack.settings.name).cloned().collect()
}

/// Names the service that failed, shows what it said last, and the likely cause.
fn failure(stack: &Stack, secrets: &Secrets, containers: &[Container], said: &str, after: Duration) -> anyhow::Error {
    let broken = containers.iter().find(|container| is_broken(container));
    let running: Vec<&str> = containers
        .iter()
        .filter(|container| container.state == "running" && !is_broken(container))
        .map(|container| container.service.as_str())
        .collect();
    let running = if running.is_empty() { "nothing".to_owned() } else { running.join(", ") };
    let (what, log) = match broken {
        Some(container) => {
            let log = last_lines(container, 20);
            (
                format!("{} did not become healthy in {} s: {}", container.service, after.as_secs(), container.status),
                log,
            )
        }
        None => ("Compose could not start the servers".to_owned(), tail(said, 5)),
    };
    let log = secrets.redact(&log);
    let is_external = stack.settings.external_postgres().is_some();
    let cause = causes::of(&log, is_external).or_else(|| causes::of(said, is_external));
    let mut message = what;
    if !log.trim().is_empty() {
        message.push_str(&format!("\n  {}", log.trim_end().replace('\n', "\n  ")));
    }
    message.push_str(&format!("\nstill running: {running}"));
    let hint = match &cause {
        Some(cause) => {
            message.push_str(&format!("\nlikely cause: {}", cause.what));
            stack.hint(cause.fix)
        }
        None => stack.hint("`cargo xtask logs` shows more, `cargo xtask doctor` checks the host"),
    };
    hinted(anyhow::anyhow!(message), hint)
}

/// One-shot services exit with 0 when they are done.
fn is_broken(container: &Container) -> bool {
    match container.state.as_str() {
        "running" => container.status.contains("unhealthy") || container.status.contains("starting"),
        "exited" => !container.status.contains("Exited (0)"),
        "restarting" | "dead" => true,
        _ => false,
    }
}

fn last_lines(container: &Container, count: usize) -> String {
    tail(&docker::logs(&container.name, None, count), count)
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
