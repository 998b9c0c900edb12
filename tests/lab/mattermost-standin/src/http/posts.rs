//! Reading a channel's posts, and posting with a token.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::request::{Query, document, forbidden, invalid_body, missing_channel, not_covered, text};
use super::{authenticate, channels, json_line};
use crate::Server;
use crate::accounts::is_administrator;
use crate::app_error::AppError;
use crate::store::{NewPost, Page};

/// The longest message, in characters.
pub const LONGEST: usize = 16_383;

/// The newest posts first, with the ids of those before and after the page.
pub async fn list(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    let user = authenticate(&server, &headers).await?;
    let query = Query::read(query);
    query.knows(&["page", "per_page"])?;
    let channel = server.store.channel(&id).await?.ok_or_else(missing_channel)?;
    if !channels::can_read(&server, &user, &channel).await? {
        return Err(forbidden());
    }
    // One more at either end tells what comes next.
    let page = query.page();
    let newer = i64::from(page.offset > 0);
    let wider = Page { offset: page.offset - newer, limit: page.limit + newer + 1 };
    let mut found = server.store.posts(&id, wider).await?;
    let id_of = |post: Option<&Value>| post.map_or(json!(""), |it| it["id"].clone());
    let next = if newer == 1 && !found.is_empty() { id_of(Some(&found.remove(0))) } else { json!("") };
    let previous = id_of(found.get(page.limit as usize));
    found.truncate(page.limit as usize);
    let order: Vec<Value> = found.iter().map(|it| it["id"].clone()).collect();
    let posts: Map<String, Value> = found.into_iter().map(|it| (text(&it, "id"), it)).collect();
    let answer = json!({
        "order": order,
        "posts": posts,
        "next_post_id": next,
        "prev_post_id": previous,
        "first_inaccessible_post_time": 0,
    });
    Ok(json_line(&answer).into_response())
}

/// Only an administrator posts where he is no member.
pub async fn create(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> Result<Response, AppError> {
    let user = authenticate(&server, &headers).await?;
    let body = document(&body, "post")?;
    if let Some(key) = ["root_id", "file_ids"].into_iter().find(|it| body.get(*it).is_some_and(is_given)) {
        return Err(not_covered(&format!("a post with {key}")));
    }
    let channel = server.store.channel(&text(&body, "channel_id")).await?.ok_or_else(forbidden)?;
    let id = text(&channel, "id");
    if !is_administrator(&user) && !server.store.in_channel(&id, &user.id).await? {
        return Err(forbidden());
    }
    if channel["delete_at"] != 0 {
        let message = "Can not post to deleted channel.";
        return Err(AppError::new("api.post.create_post.can_not_post_to_deleted.error", message, 400));
    }
    let message = text(&body, "message");
    let mut props = body["props"].as_object().cloned().unwrap_or_default();
    if message.is_empty() && !props.contains_key("attachments") {
        return Err(invalid_body("message"));
    }
    if message.chars().count() > LONGEST {
        return Err(AppError::new(
            "model.post.is_valid.message_length.app_error",
            "Post Message property is too long.",
            400,
        ));
    }
    if user.bot.is_some() {
        props.insert("from_bot".to_owned(), json!("true"));
    }
    let new = NewPost { user: &user.id, channel: &id, message: &message, kind: "", props: &Value::Object(props) };
    let post = server.store.create_post(&new).await?.unwrap_or_default();
    Ok((StatusCode::CREATED, json_line(&post)).into_response())
}

fn is_given(value: &Value) -> bool {
    !matches!(value, Value::Null) && *value != json!("") && *value != json!([])
}
