use std::process::ExitCode;

use serde::Serialize;

use crate::drivers::docker;
use crate::lab;
use crate::stack::{self, SITE, Stack};

/// Show what runs.
///
/// Exit status 0 when every server of every stack that is set up is healthy, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask status\n  cargo xtask status --json")]
pub struct Args {
    /// For scripts: one object with the stacks and their services.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    stack: String,
    project: String,
    /// True when a stand-in runs in place of Mattermost.
    lab: bool,
    url: String,
    services: Vec<Service>,
}

#[derive(Debug, Serialize)]
struct Service {
    service: String,
    state: String,
    status: String,
    image: String,
}

pub fn run(args: Args, name: Option<&str>) -> anyhow::Result<ExitCode> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => {
            let set_up = super::set_up(&docker::containers(None)?)?;
            if set_up.is_empty() { vec![SITE.to_owned()] } else { set_up.into_iter().map(str::to_owned).collect() }
        }
    };
    let reports = names.iter().map(|name| report(&stack::open(name)?)).collect::<anyhow::Result<Vec<_>>>()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "stacks": reports }))?);
    } else {
        for report in &reports {
            print(report);
        }
    }
    let healthy = reports.iter().all(|report| !report.services.is_empty() && report.services.iter().all(is_well));
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(stack: &Stack) -> anyhow::Result<Report> {
    let containers = docker::containers(Some(&stack.settings.name))?;
    let service = |container: docker::Container| Service {
        service: container.service,
        state: container.state,
        status: container.status,
        image: container.image,
    };
    Ok(Report {
        stack: stack.name.clone(),
        project: stack.settings.name.clone(),
        lab: stack.is_lab(),
        url: stack.settings.site_url(),
        services: containers.into_iter().map(service).collect(),
    })
}

fn print(report: &Report) {
    println!("{} ({})", report.project, report.url);
    if report.lab {
        println!("{}", lab::WARNING);
    }
    if report.services.is_empty() {
        println!("  not set up; `cargo xtask up` starts it");
        return;
    }
    for service in &report.services {
        println!("  {:<11} {:<32} {}", service.service, service.status, service.image);
    }
}

/// The one-shot `install` is well when it is done.
fn is_well(service: &Service) -> bool {
    service.status.contains("(healthy)") || service.status.starts_with("Exited (0)") && service.service == "install"
}
