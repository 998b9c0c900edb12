//! Reads what Mattermost has. Lists by mmctl, side by side, because starting it is what takes the time; hooks and members
//! over REST, because mmctl lists the first 200 hooks of a team and no members at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::certs;
use crate::drivers::https::{self, Site};
use crate::drivers::mmctl::mmctl;
use crate::error::{hinted, joined};
use crate::secrets::{self, ADMIN_ID, ADMIN_TOKEN, Secrets};
use crate::settings::Settings;
use crate::stack::Stack;

use super::actual::{Actual, Channel, Plugins, Team, User};
use super::mark::TEAM_EMAIL;

/// The server over HTTPS, with the administrator's token.
#[derive(Debug)]
pub struct Rest {
    site: Site,
    token: Token,
}

struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The server with the token that secrets.env has; nothing when there is none, or it is refused. Makes nothing.
pub fn known(stack: &Stack, secrets: &Secrets) -> anyhow::Result<Option<Rest>> {
    let site = site(stack)?;
    match secrets.get(ADMIN_TOKEN) {
        Some(token) if is_accepted(&site, token)? => Ok(Some(Rest { site, token: Token(token.to_owned()) })),
        _ => Ok(None),
    }
}

/// Opens the server. The administrator's token is made when secrets.env has none, or one that is refused.
pub fn connect(stack: &Stack, secrets: &mut Secrets, today: &str) -> anyhow::Result<Rest> {
    let site = site(stack)?;
    let Some(id) = secrets.get(ADMIN_ID).map(str::to_owned) else {
        return Err(hinted(
            anyhow::anyhow!("Mattermost has no administrator of ours yet"),
            stack.hint("cargo xtask up"),
        ));
    };
    if let Some(rest) = known(stack, secrets)? {
        return Ok(rest);
    }
    let container = stack.container("mattermost");
    let users: Vec<User> = mmctl(&container, &["user", "list", "--all"])?;
    let Some(administrator) = users.iter().find(|user| user.id == id) else {
        bail!("secrets.env knows the administrator ({ADMIN_ID}={id}), and this database does not");
    };
    let token = make_token(&container, &administrator.username)?;
    secrets.set(ADMIN_TOKEN, &token, today);
    secrets.save(&secrets::path(&stack.root))?;
    Ok(Rest { site, token: Token(token) })
}

fn site(stack: &Stack) -> anyhow::Result<Site> {
    let ca = std::fs::read_to_string(certs::ca_path(&stack.root)).context("the stack has no CA yet")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stack.settings.ports.mattermost));
    https::site(&ca, &stack.settings.mattermost_host(), address)
}

/// A new access token of an account. It is shown once, on stdout, and never again.
pub fn make_token(container: &str, user: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Made {
        token: String,
    }
    let made: Vec<Made> = mmctl(container, &["token", "generate", user, super::mark::MARK])?;
    Ok(made.into_iter().next().context("`mmctl token generate` printed no token")?.token)
}

fn is_accepted(site: &Site, token: &str) -> anyhow::Result<bool> {
    match https::get(site, "/api/v4/users/me", Some(token))?.status().as_u16() {
        200 => Ok(true),
        401 => Ok(false),
        status => bail!("GET /api/v4/users/me answered {status}"),
    }
}

