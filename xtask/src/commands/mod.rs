//! One file a command: its arguments, its help and what it does.

mod certs;
mod checks;
mod connect;
mod doctor;
mod down;
mod logs;
mod phone;
mod render;
mod secrets;
mod status;
mod turn;
mod up;
mod wire;

use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::drivers::docker::{self, Container};
use crate::error::hinted;
use crate::stack::{self, LAB, SITE, Stack};

/// A self-hosted command center, as code: chat, CI alerts and calls on one Linux host.
///
/// The settings are in stack.toml. `cargo xtask up` does everything that is needed, and can be run again at any time.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true,
    after_help = "Example:\n  cargo xtask up --images auto --yes"
)]
pub struct Cli {
    /// Act on this stack: `site`, `lab`, or the name of a folder below target/stacks/. Without it, the one that is set up.
    #[arg(long, global = true, value_name = "NAME")]
    stack: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    Down(down::Args),
    Status(status::Args),
    Logs(logs::Args),
    Render(render::Args),
    Certs(certs::Args),
    Secrets(secrets::Args),
    Wire(wire::Args),
    Connect(connect::Args),
    Turn(turn::Args),
    Phone(phone::Args),
    Doctor(doctor::Args),
    E2e(checks::E2e),
    Ci(checks::Ci),
}

impl Cli {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.stack.as_deref();
        match self.command {
            Command::Up(args) => up::run(args, stack),
            Command::Down(args) => down::run(args, &present(stack)?),
            Command::Status(args) => status::run(args, stack),
            Command::Logs(args) => logs::run(args, &present(stack)?),
            Command::Render(args) => render::run(args, &stack::open(stack.unwrap_or(SITE))?),
            Command::Certs(args) => certs::run(args, &present(stack)?),
            Command::Secrets(args) => secrets::run(args, &present(stack)?),
            Command::Wire(args) => wire::run(args, &present(stack)?),
            Command::Connect(args) => connect::run(args, &present(stack)?),
            Command::Turn(args) => turn::run(args, &present(stack)?),
            Command::Phone(args) => phone::run(args, &present(stack)?),
            Command::Doctor(args) => doctor::run(args, &present_soon(stack)?),
            Command::E2e(args) => checks::e2e(args),
            Command::Ci(args) => checks::ci(args),
        }
    }
}

/// The stack that is meant: the named one, or the one of site and lab that has containers, or the site's.
fn present(name: Option<&str>) -> anyhow::Result<Stack> {
    if let Some(name) = name {
        return stack::open(name);
    }
    // A dead engine means that nothing is set up.
    match set_up(&docker::containers(None).unwrap_or_default())?.as_slice() {
        [] => stack::open(SITE),
        [name] => stack::open(name),
        _ => Err(hinted(
            anyhow::anyhow!("both the site's stack and the lab are set up"),
            "say which one: --stack site or --stack lab",
        )),
    }
}

/// The same, without waiting for an engine that hangs: whoever looks for what is wrong shall hear of just that.
fn present_soon(name: Option<&str>) -> anyhow::Result<Stack> {
    if let Some(name) = name {
        return stack::open(name);
    }
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more when the time is over.
        sender.send(present(None)).ok();
    });
    receiver.recv_timeout(Duration::from_secs(3)).unwrap_or_else(|_| stack::open(SITE))
}

/// Which of site and lab have containers.
fn set_up(containers: &[Container]) -> anyhow::Result<Vec<&'static str>> {
    let checkout = stack::checkout()?;
    let lab = checkout.join("target/stacks").join(LAB).join("compose");
    let has = |folder: &std::path::Path| containers.iter().any(|container| container.folder == folder);
    let mut found = Vec::new();
    if has(&checkout.join("compose")) {
        found.push(SITE);
    }
    if has(&lab) {
        found.push(LAB);
    }
    Ok(found)
}

/// Today, for the dates in secrets.env.
fn today() -> anyhow::Result<String> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    time::OffsetDateTime::now_utc().format(format).context("the clock is unreadable")
}

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}
