//! Incoming and outgoing webhooks, and slash commands.

use crate::settings::{IncomingWebhook, OutgoingWebhook, SlashCommand};
use crate::wiring::actual;
use crate::wiring::mark::{is_marked, marked};
use crate::wiring::plan::{Action, Fields, Hidden, Operation, Plan, Step};

use super::{Wanted, problem};

pub(super) fn incoming(wanted: &Wanted<'_>, plan: &mut Plan) {
    for hook in &wanted.settings.incoming_webhooks {
        match known(wanted, hook).or_else(|| unknown(wanted, hook)) {
            None => plan.steps.push(create(wanted, hook)),
            Some(actual) if !is_marked(&actual.description) => {
                let note = "it does not carry our mark and stays as it is";
                plan.notes.push(format!("secrets.env has the hook of somebody else as {}: {note}", hook.secret));
            }
            Some(actual) => {
                if wanted.secrets.get(&hook.secret) != Some(&actual.id) {
                    plan.steps.push(adopt("incoming webhook", &hook.display_name, &hook.secret, &actual.id));
                }
                plan.steps.extend(change(wanted, hook, actual));
            }
        }
    }
}

/// The hook whose id is in secrets.env, wherever it posts by now.
fn known<'a>(wanted: &Wanted<'a>, hook: &IncomingWebhook) -> Option<&'a actual::IncomingHook> {
    let id = wanted.secrets.get(&hook.secret)?;
    wanted.actual.incoming.iter().find(|actual| actual.id == id)
}

/// One under our mark whose id no secret knows: a run was cut off before it could note the id.
fn unknown<'a>(wanted: &Wanted<'a>, hook: &IncomingWebhook) -> Option<&'a actual::IncomingHook> {
    let channel = wanted.actual.channel_at(&hook.channel)?;
    let is_known = |id: &str| {
        let hooks = &wanted.settings.incoming_webhooks;
        hooks.iter().any(|other| wanted.secrets.get(&other.secret) == Some(id))
    };
    wanted.actual.incoming.iter().find(|actual| {
        is_marked(&actual.description)
            && actual.channel_id == channel.id
            && actual.display_name == hook.display_name
            && !is_known(&actual.id)
    })
}

fn create(wanted: &Wanted<'_>, hook: &IncomingWebhook) -> Step {
    let fields = Fields::default()
        .added("channel", &hook.channel)
        .added("bot", &hook.bot)
        .added("locked", hook.locked.to_string())
        .added("id", format!("in {}", hook.secret));
    // An id without a hook: it was deleted, and whoever posts to it gets a new one.
    let gone = wanted.secrets.get(&hook.secret).is_some();
    let fields = if gone { fields.added("instead of", "one that was deleted; connect its tool again") } else { fields };
    fields.step(Operation::Create, "incoming webhook", &hook.display_name, vec![Action::CreateIncoming(hook.clone())])
}

fn change(wanted: &Wanted<'_>, hook: &IncomingWebhook, actual: &actual::IncomingHook) -> Option<Step> {
    let fields = Fields::default()
        .changed("display_name", &actual.display_name, &hook.display_name)
        .changed("channel", place(wanted, &actual.channel_id), &hook.channel)
        .changed("locked", actual.channel_locked.to_string(), hook.locked.to_string())
        .changed("bot", user_name(wanted, &actual.user_id), &hook.bot);
    if fields.is_empty() {
        return None;
    }
    // No call changes the owner of a hook.
    let replace = fields.has("bot");
    let actions = if replace {
        vec![Action::DeleteHook { id: actual.id.clone() }, Action::CreateIncoming(hook.clone())]
    } else {
        vec![Action::ModifyIncoming { id: actual.id.clone(), hook: hook.clone() }]
    };
    let operation = if replace { Operation::Replace } else { Operation::Change };
    Some(fields.step(operation, "incoming webhook", &hook.display_name, actions))
}

fn adopt(kind: &'static str, name: &str, secret: &str, value: &str) -> Step {
    let fields = Fields::default().changed("noted in secrets.env", "no", format!("as {secret}"));
    let adopt = Action::Adopt { secret: secret.to_owned(), value: Hidden(value.to_owned()) };
    fields.step(Operation::Change, kind, name, vec![adopt])
}

pub(super) fn outgoing(wanted: &Wanted<'_>, plan: &mut Plan) {
    for hook in &wanted.settings.outgoing_webhooks {
        let fields = Fields::default()
            .added("team", &hook.team)
            .added("channel", &hook.channel)
            .added("trigger_words", hook.trigger_words.join(" "))
            .added("urls", hook.urls.join(" "))
            .added("token", format!("in {}", hook.secret));
        let Some(actual) = find_outgoing(wanted, hook) else {
            let create = vec![Action::CreateOutgoing(hook.clone())];
            plan.steps.push(fields.step(Operation::Create, "outgoing webhook", &hook.display_name, create));
            continue;
        };
        let channel = if hook.channel.is_empty() { String::new() } else { format!("{}:{}", hook.team, hook.channel) };
        let fields = Fields::default()
            .changed("channel", place(wanted, &actual.channel_id), channel)
            .changed("trigger_words", actual.trigger_words.join(" "), hook.trigger_words.join(" "))
            .changed("urls", actual.callback_urls.join(" "), hook.urls.join(" "))
            .changed("content_type", &actual.content_type, &hook.content_type)
            .changed("bot", user_name(wanted, &actual.creator_id), &hook.bot);
        if !fields.is_empty() {
            let actions = vec![Action::DeleteHook { id: actual.id.clone() }, Action::CreateOutgoing(hook.clone())];
            plan.steps.push(fields.step(Operation::Replace, "outgoing webhook", &hook.display_name, actions));
        } else if wanted.secrets.get(&hook.secret) != Some(&actual.token) {
            plan.steps.push(adopt("outgoing webhook", &hook.display_name, &hook.secret, &actual.token));
        }
    }
}

