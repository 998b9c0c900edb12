//! GitLab's Mattermost integration of a project or a group.
//!
//! Flags that a first PUT leaves out become true, so every one is sent, and confidential events are off unless a channel is
//! given for them (GitLab's doc/api/project_integrations.md). The webhook is write-only: a changed one is found by the
//! hash of what was last sent.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::drivers::rest;
use crate::hash;
use crate::settings::Gitlab;

/// What an integration belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub kind: Kind,
    /// Full path.
    pub path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Project,
    Group,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Project => "project",
            Kind::Group => "group",
        };
        write!(f, "{kind} {}", self.path)
    }
}

impl Target {
    /// The integration's path in the API. A full path in place of an id saves the look-up.
    pub fn endpoint(&self) -> String {
        let kind = match self.kind {
            Kind::Project => "projects",
            Kind::Group => "groups",
        };
        format!("/api/v4/{kind}/{}/integrations/mattermost", rest::encode(&self.path))
    }

    /// Under which name the state has what was sent.
    pub fn remembered(&self) -> String {
        format!("gitlab {self}")
    }
}

pub fn targets(settings: &Gitlab) -> Vec<Target> {
    let target = |kind| move |path: &String| Target { kind, path: path.clone() };
    let projects = settings.projects.iter().map(target(Kind::Project));
    projects.chain(settings.groups.iter().map(target(Kind::Group))).collect()
}

/// The body of the PUT.
///
/// No default channel is sent: an event that is on has its own, and the hook's channel is right for the rest.
pub fn body(settings: &Gitlab, hook_url: &str) -> Value {
    let mut body = Map::new();
    body.insert("webhook".to_owned(), json!(hook_url));
    body.insert("username".to_owned(), json!(settings.username));
    body.insert("notify_only_broken_pipelines".to_owned(), json!(settings.only_broken_pipelines));
    body.insert("branches_to_be_notified".to_owned(), json!(settings.branches));
    for (event, channel) in settings.events.all() {
        body.insert(flag(event).to_owned(), json!(!channel.is_empty()));
        body.insert(format!("{event}_channel"), json!(channel));
    }
    Value::Object(body)
}

/// The hash that the state keeps of a body, bound to the server that it was sent to.
pub fn hash(settings: &Gitlab, body: &Value) -> String {
    hash::of_parts(&[&settings.url, &body.to_string()])
}

/// Why the integration has to be sent, or nothing. `actual` is GitLab's answer, or none where it has no such integration.
pub fn drift(desired: &Value, actual: Option<&Value>, is_known: bool) -> Option<String> {
    let Some(actual) = actual else { return Some("there is none".to_owned()) };
    if actual["active"] == json!(false) {
        return Some("it is switched off".to_owned());
    }
    let differing: Vec<&str> = desired
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| shown(actual, key).is_some_and(|actual| actual != text(value)))
        .map(|(key, _)| key.as_str())
        .collect();
    if !differing.is_empty() {
        return Some(format!("differs in {}", differing.join(", ")));
    }
    (!is_known).then(|| "its webhook may be another one".to_owned())
}

/// What GitLab shows of a key: flags at the top, the rest as texts under `properties`. The webhook is not shown.
fn shown(actual: &Value, key: &str) -> Option<String> {
    if key == "webhook" {
        return None;
    }
    actual.get(key).or_else(|| actual["properties"].get(key)).map(text)
}

/// GitLab gives booleans also as texts, and an empty channel also as null.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// The parameter that switches an event. Their plurals follow no rule.
fn flag(event: &str) -> &str {
    match event {
        "push" => "push_events",
        "issue" => "issues_events",
        "confidential_issue" => "confidential_issues_events",
        "merge_request" => "merge_requests_events",
        "note" => "note_events",
        "confidential_note" => "confidential_note_events",
        "tag_push" => "tag_push_events",
        "pipeline" => "pipeline_events",
        "wiki_page" => "wiki_page_events",
        other => other,
    }
}
