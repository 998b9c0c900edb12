//! SonarQube: one webhook that delivers to the relay, made or updated by the Web API and never made twice.
//!
//! Recorded from SonarQube 25.1: `create` does not refuse a second webhook of the same name and URL, so the list is read
//! first; a secret is never shown, only `hasSecret`; `update` leaves the secret alone unless it is given.

use std::fmt;

use anyhow::Context as _;
use serde::Deserialize;

use super::{Notice, Plan, Site};
use crate::drivers::https::Answer;
use crate::drivers::rest::{self, Body, Tool};
use crate::error::hinted;
use crate::hash;
use crate::secrets::{SONAR_ADMIN_TOKEN, SONARQUBE_WEBHOOK_SECRET};

/// By this name our webhook is found again.
pub const NAME: &str = "command-center";

/// Where a webhook belongs: to a project, or to all of them.
pub type Scope = Option<String>;

/// A webhook as `api/webhooks/list` has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    pub key: String,
    pub name: String,
    pub url: String,
    #[serde(default)]
    pub has_secret: bool,
    pub latest_delivery: Option<Delivery>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub success: bool,
    pub http_status: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Create { scope: Scope, url: String },
    Update { scope: Scope, key: String, url: String, why: &'static str },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Create { scope, url } => write!(f, "make the webhook {NAME} of {}: {url}", shown(scope)),
            Step::Update { scope, url, why, .. } => {
                write!(f, "update the webhook {NAME} of {} ({why}): {url}", shown(scope))
            }
        }
    }
}

/// Reads what SonarQube has and plans what is missing.
///
/// # Errors
/// When the token is missing or refused, or SonarQube does not answer. A project that is not there is a failure of its own.
pub fn look(site: &Site<'_>, tool: &Tool) -> anyhow::Result<Plan<Step>> {
    let settings = site.settings();
    if settings.sonarqube.failed_hook.is_empty() {
        return Err(hinted(
            anyhow::anyhow!("sonarqube.failed_hook of stack.toml is empty: nobody would be told"),
            "name the incoming webhook that failed quality gates go to",
        ));
    }
    let url = url(site);
    let secret = site.generated(SONARQUBE_WEBHOOK_SECRET)?;
    let mut plan = Plan::default();
    let scopes: Vec<Scope> = match settings.sonarqube.projects.as_slice() {
        [] => vec![None],
        projects => projects.iter().cloned().map(Some).collect(),
    };
    for scope in scopes {
        let path = match &scope {
            Some(project) => format!("/api/webhooks/list?project={}", rest::encode(project)),
            None => "/api/webhooks/list".to_owned(),
        };
        let answer = rest::call(tool, "GET", &path, Body::None)?;
        match answer.status().as_u16() {
            200 => {}
            404 => {
                let error = rest::refusal(tool, "GET", &path, &answer).context(shown(&scope));
                plan.failures.push(hinted(error, "correct sonarqube.projects of stack.toml: keys of projects"));
                continue;
            }
            _ => return Err(explain(tool, "GET", &path, &answer)),
        }
        #[derive(Deserialize)]
        struct List {
            webhooks: Vec<Webhook>,
        }
        let list: List = serde_json::from_value(rest::json(tool, "GET", &path, &answer)?)
            .with_context(|| format!("SonarQube's list of webhooks of {} is not understood", shown(&scope)))?;
        let is_known = |key: &str| {
            site.state.knows(&remembered(&scope), &hash(&settings.sonarqube.url, &scope, key, &url, secret))
        };
        let (step, notices) = plan_scope(&scope, &list.webhooks, &url, is_known);
        plan.steps.extend(step);
        plan.notices.extend(notices);
    }
    Ok(plan)
}

/// What one scope needs. `is_known` says whether name, URL and secret were already sent to the webhook of that key.
pub fn plan_scope(
    scope: &Scope,
    webhooks: &[Webhook],
    url: &str,
    is_known: impl Fn(&str) -> bool,
) -> (Option<Step>, Vec<Notice>) {
    let mut notices = Vec::new();
    let ours: Vec<&Webhook> = webhooks.iter().filter(|hook| hook.name == NAME || hook.url == url).collect();
    // Of several, the one that needs the least.
    let Some(hook) = ours.iter().copied().max_by_key(|hook| (hook.url == url, hook.has_secret, is_known(&hook.key)))
    else {
        return (Some(Step::Create { scope: scope.clone(), url: url.to_owned() }), notices);
    };
    for other in ours.iter().filter(|other| other.key != hook.key) {
        notices.push(Notice::new(
            format!("{} has another webhook of ours, {:?} ({}): every gate is told twice", shown(scope), other.name, other.key),
            "delete it in SonarQube: Administration, Configuration, Webhooks (of a project: Project Settings, Webhooks)",
        ));
    }
    notices.extend(hook.latest_delivery.as_ref().and_then(|delivery| failed_delivery(scope, delivery)));
    let why = if hook.url != url {
        Some("its address changed")
    } else if hook.name != NAME {
        Some("its name changed")
    } else if !hook.has_secret {
        Some("it has no secret")
    } else if !is_known(&hook.key) {
        Some("its secret may be another one")
    } else {
        None
    };
    let step = why.map(|why| Step::Update { scope: scope.clone(), key: hook.key.clone(), url: url.to_owned(), why });
    (step, notices)
}

