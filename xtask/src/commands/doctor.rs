use std::process::ExitCode;

use crate::lab;
use crate::preflight::{self, State};
use crate::stack::Stack;

/// Check the host and the stack's files: a table of findings, each with its fix.
///
/// Exit status 1 when a check failed; a warning is no failure.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask doctor\n  cargo xtask doctor --json")]
pub struct Args {
    /// For scripts: a list of objects with name, state (ok, warn, fail), finding and fix.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    let checks = preflight::all(stack);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        println!("{}", stack.settings.name);
        if stack.is_lab() {
            println!("{}", lab::WARNING);
        }
        for check in &checks {
            let state = match check.state {
                State::Ok => "ok",
                State::Warn => "WARN",
                State::Fail => "FAIL",
            };
            println!("  {state:<5} {:<13} {}", check.name, check.finding);
            if !check.fix.is_empty() {
                println!("  {:<19} fix: {}", "", check.fix);
            }
        }
    }
    let failed = checks.iter().any(|check| check.state == State::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
