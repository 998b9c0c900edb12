//! What can be said of the wiring and of the connected tools without looking at anything.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::check::{Problem, is_address, is_domain, is_label, wrong};
use super::{IncomingWebhook, Settings};
use crate::render;

pub(super) fn problem(settings: &Settings) -> Option<Problem> {
    None.or_else(|| teams(settings))
        .or_else(|| bots(settings))
        .or_else(|| incoming_webhooks(settings))
        .or_else(|| callers(settings))
        .or_else(|| secret_names(settings))
        .or_else(|| plugins(settings))
        .or_else(|| configuration(settings))
        .or_else(|| postgres(settings))
        .or_else(|| tools(settings))
        .or_else(|| gitlab_events(settings))
}

const LABEL: &str = "use lower-case letters, digits and dashes, each name once";

fn teams(settings: &Settings) -> Option<Problem> {
    let mut names = HashSet::new();
    for (index, team) in settings.teams.iter().enumerate() {
        let key = |rest: &str| format!("teams.{index}.{rest}");
        if !is_label(&team.name) || team.name.len() < 2 || !names.insert(&team.name) {
            return wrong(key("name"), format!("{:?} is no team name, or is there twice", team.name), LABEL);
        }
        if let Some(problem) = display_name(key("display_name"), &team.display_name) {
            return Some(problem);
        }
        let mut channels = HashSet::new();
        for (position, channel) in team.channels.iter().enumerate() {
            let key = |rest: &str| format!("teams.{index}.channels.{position}.{rest}");
            if !is_label(&channel.name) || !channels.insert(&channel.name) {
                let what = format!("{:?} in {:?} is no channel name, or is there twice", channel.name, team.name);
                return wrong(key("name"), what, LABEL);
            }
            if let Some(problem) = display_name(key("display_name"), &channel.display_name) {
                return Some(problem);
            }
            // The limits of Mattermost are 250 and 1024 characters; the purpose also holds our mark.
            for (rest, text, most) in [("purpose", &channel.purpose, 200), ("header", &channel.header, 1024)] {
                let length = text.chars().count();
                if length > most {
                    let what = format!("that of {}:{} has {length} characters", team.name, channel.name);
                    return wrong(key(rest), what, format!("use {most} at most"));
                }
            }
            if let Some(person) = channel.people.iter().find(|person| !team.people.contains(person)) {
                let what = format!("{person:?} is in {}:{} but not in {}", team.name, channel.name, team.name);
                return wrong(key("people"), what, format!("add {person:?} to the people of {:?} too", team.name));
            }
        }
    }
    if !settings.teams.is_empty() && !settings.mattermost.user_access_tokens {
        let what = "the wiring reads and sets members with a token of the administrator";
        return wrong("mattermost.user_access_tokens", what, "leave it true, or remove the teams");
    }
    None
}

/// Mattermost takes 1 to 64 characters for a name that people see.
fn display_name(key: String, name: &str) -> Option<Problem> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > 64 || name.contains(char::is_control) {
        return wrong(key, format!("{name:?} is no name that people can read"), "use 1 to 64 characters on one line");
    }
    None
}

fn bots(settings: &Settings) -> Option<Problem> {
    let mut names = HashSet::new();
    for (index, bot) in settings.bots.iter().enumerate() {
        let fits = (3..=22).contains(&bot.name.len()) && is_label(&bot.name) && !bot.name.starts_with(char::is_numeric);
        if !fits || !names.insert(&bot.name) || bot.name == settings.administrator.name {
            let fix = "use 3 to 22 lower-case letters, digits and dashes, beginning with a letter, each name once";
            return wrong(
                format!("bots.{index}.name"),
                format!("{:?} is no name of a bot, or is taken", bot.name),
                fix,
            );
        }
        if let Some(problem) = display_name(format!("bots.{index}.display_name"), &bot.display_name) {
            return Some(problem);
        }
        if bot.description.chars().count() > 200 {
            let what = format!("has {} characters", bot.description.chars().count());
            return wrong(format!("bots.{index}.description"), what, "use 200 at most");
        }
    }
    if !settings.bots.is_empty() && !settings.mattermost.bot_accounts {
        return wrong("mattermost.bot_accounts", "there are bots below", "leave it true, or remove the bots");
    }
    None
}

fn incoming_webhooks(settings: &Settings) -> Option<Problem> {
    let mut places = HashSet::new();
    for (index, hook) in settings.incoming_webhooks.iter().enumerate() {
        let key = |rest: &str| format!("incoming_webhooks.{index}.{rest}");
        if let Some(problem) = display_name(key("display_name"), &hook.display_name) {
            return Some(problem);
        }
        if !has_channel(settings, &hook.channel) {
            let what = format!("{:?} is no channel of [[teams]]", hook.channel);
            return wrong(key("channel"), what, "use team:channel, such as \"engineering:builds\"");
        }
        if !settings.bots.iter().any(|bot| bot.name == hook.bot) {
            return wrong(key("bot"), format!("{:?} is not in [[bots]]", hook.bot), "name one that is");
        }
        if !places.insert((&hook.channel, &hook.display_name)) {
            let what = format!("{:?} is in {} twice", hook.display_name, hook.channel);
            return wrong(key("display_name"), what, "hooks of one channel need names of their own");
        }
    }
    None
}

