//! The configuration: MM_* variables over the defaults of tests/contract/mattermost-11.6/settings.tsv.
//!
//! Mattermost ignores a variable that it does not know or cannot parse. The stand-in refuses to start instead: in a
//! lab that is always a mistake, and nothing else would notice it.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::calls::{self, Calls};
use crate::config;
use crate::tls::{self, ServerTls};

pub struct Settings {
    pub site_url: String,
    pub allow_cors_from: String,
    pub listen_address: String,
    pub tls: bool,
    pub tls_cert_file: String,
    pub tls_key_file: String,
    pub tls_min_version: String,
    pub local_socket: Option<String>,
    pub metrics_address: Option<String>,
    pub data_source: String,
    /// The plugin's configuration, `Ok(None)` when plugins are switched off, or why it cannot be activated.
    pub calls: Result<Option<Calls>, String>,
    /// The product's defaults, and what the environment sets: the two layers around what mmctl sets.
    pub defaults: Value,
    pub environment: Value,
}

/// Variables of the process itself, which no setting stands behind.
const PROCESS_VARIABLES: [&str; 5] =
    ["MM_INSTALL_TYPE", "MM_CONFIG", "MM_LOG_PATH", "MM_CUSTOM_DEFAULTS_PATH", "MM_SERVICEENVIRONMENT"];

