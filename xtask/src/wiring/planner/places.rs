//! Teams, channels, who is in them, and what is ours and no longer wanted.

use std::collections::BTreeSet;

use crate::settings::{Channel, Team};
use crate::wiring::actual;
use crate::wiring::mark::{TEAM_EMAIL, is_marked, marked};
use crate::wiring::plan::{Action, Fields, Operation, Plan};

use super::{Wanted, problem};

pub(super) fn teams(wanted: &Wanted<'_>, plan: &mut Plan) {
    for team in &wanted.settings.teams {
        let Some(actual) = wanted.actual.team(&team.name) else {
            let fields = Fields::default().added("display_name", &team.display_name);
            let create = vec![Action::CreateTeam(team.clone())];
            plan.steps.push(fields.step(Operation::Create, "team", &team.name, create));
            continue;
        };
        if actual.delete_at != 0 {
            let fix = wanted.by_hand(&format!("team restore {}", team.name));
            problem(
                plan,
                format!("the team {} is archived", team.name),
                format!("{fix}, or take it out of stack.toml"),
            );
            continue;
        }
        let fields = Fields::default().changed("display_name", &actual.display_name, &team.display_name);
        if fields.is_empty() {
            continue;
        }
        if actual.email != TEAM_EMAIL {
            plan.notes.push(not_ours("team", &team.name, &fields));
            continue;
        }
        let rename = Action::RenameTeam { team: team.name.clone(), display_name: team.display_name.clone() };
        plan.steps.push(fields.step(Operation::Change, "team", &team.name, vec![rename]));
    }
}

fn not_ours(kind: &str, name: &str, fields: &Fields) -> String {
    format!("the {kind} {name} does not carry our mark and stays as it is; it differs in {}", fields.names())
}

pub(super) fn channels(wanted: &Wanted<'_>, plan: &mut Plan) {
    for team in &wanted.settings.teams {
        if wanted.actual.team(&team.name).is_some_and(|team| team.delete_at != 0) {
            continue;
        }
        for channel in &team.channels {
            match wanted.actual.channel(&team.name, &channel.name) {
                None => create(team, channel, plan),
                Some(actual) => change(wanted, team, channel, actual, plan),
            }
        }
    }
}

fn create(team: &Team, channel: &Channel, plan: &mut Plan) {
    let fields = Fields::default()
        .added("display_name", &channel.display_name)
        .added("private", channel.private.to_string())
        .added("purpose", &channel.purpose)
        .added("header", &channel.header);
    let create = Action::CreateChannel { team: team.name.clone(), channel: channel.clone() };
    let name = format!("{}:{}", team.name, channel.name);
    plan.steps.push(fields.step(Operation::Create, "channel", name, vec![create]));
}

fn change(wanted: &Wanted<'_>, team: &Team, channel: &Channel, actual: &actual::Channel, plan: &mut Plan) {
    let name = format!("{}:{}", team.name, channel.name);
    if actual.delete_at != 0 {
        let fix = wanted.by_hand(&format!("channel unarchive {name}"));
        problem(plan, format!("the channel {name} is archived"), format!("{fix}, or take it out of stack.toml"));
        return;
    }
    let is_private = actual.kind == "P";
    let purpose = marked(&channel.purpose);
    let is_ours = is_marked(&actual.purpose);
    // What is not ours lacks the mark, which is no difference that anybody asked for.
    let wanted_purpose = if is_ours { &purpose } else { &channel.purpose };
    let fields = Fields::default()
        .changed("display_name", &actual.display_name, &channel.display_name)
        .changed("private", is_private.to_string(), channel.private.to_string())
        .changed("purpose", &actual.purpose, wanted_purpose)
        .changed("header", &actual.header, &channel.header);
    if fields.is_empty() {
        return;
    }
    if !is_ours {
        plan.notes.push(not_ours("channel", &name, &fields));
        return;
    }
    let mut actions = Vec::new();
    let (team, short) = (team.name.clone(), channel.name.clone());
    if fields.has("display_name") {
        let display_name = channel.display_name.clone();
        actions.push(Action::RenameChannel { team: team.clone(), channel: short.clone(), display_name });
    }
    if fields.has("private") {
        actions.push(Action::SetPrivacy { team, channel: short, private: channel.private });
    }
    if fields.has("purpose") || fields.has("header") {
        let (id, header) = (actual.id.clone(), channel.header.clone());
        actions.push(Action::DescribeChannel { id, purpose, header });
    }
    plan.steps.push(fields.step(Operation::Change, "channel", name, actions));
}

