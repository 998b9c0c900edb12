//! Accounts. A bot is an account with a row in `bots` beside it.

use tokio_postgres::{Error, Row};

use super::{Bot, Store};
use crate::{ids, log};

#[derive(Clone, Debug)]
pub struct User {
    pub id: String,
    pub create_at: i64,
    pub update_at: i64,
    pub delete_at: i64,
    pub username: String,
    pub password: String,
    pub email: String,
    pub email_verified: bool,
    pub first_name: String,
    pub roles: String,
    pub last_password_update: i64,
    pub last_picture_update: i64,
    pub failed_attempts: i32,
    /// Absent for the accounts that the server and its plugins make for themselves.
    pub remote_id: Option<String>,
    pub disable_welcome_email: bool,
    pub bot: Option<Bot>,
}

pub struct NewUser {
    pub username: String,
    pub email: String,
    pub password_hash: String,
    pub email_verified: bool,
    pub disable_welcome_email: bool,
}

const SELECT: &str = "SELECT u.*, b.ownerid, b.description, b.createat AS botcreateat, b.updateat AS botupdateat, \
     b.deleteat AS botdeleteat FROM users u LEFT JOIN bots b ON b.userid = u.id";

/// People, as Mattermost counts them to find out whether an account is the first one.
const PERSON_EXISTS: &str = "EXISTS (SELECT 1 FROM users u WHERE NOT EXISTS (SELECT 1 FROM bots WHERE userid = u.id))";

impl Store {
    /// Makes an account, the first one a system administrator. With `only_first` nothing but the first is made.
    pub async fn create_user(&self, new: &NewUser, only_first: bool) -> Result<Option<User>, Error> {
        let id = ids::new_id();
        let sql = format!(
            "INSERT INTO users (id, createat, updateat, username, email, password, emailverified, disablewelcomeemail, \
             lastpasswordupdate, remoteid, roles) SELECT $1, $2, $2, $3, $4, $5, $6, $7, $2, '', \
             CASE WHEN {PERSON_EXISTS} THEN 'system_user' ELSE 'system_admin system_user' END \
             WHERE NOT ($8 AND {PERSON_EXISTS})"
        );
        let client = self.client().await?;
        let made = client
            .execute(
                &sql,
                &[
                    &id,
                    &log::now_ms(),
                    &new.username,
                    &new.email,
                    &new.password_hash,
                    &new.email_verified,
                    &new.disable_welcome_email,
                    &only_first,
                ],
            )
            .await?;
        if made == 0 { Ok(None) } else { self.user_by("u.id = $1", &id).await }
    }

    pub async fn has_people(&self) -> Result<bool, Error> {
        let client = self.client().await?;
        Ok(client.query_one(&format!("SELECT {PERSON_EXISTS}"), &[]).await?.get(0))
    }

    /// Every account, by name.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let client = self.client().await?;
        let rows = client.query(&format!("{SELECT} ORDER BY u.username"), &[]).await?;
        Ok(rows.iter().map(from_row).collect())
    }

    /// The accounts of these ids.
    pub async fn users_by_ids(&self, ids: &[String]) -> Result<Vec<User>, Error> {
        let sql = format!("{SELECT} WHERE u.id = ANY($1) ORDER BY u.username");
        let rows = self.client().await?.query(&sql, &[&ids]).await?;
        Ok(rows.iter().map(from_row).collect())
    }

    pub async fn user_by_name(&self, username: &str) -> Result<Option<User>, Error> {
        self.user_by("u.username = $1", username).await
    }

    /// Whom mmctl or a login form means: an id, a name or an e-mail address.
    pub async fn find_user(&self, who: &str) -> Result<Option<User>, Error> {
        self.user_by("u.username = $1 OR u.email = $1 OR u.id = $1", &who.to_lowercase()).await
    }

    pub(super) async fn user_by(&self, condition: &str, value: &str) -> Result<Option<User>, Error> {
        let client = self.client().await?;
        let row = client.query_opt(&format!("{SELECT} WHERE {condition}"), &[&value]).await?;
        Ok(row.as_ref().map(from_row))
    }

    pub async fn set_password(&self, user: &str, hash: &str) -> Result<(), Error> {
        let sql =
            "UPDATE users SET password = $2, lastpasswordupdate = $3, updateat = $3, failedattempts = 0 WHERE id = $1";
        self.update_user(sql, &[&user, &hash, &log::now_ms()]).await
    }

    pub async fn set_roles(&self, user: &str, roles: &str) -> Result<(), Error> {
        let sql = "UPDATE users SET roles = $2, updateat = $3 WHERE id = $1";
        self.update_user(sql, &[&user, &roles, &log::now_ms()]).await
    }

    pub async fn set_verified(&self, user: &str) -> Result<(), Error> {
        let sql = "UPDATE users SET emailverified = true, updateat = $2 WHERE id = $1";
        self.update_user(sql, &[&user, &log::now_ms()]).await
    }

    /// Deactivating also ends the account's sessions.
    pub async fn set_active(&self, user: &str, active: bool) -> Result<(), Error> {
        let now = log::now_ms();
        let delete_at = if active { 0 } else { now };
        let sql = "UPDATE users SET deleteat = $2, updateat = $3 WHERE id = $1";
        self.update_user(sql, &[&user, &delete_at, &now]).await?;
        if active { Ok(()) } else { self.end_sessions(user).await }
    }

    pub async fn count_failed_login(&self, user: &str) -> Result<(), Error> {
        self.update_user("UPDATE users SET failedattempts = failedattempts + 1 WHERE id = $1", &[&user]).await
    }

    pub async fn forget_failed_logins(&self, user: &str) -> Result<(), Error> {
        self.update_user("UPDATE users SET failedattempts = 0 WHERE id = $1 AND failedattempts > 0", &[&user]).await
    }

    pub(super) async fn update_user(
        &self,
        sql: &str,
        values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<(), Error> {
        self.client().await?.execute(sql, values).await.map(drop)
    }
}

fn from_row(row: &Row) -> User {
    let bot = row.get::<_, Option<String>>("ownerid").map(|owner_id| Bot {
        owner_id,
        description: row.get("description"),
        create_at: row.get("botcreateat"),
        update_at: row.get("botupdateat"),
        delete_at: row.get("botdeleteat"),
    });
    User {
        id: row.get("id"),
        create_at: row.get("createat"),
        update_at: row.get("updateat"),
        delete_at: row.get("deleteat"),
        username: row.get("username"),
        password: row.get("password"),
        email: row.get("email"),
        email_verified: row.get("emailverified"),
        first_name: row.get("firstname"),
        roles: row.get("roles"),
        last_password_update: row.get("lastpasswordupdate"),
        last_picture_update: row.get("lastpictureupdate"),
        failed_attempts: row.get("failedattempts"),
        remote_id: row.get("remoteid"),
        disable_welcome_email: row.get("disablewelcomeemail"),
        bot,
    }
}
