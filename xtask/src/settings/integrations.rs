//! What Mattermost is wired to: teams, channels, bots, hooks, plugins, and the tools at the far side.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    pub name: String,
    pub display_name: String,
    /// User names of people and bots that belong to the team.
    pub people: Vec<String>,
    pub channels: Vec<Channel>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub name: String,
    pub display_name: String,
    pub private: bool,
    pub purpose: String,
    pub header: String,
    /// User names of people who belong to the channel; they have to be in the team.
    pub people: Vec<String>,
}

/// A service account. It belongs to the administrator, and is a member of the channels that its hooks post to.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bot {
    pub name: String,
    pub display_name: String,
    pub description: String,
    /// Name in secrets.env of the access token that a far side needs, or empty.
    pub token: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IncomingWebhook {
    /// Name in secrets.env under which the id is kept.
    pub secret: String,
    pub display_name: String,
    /// `team:channel`.
    pub channel: String,
    pub bot: String,
    /// Whether it refuses every other channel.
    pub locked: bool,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OutgoingWebhook {
    /// Name in secrets.env under which the token is kept.
    pub secret: String,
    pub display_name: String,
    pub team: String,
    /// Name of a public channel of the team, or empty for all.
    pub channel: String,
    pub bot: String,
    pub trigger_words: Vec<String>,
    pub urls: Vec<String>,
    pub content_type: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SlashCommand {
    /// Name in secrets.env under which the token is kept.
    pub secret: String,
    pub team: String,
    /// The word after the slash.
    pub trigger: String,
    pub display_name: String,
    pub description: String,
    pub url: String,
    /// Whether Mattermost calls the URL by POST instead of GET.
    pub post: bool,
    /// Name under which answers appear, or empty.
    pub username: String,
    pub autocomplete: bool,
    pub autocomplete_hint: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    pub id: String,
    pub enabled: bool,
    /// A `.tar.gz` to install the plugin from, relative to the checkout or absolute; empty for one that Mattermost ships.
    #[serde(default)]
    pub bundle: PathBuf,
    /// SHA-256 of the bundle, in hexadecimal.
    #[serde(default)]
    pub sha256: String,
    /// Version in the bundle: another installed one is replaced.
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub settings: BTreeMap<String, PluginValue>,
}

/// A value of a plugin's setting, or the name of the secret that holds it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum PluginValue {
    Secret(SecretName),
    Plain(toml::Value),
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    pub secret: String,
}

/// A PostgreSQL of somebody else, or none.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// `host:port`, or empty for the stack's own server.
    pub external: String,
    /// PEM file of the CA of that server, relative to the checkout or absolute.
    pub ca: PathBuf,
    pub database: String,
    pub role: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Jenkins {
    /// Address by which Mattermost and `connect` reach Jenkins; no path: Mattermost's Jenkins plugin drops it.
    pub url: String,
    /// Names in secrets.env of the hooks for builds and for failed quality gates.
    pub builds_hook: String,
    pub alerts_hook: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Gitlab {
    pub url: String,
    /// Name in secrets.env of the hook that GitLab posts to.
    pub hook: String,
    /// Name under which GitLab's messages appear.
    pub username: String,
    /// Full paths of the projects and groups to connect.
    pub projects: Vec<String>,
    pub groups: Vec<String>,
    pub only_broken_pipelines: bool,
    /// Branches whose pushes and pipelines are told: `all`, `default`, `protected` or `default_and_protected`.
    pub branches: String,
    pub events: GitlabEvents,
}

/// The channel that each event goes to, or empty for none.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GitlabEvents {
    pub push: String,
    pub issue: String,
    pub confidential_issue: String,
    pub merge_request: String,
    pub note: String,
    pub confidential_note: String,
    pub tag_push: String,
    pub pipeline: String,
    pub wiki_page: String,
}

impl GitlabEvents {
    /// Each event and its channel, in the order of stack.toml.
    pub fn all(&self) -> [(&'static str, &str); 9] {
        [
            ("push", &self.push),
            ("issue", &self.issue),
            ("confidential_issue", &self.confidential_issue),
            ("merge_request", &self.merge_request),
            ("note", &self.note),
            ("confidential_note", &self.confidential_note),
            ("tag_push", &self.tag_push),
            ("pipeline", &self.pipeline),
            ("wiki_page", &self.wiki_page),
        ]
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sonarqube {
    pub url: String,
    /// Keys of the projects to connect; empty for one webhook that covers all of them.
    pub projects: Vec<String>,
    /// Names in secrets.env of the hooks for gates that passed (empty: not told) and that failed.
    pub passed_hook: String,
    pub failed_hook: String,
}

/// The service that turns SonarQube's deliveries into messages.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    pub port: u16,
    /// Deliveries that wait on disk while Mattermost is away, at most.
    pub queue: u32,
}
