//! Who is in a channel.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::request::{Query, administrator, document, forbidden, invalid_body, missing_channel, text};
use super::{authenticate, channels, json_line};
use crate::Server;
use crate::app_error::AppError;

pub async fn list(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    let user = authenticate(&server, &headers).await?;
    let channel = server.store.channel(&id).await?.ok_or_else(missing_channel)?;
    if !channels::can_read(&server, &user, &channel).await? {
        return Err(forbidden());
    }
    Ok(json_line(&server.store.channel_members(&id, Query::read(query).page()).await?.into()).into_response())
}

/// Adding somebody again changes nothing and is answered in the same way.
pub async fn add(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    let user = text(&document(&body, "channel_member")?, "user_id");
    if user.is_empty() {
        return Err(invalid_body("user_id"));
    }
    let channel = server.store.channel(&id).await?.ok_or_else(missing_channel)?;
    if channel["delete_at"] != 0 {
        let message = "The channel has been archived or deleted.";
        return Err(AppError::new("api.channel.add_user.to.channel.failed.deleted.app_error", message, 400));
    }
    if !server.store.in_team(channel["team_id"].as_str().unwrap_or_default(), &user).await? {
        let message = "No team member found for that user ID and team ID.";
        return Err(AppError::new("app.team.get_member.missing.app_error", message, 404));
    }
    let is_new = server.store.add_channel_member(&id, &user).await?;
    let member = server.store.channel_member(&id, &user).await?.unwrap_or_default();
    if is_new {
        server.store.count_mention(&id, &user).await?;
        server.store.note_system_message(&id, false).await?;
    }
    Ok((StatusCode::CREATED, json_line(&member)).into_response())
}

pub async fn remove(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path((id, user)): Path<(String, String)>,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    let channel: Value = server.store.channel(&id).await?.ok_or_else(missing_channel)?;
    if channel["name"] == "town-square" {
        let message = "Unable to remove user from the default channel town-square.";
        return Err(AppError::new("api.channel.remove.default.app_error", message, 400));
    }
    if server.store.remove_channel_member(&id, &user).await? {
        server.store.note_system_message(&id, false).await?;
    }
    Ok(json_line(&json!({"status": "OK"})).into_response())
}