fn has_channel(settings: &Settings, name: &str) -> bool {
    name.split_once(':').is_some_and(|(team, channel)| {
        let team = settings.teams.iter().find(|candidate| candidate.name == team);
        team.is_some_and(|team| team.channels.iter().any(|candidate| candidate.name == channel))
    })
}

/// Outgoing webhooks and slash commands: both call a URL.
fn callers(settings: &Settings) -> Option<Problem> {
    let is_team = |name: &str| settings.teams.iter().any(|team| team.name == name);
    for (index, hook) in settings.outgoing_webhooks.iter().enumerate() {
        let key = |rest: &str| format!("outgoing_webhooks.{index}.{rest}");
        if !is_team(&hook.team) {
            return wrong(key("team"), format!("{:?} is not in [[teams]]", hook.team), "name one that is");
        }
        if !hook.channel.is_empty() && !has_channel(settings, &format!("{}:{}", hook.team, hook.channel)) {
            let what = format!("{:?} is no channel of {}", hook.channel, hook.team);
            return wrong(key("channel"), what, "use the name of one, without its team, or \"\" for all");
        }
        if !settings.bots.iter().any(|bot| bot.name == hook.bot) {
            return wrong(key("bot"), format!("{:?} is not in [[bots]]", hook.bot), "name one that is");
        }
        if hook.trigger_words.is_empty() && hook.channel.is_empty() {
            let fix = "name the words that trigger it, or one channel of which every message does";
            return wrong(key("trigger_words"), "nothing would trigger it", fix);
        }
        if !["application/json", "application/x-www-form-urlencoded"].contains(&hook.content_type.as_str()) {
            let fix = "use \"application/json\" or \"application/x-www-form-urlencoded\"";
            return wrong(key("content_type"), format!("Mattermost posts no {:?}", hook.content_type), fix);
        }
        if hook.urls.is_empty() {
            return wrong(key("urls"), "is empty", "name at least one URL");
        }
        if let Some(problem) = hook.urls.iter().find_map(|url| url_problem(key("urls"), url)) {
            return Some(problem);
        }
        if let Some(problem) = display_name(key("display_name"), &hook.display_name) {
            return Some(problem);
        }
    }
    let mut triggers = HashSet::new();
    for (index, command) in settings.slash_commands.iter().enumerate() {
        let key = |rest: &str| format!("slash_commands.{index}.{rest}");
        if !is_team(&command.team) {
            return wrong(key("team"), format!("{:?} is not in [[teams]]", command.team), "name one that is");
        }
        if !is_label(&command.trigger) || !triggers.insert((&command.team, &command.trigger)) {
            let what = format!("{:?} is no word after a slash, or is there twice", command.trigger);
            return wrong(key("trigger"), what, LABEL);
        }
        if let Some(problem) = url_problem(key("url"), &command.url) {
            return Some(problem);
        }
        if let Some(problem) = display_name(key("display_name"), &command.display_name) {
            return Some(problem);
        }
    }
    None
}

/// Every secret that the wiring makes has a name of its own, which no other part of secrets.env uses.
fn secret_names(settings: &Settings) -> Option<Problem> {
    let bots = settings.bots.iter().enumerate().filter(|(_, bot)| !bot.token.is_empty());
    let named = bots
        .map(|(index, bot)| (format!("bots.{index}.token"), &bot.token))
        .chain(of_list("incoming_webhooks", settings.incoming_webhooks.iter().map(|hook| &hook.secret)))
        .chain(of_list("outgoing_webhooks", settings.outgoing_webhooks.iter().map(|hook| &hook.secret)))
        .chain(of_list("slash_commands", settings.slash_commands.iter().map(|command| &command.secret)));
    let mut taken: HashMap<&str, String> = HashMap::new();
    for (key, name) in named {
        if !crate::secrets::is_name(name) || crate::secrets::is_reserved(name) {
            let fix = "use upper-case letters, digits and underscores, such as \"JENKINS_BUILDS_HOOK\"";
            return wrong(key, format!("{name:?} is no free name in secrets.env"), fix);
        }
        if let Some(other) = taken.get(name.as_str()) {
            return wrong(key, format!("{name} is the secret of {other} already"), "give each a secret of its own");
        }
        taken.insert(name, key);
    }
    None
}

