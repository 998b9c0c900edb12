//! Sessions of a login and personal access tokens: what a request shows to say whose it is.

use tokio_postgres::Error;

use super::{Store, User};
use crate::{ids, log};

pub struct AccessToken {
    pub id: String,
    pub token: String,
    pub user_id: String,
    pub description: String,
    pub is_active: bool,
}

impl Store {
    /// Whose session or access token this is, and whether it is an access token.
    pub async fn user_of_token(&self, token: &str) -> Result<Option<(User, bool)>, Error> {
        let by_session = "u.id = (SELECT userid FROM sessions WHERE token = $1)";
        if let Some(user) = self.user_by(by_session, token).await? {
            return Ok(Some((user, false)));
        }
        let by_token = "u.id = (SELECT userid FROM useraccesstokens WHERE token = $1 AND isactive)";
        Ok(self.user_by(by_token, token).await?.map(|it| (it, true)))
    }

    pub async fn create_session(&self, user: &str) -> Result<String, Error> {
        let token = ids::new_id();
        let sql = "INSERT INTO sessions (token, userid, createat) VALUES ($1, $2, $3)";
        self.client().await?.execute(sql, &[&token, &user, &log::now_ms()]).await?;
        Ok(token)
    }

    pub(super) async fn end_sessions(&self, user: &str) -> Result<(), Error> {
        self.client().await?.execute("DELETE FROM sessions WHERE userid = $1", &[&user]).await.map(drop)
    }

    pub async fn create_access_token(&self, user: &str, description: &str) -> Result<AccessToken, Error> {
        let token = AccessToken {
            id: ids::new_id(),
            token: ids::new_id(),
            user_id: user.to_owned(),
            description: description.to_owned(),
            is_active: true,
        };
        let sql = "INSERT INTO useraccesstokens (id, token, userid, description) VALUES ($1, $2, $3, $4)";
        self.client().await?.execute(sql, &[&token.id, &token.token, &token.user_id, &token.description]).await?;
        Ok(token)
    }

    pub async fn access_tokens(&self, user: &str) -> Result<Vec<AccessToken>, Error> {
        let sql = "SELECT id, token, userid, description, isactive FROM useraccesstokens WHERE userid = $1";
        let rows = self.client().await?.query(sql, &[&user]).await?;
        let tokens = rows.iter().map(|row| AccessToken {
            id: row.get(0),
            token: row.get(1),
            user_id: row.get(2),
            description: row.get(3),
            is_active: row.get(4),
        });
        Ok(tokens.collect())
    }

    /// Whether there was a token of that id.
    pub async fn revoke_access_token(&self, id: &str) -> Result<bool, Error> {
        Ok(self.execute("DELETE FROM useraccesstokens WHERE id = $1", &[&id]).await? > 0)
    }
}
