//! Bots: an owner and a description beside an account.

use tokio_postgres::Error;

use super::{Store, User};
use crate::{calls, ids, log};

#[derive(Clone, Debug)]
pub struct Bot {
    pub owner_id: String,
    pub description: String,
    pub create_at: i64,
    pub update_at: i64,
    pub delete_at: i64,
}

impl Store {
    /// Makes a bot of an account. It owns itself, as in Mattermost; `None` when it was a bot already.
    pub async fn convert_to_bot(&self, user: &str) -> Result<Option<User>, Error> {
        let client = self.client().await?;
        let sql =
            "INSERT INTO bots (userid, ownerid, createat, updateat) VALUES ($1, $1, $2, $2) ON CONFLICT DO NOTHING";
        if client.execute(sql, &[&user, &log::now_ms()]).await? == 0 {
            return Ok(None);
        }
        // Mattermost replaces the password by a random one, which amounts to none: a bot cannot log in.
        self.update_user("UPDATE users SET password = '', updateat = $2 WHERE id = $1", &[&user, &log::now_ms()])
            .await?;
        self.user_by("u.id = $1", user).await
    }

    /// Makes a bot that belongs to somebody.
    pub async fn create_bot(
        &self,
        username: &str,
        display_name: &str,
        description: &str,
        owner: &str,
    ) -> Result<Option<User>, Error> {
        let sql = "WITH account AS (INSERT INTO users (id, createat, updateat, username, email, firstname, roles) \
             VALUES ($1, $2, $2, $3, $7, $4, 'system_user') RETURNING id) \
             INSERT INTO bots (userid, ownerid, description, createat, updateat) SELECT id, $5, $6, $2, $2 FROM account";
        let (id, email) = (ids::new_id(), format!("{username}@localhost"));
        self.execute(sql, &[&id, &log::now_ms(), &username, &display_name, &owner, &description, &email]).await?;
        self.user_by("u.id = $1", &id).await
    }

    pub async fn assign_bot(&self, bot: &str, owner: &str) -> Result<(), Error> {
        let sql = "UPDATE bots SET ownerid = $2, updateat = $3 WHERE userid = $1";
        self.update_user(sql, &[&bot, &owner, &log::now_ms()]).await
    }

    pub async fn describe_bot(&self, bot: &str, display_name: &str, description: &str) -> Result<(), Error> {
        let now = log::now_ms();
        let sql = "UPDATE users SET firstname = $2, updateat = $3 WHERE id = $1";
        self.update_user(sql, &[&bot, &display_name, &now]).await?;
        let sql = "UPDATE bots SET description = $2, updateat = $3 WHERE userid = $1";
        self.update_user(sql, &[&bot, &description, &now]).await
    }

    pub async fn set_bot_active(&self, bot: &str, active: bool) -> Result<(), Error> {
        let now = log::now_ms();
        let delete_at = if active { 0 } else { now };
        let sql = "UPDATE bots SET deleteat = $2, updateat = $3 WHERE userid = $1";
        self.update_user(sql, &[&bot, &delete_at, &now]).await?;
        self.set_active(bot, active).await
    }

    /// The plugin's own account, which is there from its first activation on, so also before the first person's.
    pub async fn ensure_calls_bot(&self) -> Result<(), Error> {
        let (id, now) = (ids::new_id(), log::now_ms());
        let client = self.client().await?;
        let sql = "INSERT INTO users (id, createat, updateat, username, email, firstname, roles, lastpictureupdate) \
             VALUES ($1, $2, $2, 'calls', 'calls@localhost', 'Calls', 'system_user', $2) ON CONFLICT DO NOTHING";
        if client.execute(sql, &[&id, &now]).await? == 0 {
            return Ok(());
        }
        let sql =
            "INSERT INTO bots (userid, ownerid, description, createat, updateat) VALUES ($1, $2, 'Calls Bot', $3, $3)";
        client.execute(sql, &[&id, &calls::PLUGIN_ID, &now]).await.map(drop)
    }
}
