//! `mmctl command …`.

use serde_json::json;
use tokio_postgres::error::SqlState;

use super::args::Args;
use super::reply::{Reply, multierror};
use super::text;
use crate::Server;
use crate::app_error::AppError;
use crate::store::{Command, Page};

pub const CREATE_FLAGS: &[&str] = &[
    "--title=",
    "--description=",
    "--trigger-word=",
    "--url=",
    "--creator=",
    "--response-username=",
    "--icon=",
    "--autocomplete",
    "--autocompleteDesc=",
    "--autocompleteHint=",
    "--post",
];
pub const MODIFY_FLAGS: &[&str] = CREATE_FLAGS;

pub async fn create(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [team] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    let Some(team) = server.store.find_team(team).await? else {
        return Ok(Reply::failed(format!("unable to find team '{team}'")));
    };
    let required = ["creator", "trigger-word", "url"].into_iter().find(|it| args.value(&format!("--{it}")).is_none());
    if let Some(flag) = required {
        return Ok(Reply::failed(format!("required flag(s) {flag:?} not set")));
    }
    let Some(creator) = server.store.find_user(args.text("--creator")).await? else {
        return Ok(Reply::failed(format!("unable to find user '{}'", args.text("--creator"))));
    };
    let trigger = args.text("--trigger-word");
    if let Some(error) = trigger_error(trigger) {
        return Ok(Reply::failed(error.to_owned()));
    }
    let new = Command {
        creator: &creator.id,
        team: text(&team, "id"),
        trigger,
        method: if args.has("--post") { "P" } else { "G" },
        username: args.text("--response-username"),
        icon_url: args.text("--icon"),
        auto_complete: args.has("--autocomplete"),
        auto_complete_desc: args.text("--autocompleteDesc"),
        auto_complete_hint: args.text("--autocompleteHint"),
        display_name: args.text("--title"),
        description: args.text("--description"),
        url: args.text("--url"),
    };
    match server.store.create_command(&new).await {
        Ok(command) => Ok(Reply::single(command.unwrap_or_default())),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(Reply::failed(format!(
            "unable to create command '{}'. This trigger word is already in use. Please choose another word.",
            new.display_name
        ))),
        Err(error) => Err(error.into()),
    }
}

fn trigger_error(trigger: &str) -> Option<&'static str> {
    if trigger.starts_with('/') {
        return Some("a trigger word cannot begin with a /");
    }
    trigger.contains(' ').then_some("a trigger word must not contain spaces")
}

pub async fn list(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let (mut teams, mut errors) = (Vec::new(), Vec::new());
    for name in &args.positional {
        match server.store.find_team(name).await? {
            Some(team) => teams.push(team),
            None => errors.push(format!("unable to find team '{name}'")),
        }
    }
    if args.positional.is_empty() {
        teams = server.store.teams(Page::ALL).await?;
    }
    let mut commands = Vec::new();
    for team in &teams {
        commands.extend(server.store.commands(text(team, "id")).await?);
    }
    let complaints: String = errors.iter().map(|it| format!("{it}\n")).collect();
    let reply = Reply::list(commands).complaining(&complaints).counted("commands");
    if errors.is_empty() { Ok(reply) } else { Ok(reply.and_failed(&multierror(&errors))) }
}

/// What is not given stays.
pub async fn modify(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [id] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    let Some(command) = server.store.command(id).await? else {
        return Ok(Reply::failed(format!("unable to find command '{id}'")));
    };
    let creator = match args.value("--creator") {
        Some(name) => match server.store.find_user(name).await? {
            Some(user) => user.id,
            None => return Ok(Reply::failed(format!("unable to find user '{name}'"))),
        },
        None => text(&command, "creator_id").to_owned(),
    };
    let kept = |flag: &str, key: &str| args.value(flag).unwrap_or(text(&command, key)).to_owned();
    let trigger = kept("--trigger-word", "trigger");
    if let Some(error) = trigger_error(&trigger) {
        return Ok(Reply::failed(error.to_owned()));
    }
    let post = args.has("--post") || command["method"] == "P";
    let new = Command {
        creator: &creator,
        team: text(&command, "team_id"),
        trigger: &trigger,
        method: if post { "P" } else { "G" },
        username: &kept("--response-username", "username"),
        icon_url: &kept("--icon", "icon_url"),
        auto_complete: args.has("--autocomplete") || command["auto_complete"] == true,
        auto_complete_desc: &kept("--autocompleteDesc", "auto_complete_desc"),
        auto_complete_hint: &kept("--autocompleteHint", "auto_complete_hint"),
        display_name: &kept("--title", "display_name"),
        description: &kept("--description", "description"),
        url: &kept("--url", "url"),
    };
    Ok(Reply::single(server.store.update_command(id, &new).await?.unwrap_or_default()))
}

pub async fn show(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [id] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    match server.store.command(id).await? {
        Some(command) => Ok(Reply::single(command)),
        None => Ok(Reply::failed(format!("unable to find command '{id}'"))),
    }
}

/// The answer's form is not recorded: it is the one of what mmctl prints for other archived things.
pub async fn archive(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [id] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    if server.store.command(id).await?.is_none() {
        return Ok(Reply::failed(format!("Unable to archive command '{id}' error: Command not found.")));
    }
    server.store.archive_command(id).await?;
    Ok(Reply::single(json!({"id": id})))
}
