//! Carries a plan out, call by call. What Mattermost gives back (identifiers, tokens) is in secrets.env before the next call.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::drivers::interrupt;
use crate::drivers::mmctl::{mmctl, mmctl_with};
use crate::error::hinted;
use crate::hash;
use crate::secrets::{self, Secrets};
use crate::settings::{Channel, IncomingWebhook, OutgoingWebhook, Plugin, PluginValue, SlashCommand};
use crate::stack::{self, Stack};

use super::mark::{MARK, TEAM_EMAIL, bot_email, marked};
use super::plan::{Action, Step};
use super::planner::plain;
use super::read::{self, Rest};

/// What an action works on.
#[derive(Debug)]
pub struct Target<'a> {
    pub stack: &'a Stack,
    pub rest: &'a Rest,
    pub today: &'a str,
}

/// Does every step, in order. `done` hears of each that is complete.
///
/// # Errors
/// At the first call that fails, by its name. What was done stays, and a new plan holds the rest.
pub fn apply(
    target: &Target<'_>,
    secrets: &mut Secrets,
    steps: &[Step],
    mut done: impl FnMut(&Step),
) -> anyhow::Result<()> {
    for step in steps {
        for action in &step.actions {
            interrupt::check()?;
            perform(target, secrets, action)
                .with_context(|| format!("{} {} could not be brought about", step.change.kind, step.change.name))?;
        }
        done(step);
    }
    Ok(())
}

fn perform(target: &Target<'_>, secrets: &mut Secrets, action: &Action) -> anyhow::Result<()> {
    let container = target.stack.container("mattermost");
    let run = |arguments: &[&str]| mmctl::<IgnoredAny>(&container, arguments).map(|_| ());
    match action {
        Action::CreateTeam(team) => {
            run(&["team", "create", "--name", &team.name, "--display-name", &team.display_name, "--email", TEAM_EMAIL])
        }
        Action::RenameTeam { team, display_name } => run(&["team", "rename", team, "--display-name", display_name]),
        Action::AddToTeam { team, users } => run(&with(&["team", "users", "add", team], users)),
        Action::CreateChannel { team, channel } => create_channel(&container, team, channel),
        Action::RenameChannel { team, channel, display_name } => {
            run(&["channel", "rename", &place(team, channel), "--name", channel, "--display-name", display_name])
        }
        Action::SetPrivacy { team, channel, private } => {
            run(&["channel", "modify", &place(team, channel), if *private { "--private" } else { "--public" }])
        }
        Action::DescribeChannel { id, purpose, header } => read::describe_channel(target.rest, id, purpose, header),
        Action::AddToChannel { team, channel, users } => {
            run(&with(&["channel", "users", "add", &place(team, channel)], users))
        }
        Action::CreateBotUser { name } => {
            // Thrown away: a bot does not log in. mmctl takes a password in argv only.
            let (email, password) = (bot_email(name), secrets::generate(24));
            let email = ["--email", &email, "--email-verified"];
            run(&[&["user", "create", "--username", name, "--password", &password], &email[..]].concat())
        }
        Action::ConvertToBot { name } => run(&["user", "convert", name, "--bot"]),
        Action::AssignBot { name, owner } => run(&["bot", "assign", name, owner]),
        Action::DescribeBot(bot) => {
            let description = marked(&bot.description);
            let names = ["--display-name", &bot.display_name, "--description", &description];
            run(&[&["bot", "update", &bot.name], &names[..]].concat())
        }
        Action::MakeToken { bot, secret } => {
            let token = read::make_token(&container, bot)?;
            note(target, secrets, secret, &token)
        }
        Action::CreateIncoming(hook) => {
            let id = create_incoming(&container, hook)?;
            note(target, secrets, &hook.secret, &id)
        }
        Action::ModifyIncoming { id, hook } => {
            let mut arguments = vec!["webhook", "modify-incoming", id, "--channel", &hook.channel];
            arguments.extend(["--display-name", &hook.display_name, "--description", MARK]);
            // Whatever it changes, it unlocks a hook unless it is told to lock it.
            arguments.extend(hook.locked.then_some("--lock-to-channel"));
            run(&arguments)
        }
        Action::DeleteHook { id } => run(&["webhook", "delete", id]),
        Action::CreateOutgoing(hook) => {
            let token = create_outgoing(&container, hook)?;
            note(target, secrets, &hook.secret, &token)
        }
        Action::CreateCommand { command, creator } => {
            let token = create_command(&container, command, creator)?;
            note(target, secrets, &command.secret, &token)
        }
        Action::ModifyCommand { id, command } => {
            run(&["command", "modify", id, "--title", &command.display_name, "--url", &command.url])
        }
        Action::Adopt { secret, value } => note(target, secrets, secret, &value.0),
        Action::InstallPlugin(plugin) => {
            let bundle = bundle(plugin)?;
            let added = mmctl_with::<IgnoredAny>(&container, &["plugin", "add", "--force", "/dev/stdin"], &bundle);
            added.map(|_| ()).map_err(|error| {
                hinted(
                    error,
                    "plugins can be added while mattermost.plugin_uploads is true, which `cargo xtask wire` sees to",
                )
            })
        }
        Action::ConfigurePlugin(plugin) => configure_plugin(target, &container, secrets, plugin),
        Action::EnablePlugin { id } => enable_plugin(&container, id),
        Action::DisablePlugin { id } => run(&["plugin", "disable", id]),
        Action::Configure(values) => configure(&container, &nested(values)),
        Action::ArchiveTeam { team } => run(&["team", "archive", team, "--confirm"]),
        Action::ArchiveChannel { team, channel } => run(&["channel", "archive", &place(team, channel)]),
        Action::DisableBot { name } => run(&["bot", "disable", name]),
        Action::ArchiveCommand { id } => run(&["command", "archive", id]),
    }
}