/// Everything that the planner looks at.
pub fn read(stack: &Stack, secrets: &Secrets, rest: &Rest) -> anyhow::Result<Actual> {
    let (settings, container) = (&stack.settings, stack.container("mattermost"));
    let container = container.as_str();
    let mut actual = std::thread::scope(|scope| -> anyhow::Result<Actual> {
        let teams = scope.spawn(|| {
            let teams: Vec<Team> = mmctl(container, &["team", "list"])?;
            let channels = channels(container, settings, &teams)?;
            Ok((teams, channels))
        });
        let users = scope.spawn(|| mmctl(container, &["user", "list", "--all"]));
        let bots = scope.spawn(|| mmctl(container, &["bot", "list", "--all"]));
        let commands = scope.spawn(|| mmctl(container, &["command", "list"]));
        let plugins = scope.spawn(|| plugins(container, settings));
        let configuration = scope.spawn(|| configuration(container, settings));
        let hooks =
            scope.spawn(|| Ok((pages(rest, "/api/v4/hooks/incoming?")?, pages(rest, "/api/v4/hooks/outgoing?")?)));
        let rest = scope.spawn(|| Ok((working_tokens(rest, settings, secrets)?, is_licensed(rest)?)));
        let (teams, channels) = joined(teams)?;
        let (incoming, outgoing) = joined(hooks)?;
        let (working_tokens, licensed) = joined(rest)?;
        Ok(Actual {
            teams,
            channels,
            users: joined(users)?,
            bots: joined(bots)?,
            members: BTreeSet::new(),
            incoming,
            outgoing,
            commands: joined(commands)?,
            plugins: joined(plugins)?,
            configuration: joined(configuration)?,
            working_tokens,
            licensed,
        })
    })?;
    actual.members = members(rest, settings, &actual)?;
    Ok(actual)
}

