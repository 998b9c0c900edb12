//! Slash commands.

use serde_json::Value;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::Store;
use crate::{ids, log};

pub struct Command<'a> {
    pub creator: &'a str,
    pub team: &'a str,
    pub trigger: &'a str,
    pub method: &'a str,
    pub username: &'a str,
    pub icon_url: &'a str,
    pub auto_complete: bool,
    pub auto_complete_desc: &'a str,
    pub auto_complete_hint: &'a str,
    pub display_name: &'a str,
    pub description: &'a str,
    pub url: &'a str,
}

const COMMAND: &str = "json_build_object('id', c.id, 'token', c.token, 'create_at', c.createat, \
     'update_at', c.updateat, 'delete_at', c.deleteat, 'creator_id', c.creatorid, 'team_id', c.teamid, \
     'trigger', c.trigger, 'method', c.method, 'username', c.username, 'icon_url', c.iconurl, \
     'auto_complete', c.autocomplete, 'auto_complete_desc', c.autocompletedesc, \
     'auto_complete_hint', c.autocompletehint, 'display_name', c.displayname, 'description', c.description, \
     'url', c.url, 'plugin_id', '')::text";

impl Store {
    pub async fn create_command(&self, new: &Command<'_>) -> Result<Option<Value>, Error> {
        let sql = "INSERT INTO commands (id, token, createat, updateat, creatorid, teamid, trigger, method, username, \
             iconurl, autocomplete, autocompletedesc, autocompletehint, displayname, description, url) \
             VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
        let id = ids::new_id();
        let values: [&(dyn ToSql + Sync); 15] = [
            &id,
            &ids::new_id(),
            &log::now_ms(),
            &new.creator,
            &new.team,
            &new.trigger,
            &new.method,
            &new.username,
            &new.icon_url,
            &new.auto_complete,
            &new.auto_complete_desc,
            &new.auto_complete_hint,
            &new.display_name,
            &new.description,
            &new.url,
        ];
        self.execute(sql, &values).await?;
        self.command(&id).await
    }

    pub async fn update_command(&self, id: &str, new: &Command<'_>) -> Result<Option<Value>, Error> {
        let sql = "UPDATE commands SET updateat = $2, creatorid = $3, trigger = $4, method = $5, username = $6, \
             iconurl = $7, autocomplete = $8, autocompletedesc = $9, autocompletehint = $10, displayname = $11, \
             description = $12, url = $13 WHERE id = $1";
        let values: [&(dyn ToSql + Sync); 13] = [
            &id,
            &log::now_ms(),
            &new.creator,
            &new.trigger,
            &new.method,
            &new.username,
            &new.icon_url,
            &new.auto_complete,
            &new.auto_complete_desc,
            &new.auto_complete_hint,
            &new.display_name,
            &new.description,
            &new.url,
        ];
        self.execute(sql, &values).await?;
        self.command(id).await
    }

    pub async fn command(&self, id: &str) -> Result<Option<Value>, Error> {
        self.document(&format!("SELECT {COMMAND} FROM commands c WHERE c.id = $1 AND c.deleteat = 0"), &[&id]).await
    }

    pub async fn commands(&self, team: &str) -> Result<Vec<Value>, Error> {
        let sql = format!(
            "SELECT {COMMAND} FROM commands c WHERE c.teamid = $1 AND c.deleteat = 0 ORDER BY c.createat, c.id"
        );
        self.documents(&sql, &[&team]).await
    }

    pub async fn archive_command(&self, id: &str) -> Result<(), Error> {
        self.execute("UPDATE commands SET deleteat = $2 WHERE id = $1", &[&id, &log::now_ms()]).await.map(drop)
    }
}