fn place(team: &str, channel: &str) -> String {
    format!("{team}:{channel}")
}

fn with<'a>(arguments: &[&'a str], users: &'a [String]) -> Vec<&'a str> {
    arguments.iter().copied().chain(users.iter().map(String::as_str)).collect()
}

fn note(target: &Target<'_>, secrets: &mut Secrets, name: &str, value: &str) -> anyhow::Result<()> {
    secrets.set(name, value, target.today);
    secrets.save(&secrets::path(&target.stack.root))
}

fn create_channel(container: &str, team: &str, channel: &Channel) -> anyhow::Result<()> {
    let purpose = marked(&channel.purpose);
    let mut arguments = vec!["channel", "create", "--team", team, "--name", &channel.name];
    arguments.extend(["--display-name", &channel.display_name, "--purpose", &purpose]);
    if !channel.header.is_empty() {
        arguments.extend(["--header", &channel.header]);
    }
    arguments.extend(channel.private.then_some("--private"));
    mmctl::<IgnoredAny>(container, &arguments).map(|_| ())
}

fn create_incoming(container: &str, hook: &IncomingWebhook) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
    }
    let mut arguments = vec!["webhook", "create-incoming", "--channel", &hook.channel, "--user", &hook.bot];
    arguments.extend(["--display-name", &hook.display_name, "--description", MARK]);
    arguments.extend(hook.locked.then_some("--lock-to-channel"));
    let made: Vec<Made> = mmctl(container, &arguments)?;
    Ok(made.into_iter().next().context("`mmctl webhook create-incoming` printed no hook")?.id)
}

fn create_outgoing(container: &str, hook: &OutgoingWebhook) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
        token: String,
        channel_id: String,
    }
    let channel = place(&hook.team, &hook.channel);
    let mut arguments = vec!["webhook", "create-outgoing", "--team", &hook.team, "--user", &hook.bot];
    arguments.extend(["--display-name", &hook.display_name, "--description", MARK]);
    arguments.extend(["--content-type", &hook.content_type]);
    if !hook.channel.is_empty() {
        arguments.extend(["--channel", &channel]);
    }
    arguments.extend(hook.trigger_words.iter().flat_map(|word| ["--trigger-word", word.as_str()]));
    arguments.extend(hook.urls.iter().flat_map(|url| ["--url", url.as_str()]));
    let made: Vec<Made> = mmctl(container, &arguments)?;
    let made = made.into_iter().next().context("`mmctl webhook create-outgoing` printed no hook")?;
    // A channel that it does not find is left out without a word, and the hook would listen everywhere.
    if !hook.channel.is_empty() && made.channel_id.is_empty() {
        mmctl::<IgnoredAny>(container, &["webhook", "delete", &made.id])?;
        bail!("Mattermost did not take the channel {channel}");
    }
    Ok(made.token)
}

fn create_command(container: &str, command: &SlashCommand, creator: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Made {
        token: String,
    }
    let description = marked(&command.description);
    let mut arguments = vec!["command", "create", &command.team, "--trigger-word", &command.trigger];
    arguments.extend(["--title", &command.display_name, "--description", &description]);
    arguments.extend(["--url", &command.url, "--creator", creator]);
    if !command.username.is_empty() {
        arguments.extend(["--response-username", &command.username]);
    }
    arguments.extend(command.post.then_some("--post"));
    if command.autocomplete {
        arguments.extend(["--autocomplete", "--autocompleteDesc", &command.description]);
    }
    if !command.autocomplete_hint.is_empty() {
        arguments.extend(["--autocompleteHint", &command.autocomplete_hint]);
    }
    let made: Vec<Made> = mmctl(container, &arguments)?;
    Ok(made.into_iter().next().context("`mmctl command create` printed no command")?.token)
}

