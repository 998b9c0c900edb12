//! The Calls plugin as far as the lab uses it: its configuration and the TURN credentials that it hands out.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::{Map, Value, json};

use crate::{config, settings};

pub const PLUGIN_ID: &str = "com.mattermost.calls";

#[derive(Clone)]
pub struct Calls {
    pub media: Media,
    /// By the names of the plugin's own configuration, in its order.
    config: Map<String, Value>,
}

/// Where the plugin listens for voice.
#[derive(Clone)]
pub struct Media {
    pub udp_address: Option<Ipv4Addr>,
    pub udp_port: u16,
    pub tcp_address: Option<Ipv4Addr>,
    pub tcp_port: u16,
}

/// Time-limited credentials for the TURN servers that have none of their own: coturn's shared-secret scheme.
pub fn turn_credentials(secret: &str, username: &str, expires: i64) -> (String, String) {
    let username = format!("{expires}:{username}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let credential = BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    (username, credential)
}

impl Calls {
    /// The list that a client gets, or nothing when no secret or no TURN server needs it.
    pub fn credentials_for(&self, username: &str, now: i64) -> Option<Value> {
        let secret = self.config["TURNStaticAuthSecret"].as_str().filter(|it| !it.is_empty())?;
        let minutes = self.config["TURNCredentialsExpirationMinutes"].as_i64().unwrap_or(1440);
        let (username, credential) = turn_credentials(secret, username, now + minutes * 60);
        let servers: Vec<Value> = self
            .ice_servers()
            .filter(|it| needs_credentials(it))
            .map(|it| json!({"urls": it["urls"], "username": username, "credential": credential}))
            .collect();
        if servers.is_empty() { None } else { Some(Value::Array(servers)) }
    }

    /// The plugin's configuration: all of it for an administrator, otherwise what a client needs.
    pub fn config_json(&self, administrator: bool) -> Value {
        let mut shown = self.config.clone();
        let secret = self.config["TURNStaticAuthSecret"].as_str().is_some_and(|it| !it.is_empty());
        shown["NeedsTURNCredentials"] = json!(secret && self.ice_servers().any(needs_credentials));
        let ready: Vec<Value> = self.ice_servers().filter(|it| !needs_credentials(it)).cloned().collect();
        shown["ICEServersConfigs"] = if ready.is_empty() { Value::Null } else { Value::Array(ready) };
        if !administrator {
            for key in FOR_ADMINISTRATORS {
                shown.remove(key);
            }
        }
        Value::Object(shown)
    }

    fn ice_servers(&self) -> impl Iterator<Item = &Value> {
        self.config["ICEServersConfigs"].as_array().into_iter().flatten()
    }
}

fn needs_credentials(server: &Value) -> bool {
    let turn = |it: &Value| it.as_str().is_some_and(|url| url.starts_with("turn:") || url.starts_with("turns:"));
    let given = |key: &str| server[key].as_str().is_some_and(|it| !it.is_empty());
    server["urls"].as_array().is_some_and(|it| it.iter().any(turn)) && !given("username") && !given("credential")
}

/// Reads MM_CALLS_*. The plugin, unlike the server, does not start when one of them cannot be parsed.
pub fn from_env(env: &HashMap<String, String>) -> Result<Calls, String> {
    let Value::Object(mut config) = defaults() else {
        return Err("the defaults are no object".to_owned());
    };
    for row in config::rows() {
        let Some(name) = row.plugin_setting() else {
            continue;
        };
        let Some(text) = env.get(row.variable) else {
            continue;
        };
        let value = settings::parse(row.kind, text).map_err(|it| format!("{}: {it}", row.variable))?;
        let name = if name == "SkuShortName" { "sku_short_name" } else { name };
        config.insert(name.to_owned(), value);
    }
    let media = Media {
        udp_address: address(&config, "UDPServerAddress")?,
        udp_port: port(&config, "UDPServerPort")?,
        tcp_address: address(&config, "TCPServerAddress")?,
        tcp_port: port(&config, "TCPServerPort")?,
    };
    Ok(Calls { media, config })
}

fn address(config: &Map<String, Value>, key: &str) -> Result<Option<Ipv4Addr>, String> {
    match config[key].as_str().filter(|it| !it.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| format!("{key}: {text:?} is not an IPv4 address")),
    }
}

fn port(config: &Map<String, Value>, key: &str) -> Result<u16, String> {
    let port = config[key].as_i64().and_then(|it| u16::try_from(it).ok()).filter(|it| (80..=49151).contains(it));
    port.ok_or_else(|| format!("{key} is not valid: should be in the range [80, 49151]"))
}

