use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};

use crate::certs::import::{self, AuthorityFiles, Imported, LeafFiles, Target};
use crate::drivers::terminal::{self, say};
use crate::drivers::{files, interrupt};
use crate::error::{Hint as _, hinted};
use crate::host::LanAddress;
use crate::secrets;
use crate::stack::Stack;
use crate::{certs, host, servers};

/// Make the CA and the servers' certificates, or renew what no longer fits.
///
/// A certificate is issued again when it does not cover a name or address, when less than 30 days are left, or when
/// asked. Servers that read a new one are recreated; the others keep running. With certificates.issuer = "external" in
/// stack.toml nothing is issued: what was imported is checked.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  cargo xtask certs\n  cargo xtask certs --lan      (after the host got another address)\n  cargo xtask certs --renew"
)]
pub struct Args {
    /// Cover every address that this host has on a LAN now, also those that stack.toml does not list.
    #[arg(long)]
    lan: bool,

    /// Issue the servers' certificates again, whatever is left of the old ones. The CA stays.
    #[arg(long)]
    renew: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring in what the site's PKI made.
    #[command(
        subcommand,
        disable_help_subcommand = true,
        after_help = "Examples:\n  cargo xtask certs import ca --certificate CA.pem --key CA.key\n  cargo xtask certs import leaf mattermost --certificate CHAIN.pem"
    )]
    Import(Import),
    Request(Request),
}

#[derive(Debug, Subcommand)]
enum Import {
    Ca(Ca),
    Leaf(Leaf),
}

/// A CA of the site's with its key: a root, or an intermediate. It issues the servers' certificates from then on.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask certs import ca --certificate CA.pem --key CA.key\n  cargo xtask certs import ca --certificate SUB.pem --key SUB.key --chain ROOT.pem --passphrase-file PASS"
)]
struct Ca {
    /// Certificate of the CA: PEM or DER.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,

    /// Its key: PKCS#8, SEC 1 or PKCS#1. The passphrase of an encrypted one is asked for.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Certificates of the CAs above an intermediate, up to the root, which is what clients trust.
    #[arg(long, value_name = "FILE")]
    chain: Vec<PathBuf>,

    #[command(flatten)]
    how: How,
}

/// A server's certificate that the site's CA issued; for certificates.issuer = "external".
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cargo xtask certs import leaf mattermost --certificate CHAIN.pem --key KEY.pem --ca ROOT.pem"
)]
struct Leaf {
    /// Whose certificate it is.
    server: Server,

    /// The certificate and the CAs between it and the root, in one file: PEM, or DER of the certificate alone.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,

    /// Its key. Without it: the key of `certs request`, or the one in use.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// The root, which clients trust. Without it: the one that is there.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct How {
    /// File whose first line is the key's passphrase; without it, you are asked.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,

    /// Replace the CA that clients trust. They all have to trust the new one then; the old files are kept in certs/old.
    #[arg(long)]
    replace: bool,
}

/// Write a request for the site's CA, with the names that a server needs. Its key stays on this host.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask certs request mattermost")]
struct Request {
    /// Whose certificate it shall be.
    server: Server,

    /// Cover every address that this host has on a LAN now, also those that stack.toml does not list.
    #[arg(long)]
    lan: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Server {
    Mattermost,
    Postgres,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Server::Mattermost => "mattermost",
            Server::Postgres => "postgres",
        }
    }
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    let result = match args.command {
        None => ensure(stack, args.lan, args.renew),
        Some(Command::Import(Import::Ca(args))) => import_authority(stack, args),
        Some(Command::Import(Import::Leaf(args))) => import_leaf(stack, args),
        Some(Command::Request(args)) => request(stack, &args),
    };
    result.map_err(|error| stack.hinted(error))?;
    Ok(ExitCode::SUCCESS)
}

