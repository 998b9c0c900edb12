//! The WebSocket, whose origin rule decides whether a client that opened the site by its IP address gets messages.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::{Server, VERSION_ID, accounts, ids, log};

/// Mattermost's rule: no origin is a native app and passes. With AllowCorsFrom the origin has to be, letter by letter,
/// one of its words or SiteURL without a path. Without AllowCorsFrom it has to be SiteURL's, or the host asked for
/// when there is no SiteURL.
fn origin_allowed(origin: Option<&str>, host: &str, site_url: &str, allow_cors_from: &str) -> bool {
    let Some(origin) = origin else { return true };
    if allow_cors_from == "*" {
        return true;
    }
    if !allow_cors_from.is_empty() {
        return allow_cors_from.split(' ').any(|it| it == origin) || (!site_url.is_empty() && origin == base(site_url));
    }
    if site_url.is_empty() {
        return origin.split_once("://").is_some_and(|(_, it)| it.eq_ignore_ascii_case(host));
    }
    origin.eq_ignore_ascii_case(base(site_url))
}

/// A URL up to its path.
fn base(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |it| it + 3);
    url[authority..].find('/').map_or(url, |it| &url[..authority + it])
}

pub async fn connect(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let text = |name| headers.get(name).map(|it| it.to_str().unwrap_or("null"));
    let (origin, host) = (text(header::ORIGIN), text(header::HOST).unwrap_or_default());
    if !origin_allowed(origin, host, &server.settings.site_url, &server.settings.allow_cors_from) {
        log::warn("URL Blocked because of CORS").with("url", origin.unwrap_or_default()).write();
        return StatusCode::FORBIDDEN.into_response();
    }
    match upgrade {
        Ok(it) => it.on_upgrade(|socket| talk(server, socket)),
        Err(rejection) => rejection.into_response(),
    }
}

/// Says hello and takes the token that a client shows; no event ever follows.
async fn talk(server: Arc<Server>, mut socket: WebSocket) {
    let hello = json!({
        "event": "hello",
        "data": {"connection_id": ids::new_id(), "server_version": VERSION_ID},
        "broadcast": {"omit_users": null, "user_id": "", "channel_id": "", "team_id": "", "connection_id": ""},
        "seq": 0,
    });
    if socket.send(Message::text(hello.to_string())).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else {
            continue;
        };
        let Some(answer) = answer(&server, &text).await else {
            return;
        };
        if socket.send(Message::text(answer.to_string())).await.is_err() {
            return;
        }
    }
}

/// A wrong token ends the connection, as in Mattermost.
async fn answer(server: &Server, text: &str) -> Option<Value> {
    let request: Value = serde_json::from_str(text).ok()?;
    if request["action"] != "authentication_challenge" {
        log::warn("The stand-in does not cover an action of the WebSocket").with("request", text).write();
        let error = json!({"id": "standin.not_covered", "message": "The lab's stand-in does not know this action."});
        return Some(json!({"status": "FAIL", "seq_reply": request["seq"], "error": error}));
    }
    accounts::of_token(server, request["data"]["token"].as_str()?).await.ok()?;
    Some(json!({"status": "OK", "seq_reply": request["seq"]}))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = "https://mattermost.cicd.local:8065";
    const BY_IP: &str = "https://192.0.2.2:8065";

    fn allowed(origin: &str, site_url: &str, allow: &str) -> bool {
        origin_allowed(Some(origin), "192.0.2.2:8065", site_url, allow)
    }

    #[test]
    fn allow_cors_from_is_compared_letter_by_letter() {
        assert!(allowed(BY_IP, SITE, BY_IP));
        assert!(allowed(SITE, "https://mattermost.cicd.local:8065/chat", BY_IP));
        assert!(!allowed("https://evil.example", SITE, BY_IP));
        assert!(!allowed("https://192.0.2.2", SITE, BY_IP));
        assert!(!allowed("https://192.0.2.2:8065/", SITE, BY_IP));
        assert!(allowed("https://a:1", SITE, "https://b:1 https://a:1"));
    }

    #[test]
    fn without_it_only_the_site_url_counts() {
        assert!(allowed("https://Mattermost.CICD.local:8065", SITE, ""));
        assert!(!allowed(BY_IP, SITE, ""));
        assert!(!allowed("null", SITE, ""));
        assert!(allowed(BY_IP, "", ""));
        assert!(!allowed("null", "", ""));
    }

    #[test]
    fn a_native_app_has_no_origin() {
        assert!(origin_allowed(None, "192.0.2.2:8065", SITE, ""));
    }
}
