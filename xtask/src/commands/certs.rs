use std::process::ExitCode;

use crate::drivers::{files, interrupt};
use crate::secrets;
use crate::stack::Stack;
use crate::{certs, host, servers};

/// Make the CA and the servers' certificates, or renew what no longer fits.
///
/// A certificate is issued again when it does not cover a name or address, when less than 30 days are left, or when
/// asked. Servers that read a new one are recreated; the others keep running.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask certs\n  cargo xtask certs --lan      (after the host got another address)\n  cargo xtask certs --renew"
)]
pub struct Args {
    /// Cover every address that this host has on a LAN now, also those that stack.toml does not list.
    #[arg(long)]
    lan: bool,

    /// Issue the servers' certificates again, whatever is left of the old ones. The CA stays.
    #[arg(long)]
    renew: bool,
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    let host = host::detect(&stack.settings)?;
    let mut lan = host.lan.clone();
    if args.lan {
        lan.extend(host::every_lan_address()?.into_iter().filter(|address| !host.lan.contains(address)));
    }
    let _lock = files::lock(&stack.root.join("env"), "certs")?;
    interrupt::listen()?;
    let (certificates, changes) = certs::ensure(&stack.root, &stack.settings, &lan, args.renew)?;
    for change in &changes {
        println!("{change}");
    }
    if changes.is_empty() {
        println!("The certificates cover every name and address, and none runs out soon.");
    }
    println!("CA {}", certs::ca_path(&stack.root).display());
    println!("   SHA-256 {}", certs::fingerprint(&certificates.ca)?);
    // A stack that was never rendered has no container that could present an old certificate.
    if stack.compose_folder().join(".env").exists() {
        let volume = || super::up::database_volume(stack);
        let (secrets, _) = secrets::ensure(&secrets::path(&stack.root), &super::today()?, &stack.settings, volume)?;
        super::up::write_files(stack, &host, &secrets, &certificates)?;
        if !changes.is_empty() {
            let recreated = servers::restart_changed(stack, &secrets)?;
            if !recreated.is_empty() {
                println!("recreated: {}", recreated.join(", "));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