fn ensure(stack: &Stack, every: bool, renew: bool) -> anyhow::Result<()> {
    let host = host::detect(&stack.settings)?;
    let lan = addresses(&host, every)?;
    let _lock = files::lock(&stack.root.join("env"), "certs")?;
    interrupt::listen()?;
    let (certificates, changes) = certs::ensure(&stack.root, &stack.settings, &lan, renew)?;
    for change in &changes {
        println!("{change}");
    }
    if changes.is_empty() {
        println!("The certificates cover every name and address, and none runs out soon.");
    }
    print_ca(stack, &certificates.ca)?;
    // A stack that was never rendered has no container that could present an old certificate.
    if stack.compose_folder().join(".env").exists() {
        let volume = || super::up::database_volume(stack);
        let (secrets, _) = secrets::ensure(&secrets::path(&stack.root), &super::today()?, &stack.settings, volume)?;
        let written = super::up::write_files(stack, &host, &secrets, &certificates)?;
        // compose/.env has hashes of what each server reads: an imported certificate shows there.
        if !changes.is_empty() || written.contains(&"compose/.env") {
            let recreated = servers::restart_changed(stack, &secrets)?;
            if !recreated.is_empty() {
                println!("recreated: {}", recreated.join(", "));
            }
        }
    }
    Ok(())
}

fn import_authority(stack: &Stack, args: Ca) -> anyhow::Result<()> {
    let host = host::detect(&stack.settings)?;
    let _lock = files::lock(&stack.root.join("env"), "certs import ca")?;
    let target = target(stack, &host.lan, &args.how);
    let files = AuthorityFiles { certificate: args.certificate, key: args.key, chain: args.chain };
    report(stack, &import::authority(&target, &files, |key| passphrase(key, &args.how))?)
}

fn import_leaf(stack: &Stack, args: Leaf) -> anyhow::Result<()> {
    let host = host::detect(&stack.settings)?;
    let _lock = files::lock(&stack.root.join("env"), "certs import leaf")?;
    let target = target(stack, &host.lan, &args.how);
    let files = LeafFiles { certificate: args.certificate, key: args.key, ca: args.ca };
    report(stack, &import::leaf(&target, args.server.name(), &files, |key| passphrase(key, &args.how))?)
}

/// The request itself goes to stdout, where it can be taken from.
fn request(stack: &Stack, args: &Request) -> anyhow::Result<()> {
    let lan = addresses(&host::detect(&stack.settings)?, args.lan)?;
    let _lock = files::lock(&stack.root.join("env"), "certs request")?;
    let target = Target { root: &stack.root, settings: &stack.settings, lan: &lan, replace: false };
    let server = args.server.name();
    let request = certs::request(&stack.root, import::wanted(&target, server)?)?;
    say(&format!("wrote {}, for {}", request.path.display(), request.names()));
    say(&stack.hint(&format!(
        "Have your CA sign it, for a TLS server; then: cargo xtask certs import leaf {server} --certificate CHAIN.pem"
    )));
    print!("{}", request.pem);
    Ok(())
}

fn target<'a>(stack: &'a Stack, lan: &'a [LanAddress], how: &How) -> Target<'a> {
    Target { root: &stack.root, settings: &stack.settings, lan, replace: how.replace }
}

fn report(stack: &Stack, imported: &Imported) -> anyhow::Result<()> {
    for warning in &imported.warnings {
        say(&format!("warning: {warning}"));
    }
    for change in &imported.changes {
        println!("{change}");
    }
    print_ca(stack, &std::fs::read_to_string(certs::ca_path(&stack.root))?)?;
    if imported.is_other_ca {
        println!("It is another one than before: every phone has to enrol again, and the tools have to trust it");
        println!("({}).", stack.hint("cargo xtask connect"));
    }
    println!("Next: {}", stack.hint("cargo xtask certs (or up) hands it to the servers"));
    Ok(())
}

fn print_ca(stack: &Stack, pem: &str) -> anyhow::Result<()> {
    println!("CA {}", certs::ca_path(&stack.root).display());
    println!("   SHA-256 {}", certs::fingerprint(pem)?);
    Ok(())
}

fn addresses(host: &host::Host, every: bool) -> anyhow::Result<Vec<LanAddress>> {
    let mut lan = host.lan.clone();
    if every {
        lan.extend(host::every_lan_address()?.into_iter().filter(|address| !host.lan.contains(address)));
    }
    Ok(lan)
}

/// From the file, or from the terminal: an argument or a variable could be read by everybody on this host.
fn passphrase(key: &str, how: &How) -> anyhow::Result<String> {
    let Some(path) = &how.passphrase_file else {
        if !terminal::can_ask() {
            return Err(hinted(
                anyhow::anyhow!("{key} is encrypted, and there is no terminal to ask for its passphrase"),
                "name a file with the passphrase: --passphrase-file FILE",
            ));
        }
        return terminal::ask_hidden(&format!("Passphrase of {key}: "));
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let text = text.hint("name a text file whose first line is the passphrase")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
