//! Whether GitLab may call Mattermost at all: by default it refuses private addresses, when a webhook is saved and when it is
//! delivered (GitLab's doc/security/webhooks.md).

use serde_json::Value;

use crate::connect::Notice;
use crate::settings::{Settings, parse_subnet};

/// The attribute that the code accepts; the one in the documentation has no effect (terraform-provider-gitlab#1350).
pub const ALLOWLIST: &str = "outbound_local_requests_allowlist_raw";
const ALLOW_ALL: &str = "allow_local_requests_from_web_hooks_and_services";

/// The list that GitLab needs, if it needs another one. `application` is the answer of `application/settings`, or none
/// where the token is no administrator's.
pub fn plan(settings: &Settings, application: Option<&Value>) -> (Option<String>, Option<Notice>) {
    let entry = entry(settings);
    let Some(application) = application else {
        return (
            None,
            Some(by_hand(&entry, "whether GitLab may call private addresses needs an administrator's token")),
        );
    };
    if application[ALLOW_ALL] == Value::Bool(true) {
        return (None, None);
    }
    let Some(list) = current(application) else {
        return (
            None,
            Some(by_hand(&entry, "GitLab blocks private addresses and does not show its list of exceptions")),
        );
    };
    let entries = || list.split(|c: char| c.is_whitespace() || c == ',' || c == ';').filter(|text| !text.is_empty());
    if entries().any(|entry| covers(settings, entry)) {
        return (None, None);
    }
    // The value replaces the list, so what is there goes back with it.
    let list: Vec<&str> = entries().chain([entry.as_str()]).collect();
    (Some(list.join("\n")), None)
}

/// Mattermost alone, at its port: whoever can make a webhook in GitLab can reach what is listed.
pub fn entry(settings: &Settings) -> String {
    format!("{}:{}", settings.mattermost_host(), settings.ports.mattermost)
}

fn by_hand(entry: &str, finding: &str) -> Notice {
    Notice::new(
        finding,
        format!(
            "in GitLab: Admin, Settings, Network, Outbound requests: add {entry} to the local addresses that hooks and \
             integrations may access; or put an administrator's GITLAB_API_TOKEN into env/secrets.env and run this again"
        ),
    )
}

/// The list, one text or an array by the version of GitLab.
fn current(application: &Value) -> Option<String> {
    if let Some(text) = application[ALLOWLIST].as_str() {
        return Some(text.to_owned());
    }
    let list = application["outbound_local_requests_allowlist"]
        .as_array()
        .or_else(|| application["outbound_local_requests_whitelist"].as_array());
    match list {
        Some(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")),
        // An empty list may be shown as null.
        None => application.get(ALLOWLIST).filter(|value| value.is_null()).map(|_| String::new()),
    }
}

fn covers(settings: &Settings, entry: &str) -> bool {
    let host = settings.mattermost_host();
    let address = settings.network.mattermost_address;
    let port = settings.ports.mattermost;
    entry == host
        || entry == self::entry(settings)
        || entry == address.to_string()
        || entry == format!("{address}:{port}")
        || parse_subnet(entry).is_some_and(|subnet| subnet.contains(address))
}