fn of_list<'a>(
    list: &'static str,
    names: impl Iterator<Item = &'a String> + 'a,
) -> impl Iterator<Item = (String, &'a String)> + 'a {
    names.enumerate().map(move |(index, name)| (format!("{list}.{index}.secret"), name))
}

fn plugins(settings: &Settings) -> Option<Problem> {
    let mut ids = HashSet::new();
    let environment: BTreeSet<&str> = render::mattermost_variables().collect();
    for (index, plugin) in settings.plugins.iter().enumerate() {
        let key = |rest: &str| format!("plugins.{index}.{rest}");
        let is_id = (3..=190).contains(&plugin.id.len())
            && plugin.id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !is_id || !ids.insert(&plugin.id) {
            let what = format!("{:?} is no id of a plugin, or is there twice", plugin.id);
            return wrong(key("id"), what, "use the id in the plugin's plugin.json");
        }
        let has_bundle = !plugin.bundle.as_os_str().is_empty();
        if has_bundle && (plugin.sha256.len() != 64 || !plugin.sha256.chars().all(|c| c.is_ascii_hexdigit())) {
            let fix = "`sha256sum FILE` prints it; compare it with the publisher's";
            return wrong(key("sha256"), "a bundle needs its SHA-256, 64 hexadecimal digits", fix);
        }
        if has_bundle && plugin.version.is_empty() {
            return wrong(key("version"), "a bundle needs its version", "use the one in the bundle's plugin.json");
        }
        for name in plugin.settings.keys() {
            if name.is_empty() || name.chars().any(|c| c.is_ascii_uppercase()) {
                let fix = "Mattermost keeps the settings of plugins in lower case";
                return wrong(key(&format!("settings.{name}")), format!("{name:?} is no setting"), fix);
            }
            // The Calls plugin takes its settings from MM_CALLS_ variables before its configuration.
            let bare = |text: &str| text.replace('_', "").to_ascii_uppercase();
            let overriding = environment
                .iter()
                .find(|variable| variable.strip_prefix("MM_CALLS_").is_some_and(|rest| bare(rest) == bare(name)));
            if let Some(variable) = overriding.filter(|_| plugin.id == "com.mattermost.calls") {
                let what = format!("env/mattermost.env sets {variable}, which overrides it");
                return wrong(key(&format!("settings.{name}")), what, "remove it here");
            }
        }
    }
    None
}

fn configuration(settings: &Settings) -> Option<Problem> {
    let environment: BTreeSet<&str> = render::mattermost_variables().collect();
    for (name, value) in &settings.configuration {
        let key = format!("configuration.{name}");
        let parts: Vec<&str> = name.split('.').collect();
        let is_word = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric());
        if parts.len() != 2 || !parts.iter().all(is_word) {
            let fix = "use \"Section.Key\" as the System Console's documentation does, such as \"TeamSettings.MaxChannelsPerTeam\"";
            return wrong(key, format!("{name:?} is no setting of Mattermost"), fix);
        }
        if parts[0] == "PluginSettings" && ["Plugins", "PluginStates"].contains(&parts[1]) {
            return wrong(key, "it would replace the settings of every plugin", "use [[plugins]]");
        }
        let variable = format!("MM_{}", name.replace('.', "_").to_ascii_uppercase());
        if environment.contains(variable.as_str()) {
            let what = format!("env/mattermost.env sets {variable}, which overrides it");
            return wrong(key, what, "set it by its own key in stack.toml");
        }
        if value.is_table() || value.is_datetime() || value.is_float() {
            return wrong(key, "is neither a text, a number, a truth value nor a list", "use one of these");
        }
    }
    None
}

fn postgres(settings: &Settings) -> Option<Problem> {
    let postgres = &settings.postgres;
    for (key, name) in [("postgres.database", &postgres.database), ("postgres.role", &postgres.role)] {
        let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.len() <= 63
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !fits {
            let fix = "use lower-case letters, digits and underscores, beginning with a letter";
            return wrong(key, format!("{name:?} is no plain name"), fix);
        }
    }
    if postgres.external.is_empty() {
        for (key, name) in [("postgres.database", &postgres.database), ("postgres.role", &postgres.role)] {
            if name != "mattermost" {
                let fix = "leave it \"mattermost\", or name the server in postgres.external";
                return wrong(key, "the stack's own server has the database and role mattermost", fix);
            }
        }
        return None;
    }
    let host = postgres
        .external
        .rsplit_once(':')
        .filter(|(host, port)| (is_host(host)) && port.parse::<u16>().is_ok_and(|port| port > 0));
    if host.is_none() {
        let what = format!("{:?} is no host and port", postgres.external);
        return wrong(
            "postgres.external",
            what,
            "use \"host:port\", such as \"db.cicd.local:5432\"; the host as its certificate says",
        );
    }
    if postgres.ca.as_os_str().is_empty() {
        let fix = "name the PEM file of the CA that signed that server's certificate: it is always verified";
        return wrong("postgres.ca", "is empty", fix);
    }
    None
}

