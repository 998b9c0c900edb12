//! The configuration in force: what mmctl has set over the defaults, and the environment over both. The defaults come
//! from the table of settings, which was recorded from a real server.

use serde_json::{Map, Value, json};

use crate::Server;
use crate::app_error::AppError;
use crate::settings::Settings;

const TABLE: &str = include_str!("../../../contract/mattermost-11.6/settings.tsv");

pub struct Row {
    pub setting: &'static str,
    pub variable: &'static str,
    pub kind: &'static str,
    recorded: &'static str,
}

pub fn rows() -> impl Iterator<Item = Row> {
    TABLE.lines().skip(1).filter_map(|line| {
        let mut fields = line.split('\t');
        Some(Row {
            setting: fields.next()?,
            variable: fields.next()?,
            kind: fields.next()?,
            recorded: fields.next().unwrap_or_default(),
        })
    })
}

impl Row {
    /// The setting's name when it belongs to the Calls plugin.
    pub fn plugin_setting(&self) -> Option<&'static str> {
        self.setting.strip_prefix("plugin com.mattermost.calls: ")
    }

    /// The product's default: the recorded value, except where the recorded server had been configured.
    pub fn default(&self) -> Value {
        match self.setting {
            "ServiceSettings.SiteURL"
            | "ServiceSettings.AllowCorsFrom"
            | "ServiceSettings.ConnectionSecurity"
            | "ServiceSettings.TLSCertFile"
            | "ServiceSettings.TLSKeyFile"
            | "SqlSettings.DataSource" => json!(""),
            "ServiceSettings.EnableLocalMode"
            | "ServiceSettings.EnableUserAccessTokens"
            | "ServiceSettings.EnableBotAccountCreation"
            | "MetricsSettings.Enable"
            | "PluginSettings.EnableUploads" => json!(false),
            "PluginSettings.PluginStates" => json!({
                "com.mattermost.calls": {"Enable": true},
                "com.mattermost.nps": {"Enable": true},
                "mattermost-ai": {"Enable": true},
                "playbooks": {"Enable": true},
            }),
            // The table cuts long values short; nothing in the lab reads those.
            _ => {
                serde_json::from_str(self.recorded).unwrap_or(if self.kind == "object" { json!({}) } else { json!("") })
            }
        }
    }
}

/// Sets what a patch names and keeps everything else. A key that the environment sets is accepted without effect and
/// not stored, as in Mattermost.
pub async fn apply(server: &Server, mut patch: Value) -> Result<(), AppError> {
    // Held until the end, so that of two changes at the same time none is lost.
    let mut current = server.config.write().await;
    for (section, keys) in server.settings.environment.as_object().into_iter().flatten() {
        if let Some(patched) = patch.get_mut(section).and_then(Value::as_object_mut) {
            patched.retain(|key, _| keys.get(key).is_none());
        }
    }
    let mut stored = server.store.configuration().await?;
    merge(&mut stored, &patch);
    server.store.save_configuration(&stored).await?;
    *current = effective(&server.settings, &stored);
    Ok(())
}

pub fn effective(settings: &Settings, stored: &Value) -> Value {
    let mut all = settings.defaults.clone();
    merge(&mut all, stored);
    for (section, keys) in settings.environment.as_object().into_iter().flatten() {
        for (key, value) in keys.as_object().into_iter().flatten() {
            all[section][key] = value.clone();
        }
    }
    all
}

/// Objects are merged key by key at every depth, anything else is replaced.
fn merge(into: &mut Value, from: &Value) {
    let Value::Object(from) = from else {
        *into = from.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    for (key, value) in from {
        merge(&mut into[key], value);
    }
}

/// The whole configuration as an answer shows it, secrets as 32 asterisks. That the data source is hidden is recorded;
/// the others are hidden by their names.
pub fn masked(all: &Value) -> Value {
    let mut shown = all.clone();
    for row in rows().filter(|row| row.plugin_setting().is_none() && is_secret(row.setting)) {
        if let Some((section, key)) = row.setting.split_once('.')
            && shown[section][key].as_str().is_some_and(|it| !it.is_empty())
        {
            shown[section][key] = json!("*".repeat(32));
        }
    }
    shown
}

fn is_secret(setting: &str) -> bool {
    const ENDINGS: [&str; 6] =
        ["Password", "Secret", "PublicLinkSalt", "AtRestEncryptKey", "SecretAccessKey", ".DataSource"];
    ENDINGS.iter().any(|it| setting.ends_with(it))
}

/// The value behind `Section.Key`, or a whole section.
pub fn get<'a>(all: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(all, |value, key| value.get(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_merged_at_every_depth() {
        let mut all = json!({"A": {"x": 1, "m": {"one": {"a": 1}}}});
        merge(&mut all, &json!({"A": {"m": {"one": {"b": 2}, "two": {}}}, "B": [1]}));
        assert_eq!(all, json!({"A": {"x": 1, "m": {"one": {"a": 1, "b": 2}, "two": {}}}, "B": [1]}));
    }

    #[test]
    fn a_whole_configuration_shows_no_secret() {
        let shown = masked(&json!({"SqlSettings": {"DataSource": "postgres://u:p@h/d", "DriverName": "postgres"}}));
        assert_eq!(shown["SqlSettings"]["DataSource"], "*".repeat(32));
        assert_eq!(shown["SqlSettings"]["DriverName"], "postgres");
    }
}
