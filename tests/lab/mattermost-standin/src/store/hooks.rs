//! Incoming and outgoing webhooks. A deleted one stays in its table and is never shown again.

use serde_json::Value;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::{Page, Store};
use crate::{ids, log};

pub struct Incoming<'a> {
    pub user: &'a str,
    pub channel: &'a str,
    pub team: &'a str,
    pub display_name: &'a str,
    pub description: &'a str,
    pub username: &'a str,
    pub icon_url: &'a str,
    pub channel_locked: bool,
}

pub struct Outgoing<'a> {
    pub creator: &'a str,
    pub channel: &'a str,
    pub team: &'a str,
    pub trigger_words: Vec<String>,
    pub trigger_when: i32,
    pub callback_urls: Vec<String>,
    pub display_name: &'a str,
    pub description: &'a str,
    pub content_type: &'a str,
    pub username: &'a str,
    pub icon_url: &'a str,
}

const INCOMING: &str = "json_build_object('id', h.id, 'create_at', h.createat, 'update_at', h.updateat, \
     'delete_at', h.deleteat, 'user_id', h.userid, 'channel_id', h.channelid, 'team_id', h.teamid, \
     'display_name', h.displayname, 'description', h.description, 'username', h.username, 'icon_url', h.iconurl, \
     'channel_locked', h.channellocked)::text";

const OUTGOING: &str = "json_build_object('id', h.id, 'token', h.token, 'create_at', h.createat, \
     'update_at', h.updateat, 'delete_at', h.deleteat, 'creator_id', h.creatorid, 'channel_id', h.channelid, \
     'team_id', h.teamid, 'trigger_words', h.triggerwords, 'trigger_when', h.triggerwhen, \
     'callback_urls', h.callbackurls, 'display_name', h.displayname, 'description', h.description, \
     'content_type', h.contenttype, 'username', h.username, 'icon_url', h.iconurl)::text";

impl Store {
    pub async fn create_incoming(&self, new: &Incoming<'_>) -> Result<Option<Value>, Error> {
        let sql = "INSERT INTO incomingwebhooks (id, createat, updateat, userid, channelid, teamid, displayname, \
             description, username, iconurl, channellocked) VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let id = ids::new_id();
        let values: [&(dyn ToSql + Sync); 10] = [
            &id,
            &log::now_ms(),
            &new.user,
            &new.channel,
            &new.team,
            &new.display_name,
            &new.description,
            &new.username,
            &new.icon_url,
            &new.channel_locked,
        ];
        self.execute(sql, &values).await?;
        self.incoming(&id).await
    }

    pub async fn incoming(&self, id: &str) -> Result<Option<Value>, Error> {
        let sql = format!("SELECT {INCOMING} FROM incomingwebhooks h WHERE h.id = $1 AND h.deleteat = 0");
        self.document(&sql, &[&id]).await
    }

    /// The hooks of one team, or of all.
    pub async fn incoming_hooks(&self, team: Option<&str>, page: Page) -> Result<Vec<Value>, Error> {
        let sql = format!(
            "SELECT {INCOMING} FROM incomingwebhooks h WHERE h.deleteat = 0 AND ($1::text IS NULL OR h.teamid = $1) \
             ORDER BY h.createat, h.id LIMIT $2 OFFSET $3"
        );
        self.documents(&sql, &[&team, &page.limit, &page.offset]).await
    }

    pub async fn update_incoming(&self, id: &str, new: &Incoming<'_>) -> Result<Option<Value>, Error> {
        let sql = "UPDATE incomingwebhooks SET updateat = $2, channelid = $3, teamid = $4, displayname = $5, \
             description = $6, username = $7, iconurl = $8, channellocked = $9 WHERE id = $1";
        let values: [&(dyn ToSql + Sync); 9] = [
            &id,
            &log::now_ms(),
            &new.channel,
            &new.team,
            &new.display_name,
            &new.description,
            &new.username,
            &new.icon_url,
            &new.channel_locked,
        ];
        self.execute(sql, &values).await?;
        self.incoming(id).await
    }

    pub async fn create_outgoing(&self, new: &Outgoing<'_>) -> Result<Option<Value>, Error> {
        let sql = "INSERT INTO outgoingwebhooks (id, token, createat, updateat, creatorid, channelid, teamid, \
             triggerwords, triggerwhen, callbackurls, displayname, description, contenttype, username, iconurl) \
             VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
        let id = ids::new_id();
        let values: [&(dyn ToSql + Sync); 14] = [
            &id,
            &ids::new_id(),
            &log::now_ms(),
            &new.creator,
            &new.channel,
            &new.team,
            &new.trigger_words,
            &new.trigger_when,
            &new.callback_urls,
            &new.display_name,
            &new.description,
            &new.content_type,
            &new.username,
            &new.icon_url,
        ];
        self.execute(sql, &values).await?;
        self.outgoing(&id).await
    }

    pub async fn outgoing(&self, id: &str) -> Result<Option<Value>, Error> {
        let sql = format!("SELECT {OUTGOING} FROM outgoingwebhooks h WHERE h.id = $1 AND h.deleteat = 0");
        self.document(&sql, &[&id]).await
    }

    pub async fn outgoing_hooks(&self, team: Option<&str>, page: Page) -> Result<Vec<Value>, Error> {
        let sql = format!(
            "SELECT {OUTGOING} FROM outgoingwebhooks h WHERE h.deleteat = 0 AND ($1::text IS NULL OR h.teamid = $1) \
             ORDER BY h.createat, h.id LIMIT $2 OFFSET $3"
        );
        self.documents(&sql, &[&team, &page.limit, &page.offset]).await
    }

    pub async fn update_outgoing(&self, id: &str, new: &Outgoing<'_>) -> Result<Option<Value>, Error> {
        let sql = "UPDATE outgoingwebhooks SET updateat = $2, channelid = $3, triggerwords = $4, triggerwhen = $5, \
             callbackurls = $6, displayname = $7, description = $8, contenttype = $9, iconurl = $10 WHERE id = $1";
        let values: [&(dyn ToSql + Sync); 10] = [
            &id,
            &log::now_ms(),
            &new.channel,
            &new.trigger_words,
            &new.trigger_when,
            &new.callback_urls,
            &new.display_name,
            &new.description,
            &new.content_type,
            &new.icon_url,
        ];
        self.execute(sql, &values).await?;
        self.outgoing(id).await
    }

    /// Deletes the webhook of that id, of whichever kind it is.
    pub async fn delete_hook(&self, id: &str) -> Result<(), Error> {
        for table in ["incomingwebhooks", "outgoingwebhooks"] {
            let sql = format!("UPDATE {table} SET deleteat = $2 WHERE id = $1 AND deleteat = 0");
            self.execute(&sql, &[&id, &log::now_ms()]).await?;
        }
        Ok(())
    }
}
