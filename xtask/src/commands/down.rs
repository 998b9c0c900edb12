use std::process::ExitCode;
use std::time::Duration;

use crate::drivers::terminal::{ask, can_ask, say, waiting};
use crate::drivers::{docker, files, interrupt};
use crate::error::hinted;
use crate::secrets::{self, ADMIN_FIRST_PASSWORD, ADMIN_ID, ADMIN_TOKEN, Secrets};
use crate::stack::Stack;

/// Stop the command center and remove its containers. The data stays, unless asked otherwise.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask down\n  cargo xtask down --volumes    (removes messages, files and accounts, after asking)"
)]
pub struct Args {
    /// Also remove the volumes: every message, file and account. Asks first.
    #[arg(long)]
    volumes: bool,

    /// Do not ask.
    #[arg(long, requires = "volumes")]
    yes: bool,
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    let name = &stack.settings.name;
    let external = stack.settings.external_postgres().map(|_| &stack.settings.postgres.external);
    if args.volumes && !args.yes {
        let question = match external {
            None => format!("Remove every message, file and account of {name}? This cannot be undone."),
            Some(database) => {
                format!("Remove every file of {name}? This cannot be undone. The database at {database} stays.")
            }
        };
        if !can_ask() {
            return Err(hinted(anyhow::anyhow!("nobody can be asked whether the data may go"), "add --yes if it may"));
        }
        if !ask(&question)? {
            say("Nothing was done.");
            return Ok(ExitCode::FAILURE);
        }
    }
    if !stack.compose_folder().join("compose.yaml").exists() {
        println!("{name} was never set up.");
        return Ok(ExitCode::SUCCESS);
    }
    let _lock = files::lock(&stack.root.join("env"), "down")?;
    interrupt::listen()?;
    // What cannot be forgotten afterwards must not be removed first.
    let known = if args.volumes { Some(Secrets::load(&secrets::path(&stack.root))?) } else { None };
    // Compose wants the variables of .env even to remove things; a stack whose .env is gone can still be removed by name.
    let mut arguments = vec!["--project-name", name, "down", "--remove-orphans", "--timeout", "60"];
    if args.volumes {
        arguments.push("--volumes");
    }
    let folder = stack.compose_folder();
    let by_name = !folder.join(".env").exists();
    let limit = Duration::from_secs(180);
    let answer = waiting("stopping the servers", || {
        if by_name {
            docker::compose(std::path::Path::new("/"), &arguments, b"", limit)
        } else {
            docker::compose(&folder, &arguments, b"", limit)
        }
    })?;
    if !answer.success {
        return Err(hinted(
            anyhow::anyhow!("`docker compose down`: {}", answer.complaint()),
            "`cargo xtask doctor` checks the engine",
        ));
    }
    remove_network(stack)?;
    if let Some(database) = external.filter(|_| known.is_some()) {
        println!("{name} is down, and its files are gone. The database at {database} stays as it is.");
    } else if let Some(secrets) = known {
        forget(stack, secrets)?;
        println!("{name} is down, and its data is gone.");
    } else {
        println!("{}", stack.hint(&format!("{name} is down. Its data is kept: `cargo xtask up` brings it back.")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The network goes only when we made it and nobody is left on it.
fn remove_network(stack: &Stack) -> anyhow::Result<()> {
    let name = &stack.settings.network.name;
    match docker::network(name)? {
        Some(network) if network.ours && network.containers.is_empty() => {
            drop(docker::docker(&["network", "rm", name])?)
        }
        Some(network) if network.ours => {
            let others = network.containers.into_keys().collect::<Vec<_>>().join(", ");
            say(&format!("the network {name} stays: {others} are on it"));
        }
        _ => {}
    }
    Ok(())
}

/// What only the removed volumes knew is no longer true.
fn forget(stack: &Stack, mut secrets: Secrets) -> anyhow::Result<()> {
    let wired = stack.settings.wired_secrets();
    let names: Vec<&str> = [ADMIN_ID, ADMIN_FIRST_PASSWORD, ADMIN_TOKEN].into_iter().chain(wired).collect();
    if names.iter().any(|name| secrets.get(name).is_some()) {
        for name in names {
            secrets.remove(name);
        }
        secrets.save(&secrets::path(&stack.root))?;
    }
    Ok(())
}
