//! Lists of webhooks and slash commands.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::request::{Query, administrator, invalid_body, not_covered};
use super::{json, json_line};
use crate::Server;
use crate::app_error::AppError;

pub async fn incoming(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    let query = Query::read(query);
    query.knows(&["page", "per_page", "team_id"])?;
    let hooks: Value = server.store.incoming_hooks(query.value("team_id"), query.page()).await?.into();
    Ok(json(&hooks).into_response())
}

pub async fn outgoing(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    let query = Query::read(query);
    query.knows(&["page", "per_page", "team_id"])?;
    let hooks: Value = server.store.outgoing_hooks(query.value("team_id"), query.page()).await?.into();
    Ok(json(&hooks).into_response())
}

pub async fn commands(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    let query = Query::read(query);
    if !query.is_true("custom_only") {
        return Err(not_covered("the built-in commands"));
    }
    let team = query.value("team_id").ok_or_else(|| invalid_body("team_id"))?;
    Ok(json_line(&server.store.commands(team).await?.into()).into_response())
}