pub(super) fn team_members(wanted: &Wanted<'_>, plan: &mut Plan) {
    for team in &wanted.settings.teams {
        let actual = wanted.actual.team(&team.name);
        let bots = hooks_of(wanted).filter(|(place, _)| wanted.team_of(place) == team.name).map(|(_, bot)| bot);
        let missing = missing(wanted, &team.people, bots, actual.map(|team| team.id.as_str()), plan);
        if missing.is_empty() {
            continue;
        }
        let fields = missing.iter().fold(Fields::default(), |fields, user| fields.added("add", user));
        let add = Action::AddToTeam { team: team.name.clone(), users: missing };
        plan.steps.push(fields.step(Operation::Create, "members of team", &team.name, vec![add]));
    }
}

pub(super) fn channel_members(wanted: &Wanted<'_>, plan: &mut Plan) {
    for team in &wanted.settings.teams {
        for channel in &team.channels {
            let name = format!("{}:{}", team.name, channel.name);
            let actual = wanted.actual.channel(&team.name, &channel.name);
            let bots = hooks_of(wanted).filter(|(place, _)| *place == name).map(|(_, bot)| bot);
            let missing = missing(wanted, &channel.people, bots, actual.map(|channel| channel.id.as_str()), plan);
            if missing.is_empty() {
                continue;
            }
            let fields = missing.iter().fold(Fields::default(), |fields, user| fields.added("add", user));
            let add = Action::AddToChannel { team: team.name.clone(), channel: channel.name.clone(), users: missing };
            plan.steps.push(fields.step(Operation::Create, "members of channel", name, vec![add]));
        }
    }
}

/// Each place that a bot posts to or listens in, `team:channel` or `team`, and that bot.
fn hooks_of<'a>(wanted: &Wanted<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let incoming = wanted.settings.incoming_webhooks.iter().map(|hook| (hook.channel.as_str(), hook.bot.as_str()));
    let outgoing = wanted.settings.outgoing_webhooks.iter().map(|hook| (hook.team.as_str(), hook.bot.as_str()));
    incoming.chain(outgoing)
}

/// Who should be in a place and is not, each once. People without an account are noted.
fn missing<'a>(
    wanted: &Wanted<'_>,
    people: &'a [String],
    bots: impl Iterator<Item = &'a str>,
    place: Option<&str>,
    plan: &mut Plan,
) -> Vec<String> {
    let mut users = BTreeSet::new();
    for person in people {
        match wanted.actual.user(person) {
            Some(user) if user.delete_at == 0 => {
                users.insert(person.as_str());
            }
            Some(_) => note_once(plan, format!("{person} is deactivated, and is left out")),
            None => note_once(plan, format!("{person} has no account yet, and is left out until there is one")),
        }
    }
    users.extend(bots);
    let is_in = |name: &str| {
        let id = wanted.actual.user(name).map(|user| user.id.as_str());
        place.zip(id).is_some_and(|(place, id)| wanted.actual.is_member(place, id))
    };
    users.into_iter().filter(|name| !is_in(name)).map(str::to_owned).collect()
}

fn note_once(plan: &mut Plan, note: String) {
    if !plan.notes.contains(&note) {
        plan.notes.push(note);
    }
}

/// What carries our mark and is not in stack.toml any more.
pub(super) fn orphans(wanted: &Wanted<'_>, plan: &mut Plan) {
    let (settings, actual) = (wanted.settings, wanted.actual);
    let mut orphan = |kind, name: String, actions| {
        plan.orphans.push(Fields::default().step(Operation::Archive, kind, name, actions));
    };
    let wants_channel = |team: &str, name: &str| {
        let team = settings.teams.iter().find(|candidate| candidate.name == team);
        team.is_some_and(|team| team.channels.iter().any(|channel| channel.name == name))
    };
    // Hooks first: those of an archived channel could not be told from others.
    super::hooks::orphans(wanted, &mut orphan);
    for channel in actual.channels.iter().filter(|channel| channel.delete_at == 0 && is_marked(&channel.purpose)) {
        let Some(team) = actual.teams.iter().find(|team| team.id == channel.team_id && team.delete_at == 0) else {
            continue;
        };
        if !wants_channel(&team.name, &channel.name) {
            let archive = Action::ArchiveChannel { team: team.name.clone(), channel: channel.name.clone() };
            orphan("channel", format!("{}:{}", team.name, channel.name), vec![archive]);
        }
    }
    for bot in actual.bots.iter().filter(|bot| bot.delete_at == 0 && is_marked(&bot.description)) {
        if settings.bots.iter().any(|wanted| wanted.name == bot.username) {
            continue;
        }
        let (name, owner) = (bot.username.clone(), wanted.administrator().to_owned());
        let assign = (bot.owner_id == bot.user_id).then(|| Action::AssignBot { name: name.clone(), owner });
        orphan("bot", name.clone(), assign.into_iter().chain([Action::DisableBot { name }]).collect());
    }
    for team in actual.teams.iter().filter(|team| team.delete_at == 0 && team.email == TEAM_EMAIL) {
        if !settings.teams.iter().any(|wanted| wanted.name == team.name) {
            orphan("team", team.name.clone(), vec![Action::ArchiveTeam { team: team.name.clone() }]);
        }
    }
}
