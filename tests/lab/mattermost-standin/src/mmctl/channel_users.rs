//! `mmctl channel users …`.

use super::args::Args;
use super::reply::Reply;
use super::{channel, text};
use crate::Server;
use crate::app_error::AppError;

pub async fn add(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [channel, names @ ..] = args.positional.as_slice() else {
        return Ok(Reply::failed("requires at least 2 arg(s), only received 0".to_owned()));
    };
    let Some(channel) = channel::find(server, channel).await? else {
        return Ok(Reply::list(Vec::new()).and_failed(&format!("unable to find channel {channel:?}")));
    };
    let (id, mut errors) = (text(&channel, "id"), Vec::new());
    for name in names {
        let Some(user) = server.store.find_user(name).await? else {
            errors.push(format!("unable to find user {name:?}"));
            continue;
        };
        if channel["delete_at"] != 0 || !server.store.in_team(text(&channel, "team_id"), &user.id).await? {
            errors.push(format!("unable to add {name:?} to {:?}", text(&channel, "name")));
        } else if server.store.add_channel_member(id, &user.id).await? {
            server.store.count_mention(id, &user.id).await?;
            server.store.note_system_message(id, false).await?;
        }
    }
    Ok(Reply::list(Vec::new()).complaining_twice(&errors))
}

pub async fn remove(server: &Server, args: &Args) -> Result<Reply, AppError> {
    if args.has("--all-users") {
        return Ok(Reply::not_covered("channel users remove --all-users"));
    }
    let [channel, names @ ..] = args.positional.as_slice() else {
        return Ok(Reply::failed("requires at least 2 arg(s), only received 0".to_owned()));
    };
    let Some(channel) = channel::find(server, channel).await? else {
        return Ok(Reply::list(Vec::new()).and_failed(&format!("unable to find channel {channel:?}")));
    };
    let (id, mut errors) = (text(&channel, "id"), Vec::new());
    for name in names {
        let Some(user) = server.store.find_user(name).await? else {
            errors.push(format!("unable to find user {name:?}"));
            continue;
        };
        if server.store.remove_channel_member(id, &user.id).await? {
            server.store.note_system_message(id, false).await?;
        }
    }
    Ok(Reply::list(Vec::new()).complaining_twice(&errors))
}
