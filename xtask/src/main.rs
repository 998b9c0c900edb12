use std::process::ExitCode;

use clap::Parser as _;
use xtask::commands::Cli;

/// 0: done. 1: failed. 2: wrong usage (by clap) or wrong settings.
fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => ExitCode::from(xtask::error::report(&error)),
    }
}
