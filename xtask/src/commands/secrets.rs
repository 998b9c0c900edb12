use std::process::ExitCode;

use clap::Subcommand;

use crate::error::hinted;
use crate::secrets::{self, Secrets};
use crate::stack::Stack;

/// List the secrets by name and date, or show one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask secrets\n  cargo xtask secrets show ADMIN_PASSWORD")]
pub struct Args {
    #[command(subcommand)]
    command: Option<Show>,
}

#[derive(Debug, Subcommand)]
enum Show {
    /// Print one value, and nothing else.
    #[command(after_help = "Example:\n  cargo xtask secrets show ADMIN_PASSWORD")]
    Show {
        /// As the list has it, such as ADMIN_PASSWORD.
        name: String,
    },
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    let path = secrets::path(&stack.root);
    let secrets = Secrets::load(&path)?;
    match args.command {
        None => {
            println!("{}", path.display());
            for (name, date) in secrets.names() {
                println!("  {name:<32} {}", date.unwrap_or("put there by hand"));
            }
            if secrets.names().next().is_none() {
                println!("  none yet; `cargo xtask up` makes them");
            }
        }
        Some(Show::Show { name }) => match secrets.get(&name) {
            Some(value) => println!("{value}"),
            None => {
                let error = anyhow::anyhow!("{} has no {name}", path.display());
                return Err(hinted(error, stack.hint("`cargo xtask secrets` lists the names")));
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}
