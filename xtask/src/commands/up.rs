use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use crate::admin::{self, Outcome, Replaced, Stranger};
use crate::certs::Certificates;
use crate::drivers::docker::{self, Container};
use crate::drivers::terminal::{say, waiting};
use crate::drivers::{engine, files, interrupt};
use crate::error::{hinted, joined};
use crate::host::{self, Host};
use crate::secrets::{self, Secrets, Volume};
use crate::stack::{self, LAB, SITE, Stack};
use crate::{certs, doctor, external_postgres, images, lab, lan, relay_image, render, servers, verify, wiring};

/// Bring the command center up, and prove that it works.
///
/// Checks the host, makes what is missing (Docker engine, secrets, certificates, generated files, images), starts the
/// servers, waits until they are healthy, makes the administrator and uses every server once. Running it again changes
/// nothing that is right.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask up --images auto --yes")]
pub struct Args {
    /// Where images come from; a loaded one is never pulled again. Without it: `registry`, or what the stack runs already.
    #[arg(long, value_enum)]
    images: Option<Source>,

    /// Agree to the commands that install and start a Docker engine, without being asked.
    #[arg(long)]
    yes: bool,
}

impl Args {
    /// For a stack that is set up: what it runs stays what it is, and nobody is asked for more.
    pub fn again() -> Args {
        Args { images: None, yes: false }
    }
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
    let (versions, containers) = engine_and_containers(args.yes)?;
    // From here on: a question that is asked above ends with Ctrl-C as every program does.
    interrupt::listen()?;
    let (stack, use_lab) = choose(args.images, name, &containers)?;
    let result = bring_up(&stack, use_lab, &versions, &containers);
    if interrupt::interrupted() {
        return Err(interrupted(&stack));
    }
    result?;
    Ok(ExitCode::SUCCESS)
}

/// A working engine, in words, and the containers on it.
fn engine_and_containers(yes: bool) -> anyhow::Result<(String, Vec<Container>)> {
    // Docker's answers take a tenth of a second each, so questions that do not need each other are asked side by side.
    let (engine, containers) = std::thread::scope(|scope| {
        let containers = scope.spawn(|| docker::containers(None));
        (engine::probe_engine(), joined(containers))
    });
    if let (Ok(Ok(engine)), Ok(containers)) = (&engine, &containers)
        && containers.iter().any(|container| container.ours && container.state == "running")
    {
        return Ok((format!("Docker Engine {engine}"), containers.clone()));
    }
    let engine = engine::ensure(engine::probe()?, yes)?;
    Ok((format!("Docker Engine {}, Compose {}", engine.engine, engine.compose), docker::containers(None)?))
}

/// The stack and whether it runs the lab's images. The lab's stack is never the site's, and what is set up stays what it
/// is: an answer of a registry must not move people from one to the other.
fn choose(source: Option<Source>, name: Option<&str>, containers: &[Container]) -> anyhow::Result<(Stack, bool)> {
    let Some(name) = name else {
        let lab = match source {
            None | Some(Source::Registry) => false,
            Some(Source::Lab) => true,
            Some(Source::Auto) => match super::set_up(containers)?.as_slice() {
                [SITE] => false,
                [LAB] => true,
                _ => !images::within_reach(&images::pinned()?)?,
            },
        };
        return Ok((stack::open(if lab { LAB } else { SITE })?, lab));
    };
    let stack = stack::open(name)?;
    let fixed = match name {
        SITE => Some(false),
        LAB => Some(true),
        _ if servers::own(containers, &stack).is_empty() => None,
        _ => Some(stack.is_lab()),
    };
    let lab = match (source, fixed) {
        (None | Some(Source::Auto), Some(lab)) => lab,
        (None | Some(Source::Registry), None) => false,
        (Some(Source::Lab), None) => true,
        (Some(Source::Auto), None) => !images::within_reach(&images::pinned()?)?,
        (Some(Source::Registry), Some(false)) => false,
        (Some(Source::Lab), Some(true)) => true,
        (Some(Source::Lab), Some(false)) => {
            let error = anyhow::anyhow!("the stack {name} never runs the lab's images");
            return Err(hinted(error, "leave --stack out: the lab has a stack of its own"));
        }
        (Some(Source::Registry), Some(true)) => {
            let error = anyhow::anyhow!("the stack {name} runs the lab's images");
            return Err(hinted(error, "leave --stack out for the site's stack"));
        }
    };
    Ok((stack, lab))
}

