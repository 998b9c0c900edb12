use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::connect::{self, Plan, Site, gitlab, jenkins, sonarqube};
use crate::drivers::files;
use crate::error;
use crate::stack::Stack;

/// Tell Jenkins, GitLab or SonarQube where Mattermost is, and what to send.
///
/// Can be run again at any time: what is right stays, what is missing is done.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask connect sonarqube --plan\n  cargo xtask connect gitlab\n  cargo xtask connect jenkins --apply /var/lib/jenkins"
)]
pub struct Args {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    Jenkins(Jenkins),
    Gitlab(Gitlab),
    Sonarqube(Sonarqube),
}

/// Write the files that Jenkins needs, and with --apply put them into a JENKINS_HOME and reload.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask connect jenkins\n  cargo xtask connect jenkins --apply /var/lib/docker/volumes/jenkins/_data"
)]
struct Jenkins {
    #[command(flatten)]
    mode: Mode,

    /// Put the files into this JENKINS_HOME, as this host sees it, and have Jenkins read them. No other file is touched.
    #[arg(long, value_name = "JENKINS_HOME")]
    apply: Option<PathBuf>,

    /// The folder of JCasC files that CASC_JENKINS_CONFIG of Jenkins names. Without it: casc_configs in JENKINS_HOME.
    #[arg(long, value_name = "FOLDER", requires = "apply")]
    casc: Option<PathBuf>,

    /// The folder that SECRETS of Jenkins names. Without it: casc_secrets in JENKINS_HOME.
    #[arg(long, value_name = "FOLDER", requires = "apply")]
    secrets: Option<PathBuf>,

    /// Jenkins has CASC_CREDENTIALS_MERGE_STRATEGY=merge, or JCasC makes all of its credentials.
    #[arg(long, requires = "apply")]
    keeps_credentials: bool,
}

/// Set up GitLab's integrations, the OAuth application, and Mattermost's GitLab plugin.
///
/// Needs GITLAB_API_TOKEN in env/secrets.env. What needs an administrator's token says so, and the rest goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask connect gitlab --plan\n  cargo xtask connect gitlab")]
struct Gitlab {
    #[command(flatten)]
    mode: Mode,
}

/// Make or update SonarQube's webhook to the relay.
///
/// Needs SONAR_ADMIN_TOKEN in env/secrets.env.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask connect sonarqube --plan\n  cargo xtask connect sonarqube")]
struct Sonarqube {
    #[command(flatten)]
    mode: Mode,
}

#[derive(Debug, clap::Args)]
struct Mode {
    /// Change nothing; print what would be done. Exit status 0 when that is nothing, 3 otherwise.
    #[arg(long)]
    plan: bool,

    /// Print the plan as JSON.
    #[arg(long, requires = "plan")]
    json: bool,
}

/// Nothing was changed, and something would be.
const PLANNED: u8 = 3;

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    let (name, mode) = match &args.tool {
        Tool::Jenkins(args) => ("jenkins", &args.mode),
        Tool::Gitlab(args) => ("gitlab", &args.mode),
        Tool::Sonarqube(args) => ("sonarqube", &args.mode),
    };
    let _lock = match mode.plan {
        true => None,
        false => Some(files::lock(&stack.root.join("env"), &format!("connect {name}"))?),
    };
    let mut site = Site::load(stack, super::today()?)?;
    match &args.tool {
        Tool::Jenkins(args) => {
            let home = args
                .apply
                .clone()
                .map(|path| jenkins::home(path, args.casc.clone(), args.secrets.clone(), args.keeps_credentials));
            let plan = jenkins::look(&site, home.as_ref())?;
            let code =
                carry_out(stack, name, mode, &plan, true, |step| jenkins::apply(&mut site, home.as_ref(), step))?;
            if !mode.plan {
                println!("{}", jenkins::advice(&site, home.as_ref()));
            }
            Ok(code)
        }
        Tool::Gitlab(_) => {
            let tool = gitlab::client(&site)?;
            let plan = gitlab::look(&site, &tool)?;
            let code = carry_out(stack, name, mode, &plan, false, |step| gitlab::apply(&mut site, &tool, step))?;
            if plan.steps.contains(&gitlab::Step::Authority) && !mode.plan {
                println!("{}", gitlab::advice(&site));
            }
            Ok(code)
        }
        Tool::Sonarqube(_) => {
            let tool = sonarqube::client(&site)?;
            let plan = sonarqube::look(&site, &tool)?;
            carry_out(stack, name, mode, &plan, false, |step| sonarqube::apply(&mut site, &tool, step))
        }
    }
}

/// Prints a plan, and applies it unless that is all that was asked for. A step that fails does not keep the others from
/// being done, unless they build on it.
fn carry_out<S: Display>(
    stack: &Stack,
    tool: &str,
    mode: &Mode,
    plan: &Plan<S>,
    in_order: bool,
    mut apply: impl FnMut(&S) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut failed = plan.failures.len();
    if mode.json {
        println!("{:#}", plan.json(tool));
    } else {
        print(stack, plan);
    }
    for failure in &plan.failures {
        error::report(failure);
    }
    if !mode.plan {
        for step in &plan.steps {
            match apply(step) {
                Ok(()) => println!("done: {step}"),
                Err(error) if in_order => return Err(error),
                Err(error) => {
                    error::report(&error);
                    failed += 1;
                }
            }
        }
    }
    Ok(match (failed, mode.plan && !plan.steps.is_empty()) {
        (0, false) => ExitCode::SUCCESS,
        (0, true) => ExitCode::from(PLANNED),
        _ => ExitCode::FAILURE,
    })
}

fn print<S: Display>(stack: &Stack, plan: &Plan<S>) {
    if !plan.steps.is_empty() {
        println!("To do:");
    }
    for step in &plan.steps {
        println!("  - {step}");
    }
    for connect::Notice { finding, fix } in &plan.notices {
        println!("note: {finding}\n  fix: {}", stack.hint(fix));
    }
    if plan.steps.is_empty() && plan.failures.is_empty() {
        println!("Nothing to do.");
    }
}
