//! `mmctl webhook create-outgoing` and `modify-outgoing`.

use serde_json::Value;

use super::args::Args;
use super::reply::Reply;
use super::{channel, text};
use crate::Server;
use crate::app_error::AppError;
use crate::store::Outgoing;

pub const CREATE_FLAGS: &[&str] = &[
    "--team=",
    "--channel=",
    "--user=",
    "--display-name=",
    "--description=",
    "--trigger-word=",
    "--trigger-when=",
    "--icon=",
    "--url=",
    "--content-type=",
];
pub const MODIFY_FLAGS: &[&str] = &[
    "--channel=",
    "--display-name=",
    "--description=",
    "--trigger-word=",
    "--trigger-when=",
    "--icon=",
    "--url=",
    "--content-type=",
];

pub async fn create(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let (team, user) = (args.text("--team"), args.text("--user"));
    let Some(team) = server.store.find_team(team).await? else {
        return Ok(Reply::failed(format!("Unable to find team: {team}")));
    };
    let Some(user) = server.store.find_user(user).await? else {
        return Ok(Reply::failed(format!("Unable to find user: {user}")));
    };
    let Some(trigger_when) = trigger_when(args, 0) else {
        return Ok(Reply::failed("invalid trigger when value".to_owned()));
    };
    // A bare channel's name is not found, and the hook is made for every channel without a word, as was recorded.
    let channel = channel::find(server, args.text("--channel")).await?;
    let new = Outgoing {
        creator: &user.id,
        channel: channel.as_ref().map_or("", |it| text(it, "id")),
        team: text(&team, "id"),
        trigger_words: args.values("--trigger-word"),
        trigger_when,
        callback_urls: args.values("--url"),
        display_name: args.text("--display-name"),
        description: args.text("--description"),
        content_type: args.text("--content-type"),
        username: &user.username,
        icon_url: args.text("--icon"),
    };
    Ok(Reply::single(server.store.create_outgoing(&new).await?.unwrap_or_default()))
}

pub async fn modify(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [id] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    let Some(hook) = server.store.outgoing(id).await? else {
        return Ok(Reply::failed(format!("unable to find webhook '{id}'")));
    };
    let channel = match args.value("--channel") {
        Some(words) => match channel::find(server, words).await? {
            Some(it) => text(&it, "id").to_owned(),
            None => return Ok(Reply::failed(format!("unable to find channel '{words}'"))),
        },
        None => text(&hook, "channel_id").to_owned(),
    };
    let Some(trigger_when) = trigger_when(args, hook["trigger_when"].as_i64().unwrap_or_default() as i32) else {
        return Ok(Reply::failed("invalid trigger when value".to_owned()));
    };
    let kept = |flag: &str, key: &str| args.value(flag).unwrap_or(text(&hook, key)).to_owned();
    let new = Outgoing {
        creator: text(&hook, "creator_id"),
        channel: &channel,
        team: text(&hook, "team_id"),
        trigger_words: given_or(args.values("--trigger-word"), &hook["trigger_words"]),
        trigger_when,
        callback_urls: given_or(args.values("--url"), &hook["callback_urls"]),
        display_name: &kept("--display-name", "display_name"),
        description: &kept("--description", "description"),
        content_type: &kept("--content-type", "content_type"),
        username: text(&hook, "username"),
        icon_url: &kept("--icon", "icon_url"),
    };
    Ok(Reply::single(server.store.update_outgoing(id, &new).await?.unwrap_or_default()))
}

fn given_or(given: Vec<String>, kept: &Value) -> Vec<String> {
    if !given.is_empty() {
        return given;
    }
    kept.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn trigger_when(args: &Args, kept: i32) -> Option<i32> {
    match args.text("--trigger-when") {
        "" => Some(kept),
        "exact" => Some(0),
        "start" => Some(1),
        _ => None,
    }
}