/// What a client has no use for, or must not see.
const FOR_ADMINISTRATORS: [&str; 22] = [
    "ICEHostOverride",
    "ICEHostPortOverride",
    "UDPServerAddress",
    "TCPServerAddress",
    "UDPServerPort",
    "TCPServerPort",
    "RTCDServiceURL",
    "TURNStaticAuthSecret",
    "TURNCredentialsExpirationMinutes",
    "ServerSideTURN",
    "JobServiceURL",
    "RecordingQuality",
    "EnableIPv6",
    "TranscriberModelSize",
    "TranscribeAPI",
    "TranscribeAPIAzureSpeechKey",
    "TranscribeAPIAzureSpeechRegion",
    "TranscriberNumThreads",
    "LiveCaptionsModelSize",
    "LiveCaptionsNumTranscribers",
    "LiveCaptionsNumThreadsPerTranscriber",
    "LiveCaptionsLanguage",
];

fn defaults() -> Value {
    json!({
        "ICEHostOverride": "",
        "ICEHostPortOverride": null,
        "UDPServerAddress": "",
        "TCPServerAddress": "",
        "UDPServerPort": 8443,
        "TCPServerPort": 8443,
        "RTCDServiceURL": "",
        "TURNStaticAuthSecret": "",
        "TURNCredentialsExpirationMinutes": 1440,
        "ServerSideTURN": false,
        "JobServiceURL": "",
        "RecordingQuality": "medium",
        "EnableIPv6": false,
        "EnableRinging": false,
        "TranscriberModelSize": "base",
        "TranscribeAPI": "whisper.cpp",
        "TranscribeAPIAzureSpeechKey": "",
        "TranscribeAPIAzureSpeechRegion": "",
        "TranscriberNumThreads": 2,
        "EnableLiveCaptions": false,
        "LiveCaptionsModelSize": "tiny",
        "LiveCaptionsNumTranscribers": 1,
        "LiveCaptionsNumThreadsPerTranscriber": 2,
        "LiveCaptionsLanguage": "en",
        "ICEServers": null,
        "ICEServersConfigs": [{"urls": ["stun:stun.global.calls.mattermost.com:3478"]}],
        "AllowEnableCalls": true,
        "DefaultEnabled": false,
        "MaxCallParticipants": 0,
        "NeedsTURNCredentials": false,
        "AllowScreenSharing": true,
        "EnableRecordings": false,
        "EnableTranscriptions": false,
        "MaxRecordingDuration": 60,
        "EnableSimulcast": false,
        "sku_short_name": "starter",
        "HostControlsAllowed": false,
        "EnableAV1": false,
        "GroupCallsAllowed": false,
        "EnableDCSignaling": false,
        "EnableVideo": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(env: &[(&str, &str)]) -> Result<Calls, String> {
        from_env(&env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    const TURN: &str = r#"[{"urls": ["turn:192.0.2.2:3478?transport=udp", "turn:192.0.2.2:3478?transport=tcp"]}]"#;

    #[test]
    fn credentials_are_the_recorded_ones() {
        let (username, credential) = turn_credentials("turnsecret0123456789", "admin", 1_795_407_889);
        assert_eq!(username, "1795407889:admin");
        assert_eq!(credential, "qxsaqRTpneke68CXo8D4z7wwrKA=");
    }

    #[test]
    fn only_servers_without_credentials_get_some() {
        let it =
            calls(&[("MM_CALLS_ICE_SERVERS_CONFIGS", TURN), ("MM_CALLS_TURN_STATIC_AUTH_SECRET", "s")]).expect("valid");
        let shown = it.config_json(true);
        assert_eq!((&shown["ICEServersConfigs"], &shown["NeedsTURNCredentials"]), (&Value::Null, &json!(true)));
        assert_eq!(it.credentials_for("ann", 0).expect("some")[0]["username"], "86400:ann");
        assert!(calls(&[]).expect("valid").credentials_for("ann", 0).is_none());
    }

    #[test]
    fn a_client_does_not_see_the_secret() {
        let it = calls(&[("MM_CALLS_TURN_STATIC_AUTH_SECRET", "s3cret")]).expect("valid");
        assert!(it.config_json(true).to_string().contains("s3cret"));
        assert!(!it.config_json(false).to_string().contains("s3cret"));
    }

    #[test]
    fn every_defaults_name_is_one_of_the_plugins() {
        let names: Vec<&str> = config::rows().filter_map(|it| it.plugin_setting()).collect();
        for key in defaults().as_object().expect("an object").keys() {
            assert!(names.contains(&key.as_str()) || key == "sku_short_name", "{key}");
        }
    }
}