/// One call lists the channels of several teams.
fn channels(container: &str, settings: &Settings, teams: &[Team]) -> anyhow::Result<Vec<Channel>> {
    let is_looked_at =
        |team: &&Team| team.email == TEAM_EMAIL || settings.teams.iter().any(|wanted| wanted.name == team.name);
    let names: Vec<&str> = teams.iter().filter(is_looked_at).map(|team| team.name.as_str()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    mmctl(container, &[&["channel", "list"], names.as_slice()].concat())
}

fn plugins(container: &str, settings: &Settings) -> anyhow::Result<Plugins> {
    #[derive(Deserialize)]
    struct Listed {
        active: Vec<Manifest>,
        inactive: Vec<Manifest>,
    }
    #[derive(Deserialize)]
    struct Manifest {
        id: String,
        #[serde(default)]
        version: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Configured {
        plugins: Option<BTreeMap<String, BTreeMap<String, Value>>>,
        plugin_states: Option<BTreeMap<String, State>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct State {
        enable: bool,
    }
    if settings.plugins.is_empty() {
        return Ok(Plugins::default());
    }
    // The list has every plugin's whole schema, some 100 kB: it is asked for where a version is compared.
    let listed: Vec<Listed> = if settings.plugins.iter().any(|plugin| !plugin.version.is_empty()) {
        mmctl(container, &["plugin", "list"])?
    } else {
        Vec::new()
    };
    let configured: Vec<Configured> = mmctl(container, &["config", "get", "PluginSettings"])?;
    let configured = configured.into_iter().next().context("Mattermost has no PluginSettings")?;
    let states = configured.plugin_states.unwrap_or_default().into_iter();
    let manifests = listed.into_iter().flat_map(|listed| listed.active.into_iter().chain(listed.inactive));
    Ok(Plugins {
        installed: manifests.map(|manifest| (manifest.id, manifest.version)).collect(),
        enabled: states.filter(|(_, state)| state.enable).map(|(id, _)| id).collect(),
        settings: configured.plugins.unwrap_or_default(),
    })
}

/// The wanted settings of Mattermost's own, one call a section.
fn configuration(container: &str, settings: &Settings) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (section, key) in settings.configuration.keys().filter_map(|name| name.split_once('.')) {
        sections.entry(section).or_default().push(key);
    }
    let mut found = BTreeMap::new();
    for (section, keys) in sections {
        // A section that does not exist is the plan's to say, with every other key that does not.
        let values: Vec<Value> = match mmctl(container, &["config", "get", section]) {
            Err(error) if error.to_string().contains("invalid key") => continue,
            result => result?,
        };
        for key in keys {
            if let Some(value) = values.first().and_then(|values| values.get(key)) {
                found.insert(format!("{section}.{key}"), value.clone());
            }
        }
    }
    Ok(found)
}

fn working_tokens(rest: &Rest, settings: &Settings, secrets: &Secrets) -> anyhow::Result<BTreeSet<String>> {
    let mut working = BTreeSet::new();
    for name in settings.bots.iter().map(|bot| &bot.token).filter(|name| !name.is_empty()) {
        if let Some(token) = secrets.get(name)
            && is_accepted(&rest.site, token)?
        {
            working.insert(name.clone());
        }
    }
    Ok(working)
}

fn is_licensed(rest: &Rest) -> anyhow::Result<bool> {
    Ok(get(rest, "/api/v4/license/client?format=old")?["IsLicensed"] == "true")
}

/// Who is in the wanted teams, and in which channels of them those are who are wanted somewhere: one call a team, and one
/// for each team and wanted member, however many channels there are.
fn members(rest: &Rest, settings: &Settings, actual: &Actual) -> anyhow::Result<BTreeSet<(String, String)>> {
    #[derive(Deserialize)]
    struct TeamMember {
        user_id: String,
        delete_at: u64,
    }
    #[derive(Deserialize)]
    struct ChannelMember {
        channel_id: String,
    }
    let mut members = BTreeSet::new();
    for wanted in &settings.teams {
        let Some(team) = actual.team(&wanted.name).filter(|team| team.delete_at == 0) else { continue };
        let in_team: Vec<TeamMember> = pages(rest, &format!("/api/v4/teams/{}/members?", team.id))?;
        let in_team = in_team.into_iter().filter(|member| member.delete_at == 0);
        members.extend(in_team.map(|member| (team.id.clone(), member.user_id)));
        let people = wanted.channels.iter().flat_map(|channel| &channel.people);
        let hooks = settings
            .incoming_webhooks
            .iter()
            .filter(|hook| hook.channel.split_once(':').is_some_and(|(team, _)| team == wanted.name));
        let names: BTreeSet<&String> = people.chain(hooks.map(|hook| &hook.bot)).collect();
        for user in names.into_iter().filter_map(|name| actual.user(name)) {
            if !members.contains(&(team.id.clone(), user.id.clone())) {
                continue;
            }
            let path = format!("/api/v4/users/{}/teams/{}/channels/members", user.id, team.id);
            let channels: Vec<ChannelMember> = serde_json::from_value(get(rest, &path)?).context(path)?;
            members.extend(channels.into_iter().map(|channel| (channel.channel_id, user.id.clone())));
        }
    }
    Ok(members)
}

/// All pages of a list; the server gives 200 entries a page at most. `path` ends where parameters go on.
fn pages<T: DeserializeOwned>(rest: &Rest, path: &str) -> anyhow::Result<Vec<T>> {
    const SIZE: usize = 200;
    let mut all = Vec::new();
    for page in 0.. {
        let path = format!("{path}per_page={SIZE}&page={page}");
        let entries: Option<Vec<T>> = serde_json::from_value(get(rest, &path)?).with_context(|| path.clone())?;
        let entries = entries.unwrap_or_default();
        let is_last = entries.len() < SIZE;
        all.extend(entries);
        if is_last {
            break;
        }
    }
    Ok(all)
}

fn get(rest: &Rest, path: &str) -> anyhow::Result<Value> {
    let answer = https::get(&rest.site, path, Some(&rest.token.0))?;
    if answer.status() != 200 {
        bail!("GET {path} answered {}", answer.status());
    }
    https::json(&answer).with_context(|| format!("GET {path}"))
}

/// Sets what mmctl cannot: purpose and header of a channel.
pub fn describe_channel(rest: &Rest, id: &str, purpose: &str, header: &str) -> anyhow::Result<()> {
    let path = format!("/api/v4/channels/{id}/patch");
    let body = json!({ "purpose": purpose, "header": header });
    let answer = https::put(&rest.site, &path, Some(&rest.token.0), &body)?;
    if answer.status() != 200 {
        bail!("PUT {path} answered {}", answer.status());
    }
    Ok(())
}
