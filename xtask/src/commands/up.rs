use std::process::ExitCode;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;

use crate::admin::{self, Outcome, Stranger};
use crate::drivers::docker::{self, Container};
use crate::drivers::terminal::{say, waiting};
use crate::drivers::{engine, files, interrupt};
use crate::error::hinted;
use crate::host::{self, Host};
use crate::secrets::{self, Secrets};
use crate::stack::{self, LAB, SITE, Stack};
use crate::{certs, images, lab, preflight, render, servers, verify};

/// Bring the command center up, and prove that it works.
///
/// Checks the host, makes what is missing (Docker engine, secrets, certificates, generated files, images), starts the
/// servers, waits until they are healthy, makes the administrator and uses every server once. Running it again changes
/// nothing that is right.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask up --images auto --yes")]
pub struct Args {
    /// Where images come from. A loaded image is never pulled again.
    #[arg(long, value_enum, default_value_t = Source::Registry)]
    images: Source,

    /// Agree to the commands that install and start a Docker engine, without being asked.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    /// The pinned images, pulled when they are not loaded.
    Registry,
    /// Images built here from Debian packages, with a stand-in in place of Mattermost, in a stack of its own.
    Lab,
    /// The registry's if it answers within seconds, else the lab's.
    Auto,
}

pub fn run(args: Args, name: Option<&str>) -> anyhow::Result<ExitCode> {
    // Wrong settings are said before anything is asked or installed.
    stack::open(name.unwrap_or(SITE))?;
    // Docker's answers take a tenth of a second each, so questions that do not need each other are asked side by side.
    let (probed, containers) = std::thread::scope(|scope| {
        let containers = scope.spawn(|| docker::containers(None));
        (engine::probe(), joined(containers))
    });
    let probed = probed?;
    let containers = if probed.is_ok() { containers } else { Ok(Vec::new()) };
    let engine = engine::ensure(probed, args.yes)?;
    let containers = containers?;
    // From here on: a question that is asked above ends with Ctrl-C as every program does.
    interrupt::listen()?;
    let (stack, use_lab) = choose(args.images, name, &containers)?;
    let result = bring_up(&stack, use_lab, &engine, &containers);
    if interrupt::interrupted() {
        return Err(interrupted(&stack));
    }
    result?;
    Ok(ExitCode::SUCCESS)
}

/// The stack and whether it runs the lab's images. The lab's stack is never the site's.
fn choose(source: Source, name: Option<&str>, containers: &[Container]) -> anyhow::Result<(Stack, bool)> {
    let lab = match source {
        Source::Registry => false,
        Source::Lab => true,
        // What is set up stays what it is: an answer of the registry must not move people from one stack to another.
        Source::Auto => match (name, super::set_up(containers)?.as_slice()) {
            (None, [SITE]) => false,
            (None, [LAB]) => true,
            _ => !images::within_reach(&images::pinned()?)?,
        },
    };
    let stack = stack::open(name.unwrap_or(if lab { LAB } else { SITE }))?;
    if lab && stack.name == SITE {
        return Err(hinted(
            anyhow::anyhow!("the site's stack never runs the lab's images"),
            "leave --stack out: the lab has a stack of its own",
        ));
    }
    if !lab && stack.name == LAB {
        return Err(hinted(
            anyhow::anyhow!("the stack `lab` runs the lab's images only"),
            "add --images lab, or leave --stack out for the site's stack",
        ));
    }
    Ok((stack, lab))
}

fn bring_up(stack: &Stack, use_lab: bool, engine: &engine::Engine, containers: &[Container]) -> anyhow::Result<()> {
    if use_lab {
        say(lab::WARNING);
    }
    say(&format!("Docker Engine {}, Compose {}; stack {}", engine.engine, engine.compose, stack.settings.name));
    let host = host::detect(&stack.settings)?;
    if host.is_loopback_only() {
        say("warning: this host has no LAN address; the command center will be reachable from here only");
    }
    let network = &stack.settings.network;
    let pinned = images::pinned()?;
    let (existing, missing) = std::thread::scope(|scope| {
        let existing = scope.spawn(|| docker::network(&network.name));
        let missing = if use_lab { Ok(Vec::new()) } else { docker::missing_images(&pinned.all()) };
        (joined(existing), missing)
    });
    let (existing, missing) = (existing?, missing?);
    if let Some(check) = preflight::before_writing(stack, containers, existing.as_ref()).into_iter().next() {
        return Err(hinted(anyhow::anyhow!(check.finding), check.fix));
    }
    images::pull(&missing)?;
    let lab_images = if use_lab { Some(lab::build()?) } else { None };

    let _lock = files::lock(&stack.root.join("env"), "up")?;
    interrupt::check()?;
    let changes = prepare(stack, &host)?;
    if let Some(images) = &lab_images {
        lab::write_override(stack, images)?;
    }
    for change in &changes.lines {
        say(change);
    }
    if existing.is_none() {
        docker::create_network(&network.name, network.subnet, &stack.settings.name)?;
        say(&format!("made the network {} ({})", network.name, network.subnet));
    }
    let before = servers::own(containers, stack);
    servers::start(stack, &before, &changes.secrets)?;

    interrupt::check()?;
    let mut secrets = changes.secrets;
    let turn_secret = secrets.require(secrets::TURN_SECRET)?.to_owned();
    let today = super::today()?;
    let ca = std::fs::read_to_string(certs::ca_path(&stack.root))?;
    // The proofs need no account, so they run while the first one is made.
    let (administrator, verified, started) = waiting("using every server once", || {
        std::thread::scope(|scope| {
            let verified = scope.spawn(|| verify::verify(stack, &host, &turn_secret, &ca));
            let started = scope.spawn(|| servers::started_since(stack, &before));
            (admin::ensure(stack, &mut secrets, &today), joined(verified), joined(started))
        })
    });
    let administrator = match administrator {
        Ok(outcome) => outcome,
        Err(error) if error.is::<Stranger>() => return Err(stop_for_stranger(stack, error)),
        Err(error) => return Err(error),
    };
    let verified = verified?;
    for proof in &verified.proofs {
        say(&format!("  proven: {proof}"));
    }
    let started = started?;
    if changes.lines.is_empty() && started.is_empty() && administrator == Outcome::Known {
        println!("Nothing to change: {} is up and works.", stack.settings.name);
    } else if !started.is_empty() {
        say(&format!("started: {}", started.join(", ")));
    }
    summary(stack, &host, &ca, verified.licensed)
}

