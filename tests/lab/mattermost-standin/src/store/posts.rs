//! Messages, as webhooks and bots write them.

use serde_json::Value;
use tokio_postgres::Error;

use super::{Page, Store};
use crate::{ids, log};

pub struct NewPost<'a> {
    pub user: &'a str,
    pub channel: &'a str,
    pub message: &'a str,
    pub kind: &'a str,
    pub props: &'a Value,
}

const POST: &str = "json_build_object('id', p.id, 'create_at', p.createat, 'update_at', p.createat, 'edit_at', 0, \
     'delete_at', 0, 'is_pinned', false, 'user_id', p.userid, 'channel_id', p.channelid, 'root_id', '', \
     'original_id', '', 'message', p.message, 'type', p.type, 'props', p.props, 'hashtags', '', \
     'file_ids', json_build_array(), 'pending_post_id', '', 'reply_count', 0, 'last_reply_at', 0, \
     'participants', NULL, 'metadata', json_build_object())::text";

impl Store {
    pub async fn create_post(&self, new: &NewPost<'_>) -> Result<Option<Value>, Error> {
        let sql = "WITH counted AS (UPDATE channels SET lastpostat = $2, totalmsgcount = totalmsgcount + 1 WHERE id = $4) \
             INSERT INTO posts (id, createat, userid, channelid, message, type, props) \
             VALUES ($1, $2, $3, $4, $5, $6, $7::text::json)";
        let id = ids::new_id();
        let props = new.props.to_string();
        self.execute(sql, &[&id, &log::now_ms(), &new.user, &new.channel, &new.message, &new.kind, &props]).await?;
        self.document(&format!("SELECT {POST} FROM posts p WHERE p.id = $1"), &[&id]).await
    }

    /// The newest posts first.
    pub async fn posts(&self, channel: &str, page: Page) -> Result<Vec<Value>, Error> {
        let sql =
            format!("SELECT {POST} FROM posts p WHERE p.channelid = $1 ORDER BY p.sequence DESC LIMIT $2 OFFSET $3");
        self.documents(&sql, &[&channel, &page.limit, &page.offset]).await
    }
}
