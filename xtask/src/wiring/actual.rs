//! What Mattermost has: read in a number of calls that does not grow with channels or hooks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Everything that the planner looks at.
#[derive(Debug, Clone, Default)]
pub struct Actual {
    pub teams: Vec<Team>,
    /// Of the teams that are wanted or ours, archived ones too.
    pub channels: Vec<Channel>,
    pub users: Vec<User>,
    pub bots: Vec<Bot>,
    /// Identifier of a team or channel, and that of a user who is in it. Channels are looked up for the users that are
    /// wanted somewhere.
    pub members: BTreeSet<(String, String)>,
    pub incoming: Vec<IncomingHook>,
    pub outgoing: Vec<OutgoingHook>,
    pub commands: Vec<Command>,
    pub plugins: Plugins,
    /// The wanted settings, `Section.Key`, of those that the server knows.
    pub configuration: BTreeMap<String, Value>,
    /// Names of secrets that hold an access token which the server accepts.
    pub working_tokens: BTreeSet<String>,
    pub licensed: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Team {
    pub id: String,
    pub name: String,
    pub display_name: String,
    /// Nobody sees it but administrators: our mark is in it, because a team is created without a description.
    pub email: String,
    pub delete_at: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Channel {
    pub id: String,
    pub team_id: String,
    pub name: String,
    pub display_name: String,
    /// `O` is public and `P` private.
    #[serde(rename = "type")]
    pub kind: String,
    pub purpose: String,
    pub header: String,
    pub delete_at: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct User {
    pub id: String,
    pub username: String,
    #[serde(default)]
    pub email: String,
    #[serde(default)]
    pub is_bot: bool,
    #[serde(default)]
    pub delete_at: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Bot {
    pub user_id: String,
    pub username: String,
    #[serde(default)]
    pub display_name: String,
    #[serde(default)]
    pub description: String,
    pub owner_id: String,
    pub delete_at: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct IncomingHook {
    pub id: String,
    pub user_id: String,
    pub channel_id: String,
    pub team_id: String,
    pub display_name: String,
    pub description: String,
    pub channel_locked: bool,
}

/// Debug shows no token: it would be in a log.
#[derive(Clone, Deserialize)]
pub struct OutgoingHook {
    pub id: String,
    pub token: String,
    pub creator_id: String,
    pub team_id: String,
    pub channel_id: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub trigger_words: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub callback_urls: Vec<String>,
    pub display_name: String,
    pub description: String,
    pub content_type: String,
}

impl std::fmt::Debug for OutgoingHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutgoingHook").field("id", &self.id).field("name", &self.display_name).finish_non_exhaustive()
    }
}

/// Debug shows no token: it would be in a log.
#[derive(Clone, Deserialize)]
pub struct Command {
    pub id: String,
    pub token: String,
    pub team_id: String,
    pub trigger: String,
    /// `G` or `P`.
    pub method: String,
    pub username: String,
    pub auto_complete: bool,
    pub auto_complete_hint: String,
    pub display_name: String,
    pub description: String,
    pub url: String,
    #[serde(default)]
    pub delete_at: u64,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command").field("id", &self.id).field("trigger", &self.trigger).finish_non_exhaustive()
    }
}

/// Debug shows no settings: some are secrets.
#[derive(Clone, Default)]
pub struct Plugins {
    /// Identifier to version.
    pub installed: BTreeMap<String, String>,
    pub enabled: BTreeSet<String>,
    pub settings: BTreeMap<String, BTreeMap<String, Value>>,
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins").field("installed", &self.installed).finish_non_exhaustive()
    }
}

impl Actual {
    pub fn team(&self, name: &str) -> Option<&Team> {
        self.teams.iter().find(|team| team.name == name)
    }

    pub fn channel(&self, team: &str, name: &str) -> Option<&Channel> {
        let team = self.team(team)?;
        self.channels.iter().find(|channel| channel.team_id == team.id && channel.name == name)
    }

    /// A channel by `team:channel`.
    pub fn channel_at(&self, place: &str) -> Option<&Channel> {
        let (team, name) = place.split_once(':')?;
        self.channel(team, name)
    }

    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.username == name)
    }

    pub fn bot(&self, name: &str) -> Option<&Bot> {
        self.bots.iter().find(|bot| bot.username == name)
    }

    pub fn is_member(&self, of: &str, user: &str) -> bool {
        self.members.contains(&(of.to_owned(), user.to_owned()))
    }
}

/// Go prints an empty list as `null`.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
