//! Mattermost's GitLab plugin: its settings, by a deep merge that leaves those of other plugins alone.
//!
//! The plugin makes an encryption key and a webhook secret by itself where it has none, and people's tokens are encrypted
//! with the former: so what Mattermost has is adopted, and only what nobody has is made.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::PLUGIN;
use crate::connect::Site;
use crate::drivers::mmctl;
use crate::error::Hint as _;
use crate::secrets::{
    self, GITLAB_OAUTH_ID, GITLAB_OAUTH_SECRET, GITLAB_PLUGIN_ENCRYPTION_KEY, GITLAB_PLUGIN_WEBHOOK_SECRET, Secrets,
};
use crate::settings::Settings;
use crate::stack::Stack;
use crate::wiring::apply;

/// The plugin's keys (its configuration.go, which Mattermost spells in lower case) and the secrets that they get.
const SECRETS: [(&str, &str); 4] = [
    ("gitlaboauthclientid", GITLAB_OAUTH_ID),
    ("gitlaboauthclientsecret", GITLAB_OAUTH_SECRET),
    ("encryptionkey", GITLAB_PLUGIN_ENCRYPTION_KEY),
    ("webhooksecret", GITLAB_PLUGIN_WEBHOOK_SECRET),
];
/// Those that Mattermost may already have.
const KEPT: [(&str, &str); 2] = [SECRETS[2], SECRETS[3]];

/// The patch of Mattermost's configuration. A secret that is not there yet is left out, which leaves it as it is.
pub fn plugin(settings: &Settings, secrets: &Secrets) -> Value {
    let mut plugin = Map::from_iter([("gitlaburl".to_owned(), json!(settings.gitlab.url))]);
    for (key, name) in SECRETS {
        plugin.extend(secrets.get(name).map(|value| (key.to_owned(), json!(value))));
    }
    json!({ "PluginSettings": { "Plugins": { PLUGIN: plugin }, "PluginStates": { PLUGIN: { "Enable": true } } } })
}

/// The plugin as Mattermost has it: its settings, and whether it is enabled.
#[derive(Debug, Clone, Default)]
pub struct Actual {
    pub settings: Value,
    pub enabled: bool,
}

/// Why the plugin has to be configured, or nothing.
pub fn drift(settings: &Settings, secrets: &Secrets, actual: &Actual) -> Option<String> {
    let differs = |key: &str, value: Option<&str>| value.is_none_or(|value| actual.settings[key] != json!(value));
    let mut differing: Vec<&str> = Vec::new();
    if differs("gitlaburl", Some(&settings.gitlab.url)) {
        differing.push("gitlaburl");
    }
    differing.extend(SECRETS.iter().filter(|(key, name)| differs(key, secrets.get(name))).map(|(key, _)| *key));
    match (differing.as_slice(), actual.enabled) {
        ([], true) => None,
        ([], false) => Some("it is not enabled".to_owned()),
        (differing, _) => Some(differing.join(", ")),
    }
}

/// The keys that are to be kept: Mattermost's where it has them, otherwise new ones.
pub fn keys(secrets: &Secrets, actual: &Actual) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    for (key, name) in KEPT {
        match actual.settings[key].as_str().filter(|value| !value.is_empty()) {
            Some(theirs) if secrets.get(name) != Some(theirs) => keys.push((name, theirs.to_owned())),
            Some(_) => {}
            // 32 bytes: the key of an AES-256.
            None if secrets.get(name).is_none() => keys.push((name, secrets::generate(32))),
            None => {}
        }
    }
    keys
}

/// Asks Mattermost. In local mode nothing is masked.
pub fn read(stack: &Stack) -> anyhow::Result<Actual> {
    let get = |key: &str| -> anyhow::Result<Value> {
        Ok(mmctl::mmctl::<Value>(&stack.container("mattermost"), &["config", "get", key])?
            .into_iter()
            .next()
            .unwrap_or_default())
    };
    let hint = stack.hint("Mattermost has to run, in local mode: see `cargo xtask status`, or run `cargo xtask up`");
    let plugins = get("PluginSettings.Plugins").hint(hint.as_str())?;
    let states = get("PluginSettings.PluginStates").hint(hint)?;
    Ok(Actual { settings: plugins[PLUGIN].clone(), enabled: states[PLUGIN]["Enable"] == json!(true) })
}

/// Keeps the keys, sets the settings and enables the plugin, in this order.
pub fn apply(site: &mut Site<'_>) -> anyhow::Result<()> {
    let actual = read(site.stack)?;
    for (name, value) in keys(&site.secrets, &actual) {
        site.keep(&[(name, &value)])?;
    }
    for name in [GITLAB_OAUTH_ID, GITLAB_OAUTH_SECRET] {
        let missing = || format!("secrets.env has no {name}: the plugin waits for the OAuth application");
        site.secrets
            .get(name)
            .with_context(missing)
            .hint("see to the OAuth application first (above), then run this again")?;
    }
    let patch = plugin(site.settings(), &site.secrets);
    let container = site.stack.container("mattermost");
    apply::configure(&container, &patch)
        .hint(site.stack.hint("see `cargo xtask logs mattermost`; nothing of the plugin was changed"))?;
    apply::enable_plugin(&container, PLUGIN).hint(site.stack.hint(
        "Mattermost ships the plugin: with plugins switched off or the bundle missing it cannot be enabled; see \
         `cargo xtask logs mattermost`",
    ))
}
