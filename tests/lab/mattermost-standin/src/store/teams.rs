//! Teams and who is in them. A team begins with its two default channels.

use serde_json::Value;
use tokio_postgres::Error;

use super::{Page, Store};
use crate::{ids, log};

const TEAM: &str = "json_build_object('id', t.id, 'create_at', t.createat, 'update_at', t.updateat, \
     'delete_at', t.deleteat, 'display_name', t.displayname, 'name', t.name, 'description', '', 'email', t.email, \
     'type', t.type, 'company_name', '', 'allowed_domains', '', 'invite_id', t.inviteid, \
     'allow_open_invite', t.type = 'O', 'scheme_id', NULL, 'group_constrained', NULL, 'policy_id', NULL, \
     'cloud_limits_archived', false)::text";

const MEMBER: &str = "json_build_object('team_id', m.teamid, 'user_id', m.userid, 'roles', 'team_user', \
     'delete_at', 0, 'scheme_guest', false, 'scheme_user', true, 'scheme_admin', false, 'explicit_roles', '')::text";

impl Store {
    /// Makes a team in one statement, so that none is ever without its default channels.
    pub async fn create_team(
        &self,
        name: &str,
        display_name: &str,
        kind: &str,
        email: &str,
    ) -> Result<Option<Value>, Error> {
        let sql = "WITH team AS (INSERT INTO teams (id, createat, updateat, name, displayname, type, email, inviteid) \
             VALUES ($1, $2, $2, $3, $4, $5, $6, $7) RETURNING id) \
             INSERT INTO channels (id, createat, updateat, teamid, type, displayname, name) \
             SELECT channel.id, $2, $2, team.id, 'O', channel.displayname, channel.name FROM team, (VALUES \
             ($8, 'Town Square', 'town-square'), ($9, 'Off-Topic', 'off-topic')) AS channel (id, displayname, name)";
        let (id, now) = (ids::new_id(), log::now_ms());
        self.execute(
            sql,
            &[&id, &now, &name, &display_name, &kind, &email, &ids::new_id(), &ids::new_id(), &ids::new_id()],
        )
        .await?;
        self.find_team(&id).await
    }

    /// The team that an id or a name stands for, archived or not.
    pub async fn find_team(&self, team: &str) -> Result<Option<Value>, Error> {
        self.document(&format!("SELECT {TEAM} FROM teams t WHERE t.id = $1 OR t.name = $1"), &[&team]).await
    }

    pub async fn teams(&self, page: Page) -> Result<Vec<Value>, Error> {
        let sql = format!("SELECT {TEAM} FROM teams t ORDER BY t.displayname, t.id LIMIT $1 OFFSET $2");
        self.documents(&sql, &[&page.limit, &page.offset]).await
    }

    pub async fn set_team_archived(&self, team: &str, archived: bool) -> Result<(), Error> {
        let now = log::now_ms();
        let delete_at = if archived { now } else { 0 };
        let sql = "UPDATE teams SET deleteat = $2, updateat = $3 WHERE id = $1";
        self.execute(sql, &[&team, &delete_at, &now]).await.map(drop)
    }

    /// Whoever joins a team also joins its default channels. The messages that say so are left out; they count as the
    /// channels' last posts and as no messages.
    pub async fn add_team_member(&self, team: &str, user: &str) -> Result<(), Error> {
        let sql = "WITH member AS (INSERT INTO teammembers (teamid, userid) VALUES ($1, $2) \
             ON CONFLICT DO NOTHING RETURNING userid), channel AS (UPDATE channels SET lastpostat = $3 \
             WHERE teamid = $1 AND name IN ('town-square', 'off-topic') AND EXISTS (SELECT 1 FROM member) RETURNING id) \
             INSERT INTO channelmembers (channelid, userid) SELECT channel.id, $2 FROM channel ON CONFLICT DO NOTHING";
        self.execute(sql, &[&team, &user, &log::now_ms()]).await.map(drop)
    }

    /// Whoever leaves a team leaves all its channels.
    pub async fn remove_team_member(&self, team: &str, user: &str) -> Result<(), Error> {
        let sql = "WITH left_channels AS (DELETE FROM channelmembers WHERE userid = $2 \
             AND channelid IN (SELECT id FROM channels WHERE teamid = $1)) \
             DELETE FROM teammembers WHERE teamid = $1 AND userid = $2";
        self.execute(sql, &[&team, &user]).await.map(drop)
    }

    pub async fn team_members(&self, team: &str, page: Page) -> Result<Vec<Value>, Error> {
        let sql =
            format!("SELECT {MEMBER} FROM teammembers m WHERE m.teamid = $1 ORDER BY m.userid LIMIT $2 OFFSET $3");
        self.documents(&sql, &[&team, &page.limit, &page.offset]).await
    }

    pub async fn team_member(&self, team: &str, user: &str) -> Result<Option<Value>, Error> {
        let sql = format!("SELECT {MEMBER} FROM teammembers m WHERE m.teamid = $1 AND m.userid = $2");
        self.document(&sql, &[&team, &user]).await
    }

    pub async fn in_team(&self, team: &str, user: &str) -> Result<bool, Error> {
        Ok(self.team_member(team, user).await?.is_some())
    }
}
