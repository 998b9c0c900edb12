//! Channels of teams, archived ones included. Direct messages are not covered.

use serde_json::Value;
use tokio_postgres::Error;

use super::{Page, Store};
use crate::{ids, log};

pub struct NewChannel<'a> {
    pub team: &'a str,
    pub name: &'a str,
    pub display_name: &'a str,
    pub purpose: &'a str,
    pub header: &'a str,
    pub private: bool,
}

/// What is to change; the rest stays.
#[derive(Default)]
pub struct ChannelPatch<'a> {
    pub name: Option<&'a str>,
    pub display_name: Option<&'a str>,
    pub purpose: Option<&'a str>,
    pub header: Option<&'a str>,
    pub kind: Option<&'a str>,
}

const FIELDS: &str = "'id', c.id, 'create_at', c.createat, 'update_at', c.updateat, 'delete_at', c.deleteat, \
     'team_id', c.teamid, 'type', c.type, 'display_name', c.displayname, 'name', c.name, 'header', c.header, \
     'purpose', c.purpose, 'last_post_at', c.lastpostat, 'total_msg_count', c.totalmsgcount, 'extra_update_at', 0, \
     'creator_id', '', 'scheme_id', NULL, 'props', NULL, 'group_constrained', NULL, 'autotranslation', false, \
     'shared', NULL, 'total_msg_count_root', c.totalmsgcount, 'policy_id', NULL, 'last_root_post_at', c.lastpostat, \
     'banner_info', NULL, 'policy_enforced', false, 'policy_is_active', false, 'default_category_name', ''";

impl Store {
    pub async fn create_channel(&self, new: &NewChannel<'_>) -> Result<Option<Value>, Error> {
        let (id, kind) = (ids::new_id(), if new.private { "P" } else { "O" });
        let sql = "INSERT INTO channels (id, createat, updateat, teamid, type, displayname, name, header, purpose) \
             VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8)";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
            [&id, &log::now_ms(), &new.team, &kind, &new.display_name, &new.name, &new.header, &new.purpose];
        self.execute(sql, &values).await?;
        self.channel(&id).await
    }

    pub async fn channel(&self, id: &str) -> Result<Option<Value>, Error> {
        let sql = format!("SELECT json_build_object({FIELDS})::text FROM channels c WHERE c.id = $1");
        self.document(&sql, &[&id]).await
    }

    pub async fn channel_by_name(&self, team: &str, name: &str) -> Result<Option<Value>, Error> {
        let sql =
            format!("SELECT json_build_object({FIELDS})::text FROM channels c WHERE c.teamid = $1 AND c.name = $2");
        self.document(&sql, &[&team, &name]).await
    }

    /// The first channel of that name in any team.
    pub async fn channel_anywhere(&self, name: &str) -> Result<Option<Value>, Error> {
        let sql = format!("SELECT json_build_object({FIELDS})::text FROM channels c WHERE c.name = $1 ORDER BY c.id");
        self.document(&sql, &[&name]).await
    }

    /// In mmctl's order: public ones, then archived ones, then private ones. An archived private one is among the
    /// archived.
    pub async fn channels_of_team(&self, team: &str) -> Result<Vec<Value>, Error> {
        let sql = format!(
            "SELECT json_build_object({FIELDS})::text FROM channels c WHERE c.teamid = $1 \
             ORDER BY CASE WHEN c.deleteat <> 0 THEN 1 WHEN c.type = 'O' THEN 0 ELSE 2 END, c.displayname, c.id"
        );
        self.documents(&sql, &[&team]).await
    }

    /// What REST calls a team's channels: the public ones that are not archived.
    pub async fn public_channels(&self, team: &str, page: Page) -> Result<Vec<Value>, Error> {
        let sql = format!(
            "SELECT json_build_object({FIELDS})::text FROM channels c WHERE c.teamid = $1 AND c.type = 'O' \
             AND c.deleteat = 0 ORDER BY c.displayname, c.id LIMIT $2 OFFSET $3"
        );
        self.documents(&sql, &[&team, &page.limit, &page.offset]).await
    }

    /// Every channel of the server, with its team's names.
    pub async fn all_channels(&self, exclude_default: bool, archived: bool, page: Page) -> Result<Vec<Value>, Error> {
        let sql = format!(
            "SELECT json_build_object({FIELDS}, 'team_display_name', t.displayname, 'team_name', t.name, \
             'team_update_at', t.updateat)::text FROM channels c JOIN teams t ON t.id = c.teamid \
             WHERE ($1 OR c.deleteat = 0) AND NOT ($2 AND c.name IN ('town-square', 'off-topic')) \
             ORDER BY c.displayname, t.displayname, c.id LIMIT $3 OFFSET $4"
        );
        self.documents(&sql, &[&archived, &exclude_default, &page.limit, &page.offset]).await
    }

    /// The channels of a team that somebody is in.
    pub async fn channels_of_member(&self, user: &str, team: &str) -> Result<Vec<Value>, Error> {
        let sql = format!(
            "SELECT json_build_object({FIELDS})::text FROM channels c JOIN channelmembers m ON m.channelid = c.id \
             WHERE m.userid = $1 AND c.teamid = $2 AND c.deleteat = 0 ORDER BY c.displayname, c.id"
        );
        self.documents(&sql, &[&user, &team]).await
    }

    pub async fn patch_channel(&self, id: &str, patch: &ChannelPatch<'_>) -> Result<Option<Value>, Error> {
        let sql = "UPDATE channels SET name = coalesce($2, name), displayname = coalesce($3, displayname), \
             purpose = coalesce($4, purpose), header = coalesce($5, header), type = coalesce($6, type), \
             updateat = $7 WHERE id = $1";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&id, &patch.name, &patch.display_name, &patch.purpose, &patch.header, &patch.kind, &log::now_ms()];
        self.execute(sql, &values).await?;
        self.channel(id).await
    }

    pub async fn set_channel_archived(&self, id: &str, archived: bool) -> Result<(), Error> {
        let now = log::now_ms();
        let delete_at = if archived { now } else { 0 };
        let sql = "UPDATE channels SET deleteat = $2, updateat = $3 WHERE id = $1";
        self.execute(sql, &[&id, &delete_at, &now]).await.map(drop)
    }

    /// Stands for a message of the server's own, which is left out. Those about joining and leaving do not count.
    pub async fn note_system_message(&self, channel: &str, counts: bool) -> Result<(), Error> {
        let sql = "UPDATE channels SET lastpostat = $2, totalmsgcount = totalmsgcount + $3 WHERE id = $1";
        self.execute(sql, &[&channel, &log::now_ms(), &i64::from(counts)]).await.map(drop)
    }
}
