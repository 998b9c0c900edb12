//! The table of settings, recorded from a real server, and how `mmctl config get` walks through their values.

use serde_json::{Value, json};

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

/// The value behind `Section.Key`, or a whole section.
pub fn get<'a>(all: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(all, |value, key| value.get(key))
}
