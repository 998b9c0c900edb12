//! Jenkins, GitLab and SonarQube: whether what `connect` set up is still so. Only tools whose token is in env/secrets.env are asked.

use super::context::Context;
use super::problem::{Row, ok, problems};
use crate::connect::{Plan, Site, gitlab, jenkins, sonarqube};
use crate::error::hint_of;
use crate::secrets::{GITLAB_API_TOKEN, JENKINS_API_TOKEN, SONAR_ADMIN_TOKEN};

problems! {
    TOOL_UNREACHABLE: Warn "integrations.unreachable",
        "Alerts of the tool do not arrive, or its slash commands fail.",
        "The tool does not answer, or refuses the token in env/secrets.env.",
        "{fix}";
    TOOL_DRIFT: Warn "integrations.drift",
        "Alerts of the tool do not arrive, or go to the wrong channel.",
        "The tool has something else than `connect` set up: a hook was changed or made anew.",
        "`cargo xtask connect {tool}`";
}

/// What asking a tool came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is no token to ask with.
    Unconnected,
    Right,
    /// What `connect` would do, the first of it in words.
    Differs(usize, String),
    /// Why it could not be asked, and what to do.
    Failed(String, String),
}

pub fn check(context: &Context) -> Vec<Row> {
    let Ok(site) = Site::load(&context.stack, String::new()) else { return Vec::new() };
    let has = |secret: &str| site.secrets.get(secret).is_some();
    let outcomes = std::thread::scope(|scope| {
        let ask = |is_connected: bool, look: fn(&Site<'_>) -> anyhow::Result<Outcome>| {
            let site = &site;
            scope.spawn(move || if is_connected { look(site).unwrap_or_else(failed) } else { Outcome::Unconnected })
        };
        let asked = [
            ("jenkins", ask(has(JENKINS_API_TOKEN), jenkins)),
            ("gitlab", ask(has(GITLAB_API_TOKEN), gitlab)),
            ("sonarqube", ask(has(SONAR_ADMIN_TOKEN), sonarqube)),
        ];
        asked
            .map(|(tool, asked)| (tool, asked.join().unwrap_or_else(|_| failed(anyhow::anyhow!("asking it panicked")))))
    });
    judge(&outcomes)
}

fn failed(error: anyhow::Error) -> Outcome {
    let fix = hint_of(&error).unwrap_or("see the message").to_owned();
    Outcome::Failed(format!("{error:#}"), fix)
}

fn jenkins(site: &Site<'_>) -> anyhow::Result<Outcome> {
    let hooks = jenkins::hooks(site)?;
    jenkins::reload::verify(site, &hooks)?;
    Ok(Outcome::Right)
}

fn gitlab(site: &Site<'_>) -> anyhow::Result<Outcome> {
    outcome(gitlab::look(site, &gitlab::client(site)?)?)
}

fn sonarqube(site: &Site<'_>) -> anyhow::Result<Outcome> {
    outcome(sonarqube::look(site, &sonarqube::client(site)?)?)
}

fn outcome<S: std::fmt::Display>(plan: Plan<S>) -> anyhow::Result<Outcome> {
    if let Some(failure) = plan.failures.into_iter().next() {
        return Err(failure);
    }
    Ok(match plan.steps.first() {
        Some(step) => Outcome::Differs(plan.steps.len(), step.to_string()),
        None => Outcome::Right,
    })
}

/// Tools by name, with what came of asking them.
pub fn judge(outcomes: &[(&'static str, Outcome)]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut right = Vec::new();
    for (tool, outcome) in outcomes {
        match outcome {
            Outcome::Unconnected => {}
            Outcome::Right => right.push(*tool),
            Outcome::Differs(count, first) => {
                let finding = format!("{tool}: {count} to do, first: {first}");
                rows.push(TOOL_DRIFT.found(finding).with("tool", tool));
            }
            Outcome::Failed(error, fix) => {
                rows.push(TOOL_UNREACHABLE.found(format!("{tool}: {error}")).with("fix", fix));
            }
        }
    }
    if rows.is_empty() {
        let finding = if right.is_empty() {
            "no tool is connected (`cargo xtask connect`)".to_owned()
        } else {
            format!("as they should be: {}", right.join(", "))
        };
        rows.push(ok("integrations", finding));
    }
    rows
}