fn joined<T>(thread: ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|_| bail!("a thread panicked"))
}

pub(super) struct Changes {
    pub secrets: Secrets,
    pub lines: Vec<String>,
}

/// Secrets, certificates and files, each made or brought up to date.
pub(super) fn prepare(stack: &Stack, host: &Host) -> anyhow::Result<Changes> {
    let mut lines = Vec::new();
    let (secrets, added) = secrets::ensure(&secrets::path(&stack.root), &super::today()?, || database_volume(stack))?;
    if !added.is_empty() {
        lines.push(format!("made the secrets {}", added.join(", ")));
    }
    let (certificates, issued) = certs::ensure(&stack.root, &stack.settings, &host.lan, false)?;
    lines.extend(issued);
    let written = render::write(&render::render(&stack.settings, host, &secrets, &certificates)?, &stack.root)?;
    if !written.is_empty() {
        lines.push(format!("wrote {}", written.join(", ")));
    }
    Ok(Changes { secrets, lines })
}

/// The database's volume, in words, when it exists or when nobody can say that it does not.
pub(super) fn database_volume(stack: &Stack) -> Option<String> {
    let volume = stack.volume("postgres-data");
    match docker::volume_exists(&volume) {
        Ok(true) => Some(format!("the volume {volume}")),
        Ok(false) => None,
        // Without an engine, a stack that has never been rendered has no volume that depends on anything.
        Err(_) if !stack.compose_folder().join(".env").exists() => None,
        Err(_) => Some(format!("the volume {volume}, if it exists (Docker does not answer),")),
    }
}

/// Whoever was faster may be administrator of everything: nothing goes on.
fn stop_for_stranger(stack: &Stack, error: anyhow::Error) -> anyhow::Error {
    let stopped = docker::compose(&stack.compose_folder(), &["stop"], b"", Duration::from_secs(120));
    let state = match stopped {
        Ok(answer) if answer.success => "the stack was stopped",
        _ => "and the stack could NOT be stopped: do it by hand, `docker compose stop`",
    };
    let option = stack.option();
    hinted(
        anyhow::anyhow!("{error}; {state}"),
        format!(
            "find out who it was; then `cargo xtask down --volumes{option}` and `cargo xtask up`, off the network if need be"
        ),
    )
}

fn interrupted(stack: &Stack) -> anyhow::Error {
    // What Docker has begun to start still comes up for a moment.
    std::thread::sleep(Duration::from_secs(1));
    let containers = docker::containers(Some(&stack.settings.name)).unwrap_or_default();
    let running: Vec<&str> = containers
        .iter()
        .filter(|container| container.state == "running")
        .map(|container| container.service.as_str())
        .collect();
    let running =
        if running.is_empty() { "nothing is running".to_owned() } else { format!("running: {}", running.join(", ")) };
    let option = stack.option();
    hinted(
        anyhow::anyhow!("interrupted; {running}, and no file is half-written"),
        format!("`cargo xtask up` goes on where this stopped, `cargo xtask down{option}` stops everything"),
    )
}

/// Where to go next.
fn summary(stack: &Stack, host: &Host, ca_pem: &str, licensed: bool) -> anyhow::Result<()> {
    let settings = &stack.settings;
    let port = settings.ports.mattermost;
    let option = stack.option();
    let addresses: Vec<String> = host.lan.iter().map(|lan| format!("https://{}:{port}", lan.address)).collect();
    let ca = certs::ca_path(&stack.root);
    if stack.is_lab() {
        println!("\n{}", lab::WARNING);
    }
    println!("\n{} is up.", settings.site_name);
    println!("  By address     {}", addresses.join("  "));
    println!("  By name        {}", settings.site_url());
    println!("                 needs this line in /etc/hosts: {} {}", host.lan_ip(), settings.mattermost_host());
    println!(
        "  Administrator  {}; password: cargo xtask secrets show {}{option}",
        settings.administrator.name,
        secrets::ADMIN_PASSWORD
    );
    println!("  CA             {}", ca.display());
    println!("                 SHA-256 {}", certs::fingerprint(ca_pem)?);
    println!(
        "  Calls          media {port}/udp and tcp, TURN {turn}/udp and tcp",
        port = settings.ports.calls,
        turn = settings.ports.turn
    );
    println!("\nNext: trust the CA on each client, log in, and change nothing by hand that stack.toml says.");
    println!("      cargo xtask status{option}   what runs");
    println!("      cargo xtask down{option}     stop it; the data stays");
    if !stack.settings.teams.is_empty() {
        println!("note: the teams in stack.toml are checked, and not made yet: `cargo xtask wire` is a later release");
    }
    if !licensed {
        println!("note: without a license, Mattermost allows calls in direct messages only");
    }
    Ok(())
}
