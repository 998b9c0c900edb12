use std::process::ExitCode;

use crate::doctor::repair::{self, Repair};
use crate::doctor::{self, Row, State};
use crate::drivers::files;
use crate::drivers::terminal::{ask, can_ask, say, waiting};
use crate::error::hinted;
use crate::lab;
use crate::stack::Stack;

/// Check the host and everything that runs on it: a table of findings, each with its symptom, cause and fix.
///
/// Exit status 1 when a check failed; a warning is no failure. docs/troubleshooting.md lists everything that it can find.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask doctor\n  cargo xtask doctor --fix\n  cargo xtask doctor --json")]
pub struct Args {
    /// For scripts: a list of objects, as docs/troubleshooting.md describes them.
    #[arg(long)]
    json: bool,

    /// Mend what can be mended without losing anything, after asking, and look again.
    #[arg(long, conflicts_with = "json")]
    fix: bool,

    /// Agree to what --fix does, without being asked.
    #[arg(long, requires = "fix")]
    yes: bool,
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    let mut rows = waiting("looking at everything", || doctor::examine(stack));
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(status(&rows));
    }
    print(stack, &rows);
    if args.fix && mend(stack, &rows, args.yes)? {
        rows = waiting("looking again", || doctor::examine(stack));
        print(stack, &rows);
    }
    Ok(status(&rows))
}

fn status(rows: &[Row]) -> ExitCode {
    let failed = rows.iter().any(|row| row.state == State::Fail);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn print(stack: &Stack, rows: &[Row]) {
    println!("{}", stack.settings.name);
    if stack.is_lab() {
        println!("{}", lab::WARNING);
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let indent = " ".repeat(width + 9);
    for row in rows {
        let state = match row.state {
            State::Ok => "ok",
            State::Warn => "WARN",
            State::Fail => "FAIL",
        };
        println!("  {state:<5} {:<width$} {}", row.name, row.finding);
        if let Some(problem) = row.problem.0 {
            println!("{indent}symptom: {}", problem.symptom);
            println!("{indent}cause:   {}", problem.cause);
            println!("{indent}fix:     {}", row.fix);
        }
    }
    let count = |state| rows.iter().filter(|row| row.state == state).count();
    match (count(State::Fail), count(State::Warn)) {
        (0, 0) => println!("Nothing to mend."),
        (failed, warned) => println!("{failed} failed, {warned} warned."),
    }
}

/// Does what is agreed to. Says whether anything was done.
fn mend(stack: &Stack, rows: &[Row], yes: bool) -> anyhow::Result<bool> {
    let wanted = repair::wanted(rows);
    if wanted.is_empty() {
        say("Nothing here can be mended by itself: follow the fixes above.");
        return Ok(false);
    }
    if !yes && !can_ask() {
        let error = anyhow::anyhow!("--fix asks before it does something, and nobody is at the terminal");
        return Err(hinted(error, "add --yes to agree beforehand"));
    }
    let mut done = false;
    for repair in wanted {
        let question = repair::question(repair, stack);
        if yes {
            say(&question);
        } else if !ask(&question)? {
            continue;
        }
        match repair {
            Repair::Modes => {
                let _lock = files::lock(&stack.root.join("env"), "doctor")?;
                repair::tighten(stack)?;
            }
            Repair::Up => {
                super::up::run(super::up::Args::again(), Some(&stack.name))?;
            }
        }
        done = true;
    }
    Ok(done)
}