fn bring_up(stack: &Stack, use_lab: bool, versions: &str, containers: &[Container]) -> anyhow::Result<()> {
    if use_lab {
        say(lab::WARNING);
    }
    say(&format!("{versions}; stack {}", stack.settings.name));
    let host = host::detect(&stack.settings)?;
    if let Some(change) = lan::rendered(&stack.root).and_then(|rendered| lan::changes(&rendered, &host)) {
        say(&change);
    }
    if let Some(reason) = host.loopback_only() {
        say(&format!("warning: {reason}"));
    }
    let network = &stack.settings.network;
    let pinned = images::pinned()?;
    let relay = relay_image::recipe(&stack.settings)?;
    let (existing, relay, missing) = std::thread::scope(|scope| {
        let existing = scope.spawn(|| docker::network(&network.name));
        let relay = scope.spawn(|| relay_image::missing(relay));
        let missing = if use_lab { Ok(Vec::new()) } else { docker::missing_images(&pinned.all()) };
        (joined(existing), joined(relay), missing)
    });
    let (existing, relay, missing) = (existing?, relay?, missing?);
    let folder = stack.compose_folder();
    if let Some(other) = servers::own(containers, stack).into_iter().find(|container| container.folder != folder) {
        return Err(hinted(
            anyhow::anyhow!("{} is set up from another folder: {}", stack.settings.name, other.folder.display()),
            "use that checkout, or give this one another name, ports and network in stack.toml",
        ));
    }
    if let Some(check) = doctor::before_writing(stack, containers, existing.as_ref()).into_iter().next() {
        return Err(hinted(anyhow::anyhow!(check.finding), check.fix));
    }
    images::pull(&missing)?;
    let lab_images = if use_lab { Some(lab::build()?) } else { None };
    relay.as_ref().map_or(Ok(()), relay_image::build)?;

    let _lock = files::lock(&stack.root.join("env"), "up")?;
    interrupt::check()?;
    let changes = prepare(stack, &host)?;
    match &lab_images {
        Some(images) => lab::write_override(stack, images)?,
        None => lab::remove_override(stack)?,
    }
    for change in &changes.lines {
        say(change);
    }
    if existing.is_none() {
        docker::create_network(&network.name, network.subnet, &stack.settings.name)?;
        say(&format!("made the network {} ({})", network.name, network.subnet));
    }
    let before = servers::own(containers, stack);
    let is_up = |container: &Container| container.service == "mattermost" && container.state == "running";
    if stack.settings.external_postgres().is_some() && !before.iter().any(is_up) {
        waiting("asking PostgreSQL", || external_postgres::prove(stack))?;
    }
    // On a fresh database the first account must be ours, so it does not wait for coturn.
    let is_fresh = changes.secrets.get(secrets::ADMIN_ID).is_none();
    let first: &[&str] = if is_fresh { &["mattermost"] } else { &[] };
    if let Err(error) = servers::start_services(stack, &before, &changes.secrets, first) {
        if !interrupt::interrupted() && close_registration(stack) {
            say(REGISTRATION_CLOSED);
        }
        return Err(error);
    }

    interrupt::check()?;
    let mut secrets = changes.secrets;
    let administrator = administrator(stack, &mut secrets)?;
    if is_fresh {
        servers::start(stack, &[], &secrets)?;
    }
    interrupt::check()?;
    let ca = std::fs::read_to_string(certs::ca_path(&stack.root))?;
    let rest = wiring::read::connect(stack, &mut secrets, &super::today()?)?;
    let turn_secret = secrets.require(secrets::TURN_SECRET)?;
    let (verified, started, plan) = waiting("using every server once", || {
        std::thread::scope(|scope| {
            let verified = scope.spawn(|| verify::verify(stack, &host, turn_secret, &ca));
            let started = scope.spawn(|| servers::started_since(stack, &before));
            let plan = super::wire::difference(stack, &secrets, &rest);
            (joined(verified), joined(started), plan)
        })
    });
    let verified = verified?;
    for proof in &verified.proofs {
        say(&format!("  proven: {proof}"));
    }
    let (mut started, plan) = (started?, plan?);
    if !plan.is_empty() || !plan.problems.is_empty() {
        say("Wiring Mattermost as stack.toml says:");
        for line in plan.text().lines() {
            say(&format!("  {line}"));
        }
        super::wire::carry_out(stack, &mut secrets, &rest, &plan)?;
        started = servers::started_since(stack, &before)?;
    }
    if changes.lines.is_empty() && started.is_empty() && administrator == Outcome::Known && plan.is_empty() {
        println!("Nothing to change: {} is up and works.", stack.settings.name);
    } else if !started.is_empty() {
        say(&format!("started: {}", started.join(", ")));
    }
    summary(stack, &host, &ca, verified.licensed)
}

