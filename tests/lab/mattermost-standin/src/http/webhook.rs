//! Where incoming webhooks are posted to: `/hooks/ID`. The id is the only secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::posts::LONGEST;
use super::request::{not_covered, text};
use crate::app_error::AppError;
use crate::store::{NewPost, User};
use crate::{Server, log};

/// A hook gives the web client's page to whoever looks at it, as every unknown path does: a probe proves nothing.
pub async fn page() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/html")], "<html><body>no webapp</body></html>\n")
}

pub async fn receive(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, AppError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or("application/json");
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type == "multipart/form-data" {
        return Err(not_covered("a webhook's payload as multipart/form-data"));
    }
    let what = format!("the payload of media type {media_type} for incoming webhook {id}.");
    let Some(payload) = decode(media_type, &body) else {
        let message = format!("Failed to decode {what}");
        return Err(AppError::new("web.incoming_webhook.decode.app_error", &message, 400));
    };
    match handle(&server, &id, &payload).await? {
        Ok(()) => Ok(([(header::CONTENT_TYPE, "text/plain")], "ok").into_response()),
        Err(refusal) => {
            // The sender learns the status only; the log is where an administrator finds the reason.
            log::warn("Failed to handle the payload of an incoming webhook").with("error", refusal.reason).write();
            let message = format!("Failed to handle {what}");
            Err(AppError::new("web.incoming_webhook.general.app_error", &message, refusal.status))
        }
    }
}

struct Refusal {
    status: u16,
    reason: &'static str,
}

fn refuse(status: u16, reason: &'static str) -> Result<Result<(), Refusal>, AppError> {
    Ok(Err(Refusal { status, reason }))
}

fn decode(media_type: &str, body: &[u8]) -> Option<Value> {
    let payload: Value = if media_type == "application/x-www-form-urlencoded" {
        let payload = form_urlencoded::parse(body).find(|(name, _)| name == "payload")?.1;
        serde_json::from_str(&payload).ok()?
    } else {
        serde_json::from_slice(body).ok()?
    };
    payload.is_object().then_some(payload)
}

async fn handle(server: &Server, id: &str, payload: &Value) -> Result<Result<(), Refusal>, AppError> {
    if !server.flag("ServiceSettings.EnableIncomingWebhooks").await {
        return refuse(501, "incoming webhooks are disabled");
    }
    let Some(hook) = server.store.incoming(id).await? else {
        return refuse(400, "there is no such webhook");
    };
    let message = text(payload, "text");
    if message.is_empty() && payload["attachments"].as_array().is_none_or(Vec::is_empty) {
        return refuse(400, "no text and no attachments");
    }
    let name = text(payload, "channel");
    if name.starts_with('@') {
        return Err(not_covered("a webhook's direct message"));
    }
    if let Some(key) = ["icon_emoji", "priority", "type"].into_iter().find(|it| !payload[*it].is_null()) {
        return Err(not_covered(&format!("a webhook's {key}")));
    }
    let channel = match name.trim_start_matches('#') {
        "" => server.store.channel(&text(&hook, "channel_id")).await?,
        // An archived channel is not found by its name.
        name => server.store.channel_by_name(&text(&hook, "team_id"), name).await?.filter(|it| it["delete_at"] == 0),
    };
    let Some(channel) = channel else {
        return refuse(404, "there is no such channel in the webhook's team");
    };
    if hook["channel_locked"] == true && channel["id"] != hook["channel_id"] {
        return refuse(403, "the webhook is locked to its channel");
    }
    if channel["delete_at"] != 0 {
        return refuse(400, "the channel is archived");
    }
    let Some(owner) = server.store.users_by_ids(&[text(&hook, "user_id")]).await?.into_iter().next() else {
        return refuse(403, "the webhook's owner is gone");
    };
    let channel = text(&channel, "id");
    let is_private = server.store.channel(&channel).await?.is_some_and(|it| it["type"] == "P");
    if is_private && !server.store.in_channel(&channel, &owner.id).await? {
        return refuse(403, "the webhook's owner is not in the private channel");
    }
    post(server, &hook, &owner, &channel, payload).await?;
    Ok(Ok(()))
}

/// Posts as many messages as the text needs. Attachments are in the last one.
async fn post(server: &Server, hook: &Value, owner: &User, channel: &str, payload: &Value) -> Result<(), AppError> {
    let props = props(server, hook, owner, payload).await;
    let parts = split(payload["text"].as_str().unwrap_or_default());
    let count = parts.len();
    for (number, message) in parts.into_iter().enumerate() {
        let mut props = props.clone();
        let attachments = payload["attachments"].as_array().filter(|it| !it.is_empty() && number + 1 == count);
        if let Some(attachments) = attachments {
            props.insert("attachments".to_owned(), json!(attachments));
        }
        let kind = if attachments.is_some() { "slack_attachment" } else { "" };
        // In the order of their names, as Go writes a map.
        let props: Map<String, Value> = props.into_iter().collect();
        let props = Value::Object(props);
        server.store.create_post(&NewPost { user: &owner.id, channel, message: &message, kind, props: &props }).await?;
    }
    Ok(())
}

async fn props(server: &Server, hook: &Value, owner: &User, payload: &Value) -> BTreeMap<String, Value> {
    let mut props: BTreeMap<String, Value> = BTreeMap::new();
    for (key, value) in payload["props"].as_object().into_iter().flatten() {
        props.insert(key.clone(), value.clone());
    }
    props.insert("from_webhook".to_owned(), json!("true"));
    props.insert("webhook_display_name".to_owned(), hook["display_name"].clone());
    if owner.bot.is_some() {
        props.insert("from_bot".to_owned(), json!("true"));
    }
    let override_of =
        |key: &str| [&payload[key], &hook[key]].into_iter().find(|it| it.as_str().is_some_and(|it| !it.is_empty()));
    if server.flag("ServiceSettings.EnablePostUsernameOverride").await
        && let Some(name) = override_of("username")
    {
        props.insert("override_username".to_owned(), name.clone());
    }
    if server.flag("ServiceSettings.EnablePostIconOverride").await
        && let Some(url) = override_of("icon_url")
    {
        props.insert("override_icon_url".to_owned(), url.clone());
    }
    props
}

/// Pieces of the longest length that a message may have; a text that is empty is one piece.
fn split(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return vec![String::new()];
    }
    characters.chunks(LONGEST).map(|it| it.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_its_payload_in_a_field() {
        let form = b"payload=%7B%22text%22%3A%22form%22%7D";
        assert_eq!(decode("application/x-www-form-urlencoded", form), Some(json!({"text": "form"})));
        assert_eq!(decode("application/json", b"{bad"), None);
        assert_eq!(decode("application/json", b"[]"), None);
    }

    #[test]
    fn a_long_text_is_cut_by_characters() {
        let parts = split(&"ü".repeat(20_000));
        assert_eq!(parts.iter().map(|it| it.chars().count()).collect::<Vec<_>>(), [16_383, 3_617]);
        assert_eq!(split(""), [""]);
    }
}
