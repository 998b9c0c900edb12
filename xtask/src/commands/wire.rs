use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::drivers::terminal::{ask, can_ask, say, waiting};
use crate::drivers::{docker, files, interrupt};
use crate::error::hinted;
use crate::secrets::{self, Secrets};
use crate::stack::Stack;
use crate::wiring::apply::{self, Target};
use crate::wiring::plan::{Plan, Step};
use crate::wiring::read::{self, Rest};
use crate::wiring::{actual::Actual, planner};
use crate::{host, render, servers};

/// Bring teams, channels, bots, webhooks, slash commands, plugins and configuration in line with stack.toml.
///
/// It owns what it made, which carries the mark "managed by command-center", and never changes what people made. `up` does
/// the same. Identifiers and tokens go to env/secrets.env.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask wire --plan\n  cargo xtask wire --prune")]
pub struct Args {
    /// Print what would change, and change nothing. Exit status 0 when nothing would, 3 when something would, 1
    /// when something has to be decided first.
    #[arg(long)]
    plan: bool,

    /// Print the plan as JSON: `changes`, `orphans`, `problems` and `notes`.
    #[arg(long, requires = "plan")]
    json: bool,

    /// Also archive or delete what is ours and no longer in stack.toml, after asking.
    #[arg(long, conflicts_with = "plan")]
    prune: bool,

    /// Agree to --prune without being asked.
    #[arg(long, requires = "prune")]
    yes: bool,
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    interrupt::listen()?;
    let _lock = files::lock(&stack.root.join("env"), "wire")?;
    let mut secrets = Secrets::load(&secrets::path(&stack.root))?;
    let rest = connect(stack, &mut secrets)?;
    let plan = difference(stack, &secrets, &rest)?;
    if args.plan {
        if args.json {
            println!("{}", serde_json::to_string_pretty(&plan.json())?);
        } else {
            print!("{}", plan.text());
        }
        return Ok(ExitCode::from(if plan.is_empty() { u8::from(!plan.problems.is_empty()) } else { 3 }));
    }
    print!("{}", plan.text());
    carry_out(stack, &mut secrets, &rest, &plan)?;
    if args.prune {
        prune(stack, &mut secrets, &rest, &plan.orphans, args.yes)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The running Mattermost, with a token of the administrator.
pub(super) fn connect(stack: &Stack, secrets: &mut Secrets) -> anyhow::Result<Rest> {
    let container = stack.container("mattermost");
    let running = docker::containers(Some(&stack.settings.name))?
        .iter()
        .any(|candidate| candidate.name == container && candidate.state == "running");
    if !running {
        return Err(hinted(anyhow::anyhow!("Mattermost is not running"), stack.hint("cargo xtask up")));
    }
    read::connect(stack, secrets, &super::today()?)
}

/// What would change.
pub(super) fn difference(stack: &Stack, secrets: &Secrets, rest: &Rest) -> anyhow::Result<Plan> {
    let actual: Actual = read::read(stack, secrets, rest)?;
    Ok(planner::plan(&stack.settings, secrets, &actual))
}

/// Does what the plan says and proves that nothing is left to do.
///
/// # Errors
/// Before anything is changed when the plan has problems, or a bundle is not what stack.toml says.
pub(super) fn carry_out(stack: &Stack, secrets: &mut Secrets, rest: &Rest, plan: &Plan) -> anyhow::Result<()> {
    if let Some(problem) = plan.problems.first() {
        let more = match plan.problems.len() {
            1 => String::new(),
            count => format!(" (and {} more: `cargo xtask wire --plan`)", count - 1),
        };
        return Err(hinted(anyhow::anyhow!("{}{}", problem.what, stack.hint(&more)), problem.fix.clone()));
    }
    if plan.is_empty() {
        return Ok(());
    }
    apply::check_bundles(&plan.steps)?;
    let hooks = render::relay_hooks(&stack.settings, secrets).map(|id| id.map(str::to_owned));
    let needs_uploads = apply::installed(&plan.steps).next().is_some() && !stack.settings.mattermost.plugin_uploads;
    if needs_uploads {
        with_uploads(stack, secrets, |secrets| execute(stack, secrets, rest, &plan.steps))?;
    } else {
        execute(stack, secrets, rest, &plan.steps)?;
    }
    if render::relay_hooks(&stack.settings, secrets) != hooks.each_ref().map(Option::as_deref) {
        // The relay reads the ids of the hooks that it posts to, and there is none without them.
        super::up::prepare(stack, &host::detect(&stack.settings)?)?;
        servers::restart_changed(stack, secrets)?;
    }
    let left = waiting("comparing again", || difference(stack, secrets, rest))?;
    if !left.is_empty() {
        bail!("Mattermost took every call, and still differs:\n{}", left.text());
    }
    Ok(())
}

fn execute(stack: &Stack, secrets: &mut Secrets, rest: &Rest, steps: &[Step]) -> anyhow::Result<()> {
    let today = super::today()?;
    let target = Target { stack, rest, today: &today };
    let total = steps.len();
    let mut count = 0;
    let result = apply::apply(&target, secrets, steps, |step| {
        count += 1;
        say(&format!("  [{count}/{total}] {} {}", step.change.kind, step.change.name));
    });
    result.map_err(|error| {
        let hint = stack.hint("mend that and run `cargo xtask wire` again: it goes on where this stopped");
        if crate::error::has_hint(&error) { error } else { hinted(error, hint) }
    })
}

/// Plugins can be uploaded only while the server runs with that switched on, which no call does: it is restarted with it,
/// and restarted without it again, also when the upload failed.
fn with_uploads(
    stack: &Stack,
    secrets: &mut Secrets,
    upload: impl FnOnce(&mut Secrets) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let host = host::detect(&stack.settings)?;
    let mut open = stack.clone();
    open.settings.mattermost.plugin_uploads = true;
    say("restarting Mattermost with plugin uploads on, for as long as a bundle is being installed");
    let restart = |stack: &Stack, secrets: &Secrets| -> anyhow::Result<()> {
        super::up::prepare(stack, &host)?;
        servers::restart_changed(stack, secrets).map(|_| ())
    };
    let result = restart(&open, secrets).and_then(|()| upload(secrets));
    restart(stack, secrets).context("plugin uploads may still be on")?;
    result
}

fn prune(stack: &Stack, secrets: &mut Secrets, rest: &Rest, orphans: &[Step], yes: bool) -> anyhow::Result<()> {
    if orphans.is_empty() {
        say("Nothing to archive.");
        return Ok(());
    }
    println!("\nTo archive, or to delete where it is a webhook:");
    for orphan in orphans {
        print!("{}", orphan.change.text());
    }
    if !yes {
        if !can_ask() {
            return Err(hinted(anyhow::anyhow!("nobody can be asked whether these may go"), "add --yes if they may"));
        }
        if !ask("Archive these?")? {
            say("Nothing was archived.");
            return Ok(());
        }
    }
    execute(stack, secrets, rest, orphans)
}
