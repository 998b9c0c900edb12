//! Who is in which channel.

use serde_json::Value;
use tokio_postgres::Error;

use super::{Page, Store};

const FIELDS: &str = "'channel_id', m.channelid, 'user_id', m.userid, 'roles', 'channel_user', 'last_viewed_at', -1, \
     'msg_count', 0, 'mention_count', m.mentioncount, 'mention_count_root', m.mentioncount, \
     'urgent_mention_count', 0, 'msg_count_root', 0, 'notify_props', json_build_object(\
     'channel_auto_follow_threads', 'off', 'desktop', 'default', 'email', 'default', \
     'ignore_channel_mentions', 'default', 'mark_unread', 'all', 'push', 'default'), 'last_update_at', -1, \
     'scheme_guest', false, 'scheme_user', true, 'scheme_admin', false, 'explicit_roles', '', \
     'autotranslation_disabled', false";

impl Store {
    /// Whether somebody is new in a channel.
    pub async fn add_channel_member(&self, channel: &str, user: &str) -> Result<bool, Error> {
        let sql = "INSERT INTO channelmembers (channelid, userid) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        Ok(self.execute(sql, &[&channel, &user]).await? > 0)
    }

    /// The message about an addition mentions who was added.
    pub async fn count_mention(&self, channel: &str, user: &str) -> Result<(), Error> {
        let sql = "UPDATE channelmembers SET mentioncount = mentioncount + 1 WHERE channelid = $1 AND userid = $2";
        self.execute(sql, &[&channel, &user]).await.map(drop)
    }

    pub async fn remove_channel_member(&self, channel: &str, user: &str) -> Result<bool, Error> {
        let sql = "DELETE FROM channelmembers WHERE channelid = $1 AND userid = $2";
        Ok(self.execute(sql, &[&channel, &user]).await? > 0)
    }

    pub async fn channel_member(&self, channel: &str, user: &str) -> Result<Option<Value>, Error> {
        let sql = format!(
            "SELECT json_build_object({FIELDS})::text FROM channelmembers m WHERE m.channelid = $1 AND m.userid = $2"
        );
        self.document(&sql, &[&channel, &user]).await
    }

    pub async fn in_channel(&self, channel: &str, user: &str) -> Result<bool, Error> {
        Ok(self.channel_member(channel, user).await?.is_some())
    }

    pub async fn channel_members(&self, channel: &str, page: Page) -> Result<Vec<Value>, Error> {
        let sql = format!(
            "SELECT json_build_object({FIELDS})::text FROM channelmembers m WHERE m.channelid = $1 \
             ORDER BY m.userid LIMIT $2 OFFSET $3"
        );
        self.documents(&sql, &[&channel, &page.limit, &page.offset]).await
    }

    /// One account's memberships in the channels of a team, all at once as the server gives them.
    pub async fn memberships(&self, user: &str, team: &str) -> Result<Vec<Value>, Error> {
        let sql = format!(
            "SELECT json_build_object({FIELDS})::text FROM channelmembers m JOIN channels c ON c.id = m.channelid \
             WHERE m.userid = $1 AND c.teamid = $2 ORDER BY m.channelid"
        );
        self.documents(&sql, &[&user, &team]).await
    }
}