pub fn from_env(env: impl Iterator<Item = (String, String)>) -> Result<Settings, String> {
    let env: HashMap<String, String> = env.filter(|(name, _)| name.starts_with("MM_")).collect();
    refuse_unknown(&env)?;
    let defaults = sections(config::rows().map(|row| Ok((row.setting, row.default()))))?;
    let own = config::rows().filter(|row| row.plugin_setting().is_none());
    let given = own.filter_map(|row| env.get(row.variable).map(|text| (row, text)));
    let environment = sections(given.map(|(row, text)| {
        let value = parse(row.kind, text).map_err(|it| format!("{}: {it}", row.variable))?;
        Ok((row.setting, value))
    }))?;

    let value = |key: &str| config::get(&environment, key).or_else(|| config::get(&defaults, key));
    let text = |key: &str| value(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |key: &str| value(key).and_then(Value::as_bool).unwrap_or_default();
    let tls = match text("ServiceSettings.ConnectionSecurity").as_str() {
        "" => false,
        "TLS" => true,
        other => {
            return Err(invalid(&format!("ServiceSettings.ConnectionSecurity is {other:?}")));
        }
    };
    Ok(Settings {
        site_url: text("ServiceSettings.SiteURL"),
        allow_cors_from: text("ServiceSettings.AllowCorsFrom"),
        listen_address: text("ServiceSettings.ListenAddress"),
        tls,
        tls_cert_file: text("ServiceSettings.TLSCertFile"),
        tls_key_file: text("ServiceSettings.TLSKeyFile"),
        tls_min_version: text("ServiceSettings.TLSMinVer"),
        local_socket: flag("ServiceSettings.EnableLocalMode").then(|| text("ServiceSettings.LocalModeSocketLocation")),
        metrics_address: flag("MetricsSettings.Enable").then(|| text("MetricsSettings.ListenAddress")),
        data_source: text("SqlSettings.DataSource"),
        calls: if flag("PluginSettings.Enable") { calls::from_env(&env).map(Some) } else { Ok(None) },
        defaults,
        environment,
    })
}

impl Settings {
    /// Checks what Mattermost checks when it validates its configuration: the TLS files and the socket's folder.
    pub fn check_files(&self) -> Result<Option<ServerTls>, String> {
        if let Some(socket) = &self.local_socket {
            let folder = std::path::Path::new(socket).parent();
            if !folder.is_some_and(|it| it.is_dir()) {
                return Err(invalid(&format!("LocalModeSocketLocation {socket:?} is in no existing folder")));
            }
        }
        if !self.tls {
            return Ok(None);
        }
        tls::server(&self.tls_cert_file, &self.tls_key_file, &self.tls_min_version).map(Some).map_err(|it| invalid(&it))
    }
}

fn invalid(what: &str) -> String {
    format!("failed to load configuration: invalid config: {what}")
}

fn refuse_unknown(env: &HashMap<String, String>) -> Result<(), String> {
    let mut unknown: Vec<&str> = env
        .keys()
        .map(String::as_str)
        .filter(|name| !PROCESS_VARIABLES.contains(name) && !config::rows().any(|it| it.variable == *name))
        .collect();
    unknown.sort_unstable();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(format!("the stand-in refuses variables that Mattermost 11.6 does not have: {}", unknown.join(", ")))
}

/// `Section.Key` and values as one document. The settings of the Calls plugin are read by itself.
fn sections(values: impl Iterator<Item = Result<(&'static str, Value), String>>) -> Result<Value, String> {
    let mut all = Map::new();
    for entry in values {
        let (setting, value) = entry?;
        if let Some((section, key)) = setting.split_once('.').filter(|_| !setting.starts_with("plugin ")) {
            let section = all.entry(section).or_insert_with(|| Value::Object(Map::new()));
            section[key] = value;
        }
    }
    Ok(Value::Object(all))
}

/// Reads a variable in Go's way: ParseBool's words, a list split at every space, a map as one JSON document.
pub fn parse(kind: &str, text: &str) -> Result<Value, String> {
    match kind.trim_start_matches('*') {
        "bool" => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(format!("{text:?} is not a boolean")),
        },
        "int" => text.parse::<i64>().map(Value::from).map_err(|_| format!("{text:?} is not a number")),
        "list" if text.is_empty() => Ok(Value::Array(Vec::new())),
        "list" => Ok(text.split(' ').map(Value::from).collect()),
        "object" | "main.ICEServersConfigs" => {
            serde_json::from_str(text).map_err(|it| format!("the value is not a JSON document: {it}"))
        }
        _ => Ok(Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(env: &[(&str, &str)]) -> Result<Settings, String> {
        from_env(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_misspelt_variable_is_named() {
        let error = settings(&[("MM_SERVICESETTINGS_SITEURLS", "x"), ("MM_INSTALL_TYPE", "docker")]).err();
        assert!(error.is_some_and(|it| it.ends_with("MM_SERVICESETTINGS_SITEURLS")));
    }

    #[test]
    fn booleans_and_numbers_are_checked() {
        assert!(settings(&[("MM_SERVICESETTINGS_ENABLELATEX", "yes")]).is_err());
        assert!(settings(&[("MM_PASSWORDSETTINGS_MINIMUMLENGTH", "")]).is_err());
        let it = settings(&[("MM_PASSWORDSETTINGS_MINIMUMLENGTH", "12")]).expect("valid");
        assert_eq!(config::effective(&it, &serde_json::json!({}))["PasswordSettings"]["MinimumLength"], 12);
    }

    #[test]
    fn an_empty_number_stops_calls_alone() {
        let it = settings(&[("MM_CALLS_UDP_SERVER_PORT", "")]).expect("the server starts");
        assert!(it.calls.is_err_and(|it| it.contains("MM_CALLS_UDP_SERVER_PORT")));
    }

    #[test]
    fn calls_can_be_switched_off() {
        let it = settings(&[("MM_PLUGINSETTINGS_ENABLE", "false")]).expect("valid");
        assert!(it.calls.is_ok_and(|it| it.is_none()));
    }

    #[test]
    fn defaults_are_the_products_not_the_recorded_servers() {
        let it = settings(&[]).expect("valid");
        assert_eq!((it.site_url.as_str(), it.tls, it.local_socket.is_none()), ("", false, true));
        assert_eq!(it.defaults["PasswordSettings"]["MinimumLength"], 8);
    }

    #[test]
    fn the_environment_wins_over_what_mmctl_set() {
        let it = settings(&[("MM_SERVICESETTINGS_SITEURL", "https://a")]).expect("valid");
        let stored = serde_json::json!({"ServiceSettings": {"SiteURL": "https://b", "EnableLatex": true}});
        let all = config::effective(&it, &stored);
        assert_eq!(
            (&all["ServiceSettings"]["SiteURL"], &all["ServiceSettings"]["EnableLatex"]),
            (&Value::from("https://a"), &Value::Bool(true))
        );
    }
}
