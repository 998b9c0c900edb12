//! The OAuth application that Mattermost's GitLab plugin signs people in with, made by REST.
//!
//! GitLab shows a secret once, when it is made; names are not unique; and an application cannot be changed, only renewed,
//! deleted and made again (GitLab's doc/api/applications.md).

use std::fmt;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;

use super::{PLUGIN, explain};
use crate::connect::{Notice, Site};
use crate::drivers::rest::{self, Body, Tool};
use crate::secrets::{GITLAB_OAUTH_ID, GITLAB_OAUTH_SECRET, Secrets};
use crate::settings::Settings;

/// What the plugin asks for (its getOAuthConfig).
pub const SCOPES: &str = "api read_user";
const PATH: &str = "/api/v4/applications";

/// An application as the list has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Application {
    /// For the API.
    pub id: u64,
    /// The OAuth client's id.
    pub application_id: String,
    pub application_name: String,
    pub callback_url: String,
    /// Newer versions only.
    pub scopes: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Create,
    /// It is there and its secret is not: an interrupted run, or a lost secrets.env.
    Renew {
        id: u64,
        application_id: String,
    },
    /// Another callback or other scopes are wanted.
    Replace {
        id: u64,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Create => write!(f, "make the OAuth application; its secret goes into env/secrets.env"),
            Step::Renew { .. } => {
                write!(f, "renew the secret of the OAuth application, which env/secrets.env does not have")
            }
            Step::Replace { .. } => {
                write!(f, "delete the OAuth application and make it anew: its address or scopes differ")
            }
        }
    }
}

pub fn redirect_uri(settings: &Settings) -> String {
    format!("{}/plugins/{PLUGIN}/oauth/complete", settings.site_url())
}

/// What the application needs. `applications` is none where the token is no administrator's.
pub fn plan(
    settings: &Settings,
    secrets: &Secrets,
    applications: Option<&[Application]>,
) -> (Option<Step>, Vec<Notice>) {
    let stored = secrets.get(GITLAB_OAUTH_ID).filter(|_| secrets.get(GITLAB_OAUTH_SECRET).is_some());
    let Some(applications) = applications else {
        // With an id and a secret there is nothing that an administrator's token would be needed for.
        return (None, if stored.is_some() { Vec::new() } else { vec![by_hand(settings)] });
    };
    let redirect = redirect_uri(settings);
    let name = name(settings);
    let (same, elsewhere): (Vec<&Application>, Vec<&Application>) = applications
        .iter()
        .filter(|application| application.application_name == name)
        .partition(|application| application.callback_url == redirect);
    let known = applications.iter().find(|application| Some(application.application_id.as_str()) == stored);
    let step = match (known, same.first()) {
        (Some(known), _) if known.callback_url == redirect && has_scopes(known) => None,
        (Some(known), _) => Some(Step::Replace { id: known.id }),
        (None, Some(found)) if has_scopes(found) => {
            Some(Step::Renew { id: found.id, application_id: found.application_id.clone() })
        }
        (None, Some(found)) => Some(Step::Replace { id: found.id }),
        (None, None) => Some(Step::Create),
    };
    let kept = known.or(same.first().copied()).map(|application| application.id);
    let others = same.iter().chain(&elsewhere).filter(|application| Some(application.id) != kept);
    let notices = others.map(|other| {
        Notice::new(
            format!("GitLab has another OAuth application {name:?}, number {}", other.id),
            "delete it in GitLab (Admin, Applications) unless another command center uses it",
        )
    });
    (step, notices.collect())
}

/// Does the step, and keeps id and secret the moment they are there.
pub fn apply(site: &mut Site<'_>, tool: &Tool, step: &Step) -> anyhow::Result<()> {
    match step {
        Step::Create => create(site, tool),
        Step::Replace { id } => replace(site, tool, *id),
        Step::Renew { id, application_id } => {
            let path = format!("{PATH}/{id}/renew-secret");
            let answer = rest::call(tool, "POST", &path, Body::None)?;
            match answer.status().as_u16() {
                200 | 201 => {
                    let renewed = rest::json(tool, "POST", &path, &answer)?;
                    let secret = renewed["secret"].as_str().context("GitLab renewed a secret and did not say it")?;
                    keep(site, application_id, secret)
                }
                // Deleted meanwhile, or a GitLab that cannot renew.
                404 | 405 => replace(site, tool, *id),
                _ => Err(explain(tool, "POST", &path, &answer)),
            }
        }
    }
}

/// Every application, page by page.
pub fn list(tool: &Tool) -> anyhow::Result<Option<Vec<Application>>> {
    const PER_PAGE: usize = 100;
    let mut applications: Vec<Application> = Vec::new();
    for page in 1.. {
        let path = format!("{PATH}?page={page}&per_page={PER_PAGE}");
        let answer = rest::call(tool, "GET", &path, Body::None)?;
        match answer.status().as_u16() {
            200 => {}
            403 => return Ok(None),
            _ => return Err(explain(tool, "GET", &path, &answer)),
        }
        let found: Vec<Application> = serde_json::from_value(rest::json(tool, "GET", &path, &answer)?)
            .context("GitLab's list of OAuth applications is not understood")?;
        let is_last = found.len() < PER_PAGE;
        applications.extend(found);
        if is_last {
            break;
        }
    }
    Ok(Some(applications))
}

fn replace(site: &mut Site<'_>, tool: &Tool, id: u64) -> anyhow::Result<()> {
    let path = format!("{PATH}/{id}");
    let answer = rest::call(tool, "DELETE", &path, Body::None)?;
    match answer.status().as_u16() {
        200 | 202 | 204 | 404 => create(site, tool),
        _ => Err(explain(tool, "DELETE", &path, &answer)),
    }
}

fn create(site: &mut Site<'_>, tool: &Tool) -> anyhow::Result<()> {
    let settings = site.settings();
    let body = json!({
        "name": name(settings),
        "redirect_uri": redirect_uri(settings),
        "scopes": SCOPES,
        "confidential": true,
    });
    let answer = rest::call(tool, "POST", PATH, Body::Json(&body))?;
    if !matches!(answer.status().as_u16(), 200 | 201) {
        return Err(explain(tool, "POST", PATH, &answer));
    }
    let made = rest::json(tool, "POST", PATH, &answer)?;
    let field = |name: &str| made[name].as_str().map(str::to_owned);
    let (id, secret) =
        field("application_id").zip(field("secret")).context("GitLab made an application without a secret")?;
    keep(site, &id, &secret)
}

fn keep(site: &mut Site<'_>, id: &str, secret: &str) -> anyhow::Result<()> {
    site.keep(&[(GITLAB_OAUTH_ID, id), (GITLAB_OAUTH_SECRET, secret)])
}

fn name(settings: &Settings) -> String {
    format!("Mattermost {}", settings.name)
}

fn has_scopes(application: &Application) -> bool {
    let wanted = || SCOPES.split(' ');
    application.scopes.as_ref().is_none_or(|scopes| wanted().all(|scope| scopes.iter().any(|have| have == scope)))
}

fn by_hand(settings: &Settings) -> Notice {
    Notice::new(
        "the OAuth application for Mattermost's GitLab plugin needs an administrator's token",
        format!(
            "put an administrator's GITLAB_API_TOKEN into env/secrets.env and run this again; or have one make the \
             application in GitLab (Admin, Applications; redirect URI {}, scopes {SCOPES}, confidential) and put its id and \
             secret there as {GITLAB_OAUTH_ID} and {GITLAB_OAUTH_SECRET}",
            redirect_uri(settings)
        ),
    )
}
