use std::process::ExitCode;
use std::time::Duration;

use crate::drivers::docker;
use crate::secrets::{self, Secrets};
use crate::stack::Stack;

/// Show what the servers log, with secrets replaced by their names.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask logs\n  cargo xtask logs mattermost --follow")]
pub struct Args {
    /// All of them without it.
    #[arg(value_parser = ["install", "postgres", "mattermost", "coturn", "relay"])]
    service: Option<String>,

    /// Go on until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    let secrets = Secrets::load(&secrets::path(&stack.root))?;
    let mut arguments = vec!["logs", "--no-color", "--timestamps"];
    if args.follow {
        arguments.push("--follow");
    } else {
        arguments.extend(["--tail", "1000"]);
    }
    arguments.extend(args.service.as_deref());
    let limit = if args.follow { Duration::from_secs(365 * 24 * 3600) } else { Duration::from_secs(60) };
    // Compose clears each line before it prints it, even where there is no terminal.
    let show = |line: &str| println!("{}", secrets.redact(&line.replace("\u{1b}[2K", "")));
    let success = docker::compose_stream(&stack.compose_folder(), &arguments, limit, show)?;
    Ok(if success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
