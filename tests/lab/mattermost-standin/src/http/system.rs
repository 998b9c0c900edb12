//! Health, and what a client may know before it logs in.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::json;
use crate::Server;

pub async fn ping(State(server): State<Arc<Server>>, RawQuery(query): RawQuery) -> Response {
    let full = query.is_some_and(|it| it.split('&').any(|it| it == "get_server_status=true"));
    let (healthy, status) = status(&server, full).await;
    let code = if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (code, json(&status)).into_response()
}

/// The server's status; the full one asks the database.
pub async fn status(server: &Server, full: bool) -> (bool, Value) {
    let healthy = !full || server.store.is_healthy().await;
    let word = if healthy { "OK" } else { "UNHEALTHY" };
    let mut status = json!({
        "ActiveSearchBackend": "database",
        "AndroidLatestVersion": "",
        "AndroidMinVersion": "",
        "IosLatestVersion": "",
        "IosMinVersion": "",
    });
    if full {
        status["database_status"] = json!(word);
        status["filestore_status"] = json!("OK");
    }
    status["status"] = json!(word);
    (healthy, status)
}

/// The old format is a flat map of strings. The key is no real one: nothing in the lab verifies signatures by it.
pub async fn client_config(State(server): State<Arc<Server>>) -> impl IntoResponse {
    let diagnostics = server.flag("LogSettings.EnableDiagnostics").await;
    json(&json!({
        "AsymmetricSigningPublicKey": "c3RhbmQtaW4=",
        "BuildEnterpriseReady": "true",
        "DiagnosticsEnabled": diagnostics.to_string(),
        "SiteURL": server.settings.site_url,
        "Version": "11.6.0",
    }))
}

pub async fn client_license() -> impl IntoResponse {
    json(&json!({"IsLicensed": "false"}))
}
