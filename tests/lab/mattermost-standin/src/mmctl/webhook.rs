//! `mmctl webhook …`, except what only outgoing ones have.

use super::args::Args;
use super::reply::Reply;
use super::{channel, text};
use crate::Server;
use crate::app_error::AppError;
use crate::store::{Incoming, Page};

pub const CREATE_FLAGS: &[&str] =
    &["--channel=", "--user=", "--display-name=", "--description=", "--icon=", "--lock-to-channel"];
pub const MODIFY_FLAGS: &[&str] = &["--channel=", "--display-name=", "--description=", "--icon=", "--lock-to-channel"];

/// A second hook of the same name is made as well: nothing here tells two apart but their ids.
pub async fn create(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let (channel_words, user) = (args.text("--channel"), args.text("--user"));
    let Some(channel) = channel::find(server, channel_words).await? else {
        return Ok(Reply::failed(format!("Unable to find channel '{channel_words}'")));
    };
    let Some(user) = server.store.find_user(user).await? else {
        return Ok(Reply::failed(format!("Unable to find user '{user}'")));
    };
    // The server blanks what its settings do not let a hook override.
    let overrides_name = server.flag("ServiceSettings.EnablePostUsernameOverride").await;
    let overrides_icon = server.flag("ServiceSettings.EnablePostIconOverride").await;
    let new = Incoming {
        user: &user.id,
        channel: text(&channel, "id"),
        team: text(&channel, "team_id"),
        display_name: args.text("--display-name"),
        description: args.text("--description"),
        username: if overrides_name { &user.username } else { "" },
        icon_url: if overrides_icon { args.text("--icon") } else { "" },
        channel_locked: args.has("--lock-to-channel"),
    };
    Ok(Reply::single(server.store.create_incoming(&new).await?.unwrap_or_default()))
}

/// Unlocks the hook unless --lock-to-channel is given again, whatever else it changes. An empty text changes nothing.
pub async fn modify(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [id] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    let Some(hook) = server.store.incoming(id).await? else {
        return Ok(Reply::failed(format!("unable to find webhook '{id}'")));
    };
    let channel = match args.value("--channel") {
        Some(words) => channel::find(server, words).await?,
        None => server.store.channel(text(&hook, "channel_id")).await?,
    };
    let Some(channel) = channel else {
        return Ok(Reply::failed(format!("Unable to find channel '{}'", args.text("--channel"))));
    };
    let kept = |flag: &str, key: &str| args.value(flag).unwrap_or(text(&hook, key)).to_owned();
    let new = Incoming {
        user: text(&hook, "user_id"),
        channel: text(&channel, "id"),
        team: text(&channel, "team_id"),
        display_name: &kept("--display-name", "display_name"),
        description: &kept("--description", "description"),
        username: text(&hook, "username"),
        icon_url: &kept("--icon", "icon_url"),
        channel_locked: args.has("--lock-to-channel"),
    };
    Ok(Reply::single(server.store.update_incoming(id, &new).await?.unwrap_or_default()))
}

/// Incoming ones and outgoing ones in one list, team by team.
pub async fn list(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let (mut teams, mut complaints) = (Vec::new(), String::new());
    for name in &args.positional {
        match server.store.find_team(name).await? {
            Some(team) => teams.push(team),
            None => complaints.push_str(&format!("Unable to find team '{name}'\n")),
        }
    }
    if args.positional.is_empty() {
        teams = server.store.teams(Page::ALL).await?;
    }
    let mut hooks = Vec::new();
    for team in &teams {
        hooks.extend(server.store.incoming_hooks(Some(text(team, "id")), Page::ALL).await?);
        hooks.extend(server.store.outgoing_hooks(Some(text(team, "id")), Page::ALL).await?);
    }
    Ok(Reply::list(hooks).complaining(&complaints).counted("webhooks"))
}

pub async fn show(server: &Server, args: &Args) -> Result<Reply, AppError> {
    found(server, args, false).await
}

pub async fn delete(server: &Server, args: &Args) -> Result<Reply, AppError> {
    found(server, args, true).await
}

/// Shows a hook of either kind as it is before anything happens to it.
async fn found(server: &Server, args: &Args, delete: bool) -> Result<Reply, AppError> {
    let [id] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    let hook = match server.store.incoming(id).await? {
        Some(it) => Some(it),
        None => server.store.outgoing(id).await?,
    };
    let Some(hook) = hook else {
        return Ok(Reply::failed(format!("Webhook with id '{id}' not found")));
    };
    if delete {
        server.store.delete_hook(id).await?;
    }
    Ok(Reply::single(hook))
}
