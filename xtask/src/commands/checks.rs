//! `ci` runs everything, and `e2e` its longest part.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::drivers::terminal::say;
use crate::drivers::{engine, process};
use crate::stack;

/// Boot whole stacks in Docker and use them as clients do.
///
/// Takes the pinned images when they are loaded or within reach, else the lab's. Each test has a stack of its own below
/// target/stacks/, beside any that is running.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask e2e --yes\n  cargo xtask e2e --yes turn    (only the tests with `turn` in their names)"
)]
pub struct E2e {
    /// Agree to the commands that install and start a Docker engine, without being asked.
    #[arg(long)]
    yes: bool,

    /// Run the tests whose names contain this.
    filter: Option<String>,
}

/// Run everything that CI runs: formatting, clippy, all tests, `render --check` and the end-to-end tests.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask ci --yes")]
pub struct Ci {
    /// Agree to the commands that install and start a Docker engine, without being asked.
    #[arg(long)]
    yes: bool,
}

pub fn e2e(args: E2e) -> anyhow::Result<ExitCode> {
    engine::ensure(engine::probe()?, args.yes)?;
    run_e2e(&shell()?, args.filter.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

pub fn ci(args: Ci) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let sh = shell()?;
    engine::ensure(engine::probe()?, args.yes)?;
    cargo(&sh, "fmt --all --check").context("run `cargo fmt --all`")?;
    cargo(&sh, "clippy --locked --workspace --all-targets -- -D warnings")?;
    cargo(&sh, "test --locked --workspace")?;
    cargo(&sh, "xtask render --check")?;
    run_e2e(&sh, None)?;
    say(&format!("Everything passed in {} s.", start.elapsed().as_secs()));
    Ok(ExitCode::SUCCESS)
}

fn run_e2e(sh: &Shell, filter: Option<&str>) -> anyhow::Result<()> {
    // Every test boots containers; side by side they would compete for two cores and time out.
    const TEST: &str = "test --locked --package command-center-tests --test e2e -- --test-threads=1";
    cargo(sh, &format!("{TEST} {}", filter.unwrap_or_default()))
}

fn shell() -> anyhow::Result<Shell> {
    let sh = Shell::new()?;
    sh.change_dir(stack::checkout()?);
    Ok(sh)
}

fn cargo(sh: &Shell, arguments: &str) -> anyhow::Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = arguments.split_whitespace();
    let command =
        process::of_this_package().fold(cmd!(sh, "{cargo} {arguments...}"), |command, name| command.env_remove(name));
    command.run()?;
    Ok(())
}
