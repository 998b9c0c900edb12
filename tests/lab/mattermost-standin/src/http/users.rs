//! Registration, login, and looking accounts up.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::{authenticate, json_line};
use crate::Server;
use crate::accounts::{self, Asker, NewAccount, View, user_json};
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

fn document(body: &[u8], name: &str) -> Result<Value, AppError> {
    let invalid = || {
        let message = format!("Invalid or missing {name} in request body.");
        AppError::new("api.context.invalid_body_param.app_error", &message, 400)
    };
    serde_json::from_slice::<Value>(body).ok().filter(Value::is_object).ok_or_else(invalid)
}

fn text(body: &Value, key: &str) -> String {
    body[key].as_str().unwrap_or_default().to_owned()
}
