//! GitLab: integrations of projects and groups, its permission to call Mattermost, the OAuth application and the plugin that
//! uses it, and the CA that GitLab needs.
//!
//! Some of it needs an administrator's token, some a maintainer's. What the token cannot do is said, and the rest goes on.

pub mod integration;
pub mod network;
pub mod oauth;
pub mod plugin;

use std::fmt;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Notice, Plan, Site};
use crate::certs;
use crate::drivers::files;
use crate::drivers::https::Answer;
use crate::drivers::rest::{self, Body, Tool};
use crate::error::{Hint as _, hinted};
use crate::secrets::{GITLAB_API_TOKEN, GITLAB_OAUTH_ID, GITLAB_OAUTH_SECRET};
use integration::{Kind, Target};

pub use plugin::plugin;

/// Id of Mattermost's GitLab plugin.
pub const PLUGIN: &str = "com.github.manland.mattermost-plugin-gitlab";
/// The CA for GitLab's folder of trusted certificates, relative to the stack's folder.
pub const CA: &str = "integrations/gitlab/trusted-certs/command-center-ca.crt";
const SETTINGS: &str = "/api/v4/application/settings";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write our CA for GitLab.
    Authority,
    /// Let GitLab call Mattermost: the whole new list.
    Allow {
        list: String,
    },
    Integration {
        target: Target,
        why: String,
    },
    Oauth(oauth::Step),
    Plugin {
        why: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Authority => write!(f, "write {CA}"),
            Step::Allow { list } => {
                let entry = list.lines().last().unwrap_or_default();
                write!(
                    f,
                    "let GitLab call {entry} alone on private addresses (the list of exceptions, as an administrator)"
                )
            }
            Step::Integration { target, why } => write!(f, "set the Mattermost integration of {target}: {why}"),
            Step::Oauth(step) => step.fmt(f),
            Step::Plugin { why } => write!(f, "configure and enable Mattermost's GitLab plugin: {why}"),
        }
    }
}

/// Reads what GitLab and Mattermost have and plans what is missing.
///
/// # Errors
/// When the token is missing or refused, or GitLab does not answer. What concerns one project, or Mattermost, is a failure
/// of its own.
pub fn look(site: &Site<'_>, tool: &Tool) -> anyhow::Result<Plan<Step>> {
    let settings = site.settings();
    let mut plan = Plan::default();
    let targets = integration::targets(&settings.gitlab);
    let body = if targets.is_empty() {
        let fix = "list full paths in gitlab.projects or gitlab.groups of stack.toml";
        plan.notices.push(Notice::new("no project and no group is to be connected", fix));
        None
    } else if settings.gitlab.hook.is_empty() {
        return Err(hinted(
            anyhow::anyhow!("gitlab.hook of stack.toml is empty, and there are projects or groups to connect"),
            "name the incoming webhook that GitLab posts to",
        ));
    } else {
        Some(integration::body(&settings.gitlab, &site.hook_url(&settings.gitlab.hook)?))
    };

    let authority = read_authority(site)?;
    if std::fs::read_to_string(site.stack.root.join(CA)).ok() != Some(authority) {
        plan.steps.push(Step::Authority);
    }

    // Before the integrations: GitLab refuses to save a hook that it may not call.
    let application = administrators(tool, SETTINGS)?;
    let (list, notice) = network::plan(settings, application.as_ref());
    plan.steps.extend(list.map(|list| Step::Allow { list }));
    plan.notices.extend(notice);

    for target in targets {
        let Some(body) = &body else { break };
        match read(tool, &target) {
            Ok(actual) => {
                let is_known = site.state.knows(&target.remembered(), &integration::hash(&settings.gitlab, body));
                let why = integration::drift(body, actual.as_ref(), is_known);
                plan.steps.extend(why.map(|why| Step::Integration { target, why }));
            }
            Err(error) => plan.failures.push(error),
        }
    }

    let applications = oauth::list(tool)?;
    let (step, notices) = oauth::plan(settings, &site.secrets, applications.as_deref());
    plan.notices.extend(notices);
    let will_have = step.is_some();
    plan.steps.extend(step.map(Step::Oauth));
    if will_have || has_oauth(site) {
        match plugin::read(site.stack) {
            Ok(actual) => {
                // A renewed secret is another one than Mattermost's, whatever that has.
                let why = plugin::drift(settings, &site.secrets, &actual);
                let why = why.or_else(|| will_have.then(|| "the OAuth application changes".to_owned()));
                plan.steps.extend(why.map(|why| Step::Plugin { why }));
            }
            Err(error) => plan.failures.push(error),
        }
    }
    Ok(plan)
}

/// Does one step.
pub fn apply(site: &mut Site<'_>, tool: &Tool, step: &Step) -> anyhow::Result<()> {
    match step {
        Step::Authority => files::write(&site.stack.root.join(CA), read_authority(site)?.as_bytes(), 0o644),
        Step::Allow { list } => {
            let answer = rest::call(tool, "PUT", SETTINGS, Body::Json(&json!({ network::ALLOWLIST: list })))?;
            if answer.status() == 200 { Ok(()) } else { Err(explain(tool, "PUT", SETTINGS, &answer)) }
        }
        Step::Integration { target, .. } => {
            let settings = &site.settings().gitlab;
            let body = integration::body(settings, &site.hook_url(&settings.hook)?);
            let hash = integration::hash(settings, &body);
            let path = target.endpoint();
            let answer = rest::call(tool, "PUT", &path, Body::Json(&body))?;
            if !matches!(answer.status().as_u16(), 200 | 201) {
                return Err(explain_target(tool, "PUT", target, &answer));
            }
            site.state.remember(&target.remembered(), &hash)
        }
        Step::Oauth(step) => oauth::apply(site, tool, step),
        Step::Plugin { .. } => plugin::apply(site),
    }
}