/// The bytes of a bundle whose hash is the one in stack.toml.
pub fn bundle(plugin: &Plugin) -> anyhow::Result<Vec<u8>> {
    let path: PathBuf = stack::checkout()?.join(&plugin.bundle);
    let bytes = std::fs::read(&path).map_err(|error| {
        let error = anyhow::anyhow!("the bundle of the plugin {}, {}: {error}", plugin.id, path.display());
        hinted(error, "put the file there, or change `bundle` in stack.toml")
    })?;
    let found = hash::sha256(&bytes);
    if !found.eq_ignore_ascii_case(&plugin.sha256) {
        let error = anyhow::anyhow!(
            "the bundle of the plugin {}, {}, has the SHA-256 {found}, and stack.toml says {}",
            plugin.id,
            path.display(),
            plugin.sha256
        );
        return Err(hinted(error, "fetch the bundle again, and compare its hash with the publisher's"));
    }
    Ok(bytes)
}

/// Merged into what the plugin has: other settings of it stay. Secrets that are missing are made and noted before.
fn configure_plugin(
    target: &Target<'_>,
    container: &str,
    secrets: &mut Secrets,
    plugin: &Plugin,
) -> anyhow::Result<()> {
    // What a plugin encrypts with its key needs one of 16, 24 or 32 bytes.
    const LENGTH: usize = 32;
    let mut settings = Map::new();
    for (name, value) in &plugin.settings {
        let value = match value {
            PluginValue::Plain(value) => plain(value),
            PluginValue::Secret(secret) => {
                if secrets.get(&secret.secret).is_none() {
                    note(target, secrets, &secret.secret, &secrets::generate(LENGTH))?;
                }
                Value::from(secrets.require(&secret.secret)?)
            }
        };
        settings.insert(name.clone(), value);
    }
    configure(container, &json!({ "PluginSettings": { "Plugins": { &plugin.id: settings } } }))
}

/// By stdin, so that no secret is in argv.
pub fn configure(container: &str, patch: &Value) -> anyhow::Result<()> {
    let patch = patch.to_string();
    mmctl_with::<IgnoredAny>(container, &["config", "patch", "/dev/stdin"], patch.as_bytes()).map(|_| ())
}

/// One that Mattermost ships is installed from its own files when it is not yet.
pub fn enable_plugin(container: &str, id: &str) -> anyhow::Result<()> {
    let enable = || mmctl::<IgnoredAny>(container, &["plugin", "enable", id]).map(|_| ());
    match enable() {
        Err(error) if error.to_string().contains("not installed") => {
            mmctl::<IgnoredAny>(container, &["plugin", "marketplace", "install", id]).map_err(|_| {
                hinted(error, "Mattermost does not ship it: give its [[plugins]] entry a bundle, sha256 and version")
            })?;
            enable()
        }
        result => result,
    }
}

/// `Section.Key` to value, as the tree that Mattermost's configuration is.
fn nested(values: &BTreeMap<String, Value>) -> Value {
    let mut sections = Map::new();
    for (name, value) in values {
        let (section, key) = name.split_once('.').unwrap_or((name, ""));
        sections.entry(section).or_insert_with(|| json!({}))[key] = value.clone();
    }
    Value::Object(sections)
}

/// Checks every bundle that a plan would install, before anything is changed.
pub fn check_bundles(steps: &[Step]) -> anyhow::Result<()> {
    for plugin in installed(steps) {
        bundle(plugin)?;
    }
    Ok(())
}

/// The plugins that the steps install.
pub fn installed(steps: &[Step]) -> impl Iterator<Item = &Plugin> {
    steps.iter().flat_map(|step| &step.actions).filter_map(|action| match action {
        Action::InstallPlugin(plugin) => Some(plugin),
        _ => None,
    })
}

#[test]
fn settings_become_a_tree() {
    let values = BTreeMap::from([
        ("TeamSettings.A".to_owned(), json!(true)),
        ("TeamSettings.B".to_owned(), json!(2)),
        ("ServiceSettings.C".to_owned(), json!(["x"])),
    ]);
    let tree = json!({ "TeamSettings": { "A": true, "B": 2 }, "ServiceSettings": { "C": ["x"] } });
    assert_eq!(nested(&values), tree);
}