fn find_outgoing<'a>(wanted: &Wanted<'a>, hook: &OutgoingWebhook) -> Option<&'a actual::OutgoingHook> {
    let team = wanted.actual.team(&hook.team)?;
    let hooks = &wanted.actual.outgoing;
    hooks.iter().find(|actual| {
        is_marked(&actual.description) && actual.team_id == team.id && actual.display_name == hook.display_name
    })
}

pub(super) fn commands(wanted: &Wanted<'_>, plan: &mut Plan) {
    for command in &wanted.settings.slash_commands {
        let name = format!("{}:/{}", command.team, command.trigger);
        let Some(actual) = find_command(wanted, command) else {
            let fields = Fields::default()
                .added("display_name", &command.display_name)
                .added("url", &command.url)
                .added("token", format!("in {}", command.secret));
            plan.steps.push(fields.step(
                Operation::Create,
                "slash command",
                name,
                vec![create_command(wanted, command)],
            ));
            continue;
        };
        if !is_marked(&actual.description) {
            let fix = wanted.by_hand(&format!("command archive {}", actual.id));
            problem(
                plan,
                format!("the slash command {name} exists and is not ours"),
                format!("use another trigger, or {fix}"),
            );
            continue;
        }
        // `command modify` is known to change these two, and nothing else.
        let simple = Fields::default().changed("display_name", &actual.display_name, &command.display_name).changed(
            "url",
            &actual.url,
            &command.url,
        );
        let other = Fields::default()
            .changed("description", &actual.description, marked(&command.description))
            .changed("post", (actual.method == "P").to_string(), command.post.to_string())
            .changed("username", &actual.username, &command.username)
            .changed("autocomplete", actual.auto_complete.to_string(), command.autocomplete.to_string())
            .changed("autocomplete_hint", &actual.auto_complete_hint, &command.autocomplete_hint);
        if !other.is_empty() {
            let actions = vec![Action::ArchiveCommand { id: actual.id.clone() }, create_command(wanted, command)];
            plan.steps.push(other.step(Operation::Replace, "slash command", name, actions));
            continue;
        }
        if wanted.secrets.get(&command.secret) != Some(&actual.token) {
            plan.steps.push(adopt("slash command", &name, &command.secret, &actual.token));
        }
        if !simple.is_empty() {
            let modify = Action::ModifyCommand { id: actual.id.clone(), command: command.clone() };
            plan.steps.push(simple.step(Operation::Change, "slash command", name, vec![modify]));
        }
    }
}

fn create_command(wanted: &Wanted<'_>, command: &SlashCommand) -> Action {
    Action::CreateCommand { command: command.clone(), creator: wanted.administrator().to_owned() }
}

fn find_command<'a>(wanted: &Wanted<'a>, command: &SlashCommand) -> Option<&'a actual::Command> {
    let team = wanted.actual.team(&command.team)?;
    let mut commands = wanted.actual.commands.iter();
    commands.find(|actual| actual.team_id == team.id && actual.trigger == command.trigger && actual.delete_at == 0)
}

/// `team:channel` of a channel, its id when it is not among those that were read, or nothing.
fn place(wanted: &Wanted<'_>, id: &str) -> String {
    let Some(channel) = wanted.actual.channels.iter().find(|channel| channel.id == id) else { return id.to_owned() };
    let team = wanted.actual.teams.iter().find(|team| team.id == channel.team_id);
    format!("{}:{}", team.map_or("?", |team| &team.name), channel.name)
}

fn user_name(wanted: &Wanted<'_>, id: &str) -> String {
    wanted.actual.users.iter().find(|user| user.id == id).map_or(id, |user| &user.username).to_owned()
}

pub(super) fn orphans(wanted: &Wanted<'_>, orphan: &mut impl FnMut(&'static str, String, Vec<Action>)) {
    let (settings, actual) = (wanted.settings, wanted.actual);
    for hook in actual.incoming.iter().filter(|hook| is_marked(&hook.description)) {
        let is_wanted = settings.incoming_webhooks.iter().any(|candidate| {
            let found = known(wanted, candidate).or_else(|| unknown(wanted, candidate));
            found.is_some_and(|found| found.id == hook.id)
        });
        if !is_wanted {
            let name = format!("{} in {}", hook.display_name, place(wanted, &hook.channel_id));
            orphan("incoming webhook", name, vec![Action::DeleteHook { id: hook.id.clone() }]);
        }
    }
    for hook in actual.outgoing.iter().filter(|hook| is_marked(&hook.description)) {
        let mut candidates = settings.outgoing_webhooks.iter();
        if !candidates.any(|candidate| find_outgoing(wanted, candidate).is_some_and(|found| found.id == hook.id)) {
            let delete = vec![Action::DeleteHook { id: hook.id.clone() }];
            orphan("outgoing webhook", hook.display_name.clone(), delete);
        }
    }
    for command in actual.commands.iter().filter(|command| command.delete_at == 0 && is_marked(&command.description)) {
        let mut candidates = settings.slash_commands.iter();
        if !candidates.any(|candidate| find_command(wanted, candidate).is_some_and(|found| found.id == command.id)) {
            let archive = vec![Action::ArchiveCommand { id: command.id.clone() }];
            orphan("slash command", format!("/{}", command.trigger), archive);
        }
    }
}
