//! PostgreSQL, which holds all state: a restart of the stand-in forgets nothing.

mod bots;
mod channels;
mod commands;
mod configuration;
mod hooks;
mod members;
mod posts;
mod teams;
mod tokens;
mod users;

use std::error::Error as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::dsn::{self, Verification};
use crate::tls::VerifyFull;
use crate::{ids, log};

pub use bots::Bot;
pub use channels::{ChannelPatch, NewChannel};
pub use commands::Command;
pub use hooks::{Incoming, Outgoing};
pub use posts::NewPost;
pub use tokens::AccessToken;
pub use users::{NewUser, User};

pub struct Store {
    config: Config,
    tls: Option<VerifyFull>,
    /// One connection serves the lab: PostgreSQL runs its statements one after the other, so each one is atomic
    /// towards the rest of the stand-in.
    client: Mutex<Option<Arc<Client>>>,
}

impl Store {
    /// Connects once and migrates. Mattermost gives up at the first failure, the restart policy starts it again.
    pub async fn open(data_source: &str) -> Result<Store, String> {
        let source = dsn::parse(data_source)?;
        let mut config = Config::from_str(&source.url).map_err(|it| describe(&it))?;
        let tls = match source.tls {
            Verification::Disabled => None,
            Verification::Full { root } => Some(VerifyFull::new(&root).map_err(|it| format!("pq: sslrootcert {it}"))?),
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.application_name("mattermost-standin");
        let store = Store { config, tls, client: Mutex::new(None) };
        let client = store
            .client()
            .await
            .map_err(|it| format!("error setting up connections: failed to ping DB: {}", describe(&it)))?;
        client
            .batch_execute(MIGRATIONS)
            .await
            .map_err(|it| format!("failed to apply database migrations: {}", describe(&it)))?;
        Ok(store)
    }

    /// The connection, made again when PostgreSQL was restarted.
    async fn client(&self) -> Result<Arc<Client>, Error> {
        let mut guard = self.client.lock().await;
        if let Some(client) = guard.as_ref().filter(|it| !it.is_closed()) {
            return Ok(client.clone());
        }
        let client = match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                tokio::spawn(keep(connection));
                client
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                tokio::spawn(keep(connection));
                client
            }
        };
        let client = Arc::new(client);
        *guard = Some(client.clone());
        Ok(client)
    }

    /// What a statement found, one JSON document a row. Whatever a client gets unchanged is built by PostgreSQL in the
    /// recorded shape, so no type in between has to repeat it.
    async fn documents(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Value>, Error> {
        let rows = self.client().await?.query(sql, values).await?;
        Ok(rows.iter().filter_map(|row| serde_json::from_str(row.get(0)).ok()).collect())
    }

    async fn document(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Option<Value>, Error> {
        Ok(self.documents(sql, values).await?.into_iter().next())
    }

    /// The number of rows that a statement changed.
    async fn execute(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, Error> {
        self.client().await?.execute(sql, values).await
    }

    /// Writes and deletes a row, as Mattermost's health check does. A database that does not answer is not healthy.
    pub async fn is_healthy(&self) -> bool {
        let check = async {
            let client = self.client().await?;
            let name = format!("DBHealthCheck_{}", ids::new_id());
            client.execute("INSERT INTO systems (name, value) VALUES ($1, '')", &[&name]).await?;
            client.execute("DELETE FROM systems WHERE name = $1", &[&name]).await
        };
        match tokio::time::timeout(Duration::from_secs(5), check).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                log::warn("The database is not healthy").with("error", &describe(&error)).write();
                false
            }
            Err(_) => {
                log::warn("The database does not answer").write();
                false
            }
        }
    }
}

/// Part of a list, as REST asks for it.
#[derive(Clone, Copy)]
pub struct Page {
    pub offset: i64,
    pub limit: i64,
}

impl Page {
    pub const ALL: Page = Page { offset: 0, limit: i64::MAX };
}

async fn keep<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if let Err(error) = connection.await {
        log::warn("The connection to the database was lost").with("error", &describe(&error)).write();
    }
}

/// An error as lib/pq words it: the server's own message after `pq:`, otherwise the innermost cause.
pub fn describe(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("pq: {}", error.message());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(it) = cause.source() {
        cause = it;
    }
    if error.source().is_none() { format!("pq: {error}") } else { format!("pq: {cause}") }
}

const MIGRATIONS: &str = include_str!("migrations.sql");
