//! Registration, login, and looking accounts up.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::request::{Query, document, forbidden, invalid_body, text};
use super::{authenticate, json, json_line};
use crate::Server;
use crate::accounts::{self, Asker, NewAccount, View, is_administrator, user_json};
use crate::app_error::AppError;

pub async fn register(State(server): State<Arc<Server>>, body: Bytes) -> Result<Response, AppError> {
    let body = document(&body, "user")?;
    let account = NewAccount {
        username: text(&body, "username"),
        email: text(&body, "email"),
        password: text(&body, "password"),
        email_verified: false,
        disable_welcome_email: false,
    };
    let user = accounts::create(&server, Asker::Stranger, account).await?;
    Ok((StatusCode::CREATED, json_line(&user_json(&user, View::Own).into())).into_response())
}

pub async fn log_in(State(server): State<Arc<Server>>, body: Bytes) -> Result<Response, AppError> {
    let body = document(&body, "login")?;
    let (user, token) = accounts::log_in(&server, &text(&body, "login_id"), text(&body, "password")).await?;
    Ok(([("token", token)], json_line(&user_json(&user, View::Own).into())).into_response())
}

pub async fn me(State(server): State<Arc<Server>>, headers: HeaderMap) -> Result<Response, AppError> {
    let user = authenticate(&server, &headers).await?;
    Ok(json_line(&user_json(&user, View::Own).into()).into_response())
}

pub async fn by_name(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response, AppError> {
    authenticate(&server, &headers).await?;
    let user = server.store.user_by_name(&name).await?.ok_or_else(|| {
        let message = "Unable to find an existing account matching your username for this team. This team may require \
             an invite from the team owner to join.";
        AppError::new("app.user.get_by_username.app_error", message, 404)
    })?;
    Ok(json_line(&user_json(&user, View::Listed).into()).into_response())
}

/// Everybody, deactivated or not, by name.
pub async fn list(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    authenticate(&server, &headers).await?;
    let query = Query::read(query);
    query.knows(&["page", "per_page"])?;
    let page = query.page();
    let users = server.store.users().await?.into_iter().skip(page.offset as usize).take(page.limit as usize);
    Ok(json(&users.map(|it| Value::from(user_json(&it, View::Listed))).collect()).into_response())
}

pub async fn by_ids(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> Result<Response, AppError> {
    authenticate(&server, &headers).await?;
    let ids: Vec<String> = serde_json::from_slice(&body).map_err(|_| invalid_body("user_ids"))?;
    let users = server.store.users_by_ids(&ids).await?;
    Ok(json(&users.iter().map(|it| Value::from(user_json(it, View::Listed))).collect()).into_response())
}

/// The channels of a team that an account is in.
pub async fn channels(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path((user, team)): Path<(String, String)>,
) -> Result<Response, AppError> {
    let user = self_or_anyone(&server, &headers, user).await?;
    Ok(json_line(&server.store.channels_of_member(&user, &team).await?.into()).into_response())
}

/// The memberships of an account in the channels of one team.
pub async fn channel_members(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path((user, team)): Path<(String, String)>,
) -> Result<Response, AppError> {
    let user = self_or_anyone(&server, &headers, user).await?;
    Ok(json_line(&server.store.memberships(&user, &team).await?.into()).into_response())
}

/// The id of the account asked for: one's own, or for an administrator anybody's.
async fn self_or_anyone(server: &Server, headers: &HeaderMap, user: String) -> Result<String, AppError> {
    let asking = authenticate(server, headers).await?;
    if user == "me" || user == asking.id {
        return Ok(asking.id);
    }
    if is_administrator(&asking) { Ok(user) } else { Err(forbidden()) }
}
