//! Bots, which REST can make and mmctl in local mode cannot.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::json_line;
use super::request::{Query, administrator, document, text};
use crate::Server;
use crate::accounts::{bot_json, check_username, taken};
use crate::app_error::AppError;

pub async fn list(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    administrator(&server, &headers).await?;
    let query = Query::read(query);
    query.knows(&["page", "per_page", "include_deleted"])?;
    let page = query.page();
    let users = server.store.users().await?;
    let mut bots: Vec<(i64, Value)> = users
        .iter()
        .filter_map(|user| user.bot.as_ref().map(|bot| (user, bot)))
        .filter(|(_, bot)| query.is_true("include_deleted") || bot.delete_at == 0)
        .map(|(user, bot)| (bot.create_at, bot_json(user, None)))
        .collect();
    bots.sort_by_key(|(create_at, _)| *create_at);
    let bots = bots.into_iter().skip(page.offset as usize).take(page.limit as usize);
    Ok(json_line(&bots.map(|(_, it)| it).collect()).into_response())
}

pub async fn create(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> Result<Response, AppError> {
    let owner = administrator(&server, &headers).await?;
    if !server.flag("ServiceSettings.EnableBotAccountCreation").await {
        return Err(AppError::new("api.bot.create_disabled", "Bot creation has been disabled.", 403));
    }
    let body = document(&body, "bot")?;
    let username = text(&body, "username").to_lowercase();
    check_username(&username)?;
    let created =
        server.store.create_bot(&username, &text(&body, "display_name"), &text(&body, "description"), &owner.id).await;
    let bot = created.map_err(|error| taken(&error).unwrap_or_else(|| error.into()))?;
    let shown = bot.map(|it| bot_json(&it, None)).unwrap_or_default();
    Ok((StatusCode::CREATED, json_line(&shown)).into_response())
}