/// Does one step. A webhook that was deleted after it was listed is made anew.
pub fn apply(site: &mut Site<'_>, tool: &Tool, step: &Step) -> anyhow::Result<()> {
    let secret = site.generated(SONARQUBE_WEBHOOK_SECRET)?.to_owned();
    let (scope, url, key) = match step {
        Step::Create { scope, url } => (scope, url, None),
        Step::Update { scope, url, key, .. } => (scope, url, Some(key)),
    };
    let updated = match key {
        Some(key) => {
            let fields = [("webhook", key.as_str()), ("name", NAME), ("url", url), ("secret", &secret)];
            let answer = rest::call(tool, "POST", UPDATE, Body::Form(&fields))?;
            match answer.status().as_u16() {
                200 | 204 => Some(key.clone()),
                404 => None,
                _ => return Err(explain(tool, "POST", UPDATE, &answer)),
            }
        }
        None => None,
    };
    let key = match updated {
        Some(key) => key,
        None => create(tool, scope, url, &secret)?,
    };
    let hash = hash(&site.settings().sonarqube.url, scope, &key, url, &secret);
    site.state.remember(&remembered(scope), &hash)
}

const CREATE: &str = "/api/webhooks/create";
const UPDATE: &str = "/api/webhooks/update";

fn create(tool: &Tool, scope: &Scope, url: &str, secret: &str) -> anyhow::Result<String> {
    let mut fields = vec![("name", NAME), ("url", url), ("secret", secret)];
    fields.extend(scope.as_deref().map(|project| ("project", project)));
    let answer = rest::call(tool, "POST", CREATE, Body::Form(&fields))?;
    if answer.status() != 200 {
        return Err(explain(tool, "POST", CREATE, &answer));
    }
    let made = rest::json(tool, "POST", CREATE, &answer)?;
    let key = made["webhook"]["key"].as_str().context("SonarQube made a webhook and did not say its key")?;
    Ok(key.to_owned())
}

pub fn client(site: &Site<'_>) -> anyhow::Result<Tool> {
    let token = site.token(
        SONAR_ADMIN_TOKEN,
        "make a token of type User as an administrator in SonarQube (My Account, Security) and put \
         SONAR_ADMIN_TOKEN=<token> into env/secrets.env",
    )?;
    let header = ("Authorization", format!("Bearer {token}"));
    let url = &site.settings().sonarqube.url;
    Ok(rest::tool("SonarQube", "sonarqube.url", url, &site.roots()?, Some(header), &site.secrets))
}

/// The relay's address on the network of the tools.
pub fn url(site: &Site<'_>) -> String {
    format!("http://{}:{}/sonarqube", site.settings().relay_host(), site.settings().relay.port)
}

/// A refusal with its cause and fix, as far as SonarQube says it.
fn explain(tool: &Tool, method: &str, path: &str, answer: &Answer) -> anyhow::Error {
    let error = rest::refusal(tool, method, path, answer);
    let message = rest::message(answer.body()).unwrap_or_default();
    let hint = match answer.status().as_u16() {
        // The body is empty.
        401 => "SONAR_ADMIN_TOKEN of env/secrets.env is refused: make another one, of type User, as an administrator",
        403 => {
            "the user of SONAR_ADMIN_TOKEN may not do this: it needs Administer System, or for the webhook of a project \
             Administer on that project; an analysis token cannot do it"
        }
        400 if message.starts_with("Invalid URL:") => {
            "sonar.validateWebhooks refuses the address of the relay, which is private: switch it off in SonarQube \
             (Administration, Configuration, General, or sonar.properties); then whoever administers webhooks can make \
             SonarQube call internal addresses"
        }
        400 if message.contains("Maximum number of") => {
            "SonarQube takes 10 webhooks: delete one that nobody needs, then run this again"
        }
        503 => "SonarQube is starting or being upgraded: wait until api/system/status says UP, then run this again",
        _ => return if hint_is_there(answer) { error } else { hinted(error, "see SonarQube's log, web.log") },
    };
    hinted(error, hint)
}

/// A redirect's refusal has its own hint.
fn hint_is_there(answer: &Answer) -> bool {
    answer.status().is_redirection()
}

fn failed_delivery(scope: &Scope, delivery: &Delivery) -> Option<Notice> {
    if delivery.success {
        return None;
    }
    let (finding, fix) = match delivery.http_status.filter(|status| *status > 0) {
        None => (
            "did not arrive".to_owned(),
            "SonarQube and the relay have to share the network of stack.toml, and `cargo xtask status` has to show relay \
             running; the cause is in the webhook's last delivery in SonarQube",
        ),
        Some(status @ (401 | 403)) => (
            format!("was refused by the relay ({status})"),
            "the relay has another SONARQUBE_WEBHOOK_SECRET than SonarQube: run `cargo xtask up`, then this",
        ),
        Some(status) => (format!("was answered by {status}"), "see `cargo xtask logs relay`"),
    };
    Some(Notice::new(format!("the latest delivery of {} {finding}", shown(scope)), fix))
}

fn shown(scope: &Scope) -> String {
    match scope {
        Some(project) => format!("the project {project}"),
        None => "all projects".to_owned(),
    }
}

fn remembered(scope: &Scope) -> String {
    match scope {
        Some(project) => format!("sonarqube project {project}"),
        None => "sonarqube".to_owned(),
    }
}

fn hash(server: &str, scope: &Scope, key: &str, url: &str, secret: &str) -> String {
    hash::of_parts(&[server, scope.as_deref().unwrap_or(""), key, NAME, url, secret])
}