fn tools(settings: &Settings) -> Option<Problem> {
    for (key, url) in [
        ("jenkins.url", &settings.jenkins.url),
        ("gitlab.url", &settings.gitlab.url),
        ("sonarqube.url", &settings.sonarqube.url),
    ] {
        if let Some(problem) = url_problem(key.to_owned(), url) {
            return Some(problem);
        }
        if url.ends_with('/') {
            return wrong(key, format!("{url:?} ends with a slash"), "leave the slash out");
        }
    }
    let rest = settings.jenkins.url.split_once("://").map_or("", |(_, rest)| rest);
    if rest.contains('/') {
        let what = format!("{:?} has a path, which Mattermost's Jenkins plugin drops", settings.jenkins.url);
        return wrong("jenkins.url", what, "serve Jenkins at the root of a name of its own");
    }
    let is_hook = |name: &str| settings.incoming_webhooks.iter().any(|hook| hook.secret == name);
    let hooks = [
        ("jenkins.builds_hook", &settings.jenkins.builds_hook),
        ("jenkins.alerts_hook", &settings.jenkins.alerts_hook),
        ("gitlab.hook", &settings.gitlab.hook),
        ("sonarqube.passed_hook", &settings.sonarqube.passed_hook),
        ("sonarqube.failed_hook", &settings.sonarqube.failed_hook),
    ];
    // A site without any wiring needs no hook either.
    for (key, hook) in hooks {
        if !hook.is_empty() && !is_hook(hook) {
            let fix = "use the `secret` of one of [[incoming_webhooks]], or \"\" for none";
            return wrong(key, format!("there is no incoming webhook {hook:?}"), fix);
        }
    }
    if settings.sonarqube.failed_hook.is_empty() && !settings.sonarqube.passed_hook.is_empty() {
        let fix = "name the hook that failed gates go to";
        return wrong("sonarqube.failed_hook", "gates that passed would be told and failed ones not", fix);
    }
    if settings.gitlab.username.is_empty() || settings.gitlab.username.chars().count() > 22 {
        return wrong("gitlab.username", "has to be 1 to 22 characters long", "use \"gitlab\"");
    }
    const BRANCHES: [&str; 4] = ["all", "default", "protected", "default_and_protected"];
    if !BRANCHES.contains(&settings.gitlab.branches.as_str()) {
        let what = format!("GitLab knows no {:?}", settings.gitlab.branches);
        return wrong("gitlab.branches", what, format!("use one of {}", BRANCHES.join(", ")));
    }
    for (key, paths) in [("gitlab.projects", &settings.gitlab.projects), ("gitlab.groups", &settings.gitlab.groups)] {
        let is_path = |path: &str| {
            !path.is_empty() && path.split('/').all(|part| !part.is_empty()) && !path.contains(char::is_whitespace)
        };
        if let Some(path) =
            paths.iter().find(|path| !is_path(path) || (key == "gitlab.projects" && !path.contains('/')))
        {
            return wrong(
                key,
                format!("{path:?} is no full path"),
                "use the path in its URL, such as \"group/project\"",
            );
        }
    }
    if settings.relay.port < 1024 {
        return wrong("relay.port", format!("{} is a privileged port", settings.relay.port), "use 1024 or above");
    }
    if !(10..=100_000).contains(&settings.relay.queue) {
        let what = format!("{} deliveries are too few or too many", settings.relay.queue);
        return wrong("relay.queue", what, "use 10 to 100000");
    }
    None
}

fn gitlab_events(settings: &Settings) -> Option<Problem> {
    let hook: &IncomingWebhook = settings.incoming_webhooks.iter().find(|hook| hook.secret == settings.gitlab.hook)?;
    let (team, home) = hook.channel.split_once(':')?;
    for (event, channel) in settings.gitlab.events.all() {
        let key = format!("gitlab.events.{event}");
        if channel.is_empty() {
            continue;
        }
        if !has_channel(settings, &format!("{team}:{channel}")) {
            return wrong(key, format!("{channel:?} is no channel of {team}"), "use the name of one, without its team");
        }
        if hook.locked && channel != home {
            let what = format!("the hook {} is locked to {home}: Mattermost would refuse {channel}", hook.secret);
            return wrong(key, what, format!("use {home:?}, or set `locked = false` at that hook"));
        }
    }
    None
}

fn url_problem(key: String, url: &str) -> Option<Problem> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "1"));
    if !is_host(host) || port.parse::<u16>().is_err() || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let fix = "use http:// or https://, a host name or address, and no user or password in it";
        return wrong(key, format!("{url:?} is no URL"), fix);
    }
    None
}

fn is_host(text: &str) -> bool {
    is_label(text) || is_domain(text) || is_address(text)
}