/// Makes or recognises the administrator. Without one of ours, whoever registers first is one: nothing is left running then.
fn administrator(stack: &Stack, secrets: &mut Secrets) -> anyhow::Result<Outcome> {
    match admin::ensure(stack, secrets, &super::today()?) {
        Err(error) if error.is::<Stranger>() => {
            let fix = "find out who it was; then `cargo xtask down --volumes` and `cargo xtask up`, off the network if need be";
            Err(stop(stack, error, fix))
        }
        Err(error) if error.is::<Replaced>() => {
            let fix = match stack.settings.external_postgres() {
                None => {
                    "the database is another one than before: restore the right one; or, if it may be made anew, run `cargo xtask down --volumes`"
                }
                Some(_) => {
                    "the database is another one than before: restore the right one; or, if this one is meant, remove the line MATTERMOST_ADMIN_ID from env/secrets.env and run `cargo xtask up`"
                }
            };
            Err(stop(stack, error, fix))
        }
        Err(error) if secrets.get(secrets::ADMIN_ID).is_none() => {
            Err(stop(stack, error, "`cargo xtask up` tries again"))
        }
        result => result,
    }
}

pub(super) struct Changes {
    pub secrets: Secrets,
    pub lines: Vec<String>,
}

/// Secrets, certificates and files, each made or brought up to date.
pub(super) fn prepare(stack: &Stack, host: &Host) -> anyhow::Result<Changes> {
    let mut lines = Vec::new();
    let (path, settings) = (secrets::path(&stack.root), &stack.settings);
    if settings.external_postgres().is_some() {
        external_postgres::password(settings, &Secrets::load(&path)?)?;
    }
    let (secrets, added) = secrets::ensure(&path, &super::today()?, settings, || database_volume(stack))?;
    if !added.is_empty() {
        lines.push(format!("made the secrets {}", added.join(", ")));
    }
    let (certificates, issued) =
        certs::ensure(&stack.root, &stack.settings, &host.lan, false).map_err(|it| stack.hinted(it))?;
    lines.extend(issued);
    let written = write_files(stack, host, &secrets, &certificates)?;
    if !written.is_empty() {
        lines.push(format!("wrote {}", written.join(", ")));
    }
    Ok(Changes { secrets, lines })
}

/// Every generated file, from what is known now. Returns the paths of those that differed.
pub(super) fn write_files(
    stack: &Stack,
    host: &Host,
    secrets: &Secrets,
    certificates: &Certificates,
) -> anyhow::Result<Vec<&'static str>> {
    let relay_tag = relay_image::tag(&stack.settings)?;
    render::write(&render::render(&stack.settings, host, secrets, certificates, &relay_tag)?, &stack.root)
}

/// The database's volume, in words, when it exists or when nobody can say that it does not. The database of somebody else is
/// in use when this stack's configuration is there.
pub(super) fn database_volume(stack: &Stack) -> Option<Volume> {
    let is_own = stack.settings.external_postgres().is_none();
    let volume = stack.volume(if is_own { "postgres-data" } else { "mattermost-config" });
    let what = match docker::volume_exists(&volume) {
        Ok(true) if !is_own => Some(format!("the database at {}", stack.settings.postgres.external)),
        Ok(true) => Some(format!("the volume {volume}")),
        Ok(false) => None,
        // Without an engine, a stack that has never been rendered has no volume that depends on anything.
        Err(_) if !stack.compose_folder().join(".env").exists() => None,
        Err(_) => Some(format!("the volume {volume}, if it exists (Docker does not answer),")),
    };
    what.map(|what| Volume { what, removal: stack.hint("cargo xtask down --volumes") })
}

