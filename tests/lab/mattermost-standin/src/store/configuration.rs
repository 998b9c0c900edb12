//! What `mmctl config` and `mmctl plugin` have set: settings over the defaults, and installed plugins.

use serde_json::{Value, json};
use tokio_postgres::Error;

use super::Store;

impl Store {
    /// The settings that were ever set, and no others.
    pub async fn configuration(&self) -> Result<Value, Error> {
        let found = self.document("SELECT value FROM configurations WHERE id = 1", &[]).await?;
        Ok(found.unwrap_or_else(|| json!({})))
    }

    pub async fn save_configuration(&self, value: &Value) -> Result<(), Error> {
        let sql = "INSERT INTO configurations (id, value) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET value = $1";
        self.execute(sql, &[&value.to_string()]).await.map(drop)
    }

    /// The manifests of what was installed.
    pub async fn plugins(&self) -> Result<Vec<Value>, Error> {
        self.documents("SELECT manifest FROM plugins ORDER BY id", &[]).await
    }

    pub async fn install_plugin(&self, id: &str, manifest: &Value) -> Result<(), Error> {
        let sql = "INSERT INTO plugins (id, manifest) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET manifest = $2";
        self.execute(sql, &[&id, &manifest.to_string()]).await.map(drop)
    }

    pub async fn remove_plugin(&self, id: &str) -> Result<(), Error> {
        self.execute("DELETE FROM plugins WHERE id = $1", &[&id]).await.map(drop)
    }
}
