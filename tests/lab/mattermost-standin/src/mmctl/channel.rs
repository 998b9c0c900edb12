//! `mmctl channel …`, except its members.

use serde_json::Value;
use tokio_postgres::error::SqlState;

use super::args::Args;
use super::reply::{Reply, multierror};
use super::text;
use crate::Server;
use crate::app_error::AppError;
use crate::store::{ChannelPatch, NewChannel};

pub const CREATE_FLAGS: &[&str] = &["--team=", "--name=", "--display-name=", "--purpose=", "--header=", "--private"];

pub async fn create(server: &Server, args: &Args) -> Result<Reply, AppError> {
    for (flag, name) in [("--name", "name"), ("--display-name", "display Name"), ("--team", "team")] {
        if args.value(flag).is_none() {
            return Ok(Reply::failed(format!("{name} is required")));
        }
    }
    let team = args.text("--team");
    let Some(team) = server.store.find_team(team).await? else {
        return Ok(Reply::failed(format!("unable to find team: {team}")));
    };
    let new = NewChannel {
        team: text(&team, "id"),
        name: args.text("--name"),
        display_name: args.text("--display-name"),
        purpose: args.text("--purpose"),
        header: args.text("--header"),
        private: args.has("--private"),
    };
    match server.store.create_channel(&new).await {
        Ok(channel) => Ok(Reply::single(channel.unwrap_or_default())),
        Err(error) => Ok(Reply::failed(taken(error)?)),
    }
}

/// An archived channel keeps its name.
fn taken(error: tokio_postgres::Error) -> Result<String, AppError> {
    if error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
        return Ok("A channel with that name already exists on the same team.".to_owned());
    }
    Err(error.into())
}

pub async fn list(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let (mut channels, mut errors) = (Vec::new(), Vec::new());
    for name in &args.positional {
        match server.store.find_team(name).await? {
            Some(team) => channels.extend(server.store.channels_of_team(text(&team, "id")).await?),
            None => errors.push(format!("unable to find team {name:?}")),
        }
    }
    let complaints: String = errors.iter().map(|it| format!("{it}\n")).collect();
    let reply = Reply::list(channels).complaining(&complaints).counted("channels");
    if errors.is_empty() { Ok(reply) } else { Ok(reply.and_failed(&multierror(&errors))) }
}

pub async fn search(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [name] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    let found = match args.value("--team") {
        Some(team) => {
            let Some(team) = server.store.find_team(team).await? else {
                return Ok(Reply::failed(format!("team {team} was not found")));
            };
            server.store.channel_by_name(text(&team, "id"), name).await?
        }
        None => server.store.channel_anywhere(name).await?,
    };
    match found {
        Some(channel) => Ok(Reply::single(channel)),
        None => Ok(Reply::failed(format!("channel {name:?} was not found in any team"))),
    }
}

pub async fn set_archived(server: &Server, args: &Args, archived: bool) -> Result<Reply, AppError> {
    let mut errors = Vec::new();
    for name in &args.positional {
        match find(server, name).await? {
            Some(channel) => {
                let id = text(&channel, "id");
                server.store.set_channel_archived(id, archived).await?;
                server.store.note_system_message(id, true).await?;
            }
            None => errors.push(format!("unable to find channel {name:?}")),
        }
    }
    Ok(Reply::list(Vec::new()).complaining_twice(&errors))
}

pub async fn modify(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [name] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    if args.has("--private") == args.has("--public") {
        return Ok(Reply::failed("you must specify only one of private or public".to_owned()));
    }
    let Some(channel) = find(server, name).await? else {
        return Ok(Reply::list(Vec::new()).and_failed(&format!("unable to find channel {name:?}")));
    };
    let kind = if args.has("--private") { "P" } else { "O" };
    if text(&channel, "type") != kind {
        let patch = ChannelPatch { kind: Some(kind), ..ChannelPatch::default() };
        server.store.patch_channel(text(&channel, "id"), &patch).await?;
        server.store.note_system_message(text(&channel, "id"), true).await?;
    }
    Ok(Reply::list(Vec::new()))
}

pub async fn rename(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [name] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    let patch = ChannelPatch {
        name: args.value("--name"),
        display_name: args.value("--display-name"),
        ..ChannelPatch::default()
    };
    if patch.name.is_none() && patch.display_name.is_none() {
        return Ok(Reply::failed(
            "require at least one flag to rename channel, either 'name' or 'display-name'".to_owned(),
        ));
    }
    let Some(channel) = find(server, name).await? else {
        return Ok(Reply::list(Vec::new()).and_failed(&format!("unable to find channel from {name:?}")));
    };
    match server.store.patch_channel(text(&channel, "id"), &patch).await {
        Ok(channel) => Ok(Reply::list(channel.into_iter().collect())),
        Err(error) => Ok(Reply::list(Vec::new()).and_failed(&taken(error)?)),
    }
}

/// The channel that `team:channel` stands for, or an id.
pub async fn find(server: &Server, words: &str) -> Result<Option<Value>, AppError> {
    let Some((team, channel)) = words.split_once(':') else {
        return Ok(server.store.channel(words).await?);
    };
    let Some(team) = server.store.find_team(team).await? else {
        return Ok(None);
    };
    match server.store.channel_by_name(text(&team, "id"), channel).await? {
        Some(it) => Ok(Some(it)),
        None => Ok(server.store.channel(channel).await?.filter(|it| it["team_id"] == team["id"])),
    }
}
