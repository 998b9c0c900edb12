//! Channels: all of them, one by name, and changing one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::request::{Query, administrator, document, forbidden, missing_channel, missing_team};
use super::{authenticate, json_line};
use crate::Server;
use crate::accounts::is_administrator;
use crate::app_error::AppError;
use crate::store::{ChannelPatch, User};

/// Every channel of the server, private ones included, with its team's names.
pub async fn list(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    let query = Query::read(query);
    query.knows(&["page", "per_page", "exclude_default_channels", "include_deleted"])?;
    let (excluded, archived) = (query.is_true("exclude_default_channels"), query.is_true("include_deleted"));
    Ok(json_line(&server.store.all_channels(excluded, archived, query.page()).await?.into()).into_response())
}

pub async fn by_names(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path((team, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    let user = authenticate(&server, &headers).await?;
    let archived = Query::read(query).is_true("include_deleted");
    let team = server.store.find_team(&team).await?.filter(|it| it["name"] == team).ok_or_else(missing_team)?;
    let found = server.store.channel_by_name(team["id"].as_str().unwrap_or_default(), &name).await?;
    let channel = found.filter(|it| archived || it["delete_at"] == 0).ok_or_else(missing_channel)?;
    if !can_read(&server, &user, &channel).await? {
        return Err(forbidden());
    }
    Ok(json_line(&channel).into_response())
}

pub async fn patch(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    let body = document(&body, "channel")?;
    let before = server.store.channel(&id).await?.ok_or_else(missing_channel)?;
    let patch = ChannelPatch {
        name: body["name"].as_str(),
        display_name: body["display_name"].as_str(),
        purpose: body["purpose"].as_str(),
        header: body["header"].as_str(),
        kind: None,
    };
    let after = server.store.patch_channel(&id, &patch).await?.unwrap_or_default();
    // Each of these changes is followed by a message in the channel.
    for key in ["display_name", "purpose", "header"] {
        if before[key] != after[key] {
            server.store.note_system_message(&id, true).await?;
        }
    }
    Ok(json_line(&after).into_response())
}

/// A public channel is open to its team, a private one to its members.
pub async fn can_read(server: &Server, user: &User, channel: &Value) -> Result<bool, AppError> {
    let text = |key: &str| channel[key].as_str().unwrap_or_default();
    Ok(is_administrator(user)
        || server.store.in_channel(text("id"), &user.id).await?
        || (text("type") == "O" && server.store.in_team(text("team_id"), &user.id).await?))
}
