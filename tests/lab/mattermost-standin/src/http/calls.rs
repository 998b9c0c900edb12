//! The Calls plugin's own routes. A plugin that is not active has none: 404, as for a path that does not exist.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{authenticate, json_line};
use crate::accounts::is_administrator;
use crate::{Server, log};

pub async fn version(State(server): State<Arc<Server>>) -> Response {
    if server.calls().await.is_none() {
        return not_found();
    }
    json_line(&json!({"version": "standin", "build": ""})).into_response()
}

pub async fn config(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    let Some(calls) = server.calls().await else {
        return not_found();
    };
    let Ok(user) = authenticate(&server, &headers).await else {
        return unauthorized();
    };
    json_line(&calls.config_json(is_administrator(&user))).into_response()
}

pub async fn turn_credentials(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    let Some(calls) = server.calls().await else {
        return not_found();
    };
    let Ok(user) = authenticate(&server, &headers).await else {
        return unauthorized();
    };
    match calls.credentials_for(&user.username, log::now_ms() / 1000) {
        Some(servers) => json_line(&servers).into_response(),
        None => (StatusCode::FORBIDDEN, "Forbidden\n").into_response(),
    }
}

/// The channels in which a call runs: none ever does here.
pub async fn channels(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    if server.calls().await.is_none() {
        return not_found();
    }
    match authenticate(&server, &headers).await {
        Ok(_) => json_line(&json!([])).into_response(),
        Err(_) => unauthorized(),
    }
}

fn unauthorized() -> Response {
    (StatusCode::UNAUTHORIZED, "Unauthorized\n").into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}