pub fn client(site: &Site<'_>) -> anyhow::Result<Tool> {
    let token = site.token(
        GITLAB_API_TOKEN,
        "make a token with the scope api (GitLab: Preferences, Access tokens), an administrator's for all of it, a \
         maintainer's for the integrations alone, and put GITLAB_API_TOKEN=<token> into env/secrets.env",
    )?;
    let header = ("PRIVATE-TOKEN", token.to_owned());
    let url = &site.settings().gitlab.url;
    Ok(rest::tool("GitLab", "gitlab.url", url, &site.roots()?, Some(header), &site.secrets))
}

/// How GitLab comes to trust Mattermost's certificate. There is no API for it.
pub fn advice(site: &Site<'_>) -> String {
    let container = "/etc/gitlab/trusted-certs/command-center-ca.crt";
    format!(
        "GitLab has to trust Mattermost's CA: copy {} to {container} on GitLab's host\n\
         (in Docker below the folder that is mounted at /etc/gitlab, which must be no symbolic link) and run\n\
         `gitlab-ctl reconfigure`. After its container was made anew, delete /etc/gitlab/trusted-certs/*.0 before.",
        site.stack.root.join(CA).display()
    )
}

fn has_oauth(site: &Site<'_>) -> bool {
    [GITLAB_OAUTH_ID, GITLAB_OAUTH_SECRET].iter().all(|name| site.secrets.get(name).is_some())
}

fn read_authority(site: &Site<'_>) -> anyhow::Result<String> {
    let path = certs::ca_path(&site.stack.root);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
    text.hint(site.stack.hint("run `cargo xtask up` (or `cargo xtask certs`) first: it makes the CA"))
}

/// What only an administrator's token may read, or none where it may not.
fn administrators(tool: &Tool, path: &str) -> anyhow::Result<Option<Value>> {
    let answer = rest::call(tool, "GET", path, Body::None)?;
    match answer.status().as_u16() {
        200 => Ok(Some(rest::json(tool, "GET", path, &answer)?)),
        403 => Ok(None),
        _ => Err(explain(tool, "GET", path, &answer)),
    }
}

/// The integration of a target, or none where it was never made. GitLab answers 404 also for a target that is not there;
/// its words tell the two apart, and where they do not, the PUT will.
fn read(tool: &Tool, target: &Target) -> anyhow::Result<Option<Value>> {
    let path = target.endpoint();
    let answer = rest::call(tool, "GET", &path, Body::None)?;
    let message = rest::message(answer.body()).unwrap_or_default();
    match answer.status().as_u16() {
        200 => Ok(Some(rest::json(tool, "GET", &path, &answer)?)),
        404 if !message.contains("Project Not Found") && !message.contains("Group Not Found") => Ok(None),
        _ => Err(explain_target(tool, "GET", target, &answer)),
    }
}

fn explain_target(tool: &Tool, method: &str, target: &Target, answer: &Answer) -> anyhow::Error {
    let path = target.endpoint();
    let error = || rest::refusal(tool, method, &path, answer);
    let hint = match (answer.status().as_u16(), target.kind) {
        (400, _) => {
            "the likely cause: GitLab blocks requests to private addresses (it gives no reason); Admin, Settings, Network, \
             Outbound requests has to list Mattermost, which this command does with an administrator's token"
        }
        (403, _) => {
            "the user of GITLAB_API_TOKEN has to be Maintainer or Owner there, and the token has to have the scope api"
        }
        (404, Kind::Project) => {
            "correct gitlab.projects of stack.toml, or let the user of GITLAB_API_TOKEN see that project"
        }
        (404, Kind::Group) => {
            "correct gitlab.groups of stack.toml, or let the user of GITLAB_API_TOKEN see that group; a GitLab without \
             integrations of groups needs its projects in gitlab.projects"
        }
        _ => return explain(tool, method, &path, answer),
    };
    hinted(error(), hint)
}

/// A refusal with its fix.
fn explain(tool: &Tool, method: &str, path: &str, answer: &Answer) -> anyhow::Error {
    let error = rest::refusal(tool, method, path, answer);
    let hint = match answer.status().as_u16() {
        300..=399 => return error,
        401 => {
            "GITLAB_API_TOKEN of env/secrets.env is refused: it has expired or was revoked; make another one, scope api"
        }
        403 => {
            "this needs an administrator's token in GITLAB_API_TOKEN of env/secrets.env, with the scope api, and admin_mode \
             where GitLab has its Admin Mode on"
        }
        429 => "GitLab limits the rate of requests: wait a minute, then run this again",
        500.. => "see whether GitLab is up (`gitlab-ctl status`), then run this again",
        _ => "see GitLab's log, api_json.log",
    };
    hinted(error, hint)
}