const REGISTRATION_CLOSED: &str =
    "mattermost was stopped: it has no administrator yet, and whoever registers first would be one";

/// Stops Mattermost when it is up without an administrator of ours. Says whether it did.
fn close_registration(stack: &Stack) -> bool {
    let secrets = Secrets::load(&secrets::path(&stack.root));
    if secrets.is_ok_and(|secrets| secrets.get(secrets::ADMIN_ID).is_some()) {
        return false;
    }
    let containers = docker::containers(Some(&stack.settings.name)).unwrap_or_default();
    let is_up = |container: &&Container| {
        container.service == "mattermost" && matches!(container.state.as_str(), "running" | "restarting")
    };
    containers.iter().find(is_up).is_some_and(|container| docker::docker(&["stop", &container.name]).is_ok())
}

/// Stops every server because it is not safe to leave them running.
fn stop(stack: &Stack, error: anyhow::Error, fix: &str) -> anyhow::Error {
    let stopped = docker::compose(&stack.compose_folder(), &["stop"], b"", Duration::from_secs(120));
    let state = match stopped {
        Ok(answer) if answer.success => "the stack was stopped",
        _ => "and the stack could NOT be stopped: do it by hand, `docker compose stop`",
    };
    hinted(anyhow::anyhow!("{error}; {state}"), stack.hint(fix))
}

fn interrupted(stack: &Stack) -> anyhow::Error {
    // What Docker has begun to start still comes up for a moment.
    std::thread::sleep(Duration::from_secs(1));
    let closed = if close_registration(stack) { format!("; {REGISTRATION_CLOSED}") } else { String::new() };
    let containers = docker::containers(Some(&stack.settings.name)).unwrap_or_default();
    let running: Vec<&str> = containers
        .iter()
        .filter(|container| container.state == "running")
        .map(|container| container.service.as_str())
        .collect();
    let running =
        if running.is_empty() { "nothing is running".to_owned() } else { format!("running: {}", running.join(", ")) };
    hinted(
        anyhow::anyhow!("interrupted; {running}, and no file is half-written{closed}"),
        stack.hint("`cargo xtask up` goes on where this stopped, `cargo xtask down` stops everything"),
    )
}

/// Where to go next.
fn summary(stack: &Stack, host: &Host, ca_pem: &str, licensed: bool) -> anyhow::Result<()> {
    let settings = &stack.settings;
    let port = settings.ports.mattermost;
    let addresses: Vec<String> = host.lan.iter().map(|lan| format!("https://{}:{port}", lan.address)).collect();
    let ca = certs::ca_path(&stack.root);
    if stack.is_lab() {
        println!("\n{}", lab::WARNING);
    }
    println!("\n{} is up.", settings.site_name);
    println!("  By address     {}", addresses.join("  "));
    println!("  By name        {}", settings.site_url());
    println!("                 needs this line in /etc/hosts: {} {}", host.lan_ip(), settings.mattermost_host());
    let password = stack.hint("cargo xtask secrets show ADMIN_PASSWORD");
    println!("  Administrator  {}; password: {password}", settings.administrator.name);
    println!("  CA             {}", ca.display());
    println!("                 SHA-256 {}", certs::fingerprint(ca_pem)?);
    println!(
        "  Calls          media {port}/udp and tcp, TURN {turn}/udp and tcp",
        port = settings.ports.calls,
        turn = settings.ports.turn
    );
    println!("\nNext: trust the CA on each client, log in, and change nothing by hand that stack.toml says.");
    println!("      {}    a QR code and a page that gives phones the CA", stack.hint("cargo xtask phone"));
    println!("      {}   what runs", stack.hint("cargo xtask status"));
    println!("      {}  Jenkins, GitLab and SonarQube", stack.hint("cargo xtask connect"));
    println!("      {}     stop it; the data stays", stack.hint("cargo xtask down"));
    if !licensed {
        println!("note: without a license, Mattermost allows calls in direct messages only");
    }
    Ok(())
}
