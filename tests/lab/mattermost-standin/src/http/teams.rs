//! Teams, their public channels and their members.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::request::{Query, administrator, document, forbidden, missing_team, missing_user, text};
use super::{authenticate, json, json_line};
use crate::Server;
use crate::accounts::is_administrator;
use crate::app_error::AppError;

/// Archived ones are in the list as well.
pub async fn list(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    Ok(json_line(&server.store.teams(Query::read(query).page()).await?.into()).into_response())
}

pub async fn by_name(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    let team = server.store.find_team(&name).await?.filter(|it| it["name"] == name).ok_or_else(missing_team)?;
    Ok(json_line(&team).into_response())
}

pub async fn channels(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path(team): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    for_members(&server, &headers, &team).await?;
    Ok(json_line(&server.store.public_channels(&team, Query::read(query).page()).await?.into()).into_response())
}

pub async fn members(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path(team): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    for_members(&server, &headers, &team).await?;
    Ok(json(&server.store.team_members(&team, Query::read(query).page()).await?.into()).into_response())
}

pub async fn add_member(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path(team): Path<String>,
    body: Bytes,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    let user = text(&document(&body, "team_member")?, "user_id");
    server.store.find_team(&team).await?.filter(|it| it["id"] == team).ok_or_else(missing_team)?;
    let user = server.store.users_by_ids(&[user]).await?.into_iter().next().ok_or_else(missing_user)?;
    server.store.add_team_member(&team, &user.id).await?;
    let member = server.store.team_member(&team, &user.id).await?.unwrap_or_default();
    Ok((StatusCode::CREATED, json_line(&member)).into_response())
}

pub async fn remove_member(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path((team, user)): Path<(String, String)>,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    server.store.remove_team_member(&team, &user).await?;
    Ok(json_line(&serde_json::json!({"status": "OK"})).into_response())
}

async fn for_members(server: &Server, headers: &HeaderMap, team: &str) -> Result<(), AppError> {
    let user = authenticate(server, headers).await?;
    if is_administrator(&user) {
        return server.store.find_team(team).await?.filter(|it| it["id"] == team).map(drop).ok_or_else(missing_team);
    }
    if server.store.in_team(team, &user.id).await? { Ok(()) } else { Err(forbidden()) }
}
