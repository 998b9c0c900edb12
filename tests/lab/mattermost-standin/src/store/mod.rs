//! PostgreSQL, which holds all state: a restart of the stand-in forgets nothing.

mod bots;
mod tokens;
mod users;

use std::error::Error as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::dsn::{self, Verification};
use crate::tls::VerifyFull;
use crate::{ids, log};

pub use bots::Bot;
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

const MIGRATIONS: &str = "
CREATE TABLE IF NOT EXISTS public.systems (name varchar(64) PRIMARY KEY, value varchar(1024));
CREATE TABLE IF NOT EXISTS public.users (
    id varchar(26) PRIMARY KEY,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL DEFAULT 0,
    username varchar(64) NOT NULL UNIQUE,
    password varchar(128) NOT NULL DEFAULT '',
    email varchar(128) NOT NULL UNIQUE,
    emailverified boolean NOT NULL DEFAULT false,
    firstname varchar(64) NOT NULL DEFAULT '',
    roles varchar(256) NOT NULL,
    lastpasswordupdate bigint NOT NULL DEFAULT 0,
    lastpictureupdate bigint NOT NULL DEFAULT 0,
    failedattempts integer NOT NULL DEFAULT 0,
    remoteid varchar(26),
    disablewelcomeemail boolean NOT NULL DEFAULT false
);
CREATE TABLE IF NOT EXISTS public.bots (
    userid varchar(26) PRIMARY KEY REFERENCES public.users (id),
    description varchar(1024) NOT NULL DEFAULT '',
    ownerid varchar(190) NOT NULL,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS public.sessions (
    token varchar(26) PRIMARY KEY,
    userid varchar(26) NOT NULL REFERENCES public.users (id),
    createat bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS public.useraccesstokens (
    id varchar(26) PRIMARY KEY,
    token varchar(26) NOT NULL UNIQUE,
    userid varchar(26) NOT NULL REFERENCES public.users (id),
    description varchar(255) NOT NULL,
    isactive boolean NOT NULL DEFAULT true
);
";
